"""Several processes that train one pair of networks: the same training as one, and the same run when it is resumed."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PATIENCE, assert_same_run, lines, wait_for

from ganlab import loop
from ganlab.config import Config
from ganlab.distributed import World, world_of
from ganlab.errors import ConfigError
from ganlab.loop import train
from ganlab.rundir import Control, RunDir
from ganlab.trainer import Trainer

REPO = Path(__file__).parents[2]
PLAIN = Config(data="mnist-5k", model="mlp", width=8, latent_dim=8, batch_size=8, precision="float32", steps=40,
               log_every=2, sample_every=10, save_every=5)  # fmt: skip
NO_BATCH_NORM = dict(g_norm="none", d_norm="none")


# --- two in one process ----------------------------------------------------------------------------------------------


class Together:
    """Where the processes of a world, here threads, leave numbers for each other and wait."""

    def __init__(self, size: int) -> None:
        self.barrier, self.numbers = threading.Barrier(size, timeout=PATIENCE), [torch.zeros(0)] * size


class ThreadWorld(World):
    def __init__(self, rank: int, together: Together) -> None:
        super().__init__(rank, len(together.numbers))
        self.together = together

    def average(self, tensor: torch.Tensor) -> torch.Tensor:
        self.together.numbers[self.rank] = tensor.clone()
        self.together.barrier.wait()
        tensor.copy_(torch.stack(self.together.numbers).mean(0))
        self.together.barrier.wait()
        return tensor


def trained(config: Config, size: int, steps: int) -> list[Trainer]:
    """One trainer for each of `size` processes, after `steps` steps that they took side by side."""
    images = torch.randint(0, 256, (30, config.image_size, config.image_size, config.channels),
                           generator=torch.Generator().manual_seed(3), dtype=torch.uint8)  # fmt: skip
    labels, together = torch.arange(30) % 3, Together(size)
    trainers = [Trainer(config, images, labels, ThreadWorld(rank, together)) for rank in range(size)]

    def work(trainer: Trainer) -> None:
        for _ in range(steps):
            trainer.train_step()

    threads = [threading.Thread(target=work, args=(trainer,), daemon=True) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert {trainer.step for trainer in trainers} == {steps}
    return trainers


@pytest.mark.parametrize(
    "changes",
    [
        dict(),
        dict(d_steps=2, g_steps=3, d_learning_rate=1e-3),
        dict(d_batches="merged", label_smoothing=0.1),
        dict(d_batches="merged", loss="relativistic"),
        dict(model="dcgan", **NO_BATCH_NORM, loss="relativistic", r1_gamma=1.0, r2_gamma=1.0),
        dict(model="dcgan", **NO_BATCH_NORM, loss="wasserstein", weight_clip=0.01),
        dict(model="sn-conv", g_norm="none", loss="hinge", conditioning="concat", classes=("a", "b", "c")),
        dict(model="sn-resnet", g_norm="none", lr_schedule="linear", warmup_steps=3),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [2, 4])
def test_sharing_a_batch_changes_nothing(size: int, changes: dict[str, Any]) -> None:
    """Without batch norm and noise in the layers, all that differs is rounding: 1e-4 over 5 steps of 2e-4."""
    config = PLAIN.replace(**changes, width=4)
    (alone,) = trained(config, 1, 5)
    shared = trained(config, size, 5)
    for trainer in shared[1:]:  # all hold the same networks
        for (name, one), (_, other) in zip(shared[0].tensors(), trainer.tensors(), strict=True):
            assert torch.equal(one, other) or name == "sums", name
    for (name, one), (_, other) in zip(alone.tensors(), shared[0].tensors(), strict=True):
        no_slope = name == "D.head.linear.bias" and config.loss in ("relativistic", "wasserstein")  # D's level is free
        if name.startswith(("G.", "D.", "G_ema.")) and not no_slope:
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")
    means = torch.stack([trainer.sums for trainer in shared]).mean(0)  # as `statistics` does
    torch.testing.assert_close(alone.sums, means, atol=1e-3, rtol=1e-3)
    assert (alone.images_seen, alone.count) == (shared[0].images_seen, shared[0].count)


def test_noise_in_the_layers_is_each_processs_own() -> None:
    """Or else dropout would strike the same features in every share."""
    config = PLAIN.replace(mirror=True, batch_size=8)
    images = torch.arange(28).mul(9).to(torch.uint8).expand(30, 28, 28)[..., None]
    seen = {}
    for rank in range(2):
        trainer = Trainer(config, images, None, ThreadWorld(rank, Together(2)))
        trainer._update = lambda draws, t=trainer, rank=rank: seen.__setitem__(rank, t.real_pictures(draws.real[0]))  # type: ignore[method-assign]
        trainer.train_step()
    assert seen[0].shape == seen[1].shape == (4, 1, 28, 28) and not torch.equal(seen[0], seen[1])


def test_shares_are_parts_in_order() -> None:
    batch = torch.arange(24).view(2, 12)
    shares = [World(rank, 3).share(batch, 1) for rank in range(3)]
    assert torch.equal(torch.cat(shares, 1), batch) and {tuple(s.shape) for s in shares} == {(2, 4)}
    assert World().share(batch, 1) is batch


def test_alone_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with world_of(torch.device("cpu")) as world:
        assert (world.rank, world.size, world.leads, world.agree("x")) == (0, 1, True, "x")
        assert world.average(torch.ones(2)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("changes", "size"), [(dict(batch_size=9), 2), (dict(batch_size=6, d_batches="merged"), 2), (dict(), 3)], ids=str
)
def test_a_batch_that_can_not_be_shared_is_refused_before_anything_is_written(
    changes: dict[str, Any], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "world_of", lambda _: contextlib.nullcontext(World(0, size)))
    with pytest.raises(ConfigError, match=f"which {size} processes can't share evenly. Choose a multiple"):
        train(PLAIN.replace(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_that_does_not_lead_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains, with what the leader says of the config, of past events and of requests."""
    config = PLAIN.replace(steps=6, score="pixel-moments", score_every=3, on_divergence="rollback")
    said = itertools.chain([config, None, []], itertools.repeat((Control(), False)))

    class Follower(World):
        def agree(self, value: Any) -> Any:
            assert value is None or value == (None, False)
            return next(said)

    steps = []
    honest = Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", lambda self: steps.append(self.step) or honest(self))
    monkeypatch.setattr(loop, "world_of", lambda _: contextlib.nullcontext(Follower(1, 1)))
    train(config, tmp_path / "run", progress=lambda *_: pytest.fail("it speaks"))
    assert steps == list(range(6)) and not (tmp_path / "run").exists()


