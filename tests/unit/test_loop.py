"""The training loop: exact continuation above all, then failures, divergence, scores and refusals."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PATIENCE, assert_same_run, content, lines, newest_state, wait_for
from hypothesis import HealthCheck, Phase, example, given, reject, settings
from hypothesis import strategies as st
from PIL import Image

from ganlab import catalog, cli, export, jobs, loop, recorder, requests, rundir, weights
from ganlab.config import Config
from ganlab.errors import ConfigError, Diverged, RunError, WeightsError
from ganlab.loop import is_due, resume, score_is_due, train
from ganlab.models import build_discriminator, build_generator, sample_prior
from ganlab.presets import preset
from ganlab.render import load_model
from ganlab.rundir import RunDir
from ganlab.scores import Findings, Scorer
from ganlab.trainer import FIXED, Trainer, generator_of
from ganlab.weights import DISCRIMINATOR, STATE, load_arrays

FACTS = ("step", "images", "count")


# --- exact continuation, whatever the hyperparameters ----------------------------------------------------------------


class Killed(BaseException):
    """As `kill -9`: none of our code handles it."""


@contextlib.contextmanager
def killed_at(act: int | None = None) -> Iterator[SimpleNamespace]:
    """Count what the worker does: steps, files and lines written. In the midst of number `act` it dies, and leaves
    half a temporary file or half a line."""
    done, tally = itertools.count(), SimpleNamespace(acts=0)
    write, append, step = weights.write_atomic, rundir._append_json, Trainer.train_step

    def dies() -> bool:
        if threading.current_thread() is not threading.main_thread():
            return False  # the heartbeat comes when it comes
        tally.acts = next(done) + 1
        return tally.acts - 1 == act

    def torn_file(path: Path, content: bytes) -> None:
        if dies():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.1.2.tmp").write_bytes(content[: len(content) // 2])
            raise Killed
        write(path, content)

    def torn_line(path: Path, row: dict) -> None:
        if dies():
            with open(path, "ab") as file:
                file.write(json.dumps(row).encode()[:-3])
            raise Killed
        append(path, row)

    def no_step(self: Trainer) -> None:
        if dies():
            raise Killed
        step(self)

    with pytest.MonkeyPatch.context() as patch:
        for module in (weights, rundir, export):
            patch.setattr(module, "write_atomic", torn_file)
        patch.setattr(rundir, "_append_json", torn_line)
        patch.setattr(Trainer, "train_step", no_step)
        yield tally


def whole_run(config: Config, path: Path, **options: Any) -> tuple[RunDir, int]:
    """A run without interruption, and the number of its acts."""
    with killed_at() as tally:
        return train(config, path, **options), tally.acts


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 26 pictures of three classes, so few that a step may reach over a whole epoch."""
    folder, noise = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    for i, (name, num) in enumerate({"ant": 13, "bee": 8, "cat": 5}.items()):
        (folder / name).mkdir()
        for j in range(num):
            array = noise.integers(0, 256 - 60 * i, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(array).save(folder / name / f"{j}.png")
    return folder


@st.composite
def configs(draw: Callable) -> dict[str, Any]:
    """Hyperparameters from all over, the contradictions left out or few."""

    def one(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    model, penalty = one("mlp", "dcgan", "sn-conv", "sn-resnet"), one("", "r1_gamma", "r2_gamma", "gradient_penalty")
    loss = one("non-saturating", "minimax", "least-squares", "wasserstein", "hinge", "relativistic")
    conditioning = one("none", "concat", *["projection"] * (model != "mlp"))
    plain = model == "sn-resnet"  # whose D knows no batch norm
    values = dict(
        model=model, loss=loss, conditioning=conditioning, width=4, hidden_layers=one(1, 2), latent_dim=4,
        d_width=one(None, 8), image_size=one(28, 32), channels=one(1, 3), prior=one("normal", "uniform"),
        classes=one((), ("bee", "Ant")), mirror=one(False, True), g_activation=one("relu", "leaky-relu"),
        g_norm=one("default", "batch"), d_norm=one("none", "spectral", *["default", "batch"] * (not penalty or plain)),
        d_dropout=one(0.0, 0.3), batch_size=one(4, 6), d_batches=one("separate", "merged"), d_steps=one(1, 2),
        g_steps=one(1, 2), instance_noise=one(0.0, 0.1), diffaugment=one((), ("color", "translation", "cutout")),
        learning_rate=one(2e-4, 2e-3), d_learning_rate=one(None, 1e-3), lr_schedule=one("constant", "linear", "cosine"),
        lr_decay_from=one(0.0, 0.5), warmup_steps=one(0, 5), beta1=one(0.0, 0.5), ema_half_life=one(0, 100),
        precision=one("float32", "bfloat16"), score=one("auto", "pixel-moments"), score_every=3, keep_states=one(2, 3),
        steps=one(8, 11), log_every=one(1, 3), sample_every=one(3, 5), save_every=one(2, 3, 4), seed=one(0, 1),
    )  # fmt: skip
    if plain and values["d_norm"] == "batch":
        values["d_norm"] = "default"
    if penalty:
        values[penalty] = 1.0
    if values["d_norm"] == "none":
        values["weight_clip"] = one(0.0, 0.01)
    if loss in ("non-saturating", "minimax", "least-squares"):
        values |= dict(label_smoothing=one(0.0, 0.1), label_flip=one(0.0, 0.2))
    return values


ALL_AT_ONCE = dict(
    model="sn-conv", conditioning="projection", loss="relativistic", d_batches="merged", d_steps=2, g_steps=2, width=4,
    latent_dim=4, batch_size=6, r1_gamma=1.0, gradient_penalty=1.0, instance_noise=0.1, mirror=True, d_dropout=0.2,
    diffaugment=("color", "cutout"), lr_schedule="cosine", warmup_steps=3, precision="bfloat16", score="pixel-moments",
    score_every=3, steps=11, log_every=3, sample_every=5, save_every=4, ema_half_life=100,
)  # fmt: skip


@settings(
    max_examples=14,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking would take minutes
    suppress_health_check=list(HealthCheck),
)
@given(values=configs(), kills=st.lists(st.integers(0, 99), min_size=1, max_size=2))
@example(values=ALL_AT_ONCE, kills=[70, 30])
def test_a_run_killed_anywhere_and_started_again_is_the_same_run(
    values: dict[str, Any], kills: list[int], pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Killed once or twice, in a step or half-way through a file or a line; then the same call again."""
    folder = tmp_path_factory.mktemp("killed")
    try:
        config = Config(data=str(pictures), **values)
    except ConfigError:
        reject()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "NUM", 16)  # pictures scored
        try:
            whole, num_acts = whole_run(config, folder / "whole", device="cpu")
        except Diverged:
            reject()
        path = folder / "again"
        for i, percent in enumerate(kills):
            with killed_at(percent * num_acts // 100), contextlib.suppress(Killed):
                train(config, path, device="cpu")
                assert i, "it was not killed"
        again = train(config, path, device="cpu")
    assert again.read_status().state == "done" and again.read_config() == whole.read_config()
    assert_same_run(whole, again)
    one, two = (load_arrays(run.states()[-1], kind=STATE)[2] for run in (whole, again))
    assert [one[name] for name in FACTS] == [two[name] for name in FACTS]
    assert not list(again.path.glob("s*/.*.tmp"))  # what the killed worker left half-written in state/, snapshots/, …


KILLED = {
    "mnist-5k-dcgan": dict(width=8, batch_size=16),
    "mnist-sn": dict(width=8, d_width=8, batch_size=8, score_every=20),
}


@pytest.mark.parametrize("name", KILLED)
def test_killed_by_the_system_and_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    """A real `kill -9` of a real worker, at any moment after its third save; it never gets further than step 40."""
    lengths = dict(epochs=1, steps=60, log_every=4, sample_every=20, save_every=5)
    config = preset(name).replace(data="mnist-5k", **KILLED[name], **lengths)
    killed = RunDir(tmp_path / "killed")
    process = jobs.start(killed, config, until=40, device="cpu")
    wait_for(lambda: len(killed.states()) > 1 and killed.states()[-1].stem >= "000010" or process.poll() is not None)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=random.random() / 3)
    process.kill()
    assert process.wait() == -signal.SIGKILL, jobs.log_tail(killed)
    assert 10 <= int(killed.states()[-1].stem) <= 40
    killed.request("run")
    resume(killed.path, device="cpu")
    assert killed.read_status().state == "done"
    assert_same_run(train(config, tmp_path / "whole", device="cpu"), killed)


def test_two_halves_equal_the_whole(tiny: Config, tmp_path: Path) -> None:
    """Train N, then the same with 2N: the length of a run may grow, and nothing else differs. N is no tick."""
    whole = train(tiny.replace(steps=14), tmp_path / "whole")
    train(tiny.replace(steps=7), tmp_path / "halves")
    halves = train(tiny.replace(steps=14), tmp_path / "halves")
    for file in (halves.sample_file(7), halves.snapshot_file(7)):
        file.unlink()  # the end of the first half
    assert_same_run(whole, halves)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_another_length_is_refused_where_step_sizes_fall_towards_the_end(
    schedule: str, tiny: Config, tmp_path: Path
) -> None:
    config = tiny.replace(model="mlp", lr_schedule=schedule, steps=3)
    run = train(config, tmp_path / "run")
    with pytest.raises(RunError, match=r"(?s)epochs: 25.0 in the run, 3.0 asked for.*steps: 3 in the run, 5 asked for"):
        train(config.replace(steps=5, epochs=3), run.path)
    assert run.read_config() == config and run.read_status().state == "done"
    train(config.replace(save_every=7, keep_states=5), run.path)  # how often to save is free


def test_another_seed_is_another_run(tiny: Config, tmp_path: Path) -> None:
    """What the tests above compare does depend on the randomness."""
    one, two = train(tiny, tmp_path / "a"), train(tiny.replace(seed=1), tmp_path / "b")
    assert lines(one) != lines(two)


def test_the_metrics_are_the_means_over_the_steps_since_the_line_before(tiny: Config, tmp_path: Path) -> None:
    fine, coarse = (train(tiny.replace(log_every=n), tmp_path / str(n)) for n in (1, 3))
    for i, row in enumerate(lines(coarse)):
        for name in ("loss_d", "loss_g", "d_real", "d_fake"):
            values = [r[name] for r in lines(fine)[3 * i : 3 * i + 3]]
            assert row[name] == pytest.approx(np.mean(values), rel=1e-5), (i, name)
        assert row["grad_d"] == lines(fine)[3 * i + 2]["grad_d"] > 0
    assert all(0 < row["d_real"] < 1 and row["grad_g"] > 0 for row in lines(coarse))


@pytest.mark.parametrize("keep", [2, 3])
def test_as_many_states_are_kept_as_asked_for(keep: int, tiny: Config, tmp_path: Path) -> None:
    config = tiny.replace(model="mlp", save_every=2, keep_states=keep)
    run = train(config, tmp_path / "run")
    assert [int(f.stem) for f in run.states()] == [8, 10, 12][-keep:]
    assert [int(f.stem) for f in run.snapshots()] == [0, 1, 2, 4, 6, 8, 10, 12]


def test_a_good_state_is_not_dropped_for_damaged_later_ones(tiny: Config, tmp_path: Path) -> None:
    config = tiny.replace(model="mlp", save_every=4)
    run, whole = train(config, tmp_path / "run"), train(config, tmp_path / "whole")
    run.state_file(20).write_bytes(run.states()[-1].read_bytes()[:-9])
    run.state_file(12).write_bytes(b"damaged too")
    train(config.replace(save_every=1), run.path)
    assert [int(f.stem) for f in run.states()] == [11, 12]
    for step in (9, 10, 11):
        run.snapshot_file(step).unlink()
    assert_same_run(whole, run)


# --- divergence ------------------------------------------------------------------------------------------------------


def spoil(monkeypatch: pytest.MonkeyPatch, at: int, rate: float | None = None, weight: float | None = None) -> None:
    """At step `at` the loss is infinite, or a weight is `weight`; with `rate`, only while that is the step size."""
    honest = Trainer.train_step

    def spoilt(self: Trainer) -> None:
        honest(self)
        if self.step == at and rate in (None, self.config.learning_rate):
            if weight is None:
                self.sums[0] = float("inf")
            else:
                next(self.D.parameters()).data.view(-1)[0] = weight

    monkeypatch.setattr(Trainer, "train_step", spoilt)


def test_divergence_fails_with_a_cause_and_keeps_the_last_good_state(tiny: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(Diverged, match="learning rate"):
        train(tiny.replace(learning_rate=0.1, model="mlp", width=256, steps=5000, log_every=1), run.path)
    status = run.read_status()
    assert status.state == "failed" and "diverged at step" in status.error
    assert run.read_events()[-1]["event"] == "failed" and "diverged" in run.read_events()[-1]["error"]
    for file in run.states():
        arrays, _, facts = load_arrays(file, kind=STATE)
        assert facts["step"] < status.step + 1
        assert all(np.isfinite(a).all() for a in arrays.values())


@pytest.mark.parametrize(
    ("weight", "what"), [(float("nan"), "no longer a number"), (2e4, r"a weight reached 2e\+04"), (-2e4, "2e")]
)
def test_exploded_weights_are_never_saved(
    weight: float, what: str, tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, at=10, weight=weight)
    run = RunDir(tmp_path / "run")
    with pytest.raises(Diverged, match=what):
        train(tiny.replace(log_every=100), run.path)
    assert [int(f.stem) for f in run.states()] == [0, 5]
    assert [int(f.stem) for f in run.snapshots()] == [0, 1, 2, 4, 5]
    assert run.read_status().state == "failed"


def test_a_divergence_goes_back_once_with_half_the_step_sizes(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.replace(model="mlp", on_divergence="rollback", d_learning_rate=1e-3, log_every=1)
    with monkeypatch.context() as patch:
        spoil(patch, at=8, rate=config.learning_rate)
        run = train(config, tmp_path / "run")
    assert run.read_status().state == "done"
    assert [row["step"] for row in lines(run)] == list(range(1, 13))
    changed, back = (next(e for e in run.read_events() if e["event"] == kind) for kind in ("changed", "rolled back"))
    assert changed["step"] == back["step"] == 5 and back["lost_step"] == 8 and "discriminator's loss" in back["error"]
    assert changed["changes"] == {"learning_rate": [2e-4, 1e-4], "d_learning_rate": [1e-3, 5e-4]}
    assert load_arrays(run.states()[-1], kind=STATE)[1] == config.replace(learning_rate=1e-4, d_learning_rate=5e-4)

    def slower_from_5(self: requests.Requests, *args: Any) -> Config:  # nothing else is different
        halved = config.replace(learning_rate=1e-4, d_learning_rate=5e-4)
        return config if args[1] < 5 else halved

    monkeypatch.setattr(requests.Requests, "obey", slower_from_5)
    assert_same_run(train(config, tmp_path / "slower"), run)


def test_a_second_divergence_ends_the_run(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny.replace(model="mlp", on_divergence="rollback", log_every=1)
    spoil(monkeypatch, at=8)
    honest, back = loop._Loop._roll_back, iter([1])  # a second time: StopIteration
    monkeypatch.setattr(loop._Loop, "_roll_back", lambda *args: honest(*args) if next(back) else None)
    run = RunDir(tmp_path / "run")
    for _ in range(2):  # nor does a new worker try it anew
        with pytest.raises(Diverged, match=r"step 8: .*loss is no longer a number.*it is 0.0001\)"):
            train(config, run.path)
        assert run.read_status().state == "failed"
    assert [e["event"] for e in run.read_events()].count("rolled back") == 1


def test_a_real_divergence_rolls_back(tiny: Config, tmp_path: Path) -> None:
    """A critic that nothing holds in bounds, at 500 times the usual step size."""
    config = tiny.replace(
        model="mlp", loss="wasserstein", learning_rate=0.1, steps=400, log_every=1, on_divergence="rollback"
    )
    run = RunDir(tmp_path / "run")
    with pytest.raises(Diverged, match="it is 0.05"):
        train(config, run.path)
    assert "rolled back" in [e["event"] for e in run.read_events()]


def test_a_run_killed_after_a_rollback_is_the_same_run(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at each act from the divergence on. Between save and divergence there was a live change, of step size and
    labels; of these the worker that went back and the one that starts anew must think the same."""
    config = tiny.replace(model="mlp", width=4, on_divergence="rollback", steps=11, log_every=2)
    spoil(monkeypatch, at=8, rate=1e-3)
    monkeypatch.setattr(requests, "POLL", 0.0)

    def ask(run: RunDir) -> dict[str, Any]:
        def progress(_: object, row: dict) -> None:
            if row["step"] == 6 and run.read_control().version == 0:
                run.request("run", changes={"learning_rate": 1e-3, "label_smoothing": 0.3})

        return dict(progress=progress)

    whole = RunDir(tmp_path / "whole")
    _, num_acts = whole_run(config, whole.path, **ask(whole))
    events = whole.read_events()
    assert [(e["event"], e["step"]) for e in events[1:-1]] == [("changed", 7), ("changed", 5), ("rolled back", 5)]
    assert events[2]["changes"] == {"learning_rate": [1e-3, 5e-4]}
    last = load_arrays(whole.states()[-1], kind=STATE)[1]
    assert (last.learning_rate, last.label_smoothing) == (5e-4, 0.3)
    killed = 0
    for act in range(num_acts - 24, num_acts):
        run = RunDir(tmp_path / str(act))
        with killed_at(act), pytest.raises(Killed):
            train(config, run.path, **ask(run))
        if any(event["event"] == "changed" for event in run.read_events()):  # else it is made at another step
            resume(run.path)
            assert_same_run(whole, run)
            killed += 1
    assert killed > 18


# --- scores ----------------------------------------------------------------------------------------------------------


def test_scores_stand_in_their_lines_and_the_best_snapshot_is_found(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scorer is given the pictures of the averaged generator, as bytes; it likes step 9 best. The last line comes
    before its time, and the run may go on as if it had not been."""
    given: list[np.ndarray] = []
    values = iter([5.0, 4.0, 2.5, 3.0, 3.5])
    honest = Scorer.__call__

    def likes(self: Scorer, images: np.ndarray) -> Findings:
        given.append(images)
        found = honest(self, images)
        return found._replace(row=found.row | {"score": next(values)})

    monkeypatch.setattr(Scorer, "__call__", likes)
    config = tiny.replace(score="pixel-moments", score_every=4, steps=13)
    run = train(config, tmp_path / "run")
    assert {(g.dtype, g.shape) for g in given} == {(np.dtype(np.uint8), (2000, 28, 28, 1))}
    rows = run.read_metrics()[0]
    assert [(row["step"], row.get("score")) for row in rows] == [(3, None), (6, 5.0), (9, 4.0), (12, 2.5), (13, 3.0)]
    assert {row["metric"] for row in rows if "score" in row} == {"pixel-moments"}
    assert [int(f.stem) for f in run.pairs()] == [6, 9, 12, 13]
    assert catalog.find(f"{run.path}@best") == run.snapshot_file(12) and run.best_step() == 12
    assert np.abs(catalog.load(f"{run.path}@best").generate(fixed_z(tiny, 2000)) - given[2].astype(int)).max() <= 1
    first, second = (event for event in run.read_events() if event["event"] in ("started", "scoring"))
    assert first["event"] == "started" and (second["metric"], second["num"]) == ("pixel-moments", 2000)
    longer = train(config.replace(steps=17), run.path)
    assert [(row["step"], row.get("score")) for row in lines(longer)[-2:]] == [(15, None), (17, 3.5)]
    whole = train(config.replace(steps=17, score="none"), tmp_path / "whole")
    assert [row["loss_d"] for row in lines(longer) if row["step"] % 3 == 0] == [row["loss_d"] for row in lines(whole)]


def fixed_z(config: Config, num: int) -> np.ndarray:
    return sample_prior(config, num, generator_of(config.seed, FIXED, 0, torch.device("cpu"))).numpy()


def test_when_a_score_is_due() -> None:
    """Once in each interval, whether or not lines of metrics fall on it, and never more often than those."""

    def due(**values: int) -> list[int]:
        config = Config(**values)
        return [n for n in range(config.log_every, 61, config.log_every) if score_is_due(n, config, n == 60)]

    assert due(log_every=10, score_every=20) == [20, 40, 60]
    assert due(log_every=7, score_every=20) == [21, 42]
    assert due(log_every=20, score_every=7) == [20, 40, 60]
    assert due(log_every=6, score_every=27) == [30, 54, 60]
    assert due(log_every=10, score_every=61) == []  # a run that is too short for one


@pytest.mark.parametrize("score", ["auto", "none"])
def test_scoring_leaves_the_training_as_it_is(score: str, tiny: Config, tmp_path: Path) -> None:
    """Same weights, same random numbers; scored by the feature network of the digits, or not at all."""
    plain = train(tiny.replace(score="none"), tmp_path / "plain")
    other = train(tiny.replace(score=score, score_every=6), tmp_path / "other")
    assert content(plain.states()[-1], STATE) == content(other.states()[-1], STATE)
    scores = [row for row in lines(other) if "score" in row]
    assert [row["metric"] for row in scores] == (["fd_mnistnet_2k"] * 2 if score == "auto" else [])
    if score == "none":
        assert other.best_step() is None
        with pytest.raises(WeightsError, match="no score yet"):
            catalog.find(f"{other.path}@best")


def test_data_without_a_feature_network_are_quietly_not_scored(tiny: Config, pictures: Path, tmp_path: Path) -> None:
    run = train(tiny.replace(data=str(pictures), score_every=1, batch_size=4), tmp_path / "run")
    assert not any("score" in row for row in lines(run)) and run.pairs() == []


# --- classes ---------------------------------------------------------------------------------------------------------


def test_a_conditional_run_names_its_classes(tiny: Config, pictures: Path, tmp_path: Path) -> None:
    """In the data's own order, whatever was asked for; and the same call again resumes it."""
    asked = tiny.replace(data=str(pictures), conditioning="concat", batch_size=4, model="mlp", steps=2)
    run = train(asked, tmp_path / "all")
    assert run.read_config() == asked.replace(classes=("ant", "bee", "cat"))
    some = train(asked.replace(classes=("Cat", " ant")), tmp_path / "some")
    assert some.read_config().classes == ("ant", "cat")
    for whole, classes in ((run, ()), (some, ("Cat", " ant"))):
        prepared = RunDir(tmp_path / f"prepared {whole.name}")
        prepared.open_config(asked.replace(classes=classes))  # as `jobs.start` does, which opens no data
        resume(prepared.path)
        assert prepared.read_config() == whole.read_config()
        assert_same_run(whole, prepared)
    for classes, path in (((), run.path), (("Cat", " ant"), some.path), ((), some.path)):
        assert train(asked.replace(classes=classes, steps=3), path).read_status().step == 3
    with pytest.raises(RunError, match=r"classes: \('ant', 'cat'\) in the run, \('ant', 'bee'\) asked for"):
        train(asked.replace(classes=("ant", "bee")), some.path)


def test_conditions_without_classes_are_refused_before_anything_is_written(
    tiny: Config, pictures: Path, tmp_path: Path
) -> None:
    config = tiny.replace(data=str(pictures / "ant"), conditioning="concat", batch_size=4)
    with pytest.raises(ConfigError, match="no classes. Set it to none, or sort"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- refusals, and what may go wrong ---------------------------------------------------------------------------------


def test_damaged_newest_state_falls_back_to_the_one_before(tiny: Config, tmp_path: Path) -> None:
    whole = train(tiny, tmp_path / "whole")
    run = train(tiny, tmp_path / "damaged")
    newest = run.states()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resume(run.path)
    assert_same_run(whole, run)
    assert any("damaged" in e["event"] for e in run.read_events())
    for file in run.states():
        file.write_bytes(b"nonsense")
    with pytest.raises(RunError, match="No saved state"):
        resume(run.path)


def test_changed_config_is_refused_with_the_differences(tiny: Config, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run")
    with pytest.raises(RunError, match=r"(?s)width: 8 .* 16 asked.*learning_rate: 0.0002 in the run, 0.001 asked for"):
        train(tiny.replace(width=16, learning_rate=1e-3), tmp_path / "run")
    assert RunDir(tmp_path / "run").read_config() == tiny
    assert RunDir(tmp_path / "run").read_status().state == "done"


def test_full_disk_is_named_and_nothing_saved_is_lost(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ganlab.checkpoint

    honest = ganlab.checkpoint.save_arrays

    def full(path: Path, *args: object, **kwargs: object) -> None:
        if path.stem == "000010":
            raise OSError(28, "No space left on device", str(path))
        honest(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ganlab.checkpoint, "save_arrays", full)
        with pytest.raises(OSError, match="No space left"):
            train(tiny, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    assert run.read_status().state == "failed" and "Free some space" in run.read_status().error
    resume(run.path)
    assert_same_run(train(tiny, tmp_path / "whole"), run)


def test_batch_larger_than_the_data_is_refused_before_anything_is_written(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size is 600.* 500 pictures"):
        train(tiny.replace(batch_size=600, classes=("3",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = train(tiny.replace(batch_size=600, classes=("3",), d_batches="merged", model="mlp", steps=1), tmp_path / "b")
    assert run.read_status().images == 300  # half of each: that fits


def test_unknown_device_is_refused(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device"):
        train(tiny, tmp_path / "run", device="warp-drive")


def test_a_worker_holds_its_run_alone_until_it_is_told_to_end(tiny: Config, tmp_path: Path) -> None:
    """A second worker is refused; SIGTERM saves and stops."""
    run = RunDir(tmp_path / "run")
    process = jobs.start(run, tiny.replace(steps=10_000_000, save_every=1_000_000, sample_every=100_000), device="cpu")
    wait_for(lambda: run.read_status().step > 3 or process.poll() is not None, lambda: jobs.log_tail(run))
    with pytest.raises(RunError, match=f"another process .*{process.pid}"):
        resume(run.path)
    with pytest.raises(RunError, match="already being trained"):
        jobs.start(run)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=PATIENCE) == 0, jobs.log_tail(run)
    status = run.read_status()
    assert status.state == "stopped" and int(run.states()[-1].stem) == status.step > 3


def test_worker_that_cannot_start_leaves_a_reason(tiny: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    process = jobs.start(run, tiny.replace(data="no-such-data"), device="cpu")
    process.wait(timeout=PATIENCE)
    assert "no-such-data" in jobs.log_tail(run)
    assert run.read_status().state == "failed" and "no-such-data" in run.read_status().error


# --- what a run leaves -----------------------------------------------------------------------------------------------


def test_run_directory_holds_what_was_promised(tiny: Config, tmp_path: Path) -> None:
    run = train(tiny, tmp_path / "run")
    assert [row["step"] for row in run.read_metrics()[0]] == [3, 6, 9, 12]
    assert [int(f.stem) for f in run.samples()] == [0, 1, 2, 4, 8, 12]
    assert [int(f.stem) for f in run.snapshots()] == [0, 1, 2, 4, 5, 10, 12]
    assert [f.name for f in run.discriminators()] == [f.name for f in run.snapshots()]
    assert [int(f.stem) for f in run.states()] == [10, 12]
    wanted = {"step", "images", "epoch", "seconds", "images_per_s", "loss_d", "loss_g", "d_real", "d_fake", "d_order",
              "penalty", "grad_g", "grad_d"}  # fmt: skip
    assert all(wanted == row.keys() for row in run.read_metrics()[0])
    assert run.read_metrics()[0][-1]["images"] == 12 * 16
    status = run.read_status()
    assert (status.state, status.step, status.total_steps, status.images) == ("done", 12, 12, 192)
    assert json.loads((run.path / "status.json").read_text())["num_images"] == 5000


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor has no such mode")
def test_training_leaves_the_callers_arithmetic_as_it_was(tiny: Config, tmp_path: Path) -> None:
    """Subnormal numbers are rounded to zero while it lasts, since they are slow, and no longer."""
    seen: list[float] = []
    train(tiny.replace(model="mlp"), tmp_path / "run", progress=lambda *_: seen.append(sys.float_info.min / 2))
    assert seen == [0.0] * 4 and sys.float_info.min / 2 > 0


def test_snapshot_draws_what_the_averaged_generator_draws(tiny: Config, tmp_path: Path) -> None:
    """torch's averaged generator and the onnxruntime program from its fp16 snapshot agree to one grey level."""
    run = train(tiny, tmp_path / "run")
    network = build_generator(tiny).eval()
    network.load_state_dict({k[6:]: torch.from_numpy(v) for k, v in newest_state(run).items() if k[:6] == "G_ema."})
    z = fixed_z(tiny, 64)
    with torch.no_grad():
        expected = network(torch.from_numpy(z)).add(1).mul(127.5).permute(0, 2, 3, 1).numpy()
    drawn = load_model(run.snapshots()[-1]).generate(z)
    assert np.abs(drawn - expected).max() <= 1.0


@pytest.mark.parametrize(("family", "plain_norm"), [("mlp", "none"), ("dcgan", "batch"), ("sn-conv", "none")])
def test_the_saved_discriminator_judges_as_the_trained_one(
    family: str, plain_norm: Any, tiny: Config, tmp_path: Path
) -> None:
    """Spectral norms are divided out: a plain network with these weights gives the logits of the one in training."""
    config = tiny.replace(model=family, width=8)
    run = train(config, tmp_path / "run")
    judge, plain = (build_discriminator(config.replace(d_norm=norm)).eval() for norm in ("default", plain_norm))
    judge.load_state_dict({k[2:]: torch.from_numpy(v) for k, v in newest_state(run).items() if k[:2] == "D."})
    arrays = load_arrays(run.discriminators()[-1], kind=DISCRIMINATOR)[0]
    missing, unknown = plain.load_state_dict({k: torch.from_numpy(v).float() for k, v in arrays.items()}, strict=False)
    assert not unknown and all(name.endswith("num_batches_tracked") for name in missing)
    pictures = torch.rand(16, 1, 28, 28) * 2 - 1
    with torch.no_grad():
        wanted = judge(pictures)
        np.testing.assert_allclose(plain(pictures), wanted, rtol=0, atol=5e-3 * max(1.0, float(wanted.abs().max())))


def test_is_due() -> None:
    assert [n for n in range(1, 41) if is_due(n, 16)] == [1, 2, 4, 8, 16, 32]


def test_the_command_line_does_the_same_training(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Ctrl-C is pytest's
    flags = ["--width", "8", "--latent_dim", "8", "--batch_size", "16", "--steps", "12", "--log_every", "3",
             "--sample-every", "4", "--save-every", "5", "--device", "cpu"]  # fmt: skip
    cli.main(argv=["train", "--out", str(tmp_path / "cli"), "--data", "mnist-5k", *flags])
    said = capsys.readouterr().out
    assert "step 12/12" in said and "images/s" in said
    assert_same_run(train(tiny, tmp_path / "api"), RunDir(tmp_path / "cli"))
