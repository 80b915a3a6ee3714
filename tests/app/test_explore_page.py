"""The Explore page: what it draws, what its links and commands give again, and how it takes junk."""

from __future__ import annotations

import base64
import io
import json
import shlex
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from ganlab import catalog, cli, latent, lattice, render, weights
from ganlab.app import widgets
from ganlab.app.components.latent_plane import SERVED, Place
from ganlab.app.components.latent_plane import Plane as Ground
from ganlab.app.explore.hand import Hand
from ganlab.app.explore.recipes import read_place, write_place
from ganlab.config import Config
from ganlab.recipe import Anchor
from ganlab.rundir import RunDir

CONFIG = Config(data="mnist-5k", model="mlp", width=8, latent_dim=8)


def save_model(file: Path, seed: int, step: int = 30, config: Config = CONFIG) -> None:
    """A generator that has learnt nothing: random weights, large enough for pictures that differ."""
    random = np.random.default_rng(seed)
    sizes = [config.latent_dim + config.num_classes, config.width, config.width, config.image_size**2]
    arrays = {}
    for i in range(3):
        arrays[f"layers.{i}.weight"] = random.normal(size=(sizes[i + 1], sizes[i])).astype(np.float32)
        arrays[f"layers.{i}.bias"] = random.normal(size=sizes[i + 1]).astype(np.float32)
    weights.save_arrays(file, arrays, kind=weights.GENERATOR, config=config, facts={"step": step})


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two released models, alpha and beta."""
    folder = tmp_path / "checkpoints"
    for seed, name in enumerate(["alpha", "beta"]):
        save_model(folder / name / "generator.safetensors", seed)
    monkeypatch.setattr(catalog, "CHECKPOINTS", folder)
    return folder


@pytest.fixture
def gamma(released: Path) -> render.Model:
    """A third model, told of three classes."""
    config = CONFIG.replace(conditioning="concat", classes=("Bag", "Coat", "Ankle boot"))
    save_model(released / "gamma" / "generator.safetensors", 7, config=config)
    return catalog.load("gamma")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run with snapshots of the steps 10 and 20."""
    monkeypatch.setenv("GANLAB_RUNS", str(tmp_path / "runs"))
    run = RunDir(tmp_path / "runs" / "my run")
    run.open_config(CONFIG)
    for step in (10, 20):
        save_model(run.snapshot_file(step), step, step)
    return run


def explore() -> None:
    from ganlab.app.pages import explore

    explore.page()


def opened(**params: str) -> AppTest:
    """The page as a browser opens it with these URL parameters; on the wall, unless they say otherwise."""
    app = AppTest.from_function(explore, default_timeout=30)
    app.query_params.update({"view": "Wall", **params})
    app.run()
    assert not app.exception
    return app


def drawn(app: AppTest) -> list[np.ndarray]:
    """The images on the page: uint8 (H, W, C + 1), the last channel opacity."""
    urls = [picture.url for image in app.image for picture in image.proto.imgs]
    return [np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))) for url in urls]


def given(app: AppTest, has: str) -> list[dict]:
    """What the components whose data have such a field were given, in the page's order."""
    protos = [element.proto for element in app.get("bidi_component")]
    return [data for proto in protos if proto.json and has in (data := json.loads(proto.json))]


def sprites(app: AppTest) -> list[np.ndarray]:
    """The walls and rows of pictures on the page, each uint8 (N, H, W, 1)."""
    walls = []
    for data in given(app, "num"):
        image = np.array(Image.open(io.BytesIO(base64.b64decode(data["sprite"].partition(",")[2]))))
        rows = image.reshape(-1, data["height"], data["columns"], data["width"]).transpose(0, 2, 1, 3)
        walls.append(rows.reshape(-1, data["height"], data["width"], 1)[: data["num"]])
    return walls


