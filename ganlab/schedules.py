"""Learning rates as pure functions of progress: no state, so a resumed run needs nothing but its step."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {  # of the share of the decay that is over, in [0, 1]
    "constant": lambda share: 1.0,
    "linear": lambda share: 1.0 - share,
    "cosine": lambda share: (1.0 + math.cos(math.pi * share)) / 2,  # Loshchilov & Hutter 2017, eq. 5
}


def factor(schedule: str, progress: float, decay_from: float) -> float:
    """What is left of the learning rate, in [0, 1]: 1 until `decay_from`, then falling to 0 at progress 1.

    Arguments:
        schedule: one of `SCHEDULES`; "constant" never falls.
        progress: share of the training that is over, taken as 0 below 0 and as 1 above 1.
        decay_from: progress at which the fall begins, in [0, 1).
    """
    share = (progress - decay_from) / (1.0 - decay_from)
    return SCHEDULES[schedule](min(max(share, 0.0), 1.0))


def warmup(step: int, warmup_steps: int) -> float:
    """Rises linearly from 1/warmup_steps at step 0 to 1 at step warmup_steps - 1; without warm-up steps it is 1."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0


def learning_rate(
    base: float, schedule: str, step: int, total_steps: int, decay_from: float, warmup_steps: int
) -> float:
    """The learning rate of step `step`, counted from 0, of `total_steps`: above 0 at each, 0 only after the last."""
    return base * factor(schedule, step / total_steps, decay_from) * warmup(step, warmup_steps)
