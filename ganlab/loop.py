"""The one training loop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ganlab.checkpoint import load_newest_state, save_generator, save_state
from ganlab.config import Config
from ganlab.data import Dataset, open_dataset
from ganlab.errors import ConfigError, Diverged, GanlabError, RunError
from ganlab.export import save_image
from ganlab.render import grid, to_uint8
from ganlab.rundir import Reporter, RunDir, Status, apply_change
from ganlab.trainer import Trainer

MAX_LOSS = 1e3  # a logistic loss of 1000 means logits of 1000: float32 sigmoids are 0 or 1 from about 100 on
POLL = 0.2  # seconds between two looks at control.json

Progress = Callable[[Status, dict[str, Any]], None]


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" is CUDA, else Apple's MPS, else the CPU. Raises ConfigError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device is {name!r}, which this machine does not offer ({error}). Try auto or cpu."
        ) from None
    return device


def train(
    config: Config,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    started: float | None = None,
) -> RunDir:
    """Train a GAN in the run directory `out`, or resume the run that is there, bit for bit where it was saved.

    Arguments:
        config: hyperparameters; of a run that exists only its length and save interval may differ.
        data_root: where downloaded data sets live.
        device: auto, cpu, cuda, cuda:1, mps.
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
    target = pick_device(device)
    data = None if run.exists else _open_data(config, data_root)  # a new run: refused before anything is written
    with run.claim():
        config = run.open_config(config)
        status = dataclasses.replace(run.read_status(), state="starting", error="", device=str(target), eta_s=None)
        with Reporter(run, status) as reporter, _failures_reported(run, reporter):
            data = data or _open_data(config, data_root)
            total = config.total_steps(len(data.images))
            reporter.update(num_images=len(data.images), total_steps=total)
            trainer = Trainer(config, torch.from_numpy(data.images).to(target))
            _Loop(run, trainer, reporter, progress or (lambda *_: None), started).go()
    return run


def _open_data(config: Config, data_root: str | Path | None) -> Dataset:
    root = Path(data_root) if data_root else None
    data = open_dataset(
        config.data, image_size=config.image_size, channels=config.channels, classes=config.classes, data_root=root
    )
    if config.batch_size > len(data.images):
        raise ConfigError(
            f"batch_size is {config.batch_size}, but {config.data} has only {len(data.images)} pictures. "
            "Choose a smaller batch, or more classes."
        )
    return data


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
            run.append_event("failed", reporter.status.step, error=cause)
        except OSError:
            pass  # the disk is full; the CLI still prints the cause
        raise


