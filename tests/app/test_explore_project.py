"""The view Project: what it looks for, what it shows of a search in every state, and what it does with junk."""

# ruff: noqa: F811  (fixtures of another file)

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_for
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_explore_page import (  # noqa: F401
    CONFIG,
    drawn,
    followed,
    gamma,
    given,
    in_hand,
    links,
    opened,
    released,
    save_model,
    sprites,
    tiles,
)

from ganlab import catalog, jobs
from ganlab.app.explore import search as searching
from ganlab.app.pages import explore
from ganlab.app.state import workers
from ganlab.config import Config
from ganlab.data import drawing, open_dataset
from ganlab.found import FIRST
from ganlab.render import Model
from ganlab.weights import GENERATOR, save_arrays
from ganlab.worker import read_status

STROKE = {"points": [[0.3, 0.3], [0.7, 0.7]], "width": 0.1, "colour": [255, 255, 255]}
OTHER = {"points": [[0.7, 0.3], [0.3, 0.7]], "width": 0.1, "colour": [255, 255, 255]}


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers find the models of a test, and none outlives it."""
    start = jobs._worker

    def find(arguments: list[str], log: Path) -> subprocess.Popen:
        return start([arguments[0], str(catalog.find(arguments[1])), *arguments[2:]], log)

    monkeypatch.setattr(jobs, "_worker", find)
    yield
    for process in workers():
        process.kill()
        process.wait()
    workers().clear()


def asked(*strokes: dict, model: str = "alpha", centre: bool = False) -> AppTest:
    """The view with these strokes on its pad."""
    app = opened(view="Project", model=model)
    for toggle in app.toggle:
        toggle.set_value(centre)
    app.session_state["pad strokes"] = list(strokes)
    return run(app)


def run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception
    return app


def until(app: AppTest, *states: str) -> AppTest:
    """Look again until the search is in one of these states."""
    wait_for(lambda: time.sleep(0.2) or run(app).session_state["search"].state in states, lambda: said(app))
    return app


def said(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def found(app: AppTest) -> np.ndarray:
    """The nearest pictures, best first."""
    return np.concatenate(sprites(app)[:2])


def errors(app: AppTest) -> list[float]:
    return [float(text) for data in given(app, "captions")[:2] for text in data["captions"]]


def looked_for(app: AppTest) -> np.ndarray:
    return tiles(drawn(app)[0], 1)[0]


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a.astype(float) - b) ** 2)) / 255)


def button(app: AppTest, label: str):
    return next((b for b in app.button if b.label == label), None)


# --- the first answer ------------------------------------------------------------------------------------------------


def test_it_says_what_will_appear(released: Path) -> None:
    app = opened(view="Project")
    assert "They appear here" in said(app) and app.session_state["search"] is None
    assert given(app, "strokes")[0] == {"strokes": [], "colour": False}


@pytest.mark.parametrize("centre", [False, True])
def test_the_nearest_of_random_ones_are_there_at_once(released: Path, centre: bool) -> None:
    app = asked(STROKE, centre=centre)
    image = drawing.drawn(drawing.read_strokes([STROKE]), 28, 1, digit=centre)
    np.testing.assert_array_equal(looked_for(app), image)
    random = catalog.load("alpha").sample(FIRST)
    order = np.argsort([error(one, image) for one in random], kind="stable")[:8]
    np.testing.assert_array_equal(found(app), random[order])
    assert errors(app) == [round(error(random[i], image), 3) for i in order]
    assert button(app, "Stop") and not button(app, "Move on from it") and app.session_state["search"].process is None


def test_digits_are_centred_unless_one_says_otherwise(released: Path) -> None:
    assert [toggle.value for toggle in opened(view="Project").toggle] == [True]
    save_model(released / "clothes" / "generator.safetensors", 3, config=CONFIG.replace(data="fashion-mnist"))
    assert [toggle.value for toggle in opened(view="Project", model="clothes").toggle] == [False]


def test_of_a_model_with_classes_they_come_in_their_classes(gamma: Model) -> None:
    app = asked(STROKE, model="gamma")
    one = app.session_state["search"].found
    np.testing.assert_array_equal(gamma.generate(one.z, one.y), found(app))


def test_a_model_of_colours_has_a_pen_of_colours(released: Path) -> None:
    config = Config(data="cifar10", model="mlp", width=8, latent_dim=8, image_size=32, channels=3)
    random, sizes = np.random.default_rng(0), [8, 8, 8, 32 * 32 * 3]
    arrays = {}
    for i in range(3):
        arrays[f"layers.{i}.weight"] = random.normal(size=(sizes[i + 1], sizes[i])).astype(np.float32)
        arrays[f"layers.{i}.bias"] = random.normal(size=sizes[i + 1]).astype(np.float32)
    save_arrays(released / "hue" / "generator.safetensors", arrays, kind=GENERATOR, config=config, facts={"step": 1})
    app = asked({"points": [], "width": 0.1, "colour": [200, 30, 40]}, model="hue")
    assert given(app, "strokes")[0]["colour"] is True and not app.toggle
    assert (app.session_state["search"].image == [200, 30, 40]).all()
    assert app.session_state["search"].found.images.shape == (8, 32, 32, 3)


# --- the worker ------------------------------------------------------------------------------------------------------


def test_a_worker_comes_nearer_and_says_how_near_that_is(released: Path) -> None:
    app = asked(STROKE)
    first = errors(app)
    until(app, "done")
    last = errors(app)
    assert last[0] < first[0] - 0.02 and last == sorted(last)
    search = app.session_state["search"]
    assert search.found.errors[0] == pytest.approx(error(found(app)[0], search.image), abs=1e-5)
    assert "Nobody has measured" in said(app) and not button(app, "Stop")
    workers()[0].wait(60)

    file = released / "alpha" / "projection.json"
    for p95, word in ((last[0] + 0.1, "It can be reached"), (0.001, "It can't be reached")):
        file.write_text(json.dumps({"data": "mnist", "num": 20, "median": 0.0005, "p95": p95}))
        assert [c.value for c in run(app).caption if "be reached" in c.value][0].startswith(f"{word}: ")
        assert ("Within reach" in said(app), "Out of reach" in said(app)) == (p95 > last[0], p95 < last[0])
    file.write_text("junk")
    assert "Nobody has measured" in said(run(app))


def test_one_goes_on_from_the_best_and_its_link_is_that_picture(released: Path) -> None:
    app = until(asked(STROKE), "done")
    best = found(app)[0]
    again = followed(links(app)[0])
    np.testing.assert_array_equal(in_hand(again)[0], best)
    button(app, "Move on from it").click().run()
    assert not app.exception and not app.warning
    assert app.segmented_control(key="view").value == "Move"
    assert app.segmented_control(key="plane").value == "Through three"
    np.testing.assert_array_equal(in_hand(app)[0], best)
    np.testing.assert_array_equal(sprites(app)[0][0], best)  # the first corner of the plane
    app.segmented_control(key="view").set_value("Project").run()
    np.testing.assert_array_equal(found(app)[0], best)  # what was found is still there, and so is the drawing
    assert given(app, "strokes")[0]["strokes"] == [STROKE]


def test_one_goes_on_with_sliders_where_there_are(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(explore.VIEWS, "Directions", lambda *_: None)
    app = asked(STROKE)
    best = found(app)[0]
    button(app, "Stop").click().run()
    assert workers() == [] and app.session_state["search"].state == "stopped"  # before its worker had begun
    button(app, "Change it").click().run()
    assert not app.exception and app.segmented_control(key="view").value == "Directions"
    np.testing.assert_array_equal(in_hand(app)[0], best)


def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that do not end by themselves."""
    start = jobs._worker
    monkeypatch.setattr(jobs, "_worker", lambda arguments, log: start([*arguments, "--steps", "1000000"], log))


