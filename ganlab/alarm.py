"""What goes wrong when a GAN trains, read from what its loop writes down: pure functions of a run's lines. No torch.

Every check has a threshold with its reason beside it, and is judged over a window, so that one odd line is no alarm.
docs/alarm.md has the runs on which the thresholds were measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ganlab.advice import CURVES, TITLES, WORDS, Kind, Rows, num_classes, pictures, remedy
from ganlab.config import Config
from ganlab.errors import RunError
from ganlab.rundir import RunDir, apply_change, scored

STEPS, LINES = 200, 5  # a window is as long as this, at least so many lines; none reaches into the first STEPS steps
SCORES = 3  # scores in a row that must show a collapse

# D wins outright when so little is left of its loss. 2% of log 4 is D(x) = 0.986 and D(G(z)) = 0.014: the slope of both
# the minimax loss in G and of D's own loss, D(G(z)), is then 36 times smaller than in a draw, and goes to 0 (Arjovsky &
# Bottou 2017, theorem 2.4). Healthy runs keep 6% of it at the least, while an mlp begins; a DCGAN of a quarter of the
# width is below 2%, and its pictures stay blots.
LEFT = 0.02
SURE = 0.999  # the share of pairs in the right order, beside it: with smoothed labels the loss alone does not say so
# A gradient of G that small against its own median, where the loss has no floor (wasserstein).
VANISHED = 0.01
# G wins outright when D puts generated pictures before real ones: below 1/2 D does worse than a coin, which one that
# learns at all mends at once. 0.4 leaves room for chance and for a run that swings: the mean of 2,000 pairs or more has
# a standard error of 0.011.
FOOLED = 0.4
# Swings of the share of pairs in the right order: below LOW, where D is fooled, then above HIGH, where it sees all. A
# lively run goes below 0.25 now and then, and still learns.
LOW, HIGH, SWINGS = 0.1, 0.9, 3
# A loss of 100 nats means logits of 100: a float32 sigmoid is exactly 0 or 1 from 88 or so on. Healthy ones stay below
# 15. Losses that are no log-odds have no scale: there the hundredfold of the median so far.
LARGE = 100.0
# The same picture again and again: of 2,000 samples every tenth pair is one, as if there were but ten pictures
# (Arora & Zhang 2017); or features that vary so little against the data's. An mlp begins with one blur, has 5 pictures
# at step 500 and 20 to 100 from 1,000 on, which vary 2 to 6%.
FEW_PICTURES, FLAT, BEGINNING = 10, 0.02, 1000
# Or variety that was there is lost: of spread or of classes less than a quarter of the best so far is left.
LOST = 0.25
GROWN = 0.3  # spread from which on there is something to lose


@dataclass(frozen=True)
class Alarm:
    """Something that went wrong over a stretch of a run.

    since: the first step that shows it. until: the last one; None while it goes on. why: the evidence in words.
    advice: one thing to try; changes: the same as hyperparameters that may change while a run goes on, by name.
    """

    kind: Kind
    since: int
    until: int | None
    why: str
    advice: str
    changes: dict[str, Any]

    @property
    def title(self) -> str:
        return TITLES[self.kind]

    @property
    def curve(self) -> str:
        """The chart that shows it: losses, verdicts or score."""
        return CURVES[self.kind]


def alarms(rows: Rows, config: Config, events: Rows = ()) -> list[Alarm]:
    """Every alarm of a run so far, in the order in which they began; of one kind, stretches that touch are one.

    Arguments:
        rows: its lines of metrics, all of them or the newest; what a line lacks is not judged.
        config, events: the run's, from which the hyperparameters of its newest line follow.
    """
    for event in events:
        if event["event"] == "changed":
            config = apply_change(config, event)
    found = _reported_divergences(events, config)
    if rows:
        lines = _Lines(rows, config)
        for kind, check in CHECKS.items():
            found += _stretches(kind, check(lines), lines.window, lines, config)
        if with_score := scored(rows):
            lines = _Lines(with_score, config)
            found += _stretches("collapse", _collapsed(lines), SCORES, lines, config)
    return sorted(_without_twins(found), key=lambda alarm: alarm.since)


def alarms_of(run: RunDir) -> list[Alarm]:
    """Every alarm of a run so far. Raises RunError where there is no run, or nothing to judge yet."""
    config, events = run.read_config(), run.read_events()
    rows, _ = run.read_metrics()
    if not rows and not any(event["event"] == "failed" for event in events):
        raise RunError(f"{run.path} has no metrics yet: the first ones come after log_every steps of training.")
    return alarms(rows, config, events)


def ongoing(found: Iterable[Alarm]) -> list[Alarm]:
    """Those alarms that have not ended."""
    return [alarm for alarm in found if alarm.until is None]


class _Lines:
    """Lines of metrics as arrays (N,), NaN where a line has null or nothing. `window`: lines in one."""

    def __init__(self, rows: Rows, config: Config) -> None:
        self.rows, self.config = rows, config
        self.steps = self["step"].astype(int)
        self.window = max(LINES, math.ceil(STEPS / config.log_every))

    def __getitem__(self, name: str) -> np.ndarray:
        return np.array([np.nan if (v := row.get(name)) is None else v for row in self.rows], float)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Means over the window that ends at each line; NaN where it is not whole, or begins with the training."""
        means = np.full(len(values), np.nan)
        if len(values) >= self.window:
            means[self.window - 1 :] = np.convolve(values, np.full(self.window, 1 / self.window), "valid")
            means[self.window - 1 :][self.steps[: len(values) - self.window + 1] <= STEPS] = np.nan
        return means


