"""Learning-rate schedules against torch's schedulers and their end points."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from ganlab.schedules import SCHEDULES, factor, learning_rate, warmup

STEPS, BASE = 40, 3e-4


def rates(make: Callable[[torch.optim.Optimizer], LRScheduler], steps: int = STEPS) -> list[float]:
    """The learning rate that each step of torch's own scheduler trains at."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    scheduler = make(optimiser)
    found = []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


DECAYS: dict[str, Callable[[torch.optim.Optimizer, int], LRScheduler]] = {
    "constant": lambda optimiser, steps: ConstantLR(optimiser, 1.0),
    "linear": lambda optimiser, steps: LinearLR(optimiser, 1.0, 0.0, steps),
    "cosine": lambda optimiser, steps: CosineAnnealingLR(optimiser, steps),
}


@pytest.mark.parametrize("schedule", DECAYS)
@pytest.mark.parametrize("start", [0, 10, 30])
def test_decays_are_torchs(schedule: str, start: int) -> None:
    def make(optimiser: torch.optim.Optimizer) -> LRScheduler:
        decay = DECAYS[schedule](optimiser, STEPS - start)
        return SequentialLR(optimiser, [ConstantLR(optimiser, 1.0), decay], [start]) if start else decay

    found = [learning_rate(BASE, schedule, step, STEPS, start / STEPS, 0) for step in range(STEPS)]
    assert found == pytest.approx(rates(make), rel=1e-9, abs=1e-15)
    assert min(found) > 0


@pytest.mark.parametrize("warmup_steps", [1, 2, 8, 100])
def test_warmup_is_torchs(warmup_steps: int) -> None:
    """LinearLR from 1/w at step 0 to 1 at step w - 1."""
    found = [learning_rate(BASE, "constant", step, STEPS, 0.0, warmup_steps) for step in range(STEPS)]
    steps = max(warmup_steps - 1, 1)  # between its first and its last
    assert found == pytest.approx(rates(lambda optimiser: LinearLR(optimiser, 1 / warmup_steps, 1.0, steps)))


def test_no_warmup() -> None:
    assert [warmup(step, 0) for step in (0, 1, 1000)] == [1.0] * 3
    assert [warmup(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_the_rate_is_the_product() -> None:
    """At step 3 of 10 and a decay from the start, a linear fall leaves 0.7; a warm-up of 8 steps is half over."""
    assert learning_rate(0.002, "linear", 3, 10, 0.0, 8) == pytest.approx(0.002 * 0.7 * 0.5)


@pytest.mark.parametrize("decay_from", [0.0, 0.1, 0.5, 0.9])
def test_end_points(decay_from: float) -> None:
    assert list(SCHEDULES) == ["constant", "linear", "cosine"]
    middle = (1 + decay_from) / 2
    for schedule, half, end in (("constant", 1, 1), ("linear", 0.5, 0), ("cosine", 0.5, 0)):
        assert factor(schedule, -1.0, decay_from) == factor(schedule, decay_from, decay_from) == 1
        assert factor(schedule, middle, decay_from) == pytest.approx(half)
        assert factor(schedule, 1.0, decay_from) == factor(schedule, 1.5, decay_from) == end
    assert factor("cosine", decay_from + 0.25 * (1 - decay_from), decay_from) == pytest.approx(0.5 + 0.5**1.5)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_decays_only_fall(schedule: str) -> None:
    found = [factor(schedule, progress / 100, 0.3) for progress in range(101)]
    assert found[:31] == [1.0] * 31
    assert all(after < before for before, after in itertools.pairwise(found[30:]))


def test_unknown_schedule() -> None:
    with pytest.raises(KeyError, match="sine"):
        factor("sine", 0.5, 0.0)
