"""The page Measure: what it shows of evaluations in every state, and that it computes nothing itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import wait_for, write_generator
from streamlit.testing.v1 import AppTest

from ganlab import catalog
from ganlab.app.measure.words import METRICS
from ganlab.app.state import workers
from ganlab.evaluate.report import Metric, Report, Status, find_report, folder_of, read_report, write_report
from ganlab.files import write_atomic
from ganlab.render import Model
from ganlab.rundir import RunDir

NUM = 2_000  # the smaller count that the page offers


def measure() -> None:
    from ganlab.app.pages import measure

    measure.page()


def opened(*models: str, num: int = NUM) -> AppTest:
    """The page with these models chosen."""
    app = AppTest.from_function(measure, default_timeout=60)
    if models:
        app.query_params.update({"models": list(models), "samples": str(num)})
    return drawn(app.run())


def drawn(app: AppTest) -> AppTest:
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    """All text on the page."""
    kinds = (app.markdown, app.caption, app.info, app.warning, app.error, app.header, app.subheader)
    return "\n".join(element.value for kind in kinds for element in kind)


def button(app: AppTest, label: str):
    return next((b for b in app.button if b.label == label), None)


@pytest.fixture
def run(own_folders: Path) -> RunDir:
    """A run with a snapshot of the steps 10 and 20."""
    run = RunDir(own_folders / "runs" / "a_run")
    for step in (10, 20):
        write_generator(run.snapshot_file(step), seed=step, step=step)
    run.open_config(catalog.load(run.snapshot_file(20)).config)
    return run


def made_up(model: Model, data: str = "mnist-5k", fd: float = 4.0, pictures: bool = True, **changes: Any) -> Report:
    """An evaluation as a worker leaves it, of made-up figures."""
    folder = folder_of(model, num=NUM)
    report = Report(
        folder=folder,
        model={"name": model.name, "sha256": model.sha256, "step": model.facts["step"], "images": 1, "num_classes": 0,
               "parameters": 1},
        data={"name": data, "split": "train", "num": NUM, "classes": list("0123456789"),
              "floor": {"split": "test", "num": NUM}},
        extractor={"name": "mnistnet", "sha256": "0" * 64, "own": True, "accuracy": 0.99},
        num=NUM,
        seed=0,
        metrics={
            "fd_mnistnet_2k": Metric(fd, None, 0.2, 300.0, "lower"),
            "precision_mnistnet_2k": Metric(0.5, None, 0.9, 0.1, "higher"),
            "recall_mnistnet_2k": Metric(0.25, None, 0.8, 0.0, "higher"),
            "duplicates_mnistnet_2k": Metric(3, None, 2, 0, "lower"),
        },
        classes=tuple("0123456789"),
        histogram={"fake": [0.19, 0.02, *[0.1] * 7, 0.09], "real": [0.1] * 10},
        agreement_by_class=None,
        notes=("A note.",),
        seconds={"total": 1.0},
        date="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    write_report(report := replace(report, **changes))
    if pictures:
        np.savez(folder / "pictures.npz", **arrays(model))
    return report


def arrays(model: Model) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for kind, num in {"wall": 64, "best": 16, "strangest": 16}.items():
        found |= {kind: model.sample(num), f"{kind}_seeds": np.arange(num) + 100, f"{kind}_realism": np.ones(num)}
        found |= {f"{kind}_classes": np.arange(num) % 10, f"{kind}_asked": np.full(num, -1)}
        for space, nearest in {"pixels": 0.125, "features": 30.0}.items():
            found[f"{kind}_{space}"] = np.stack([model.sample(5, seed) for seed in range(num)])
            found[f"{kind}_{space}_distances"] = np.arange(num)[:, None] + nearest + np.arange(5)[None]
            found[f"{kind}_{space}_indices"] = np.arange(5 * num).reshape(num, 5)
            found[f"{kind}_{space}_classes"] = np.zeros((num, 5), int)
    pairs = np.arange(8).reshape(4, 2)
    found |= {"real": model.sample(64, 7), "real_indices": np.arange(64), "real_classes": np.zeros(64, int)}
    found |= {"duplicates": model.sample(8)[pairs], "duplicates_seeds": pairs, "duplicates_classes": pairs}
    found |= {"duplicates_distances": np.array([0.5, 0.75, 1.0, 1.25])}
    distances = np.linspace(1, 10, 200)
    return found | {f"{name}_distances": distances for name in ("test_pixels", "test_features", "real_features")}


# --- the first visit -------------------------------------------------------------------------------------------------


def test_a_newcomer_sees_the_released_models_measured(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLAB_DATA", str(own_folders / "no data"))
    app = opened()
    assert app.multiselect(key="models").value == ["mnist-sn", "mnist-mlp"]
    assert not app.error and not app.warning and button(app, "Measure") is None
    table = app.table[0].value
    assert list(table.columns) == ["", "**mnist-sn**", "**mnist-mlp**", ":gray[Real]", ":gray[Noise]"]
    for column, name in enumerate(["mnist-sn", "mnist-mlp"], start=1):
        report = find_report(catalog.load(name))
        assert report is not None
        value = report.metrics["fd_mnistnet_10k"].value
        assert value is not None and f"{value:.3g}" in table.iloc[0, column]
    assert "**mnist-sn** comes closest to real pictures" in said(app)
    assert not (own_folders / "cache").exists()


@pytest.mark.parametrize("name", catalog.released())
def test_every_released_model_brings_its_evaluation(name: str) -> None:
    """Made by what would make it today, and small; `python -m tools.release --name NAME` makes it anew."""
    opened = catalog.load(name)
    report = find_report(opened)
    assert report is not None and report.has_pictures and report.folder.is_relative_to(catalog.CHECKPOINTS)
    assert sum(file.stat().st_size for file in report.folder.iterdir()) < 400_000 * opened.config.channels
    assert report.model["sha256"] == catalog.read_card(name)["sha256"]
    shown = report.pictures()
    model, asked = catalog.load(name), shown["wall_asked"]  # classes as often as the data has them
    again = model.generate(model.z(range(64)), asked if model.num_classes else None).astype(int)
    assert np.abs(shown["wall"] - again).max() <= 1  # another processor may round otherwise
    assert {"test_pixels_distances", "test_features_distances", "real_features_distances"} <= shown.keys()


def test_the_page_reads_files_and_nothing_more() -> None:
    """In a process of its own: no torch, and no network, neither a generator's nor one that looks at features."""
    program = """
import sys
from streamlit.testing.v1 import AppTest
page = "from ganlab.app.pages import measure; measure.page()"
app = AppTest.from_string(page, default_timeout=60).run()
assert not app.exception and len(app.table) == 2
print(sorted({"torch", "torchvision", "onnxruntime", "onnx", "scipy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# --- side by side ----------------------------------------------------------------------------------------------------


def test_models_side_by_side_with_floor_and_ceiling(run: RunDir) -> None:
    for step, fd in ((10, 8.25), (20, 4.5)):
        made_up(catalog.load(run.snapshot_file(step)), fd=fd)
    app = opened(f"{run.path}@10", str(run.path))
    table = app.table[0].value
    assert list(table.columns[1:3]) == ["**a\\_run@10**", "**a\\_run@20**"]
    assert table.iloc[0].tolist()[1:] == ["8.25", "**4.50**", ":gray[0.200]", ":gray[300]"]
    assert table.iloc[1].tolist()[1:] == ["50.0%", "50.0%", ":gray[90.0%]", ":gray[10.0%]"]
    assert [cell.split("**")[1].replace("\xa0", " ") for cell in table.iloc[:, 0]] == [
        METRICS[family].title for family in ("fd", "precision", "recall", "duplicates")
    ]
    assert "`fd_mnistnet_2k`" in app.table[1].value["Full name"].tolist()
    assert "3 :green[:material/check:]" in table.iloc[3].tolist()[1]  # three near-copies, as real ones have two
    assert "draws class 0 too often: 19.0% of its pictures, 10.0% of the data" in said(app)


def test_data_sets_are_never_mixed(run: RunDir) -> None:
    made_up(catalog.load(run.snapshot_file(10)))
    made_up(catalog.load(run.snapshot_file(20)), data="mnist")
    app = opened(f"{run.path}@10", f"{run.path}@20")
    figures = [table.value for table in app.table if ":gray[Real]" in table.value.columns]
    assert [table.columns[1] for table in figures] == ["**a\\_run@10**", "**a\\_run@20**"]
    assert len(app.subheader) == 2 and "learnt from different data" in said(app)
    assert "comes closest" not in said(app)


def test_junk_is_named_and_the_others_are_shown(run: RunDir) -> None:
    made_up(catalog.load(run.snapshot_file(20)))
    app = opened(str(run.path), "no_such_model", f"{run.path}@best")
    (first, second) = (error.value for error in app.error)
    assert "no\\_such\\_model can't be measured" in first and "no score yet" in second
    assert app.table[0].value.shape[1] == 4


def test_nothing_chosen_and_nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    app = opened()
    drawn(app.multiselect(key="models").set_value([]).run())
    assert "Choose a model" in said(app) and not app.table
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path)
    assert button(opened(), "Train a model") is not None


# --- pictures --------------------------------------------------------------------------------------------------------


def test_the_neighbours_of_the_picture_that_was_clicked(run: RunDir) -> None:
    made_up(catalog.load(run.snapshot_file(20)))
    app = opened(str(run.path))
    assert "Seed 100 of a\\_run@20, looks like 0" in said(app)  # the first, until one is clicked
    assert "it may be a copy" in said(app)  # 0.125 by pixels, where real pictures come to 1 at the nearest
    app.session_state["picked_0"] = (str(run.path), "wall", 5)
    drawn(app.run())
    assert "Seed 105 of a\\_run@20, looks like 5" in said(app)
    assert "Distances 5.12, 6.12, 7.12, 8.12, 9.12. The nearest is training picture 25." in said(app)
    real = np.linspace(1, 10, 200)
    assert f"{100 * (real <= 5.125).mean():.0f} of 100 real test pictures come nearer" in said(app)
    assert "100 of 100 real test pictures come nearer" in said(app)  # by features: 35


@pytest.mark.parametrize("name", ["another model", ""])
def test_a_picture_that_is_not_shown_gives_way_to_the_first(run: RunDir, name: str) -> None:
    made_up(catalog.load(run.snapshot_file(20)))
    app = opened(str(run.path))
    app.session_state["picked_0"] = (name or str(run.path), "wall", 5)
    drawn(app.button_group(key="set_0").set_value("Strangest").run())
    assert "Seed 100 of" in said(app)


def test_damaged_pictures_leave_the_figures(run: RunDir) -> None:
    report = made_up(catalog.load(run.snapshot_file(20)))
    (report.folder / "pictures.npz").write_bytes(b"PK nothing")
    app = opened(str(run.path))
    assert "damaged" in app.error[0].value and app.table[0].value.shape == (4, 4)


# --- work ------------------------------------------------------------------------------------------------------------


def test_measuring_from_the_click_to_the_figures(run: RunDir) -> None:
    """A real worker on the bundled digits; another visitor sees how far it is."""
    app = opened(str(run.path), f"{run.path}@10")
    assert "**a\\_run@20**, **a\\_run@10**: not measured yet with 2,000 pictures" in said(app)
    assert not app.table
    drawn(button(app, "Measure").click().run())
    assert button(app, "Measure") is None and len([b for b in app.button if b.label == "Stop"]) == 2
    folders = [folder_of(catalog.load(run.snapshot_file(step)), num=NUM) for step in (10, 20)]
    wait_for(lambda: any((folder / "status.json").exists() for folder in folders))
    visitor = opened(str(run.path))
    assert button(visitor, "Measure") is None
    wait_for(lambda: all(read_report(folder) for folder in folders), lambda: (folders[1] / "worker.log").read_text())
    wait_for(lambda: all(process.poll() is not None for process in workers()))
    app = drawn(app.run())
    assert app.table[0].value.shape[1] == 5 and button(app, "Stop") is None and not app.error


def test_stop_ends_the_worker(run: RunDir) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    folder = folder_of(catalog.load(run.snapshot_file(20)), num=NUM)
    status = Status("running", 0.4, "comparing", sleeper.pid, time.time() + 60)
    write_atomic(folder / "status.json", json.dumps(vars(status)).encode())
    app = opened(str(run.path))
    assert button(app, "Measure") is None
    button(app, "Stop").click().run()
    assert sleeper.wait(timeout=60) != 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status("failed", error="The disk_is full."), "could not be measured.** The disk\\_is full."),
        (Status("failed", error="interrupted"), "stopped before it was through"),
        (Status("running", heartbeat=1.0), "Its process vanished"),
    ],
)
def test_an_end_without_figures_is_told_and_can_be_tried_again(run: RunDir, status: Status, words: str) -> None:
    folder = folder_of(catalog.load(run.snapshot_file(20)), num=NUM)
    write_atomic(folder / "status.json", json.dumps(vars(status)).encode())
    app = opened(str(run.path))
    assert words in said(app) and button(app, "Measure") is not None


def test_a_worker_that_died_at_once_is_told_by_what_it_printed(run: RunDir) -> None:
    folder = folder_of(catalog.load(run.snapshot_file(20)), num=NUM)
    write_atomic(folder / "worker.log", b"ImportError: no module named x_y\n")
    app = opened(str(run.path))
    assert "no module named x\\_y" in app.error[0].value


def test_figures_without_pictures_are_shown_and_pictures_offered(run: RunDir) -> None:
    made_up(catalog.load(run.snapshot_file(20)), pictures=False)
    app = opened(str(run.path))
    assert app.table[0].value.shape == (4, 4) and button(app, "Measure") is not None


# --- over training time ----------------------------------------------------------------------------------------------


def test_snapshots_over_time(run: RunDir) -> None:
    made_up(catalog.load(run.snapshot_file(20)))
    app = opened(str(run.path))
    assert button(app, "Measure all 2 snapshots of a_run") is not None
    rows = [
        {"step": step, "data": "mnist-5k", "extractor": "mnistnet", "num": NUM, "seed": 0, "fd_mnistnet_2k": 1.0 * step,
         "floor": {"fd_mnistnet_2k": 0.5}, "ceiling": {"fd_mnistnet_2k": 300.0}}
        for step in (10, 20)
    ]  # fmt: skip
    (run.path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = drawn(app.run())
    assert app.selectbox(key="over_time").value == "fd"
    assert button(app, "Measure all 2 snapshots of a_run") is None
    assert "2,000 pictures of each snapshot; dashed: what real pictures score" in said(app)


def test_scores_of_the_training_stand_in_until_then(run: RunDir) -> None:
    made_up(catalog.load(run.snapshot_file(20)))
    rows = [
        {"step": 5, "metric": "old", "score": 9.0},
        {"step": 10, "loss_g": 1.0},
        {"step": 15, "metric": "new", "score": 2.0},
        {"step": 20, "metric": "new", "score": None},
        {"step": 25, "metric": "new", "score": 1.5},
    ]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "Scores that the training noted (new)" in said(opened(str(run.path)))
