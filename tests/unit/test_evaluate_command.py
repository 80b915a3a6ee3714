"""`python -m ganlab evaluate`: its tables, its JSON, a run over time, and how it ends when one interrupts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wait_for, write_generator

from ganlab import catalog, cli
from ganlab.config import Config
from ganlab.evaluate.report import Metric, find_report, folder_of, read_status
from ganlab.evaluate.timeline import read_timeline
from ganlab.render import load_model
from ganlab.rundir import RunDir

REPO = Path(__file__).parents[2]
NUM = 200
FD = f"fd_mnistnet_{NUM}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluations")


@pytest.fixture(autouse=True)
def here(shared: Path, own_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with two released models; the features of the digits are kept for all tests."""
    monkeypatch.setenv("GANLAB_CACHE", str(shared / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "checkpoints")
    write_generator(tmp_path / "checkpoints/first/generator.safetensors", 0)
    write_generator(tmp_path / "checkpoints/second/generator.safetensors", 1, num_classes=10)
    return tmp_path


def run_command(*argv: object) -> None:
    cli.main(None, ["evaluate", *map(str, argv)])


def rows_of(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def a_run(folder: str = "runs/a", steps: tuple[int, ...] = (0, 50, 100)) -> RunDir:
    """A run with a snapshot at each of these steps, each with other weights."""
    run = RunDir(folder)
    for step in steps:
        write_generator(run.snapshot_file(step), step, step=step)
    run.write_config(Config(data="mnist-5k"))
    return run


# --- models ----------------------------------------------------------------------------------------------------------


def test_one_row_a_metric_and_one_column_a_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command("first", "--against", "second", "--num", NUM, "--threads", 1, "--out", "some/figures.json")
    text = capsys.readouterr().out
    assert text.startswith(
        f"mnist-5k: {NUM} generated pictures, seeds 0 to {NUM - 1}; features of mnistnet, which is right"
    )
    rows = rows_of(text)
    assert rows["metric"] == ["first", "second", "floor", "ceiling"]
    first, second = json.loads(Path("some/figures.json").read_text())
    assert (first["model"]["name"], second["model"]["name"]) == ("first", "second")
    found = find_report(load_model(catalog.find("second")), num=NUM)
    assert found is not None and second == json.loads((found.folder / "result.json").read_text())
    for name, metric in second["metrics"].items():
        assert name in rows and metric["floor"] == found.metrics[name].floor
    assert float(rows[FD][1]) == pytest.approx(second["metrics"][FD]["value"], rel=1e-2)
    agreement = second["metrics"][f"agreement_mnistnet_{NUM}"]
    shown = f"{agreement['value']:.3g} ± {agreement['error']:.3g}".split()
    assert rows[f"agreement_mnistnet_{NUM}"][:3] == shown  # and nothing for the first one, which knows no classes
    assert f"Reference: {NUM} pictures of a half of train." in text and "some/figures.json" in text


def test_models_that_were_measured_differently_are_in_tables_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    write_generator(Path("checkpoints/threes/generator.safetensors"), 2, classes=("3",))
    run_command("first", "--against", "threes", "--num", NUM, "--threads", 1)
    tables = capsys.readouterr().out.split("\nmnist-5k: ")
    assert len(tables) == 2
    assert "first" in tables[0] and "threes" not in tables[0]
    assert "threes" in tables[1] and "first" not in tables[1]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Metric(0.16488, None, None, None, "lower"), "0.165"),
        (Metric(1.15209, 0.04949, None, None, "lower"), "1.15 ± 0.0495"),
        (Metric(10, None, None, None, "higher"), "10"),
        (Metric(2940882.3, None, None, None, "higher", 1e6, 1e7), "2,940,882"),
        (Metric(None, None, None, None, "higher", 5449.2, None), "over 5,449"),
        (Metric(None, None, None, None, "lower"), "-"),
        (None, ""),
    ],
)
def test_figures_have_three_digits(value: Metric | None, shown: str) -> None:
    from ganlab.cli.evaluate import _figure

    assert _figure(value) == shown


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["third"], "No model is called 'third'"),
        (["first", "--data", "mnits"], "Did you mean mnist"),
        (["first", "--num", "20"], "num is 20 and seed 0; figures need 100"),
        (["first", "--out", "figures.txt"], "figures.txt: figures are written as .json"),
        (["runs/none", "--all-snapshots"], "runs/none holds no run"),
        (["first", "--inception", "--inception-weights", "no.pth"], "There is no file no.pth"),
    ],
)
def test_what_can_not_be_measured_is_said_in_one_line(
    argv: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(*argv)
    out, err = capsys.readouterr()
    assert caught.value.code == 1 and out == "" and named in err and err.count("\n") == 1


# --- a run over time -------------------------------------------------------------------------------------------------


def test_one_row_a_snapshot(capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run()
    run_command("runs/a", "--all-snapshots", "--num", NUM, "--threads", 1, "--out", "time.json")
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines() if line]
    assert [line[0] for line in lines[1:7]] == ["step", "0", "50", "100", "floor", "ceiling"]
    assert lines[1][1:] == "fd kd precision recall density coverage modes class_kl duplicates support".split()
    rows = read_timeline(run)
    assert [row["step"] for row in rows] == [0, 50, 100] and [row["images"] for row in rows] == [0, 3200, 6400]
    for row, line in zip(rows, lines[2:5], strict=True):
        assert (row["data"], row["extractor"], row["num"], row["seed"]) == ("mnist-5k", "mnistnet", NUM, 0)
        assert float(line[1]) == pytest.approx(row[FD], rel=1e-2)
        assert row["floor"][FD] < row["ceiling"][FD]
    assert len({row["sha256"] for row in rows}) == 3
    assert json.loads(Path("time.json").read_text()) == [{"run": "runs/a", **row} for row in rows]
    report = find_report(load_model(run.snapshot_file(50)), num=NUM)
    assert report is not None and not report.has_pictures  # a film needs none
    assert report.metrics[f"kd_mnistnet_{NUM}"].value == rows[1][f"kd_mnistnet_{NUM}"]


def test_later_snapshots_join_the_lines_and_vanished_ones_leave_them() -> None:
    run = a_run("runs/b", (0, 50))
    run_command("runs/b", "--all-snapshots", "--num", NUM, "--threads", 1)
    run_command("runs/b", "--all-snapshots", "--num", NUM + 50, "--threads", 1)
    both = read_timeline(run)
    assert [(row["step"], row["num"]) for row in both] == [(0, NUM), (0, NUM + 50), (50, NUM), (50, NUM + 50)]
    with open(run.path / "evaluations.jsonl", "a") as file:
        file.write('{"step": 50, "torn')
    assert read_timeline(run) == both
    write_generator(run.snapshot_file(75), 5, step=75)
    run.snapshot_file(0).unlink()  # as a resume from an earlier state does
    run_command("runs/b", "--all-snapshots", "--num", NUM, "--threads", 1)
    assert [(row["step"], row["num"]) for row in read_timeline(run)] == [(50, NUM), (50, NUM + 50), (75, NUM)]


def test_a_run_without_snapshots_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    RunDir("runs/new").write_config(Config())
    with pytest.raises(SystemExit):
        run_command("runs/new", "--all-snapshots")
    assert "runs/new has no snapshot yet" in capsys.readouterr().err
    assert read_timeline(RunDir("runs/new")) == []


# --- the end of a worker ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_worker_says_so_and_leaves_nothing_broken(number: signal.Signals, here: Path) -> None:
    file = write_generator(here / "slow.safetensors", int(number), data="mnist-5k")
    model = load_model(file)
    folder = folder_of(model, num=20_000)
    command = [sys.executable, "-m", "ganlab", "evaluate", str(file), "--num", "20000", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        wait_for(lambda: (status := read_status(folder)) and status.share > 0.05 or worker.poll() is not None)
        worker.send_signal(number)
        out, err = worker.communicate(timeout=60)
    finally:
        worker.kill()
    assert (worker.returncode, out) == (130, "") and "Traceback" not in err
    assert err.splitlines()[-1] == "ganlab: interrupted; what was finished is kept."
    status = read_status(folder)
    assert status is not None and (status.state, status.error, status.alive) == ("failed", "interrupted", False)
    assert find_report(model, num=20_000) is None
    assert not [path for path in folder.rglob("*.tmp")]
