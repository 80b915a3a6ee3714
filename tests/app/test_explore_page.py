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

from ganlab import catalog, cli, lattice, render, weights
from ganlab.app import widgets
from ganlab.app.components.latent_plane import SERVED, Place
from ganlab.app.components.latent_plane import Plane as Ground
from ganlab.app.explore.recipes import PATHS, Plane, Spot, Walk, Wall, read_place, write_place
from ganlab.config import Config
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
    (image,) = drawn(app)
    assert (tiles(image, 8) == alpha().sample(64)).all()
    assert app.image[0].proto.imgs[0].alt == "64 generated pictures in 8 rows, of the seeds 0 to 63"
    assert any("seed 0" in caption.value and "seed 63" in caption.value for caption in app.caption)


def test_a_released_model_has_its_card_below(released: Path) -> None:
    assert [expander.label for expander in opened().expander] == ["Model card"]


def test_the_app_opens_on_explore(released: Path) -> None:
    app = AppTest.from_file(str(Path(__file__).parents[2] / "streamlit_app.py"), default_timeout=30).run()
    assert not app.exception and app.segmented_control(key="view").value == "Move"


def test_wall_takes_number_truncation_and_seed(released: Path) -> None:
    (image,) = drawn(opened(num="16", truncation="0.5", seed="7"))
    assert (tiles(image, 4) == alpha().sample(16, 7, 0.5)).all()


def test_new_pictures_goes_on_with_the_next_seeds(released: Path) -> None:
    app = opened(num="16", seed="5")
    app.button[0].click().run()
    assert app.number_input(key="seed").value == 21
    assert (tiles(drawn(app)[0], 4) == alpha().sample(16, 21)).all()


def test_new_pictures_starts_again_after_the_last_seed(released: Path) -> None:
    app = opened(seed=str(widgets.MAX_SEED - 3))
    app.button[0].click().run()
    assert app.number_input(key="seed").value == 0 and not app.exception


def test_plane(released: Path) -> None:
    image, *anchors = drawn(opened(view="Plane", a="4", b="5", c="6", size="7"))
    model = alpha()
    assert (np.concatenate([tiles(x, 1) for x in anchors]) == model.from_seeds([4, 5, 6])).all()
    pictures = tiles(image, 7)
    assert (pictures == Plane(4, 5, 6, 7).pictures(model)).all()
    corners = pictures[[0, 6, 42]].astype(int)  # A, B, C; a point is rounded once more on its way
    assert abs(corners - model.from_seeds([4, 5, 6])).max() <= 1


def test_interpolate_shows_both_paths(released: Path) -> None:
    _, _, around, straight = drawn(opened(view="Interpolate", a="4", b="5", frames="9"))
    model = alpha()
    for image, path in ((around, "slerp"), (straight, "lerp")):
        pictures = tiles(image, 9)
        assert (pictures == Walk(4, 5, 9).pictures(model, path)).all()
        assert abs(pictures[[0, -1]].astype(int) - model.from_seeds([4, 5])).max() <= 1
    assert (around != straight).any()


def test_one_picture_in_colour() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    image = widgets.mosaic(pictures, 3, 560)
    assert image.shape[-1] == 4 and image.shape[1] >= 2 * 560
    assert (tiles(image[..., [0, 3]], 3, 32) == pictures[..., :1]).all()


# --- the plane -----------------------------------------------------------------------------------------------------


def test_a_place_is_written_as_it_is_read() -> None:
    for place in (Place(), Place(-1.25, 3, 0.5), Place(123456.7891, -0.0001, 1.4142)):
        assert read_place(write_place(place)) == place
    for junk in ("", "1,2", "1,2,3,4", "a,b,c", "nan,0,1", "inf,0,1", "1e9,0,1", "0,0,0", "0,0,-1", "0,0,17"):
        assert read_place(junk) is None


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
    data = plane_data(opened(view="Move", model="beta", at="0.5,0.25,1", lattice="3"))
    assert data["generator"] is None and "million multiplications" in data["reason"]
    sprite = np.array(Image.open(io.BytesIO(base64.b64decode(data["served"]["sprite"].partition(",")[2]))))
    pictures = sprite.reshape(-1, 28, SERVED, 28).transpose(0, 2, 1, 3).reshape(-1, 28, 28, 1)
    ground, place, model = Ground(3), Place(0.5, 0.25), catalog.load("beta")
    assert (pictures[: SERVED**2] == ground.map(model, place, SERVED)).all()
    assert (pictures[SERVED**2] == ground.pictures(model, np.array([0.5]), np.array([0.25]))[0]).all()


