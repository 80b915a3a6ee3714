"""The one training loop."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ganlab.checkpoint import load_newest_state
from ganlab.config import Config
from ganlab.data import Dataset, open_dataset
from ganlab.distributed import World, world_of
from ganlab.errors import ConfigError, Diverged, GanlabError, RunError
from ganlab.recorder import Progress, Recorder
from ganlab.requests import POLL, Requests
from ganlab.rundir import Reporter, RunDir
from ganlab.trainer import Trainer


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" is CUDA, else Apple's MPS, else the CPU; under torchrun each process takes a GPU of its own. Raises
    ConfigError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device is {name!r}, which this machine does not offer ({error}). Try auto or cpu."
        ) from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def train(
    config: Config,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    started: float | None = None,
) -> RunDir:
    """Train a GAN in the run directory `out`, or resume the run that is there, bit for bit where it was saved.

    Arguments:
        config: hyperparameters; of a run that exists only its length and save interval may differ.
        data_root: where downloaded data sets live.
        device: auto, cpu, cuda, cuda:1, mps.
        threads: of the CPU; None leaves torch its choice. Another number gives other rounding.
        progress: called at each line of metrics with (status, line).
        started: Unix time at which this worker began; a pause or stop asked for earlier is history.
    Returns:
        The run directory. Its status says whether the run is done, stopped, or why it failed.
    Raises:
        ConfigError, DataError: before anything is written.
        RunError: another process trains this run, or it holds another configuration.
        Diverged: losses or weights left the finite numbers; the last good state is kept.
    """
    run = RunDir(out)
    started = time.time() if started is None else started
    if threads is not None:
        torch.set_num_threads(threads)
    target = pick_device(device)
    with world_of(target) as world:
        _check_shares(config, world)
        if run.exists:
            config, data = _with_classes_of(config, run), None
        else:  # a new run: refused before anything is written
            config, data = _open_data(config, data_root)
        with run.claim() if world.leads else nullcontext():
            config = world.agree(run.open_config(config) if world.leads else None)
            status = dataclasses.replace(run.read_status(), state="starting", error="", device=str(target), eta_s=None)
            with Reporter(run, status, quiet=not world.leads) as reporter, _failures_reported(run, reporter):
                if data is None:
                    asked, (config, data) = config, _open_data(config, data_root)
                    if world.leads and config != asked:
                        run.write_config(config)  # a run that was only prepared now knows its classes' names
                reporter.update(num_images=len(data.images), total_steps=config.total_steps(len(data.images)))
                images, labels = (torch.from_numpy(a).to(target) for a in (data.images, data.labels))
                trainer = Trainer(config, images, labels, world)
                recorder = Recorder(run, trainer, data, reporter, progress or (lambda *_: None))
                _Loop(run, trainer, recorder, reporter, started).go()
    return run


def resume(out: str | Path, **options: Any) -> RunDir:
    """Go on with the run in `out` with the configuration that it has. Options as for `train`."""
    run = RunDir(out)
    if not run.exists:
        raise RunError(f"{run.path} holds no run: there is no config.yaml in it.")
    return train(run.read_config(), out, **options)


def _open_data(config: Config, data_root: str | Path | None) -> tuple[Config, Dataset]:
    """The data set, and the config with its classes named if the networks are to know them."""
    root = Path(data_root) if data_root else None
    data = open_dataset(
        config.data, image_size=config.image_size, channels=config.channels, classes=config.classes, data_root=root
    )
    if config.num_real > len(data.images):
        raise ConfigError(
            f"batch_size is {config.batch_size}, but {config.data} has only {len(data.images)} pictures. "
            "Choose a smaller batch, or more classes."
        )
    if config.conditioning != "none":
        if not data.classes:
            raise ConfigError(
                f"conditioning is {config.conditioning!r}, but {config.data} has no classes. Set it to none, or sort "
                "the pictures into one sub-folder a class."
            )
        config = config.replace(classes=data.classes)
    return config, data


def _with_classes_of(config: Config, run: RunDir) -> Config:
    """The config with the classes as the run found them in its data, if it names the same or none."""
    if config.conditioning == "none":
        return config
    found = run.read_config().classes
    named, known = ({name.strip().casefold() for name in names} for names in (config.classes, found))
    return config.replace(classes=found) if not named or named == known else config


def _check_shares(config: Config, world: World) -> None:
    if config.num_real % world.size or config.batch_size % world.size:
        raise ConfigError(
            f"batch_size is {config.batch_size} ({config.d_batches} batches), which {world.size} processes can't share "
            "evenly. Choose a multiple."
        )


@contextmanager
def _failures_reported(run: RunDir, reporter: Reporter) -> Iterator[None]:
    """Leave the cause of a failure in the run's status and events, and raise it on."""
    try:
        yield
    except Exception as error:
        cause = str(error) if isinstance(error, GanlabError) else f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            cause = f"The run could not be written ({error}). Free some space, then resume: nothing saved is lost."
        reporter.update(write=False, state="failed", error=cause)
        try:
            reporter.update()
            if not reporter.quiet:
                run.append_event("failed", reporter.status.step, error=cause, diverged=isinstance(error, Diverged))
        except OSError:
            pass  # the disk is full; the CLI still prints the cause
        raise


