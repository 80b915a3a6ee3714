"""The view Time of Explore: what it draws of each snapshot, its words, its files and links, and films of all views."""

from __future__ import annotations

import base64
import io
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_explore_page import CONFIG, followed, given, in_hand, links, opened, released, run, save_model  # noqa: F401

from ganlab import catalog, cli, export, latent, lattice, render
from ganlab.app.explore import time as view
from ganlab.app.explore.hand import Hand
from ganlab.app.explore.save import MADE
from ganlab.recipe import Anchor, parse
from ganlab.rundir import RunDir
from ganlab.scene import scene
from ganlab.weights import GENERATOR, save_arrays

STEPS = (0, 5, 40)
CLASSES = ("Bag", "Coat", "Ankle boot")


@pytest.fixture
def history(released: Path) -> Path:  # noqa: F811
    """Alpha with a past, and delta, of three classes, too."""
    for name, config in (("alpha", CONFIG), ("delta", CONFIG.replace(conditioning="concat", classes=CLASSES))):
        for step in STEPS:
            save_model(released / name / "history" / f"{step:06d}.safetensors", 50 + step, step, config)
        save_model(released / name / "generator.safetensors", 50 + STEPS[-1], STEPS[-1], config)
    return released


def moments(app: AppTest) -> dict[int, np.ndarray]:
    """What the slider shows: by step, pictures uint8 (N, H, W, 1)."""
    (data,) = given(app, "frames")
    found = {}
    for step, url in zip(data["steps"], data["frames"], strict=True):
        image = np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
        rows = image.reshape(-1, data["height"], data["columns"], data["width"]).swapaxes(1, 2)
        found[step] = rows.reshape(-1, data["height"], data["width"], 1)[: data["num"]]
    return found


def timed(**params: str) -> AppTest:
    app = opened(**{"view": "Time", "model": "alpha", **params})
    assert not app.error and not app.warning, [box.value for box in (*app.error, *app.warning)]
    return app


# --- pictures --------------------------------------------------------------------------------------------------------


def of_plane(model: render.Model) -> np.ndarray:
    ends = [lattice.at(3, *lattice.tiles(0.5, -1.25, 2, 5), 8)]
    return model.generate(ends[0], [0] * 25 if model.num_classes else None)


LOOKED_AT = {
    "hand": ({"over": "In hand"}, lambda m: m.from_seeds([0])),
    "wall": ({"over": "Wall", "seed": "7", "truncation": "0.5"}, lambda m: m.sample(16, 7, 0.5)),
    "walk": (
        {"over": "Walk", "class": "Coat"},
        lambda m: m.generate(latent.path(m.z([1, 2]), 8, "slerp"), [1] * 8 if m.num_classes else None),
    ),
    "loop": (
        {"over": "Walk", "show": "slerp", "at": "1,2,5", "closed": "1", "class": "Coat"},
        lambda m: m.generate(latent.path(m.z([1, 2, 5]), 9, "slerp", closed=True), [1] * 9 if m.num_classes else None),
    ),
    "plane": (
        {"over": "Plane", "lattice": "3", "x": "0.5", "y": "-1.25", "zoom": "2", "class": "Bag"},
        of_plane,
    ),
}
each_look = pytest.mark.parametrize("looked", LOOKED_AT)
each_model = pytest.mark.parametrize("name", ["alpha", "delta"])


@each_model
@each_look
def test_the_same_points_at_every_snapshot(history: Path, looked: str, name: str) -> None:
    params, expected = LOOKED_AT[looked]
    shown = moments(timed(model=name, **params))
    assert list(shown) == list(STEPS)
    for step, pictures in shown.items():
        np.testing.assert_array_equal(pictures, expected(catalog.load(f"{name}@{step}")))


