"""The view Examine of Explore: a plane judged, the layers behind the picture in hand, and the real pictures near it."""

from __future__ import annotations

import base64
import io
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from conftest import write_generator
from PIL import Image
from streamlit.testing.v1 import AppTest

from ganlab import catalog, lattice, weights
from ganlab.app.explore import judged, layers, real
from ganlab.config import Config
from ganlab.data import open_dataset
from ganlab.layer_values import Inside
from ganlab.path_facts import extractor_of
from ganlab.program import Activation
from ganlab.rundir import RunDir

SIDE = judged.SIDE
RELEASED = Path(__file__).parents[2] / "checkpoints"


def write_discriminator(file: Path, config: Config) -> None:
    """A discriminator with random weights, whose verdicts differ."""
    random, arrays = np.random.default_rng(9), {}
    for i in range(2):
        arrays[f"layers.{i}.weight"] = random.normal(0, 0.1, (8, 784 if i == 0 else 8)).astype(np.float32)
        arrays[f"layers.{i}.bias"] = np.zeros(8, np.float32)
    arrays["head.linear.weight"] = random.normal(0, 3, (1, 8)).astype(np.float32)
    arrays["head.linear.bias"] = np.zeros(1, np.float32)
    weights.save_arrays(file, arrays, kind=weights.DISCRIMINATOR, config=config, facts={"step": 7})


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two released models: judge, which has its discriminator, and lone, of three classes and without."""
    folder = tmp_path / "checkpoints"
    monkeypatch.setattr(catalog, "CHECKPOINTS", folder)
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path / "data"))
    st.cache_resource.clear()
    write_generator(folder / "judge" / "generator.safetensors")
    config = Config(data="mnist-5k", model="mlp", width=8, d_width=8, latent_dim=4, d_norm="none")
    write_discriminator(folder / "judge" / "discriminator.safetensors", config)
    write_generator(folder / "lone" / "generator.safetensors", 3, num_classes=3)
    return folder


def explore() -> None:
    from ganlab.app.pages import explore

    explore.page()


def opened(**params: str) -> AppTest:
    app = AppTest.from_function(explore, default_timeout=60)
    app.query_params.update({"view": "Examine", "model": "judge", **params})
    app.run()
    assert not app.exception and not app.error
    return app


def said(app: AppTest) -> str:
    return "\n".join(element.value for kind in (app.markdown, app.caption, app.info) for element in kind)


def chart(app: AppTest) -> dict[str, list[dict]]:
    """The map's tables."""
    import pyarrow as pa

    proto = app.get("vega_lite_chart")[0].proto
    return {one.name: pa.ipc.open_stream(one.data.data).read_all().to_pylist() for one in proto.datasets}


def wall(app: AppTest) -> tuple[np.ndarray, dict]:
    """The clickable wall of the plane: its pictures uint8 (N, H, W), and what the component was given."""
    protos = [element.proto for element in app.get("bidi_component")]
    data = next(d for p in protos if p.json and (d := json.loads(p.json)).get("num") == SIDE**2)
    image = np.array(Image.open(io.BytesIO(base64.b64decode(data["sprite"].partition(",")[2]))))
    return image.reshape(SIDE, 28, SIDE, 28).transpose(0, 2, 1, 3).reshape(-1, 28, 28), data


# --- a plane, judged -------------------------------------------------------------------------------------------------


