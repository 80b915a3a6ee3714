"""What the figures of an evaluation say, in words. No widgets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ganlab.data import DATASETS
from ganlab.evaluate.report import Metric, Report


class About(NamedTuple):
    """A metric for people: a title, a sentence in plain words, and what an expert asks for.

    `plain` and `expert` may hold {num} (generated pictures), {classes} and {network}. `paper`: label and address.
    """

    title: str
    plain: str
    expert: str
    paper: tuple[str, str]


METRICS = {
    "fd": About(
        "Distance to real pictures",
        "How far its pictures as a whole are from real ones: 0 would be no difference.",
        "Fréchet distance between two normal distributions fitted to features, eq. 6",
        ("Heusel 2017", "https://arxiv.org/abs/1706.08500"),
    ),
    "kd": About(
        "Distance, counted otherwise",
        "The same question without assuming that features are bell-shaped; it should agree with the line above.",
        "Kernel distance: unbiased squared maximum mean discrepancy, cubic kernel, ± standard error",
        ("Bińkowski 2018", "https://arxiv.org/abs/1801.01401"),
    ),
    "precision": About(
        "Pass for real",
        "Of its pictures, the share that lies among real ones. The rest looks like nothing in the data.",
        "Improved precision, k = 3",
        ("Kynkäänniemi 2019", "https://arxiv.org/abs/1904.06991"),
    ),
    "recall": About(
        "Variety",
        "Of the real pictures, the share that it could have drawn. The rest is what it has not learnt.",
        "Improved recall, k = 3",
        ("Kynkäänniemi 2019", "https://arxiv.org/abs/1904.06991"),
    ),
    "density": About(
        "Density",
        "Whether its pictures lie where real ones crowd. As for the data itself is best; above that, it plays safe.",
        "Density, k = 5: like precision, but one outlier can't raise it",
        ("Naeem 2020", "https://arxiv.org/abs/2002.09797"),
    ),
    "coverage": About(
        "Coverage",
        "Of the real pictures, the share that has one of its pictures close by.",
        "Coverage, k = 5: like recall, but one outlier can't raise it",
        ("Naeem 2020", "https://arxiv.org/abs/2002.09797"),
    ),
    "agreement": About(
        "Draws what it is asked for",
        "Asked for a class, how often it draws that class, as {network} sees it.",
        "Share of samples that the classifier takes for the class asked for, ± standard error",
        ("Odena 2017", "https://arxiv.org/abs/1610.09585"),
    ),
    "modes": About(
        "Classes that it draws",
        "How many of the {classes} classes turn up at all. Fewer is called mode collapse.",
        "Classes found by the classifier among the samples",
        ("Metz 2017", "https://arxiv.org/abs/1611.02163"),
    ),
    "class_kl": About(
        "Uneven classes",
        "How much the mix of classes differs from the data's: 0 is the same mix.",
        "Kullback-Leibler divergence in nats from the data's class histogram to that of the samples",
        ("Metz 2017", "https://arxiv.org/abs/1611.02163"),
    ),
    "duplicates": About(
        "Pairs of near-copies",
        "Among its {num} pictures, the pairs that are closer than almost any two real ones.",
        "Pairs of samples nearer in features than 999 of 1,000 real pictures are to any other",
        ("Arora 2017", "https://arxiv.org/abs/1706.08224"),
    ),
    "support": About(
        "Different pictures in all",
        "How many it can draw before it repeats itself, guessed from the near-copies. In brackets: a 95% interval.",
        "Birthday-paradox estimate of the support from the number of duplicates, with its 95% interval",
        ("Arora 2017", "https://arxiv.org/abs/1706.08224"),
    ),
}
SHARES = ("precision", "recall", "coverage", "agreement")  # shown as percentages
KEY = {"fd": "distance", "precision": "pass for real", "recall": "of the variety"}  # under each wall


def title(data: str) -> str:
    """A data set's name for people."""
    return DATASETS[data].label if data in DATASETS else Path(data).name


def families(reports: Sequence[Report]) -> list[str]:
    """The metrics that any of the reports has, in the order of the table."""
    there = {report.family(name) for report in reports for name in report.metrics}
    return [family for family in METRICS if family in there]


def metric(report: Report, family: str) -> Metric | None:
    """A report's figure by its name without protocol."""
    return next((value for name, value in report.metrics.items() if report.family(name) == family), None)


def filled(text: str, report: Report) -> str:
    """A sentence of `About` with the facts of a report."""
    return text.format(num=f"{report.num:,}", classes=f"{len(report.classes):,}", network=report.extractor["name"])


# --- figures ---------------------------------------------------------------------------------------------------------


def figure(metric: Metric, family: str) -> str:
    """A value with its error or interval: 79.0%, 1.15 ± 0.05, 10 M (4.3 to 31 M)."""
    if family == "support":
        return _support(metric)
    if metric.value is None:
        return "–"
    if metric.error is None:
        return number(metric.value, family)
    error = f"{metric.error:.1%}" if family in SHARES else f"{metric.error:.{_decimals(metric.value)}f}"
    return f"{number(metric.value, family)} ± {error}"


def number(value: float | None, family: str = "") -> str:
    """Three digits, but no more than four decimals; a percentage or a count; a dash where there is none."""
    if value is None:
        return "–"
    if family in SHARES:
        return f"{value:.1%}"
    if family == "support":
        return _large(value)
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{_decimals(value)}f}"


