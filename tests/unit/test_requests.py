"""What readers ask of a worker: obeyed once, at a step that is written down, and made again there after a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, assert_same_run, content, lines, wait_for

from ganlab import jobs, loop, requests
from ganlab.config import Config
from ganlab.distributed import World
from ganlab.loop import resume, train
from ganlab.rundir import RunDir
from ganlab.trainer import Trainer
from ganlab.weights import GENERATOR, STATE, load_arrays

LIVE = {name for name in Config.__dataclass_fields__ if Config.__dataclass_fields__[name].metadata["live"]}


@pytest.fixture
def small(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A training whose worker looks for requests before each step."""
    monkeypatch.setattr(requests, "POLL", 0.0)
    monkeypatch.setattr(loop, "POLL", 0.001)
    return tiny.replace(model="mlp", steps=40, log_every=1, precision="float32")


class Worker(threading.Thread):
    """A worker in a thread, that tells how often it has looked for a request."""

    def __init__(self, config: Config, run: RunDir) -> None:
        super().__init__(daemon=True)
        self.config, self.run_dir, self.looks, self.started = config, run, 0, time.time()
        self.error: Exception | None = None

    def run(self) -> None:
        honest = requests.Requests._look

        def counted(asked: requests.Requests, *args: Any) -> None:
            honest(asked, *args)
            self.looks += 1

        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(requests.Requests, "_look", counted)
                train(self.config, self.run_dir.path, device="cpu", started=self.started)
        except Exception as error:
            self.error = error

    def wait(self, condition: Callable[[], object]) -> None:
        wait_for(lambda: condition() or not self.is_alive(), lambda: self.run_dir.read_status())
        assert condition(), (self.error, self.run_dir.read_status())

    def wait_until_paused(self, step: int) -> None:
        """Paused there, and so it stays: it looks on and on for somebody who asks otherwise."""
        self.wait(lambda: (self.run_dir.read_status().state, self.run_dir.read_status().step) == ("paused", step))
        looks = self.looks
        self.wait(lambda: self.looks > looks + 5)
        assert (self.run_dir.read_status().state, self.run_dir.read_status().step) == ("paused", step)


@contextlib.contextmanager
def working(config: Config, run: RunDir) -> Iterator[Worker]:
    worker = Worker(config, run)
    worker.start()
    try:
        yield worker
    finally:
        if worker.is_alive():
            run.request("stop")
        worker.join(PATIENCE)
        assert not worker.is_alive() and worker.error is None, worker.error


def asking(run: RunDir, at: int, **request: Any) -> Callable[..., None]:
    """A `progress` that makes one request at the line of a step: it is heard before the next one."""

    def progress(_: object, row: dict) -> None:
        if row["step"] == at:
            run.request("run", **request)

    return progress


def config_of(run: RunDir) -> Config:
    """The hyperparameters at the last save."""
    return load_arrays(run.states()[-1], kind=STATE)[1]


def events(run: RunDir) -> list[str]:
    return [event["event"] for event in run.read_events()]


# --- pause, step, go on, stop ----------------------------------------------------------------------------------------


def test_pause_step_resume_stop_leave_no_trace_in_the_result(small: Config, tmp_path: Path) -> None:
    config = small.replace(log_every=3)
    whole, run = train(config, tmp_path / "whole"), RunDir(tmp_path / "run")
    run.open_config(config)
    run.request("run", until=4)  # as `jobs.start` does, before the worker begins
    with working(config, run) as worker:
        worker.wait_until_paused(4)
        partial = run.read_status().partial
        assert partial is not None and partial["step"] == 4  # one step past the last line, already there to see
        assert {"loss_g", "loss_d", "d_real", "d_fake", "epoch"} <= partial.keys()
        assert int(run.states()[-1].stem) == 4 and run.sample_file(4).exists()
        run.request("run", until=7)
        worker.wait_until_paused(7)
        run.request("pause")
        worker.wait_until_paused(7)
        run.request("stop")
    assert (run.read_status().state, run.read_status().step) == ("stopped", 7)
    with working(config, run) as worker:  # what was asked of the worker before is history
        worker.wait(lambda: run.read_status().state == "done")
    assert events(run) == ["started", "paused", "paused", "stopped", "resumed", "done"]
    for file in (run.sample_file(7), run.snapshot_file(7)):
        file.unlink()  # where it paused and nothing else was due
    assert_same_run(whole, run)