# --- two real processes ----------------------------------------------------------------------------------------------

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
STEP = """
from pathlib import Path
import torch
from ganlab.distributed import world_of

with world_of(torch.device("cpu")) as world:
    weight = torch.nn.Parameter(torch.ones(3))
    weight.sum().backward()
    world.average_gradients([weight])
    torch.optim.Adam([weight]).step()
print(sorted(file.read_text() for file in Path("/proc/self/task").glob("*/comm") if "gloo" in file.read_text()))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads through /proc")
def test_no_thread_of_the_group_is_left(tmp_path: Path) -> None:
    """One that outlives the interpreter aborts the process now and then."""
    (tmp_path / "step.py").write_text(STEP)
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*TORCHRUN, tmp_path / "step.py"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "[]"]


@contextlib.contextmanager
def torchrun(command: str, run: Path, config: Config | None = None) -> Iterator[subprocess.Popen]:
    """`python -m ganlab COMMAND` on two processes; killed in the end if it is still there."""
    flags = ["--device", "cpu"]
    for name, value in vars(config).items() if config else ():
        if value != getattr(Config(), name):
            flags += [f"--{name}", str(value)]
    where = [str(run)] if command == "resume" else ["--out", str(run)]
    log = run.with_suffix(f".{command}.log")
    with open(log, "w") as file:
        process = subprocess.Popen(
            [*TORCHRUN, "-m", "ganlab", command, *where, *flags], cwd=REPO, stdout=file, stderr=subprocess.STDOUT
        )
    process.log = log  # type: ignore[attr-defined]
    try:
        yield process
    finally:
        for pid in [*children(process.pid), *([process.pid] if process.poll() is None else [])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def children(pid: int) -> list[int]:
    """Processes that a process has started, and that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
    return found


def wait_until(process: subprocess.Popen, condition: Any) -> None:
    says = lambda: process.log.read_text()  # type: ignore[attr-defined]  # noqa: E731
    wait_for(lambda: condition() or process.poll() is not None, says)
    assert condition(), says()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the two processes through /proc")
def test_two_processes_are_one_run(tmp_path: Path) -> None:
    """Paused, woken and stopped they act as one; killed in the midst and resumed they do what they would have done; and
    what they do is, but for 1e-3 in any number over 40 steps, what one process does."""
    whole, killed = RunDir(tmp_path / "whole"), RunDir(tmp_path / "killed")
    whole.open_config(PLAIN.replace(steps=100_000))
    killed.open_config(PLAIN)
    whole.request("run", until=10), killed.request("run", until=30)  # pauses leave pictures: where some are due anyway
    with torchrun("resume", whole.path) as one, torchrun("resume", killed.path) as two:
        wait_until(two, lambda: len(killed.states()) > 1 and int(killed.states()[-1].stem) >= 10)
        with contextlib.suppress(subprocess.TimeoutExpired):
            two.wait(random.random() / 3)
        workers = children(two.pid)
        assert len(workers) == 2 and killed.read_status().pid in workers
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert two.wait(PATIENCE) != 0 and 10 <= int(killed.states()[-1].stem) <= 30

        wait_until(one, lambda: whole.read_status().state == "paused")
        assert whole.read_status().step == 10
        whole.request("run", until=40)
        wait_until(one, lambda: whole.read_status().state == "paused" and whole.read_status().step == 40)
        whole.request("stop")
        assert one.wait(PATIENCE) == 0, one.log.read_text()  # type: ignore[attr-defined]
    with torchrun("train", killed.path, PLAIN) as three:
        assert three.wait(PATIENCE) == 0, three.log.read_text()  # type: ignore[attr-defined]
    assert (whole.read_status().state, killed.read_status().state) == ("stopped", "done")
    assert_same_run(whole, killed)
    started, *_, stopped = whole.read_events()
    assert (started["event"], started["processes"], stopped["event"], stopped["step"]) == ("started", 2, "stopped", 40)
    assert [event["event"] for event in whole.read_events()] == ["started", "paused", "paused", "stopped"]
    assert [row["step"] for row in lines(whole)] == list(range(2, 41, 2))  # each written once
    assert three.log.read_text().count(f"{killed.path}: mlp on mnist-5k") == 1  # type: ignore[attr-defined]

    alone = train(PLAIN, tmp_path / "alone", device="cpu")
    for one_row, two_row in zip(lines(alone), lines(whole), strict=True):
        assert one_row.keys() == two_row.keys()
        assert [two_row[name] for name in one_row] == pytest.approx(list(one_row.values()), rel=1e-3, abs=1e-3)