def _without_twins(found: list[Alarm]) -> list[Alarm]:
    """Of those of one kind that go on, one: what the loop reported, from where its lines began to show it."""
    kept: list[Alarm] = []
    for alarm in found:
        twin = next((a for a in kept if a.kind == alarm.kind and a.until is None and alarm.until is None), None)
        if twin is None:
            kept.append(alarm)
        else:
            kept[kept.index(twin)] = replace(twin, since=min(twin.since, alarm.since))
    return kept


# --- checks: bool (N,), whether the window that ends at each line shows it -------------------------------------------


def _d_wins(lines: _Lines) -> np.ndarray:
    sure = lines.mean(lines["d_order"]) > SURE
    if (bounds := loss_bounds(lines.config)) is None:
        gradient = lines["grad_g"]
        return sure & (lines.mean(gradient) < VANISHED * np.nanmedian(gradient))
    lost, draw = bounds
    return sure & (lines.mean((lines["loss_d"] - lost) / (draw - lost)) < LEFT)


def _g_wins(lines: _Lines) -> np.ndarray:
    return lines.mean(lines["d_order"]) < FOOLED


def _oscillates(lines: _Lines) -> np.ndarray:
    """At least SWINGS between LOW and HIGH, there or back, in the last four windows."""
    order = lines["d_order"]
    ends = np.where(order < LOW, -1, np.where(order > HIGH, 1, 0))
    ends[lines.steps <= STEPS] = 0
    places = np.flatnonzero(ends)
    turned = np.zeros(len(order), bool)
    turned[places[1:][ends[places[1:]] != ends[places[:-1]]]] = True
    count = np.cumsum(turned)
    span = 4 * lines.window
    return count - np.concatenate([np.zeros(min(span, len(count)), int), count[:-span]]) >= SWINGS


def _diverges(lines: _Lines) -> np.ndarray:
    """A loss that is no number any more, or too large, in the window."""
    bad = np.zeros(len(lines.rows), bool)
    for name in ("loss_d", "loss_g"):
        size = np.abs(lines[name])
        if np.isfinite(size).any():
            scale = 1.0 if lines.config.loss in LOGITS else max(float(np.nanmedian(size)), 1.0)
            bad |= ~(size <= LARGE * scale)
    span = np.convolve(bad, np.ones(lines.window))[: len(bad)]
    return span > 0.5


def _collapsed(scored: _Lines) -> np.ndarray:
    """Of scored lines: SCORES in a row show one picture again and again, or less variety than there has been."""
    spread, classes = scored["spread"], np.array([num_classes(row) for row in scored.rows])
    few = (pictures(scored["duplicates"]) < FEW_PICTURES) | (spread < FLAT)
    few &= scored.steps >= BEGINNING
    lost = np.zeros(len(few), bool)
    for values in (spread, classes):
        best = np.maximum.accumulate(np.where(spread >= GROWN, values, 0))
        lost |= values < LOST * best
    return np.convolve(few | lost, np.ones(SCORES))[: len(few)] > SCORES - 0.5


CHECKS: dict[Kind, Callable[[_Lines], np.ndarray]] = {
    "d-wins": _d_wins,
    "g-wins": _g_wins,
    "oscillation": _oscillates,
    "divergence": _diverges,
}
LOGITS = ("non-saturating", "minimax", "hinge", "relativistic")  # losses that grow by 1 with a logit


def loss_bounds(config: Config) -> tuple[float, float] | None:
    """D's loss where it knows everything, and in a draw, where it says the same of every picture; None where a loss has
    no such bounds (wasserstein)."""
    real, fake = (
        (1 - config.label_smoothing) * (1 - config.label_flip),
        (1 - config.label_smoothing) * config.label_flip,
    )
    spread = config.label_flip * (1 - config.label_flip)
    return {
        "non-saturating": (_entropy(real) + _entropy(fake), 2 * math.log(2)),
        "minimax": (_entropy(real) + _entropy(fake), 2 * math.log(2)),
        "least-squares": ((1 - config.label_smoothing) ** 2 * spread, (1 - config.label_smoothing) ** 2 / 4),
        "hinge": (0.0, 2.0),
        "relativistic": (0.0, math.log(2)),
    }.get(config.loss)


def _entropy(p: float) -> float:
    """Of a coin, in nats: the least cross-entropy where a share p of labels is 1."""
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


# --- from lines to alarms --------------------------------------------------------------------------------------------


def _stretches(kind: Kind, bad: np.ndarray, window: int, lines: _Lines, config: Config) -> list[Alarm]:
    """One alarm for each stretch of lines whose window shows it; less than a window between two is no end."""
    where = np.flatnonzero(bad)
    if not len(where):
        return []
    breaks = np.flatnonzero(np.diff(where) > window) + 1
    found = []
    for part in np.split(where, breaks):
        first = part[0] if kind == "divergence" else max(part[0] - window + 1, 0)  # one line is enough for that
        last = part[-1]
        rows = lines.rows[max(last - window + 1, 0) : last + 1]
        over = int(lines.steps[last]) if last < len(bad) - 1 else None
        found.append(Alarm(kind, int(lines.steps[first]), over, WORDS[kind](rows), *remedy(kind, config)))
    return found


def _reported_divergences(events: Rows, config: Config) -> list[Alarm]:
    """What the loop itself gave up on: it ended, or went back to an earlier save."""
    found = []
    for i, event in enumerate(events):
        if event["event"] == "rolled back":
            found.append(
                Alarm(
                    "divergence", event["lost_step"], event["lost_step"], event["error"], *remedy("divergence", config)
                )
            )
        elif event["event"] == "failed" and event.get("diverged"):
            resumed = any(later["event"] in ("resumed", "started") for later in events[i + 1 :])
            over = event["step"] if resumed else None
            found.append(Alarm("divergence", event["step"], over, event["error"], *remedy("divergence", config)))
    return found
