"""The Train page, driven by Streamlit's own AppTest, with real worker processes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ganlab import jobs
from ganlab.app.charts import MetricsReader, thin
from ganlab.app.controls import FIELDS, GROUPS, scale
from ganlab.config import Config
from ganlab.presets import PRESETS
from ganlab.rundir import RunDir

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


def test_there_is_a_widget_for_every_hyperparameter() -> None:
    placed = {name for names in GROUPS.values() for name in names} | {"data", "classes", "image_size", "channels"}
    assert placed == set(FIELDS)
    app = open_page()
    shown = {w.key for kind in (app.slider, app.select_slider, app.number_input, app.segmented_control) for w in kind}
    for group, names in GROUPS.items():
        assert {f"mnist-5k-dcgan_{group}_{name}" for name in names} <= shown


def test_widgets_start_at_the_preset_and_reach_the_limits() -> None:
    for base in PRESETS.values():
        for name, f in FIELDS.items():
            if f.metadata["scale"] != "linear" and f.metadata["low"] is not None:
                default = getattr(base, name) or f.metadata["low"]
                values = scale(f.metadata, default)
                assert default in values and values == sorted(values)
                assert f.metadata["low"] <= values[0] and values[-1] <= f.metadata["high"]
                assert all(type(v) is type(default) for v in values)


def test_start_watch_pause_step_resume_stop(runs: Path) -> None:
    app = open_page()
    app.select_slider(key="mnist-5k-dcgan_networks_width").set_value(8)
    app.select_slider(key="mnist-5k-dcgan_optimisation_batch_size").set_value(16)
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
    assert {"Resume", "Step", "Open in Explore"} <= {b.label for b in app.button}


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