@contextmanager
def _no_subnormals() -> Iterator[None]:
    """Round subnormal numbers to 0: they would slow a CPU down by an order of magnitude. Then again as before, since
    the caller may count on them."""
    before = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class _Loop:
    """State that lives as long as one worker: what was saved, what was asked.

    Where several processes train, all go through the same motions and only the leader writes.
    """

    def __init__(self, run: RunDir, trainer: Trainer, recorder: Recorder, reporter: Reporter, started: float) -> None:
        self.run, self.trainer, self.recorder, self.reporter = run, trainer, recorder, reporter
        self.config = trainer.config  # without the changes that are made on the way
        self._go_back()
        self.saved_step = trainer.step if run.states() else -1
        self.requests = Requests(run, started, trainer.world)
        self.rolled_back = any(event["event"] == "rolled back" for event in run.read_events())

    def _go_back(self) -> None:
        """To the newest saved state; what was written after it is forgotten."""
        seconds = load_newest_state(self.run, self.trainer) or 0.0
        if self.trainer.world.leads:
            self.run.rewind(self.trainer.step)
        self.trainer.world.agree(None)  # nobody reads on before the leader has rewound
        self.recorder.go_on(seconds)

    def go(self) -> None:
        """Train to the end, or to a stop; after a divergence once more from the last save, if the config says so."""
        kind, trainer = "resumed" if self.trainer.step else "started", self.trainer
        facts = {"device": str(trainer.device), "threads": torch.get_num_threads(), "processes": trainer.world.size}
        self.recorder.event(kind, **facts)
        while True:
            try:
                with _no_subnormals():
                    return self._steps()
            except Diverged as error:
                if trainer.config.on_divergence == "stop" or self.rolled_back:
                    raise
                self._roll_back(error)

    def _steps(self) -> None:
        """Done? -> requests -> tick, maybe with a score -> samples -> save or snapshot -> break if done -> ONE step."""
        trainer, requests, recorder = self.trainer, self.requests, self.recorder
        while True:
            self._obey()
            config, step, total = trainer.config, trainer.step, trainer.total_steps
            done = step >= total
            if trainer.count and step % config.log_every == 0:
                recorder.tick(score=score_is_due(step, config, done))
            elif trainer.count and done and recorder.scorer and score_is_due(step, config, done):
                recorder.tick(score=True, last=True)
            if step == 0 or is_due(step, config.sample_every) or done:
                recorder.sample()
            if step % config.save_every == 0 or done or requests.command != "run":
                self._save()
            elif is_due(step, config.save_every):
                recorder.snapshot()
            if done or requests.command == "stop":
                break
            if requests.command == "pause":
                self._wait()
                continue
            trainer.train_step()
            self.reporter.update(write=False, state="running", step=trainer.step, images=trainer.images_seen)
        state = "done" if done else "stopped"
        self.reporter.update(state=state, eta_s=None, total_steps=total, step=step, images=trainer.images_seen)
        recorder.event(state)

    def _save(self) -> None:
        """Save, once for each step."""
        if self.trainer.step != self.saved_step:
            self.recorder.save()
            self.saved_step = self.trainer.step

    def _obey(self, waiting: bool = False) -> None:
        old = self.trainer.config
        new = self.requests.obey(old, self.trainer.step, waiting)
        if new is not old:
            self.trainer.configure(new)

    def _wait(self) -> None:
        """Paused: look for the next request until there is one."""
        trainer, recorder = self.trainer, self.recorder
        recorder.sample()
        partial = recorder.position() | recorder.checked_statistics() if trainer.count else None
        self.reporter.update(state="paused", eta_s=None, step=trainer.step, images=trainer.images_seen, partial=partial)
        recorder.event("paused")
        while self.requests.command == "pause":
            time.sleep(POLL)
            self._obey(waiting=True)
        self.reporter.update(state="running", partial=None)
        recorder.go_on()

    def _roll_back(self, error: Diverged) -> None:
        """Go on from the last save with half the step sizes. Changes made since then come again at their step."""
        lost, config = self.trainer.step, self.trainer.config
        self._go_back()
        self.trainer.configure(self.config)
        self.requests.replay()
        self.rolled_back, self.saved_step = True, self.trainer.step
        halves = {
            name: (rate, max(rate / 2, 1e-6))
            for name in ("learning_rate", "d_learning_rate")
            if (rate := getattr(config, name)) is not None
        }
        self.requests.change(self.trainer.step, halves)
        self.recorder.event("rolled back", lost_step=lost, error=str(error))


def is_due(step: int, every: int) -> bool:
    """Whether a grid or a snapshot is due: at powers of two while all is new, then each `every` steps."""
    return step % every == 0 or (step < every and step & (step - 1) == 0)


def score_is_due(step: int, config: Config, done: bool) -> bool:
    """Whether the line of metrics of this step has a score: the first line of each `score_every` steps, and the last of
    a run that is as long."""
    return step >= config.score_every and (done or step % config.score_every < config.log_every)
