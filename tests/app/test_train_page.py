"""The Train page, driven by Streamlit's own AppTest, with real worker processes."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from ganlab import jobs
from ganlab.alarm import Alarm
from ganlab.app import charts
from ganlab.app.charts import MetricsReader, marks_of, thin
from ganlab.app.controls import FIELDS, GROUPS, LIVE, label, live_fields, problem_of, rows, scale
from ganlab.app.setup import offered
from ganlab.app.uploads import Chosen
from ganlab.config import Config, hints
from ganlab.data import DATASETS
from ganlab.presets import BROKEN, PRESETS
from ganlab.rundir import RunDir, Status
from ganlab.weights import STATE, save_arrays

PAGE = """
from ganlab.app.pages.train import page
page()
"""


@pytest.fixture
def runs(own_folders: Path) -> Path:
    return own_folders / "runs"


def open_page() -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=60).run()
    assert not app.exception
    return app


def button(app: AppTest, label: str):
    return next(b for b in app.button if b.label == label)


def test_opens_ready_to_start_on_the_bundled_digits() -> None:
    app = open_page()
    assert app.selectbox(key="data").value == "mnist-5k"
    assert not button(app, "Start training").disabled


def keys(app: AppTest) -> set[str]:
    kinds = (app.slider, app.select_slider, app.number_input, app.button_group, app.selectbox, app.toggle)
    return {widget.key for kind in kinds for widget in kind if widget.key}


def test_there_is_a_widget_for_every_hyperparameter() -> None:
    placed = {name for names in GROUPS.values() for name in names}
    assert placed | {"data", "classes", "image_size", "channels", "mirror"} == set(FIELDS)
    shown = keys(open_page())
    assert "mnist-5k-dcgan_mirror" in shown
    for group, names in GROUPS.items():
        assert {f"mnist-5k-dcgan_{group}_{name}" for name in names} <= shown


def test_every_preset_can_be_chosen_and_started_as_it_is() -> None:
    app = open_page()
    for data, info in DATASETS.items():
        app.selectbox(key="data").set_value(data).run()
        for name in offered(Chosen(data, (info.image_size, info.channels), has_classes=True)):
            app.selectbox(key=f"preset_{data}").set_value(name).run()
            assert not app.exception and not app.warning, name
            assert not button(app, "Start training").disabled, name


@pytest.mark.parametrize("name", [name for name, f in FIELDS.items() if f.metadata["scale"] != "linear"])
def test_sliders_start_at_the_preset_and_keep_the_limits(name: str) -> None:
    meta = FIELDS[name].metadata
    for base in PRESETS.values():
        values = scale(name, getattr(base, name))
        numbers = [value for value in values if value is not None]
        assert getattr(base, name) in values
        assert numbers == sorted(set(numbers)) and len(numbers) <= 25
        assert meta["low"] <= numbers[0] and numbers[-1] <= meta["high"]
        assert (None in values) == (type(None) in getattr(hints()[name], "__args__", ()))
        assert len({type(value) for value in numbers}) == 1


def test_a_slider_that_may_be_zero_goes_on_at_a_sensible_size() -> None:
    assert scale("r1_gamma", 0.0)[:4] == [0.0, 0.001, 0.002, 0.005]
    assert scale("weight_clip", 0.0)[:2] == [0.0, 0.001]
    assert scale("warmup_steps", 0)[:3] == [0, 1, 2]
    assert scale("steps", 1234)[:3] == [None, 100, 200] and 1234 in scale("steps", 1234)


def test_twins_stand_side_by_side() -> None:
    every = [row for names in GROUPS.values() for row in rows(names)]
    assert sorted(name for row in every for name in row) == sorted(name for names in GROUPS.values() for name in names)
    assert all(len(row) <= 2 for row in every)
    for twins in (["width", "d_width"], ["r1_gamma", "r2_gamma"], ["learning_rate", "d_learning_rate"]):
        assert twins in every


def test_labels_read_like_words() -> None:
    assert [label(name) for name in ("d_width", "g_init", "r1_gamma", "batch_size")] == [
        "D width", "G init", "R1 gamma", "Batch size",
    ]  # fmt: skip
    assert not [name for name in FIELDS if "_" in label(name) or not label(name)[0].isupper()]


def test_an_impossible_combination_is_explained_before_the_click() -> None:
    app = open_page()
    app.selectbox(key="mnist-5k-dcgan_game_loss").set_value("hinge")
    app.slider(key="mnist-5k-dcgan_game_label_smoothing").set_value(0.1).run()
    assert button(app, "Start training").disabled
    assert app.warning[0].value.startswith("**Label smoothing** is 0.1, but the hinge loss")
    app.slider(key="mnist-5k-dcgan_game_label_smoothing").set_value(0.0).run()
    assert not button(app, "Start training").disabled and not app.warning


def test_problems_are_told_in_the_words_of_the_page() -> None:
    assert problem_of(**dataclasses.asdict(Config())) is None
    assert "Set **D norm** to none or spectral" in str(problem_of(r1_gamma=1.0))
    assert str(problem_of(model="mlp", conditioning="projection")).startswith("Conditioning is")


def test_fields_without_an_effect_rest() -> None:
    app = open_page()
    assert app.slider(key="mnist-5k-dcgan_optimisation_lr_decay_from").disabled
    app.segmented_control(key="mnist-5k-dcgan_optimisation_lr_schedule").set_value("linear").run()
    assert not app.slider(key="mnist-5k-dcgan_optimisation_lr_decay_from").disabled


def test_absent_numbers_lists_and_switches_reach_the_run(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = started_runs(monkeypatch)
    app, key = open_page(), "mnist-5k-dcgan"
    app.select_slider(key=f"{key}_networks_d_width").set_value(32)
    app.select_slider(key=f"{key}_optimisation_d_learning_rate").set_value(0.0005)
    app.pills(key=f"{key}_regularisation_diffaugment").set_value(["cutout", "color"])
    app.toggle(key=f"{key}_mirror").set_value(True)
    app.run()
    button(app, "Start training").click().run()
    ((run, config),) = started
    assert run.name == "mnist-5k-dcgan-1"
    assert (config.d_width, config.d_learning_rate, config.steps) == (32, 0.0005, None)
    assert (config.diffaugment, config.mirror, config.image_size) == (("color", "cutout"), True, 28)


def test_presets_of_the_data_come_first_and_doubles_go() -> None:
    names = offered(Chosen("mnist", (28, 1), has_classes=True))
    assert names[0] == "mnist-dcgan" and "mnist-sn" in names
    own = [PRESETS[name].data == "mnist" for name in names]
    assert own == sorted(own, reverse=True)
    alike = [PRESETS[name].replace(data="any") for name in names]
    assert len(set(alike)) == len(alike)
    assert all(PRESETS[name].channels == 3 for name in offered(Chosen("cifar10", (32, 3))))


def test_a_preset_of_some_classes_chooses_them() -> None:
    app = open_page()
    app.selectbox(key="data").set_value("cifar10").run()
    app.selectbox(key="preset_cifar10").set_value("cifar10-dcgan-class").run()
    assert app.multiselect(key="classes_cifar10").value == ["cat"]
    app.selectbox(key="preset_cifar10").set_value("cifar10-dcgan").run()
    assert app.multiselect(key="classes_cifar10").value == []


def test_pictures_without_classes_are_learnt_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = started_runs(monkeypatch)
    for i in range(4):
        Image.fromarray(np.full((32, 32, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    app = open_page()
    app.selectbox(key="data").set_value("own").run()
    app.text_input(key="own_path").set_value(str(tmp_path)).run()
    app.selectbox(key=f"preset_{tmp_path}").set_value("cifar10-sn").run()
    assert any("these pictures have none" in caption.value for caption in app.caption)
    assert "cifar10-sn_networks_conditioning" not in keys(app)
    button(app, "Start training").click().run()
    assert started[0][1].conditioning == "none"


def test_start_watch_pause_step_resume_stop(runs: Path) -> None:
    app = open_page()
    app.select_slider(key="mnist-5k-dcgan_networks_width").set_value(8)
    app.select_slider(key="mnist-5k-dcgan_game_batch_size").set_value(16)
    app.select_slider(key="mnist-5k-dcgan_schedule_epochs").set_value(100.0)
    app.select_slider(key="mnist-5k-dcgan_schedule_save_every").set_value(100)
    app.text_input[0].set_value("first")
    app.run()
    button(app, "Start training").click().run()
    assert not app.exception
    run = RunDir(runs / "first")
    config = run.read_config()
    assert (config.data, config.width, config.batch_size, config.epochs) == ("mnist-5k", 8, 16, 100.0)
    jobs.wait(run, "running")
    until(lambda: len(run.read_metrics()[0]) >= 2)
    app.run()
    assert not app.exception
    assert {"Pause", "Stop"} <= {b.label for b in app.button}
    assert [m.label for m in app.metric] == ["Epoch", "Images a second", "Time left", "D(x)", "D(G(z))"]
    button(app, "Pause").click().run()
    paused = jobs.wait(run, "paused")
    app.run()
    button(app, "Step").click().run()
    until(lambda: run.read_status().state == "paused" and run.read_status().step == paused.step + 1)
    app.run()
    button(app, "Resume").click().run()
    jobs.wait(run, "running")
    app.run()
    button(app, "Stop").click().run()
    assert jobs.wait(run).state == "stopped"
    app.run()
    assert not app.exception
    assert {"Resume", "Step", "Fork"} <= {b.label for b in app.button}
    assert [link.proto.label for link in app.get("page_link")] == ["Open in Explore", "Open in Measure"]


def test_attaches_to_a_run_that_another_process_trains(runs: Path, tiny: Config) -> None:
    run = RunDir(runs / "elsewhere")
    process = jobs.start(run, tiny.replace(steps=100_000), device="cpu")
    until(lambda: len(run.read_metrics()[0]) >= 1)
    app = open_page()
    assert app.selectbox(key="run").value == "elsewhere"
    assert "Pause" in {b.label for b in app.button}
    jobs.stop(run)
    process.wait(timeout=30)


def test_a_failed_run_says_why(runs: Path, tiny: Config) -> None:
    run = RunDir(runs / "broken")
    jobs.start(run, tiny.replace(data="no-such-pictures"), device="cpu").wait(timeout=60)
    app = AppTest.from_string(PAGE, default_timeout=60)
    app.session_state["run"] = "broken"
    app.run()
    assert not app.exception
    assert "no-such-pictures" in app.error[0].value


def test_a_damaged_run_is_named_and_the_page_stays_usable(runs: Path, tiny: Config) -> None:
    (runs / "damaged").mkdir(parents=True)
    (runs / "damaged" / "config.yaml").write_text("schema: 1\nwidth: [")
    app = AppTest.from_string(PAGE, default_timeout=60)
    app.session_state["run"] = "damaged"
    app.run()
    assert not app.exception
    assert "config.yaml" in app.error[0].value
    app.selectbox(key="run").set_value("New run").run()
    assert not button(app, "Start training").disabled


def test_a_name_that_is_taken_or_leads_elsewhere_is_refused(runs: Path, tiny: Config) -> None:
    RunDir(runs / "taken").open_config(tiny)
    app = open_page()
    for name in ("taken", "../outside", "", "a/b"):
        app.text_input[0].set_value(name).run()
        assert button(app, "Start training").disabled, name


# --- changes and forks -----------------------------------------------------------------------------------------------


def started_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunDir, Config | None]]:
    """Runs that the page starts from now on; no worker is."""
    started: list[tuple[RunDir, Config | None]] = []
    monkeypatch.setattr(jobs, "start", lambda run, config=None: started.append((run, config)))
    return started


def ended_run(path: Path, config: Config, state: str = "done", step: int = 20) -> RunDir:
    """A run that came to rest, with saved states of the steps 10 and 20 that hold nothing."""
    run = RunDir(path)
    run.open_config(config)
    run.write_status(Status(state=state, step=step, total_steps=20, num_images=5000))  # type: ignore[arg-type]
    for at in (10, 20):
        save_arrays(run.state_file(at), {"x": np.zeros(1)}, kind=STATE, config=config, facts={"step": at, "images": 0})
    return run


def watched(run: RunDir) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=60)
    app.session_state["run"] = run.name
    app.run()
    assert not app.exception
    return app


def live_key(app: AppTest, start: str, name: str) -> str:
    return next(
        key for key in keys(app) if key.startswith(start) and key.endswith(f"_{name}") and key[-len(name) - 2].isdigit()
    )


def test_a_run_is_forked_from_the_state_that_is_chosen(
    runs: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, run = started_runs(monkeypatch), ended_run(runs / "first", tiny.replace(steps=20))
    app = watched(run)
    app.select_slider(key="fork_at_first_20").set_value(10).run()
    app.select_slider(key=live_key(app, "fork_first", "learning_rate")).set_value(0.001)
    app.number_input(key="fork_until_first_10").set_value(50).run()
    button(app, "Fork").click().run()
    assert not app.exception and not app.error
    ((new, _),) = started
    config = new.read_config()
    assert (new.name, config.learning_rate, config.d_learning_rate, config.steps) == ("first-fork-1", 0.001, None, 50)
    assert [int(file.stem) for file in new.states()] == [10]
    assert app.selectbox(key="run").value == "first-fork-1"
    assert any("Forked from first at step 10" in caption.value for caption in app.caption)


def test_a_fork_needs_a_name_of_its_own_and_a_state(runs: Path, tiny: Config) -> None:
    run = ended_run(runs / "first", tiny)
    app = watched(run)
    field = next(field for field in app.text_input if field.label == "Name of the new run")
    field.set_value("first").run()
    assert button(app, "Fork").disabled and "already" in app.warning[0].value
    for file in run.states():
        file.unlink()
    assert "Fork" not in {b.label for b in watched(run).button}


def test_a_fork_starts_at_the_values_of_its_state(runs: Path, tiny: Config) -> None:
    run = ended_run(runs / "first", tiny)
    run.append_event("changed", 15, changes={"learning_rate": [2e-4, 5e-4]})
    app = watched(run)
    assert app.select_slider(key=live_key(app, "fork_first", "learning_rate")).value == 5e-4
    app.select_slider(key="fork_at_first_20").set_value(10).run()
    assert app.select_slider(key=live_key(app, "fork_first", "learning_rate")).value == 2e-4


def test_a_run_whose_learning_rate_fell_is_not_trained_longer(runs: Path, tiny: Config) -> None:
    steady, falling = ended_run(runs / "steady", tiny), ended_run(runs / "falling", tiny.replace(lr_schedule="cosine"))
    assert "Go on" in {b.label for b in watched(steady).button}
    app = watched(falling)
    assert "Go on" not in {b.label for b in app.button} and "Fork" in {b.label for b in app.button}
    assert any("**Fork** it instead" in text.value for text in app.markdown)


def test_live_values_change_and_may_be_absent(runs: Path, tiny: Config) -> None:
    run = ended_run(runs / "first", tiny.replace(d_learning_rate=1e-4))
    run.write_status(dataclasses.replace(run.read_status(), state="running", heartbeat=time.time() + 600))
    app = watched(run)
    assert button(app, "Apply").disabled
    app.session_state[live_key(app, "live_first", "d_learning_rate")] = None  # AppTest can't move a slider to None
    app.slider(key=live_key(app, "live_first", "label_flip")).set_value(0.05).run()
    button(app, "Apply").click().run()
    assert run.read_control().changes == {"d_learning_rate": None, "label_flip": 0.05}


def test_only_losses_with_labels_offer_to_change_them() -> None:
    assert set(live_fields(Config())) == set(LIVE)
    assert set(LIVE) - set(live_fields(Config(loss="hinge"))) == {"label_smoothing", "label_flip"}


# --- alarms ----------------------------------------------------------------------------------------------------------

CALM = {"epoch": 0.1, "loss_g": 2.4, "loss_d": 0.6, "d_real": 0.8, "d_fake": 0.2, "d_order": 0.96, "grad_g": 4.0}
D_WINS = CALM | {"loss_d": 0.001, "d_real": 0.999, "d_fake": 0.001, "d_order": 1.0, "grad_g": 0.0}
SAME = {"metric": "fd_mnistnet_2k", "score": 400.0, "spread": 0.001, "duplicates": 1_999_000, "classes": [0.0, 1.0]}


def lines(run: RunDir, num: int, **changes: object) -> None:
    for step in range(10, 10 * num + 1, 10):
        run.append_metrics({"step": step, **CALM, **changes})


def alarm_button(app: AppTest, run: RunDir, kind: str):
    return app.button(key=f"try_{kind}_{run.name}")


def test_when_all_is_well_there_is_no_card(runs: Path, tiny: Config) -> None:
    run = ended_run(runs / "first", tiny.replace(log_every=10))
    lines(run, 20)
    assert not [text for text in watched(run).markdown if "alarm" in text.value.lower()]  # too early to say
    lines(run, 50)
    app = watched(run)
    assert [text.value for text in app.markdown if "No alarm" in text.value]
    assert not [text for text in app.markdown if "since step" in text.value]


def test_an_alarm_is_explained_and_its_remedy_reaches_the_worker(runs: Path, tiny: Config) -> None:
    run = ended_run(runs / "first", tiny.replace(log_every=10))
    lines(run, 60, **D_WINS)
    run.write_status(dataclasses.replace(run.read_status(), state="running", step=600, heartbeat=time.time() + 600))
    app = watched(run)
    said = " ".join(text.value for text in app.markdown)
    assert "1 alarm" in said and "**The discriminator wins outright**, since step 210" in said
    assert "D(x) is 0.999" in said and "a quarter of its step size" in said
    assert any("How real D finds pictures" in caption.value for caption in app.caption)
    press = alarm_button(app, run, "d-wins")
    assert press.label == "Change D learning rate as G to 5e-05"
    press.click().run()
    assert not app.exception and run.read_control().changes == {"d_learning_rate": 5e-5}
    run.append_event("changed", 600, version=1, changes={"d_learning_rate": [None, 5e-5]})
    app = watched(run)
    assert any("You changed something at step 600" in caption.value for caption in app.caption)
    assert "try_d-wins_first" not in {button.key for button in app.button}


def test_a_collapse_shows_its_pairs_and_classes_and_a_fork_may_help(
    runs: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = started_runs(monkeypatch)
    run = ended_run(runs / "first", tiny.replace(g_steps=5, log_every=10))
    run.append_event("scoring", 200, metric="fd_mnistnet_2k", classes={"0": 0.5, "1": 0.5})
    for step in (1000, 2000, 3000):
        run.append_metrics({"step": step, **CALM, **SAME})
    run.pairs_file(3000).parent.mkdir()
    Image.fromarray(np.zeros((56, 8 * 28), np.uint8)).save(run.pairs_file(3000))
    app = watched(run)
    said = " ".join(text.value for text in app.markdown)
    assert "**The generator makes ever the same pictures**, since step 1,000" in said
    assert any("closest pairs" in caption.value for caption in app.caption)
    assert any("How often each class comes" in caption.value for caption in app.caption)
    press = alarm_button(app, run, "collapse")
    assert press.label == "Fork with G steps 5 to 1"
    press.click().run()
    assert not app.exception
    ((fork, _),) = started
    assert (fork.name, fork.read_config().g_steps, fork.read_config().steps) == ("first-fork-1", 1, 30)
    assert app.session_state["run"] == "first-fork-1"


def test_alarms_are_shaded_on_the_charts_that_show_them() -> None:
    found = [
        Alarm("d-wins", 10, 40, "", "", {}),
        Alarm("d-wins", 90, None, "", "", {}),
        Alarm("divergence", 5, None, "", "", {}),
    ]
    title = "The discriminator wins outright"
    assert charts.bands_of(found, "verdicts", 200) == ((10, 40, title), (90, 200, title))
    assert charts.bands_of(found, "score", 200) == ()


def test_presets_made_to_fail_come_last_and_say_what_one_will_see() -> None:
    names = offered(Chosen("mnist-5k", (28, 1), has_classes=True))
    assert names[-len(BROKEN) :] == list(BROKEN) and names[0] == "mnist-5k-dcgan"
    app = open_page()
    assert "Made to fail: strong d" in app.selectbox(key="preset_mnist-5k").options
    app.selectbox(key="preset_mnist-5k").set_value("broken-strong-d").run()
    assert any(caption.value == f"Made to fail. {BROKEN['broken-strong-d']}" for caption in app.caption)


# --- charts ----------------------------------------------------------------------------------------------------------


def test_marks_say_what_happened() -> None:
    events = [
        {"event": "started", "step": 0},
        {"event": "forked", "step": 10, "parent": "runs/first", "parent_step": 10, "changes": {}},
        {"event": "rolled back", "step": 20, "lost_step": 1234, "error": "…"},
        {"event": "changed", "step": 20, "changes": {"d_learning_rate": [None, 1e-4]}},
    ]
    assert marks_of(events) == (
        (10, "forked from first"),
        (20, "went back here from step 1,234; D learning rate: as G to 0.0001"),
    )


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize("marks", [False, True])
def test_every_layer_of_a_chart_names_its_data(marks: bool, bands: bool) -> None:
    """A layer with data of its own, even empty, would draw those."""
    for spec in (charts._spec(("Generator",), None, marks, bands, True), charts._score_spec(marks, bands)):
        named = [layer.get("data", spec.get("data")) for layer in spec["layer"]]
        assert {data["name"] for data in named} <= {"rows", "best", "marks", "bands"} and {"name": "rows"} in named
        assert ({"name": "marks"} in named) == marks and ({"name": "bands"} in named) == bands


def test_scores_are_shown_with_the_best_step(runs: Path, tiny: Config) -> None:
    run = ended_run(runs / "first", tiny)
    run.append_metrics({"step": 10, "epoch": 0.1, "loss_g": 1.0, "loss_d": 1.0, "d_real": 0.5, "d_fake": 0.5})
    assert not [text for text in watched(run).markdown if "Score" in text.value]
    for step, score in ((15, 0.5), (20, 0.25), (25, None)):
        run.append_metrics({**run.read_metrics()[0][0], "step": step, "metric": "pixel-moments", "score": score})
    assert "best at step 20: 0.25" in next(text.value for text in watched(run).markdown if "Score" in text.value)


def test_thinned_curves_keep_every_extreme() -> None:
    rows = [{"step": i, "a": float((i * 7919) % 1000), "b": -float(i)} for i in range(20_000)]
    rows[12_345]["a"], rows[777]["b"] = 1e6, -1e9
    thinned = thin(rows, ["a", "b"])
    assert len(thinned) <= 120 * 4 + 2
    for name in ("a", "b"):
        assert min(r[name] for r in thinned) == min(r[name] for r in rows)
        assert max(r[name] for r in thinned) == max(r[name] for r in rows)
    assert [r["step"] for r in thinned] == sorted(r["step"] for r in thinned)


def test_metrics_reader_follows_and_notices_a_rewind(tmp_path: Path) -> None:
    run, reader = RunDir(tmp_path), MetricsReader()
    for step in (10, 20, 30):
        run.append_metrics({"step": step})
    assert [r["step"] for r in reader.read(run)] == [10, 20, 30]
    run.rewind(10)
    for step in (20, 30, 40, 50):
        run.append_metrics({"step": step, "again": True})
    assert [r["step"] for r in reader.read(run)] == [10, 20, 30, 40, 50]
    assert all(r.get("again") for r in reader.read(run)[1:])


def until(condition, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