def _decimals(value: float) -> int:
    """As many as three digits take, and no more than four."""
    return min(4, max(0, 2 - math.floor(math.log10(abs(value))))) if value else 0


def _support(metric: Metric) -> str:
    if metric.value is None:
        return f"over {_large(metric.low)}" if metric.low is not None else "–"
    if metric.low is None or metric.high is None:
        return _large(metric.value)
    return f"{_large(metric.value)} ({_large(metric.low)} to {_large(metric.high)})"


def _large(value: float) -> str:
    """A count of which only the size matters: 12 M."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.2g}{unit}" if value < 100 * limit else f"{value / limit:.0f}{unit}"
    return f"{value:.0f}"


# --- judgement -------------------------------------------------------------------------------------------------------


def best(metrics: Sequence[Metric | None], family: str) -> set[int]:
    """Places of the best figures: the best one, and those that its error does not tell from it. None without rivals,
    and none if all are equal."""
    costs = {i: cost for i, m in enumerate(metrics) if m and (cost := _cost(m)) is not None}
    if len(costs) < 2:
        return set()
    first = min(costs, key=lambda i: costs[i])
    alike = {
        i
        for i, cost in costs.items()
        if cost == costs[first] or cost <= costs[first] + 2 * _spread(metrics, family, i, first)
    }
    return alike if len(alike) < len(costs) else set()


def as_real(metric: Metric, family: str) -> bool:
    """Whether the figure is no worse than that of real pictures which the model never saw, within its error."""
    if family == "support":
        highest = float("inf") if metric.high is None else metric.high
        return metric.low is not None and (metric.floor is None or highest >= metric.floor)
    if metric.value is None or metric.floor is None:
        return False
    cost, floor = _cost(metric), _cost(Metric(metric.floor, None, metric.floor, None, metric.better))
    assert cost is not None and floor is not None
    return cost <= floor + 2 * _error(metric, family)


def _cost(metric: Metric) -> float | None:
    """The figure as one of which less is better."""
    if metric.value is None:
        return None if metric.low is None else -float("inf")  # a support without a bound
    if metric.better == "middle":
        return None if metric.floor is None else abs(metric.value - metric.floor)
    return metric.value if metric.better == "lower" else -metric.value


def _error(metric: Metric, family: str) -> float:
    """The standard error, as far as it is known; of a count of rare pairs, Poisson's."""
    if metric.error is not None:
        return metric.error
    return max(metric.value or 0.0, 1.0) ** 0.5 if family == "duplicates" else 0.0


def _spread(metrics: Sequence[Metric | None], family: str, i: int, j: int) -> float:
    """The standard error of the difference of two figures. Of the support only whether the intervals meet."""
    a, b = metrics[i], metrics[j]
    assert a and b
    if family == "support":
        meet = (a.low or 0) <= (b.high or float("inf")) and (b.low or 0) <= (a.high or float("inf"))
        return float("inf") if meet else 0.0
    return (_error(a, family) ** 2 + _error(b, family) ** 2) ** 0.5


def headline(names: Sequence[str], reports: Sequence[Report]) -> str:
    """The result in a sentence or two, as Markdown. The floor stands in it, so that a number means something."""
    distances = [metric(report, "fd") for report in reports]
    places = [i for i, m in enumerate(distances) if m and m.value is not None]
    if not places:
        return "Nothing could be compared: the distance to real pictures has no value."
    first = min(places, key=lambda i: distances[i].value)  # type: ignore[union-attr, arg-type, return-value]
    precision, recall = (metric(reports[first], family) for family in ("precision", "recall"))
    sentences = []
    if len(places) > 1:
        others = ", ".join(f"{plain(names[i])} {figure(distances[i], 'fd')}" for i in places if i != first)  # type: ignore[arg-type]
        sentences.append(
            f"**{plain(names[first])}** comes closest to real pictures: distance "
            f"{figure(distances[first], 'fd')}, against {others}."  # type: ignore[arg-type]
        )
    who = "Of its pictures" if len(places) > 1 else f"Of the pictures of **{plain(names[first])}**"
    if precision and recall:
        sentences.append(
            f"{who}, {_percent(precision.value)} pass for real (real ones: {_percent(precision.floor)}), and they "
            f"reach {_percent(recall.value)} of the data's variety (real ones: {_percent(recall.floor)})."
        )
    return " ".join(sentences)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


# --- neighbours ------------------------------------------------------------------------------------------------------


def nearness(distance: float, held_out: Sequence[float]) -> tuple[str, bool]:
    """How near a sample is to its nearest training picture, beside how near real pictures that are no training pictures
    come to theirs: a sentence, and whether it looks like memorising. held_out: such distances, in any order."""
    nearer = sum(other <= distance for other in held_out)
    share = nearer / len(held_out)
    if share < 0.01:
        return "Nearer than 99 of 100 real test pictures come: it may be a copy. Compare the two.", True
    if share < 0.1:
        return f"Near: only {max(1, round(100 * share))} of 100 real test pictures come nearer.", False
    return f"No copy: {round(100 * share)} of 100 real test pictures come nearer to a training picture.", False


def plain(text: str) -> str:
    """Text in which Markdown sees nothing: names of models and classes."""
    return re.sub(r"([\\`*_{}\[\]|~$:<>])", r"\\\1", text)
