"""Recipes: what is written is read as the same, mistakes are named, and a recipe draws what the model draws."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import write_generator
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ganlab import cli, latent, lattice, render
from ganlab.directions import Direction, move, principal_directions, save_directions
from ganlab.errors import ConfigError
from ganlab.recipe import NUM, PLACES, Anchor, Move, Recipe, from_query, parse
from ganlab.render import Model, load_model
from ganlab.scene import Scene, pictures, save_scene, scene

floats = st.floats(allow_nan=False, allow_infinity=False)
vectors = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9).map(tuple)
names = st.text(min_size=1, max_size=12)
blends = st.dictionaries(names, st.floats(min_value=1e-9, max_value=1e9), max_size=3).map(lambda d: tuple(d.items()))
anchors = st.builds(Anchor, st.integers(0, 2**63 - 1) | st.integers(0, 9) | vectors, blends)
moves = st.lists(st.builds(Move, names | vectors, floats), max_size=3).map(tuple)


@st.composite
def recipes(draw) -> Recipe:
    show = draw(st.sampled_from(["pictures", "lerp", "slerp", "classes", "plane", "lattice", "through"]))
    least, most = {"lerp": (2, 6), "slerp": (2, 6), "plane": (3, 3), "through": (3, 3)}.get(show, (1, 6))
    values = {
        "anchors": tuple(draw(st.lists(anchors, min_size=least, max_size=most))),
        "step": draw(st.none() | st.integers(0, 10**9) | st.just("best")),
        "blend": draw(blends),
        "truncation": draw(floats),
        "moves": draw(moves),
    }
    if show in NUM:
        values["num"] = draw(st.none() | st.integers(1 if show in PLACES else 2, 1000))
    if show in ("lerp", "slerp"):
        values["closed"] = draw(st.booleans())
    if show == "lattice":
        values["anchors"] = (Anchor(draw(st.integers(0, 99)), draw(blends)),)
    if show in PLACES:
        values |= {"x": draw(floats), "y": draw(floats), "zoom": draw(st.floats(1e-6, 1e6))}
    return Recipe(draw(names), show=show, **values)


# --- text ------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(recipes())
def test_what_is_written_is_read_as_the_same(recipe):
    text = str(recipe)
    assert parse(text) == recipe
    assert from_query(recipe.query()) == recipe
    assert parse(f"https://host:8501/explore?{text}") == recipe
    assert text.isascii() and not set(text) & set(" \"'<>#?;+\\^`{|}[]")
    assert urlsplit(f"http://host/?{text}").query == text


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_any_text_is_a_recipe_or_an_error_for_people(text):
    for written in (text, f"model=m&at={text}", f"model=m&move={text}", f"model=m&class={text}", f"model=m&x={text}"):
        try:
            parse(written)
        except ConfigError:
            pass


def test_a_recipe_is_readable():
    recipe = Recipe(
        "runs/a",
        (
            *(Anchor(seed) for seed in (1, 2)),
            *(Anchor(seed) for seed in range(40, 44)),
            Anchor(7, (("cat", 0.5), ("3", 1))),
        ),
        "slerp",
        step=2000,
        truncation=0.8,
        moves=(Move("slant", 1.5), Move("my own", -2.0)),
    )
    expected = (
        "v=1&model=runs/a&step=2000&show=slerp&at=1,2,40..43,7@cat*0.5:3&move=slant*1.5,my%2520own*-2&truncation=0.8"
    )
    assert str(recipe) == expected
    assert recipe.source == "runs/a@2000"


def test_a_recipe_by_hand():
    assert parse("model=m") == Recipe("m")
    assert parse(" model=a b&at=3..5&show=lerp&num=7 ") == Recipe("a b", tuple(map(Anchor, (3, 4, 5))), "lerp", num=7)
    assert parse("at=2@a%20b&model=m").anchors == (Anchor(2, (("a b", 1.0),)),)
    assert parse("model=m&truncation=1e+1&step=&closed=0").truncation == 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no model"),
        ("mnist-dcgan", "'mnist-dcgan' in the recipe has no value"),
        ("model=m&trunctation=1", "'trunctation'. Did you mean 'truncation'?"),
        ("model=m&blah=1", "there are: v, model"),
        ("model=m&model=n", "'model' is in the recipe more than once"),
        ("v=2&model=m", "version '2'; this ganlab reads 1"),
        ("model=m&show=slurp", "Did you mean 'slerp'"),
        ("model=m&show=slerp&at=1", "show=slerp takes 2 to 1000 anchors; at gives 1"),
        ("model=m&show=plane&at=1,2", "show=plane takes 3 anchors; at gives 2"),
        ("model=m&at=1,,2", "an anchor in at is ''"),
        ("model=m&at=one", "an anchor in at is 'one'"),
        ("model=m&at=-1", "an anchor in at is '-1'"),
        ("model=m&at=9..1", "'9..1' in at is no row of seeds"),
        ("model=m&at=0..99999999", "no row of seeds"),
        ("model=m&at=1@", "names no class after its @"),
        ("model=m&at=z16:A", "is no z"),
        ("model=m&at=z32:AADAfw", "not finite"),
        ("model=m&class=3*0", "weights above 0"),
        ("model=m&class=3*x", "a weight of a class is 'x'"),
        ("model=m&class=3:3", "a class twice"),
        ("model=m&move=slant", "write slant*1.5"),
        ("model=m&move=slant*lots", "the amount of 'slant' is 'lots'"),
        ("model=m&truncation=nan", "truncation is 'nan'"),
        ("model=m&x=1", "x, y and zoom go with show=lattice and through"),
        ("model=m&show=lattice&zoom=0", "zoom is above 0"),
        ("model=m&show=lattice&at=z16:ADw", "at is one number"),
        ("model=m&num=5", "num is 5"),
        ("model=m&show=plane&at=1,2,3&num=1", "num is 1; it is from 2"),
        ("model=m&show=plane&at=1,2,3&num=2.5", "num is '2.5'"),
        ("model=m&closed=1", "closed goes with"),
        ("model=m&closed=yes", "closed is 'yes'"),
        ("model=m&step=last", "step is 'last'"),
    ],
)
def test_mistakes_are_named(text, says):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert says in str(caught.value)


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_generator(tmp_path / "plain.safetensors"))


@pytest.fixture
def conditional(tmp_path: Path) -> Model:
    return load_model(write_generator(tmp_path / "cond.safetensors", num_classes=3))


def seeds(*numbers: int) -> tuple[Anchor, ...]:
    return tuple(map(Anchor, numbers))


def test_pictures_are_those_of_the_model(model):
    np.testing.assert_array_equal(pictures(Recipe("m", seeds(3, 4, 5)), model), model.from_seeds([3, 4, 5]))
    np.testing.assert_array_equal(
        pictures(Recipe("m", seeds(3), truncation=0.5), model), model.from_seeds([3], truncation=0.5)
    )
    z = np.random.default_rng(0).standard_normal(4).astype(np.float32)
    shown = scene(parse(str(Recipe("m", (Anchor.of(z),), truncation=0.5))), model)
    np.testing.assert_array_equal(shown.z, [z])  # bit for bit, through the text; truncation is of seeds alone
    assert shown.y is None


@pytest.mark.parametrize("kind", ["lerp", "slerp"])
@pytest.mark.parametrize("closed", [False, True])
def test_walks_and_planes_are_those_of_latent(model, kind, closed):
    recipe = Recipe("m", seeds(1, 2, 3), kind, num=8, closed=closed)
    np.testing.assert_array_equal(scene(recipe, model).z, latent.path(model.z([1, 2, 3]), 8, kind, closed))
    plane = scene(Recipe("m", seeds(1, 2, 3), "plane", num=4), model)
    np.testing.assert_array_equal(plane.z, latent.plane(*model.z([1, 2, 3]), 4))
    assert plane.columns == 4 and scene(Recipe("m", seeds(1, 2), kind), model).z.shape == (60, 4)


def test_classes(conditional):
    own = scene(Recipe("m", seeds(4, 5)), conditional)  # each seed's own
    np.testing.assert_array_equal(own.y, [[0, 1, 0], [0, 0, 1]])
    blend = scene(parse("model=m&at=4,5@2&class=0*1:1*3"), conditional)
    np.testing.assert_array_equal(blend.y, [[0.25, 0.75, 0], [0, 0, 1]])
    walk = scene(parse("model=m&at=4@0,4@2&show=slerp&num=3"), conditional)
    np.testing.assert_array_equal(walk.y, [[1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]])
    np.testing.assert_allclose(walk.z, conditional.z([4, 4, 4]), rtol=1e-6)
    rows = scene(parse("model=m&at=4,9&show=classes"), conditional)
    np.testing.assert_array_equal(rows.z, conditional.z([4, 4, 4, 9, 9, 9]))
    np.testing.assert_array_equal(rows.y, np.tile(np.eye(3), (2, 1)))
    assert rows.columns == 3
    plane = scene(parse("model=m&at=4,5,6&show=plane&num=2"), conditional)
    np.testing.assert_array_equal(plane.y, [[0, 1, 0]] * 4)


def test_moves(model):
    kept = {"slant": Direction("slant", np.array([0, 1, 0, 0], np.float32))}
    own = Move((0.0, 0.0, 0.0, 2.0), -1.0)
    shown = scene(Recipe("m", seeds(1, 2), moves=(Move("slant", 1.5), own)), model, kept)
    np.testing.assert_allclose(shown.z, model.z([1, 2]) + [0, 1.5, 0, -2], rtol=1e-6)
    shown = scene(Recipe("m", seeds(1), moves=(Move("features-2", 3.0),)), model)
    np.testing.assert_array_equal(shown.z, move(model.z([1]), [(principal_directions(model)[1], 3.0)]))


def test_a_place_on_an_endless_plane(model):
    here = scene(parse("model=m&show=lattice&at=5&x=1.5&y=-2&zoom=0.5&truncation=0.5"), model)
    np.testing.assert_array_equal(here.z, 0.5 * lattice.at(5, [1.5], [-2], 4))
    a, b, c = model.z([1, 2, 3])
    here = scene(parse("model=m&show=through&at=1,2,3&x=0.5&y=0.25"), model)
    np.testing.assert_array_equal(here.z, lattice.through(a, b, c, [0.5], [0.25]))


def test_a_map_of_an_endless_plane(model):
    """Zoomed in twice over, tiles lie an eighth apart; the middle one is the nearest to the place."""
    around = scene(parse("model=m&show=lattice&at=3&x=0.51&y=-0.3&zoom=2.5&num=3"), model)
    x, y = (v.ravel() for v in np.meshgrid([0.375, 0.5, 0.625], [-0.375, -0.25, -0.125]))
    np.testing.assert_array_equal(around.z, lattice.at(3, x, y, 4))
    assert around.columns == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model=m&at=z16:ADwAPA", "holds a z of 2 numbers; plain takes 4"),
        ("model=m&move=z16:ADw*1", "holds a z of 1 numbers"),
        ("model=m&class=3", "knows no classes"),
        ("model=m&show=classes", "knows no classes"),
        ("model=m&move=slnat*1", "no direction 'slnat'. Did you mean 'slant'? There are: slant"),
        ("model=m&move=features-5*1", "features-1 to features-4"),
        ("model=m&show=lattice&num=101", "more than 10,000"),
        ("model=m&show=plane&at=1,2,3&num=101", "more than 10,000"),
    ],
)
def test_what_does_not_go_with_the_model_is_said(model, text, says):
    with pytest.raises(ConfigError) as caught:
        scene(parse(text), model, {"slant": Direction("slant", np.ones(4, np.float32) / 2)})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model=m&class=7", "no class '7'"),
        ("model=m&at=z16:ADwAPAA8ADw", "say which, with class=0"),
        ("model=m&at=1@0,2,3&show=plane", "without @"),
        ("model=m&class=1&show=classes", "leave class and @ out"),
    ],
)
def test_what_does_not_go_with_its_classes_is_said(conditional, text, says):
    with pytest.raises(ConfigError) as caught:
        scene(parse(text), conditional)
    assert says in str(caught.value)


# --- files and the command -------------------------------------------------------------------------------------------


def rendered(capsys: pytest.CaptureFixture[str], *argv: object) -> Path:
    cli.main(None, ["render", *map(str, argv)])
    return Path(capsys.readouterr().out.strip())


def test_the_command_draws_what_the_model_draws(model, tmp_path, capsys):
    """Directions are those kept beside the file."""
    folder = tmp_path / "kept"
    file = write_generator(folder / "generator.safetensors")
    own = load_model(file)
    save_directions(folder / "directions.safetensors", [Direction("slant", np.array([0, 0, 1, 0], np.float32))], own)
    z = latent.path(own.z([1, 2]), 5, "slerp") + np.array([0, 0, 1.5, 0], np.float32)
    images = own.generate(z)
    recipe = Recipe(str(file), seeds(1, 2), "slerp", num=5, moves=(Move("slant", 1.5),))
    png = rendered(capsys, recipe, "--out", tmp_path / "a.png", "--scale", 3)
    strip = np.concatenate(list(images), axis=1)[..., 0]
    np.testing.assert_array_equal(np.asarray(Image.open(png)), strip.repeat(3, 0).repeat(3, 1))
    npy = np.load(rendered(capsys, recipe, "--out", tmp_path / "a.npy"))
    np.testing.assert_array_equal(npy, scene(recipe, own, {"slant": Direction("slant", np.eye(4)[2])}).z)
    np.testing.assert_allclose(npy, z, rtol=1e-6)
    with Image.open(rendered(capsys, f"http://host/?{recipe}", "--out", tmp_path / "a.gif", "--fps", 10)) as gif:
        assert (gif.size, gif.n_frames) == ((28, 28), 8)  # there and back
        np.testing.assert_array_equal(np.asarray(gif.convert("L")), images[0, ..., 0])


def test_a_run_keeps_its_directions_in_its_folder(tmp_path):
    from ganlab import catalog

    file = write_generator(tmp_path / "snapshots" / "000007.safetensors")
    (tmp_path / "config.yaml").touch()
    assert catalog.beside(f"{tmp_path}@7", "x") == catalog.beside(file, "x") == tmp_path / "x"
    assert catalog.beside("mnist-mlp", "x") == catalog.CHECKPOINTS / "mnist-mlp" / "x"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--out", "x.txt"], ".txt"),
        (["--scale", "0"], "scale"),
        (["--fps", "0", "--out", "x.gif"], "frames a second"),
    ],
)
def test_mistakes_of_the_command_are_one_line(model, tmp_path, monkeypatch, capsys, argv, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(None, ["render", "model=plain.safetensors", *argv])
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not list(tmp_path.glob("*.png"))


def test_rows_of_a_scene_are_rows_of_the_picture(conditional, tmp_path):
    points = scene(parse("model=m&at=4,9&show=classes"), conditional)
    save_scene(tmp_path / "a.png", points, conditional)
    expected = render.grid(conditional.generate(points.z, points.y), 3)[..., 0]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected)
    save_scene(tmp_path / "b.gif", Scene(points.z[:3], points.y[:3], 3), conditional, closed=True)
    with Image.open(tmp_path / "b.gif") as gif:
        assert gif.n_frames == 3