def test_the_map_says_of_each_tile_what_the_judges_say() -> None:
    app = opened(x="1.5", y="-2", zoom="2", lattice="4")
    model = catalog.load("judge")
    z = lattice.at(4, *lattice.tiles(1.5, -2, 2, SIDE), 4)
    images = model.generate(z)
    assert (wall(app)[0] == images[..., 0]).all()
    verdicts = catalog.load_judge("judge").verdicts(images)
    assert verdicts.std() > 0.01, "all alike: compares nothing"
    tiles = chart(app)["tiles"]
    np.testing.assert_allclose([tile["value"] for tile in tiles], verdicts, rtol=1e-5)
    assert [(tile["x"], tile["y"]) for tile in tiles] == [(i % SIDE, i // SIDE) for i in range(SIDE**2)]
    _, classes, sure = extractor_of(model).judge(images)
    assert [tile["seen"] for tile in tiles] == [str(c) for c in classes]
    assert [tile["sure"] for tile in tiles] == [f"{p:.0%}" for p in sure]


def test_lines_run_between_tiles_of_different_classes(models: Path) -> None:
    shutil.copy(RELEASED / "mnist-mlp" / "generator.safetensors", models / "lone" / "generator.safetensors")
    tables = chart(opened(model="lone"))
    seen = np.array([tile["seen"] for tile in tables["tiles"]]).reshape(SIDE, SIDE)
    assert len(tables["lines"]) == (seen[1:] != seen[:-1]).sum() + (seen[:, 1:] != seen[:, :-1]).sum() > 0
    for line in tables["lines"]:
        x, y = int(line["x"]), int(line["y"])
        assert seen[y, x] != (seen[y, x - 1] if line["x"] == line["x2"] else seen[y - 1, x])
    assert tables["names"]
    for name in tables["names"]:
        assert seen[int(name["y"]), int(name["x"])] == name["name"]


def test_a_plane_of_one_class_has_no_lines() -> None:
    app = opened()  # random weights: noise, which the classifier takes for one digit
    tables = chart(app)
    assert len({tile["seen"] for tile in tables["tiles"]}) == 1 and not tables["lines"]
    assert f"The classifier sees {tables['tiles'][0]['seen']} everywhere" in said(app)


def test_the_shade_can_be_the_certainty() -> None:
    app = opened()
    app.segmented_control(key="shade").set_value("Certainty").run()
    images = catalog.load("judge").generate(lattice.at(0, *lattice.tiles(0, 0, 1, SIDE), 4))
    expected = extractor_of(catalog.load("judge")).judge(images)[2]
    np.testing.assert_allclose([tile["value"] for tile in chart(app)["tiles"]], expected, rtol=1e-5)


def test_without_a_discriminator_the_certainty_is_shown_and_that_is_said() -> None:
    app = opened(model="lone", **{"class": "2"})
    assert "lone was released without its discriminator" in said(app)
    assert "shade" not in [control.key for control in app.segmented_control]
    model = catalog.load("lone")
    images = model.generate(lattice.at(0, *lattice.tiles(0, 0, 1, SIDE), 4), np.full(SIDE**2, 2))
    assert (wall(app)[0] == images[..., 0]).all()
    np.testing.assert_allclose(
        [tile["value"] for tile in chart(app)["tiles"]], extractor_of(model).judge(images)[2], rtol=1e-5
    )


def test_a_run_whose_data_no_classifier_knows_has_no_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLAB_RUNS", str(tmp_path / "runs"))
    run = RunDir(tmp_path / "runs" / "own")
    run.open_config(Config(data=str(tmp_path), model="mlp", width=16, latent_dim=4))
    write_generator(run.snapshot_file(20), data=str(tmp_path), step=20)
    app = opened(model=str(run.path))
    assert "**No judge**" in said(app) and not app.get("vega_lite_chart")
    assert len(wall(app)[0]) == SIDE**2


def test_closer_is_the_middle_of_the_same_map() -> None:
    app = opened(x="1", y="2")
    app.button(key="judged Closer").click().run()
    assert [app.query_params[key] for key in ("x", "y", "zoom")] == ["1", "2", "2"]
    images = catalog.load("judge").generate(lattice.at(0, *lattice.tiles(1, 2, 2, SIDE), 4))
    assert (wall(app)[0] == images[..., 0]).all()
    app.button(key="judged Farther").click().run()
    app.button(key="judged Farther").click().run()
    assert app.query_params["zoom"] == "0.5"
    assert app.button(key="judged Go there").disabled


def test_the_plane_through_three_opens_around_them() -> None:
    app = opened(x="7", y="7")
    app.segmented_control(key="plane").set_value("Through three").run()
    model = catalog.load("judge")
    images = model.generate(lattice.through(*model.z([1, 2, 3]), *lattice.tiles(0.5, 0.5, 4, SIDE)))
    assert (wall(app)[0] == images[..., 0]).all()


def test_names_of_tiles_are_words() -> None:
    names = wall(opened())[1]["names"]
    tile = chart(opened())["tiles"][SIDE + 2]
    assert names[SIDE + 2] == (
        f"Row 2, column 3, seen as {tile['seen']}, {tile['sure']} sure, verdict {tile['verdict']}"
    )


# --- layer by layer --------------------------------------------------------------------------------------------------


def test_every_layer_of_the_picture_in_hand_is_described() -> None:
    app = opened(part="Layer by layer")
    titles = ["16 numbers, after the first layer", "16 numbers, after the second layer", "The picture"]
    assert [t for t in titles if f"**{t}**" in said(app)] == titles
    assert "is one of 16 numbers" in said(app)


def test_the_layers_of_a_conditional_model_know_its_class() -> None:
    app = opened(part="Layer by layer", model="lone")
    again = opened(part="Layer by layer", model="lone", show="pictures", at="0@1", v="1")
    first, second = ([picture.url for image in a.image for picture in image.proto.imgs] for a in (app, again))
    assert len(first) == len(second) == 3 and not set(first) & set(second)


def test_shades_are_pale_at_zero_and_opposite_beyond() -> None:
    maps = np.array([[[0.0, 2.0], [-2.0, 1.0]]])
    ((zero, above), (below, half)) = layers.shaded(maps)[0].tolist()
    assert (zero, above, below) == tuple([round(u) for u in c] for c in (layers.ZERO, layers.ABOVE, layers.BELOW))
    np.testing.assert_allclose(half, (layers.ZERO + layers.ABOVE) / 2, atol=4)  # the deepest is no single value
    assert (layers.shaded(np.zeros((2, 3, 3))) == layers.ZERO).all()


def test_words_for_the_layers_of_convolutions() -> None:
    model = catalog.load(RELEASED / "mnist-dcgan" / "generator.safetensors")
    stages = Inside(model).stages(model.z([0])[0])
    assert [title for title, _ in layers.described(stages, model)] == [
        "4 × 4, 128 channels, where it begins",
        "7 × 7, 64 channels, after the first transposed convolution",
        "14 × 14, 32 channels, after the second transposed convolution",
        "The picture",
    ]
    assert all(isinstance(stage.layers[-1], Activation) for stage in stages)


# --- next to real ----------------------------------------------------------------------------------------------------


def test_the_nearest_real_pictures_are_those_of_the_data() -> None:
    app = opened(part="Next to real")
    while "Looking once" in str([p.proto for p in app.get("progress")]):
        time.sleep(0.1)
        app.run()
    image = catalog.load("judge").from_seeds([0])[0]
    train = open_dataset("mnist-5k")
    expected = np.sqrt(np.square(train.images / 255 - image / 255).sum((1, 2, 3)))
    assert f"The nearest is training picture {expected.argmin():,}." in said(app)
    assert "**By pixels**" in said(app) and "**By features**" in said(app)
    assert said(app).count("times as far as training pictures typically are from their nearest other one") == 2


def test_a_part_of_the_data_stands_in_for_what_is_not_on_this_disk(models: Path) -> None:
    write_generator(models / "judge" / "generator.safetensors", data="mnist")
    app = opened(part="Next to real")
    assert "It learnt from more: Handwritten digits, all of MNIST, which is not on this disk" in said(app)
    assert "**By pixels**" in said(app)


def test_data_that_are_not_there_are_told_of(models: Path) -> None:
    write_generator(models / "judge" / "generator.safetensors", data="fashion-mnist")
    app = opened(part="Next to real")
    assert "are not on this disk" in app.info[0].value and "Fashion-MNIST" in app.info[0].value
    assert "**By pixels**" not in said(app)


def test_data_that_cannot_be_opened_are_told_of_and_tried_again(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    write_generator(models / "judge" / "generator.safetensors", data=str(folder))
    app = AppTest.from_function(explore, default_timeout=60)
    app.query_params.update({"view": "Examine", "model": "judge", "part": "Next to real"})
    assert "These pictures can't be drawn" in app.run().error[0].value
    for i in range(12):
        Image.fromarray(np.full((28, 28), 20 * i, np.uint8)).save(folder / f"{i}.png")
    assert not app.run().error
    assert "**By pixels**" in said(app)


@pytest.mark.parametrize(
    ("distance", "begins", "suspect"),
    [
        (0.0, "Perhaps a copy: 0.00 times", True),
        (0.9, "Perhaps a copy: 0.02 times", True),
        (25.0, "Not a copy: 0.50 times", False),
        (60.0, "Not a copy: 1.19 times", False),
        (100.0, "No copy, and like none of them: 1.98 times", False),
    ],
)
def test_nearness_in_words(distance: float, begins: str, suspect: bool) -> None:
    """Against training pictures that are 1, 2, … 100 from their nearest other one: the median is 50.5."""
    words, found = real.verdict(distance, np.arange(1, 101))
    assert words.startswith(begins) and found == suspect
    if distance == 25:
        assert "; 25 of 100 come nearer to theirs." in words