def plane_data(app: AppTest) -> dict:
    """What the component of the plane is given."""
    protos = [element.proto for element in app.get("bidi_component")]
    (found,) = [json.loads(proto.json) for proto in protos if proto.json]
    return found


# --- classes -------------------------------------------------------------------------------------------------------


def test_a_model_without_classes_offers_none(released: Path, gamma: render.Model) -> None:
    assert "class" not in [field.key for field in opened().selectbox]
    field = opened(model="gamma").selectbox(key="class")
    assert (field.value, field.options) == ("Each seed's own", ["Each seed's own", "Bag", "Coat", "Ankle boot"])


def test_wall_of_a_class_or_of_each_seeds_own(gamma: render.Model) -> None:
    app = opened(model="gamma", num="16", seed="5")
    own = gamma.generate(gamma.z(range(5, 21)), [seed % 3 for seed in range(5, 21)])
    assert (tiles(drawn(app)[0], 4) == own).all()
    app.selectbox(key="class").set_value("Ankle boot").run()
    assert (tiles(drawn(app)[0], 4) == gamma.generate(gamma.z(range(5, 21)), [2] * 16)).all()


@pytest.mark.parametrize(("chosen", "index"), [({}, 1), ({"class": "Bag"}, 0)], ids=["own", "Bag"])
def test_plane_and_walk_are_of_one_class(gamma: render.Model, chosen: dict[str, str], index: int) -> None:
    plane, *corners = drawn(opened(model="gamma", view="Plane", a="4", b="5", c="6", size="7", **chosen))
    of_class = gamma.generate(gamma.z([4, 5, 6]), [index] * 3).astype(int)  # seed 4 is of class 1
    assert (np.concatenate([tiles(x, 1) for x in corners]) == of_class).all()
    assert abs(tiles(plane, 7)[[0, 6, 42]] - of_class).max() <= 1
    _, _, around, straight = drawn(opened(model="gamma", view="Interpolate", a="4", b="5", frames="9", **chosen))
    for image in (around, straight):
        assert abs(tiles(image, 9)[[0, -1]] - of_class[:2]).max() <= 1


def test_another_model_without_that_class_draws_its_own(gamma: render.Model) -> None:
    config = CONFIG.replace(conditioning="concat", classes=("cat", "dog"))
    save_model(catalog.CHECKPOINTS / "delta" / "generator.safetensors", 8, config=config)
    app = opened(model="gamma", num="16", **{"class": "Bag"})
    app.selectbox(key="model").set_value("delta").run()
    assert not app.exception and not app.warning
    assert app.selectbox(key="class").value == "Each seed's own"
    assert (tiles(drawn(app)[0], 4) == catalog.load("delta").sample(16)).all()


# --- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_shows_its_newest_snapshot_or_the_one_asked_for(released: Path, run: RunDir) -> None:
    app = opened(model=str(run.path), num="16")
    assert (tiles(drawn(app)[0], 4) == catalog.load(f"{run.path}@20").sample(16)).all()
    app.selectbox(key="step").set_value("10").run()
    assert (tiles(drawn(app)[0], 4) == catalog.load(f"{run.path}@10").sample(16)).all()


def test_a_run_without_a_snapshot_is_explained(released: Path, run: RunDir) -> None:
    for file in run.snapshots():
        file.unlink()
    app = opened(model=str(run.path))
    assert "no snapshot yet" in app.warning[0].value and drawn(app)


