"""What to tell people of an alarm: its name, why one thinks so, and one thing to try. Pure functions. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ganlab.config import Config
from ganlab.scores import NUM

Kind = Literal["d-wins", "g-wins", "collapse", "oscillation", "divergence"]
Rows = Sequence[Mapping[str, Any]]

TITLES: dict[str, str] = {
    "d-wins": "The discriminator wins outright",
    "g-wins": "The generator wins outright",
    "collapse": "The generator makes ever the same pictures",
    "oscillation": "The two go round in circles",
    "divergence": "The numbers explode",
}
CURVES: dict[str, str] = {  # which chart shows it
    "d-wins": "verdicts",
    "g-wins": "verdicts",
    "collapse": "score",
    "oscillation": "verdicts",
    "divergence": "losses",
}


def pictures(duplicates: Any) -> Any:
    """How many different pictures would give so many pairs among the NUM samples of a score (Arora & Zhang 2017): see
    `evaluate.neighbours.support_estimate`."""
    return NUM * (NUM - 1) / 2 / np.maximum(duplicates, 1e-9)


def num_classes(row: Mapping[str, Any]) -> float:
    """How many classes of equal shares would be as mixed: the exponential of the entropy; NaN without classes."""
    shares = row.get("classes")
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0)) if shares else math.nan


# --- why: of the lines of its last window ----------------------------------------------------------------------------


def _mean(rows: Rows, name: str) -> float:
    values = [row[name] for row in rows if row.get(name) is not None]
    return sum(values) / len(values) if values else math.nan


def _d_wins_because(rows: Rows) -> str:
    return (
        f"D puts {_mean(rows, 'd_order'):.1%} of all pairs in the right order, a real picture before a generated one, "
        f"and has next to nothing left to learn: D(x) is {_mean(rows, 'd_real'):.3f}, D(G(z)) "
        f"{_mean(rows, 'd_fake'):.3f}, its loss {_mean(rows, 'loss_d'):.3g}. Such a D is flat around G's pictures and "
        f"does not tell G which way to go: G's gradient is {_mean(rows, 'grad_g'):.2g}."
    )


def _g_wins_because(rows: Rows) -> str:
    return (
        f"D takes generated pictures for the real ones: it puts only {_mean(rows, 'd_order'):.0%} of all pairs in the "
        f"right order, where a coin would do 50%. D(x) is {_mean(rows, 'd_real'):.2f}, D(G(z)) "
        f"{_mean(rows, 'd_fake'):.2f}. From a D that sees so little, G learns nothing about pictures."
    )


def _oscillates_because(rows: Rows) -> str:
    return (
        "Again and again D is fooled by most of G's pictures, then sees through nearly all of them: each undoes what "
        "the other has learnt, and the pictures do not get better."
    )


def _diverges_because(rows: Rows) -> str:
    worst = max(
        (abs(row[name]) for row in rows for name in ("loss_d", "loss_g") if row.get(name) is not None), default=math.nan
    )
    return f"A loss has reached {worst:.3g}, or is no number any more. Healthy ones stay within some tens."


def _collapsed_because(rows: Rows) -> str:
    row = rows[-1]
    said = [
        f"Of {NUM:,} pictures {row['duplicates']:,} pairs are nearer to each other than any two of as many real ones: "
        f"as if G made some {max(pictures(row['duplicates']), 1):,.0f} different ones"
        if row["duplicates"]
        else f"{NUM:,} pictures hold no two that are the same",
        f"their features vary {row['spread']:.1%} as much as the data's",
    ]
    if row.get("classes"):
        said.append(f"of {len(row['classes'])} classes they are as mixed as {num_classes(row):.1f} equal ones")
    return "; ".join(said) + "."


WORDS: dict[Kind, Callable[[Rows], str]] = {
    "d-wins": _d_wins_because,
    "g-wins": _g_wins_because,
    "oscillation": _oscillates_because,
    "divergence": _diverges_because,
    "collapse": _collapsed_because,
}


# --- one thing to try ------------------------------------------------------------------------------------------------


def remedy(kind: Kind, config: Config) -> tuple[str, dict[str, Any]]:
    """One thing to try, and the same as hyperparameters that may change in a running run."""
    g_rate, d_rate = config.learning_rate, config.d_learning_rate or config.learning_rate
    if kind == "d-wins":
        if config.d_steps > config.g_steps:
            return "Let D learn no more often than G.", {"d_steps": config.g_steps}
        if (slower := _rate(d_rate / 4)) < d_rate:
            return "Make D learn more slowly: a quarter of its step size.", {"d_learning_rate": slower}
        return "Make D's task harder: a little noise on all that it sees.", _more_noise(config)
    if kind in ("g-wins", "collapse"):
        if config.g_steps > config.d_steps:
            return "Let G learn no more often than D.", {"g_steps": config.d_steps}
        if d_rate < g_rate:
            return "Let D learn as fast as G.", {"d_learning_rate": g_rate}
    if kind == "g-wins":
        return "Let D learn faster: twice its step size.", {"d_learning_rate": _rate(2 * d_rate)}
    if kind == "collapse":
        return "Blur what D sees with a little noise, so that G need not flee to one picture.", _more_noise(config)
    changes = {"learning_rate": _rate(g_rate / 4)}
    if config.d_learning_rate is not None:
        changes["d_learning_rate"] = _rate(d_rate / 4)
    return "Take smaller steps: a quarter of the learning rate.", changes


def _more_noise(config: Config) -> dict[str, Any]:
    return {"instance_noise": round(min(config.instance_noise + 0.1, 1.0), 3)}


def _rate(value: float) -> float:
    """Within the limits of a learning rate, and short to read."""
    return min(max(float(f"{value:.3g}"), 1e-6), 0.1)
