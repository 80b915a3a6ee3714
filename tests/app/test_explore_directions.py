"""The views Directions and Mutate: what they draw, what their links and commands give again, what one teaches them."""

from __future__ import annotations

import base64
import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_explore_page import (  # noqa: F401  (fixtures)
    alpha,
    followed,
    gamma,
    given,
    links,
    opened,
    released,
    run,
    save_model,
    sprites,
)

from ganlab import catalog, cli, latent, render
from ganlab import directions as engine
from ganlab.app.components import generator
from ganlab.app.explore import known, mutate, teach
from ganlab.app.explore.directions import Amounts, changes
from ganlab.directions import Direction, load_directions, move, principal_directions, save_directions
from ganlab.measurements import measure
from ganlab.recipe import Anchor, Move
from ganlab.rundir import RunDir

pytestmark = pytest.mark.usefixtures("released")


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions of a random network are found in a moment."""
    monkeypatch.setattr(engine.principal_directions, "__kwdefaults__", {"num": None, "label": None, "samples": 200})


@pytest.fixture
def named(released: Path) -> Direction:  # noqa: F811
    """The direction of a file beside alpha."""
    vector = np.random.default_rng(5).standard_normal(8).astype(np.float32)
    slant = Direction("slant", vector / np.linalg.norm(vector), evidence={"r2": 0.8, "per_unit": 0.25})
    save_directions(released / "alpha" / "directions.safetensors", [slant], alpha())
    return slant


def component(app: AppTest) -> dict:
    """What the component of the sliders is given."""
    (found,) = given(app, "sliders")
    return found


def numbers(text: str, width: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, width)


# --- sliders -------------------------------------------------------------------------------------------------------


def test_the_sliders_have_the_file_and_the_first_principal_directions(named: Direction) -> None:
    data, model = component(opened(view="Directions")), alpha()
    assert [s["name"] for s in data["sliders"]] == ["slant", *[f"features-{i}" for i in range(1, 7)]]
    assert [group["title"] for group in data["groups"]] == ["Measured", "First features"]
    vectors = numbers(data["vectors"], 8)
    np.testing.assert_array_equal(vectors[0], named.vector)
    np.testing.assert_array_equal(vectors[1:], [d.vector for d in principal_directions(model, "features")[:6]])
    np.testing.assert_array_equal(numbers(data["z"], 8), model.z(range(9)))  # the hand, and seeds 1 to 8
    assert data["y"] is None and data["amounts"] == {} and data["chosen"] == "slant" and data["generator"]
    assert "80%" in data["sliders"][0]["about"] and "0.25" in data["sliders"][0]["about"]


def test_more_directions_are_found_when_asked_for() -> None:
    app = opened(view="Directions")
    find = next(button for button in app.button if button.label == "Find more directions")
    find.click().run()
    names = [s["name"] for s in component(app)["sliders"]]
    assert "features-1" in names and "picture-1" in names
    assert not [button for button in app.button if button.label == "Find more directions"]


def test_of_a_conditional_model_each_has_its_class(gamma: render.Model) -> None:  # noqa: F811
    app = opened(model="gamma", view="Directions")
    y = numbers(component(app)["y"], 3)
    np.testing.assert_array_equal(y, np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1, 2]])
    app.selectbox(key="class").set_value("Coat").run()
    np.testing.assert_array_equal(numbers(component(app)["y"], 3), np.eye(3)[[0, *[1] * 8]])


def test_the_server_draws_for_a_browser_that_can_not(named: Direction, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(catalog.CHECKPOINTS / "big" / "generator.safetensors", 77)
    monkeypatch.setattr(generator, "BUDGET", 100)
    app = opened(model="big", view="Directions", show="pictures", at="4", move="features-2*1.5")
    data, model = component(app), catalog.load("big")
    assert data["generator"] is None and "million multiplications" in data["reason"]
    z = move(model.z([4, *range(1, 9)]), [(principal_directions(model)[1], 1.5)])
    image = np.array(Image.open(io.BytesIO(base64.b64decode(data["served"].partition(",")[2]))))
    assert (image.reshape(28, 9, 28, 1).transpose(1, 0, 2, 3) == model.generate(z)).all()


def test_a_link_restores_the_sliders_and_shows_the_same(named: Direction, tmp_path: Path) -> None:
    """A name that a file has is written by name; one that none has, as it is; `render` draws the moved picture."""
    own = principal_directions(alpha())[3].vector[::-1].copy()
    text = latent.to_text(own)
    app = followed(f"/?v=1&model=alpha&show=pictures&at=7&move=slant*-1.25,features-2*0.5,{text}*2")
    assert app.segmented_control(key="view").value == "Directions"
    data = component(app)
    assert data["amounts"] == {"slant": -1.25, "features-2": 0.5, "linked-1": 2.0}
    np.testing.assert_array_equal(numbers(data["vectors"], 8)[-1], own)
    again = component(followed(links(app)[0]))
    assert {**again, "order": ""} == {**data, "order": ""}
    command = next(c.value for c in app.code if c.value.startswith("python -m ganlab") and "linked" not in c.value)
    assert "slant*-1.25" in command and command.count("z32:") == 2
    argv = shlex.split(command)[3:]
    cli.main(argv=[*argv[:-1], str(tmp_path / "moved.png")])
    steps = [(named, -1.25), (principal_directions(alpha())[1], 0.5), (Direction("", own), 2.0)]
    expected = alpha().generate(move(alpha().z([7]), steps))
    assert (np.array(Image.open(tmp_path / "moved.png")) == expected[0, ..., 0]).all()


def test_a_link_with_a_direction_that_there_is_not_is_explained() -> None:
    app = opened(view="Directions", show="pictures", at="7", model="alpha", move="smile*1")
    assert "has no direction 'smile'" in app.warning[0].value and component(app)["amounts"] == {}


def test_a_link_may_go_farther_than_a_slider_and_finer_than_its_step(named: Direction) -> None:
    data = component(followed("/?v=1&model=alpha&show=pictures&at=7&move=slant*-4.123"))
    assert data["amounts"] == {"slant": -4.123} and data["range"] == 4.123


def test_a_picture_of_another_model_is_not_taken() -> None:
    app = followed("/?v=1&model=alpha&show=children&at=" + latent.to_text(np.ones(9)))
    assert "a z of 9 numbers" in app.warning[0].value and not app.error
    assert (sprites(app)[1] == alpha().sample(1)).all()


def test_hands_on_the_sliders_are_not_overruled(named: Direction) -> None:
    amounts = Amounts(())
    amounts.heard({"slant": 1.0}, 0)
    assert (amounts.now, amounts.order) == ({"slant": 1.0}, 0)
    amounts.put({})
    amounts.heard({"slant": 1.0}, 0)  # on its way when they were put
    assert (amounts.now, amounts.order) == ({}, 1)
    amounts.heard({"slant": 0.5}, 1)
    assert amounts.now == {"slant": 0.5}


# --- a strip -------------------------------------------------------------------------------------------------------


def test_a_strip_goes_along_the_chosen_direction(named: Direction, tmp_path: Path) -> None:
    app = opened(view="Directions")
    (strip,) = sprites(app)
    z, amounts = alpha().z(range(5)), np.linspace(-3, 3, 7)
    expected = [alpha().generate(move(z[i : i + 1], [(named, a)]))[0] for i in range(5) for a in amounts]
    assert (strip == np.array(expected)).all()
    app.selectbox(key="direction").set_value("features-8").run()
    assert (sprites(app)[0] != strip).any()
    assert component(app)["sliders"][-1]["name"] == "features-8"  # it has a slider now
    command = next(c.value for c in app.code if "show=line" in c.value and c.value.startswith("python"))
    argv = shlex.split(command)[3:]
    cli.main(argv=[*argv[:-1], str(tmp_path / "strip.png")])
    assert (np.array(Image.open(tmp_path / "strip.png")) == render.grid(sprites(app)[0], 7)[..., 0]).all()


def test_the_link_of_a_strip_gives_it_again(gamma: render.Model) -> None:  # noqa: F811
    app = opened(model="gamma", view="Directions", samples="11", **{"class": "Coat"})
    app.selectbox(key="direction").set_value("features-3").run()
    link = next(link for link in links(app) if "show=line" in link)
    again = followed(link)
    assert again.segmented_control(key="view").value == "Directions"
    assert again.selectbox(key="direction").value == "features-3" and component(again)["amounts"] == {}
    assert (sprites(again)[0] == sprites(app)[0]).all()


def test_what_changes_is_measured() -> None:
    strip = alpha().sample(21)
    ends = {k: np.diff(v.reshape(3, 7)[:, [0, -1]]).mean() for k, v in measure(strip).items()}
    assert f"brightness {ends['brightness']:+.2f}".replace("-", "−") in changes(strip)
    assert "nothing here" not in changes(strip)


# --- teaching ------------------------------------------------------------------------------------------------------


def taught(app: AppTest, more: list[int], less: list[int], called: str = "alpha") -> AppTest:
    marks = app.session_state[f"marks of {called} 8 ()"]
    for seeds, is_more in ((more, True), (less, False)):
        for seed in seeds:
            marks.toggle(Anchor(seed), is_more)
    return app.run()


def teaching(**params: str) -> AppTest:
    return opened(view="Directions", how="Teach a direction", **params)


def test_marks_are_set_changed_and_taken_back() -> None:
    marks = teach.Marks()
    marks.toggle(Anchor(1), True)
    marks.toggle(Anchor(2), False)
    marks.toggle(Anchor(2), True)
    assert marks.side(True) == [Anchor(1), Anchor(2)] and not marks.is_enough
    marks.toggle(Anchor(1), True)
    assert marks.side(True) == [Anchor(2)]


def test_two_and_two_marks_make_a_direction() -> None:
    app = teaching()
    assert "more as more" in app.info[0].value and len(sprites(app)) == 1
    assert (sprites(app)[0] == alpha().sample(40)).all()
    taught(app, [1, 2], [3, 4])
    assert not app.info
    assert [m for m in given(app, "marks")[0]["marks"]][:6] == ["", "+", "+", "−", "−", ""]
    tried = sprites(app)[1].reshape(3, 9, 28, 28, 1)
    z = alpha().z([teach.MAX_SEED - i for i in range(9)])
    direction = engine.taught("x", alpha().z([1, 2]), alpha().z([3, 4]))
    for row, amount in zip(tried, (-2, 0, 2), strict=True):
        assert (row == alpha().generate(move(z, [(direction, amount)]))).all()


def test_means_and_locked_directions(named: Direction) -> None:
    marks = teach.Marks({Anchor(1): True, Anchor(2): True, Anchor(3): False, Anchor(4): False})
    z = alpha().z([1, 2, 3, 4]).astype(float)
    mean = z[:2].mean(0) - z[2:].mean(0)
    found = teach.found(alpha(), marks, teach.MEANS, [])
    np.testing.assert_allclose(found.vector, mean / np.linalg.norm(mean), atol=1e-6)
    for method in (teach.MEANS, teach.NORMAL):
        locked = teach.found(alpha(), marks, method, [named])
        assert abs(locked.vector @ named.vector) < 1e-6 and np.linalg.norm(locked.vector) == pytest.approx(1)


@pytest.mark.parametrize("method", [teach.MEANS, teach.NORMAL])
def test_each_mark_is_told_by_what_the_others_teach(method: str) -> None:
    """All of two clouds far apart; of noise about half, and never the very marks that were learnt from."""
    random = np.random.default_rng(0)
    apart = random.normal(0, 1, (6, 8)) + [5] * 8
    assert teach.told_right(apart, -apart, method, []) == 12
    noise = [teach.told_right(*random.normal(0, 1, (2, 10, 32)), method, []) for _ in range(8)]
    assert 0.3 < np.mean(noise) / 20 < 0.6


def keep(app: AppTest, called: str) -> None:
    app.text_input(key="name of direction").set_value(called).run()
    next(button for button in app.button if button.label == "Keep this direction").click().run()


def test_a_direction_is_named_and_kept(named: Direction) -> None:
    app = taught(teaching(), [1, 2], [3, 4])
    app.text_input(key="name of direction").set_value("slant").run()
    assert "called slant already" in app.warning[0].value
    assert next(button for button in app.button if button.label == "Keep this direction").disabled
    keep(app, "smile")
    assert "smile" in app.success[0].value
    app.segmented_control(key="how").set_value("Sliders").run()
    data = component(app)
    assert data["sliders"][-1]["name"] == data["chosen"] == "smile"
    expected = engine.taught("x", alpha().z([1, 2]), alpha().z([3, 4])).vector
    np.testing.assert_array_equal(numbers(data["vectors"], 8)[-1], expected)
    next(button for button in app.button if button.label == "Forget smile").click().run()
    assert "smile" not in [s["name"] for s in component(app)["sliders"]]


@pytest.mark.parametrize("name", ["", "a b", "-a", "a*2", "a,b", "z16:AA", "features-3", "picture-99", "x" * 41])
def test_bad_names(name: str) -> None:
    assert known.problem_with(name, {})


def test_kept_in_a_run_it_is_found_by_render(run: RunDir, tmp_path: Path) -> None:  # noqa: F811
    app = taught(teaching(model=str(run.path)), [1, 2], [3, 4], str(run.path))
    keep(app, "smile")
    model = catalog.load(str(run.path))
    (saved,) = load_directions(run.path / "directions.safetensors", model).directions
    expected = engine.taught("x", model.z([1, 2]), model.z([3, 4]))
    np.testing.assert_array_equal(saved.vector, expected.vector)
    cli.main(argv=["render", f"model={run.path}&at=5&move=smile*1.5", "--out", str(tmp_path / "x.png")])
    picture = model.generate(move(model.z([5]), [(expected, 1.5)]))[0, ..., 0]
    assert (np.array(Image.open(tmp_path / "x.png")) == picture).all()
    moves = known.moves_of({"smile": 1.0}, {"smile": saved}, {"smile": saved})
    assert moves == [Move("smile", 1.0)]


def test_released_models_are_not_written_to(released: Path) -> None:  # noqa: F811
    keep(taught(teaching(), [1, 2], [3, 4]), "smile")
    assert not (released / "alpha" / "directions.safetensors").exists()


def test_a_file_of_ones_own_directions_is_read_by_the_engine(tmp_path: Path, named: Direction) -> None:
    (tmp_path / "d.safetensors").write_bytes(known.as_file([named], alpha()))
    (back,) = load_directions(tmp_path / "d.safetensors", alpha()).directions
    np.testing.assert_array_equal(back.vector, named.vector)


def upload(app: AppTest, content: bytes) -> None:
    app.file_uploader(key="directions file").set_value(("mine.safetensors", content, "application/octet-stream")).run()
    assert not app.exception


def test_a_file_of_directions_comes_back(named: Direction) -> None:
    """What is there already is left alone; what has a name that is taken gets another."""
    a, b = np.random.default_rng(3).normal(0, 1, (2, 8)).astype(np.float32)
    smile, other = (Direction(key, v / np.linalg.norm(v)) for key, v in (("smile", a), (named.name, b)))
    app = opened(view="Directions")
    before = [s["name"] for s in component(app)["sliders"]]
    upload(app, known.as_file([named, smile, *principal_directions(alpha())[:1]], alpha()))
    data = component(app)
    assert [s["name"] for s in data["sliders"]] == [*before, "smile"] and data["chosen"] == "smile"
    assert "smile" in app.success[0].value
    upload(app, known.as_file([other], alpha()))
    data = component(app)
    assert [s["name"] for s in data["sliders"]] == [*before, "smile", f"{named.name}-2"]
    np.testing.assert_array_equal(numbers(data["vectors"], 8)[-2:], np.stack([smile.vector, other.vector]))
    upload(app, known.as_file([named, smile], alpha()))
    assert "here already" in app.success[0].value


@pytest.mark.parametrize("content", [b"", b"no tensors at all", b"\x80\x04]."])
def test_a_file_that_holds_no_directions_is_refused(content: bytes) -> None:
    app = opened(view="Directions")
    upload(app, content)
    assert app.error and "The file" in app.error[0].value and "/tmp" not in app.error[0].value


# --- mutate --------------------------------------------------------------------------------------------------------


def pick(app: AppTest, child: int) -> None:
    """What a click on a child does: the same calls as the page makes."""
    line, held = app.session_state["line of alpha"], app.session_state["hand of alpha"]
    z = latent.mutate(alpha().z([0])[0] if len(line.pictures) == 1 else np.array(held.held.at), 0.3, line.litter,
                      "normal")  # fmt: skip
    anchor = Anchor.of(z[child])
    line.go_on(held.held, anchor)
    held.take(anchor)
    app.run()


def test_twelve_children_and_the_way_back() -> None:
    app = opened(view="Mutate")
    children, line = sprites(app)
    z = latent.mutate(alpha().z([0])[0], 0.3, 0, "normal")
    assert (children == alpha().generate(z)).all() and (line == alpha().sample(1)).all()
    pick(app, 4)
    second = latent.mutate(z[4], 0.3, 1, "normal")
    children, line = sprites(app)
    assert (children == alpha().generate(second)).all()
    assert (line == alpha().generate([alpha().z([0])[0], z[4]])).all()
    pick(app, 0)
    assert given(app, "chosen")[1]["chosen"] == 2
    app.button(key="hand Undo").click().run()  # one generation back, and all is still in sight
    assert given(app, "chosen")[1]["chosen"] == 1 and len(sprites(app)[1]) == 3
    other = latent.mutate(z[4], 0.3, 2, "normal")  # fresh noise
    assert (sprites(app)[0] == alpha().generate(other)).all()


def test_a_line_forgets_what_came_after_another_child() -> None:
    line = mutate.Line()
    a, b, c, d = (Anchor(i) for i in range(4))
    assert line.meet(a) == 0
    line.go_on(a, b)
    line.go_on(b, c)
    assert line.meet(a) == 0 and line.pictures == [a, b, c]
    line.go_on(a, d)
    assert line.pictures == [a, d] and line.litter == 3
    assert line.meet(c) == 0 and line.pictures == [c]


def test_the_link_of_children_gives_them_again(gamma: render.Model, tmp_path: Path) -> None:  # noqa: F811
    app = opened(model="gamma", view="Mutate")
    app.slider(key="strength").set_value(0.7).run()
    app.slider(key="wander").set_value(0.5).run()
    next(button for button in app.button if button.label == "Other children").click().run()
    shown = sprites(app)[0]
    y = latent.mutate_class([1, 0, 0], 0.5, 1)
    assert (shown == gamma.generate(latent.mutate(gamma.z([0])[0], 0.7, 1, "normal"), y)).all()
    assert 1 < len({int(row.argmax()) for row in y})
    again = followed(next(link for link in links(app) if "show=children" in link))
    assert again.segmented_control(key="view").value == "Mutate"
    assert (sprites(again)[0] == shown).all() and again.slider(key="wander").value == 0.5
    command = next(c.value for c in app.code if "show=children" in c.value and c.value.startswith("python"))
    cli.main(argv=[*shlex.split(command)[3:-1], str(tmp_path / "children.png")])
    assert (np.array(Image.open(tmp_path / "children.png")) == render.grid(shown, 4)[..., 0]).all()


def test_a_model_without_classes_offers_no_change_of_class() -> None:
    assert [slider.key for slider in opened(view="Mutate").slider] == ["strength"]


def test_runs_and_snapshots_have_both_views(run: RunDir) -> None:  # noqa: F811
    model = catalog.load(f"{run.path}@10")
    app = opened(model=str(run.path), step="10", view="Mutate")
    assert (sprites(app)[0] == model.generate(latent.mutate(model.z([0])[0], 0.3, 0, "normal"))).all()
    app = opened(model=str(run.path), step="10", view="Directions")
    np.testing.assert_array_equal(numbers(component(app)["vectors"], 8)[0], principal_directions(model)[0].vector)