def test_a_pause_asked_for_earlier_is_history_but_a_step_to_pause_at_is_not(small: Config, tmp_path: Path) -> None:
    for command, until, end in (("pause", None, "done"), ("stop", None, "done"), ("run", 40, "paused")):
        run = RunDir(tmp_path / f"{command}")
        run.path.mkdir()
        run.request(command, until=until)  # type: ignore[arg-type]
        with working(small.replace(steps=50), run) as worker:
            worker.wait(lambda run=run, end=end: run.read_status().state == end)
            assert run.read_status().step == (until or 50)


def test_a_live_change_leaves_the_pause_as_it_is(small: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.open_config(small)
    run.request("run", until=5)
    with working(small, run) as worker:
        worker.wait_until_paused(5)
        jobs.change(run, {"d_steps": 3})
        worker.wait_until_paused(5)
        assert "changed" in events(run)
        jobs.change(run, {"d_steps": 2})
        worker.wait_until_paused(5)
        run.request("run", until=6)
        worker.wait_until_paused(6)
    assert config_of(run).d_steps == 2 and run.read_status().images == 16 * (5 + 2)


# --- live changes ----------------------------------------------------------------------------------------------------

OTHER = dict(learning_rate=1e-3, d_learning_rate=5e-3, d_steps=2, g_steps=3, label_smoothing=0.3, label_flip=0.4,
             instance_noise=0.5, ema_half_life=0)  # fmt: skip


class Killed(BaseException):
    pass


@pytest.mark.parametrize("name", sorted(LIVE))
def test_a_live_change_is_made_again_at_its_step(
    name: str, small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for at step 6, made before the 7th; killed before it was saved, resumed, and the same again."""
    config, changes = small.replace(steps=12), {name: OTHER[name]}
    whole, run = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run")
    train(config, whole.path, progress=asking(whole, 6, changes=changes))
    honest = Trainer.train_step

    def killed(self: Trainer) -> None:
        if self.step == 9:
            raise Killed
        honest(self)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "train_step", killed)
        train(config, run.path, progress=asking(run, 6, changes=changes))
    assert int(run.states()[-1].stem) == 5
    train(config, run.path)
    assert_same_run(whole, run)
    assert config_of(run) == config.replace(**changes) and run.read_config() == config
    for each in (whole, run):
        (changed,) = (event for event in each.read_events() if event["event"] == "changed")
        assert (changed["step"], changed["changes"]) == (7, {name: [getattr(config, name), OTHER[name]]})
    plain = train(config, tmp_path / "plain")
    assert lines(plain)[:7] == lines(run)[:7]
    assert (lines(plain)[7:] != lines(run)[7:]) == (name != "ema_half_life")  # which changes the average alone
    one, two = (content(each.snapshot_file(12), GENERATOR) for each in (plain, run))
    assert one != two


def test_every_live_hyperparameter_is_tried() -> None:
    assert set(OTHER) == LIVE


def test_a_newer_wish_at_an_earlier_step_overrules_an_older_one(small: Config, tmp_path: Path) -> None:
    """Two changes at step 7; the run is thrown back to step 5, where one of them is wished otherwise."""
    config, run = small.replace(steps=12, keep_states=9), RunDir(tmp_path / "run")
    wishes = {"learning_rate": 1e-3, "label_smoothing": 0.1}
    train(config, run.path, progress=asking(run, 6, changes=wishes))
    for step in (10, 12):
        run.state_file(step).unlink()
    run.request("run", changes={"learning_rate": 5e-4})
    train(config, run.path)
    changed = [(e["step"], e["changes"]) for e in run.read_events() if e["event"] == "changed"][1:]
    # seen from step 5, where the older change is on its way already
    assert changed == [(5, {"learning_rate": [1e-3, 5e-4]})]
    assert config_of(run) == config.replace(learning_rate=5e-4, label_smoothing=0.1)
    assert load_arrays(run.state_file(10), kind=STATE)[1] == config_of(run)


def test_a_request_is_answered_once(small: Config, tmp_path: Path) -> None:
    """Neither a new worker nor a later request repeats a change that was made, or a refusal."""
    run = RunDir(tmp_path / "run")
    train(small, run.path, progress=asking(run, 3, changes={"learning_rate": 1e-3, "width": 16}))
    answers = [event for event in run.read_events() if event["event"].startswith("change")]
    assert [event["event"] for event in answers] == ["change refused", "changed"]
    assert "width can't change in a running run. These can: d_learning_rate, d_steps," in answers[0]["error"]
    train(small.replace(steps=41), run.path)
    run.request("run")
    resume(run.path)
    train(small.replace(steps=45), run.path, progress=asking(run, 42, changes={"d_steps": 2}))
    assert [e["event"] for e in run.read_events() if e["event"].startswith("change")] == [
        "change refused", "changed", "changed"
    ]  # fmt: skip
    assert config_of(run) == small.replace(learning_rate=1e-3, d_steps=2, steps=45)


def test_a_request_does_not_bring_back_what_a_rollback_has_undone(small: Config, tmp_path: Path) -> None:
    """A wish for another step size, made; then a divergence halves it; then somebody pauses the run."""
    config, run = small.replace(on_divergence="rollback"), RunDir(tmp_path / "run")
    honest = Trainer.train_step

    def spoilt(self: Trainer) -> None:
        honest(self)
        if self.step == 8 and self.config.learning_rate == 1e-2:
            self.sums[0] = float("inf")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_step", spoilt)

        def progress(_: object, row: dict) -> None:
            if row["step"] == 2 and run.read_control().version == 0:
                run.request("run", changes={"learning_rate": 1e-2})
            if row["step"] == 20:
                run.request("run", changes={"d_steps": 2})

        train(config, run.path, progress=progress)
    assert [e["step"] for e in run.read_events() if e["event"] == "changed"] == [3, 5, 21]
    assert (config_of(run).learning_rate, config_of(run).d_steps) == (5e-3, 2)


@pytest.mark.parametrize(
    ("base", "changes", "reason"),
    [
        ({}, {"batch_size": 32}, "batch_size can't change in a running run"),
        ({}, {"steps": 5, "seed": 2}, "seed, steps can't change"),
        ({}, {"learning_rate": 7}, "learning_rate is 7; give a number from"),
        ({}, {"d_steps": 1.5}, "d_steps is 1.5; give a whole number"),
        ({}, {"d_learning_rate": "fast"}, "d_learning_rate is 'fast'"),
        (dict(loss="hinge"), {"label_flip": 0.1}, "hinge loss has no labels"),
        (dict(loss="wasserstein"), {"label_smoothing": 0.1, "d_steps": 2}, "wasserstein loss has no labels"),
    ],
)
def test_an_impossible_change_is_refused_and_the_training_goes_on(
    base: dict[str, Any], changes: dict[str, Any], reason: str, small: Config, tmp_path: Path
) -> None:
    config, run = small.replace(steps=8, **base), RunDir(tmp_path / "run")
    train(config, run.path, progress=asking(run, 3, changes=changes))
    (refused,) = (event for event in run.read_events() if event["event"] == "change refused")
    assert reason in refused["error"] and refused["step"] == 4
    assert "changed" not in events(run) and config_of(run) == config
    assert_same_run(train(config, tmp_path / "undisturbed"), run)


def test_the_good_half_of_a_request_is_made(small: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.request("run", changes={"width": 16})
    run.request("run", changes={"learning_rate": 1e-3, "d_learning_rate": 2e-3})  # the first is still unheard
    train(small, run.path)
    assert config_of(run) == small.replace(learning_rate=1e-3, d_learning_rate=2e-3)
    assert events(run) == ["started", "change refused", "changed", "done"]
    assert run.read_status().state == "done"


def test_a_wish_for_what_is_so_already_is_no_change(small: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    asked = {name: value for name, value in dataclasses.asdict(small).items() if name in LIVE}
    train(small, run.path, progress=asking(run, 3, changes=asked))
    assert events(run) == ["started", "done"]


def test_processes_that_train_together_look_at_once_and_then_at_the_same_steps(small: Config, tmp_path: Path) -> None:
    class Two(World):
        def agree(self, value: Any) -> Any:
            return value

    run = RunDir(tmp_path)
    run.request("pause")
    asked = requests.Requests(run, 0.0, Two(0, 2))
    for step, command, obeyed in (
        (13, "run", "pause"),
        (14, "stop", "pause"),
        (19, "stop", "pause"),
        (20, "run", "stop"),
    ):
        asked.obey(small, step)
        assert asked.command == obeyed
        run.request(command)  # type: ignore[arg-type]
    asked.obey(small, 21, waiting=True)
    assert asked.command == "run"