def tiles(image: np.ndarray, columns: int, size: int = 28) -> np.ndarray:
    """The pictures in a drawn image, one pixel for each of its squares: (N, H, W, 1)."""
    gap = 2 * widgets.GAP
    side = (image.shape[1] + gap) // columns - gap
    corners = [(y, x) for y in range(0, image.shape[0], side + gap) for x in range(0, image.shape[1], side + gap)]
    squares = [image[y : y + side, x : x + side] for y, x in corners]
    assert all((square[..., -1] == 255).all() for square in squares)
    assert (image[..., -1] == 255).sum() == len(squares) * side**2  # the gaps are see-through
    pictures = np.stack([square[:: side // size, :: side // size, :1] for square in squares])
    assert (render.upscale(pictures, side // size) == np.stack(squares)[..., :1]).all()  # nothing is blurred
    return pictures


def alpha() -> render.Model:
    return catalog.load("alpha")


# --- what is drawn -------------------------------------------------------------------------------------------------


def test_a_wall_is_of_the_first_model(released: Path) -> None:
    app = opened()
    (wall,) = sprites(app)
    assert (wall == alpha().sample(64)).all()
    assert given(app, "num")[0]["label"] == "64 generated pictures in 8 rows, of the seeds 0 to 63"
    assert any("seed 0" in caption.value and "seed 63" in caption.value for caption in app.caption)


def test_a_released_model_has_its_card_below(released: Path) -> None:
    assert [expander.label for expander in opened().expander] == ["Model card"]


def test_the_app_opens_on_explore(released: Path) -> None:
    app = AppTest.from_file(str(Path(__file__).parents[2] / "streamlit_app.py"), default_timeout=30).run()
    assert not app.exception and app.segmented_control(key="view").value == "Move"


def test_wall_takes_number_truncation_and_seed(released: Path) -> None:
    (wall,) = sprites(opened(pictures="16", truncation="0.5", seed="7"))
    assert (wall == alpha().sample(16, 7, 0.5)).all()


def test_new_pictures_goes_on_with_the_next_seeds(released: Path) -> None:
    app = opened(pictures="16", seed="5")
    app.button[0].click().run()
    assert app.number_input(key="seed").value == 21
    assert (sprites(app)[0] == alpha().sample(16, 21)).all()


def test_new_pictures_starts_again_after_the_last_seed(released: Path) -> None:
    app = opened(seed=str(widgets.MAX_SEED - 3))
    app.button[0].click().run()
    assert app.number_input(key="seed").value == 0 and not app.exception


def test_interpolate_shows_both_paths(released: Path) -> None:
    app = opened(view="Interpolate", frames="9")
    keys, around, straight = sprites(app)
    model = alpha()
    assert (keys == model.from_seeds([1, 2])).all()
    for strip, path in ((around, latent.slerp), (straight, latent.lerp)):
        assert (strip == model.generate(path(*model.z([1, 2]), np.linspace(0, 1, 9)))).all()
    assert (around != straight).any()
    titles = ["Length of z", "Certainty of the class", "Change from the frame before"]  # it has no discriminator
    assert [m.value.strip("*") for m in app.markdown if m.value.strip("*") in titles] == titles


def test_interpolate_goes_through_many_pictures_and_back(released: Path) -> None:
    app = opened(view="Interpolate", frames="12")
    app.button(key="keys add").click().run()  # the picture in hand, behind A
    app.toggle(key="closed").set_value(True).run()
    model, (keys, around, _) = alpha(), sprites(app)
    assert (keys == model.from_seeds([1, 0, 2])).all()
    assert (around == model.generate(latent.path(model.z([1, 0, 2]), 12, closed=True))).all()
    app.number_input(key="keys seed").set_value(7).run()
    assert (sprites(app)[0] == model.from_seeds([1, 7, 2])).all()
    app.button(key="keys remove").click().run()
    assert (sprites(app)[0] == model.from_seeds([1, 2])).all()
    assert app.button(key="keys remove").disabled


def test_a_key_picture_in_every_class(gamma: render.Model) -> None:
    app = opened(model="gamma", view="Interpolate")
    every = sprites(app)[-1]
    assert (every == gamma.generate(gamma.z([1, 1, 1]), [0, 1, 2])).all()
    app.selectbox(key="keys class").set_value("Bag").run()
    around = sprites(app)[1]
    assert (around[[0, -1]] == gamma.generate(gamma.z([1, 2]), [0, 2])).all()
    z, y = latent.path(gamma.z([1, 2]), 11), latent.class_path(0, 2, 3, 11)
    assert (around == gamma.generate(z, y)).all()


def test_one_picture_in_colour() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    image = widgets.mosaic(pictures, 3, 560)
    assert image.shape[-1] == 4 and image.shape[1] >= 2 * 560
    assert (tiles(image[..., [0, 3]], 3, 32) == pictures[..., :1]).all()


# --- the plane -----------------------------------------------------------------------------------------------------


def test_a_place_is_written_as_it_is_read() -> None:
    for place in (Place(), Place(-1.25, 3, 0.5), Place(123456.7891, -0.0001, 1.4142)):
        assert read_place(write_place(place)) == place
    for junk in ("a,b,1", "nan,0,1", "inf,0,1", "1e9,0,1", "0,0,0", "0,0,-1", "0,0,17"):
        assert read_place(dict(zip(("x", "y", "zoom"), junk.split(","), strict=True))) is None


def test_a_map_has_the_picture_of_each_place(released: Path) -> None:
    """Zoomed in twice over, tiles lie an eighth apart; the middle one is the nearest to the place."""
    ground, model = Ground(3), alpha()
    tiles = ground.map(model, Place(0.51, -0.3, 2.5), 3)
    x, y = (v.ravel() for v in np.meshgrid([0.375, 0.5, 0.625], [-0.375, -0.25, -0.125]))
    assert (tiles == ground.pictures(model, x, y)).all()


def test_a_plane_of_a_class_and_truncated(gamma: render.Model) -> None:
    y = np.array([0, 0.25, 0.75], np.float32)
    ground = Ground(3, truncation=0.5, y=y)
    z = lattice.at(3, [1.5], [2.5], 8)
    expected = gamma.generate(0.5 * z, y[None])
    assert (ground.pictures(gamma, np.array([1.5]), np.array([2.5])) == expected).all()


def test_the_server_draws_for_a_browser_that_can_not(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganlab.app.components import generator

    assert "generator" in plane_data(opened(view="Move"))
    monkeypatch.setattr(generator, "BUDGET", 100)
    data = plane_data(opened(view="Move", model="beta", x="0.5", y="0.25", lattice="3"))
    assert data["generator"] is None and "million multiplications" in data["reason"]
    sprite = np.array(Image.open(io.BytesIO(base64.b64decode(data["served"]["sprite"].partition(",")[2]))))
    pictures = sprite.reshape(-1, 28, SERVED, 28).transpose(0, 2, 1, 3).reshape(-1, 28, 28, 1)
    ground, place, model = Ground(3), Place(0.5, 0.25), catalog.load("beta")
    assert (pictures[: SERVED**2] == ground.map(model, place, SERVED)).all()
    assert (pictures[SERVED**2] == ground.pictures(model, np.array([0.5]), np.array([0.25]))[0]).all()


def plane_data(app: AppTest) -> dict:
    """What the component of the plane is given."""
    (found,) = given(app, "walk")
    return found


# --- classes -------------------------------------------------------------------------------------------------------


def test_a_model_without_classes_offers_none(released: Path, gamma: render.Model) -> None:
    assert "class" not in [field.key for field in opened().selectbox]
    field = opened(model="gamma").selectbox(key="class")
    assert (field.value, field.options) == ("Each seed's own", ["Each seed's own", "Bag", "Coat", "Ankle boot"])


def test_wall_of_a_class_or_of_each_seeds_own(gamma: render.Model) -> None:
    app = opened(model="gamma", pictures="16", seed="5")
    own = gamma.generate(gamma.z(range(5, 21)), [seed % 3 for seed in range(5, 21)])
    assert (sprites(app)[0] == own).all()
    app.selectbox(key="class").set_value("Ankle boot").run()
    assert (sprites(app)[0] == gamma.generate(gamma.z(range(5, 21)), [2] * 16)).all()


@pytest.mark.parametrize(("chosen", "index"), [({}, 1), ({"class": "Bag"}, 0)], ids=["own", "Bag"])
def test_a_plane_through_three_is_of_one_class(gamma: render.Model, chosen: dict[str, str], index: int) -> None:
    app = opened(model="gamma", view="Move", plane="Through three", **chosen)
    assert (sprites(app)[0] == gamma.generate(gamma.z([1, 2, 3]), [index] * 3)).all()  # seed 1 is of class 1
    data = plane_data(app)
    assert data["y"] == np.eye(3)[index].tolist()
    np.testing.assert_array_equal(np.float32(data["plane"]["anchors"]), gamma.z([1, 2, 3]))


def test_another_model_without_that_class_draws_its_own(gamma: render.Model) -> None:
    config = CONFIG.replace(conditioning="concat", classes=("cat", "dog"))
    save_model(catalog.CHECKPOINTS / "delta" / "generator.safetensors", 8, config=config)
    app = opened(model="gamma", pictures="16", **{"class": "Bag"})
    app.selectbox(key="model").set_value("delta").run()
    assert not app.exception and not app.warning
    assert app.selectbox(key="class").value == "Each seed's own"
    assert (sprites(app)[0] == catalog.load("delta").sample(16)).all()


# --- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_shows_its_newest_snapshot_or_the_one_asked_for(released: Path, run: RunDir) -> None:
    app = opened(model=str(run.path), pictures="16")
    assert (sprites(app)[0] == catalog.load(f"{run.path}@20").sample(16)).all()
    app.selectbox(key="step").set_value("10").run()
    assert (sprites(app)[0] == catalog.load(f"{run.path}@10").sample(16)).all()


def test_a_run_without_a_snapshot_is_explained(released: Path, run: RunDir) -> None:
    for file in run.snapshots():
        file.unlink()
    app = opened(model=str(run.path))
    assert "no snapshot yet" in app.warning[0].value and drawn(app)


# --- links, files, commands ----------------------------------------------------------------------------------------


VIEWS = {
    "wall": {"seed": "9", "pictures": "36", "truncation": "0.7"},
    "interpolate": {"view": "Interpolate", "frames": "4"},
    "wall of a class": {"model": "gamma", "class": "Ankle boot", "pictures": "16"},
    "interpolate in a class": {"model": "gamma", "view": "Interpolate", "class": "Coat"},
    "interpolate over classes": {"model": "gamma", "view": "Interpolate"},
    "move": {"view": "Move", "lattice": "9", "x": "-1.25", "y": "3", "zoom": "2", "truncation": "0.7"},
    "through three": {"model": "gamma", "view": "Move", "plane": "Through three", "x": "0.5", "y": "0.25",
                      "class": "Coat"},
}  # fmt: skip


def links(app: AppTest) -> list[str]:
    return [code.value for code in app.code if "/?" in code.value]


def images(app: AppTest) -> list[dict]:
    """What is shown, as it was given to the components."""
    return [{k: d[k] for k in ("sprite", "plane", "truncation", "start", "y") if k in d} for d in given(app, "label")]


@pytest.mark.parametrize("params", VIEWS.values(), ids=VIEWS)
def test_the_link_gives_the_same_images_again(
    released: Path, gamma: render.Model, run: RunDir, params: dict[str, str]
) -> None:
    app = opened(**{"model": str(run.path), **params})
    save_model(run.snapshot_file(30), 30, 30)  # the training goes on; the link must not
    again = followed(links(app)[0])
    assert not again.warning and images(app) == images(again)
    assert [code.value for code in app.code] == [code.value for code in again.code]


def followed(link: str) -> AppTest:
    """The page as whoever opens a link sees it."""
    app = AppTest.from_function(explore, default_timeout=30)
    app.query_params.update({key: values[0] for key, values in parse_qs(urlsplit(link).query).items()})
    app.run()
    assert not app.exception
    return app


@pytest.mark.parametrize("params", VIEWS.values(), ids=VIEWS)
def test_the_command_draws_what_the_page_shows(
    gamma: render.Model, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, str]
) -> None:
    """Every command, and the Python lines beside it."""
    monkeypatch.chdir(tmp_path)
    app = opened(**{"model": str(run.path), **params})  # its path holds a space
    commands = [code.value for code in app.code if code.value.startswith("python -m ganlab")]
    commands = [command for command in commands if command.endswith(".png")]
    python = [code.value for code in app.code if "import ganlab" in code.value]
    model = catalog.load(params.get("model", str(run.path)))
    shown = sprites(app)
    if params.get("view") == "Move":
        where = np.array([float(params["x"])]), np.array([float(params["y"])])
        if "plane" in params:
            z = lattice.through(*model.z([1, 2, 3]), *where)
        else:
            z = 0.7 * lattice.at(9, *where, model.config.latent_dim)
        shown = [model.generate(z, [1] if model.num_classes else None)]
    elif params.get("view") == "Interpolate":
        shown = shown[1:]  # without the key pictures
    for command, lines, pictures in zip(commands, python, shown, strict=False):
        dash_m = shlex.split(command)
        assert dash_m[:3] == ["python", "-m", "ganlab"]
        cli.main(argv=dash_m[3:])
        columns = round(len(pictures) ** 0.5) if "view" not in params else len(pictures)
        expected = render.grid(pictures, columns)[..., 0]
        assert (np.array(Image.open(dash_m[-1])) == expected).all()
        names: dict = {}
        exec(lines, names)
        assert (names["images"] == pictures).all()
    assert len(commands) >= len(shown)  # and one for the picture in hand


# --- in hand -------------------------------------------------------------------------------------------------------


def in_hand(app: AppTest) -> np.ndarray:
    """The picture in the panel: uint8 (1, H, W, 1)."""
    return tiles(drawn(app)[-1], 1)


def test_back_and_forth(released: Path) -> None:
    held = Hand([Anchor(0)])
    for seed in (1, 2, 2, 3):
        held.take(Anchor(seed))
    held.undo()
    held.undo()
    assert held.held == Anchor(1)
    held.redo()
    assert held.held == Anchor(2)
    held.take(Anchor(9))
    held.redo()  # there is nothing any more
    assert held.held == Anchor(9)
    for _ in range(9):
        held.undo()
    assert held.held == Anchor(0)


def test_a_picture_taken_is_in_hand_in_every_view(released: Path) -> None:
    app = opened(view="Move", x="0.5", y="0.25", lattice="3")
    assert (in_hand(app) == alpha().from_seeds([0])).all()
    take = next(button for button in app.button if button.label == "Take this picture")
    take.click().run()
    here = alpha().generate(lattice.at(3, [0.5], [0.25], 8))
    assert (in_hand(app) == here).all()
    app.segmented_control(key="view").set_value("Interpolate").run()
    assert (in_hand(app) == here).all()
    app.button(key="keys put").click().run()
    assert (sprites(app)[0][0] == here).all()
    app.button(key="hand Undo").click().run()
    assert (in_hand(app) == alpha().from_seeds([0])).all()


def test_z_is_pasted_and_junk_is_refused(released: Path) -> None:
    app, z = opened(), alpha().z([5])
    for junk in ("hello", "1, 2, 3", "nan " * 8):
        app.text_input(key="pasted z").set_value(junk).run()
        next(button for button in app.button if button.label == "Take it in hand").click().run()
        assert app.error and (in_hand(app) == alpha().from_seeds([0])).all()
    app.text_input(key="pasted z").set_value(latent.to_text(z[0])).run()
    next(button for button in app.button if button.label == "Take it in hand").click().run()
    assert not app.error and (in_hand(app) == alpha().generate(z)).all()
    assert latent.to_text(z[0]) in [code.value for code in app.code]


def test_favourites_and_their_link(gamma: render.Model) -> None:
    app = opened(model="gamma", view="Interpolate")
    app.button(key="hand Favourite").click().run()
    app.text_input(key="pasted z").set_value(latent.to_text(gamma.z([5])[0])).run()
    next(button for button in app.button if button.label == "Take it in hand").click().run()
    app.button(key="hand Favourite").click().run()
    wall = gamma.generate(gamma.z([0, 5]), [0, 0])
    assert (sprites(app)[-1] == wall).all()
    again = followed(links(app)[-1])
    assert (sprites(again)[0] == wall).all()  # as key pictures


def test_a_link_to_one_picture_takes_it_in_hand(gamma: render.Model) -> None:
    app = followed("http://host/?model=gamma&show=pictures&at=4@Coat&truncation=0.5")
    assert not app.warning and (in_hand(app) == gamma.generate(0.5 * gamma.z([4]), [1])).all()
    assert app.segmented_control(key="view").value == "Move"


# --- junk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"seed": "abc"},
        {"seed": "inf"},
        {"seed": "1e400"},
        {"seed": "-1"},
        {"seed": ""},
        {"seed": "nan", "truncation": "nan"},
        {"view": "Interpolate", "frames": "9999"},
        {"x": "1", "y": "nan"},
        {"x": "1e9", "lattice": "-3"},
        {"zoom": "99", "plane": "Round"},
        {"view": "Sideways", "pictures": "7"},
        {"model": "nope"},
        {"model": "../../etc/passwd"},
        {"model": "`**x**`"},
    ],
    ids=str,
)
def test_junk_in_a_link_is_named_and_passed_over(released: Path, params: dict[str, str]) -> None:
    app = opened(**params)
    assert drawn(app) or params.get("view") == "Sideways"  # then it opens with the plane
    junk = {key for key in params if key != "view" or params[key] == "Sideways"}
    assert all(f"`{key}=" in app.warning[0].value for key in junk)


def test_a_recipe_that_can_not_be_read_is_explained(released: Path) -> None:
    app = followed("http://host/?model=alpha&show=slerp&at=1,two")
    assert "'two'" in app.warning[0].value and drawn(app)


def test_a_class_that_the_model_lacks_is_named(gamma: render.Model) -> None:
    app = opened(model="gamma", **{"class": "cat"})
    assert "`class=cat`" in app.warning[0].value and drawn(app)
    assert not opened(model="alpha", **{"class": "cat"}).warning  # a parameter of others


def test_a_step_that_is_gone_is_named(released: Path, run: RunDir) -> None:
    app = opened(model=str(run.path), step="15")
    assert "`step=15`" in app.warning[0].value and drawn(app)


def test_parameters_of_others_are_no_junk(released: Path) -> None:
    assert not opened(utm_source="mail", seed="3", step="15").warning


def test_a_damaged_model_is_explained_and_another_can_be_chosen(released: Path) -> None:
    file = released / "alpha" / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    app = opened()
    assert "can't be opened" in app.error[0].value and not drawn(app)
    app.selectbox(key="model").set_value("beta").run()
    assert not app.error and (sprites(app)[0] == catalog.load("beta").sample(64)).all()


def test_without_a_model_the_way_to_one_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("GANLAB_RUNS", str(tmp_path / "none"))
    app = AppTest.from_file(str(Path(__file__).parents[2] / "streamlit_app.py"), default_timeout=30).run()
    assert not app.exception and not drawn(app) and app.header[0].value == "No pictures yet"
    app.button[0].click().run()
    assert not app.exception and "No pictures yet" not in [header.value for header in app.header]


def test_a_card_gives_the_model_its_title(released: Path) -> None:
    (released / "alpha" / "card.json").write_text('{"title": "Digits that nobody wrote"}')
    assert "Digits that nobody wrote" in [caption.value for caption in opened().caption]