def test_stop_ends_the_worker_and_keeps_what_was_found(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch)
    app = asked(STROKE)
    first = errors(app)
    until(app, "running")
    wait_for(lambda: time.sleep(0.2) or errors(run(app))[0] < first[0], lambda: said(app))
    button(app, "Stop").click().run()
    assert app.session_state["search"].state == "stopped" and "Stopped" in said(app)
    assert errors(app)[0] < first[0] and button(app, "Move on from it")
    (process,) = workers()
    assert process.wait(60) == 0
    assert read_status(app.session_state["search"].folder).state == "stopped"
    assert run(app).session_state["search"].state == "stopped"  # and no other begins


def test_a_new_drawing_ends_the_search_for_the_old_one(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch)
    app = until(asked(STROKE), "running")
    (process,) = workers()
    app.session_state["pad strokes"] = [OTHER]
    run(app)
    process.wait(60)
    np.testing.assert_array_equal(looked_for(app), drawing.drawn(drawing.read_strokes([OTHER]), 28, 1))
    until(app, "running")
    assert len([p for p in workers() if p.poll() is None]) == 1
    app.session_state["pad strokes"] = []  # the pad was cleared
    run(app)
    assert app.session_state["search"] is None and "They appear here" in said(app)
    for process in workers():
        process.wait(60)