class _Loop:
    """State that lives as long as one worker: what was saved, what was asked, how fast it goes."""

    def __init__(self, run: RunDir, trainer: Trainer, reporter: Reporter, progress: Progress, started: float) -> None:
        self.run, self.trainer, self.reporter, self.progress, self.started = run, trainer, reporter, progress, started
        self.seconds = load_newest_state(run, trainer) or 0.0
        self.saved_step = trainer.step if run.states() else -1
        run.rewind(trainer.step)
        self.pending, self.version = self._recorded_changes()
        self.until: int | None = None
        self.command, self.next_look = "run", 0.0
        self.clock = self.tick_clock = time.perf_counter()
        self.tick_images = trainer.images_seen

    def go(self) -> None:
        """Done? -> changes -> tick -> samples -> save -> break if done -> ONE step. Then again."""
        trainer, run = self.trainer, self.run
        kind = "resumed" if trainer.step else "started"
        run.append_event(kind, trainer.step, device=str(trainer.device))
        torch.set_flush_denormal(True)  # subnormal numbers would slow a CPU down by an order of magnitude
        while True:
            config, step = trainer.config, trainer.step
            total = config.total_steps(len(trainer.images))
            self._obey(step)
            done = step >= total
            if trainer.count and step % config.log_every == 0:
                self._tick(total)
            if step == 0 or is_due(step, config.sample_every) or done:
                self._sample()
            if step % config.save_every == 0 or done or self.command != "run":
                self._save()
            if done or self.command == "stop":
                break
            if self.command == "pause":
                self._wait()
                continue
            trainer.train_step()
            self.reporter.update(write=False, state="running", step=trainer.step, images=trainer.images_seen)
        state = "done" if done else "stopped"
        self.reporter.update(state=state, eta_s=None, total_steps=total, step=step, images=trainer.images_seen)
        run.append_event(state, step)

    # --- requests --------------------------------------------------------------------------------------------------

    def _obey(self, step: int) -> None:
        """Look at control.json now and then; make the changes that are due at this step."""
        now = time.monotonic()
        if now >= self.next_look:
            self.next_look = now + POLL
            control = self.run.read_control()
            stale = control.time < self.started
            self.command = "run" if stale else control.command
            self.until = None if stale and (control.until or 0) <= step else control.until
            if control.version != self.version:
                self.version = control.version
                self._record_change(step, dict(control.changes or {}))
        if self.until is not None and step >= self.until and self.command == "run":
            self.command = "pause"
        while self.pending and self.pending[0]["step"] <= step:
            self.trainer.configure(apply_change(self.trainer.config, self.pending.pop(0)))

    def _record_change(self, step: int, asked: dict[str, Any]) -> None:
        """Write what is asked for into the events; from there it is made, now and whenever this step comes again."""
        old = self.trainer.config
        for event in self.pending:  # what is already on its way, though its step has not come yet
            old = apply_change(old, event)
        live = {f.name for f in dataclasses.fields(Config) if f.metadata["live"]}
        if fixed := sorted(set(asked) - live):
            message = f"{', '.join(fixed)} can't change in a running run. These can: {', '.join(sorted(live))}."
            self.run.append_event("change refused", step, version=self.version, error=message)
            asked = {name: value for name, value in asked.items() if name in live}
        try:
            new = old.replace(**asked)
        except ConfigError as error:
            self.run.append_event("change refused", step, version=self.version, error=str(error))
            return
        changes = {
            name: [getattr(old, name), getattr(new, name)] for name in asked if getattr(old, name) != getattr(new, name)
        }
        if changes:
            _schedule(self.pending, {"step": step, "changes": changes})
            self.run.append_event("changed", step, version=self.version, changes=changes)

    def _recorded_changes(self) -> tuple[list[dict[str, Any]], int]:
        """Changes of earlier workers, to be made again at their steps; and the last request they answered."""
        events = self.run.read_events()
        pending: list[dict[str, Any]] = []
        for event in events:
            if event["event"] == "changed":
                _schedule(pending, event)
        return pending, max((e.get("version", 0) for e in events), default=0)

    def _wait(self) -> None:
        """Paused: look for the next request until there is one."""
        trainer = self.trainer
        self._sample()
        partial = self._position() | self._checked_statistics() if trainer.count else None
        self.reporter.update(state="paused", eta_s=None, step=trainer.step, images=trainer.images_seen, partial=partial)
        self.run.append_event("paused", trainer.step)
        while self.command == "pause":
            time.sleep(POLL)
            self._obey(trainer.step)
        self.reporter.update(state="running", partial=None)
        self.clock = self.tick_clock = time.perf_counter()
        self.tick_images = trainer.images_seen

    # --- what the worker writes --------------------------------------------------------------------------------------

    def _tick(self, total: int) -> None:
        """One line of metrics: means since the line before."""
        trainer = self.trainer
        statistics = self._checked_statistics()
        now = time.perf_counter()
        elapsed, self.tick_clock = max(now - self.tick_clock, 1e-9), now
        speed = (trainer.images_seen - self.tick_images) / elapsed
        self.tick_images = trainer.images_seen
        steps_per_s = speed / (trainer.config.batch_size * trainer.config.d_steps)
        row = self._position() | {"seconds": round(self._elapsed(), 3), "images_per_s": round(speed, 1)} | statistics
        self.run.append_metrics(row)
        trainer.reset_statistics()
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
        statistics, step = self.trainer.statistics(), self.trainer.step
        for name in ("loss_d", "loss_g"):
            value = statistics[name]
            if not math.isfinite(value) or abs(value) > MAX_LOSS:
                who = "discriminator" if name == "loss_d" else "generator"
                what = f"reached {value:.3g}" if math.isfinite(value) else "is no longer a number"
                raise Diverged(
                    f"Training diverged at step {step}: the {who}'s loss {what}. The usual cure is a lower "
                    f"learning rate (it is {self.trainer.config.learning_rate:g})."
                )
        return statistics

    def _sample(self) -> None:
        file = self.run.sample_file(self.trainer.step)
        if not file.exists():
            pictures = to_uint8(self.trainer.fixed_samples()).transpose(0, 2, 3, 1)
            save_image(file, grid(pictures, columns=8))

    def _save(self) -> None:
        """Save the exact state and a snapshot, once for each step, and never a broken one."""
        trainer = self.trainer
        if trainer.step == self.saved_step:
            return
        self._checked_statistics()
        if not trainer.weights_finite():
            raise Diverged(
                f"Training diverged at step {trainer.step}: a weight is no longer a number. The usual cure "
                f"is a lower learning rate (it is {trainer.config.learning_rate:g})."
            )
        save_generator(self.run.snapshot_file(trainer.step), trainer)
        save_state(self.run, trainer, self._elapsed())
        self.saved_step = trainer.step

    def _elapsed(self) -> float:
        """Seconds of training so far, over all workers of this run, pauses left out."""
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        return self.seconds


def _schedule(pending: list[dict[str, Any]], change: dict[str, Any]) -> None:
    """Add a change in the order of steps. It overrules older ones of the same names whose step is yet to come again."""
    for other in pending:
        if other["step"] > change["step"]:
            other["changes"] = {k: v for k, v in other["changes"].items() if k not in change["changes"]}
    pending.append(change)
    pending.sort(key=lambda event: event["step"])


def is_due(step: int, every: int) -> bool:
    """Whether a grid is due: at powers of two while all is new, then each `every` steps."""
    return step % every == 0 or (step < every and step & (step - 1) == 0)


def resume(out: str | Path, **options: Any) -> RunDir:
    """Go on with the run in `out` with the configuration that it has. Options as for `train`."""
    run = RunDir(out)
    if not run.exists:
        raise RunError(f"{run.path} holds no run: there is no config.yaml in it.")
    return train(run.read_config(), out, **options)