@each_model
@each_look
def test_the_commands_make_what_is_shown(
    history: Path, looked: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = timed(model=name, step="5", **LOOKED_AT[looked][0])
    shown, columns = moments(app), given(app, "frames")[0]["columns"]
    still, film = [c.value for c in app.code if c.value.startswith("python -m ganlab")][:2]
    cli.main(argv=shlex.split(still)[3:])
    np.testing.assert_array_equal(np.array(Image.open("training.png")), render.grid(shown[5], columns)[..., 0])
    cli.main(argv=shlex.split(film)[3:])
    with Image.open("training.gif") as gif:
        frames = [np.array(gif.convert("L")) for i in range(gif.n_frames) if gif.seek(i) is None]
    np.testing.assert_array_equal(frames, [render.grid(pictures, columns)[..., 0] for pictures in shown.values()])


@each_model
@each_look
def test_the_link_opens_the_same_at_the_same_step(history: Path, looked: str, name: str) -> None:
    app = timed(model=name, step="5", **LOOKED_AT[looked][0])
    again = followed(links(app)[0])
    assert not again.warning and not again.error
    assert again.segmented_control(key="view").value == "Time"
    assert again.segmented_control(key="over").value == LOOKED_AT[looked][0]["over"]
    for key in ("frames", "start", "words"):
        assert given(app, "frames")[0][key] == given(again, "frames")[0][key], key


def test_colour(released: Path) -> None:  # noqa: F811
    config = CONFIG.replace(data="cifar10", image_size=32, channels=3)
    sizes, random = [8, 8, 8, 32 * 32 * 3], np.random.default_rng(0)
    for step in (1, 2):
        arrays = {}
        for i in range(3):
            arrays[f"layers.{i}.weight"] = random.normal(size=(sizes[i + 1], sizes[i])).astype(np.float32)
            arrays[f"layers.{i}.bias"] = random.normal(size=sizes[i + 1]).astype(np.float32)
        for file in (f"history/{step:06d}.safetensors", "generator.safetensors"):
            save_arrays(released / "hue" / file, arrays, kind=GENERATOR, config=config, facts={"step": step})
    (data,) = given(timed(model="hue"), "frames")
    for step, url in zip((1, 2), data["frames"], strict=True):
        image = np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
        np.testing.assert_array_equal(image, render.grid(catalog.load(f"hue@{step}").sample(16)))


# --- words and steps -------------------------------------------------------------------------------------------------


def test_words_tell_step_pictures_seen_and_score(released: Path, run: RunDir) -> None:  # noqa: F811
    run.append_metrics({"step": 20, "score": 1.5, "metric": "fd_mnistnet_2k"})
    (data,) = given(timed(model=str(run.path)), "frames")
    assert data["titles"] == ["Step 10", "Step 20"] and data["start"] == 20
    assert data["words"] == ["of 20", "of 20 · score 1.5, lower is better"]


def test_pictures_seen_and_the_score_of_a_card() -> None:
    """Of the model that is released with a history."""
    app = opened(view="Time", model="mnist-sn")
    (data,) = given(app, "frames")
    assert data["steps"] == list(catalog.snapshots("mnist-sn"))
    assert data["words"][0] == "of 11,250 · no real picture seen yet"
    assert data["words"][4] == "of 11,250 · 4,096 real pictures seen"
    assert data["words"][-1] == "of 11,250 · 720,000 real pictures seen · score 1.34, lower is better"


def test_a_step_of_a_released_model_can_be_chosen_in_every_view(history: Path) -> None:
    app = timed(step="5", over="In hand")
    assert given(app, "frames")[0]["start"] == 5
    early = catalog.load("alpha@5").from_seeds([0])
    assert (in_hand(app) == early).all() and app.button(key="hand Undo").disabled
    app.segmented_control(key="view").set_value("Wall").run()
    assert (in_hand(app) == early).all()
    app.selectbox(key="step").set_value("Newest").run()
    assert (in_hand(app) == catalog.load("alpha").from_seeds([0])).all() and not app.exception


def test_a_step_that_a_released_model_lacks_is_named(history: Path) -> None:
    assert "`step=15`" in opened(view="Time", model="alpha", step="15").warning[0].value


def test_a_new_snapshot_joins(released: Path, run: RunDir) -> None:  # noqa: F811
    app = timed(model=str(run.path), step="10")
    assert list(moments(app)) == [10, 20]
    save_model(run.snapshot_file(30), 30, 30)
    app.run()
    assert list(moments(app)) == [10, 20, 30] and given(app, "frames")[0]["start"] == 10
    assert (moments(app)[30] == catalog.load(f"{run.path}@30").sample(16)).all()


def test_of_many_snapshots_some_are_shown_and_the_chosen_one(
    released: Path,  # noqa: F811
    run: RunDir,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view, "MOST", 4)
    for step in range(30, 110, 10):
        save_model(run.snapshot_file(step), step, step)
    assert list(moments(timed(model=str(run.path), step="60"))) == [10, 50, 60, 90, 100]


@pytest.mark.parametrize("truncation", [1.0, 0.5])
@pytest.mark.parametrize("at", ["at=4..6", "show=slerp&at=1,2&num=3"])
def test_a_picture_is_taken_as_it_is_shown(history: Path, at: str, truncation: float) -> None:
    model, shown = catalog.load("delta"), parse(f"model=delta&{at}&class=Coat&truncation={truncation}")
    points, held = scene(shown, model), Hand([Anchor(0)])
    view._take(held, shown, points, model, 1)
    taken = scene(replace(shown, anchors=(held.held,), show="pictures", num=None, blend=(), truncation=1.0), model)
    np.testing.assert_array_equal(model.generate(*taken[:2]), model.generate(points.z, points.y)[1:2])
    assert (held.held == Anchor(5, (("Coat", 1.0),))) == (at == "at=4..6" and truncation == 1)


# --- one snapshot ----------------------------------------------------------------------------------------------------


def test_a_model_without_a_past_leads_to_those_with_one(history: Path) -> None:
    app = timed(model="beta")
    assert not given(app, "frames") and any("no past here" in text.value for text in app.markdown)
    assert [button.label for button in app.button if (button.key or "").startswith("past of")] == ["alpha", "delta"]
    app.button(key="past of delta").click().run()
    assert not app.exception and list(moments(app)) == list(STEPS)


def test_a_run_with_one_snapshot_yet(released: Path, run: RunDir) -> None:  # noqa: F811
    run.snapshot_file(20).unlink()
    app = timed(model=str(run.path))
    assert not given(app, "frames") and any("Only one snapshot yet" in text.value for text in app.markdown)


# --- films -----------------------------------------------------------------------------------------------------------


def films(app: AppTest) -> list[str]:
    return [button.key.removeprefix("film of ") for button in app.button if (button.key or "").startswith("film of ")]


def gif_frames(content: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(content)) as gif:
        return [np.array(gif.convert("L")) for i in range(gif.n_frames) if gif.seek(i) is None]


def test_a_film_is_made_on_request_and_offered(history: Path) -> None:
    app = timed(over="In hand")
    assert films(app) == ["training"] and MADE not in app.session_state
    app.button(key="film of training").click().run()
    frames = gif_frames(app.session_state[MADE][1])
    np.testing.assert_array_equal([f[::4, ::4] for f in frames], [p[0, ..., 0] for p in moments(app).values()])
    offered = [button for button in app.get("download_button") if "training.gif" in button.proto.label]
    assert len(offered) == 1
    app.number_input(key="fps of training").set_value(9).run()
    assert not [button for button in app.get("download_button") if "training.gif" in button.proto.label]


@pytest.mark.parametrize(
    ("params", "file", "num"),
    [
        ({"view": "Wall", "pictures": "16"}, "wall", 2 * 37 - 2),
        ({"view": "Interpolate"}, "slerp", 2 * 60 - 2),
        ({"view": "Move"}, "picture", 240),
    ],
)
def test_films_of_the_other_views(released: Path, params: dict[str, str], file: str, num: int) -> None:  # noqa: F811
    app = opened(**params)
    assert file in films(app)
    app.number_input(key=f"scale of {file}").set_value(1).run()
    app.button(key=f"film of {file}").click().run()
    assert not app.exception and not app.error
    assert len(gif_frames(app.session_state[MADE][1])) == num


def test_a_film_as_mp4(history: Path) -> None:
    av = pytest.importorskip("av", reason="av is not installed")
    app = timed(over="In hand")
    app.segmented_control(key="kind of training").set_value("MP4").run()
    app.button(key="film of training").click().run()
    with av.open(io.BytesIO(app.session_state[MADE][1])) as file:
        frames = [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]
    assert len(frames) == len(STEPS) + 5  # 3 a second, the last for two seconds
    for frame, pictures in zip(frames, moments(app).values(), strict=False):
        assert np.abs(frame[1::4, 1::4].astype(int) - pictures[0, ..., 0]).mean() < 3


def test_without_av_the_page_says_what_is_missing(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "has_mp4", lambda: False)
    app = timed()
    assert app.segmented_control(key="kind of training").options == ["GIF"]
    assert any("pip install av" in caption.value for caption in app.caption)


def test_a_film_too_large_is_explained(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_MILLIONS", 0.01)
    app = timed()
    app.button(key="film of training").click().run()
    assert "million pixels" in app.error[0].value and MADE not in app.session_state