# --- links, files, commands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"seed": "9", "num": "36", "truncation": "0.7"},
        {"view": "Plane", "a": "7", "b": "8", "c": "9", "size": "5"},
        {"view": "Interpolate", "a": "7", "b": "8", "frames": "4"},
        {"model": "gamma", "class": "Ankle boot", "num": "16"},
        {"model": "gamma", "view": "Plane", "a": "7", "b": "8", "c": "9", "size": "5"},
        {"model": "gamma", "view": "Interpolate", "class": "Coat"},
        {"view": "Move", "lattice": "9", "at": "-1.25,3,2", "truncation": "0.7"},
        {"model": "gamma", "view": "Move", "plane": "Through three", "a": "7", "at": "0.5,0.25,1", "class": "Coat"},
    ],
    ids=[
        "wall",
        "plane",
        "interpolate",
        "wall of a class",
        "plane of A's class",
        "interpolate in a class",
        "move",
        "through three",
    ],
)
def test_the_link_gives_the_same_images_again(
    released: Path, gamma: render.Model, run: RunDir, params: dict[str, str]
) -> None:
    app = opened(**{"model": str(run.path), **params})
    link = next(code.value for code in app.code if "?" in code.value)
    save_model(run.snapshot_file(30), 30, 30)  # the training goes on; the link must not
    again = opened(**{key: values[0] for key, values in parse_qs(urlsplit(link).query).items()})
    assert not again.warning
    for one, other in zip(drawn(app), drawn(again), strict=True):
        assert np.array_equal(one, other)
    assert [code.value for code in app.code] == [code.value for code in again.code]


def test_commands_write_the_files_that_the_page_offers(
    gamma: render.Model, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{run.path}@10"  # its path holds a space
    for model, label in ((name, None), ("gamma", None), ("gamma", "Ankle boot")):
        wall, walk = Wall(16, 3, 0.5, label), Walk(1, 2, 5, label or ("Coat" if model == "gamma" else None))
        for command in [wall.command(model), *walk.command(model).splitlines()]:
            python, dash_m, ganlab, *arguments = shlex.split(command)
            assert (python, dash_m, ganlab) == ("python", "-m", "ganlab")
            cli.main(argv=arguments)
        assert Path("wall.png").read_bytes() == wall.png(catalog.load(model))
        for path in PATHS:
            assert Path(f"{path}.png").read_bytes() == walk.png(catalog.load(model), path)
            assert Path(f"{path}.gif").read_bytes() == walk.gif(catalog.load(model), path)


@pytest.mark.parametrize(("name", "label"), [("alpha", None), ("gamma", "Ankle boot")])
def test_python_lines_write_the_files_that_the_page_offers(
    gamma: render.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, label: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    wall, plane, walk = Wall(16, 3, 0.5, label), Plane(1, 2, 3, 5, label), Walk(1, 2, 5, label)
    model = catalog.load(name)
    for recipe in (wall, plane, walk):
        assert ("label" in recipe.python(name)) == (label is not None)
        exec(recipe.python(name), {})
    assert Path("wall.png").read_bytes() == wall.png(model)
    assert Path("plane.png").read_bytes() == plane.png(model)
    assert Path("slerp.png").read_bytes() == walk.png(model, "slerp")
    for spot in (Spot(9, at="-1.25,3,2", truncation=0.7, label=label), Spot(plane="Through three", a=4, label=label)):
        exec(spot.python(name), {})
        assert Path("picture.png").read_bytes() == spot.png(model)


@pytest.mark.parametrize(("name", "label"), [("alpha", None), ("gamma", "Coat")])
def test_films_are_endless(gamma: render.Model, name: str, label: str | None) -> None:
    model = catalog.load(name)
    of_all = Wall(16).gif(model), Wall(16, label=label).gif(model)
    for gif in (*of_all, Plane(label=label).gif(model), Walk(label=label).gif(model, "slerp")):
        film = Image.open(io.BytesIO(gif))
        assert film.info["loop"] == 0 and film.n_frames > 30


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
        {"view": "Plane", "size": "x", "a": "-inf"},
        {"at": "1,2"},
        {"at": "nan,0,1", "lattice": "-3"},
        {"at": "0,0,99", "plane": "Round"},
        {"view": "Sideways", "num": "7"},
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
    assert not app.error and (tiles(drawn(app)[0], 8) == catalog.load("beta").sample(64)).all()


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