def test_visitors_have_workers_of_their_own_as_far_as_there_are(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch)
    monkeypatch.setattr(searching, "MOST", 1)
    one = until(asked(STROKE), "running")
    two = asked(OTHER)
    wait_for(lambda: time.sleep(0.2) or "until others" in run(two).session_state["search"].doing)
    assert two.session_state["search"].state == "waiting" and len(found(two)) == 8
    button(one, "Stop").click().run()
    until(two, "running")
    assert one.session_state["search"].folder != two.session_state["search"].folder

    three = asked(STROKE)  # while the second visitor has left
    (process,) = [p for p in workers() if p.poll() is None]
    two.session_state["search"].seen -= searching.GONE
    until(three, "running")
    assert process.wait(60) in (0, -15) and two.session_state["search"].state == "stopped"


def test_a_failure_is_told_and_the_first_answer_stays(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: list[str], log: Path) -> subprocess.Popen:
        with open(log, "w") as file:
            return subprocess.Popen([sys.executable, "-c", "raise SystemExit('out of luck')", "project"], stderr=file)

    monkeypatch.setattr(jobs, "_worker", broken)
    app = asked(STROKE)
    before = found(app)
    until(app, "failed")
    assert "out of luck" in app.error[0].value
    np.testing.assert_array_equal(found(app), before)


def test_folders_of_old_searches_are_deleted(released: Path) -> None:
    old, new, alive = (searching.searches() / name for name in ("old", "new", "alive"))
    for folder in (old, new, alive):
        folder.mkdir(parents=True)
    (alive / "status.json").write_text(json.dumps({"state": "running", "heartbeat": time.time()}))
    for folder in (old, alive):
        os.utime(folder, (0, 0))
    searching.sweep()
    assert [folder.exists() for folder in (old, new, alive)] == [False, True, True]


# --- other pictures --------------------------------------------------------------------------------------------------


def uploaded(content: bytes, name: str = "x.png") -> AppTest:
    app = opened(view="Project")
    app.segmented_control(key="picture from").set_value("Upload")
    app.session_state["uploaded picture"] = (name, content)
    return run(app)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_that_is_uploaded_is_looked_for(released: Path) -> None:
    image = catalog.load("alpha").sample(1, 5)[0]
    app = uploaded(png(image[..., 0]))
    app.toggle[0].set_value(False).run()
    np.testing.assert_array_equal(looked_for(app), image)
    np.testing.assert_array_equal(found(app)[0], image)  # it is one of the first
    assert errors(app)[0] == 0


@pytest.mark.parametrize(
    "content", [b"no picture", b"", png(np.zeros((40, 40), np.uint8))], ids=["text", "none", "blank"]
)
def test_what_is_no_picture_is_explained(released: Path, content: bytes) -> None:
    app = uploaded(content)
    assert len(app.error) == 1 and "They appear here" in said(app)
    assert drawn(app)  # the rest of the page, with what is in hand


def test_drawings_that_no_pad_makes_are_explained(released: Path) -> None:
    assert "Clear it" in asked({"points": "junk"}).error[0].value


def test_one_of_the_data_is_looked_for(released: Path) -> None:
    """The bundled digits here, as no other are at hand; the model may have learnt from these."""
    app = opened(view="Project")
    app.segmented_control(key="picture from").set_value("From the data").run()
    app.number_input(key="picture of the data").set_value(41).run()
    digits = open_dataset("mnist-5k")
    np.testing.assert_array_equal(app.session_state["search"].image, digits.images[41])
    assert f"Picture 41 of class {digits.classes[digits.labels[41]]} of mnist-5k" in said(app)
    assert "may have learnt" in said(app)
    button(app, "Another").click().run()
    other = int(app.number_input(key="picture of the data").value)
    assert other != 41
    np.testing.assert_array_equal(app.session_state["search"].image, digits.images[other])
