"""The one training loop."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from ganlab.checkpoint import load_newest_state, save_generator, save_state
from ganlab.config import Config
from ganlab.data import Dataset, open_dataset
from ganlab.distributed import World, world_of
from ganlab.errors import ConfigError, Diverged, GanlabError, RunError
from ganlab.export import save_image
from ganlab.render import grid, to_uint8
from ganlab.requests import POLL, Requests
from ganlab.rundir import Reporter, RunDir, Status
from ganlab.scores import NUM, SCORES
from ganlab.trainer import Trainer

MAX_LOSS = 1e3  # a logistic loss of 1000 means logits of 1000: float32 sigmoids are 0 or 1 from about 100 on
MAX_WEIGHT = 1e4  # healthy weights stay below 10 or so; bfloat16 can't tell 10,000 from 10,030

Progress = Callable[[Status, dict[str, Any]], None]


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
                _Loop(run, trainer, reporter, progress or (lambda *_: None), started).go()
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
                run.append_event("failed", reporter.status.step, error=cause)
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
    """State that lives as long as one worker: what was saved, what was asked, how fast it goes.

    Where several processes train, all go through the same motions and only the leader writes.
    """

    def __init__(self, run: RunDir, trainer: Trainer, reporter: Reporter, progress: Progress, started: float) -> None:
        self.run, self.trainer, self.reporter, self.progress = run, trainer, reporter, progress
        self.leads = trainer.world.leads
        self.seconds, self.config = 0.0, trainer.config  # without the changes that are made on the way
        self._go_back()
        self.saved_step = trainer.step if run.states() else -1
        self.requests = Requests(run, started, trainer.world)
        self.rolled_back = any(event["event"] == "rolled back" for event in run.read_events())
        score = trainer.config.score
        self.score = SCORES[score](trainer.images.cpu().numpy()) if score != "none" and self.leads else None

    def _go_back(self) -> None:
        """To the newest saved state; what was written after it is forgotten."""
        self.seconds = load_newest_state(self.run, self.trainer) or 0.0
        if self.leads:
            self.run.rewind(self.trainer.step)
        self.trainer.world.agree(None)  # nobody reads on before the leader has rewound
        self.clock = self.tick_clock = time.perf_counter()
        self.tick_images = self.trainer.images_seen

    def go(self) -> None:
        """Train to the end, or to a stop; after a divergence once more from the last save, if the config says so."""
        kind, trainer = "resumed" if self.trainer.step else "started", self.trainer
        self._event(kind, device=str(trainer.device), threads=torch.get_num_threads(), processes=trainer.world.size)
        while True:
            try:
                with _no_subnormals():
                    return self._steps()
            except Diverged as error:
                if trainer.config.on_divergence == "stop" or self.rolled_back:
                    raise
                self._roll_back(error)

    def _steps(self) -> None:
        """Done? -> requests -> tick -> samples -> score -> save -> break if done -> ONE step. Then again."""
        trainer, requests = self.trainer, self.requests
        while True:
            self._obey()
            config, step, total = trainer.config, trainer.step, trainer.total_steps
            done = step >= total
            if trainer.count and step % config.log_every == 0:
                self._tick()
            if step == 0 or is_due(step, config.sample_every) or done:
                self._sample()
            if config.score != "none" and step and (step % config.score_every == 0 or done):
                self._score()
            if step % config.save_every == 0 or done or requests.command != "run":
                self._save()
            if done or requests.command == "stop":
                break
            if requests.command == "pause":
                self._wait()
                continue
            trainer.train_step()
            self.reporter.update(write=False, state="running", step=trainer.step, images=trainer.images_seen)
        state = "done" if done else "stopped"
        self.reporter.update(state=state, eta_s=None, total_steps=total, step=step, images=trainer.images_seen)
        self._event(state)

    def _obey(self, waiting: bool = False) -> None:
        old = self.trainer.config
        new = self.requests.obey(old, self.trainer.step, waiting)
        if new is not old:
            self.trainer.configure(new)

    def _wait(self) -> None:
        """Paused: look for the next request until there is one."""
        trainer = self.trainer
        self._sample()
        partial = self._position() | self._checked_statistics() if trainer.count else None
        self.reporter.update(state="paused", eta_s=None, step=trainer.step, images=trainer.images_seen, partial=partial)
        self._event("paused")
        while self.requests.command == "pause":
            time.sleep(POLL)
            self._obey(waiting=True)
        self.reporter.update(state="running", partial=None)
        self.clock = self.tick_clock = time.perf_counter()
        self.tick_images = trainer.images_seen

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
        self._event("rolled back", lost_step=lost, error=str(error))

    # --- what the worker writes --------------------------------------------------------------------------------------

    def _event(self, kind: str, **facts: Any) -> None:
        if self.leads:
            self.run.append_event(kind, self.trainer.step, **facts)

    def _tick(self) -> None:
        """One line of metrics: means since the line before."""
        trainer = self.trainer
        statistics = self._checked_statistics()
        now = time.perf_counter()
        elapsed, self.tick_clock = max(now - self.tick_clock, 1e-9), now
        speed = (trainer.images_seen - self.tick_images) / elapsed
        self.tick_images = trainer.images_seen
        steps_per_s = speed / (trainer.config.num_real * trainer.config.d_steps)
        row = self._position() | {"seconds": round(self._elapsed(), 3), "images_per_s": round(speed, 1)} | statistics
        trainer.reset_statistics()
        if not self.leads:
            return
        self.run.append_metrics(row)
        total = trainer.total_steps
        eta = (total - trainer.step) / steps_per_s if steps_per_s else None
        self.reporter.update(
            write=False,
            images_per_s=speed,
            steps_per_s=steps_per_s,
            eta_s=eta,
            total_steps=total,
            seconds=self._elapsed(),
        )
        self.progress(self.reporter.status, row)

    def _position(self) -> dict[str, Any]:
        trainer = self.trainer
        epoch = round(trainer.images_seen / len(trainer.images), 4)
        return {"step": trainer.step, "images": trainer.images_seen, "epoch": epoch}

    def _checked_statistics(self) -> dict[str, float]:
        """The means, or Diverged with the cause."""
        statistics, config = self.trainer.statistics(), self.trainer.config
        limit = MAX_LOSS * (100 if config.loss in ("wasserstein", "least-squares") else 1)  # scores without a scale
        for name in ("loss_d", "loss_g"):
            value = statistics[name]
            if not math.isfinite(value) or abs(value) > limit:
                who = "discriminator" if name == "loss_d" else "generator"
                what = f"reached {value:.3g}" if math.isfinite(value) else "is no longer a number"
                raise self._divergence(f"the {who}'s loss {what}")
        return statistics

    def _divergence(self, what: str) -> Diverged:
        rate = self.trainer.config.learning_rate
        return Diverged(
            f"Training diverged at step {self.trainer.step}: {what}. The usual cure is a lower learning rate (it is "
            f"{rate:g})."
        )

    def _sample(self) -> None:
        file = self.run.sample_file(self.trainer.step)
        if self.leads and not file.exists():
            pictures = to_uint8(self.trainer.fixed_samples()).transpose(0, 2, 3, 1)
            save_image(file, grid(pictures, columns=8))

    def _score(self) -> None:
        """Score the averaged generator, and keep it: the best of these is RUN@best."""
        step = self.trainer.step
        if self.score is None or any(row["step"] == step for row in self.run.read_scores()):
            return
        pictures = to_uint8(self.trainer.fixed_samples(NUM)).transpose(0, 2, 3, 1)
        save_generator(self.run.snapshot_file(step), self.trainer)
        self.run.append_score({"step": step, "metric": self.trainer.config.score, "score": self.score(pictures)})

    def _save(self) -> None:
        """Save the exact state and a snapshot, once for each step, and never a broken one."""
        trainer = self.trainer
        if trainer.step == self.saved_step:
            return
        self._checked_statistics()
        largest = trainer.largest_weight()
        if not largest < MAX_WEIGHT:
            what = f"reached {largest:.3g}" if math.isfinite(largest) else "is no longer a number"
            raise self._divergence(f"a weight {what}")
        trainer.world.average(trainer.sums)
        if self.leads:
            save_generator(self.run.snapshot_file(trainer.step), trainer)
            save_state(self.run, trainer, self._elapsed())
        self.saved_step = trainer.step

    def _elapsed(self) -> float:
        """Seconds of training so far, over all workers of this run, pauses left out."""
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        return self.seconds


def is_due(step: int, every: int) -> bool:
    """Whether a grid is due: at powers of two while all is new, then each `every` steps."""
    return step % every == 0 or (step < every and step & (step - 1) == 0)
