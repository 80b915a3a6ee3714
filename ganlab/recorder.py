"""What a worker leaves in its run directory as it goes: lines of metrics, sample grids, snapshots, exact states."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from ganlab.checkpoint import save_snapshot, save_state
from ganlab.data import Dataset
from ganlab.errors import Diverged
from ganlab.export import save_image
from ganlab.render import grid, to_uint8
from ganlab.rundir import Reporter, RunDir, Status
from ganlab.scores import NUM, Scorer, scorer_of
from ganlab.trainer import Trainer

MAX_LOSS = 1e3  # a logistic loss of 1000 means logits of 1000: float32 sigmoids are 0 or 1 from about 100 on
MAX_WEIGHT = 1e4  # healthy weights stay below 10 or so; bfloat16 can't tell 10,000 from 10,030

Progress = Callable[[Status, dict[str, Any]], None]


class Recorder:
    """Writes, if its process leads, and measures time: `seconds` of training over all workers of the run, pauses left
    out. Where several processes train, all call it at the same steps."""

    def __init__(self, run: RunDir, trainer: Trainer, data: Dataset, reporter: Reporter, progress: Progress) -> None:
        self.run, self.trainer, self.reporter, self.progress = run, trainer, reporter, progress
        self.leads = trainer.world.leads
        self.scorer = scorer_of(trainer.config, data.images, data.classes, torch.get_num_threads())
        self.introduced = False
        self.seconds = 0.0
        self.go_on()

    def go_on(self, seconds: float | None = None) -> None:
        """Start the clock: after a pause, or with `seconds` of training so far."""
        self.seconds = self.seconds if seconds is None else seconds
        self.clock = self.tick_clock = time.perf_counter()
        self.tick_images = self.trainer.images_seen

    def elapsed(self) -> float:
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        return self.seconds

    def event(self, kind: str, **facts: Any) -> None:
        if self.leads:
            self.run.append_event(kind, self.trainer.step, **facts)

    # --- metrics -----------------------------------------------------------------------------------------------------

    def tick(self, *, score: bool, last: bool = False) -> None:
        """One line of metrics: means since the line before, and a score if asked for and something scores.

        The `last` line may come before its time: its means are not reset, for the run may go on one day.
        """
        trainer = self.trainer
        statistics = self.checked_statistics()
        now = time.perf_counter()
        speed = (trainer.images_seen - self.tick_images) / max(now - self.tick_clock, 1e-9)
        if not last:
            trainer.reset_statistics()
        if not self.leads or (last and any(row["step"] == trainer.step for row in self.run.read_metrics()[0])):
            return
        scored = self._score(self.scorer) if score and self.scorer else {}
        row = self.position() | {"seconds": round(self.elapsed(), 3), "images_per_s": round(speed, 1)} | statistics
        self.run.append_metrics(row | scored)
        self.tick_clock, self.tick_images = time.perf_counter(), trainer.images_seen  # a score is no step
        total = trainer.total_steps
        steps_per_s = speed / (trainer.config.num_real * trainer.config.d_steps)
        eta = (total - trainer.step) / steps_per_s if steps_per_s else None
        self.reporter.update(
            write=False,
            images_per_s=speed,
            steps_per_s=steps_per_s,
            eta_s=eta,
            total_steps=total,
            seconds=self.seconds,
        )
        self.progress(self.reporter.status, row | scored)

    def position(self) -> dict[str, Any]:
        trainer = self.trainer
        epoch = round(trainer.images_seen / len(trainer.images), 4)
        return {"step": trainer.step, "images": trainer.images_seen, "epoch": epoch}

    def _score(self, scorer: Scorer) -> dict[str, Any]:
        """Score the averaged generator, and keep it with the closest pairs of its pictures: the best of these
        snapshots is RUN@best."""
        step = self.trainer.step
        pictures = to_uint8(self.trainer.fixed_samples(NUM)).transpose(0, 2, 3, 1)
        found = scorer(pictures)
        if not self.introduced:
            self.event("scoring", **scorer.facts())
            self.introduced = True
        save_image(self.run.pairs_file(step), grid(found.pairs.reshape(-1, *pictures.shape[1:]), found.pairs.shape[1]))
        self._keep()
        return found.row

    def checked_statistics(self) -> dict[str, float]:
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

    # --- pictures and networks ---------------------------------------------------------------------------------------

    def sample(self) -> None:
        """A grid of the fixed noise."""
        file = self.run.sample_file(self.trainer.step)
        if self.leads and not file.exists():
            pictures = to_uint8(self.trainer.fixed_samples()).transpose(0, 2, 3, 1)
            save_image(file, grid(pictures, columns=8))

    def snapshot(self) -> None:
        """Both networks as they are now, and never broken ones."""
        trainer = self.trainer
        self.checked_statistics()
        largest = trainer.largest_weight()
        if not largest < MAX_WEIGHT:
            what = f"reached {largest:.3g}" if math.isfinite(largest) else "is no longer a number"
            raise self._divergence(f"a weight {what}")
        if self.leads:
            self._keep()

    def save(self) -> None:
        """A snapshot, and the exact state."""
        self.snapshot()
        self.trainer.world.average(self.trainer.sums)
        if self.leads:
            save_state(self.run, self.trainer, self.elapsed())

    def _keep(self) -> None:
        if not self.run.snapshot_file(self.trainer.step).exists():
            save_snapshot(self.run, self.trainer)
