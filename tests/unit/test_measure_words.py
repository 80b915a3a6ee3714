"""What the page Measure says of figures: how it writes them, which it calls the best, and which as good as real."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ganlab.app.measure.classes import places
from ganlab.app.measure.timeline import newest_protocol, values_of
from ganlab.app.measure.words import (
    METRICS,
    as_real,
    best,
    families,
    figure,
    filled,
    headline,
    metric,
    nearness,
    number,
    plain,
)
from ganlab.evaluate.figures import BETTER
from ganlab.evaluate.report import Metric, Report

INFINITY = float("inf")


def of(value: float | None, better: str = "lower", **facts: Any) -> Metric:
    facts = {"error": None, "floor": None, "ceiling": None, **facts}
    return Metric(value, better=better, **facts)  # type: ignore[arg-type]


def report_of(num: int = 2000, **values: Metric) -> Report:
    return Report(
        folder=Path("nowhere"),
        model={},
        data={"name": "mnist"},
        extractor={"name": "mnistnet"},
        num=num,
        seed=0,
        metrics={f"{family}_mnistnet_{num // 1000}k": value for family, value in values.items()},
        classes=tuple("0123456789"),
        histogram={},
        agreement_by_class=None,
        notes=(),
        seconds={},
        date="",
    )


# --- writing ---


def test_there_are_words_for_every_figure() -> None:
    assert set(METRICS) == set(BETTER)
    for about in METRICS.values():
        assert about.plain.endswith(".") and about.paper[1].startswith("https://arxiv.org/abs/")
        assert "{" not in filled(about.plain, report_of())


@pytest.mark.parametrize(
    ("value", "family", "text"),
    [
        (3.949, "fd", "3.95"),
        (42.34, "fd", "42.3"),
        (365.17, "fd", "365"),
        (1234.5, "fd", "1,234"),
        (-0.000163, "kd", "-0.0002"),
        (0.00402, "class_kl", "0.0040"),
        (0.0, "kd", "0"),
        (0.7896, "precision", "79.0%"),
        (1.0, "recall", "100.0%"),
        (1.03, "density", "1.03"),
        (10, "modes", "10"),
        (1_999_000, "duplicates", "1,999,000"),
        (None, "fd", "–"),
    ],
)
def test_numbers(value: float | None, family: str, text: str) -> None:
    assert number(value, family) == text


@pytest.mark.parametrize("value", [9.996, 99.96, 0.0999999, 5.0000001, 0.5, 12.0])
def test_a_number_is_what_it_says(value: float) -> None:
    assert float(number(value, "fd").replace(",", "")) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("one", "family", "text"),
    [
        (of(1.152, error=0.0495), "kd", "1.15 ± 0.05"),
        (of(0.132, error=0.0076), "agreement", "13.2% ± 0.8%"),
        (of(9_999_000.0, low=4_284_735.0, high=31_026_823.0), "support", "10 M (4.3 M to 31 M)"),
        (of(None, low=544_982.0), "support", "over 545 k"),
        (of(None), "support", "–"),
        (of(None), "fd", "–"),
    ],
)
def test_figures_with_what_is_known_of_their_error(one: Metric, family: str, text: str) -> None:
    assert figure(one, family) == text


def test_metrics_come_in_one_order_and_lack_nothing() -> None:
    a, b = report_of(recall=of(0.5), fd=of(3.0)), report_of(agreement=of(0.9), fd=of(4.0))
    assert families([a, b]) == ["fd", "recall", "agreement"]
    assert metric(b, "agreement") == of(0.9) and metric(a, "agreement") is None


# --- judging ---


@pytest.mark.parametrize(
    ("figures", "family", "winners"),
    [
        ([of(4.0), of(6.0)], "fd", {0}),
        ([of(0.7, "higher"), of(0.8, "higher"), of(0.6, "higher")], "precision", {1}),
        ([of(0.8, "middle", floor=1.0), of(1.1, "middle", floor=1.0)], "density", {1}),
        ([of(1.0, error=0.1), of(1.2, error=0.1), of(9.0, error=0.1)], "kd", {0, 1}),  # 0.2 < 2 * 0.141
        ([of(1.0, error=0.01), of(1.2, error=0.01)], "kd", {0}),
        ([of(5.0), of(17.0)], "duplicates", {0}),  # 12 > 2 * sqrt(22) = 9.4
        ([of(5.0), of(9.0), of(100.0)], "duplicates", {0, 1}),
        ([of(1e7, "higher", low=4e6, high=3e7), of(3e6, "higher", low=2e6, high=5e6), of(9.0, "higher", low=8.0,
          high=10.0)], "support", {0, 1}),
        ([of(None, "higher", low=5e5), of(9.0, "higher", low=8.0, high=10.0)], "support", {0}),
        ([of(None, "higher", low=5e5), of(None, "higher", low=5e5)], "support", set()),
        ([of(4.0)], "fd", set()),
        ([of(4.0), None], "fd", set()),
        ([of(10, "higher"), of(10, "higher")], "modes", set()),
        ([of(None), of(4.0), of(5.0)], "fd", {1}),
        ([], "fd", set()),
    ],
)  # fmt: skip
def test_the_best_of_a_row(figures: list[Metric | None], family: str, winners: set[int]) -> None:
    assert best(figures, family) == winners


@pytest.mark.parametrize(
    ("one", "family", "verdict"),
    [
        (of(0.2, floor=0.165), "fd", False),
        (of(0.16, floor=0.165), "fd", True),
        (of(0.86, "higher", floor=0.8596), "precision", True),
        (of(0.79, "higher", floor=0.86), "precision", False),
        (of(1.0, "middle", floor=1.03), "density", False),
        (of(1.03, "middle", floor=1.03), "density", True),
        (of(0.02, error=0.02, floor=0.0), "kd", True),
        (of(0.05, error=0.02, floor=0.0), "kd", False),
        (of(0.99, "higher", error=0.003, floor=0.995), "agreement", True),
        (of(8, floor=4), "duplicates", True),  # within two standard deviations of a count of 8
        (of(17, floor=4), "duplicates", False),
        (of(10, "higher", floor=10), "modes", True),
        (of(3e6, "higher", low=2e6, high=5e6, floor=1.2e7), "support", False),
        (of(1e7, "higher", low=4e6, high=3e7, floor=1.2e7), "support", True),
        (of(None, "higher", low=5e5), "support", True),  # neither has a bound
        (of(None), "fd", False),
        (of(1.0), "fd", False),
    ],
)
def test_as_good_as_real_pictures(one: Metric, family: str, verdict: bool) -> None:
    assert as_real(one, family) is verdict


def test_the_headline_names_the_closest_with_the_floor() -> None:
    shares = {"precision": of(0.79, "higher", floor=0.86), "recall": of(0.78, "higher", floor=0.82)}
    worse = {"precision": of(0.5, "higher", floor=0.86), "recall": of(0.3, "higher", floor=0.82)}
    a, b = report_of(fd=of(6.15), **worse), report_of(fd=of(3.95), **shares)
    said = headline(["one", "a_b"], [a, b])
    assert said.startswith("**a\\_b** comes closest to real pictures: distance 3.95, against one 6.15.")
    assert "79% pass for real (real ones: 86%)" in said and "78% of the data's variety (real ones: 82%)" in said
    assert "**one**" in headline(["one"], [a]) and "against" not in headline(["one"], [a])
    assert "no value" in headline(["one"], [report_of(fd=of(None))])


@pytest.mark.parametrize(
    ("distance", "share", "suspect"), [(0.5, 0, True), (4.4, 4, False), (50.0, 50, False), (1000.0, 100, False)]
)
def test_nearness_is_a_share_of_real_pictures(distance: float, share: int, suspect: bool) -> None:
    said, copied = nearness(distance, np.random.default_rng(0).permutation(np.arange(1, 101)).tolist())
    assert copied is suspect
    assert (f"{share} of 100 real" in said) is not suspect


def test_markdown_sees_nothing_in_a_name() -> None:
    for name in ("a_b_c", "*x*", "runs/x[1]", "`y`", "$1$ and $2", ":material/home:", "~z~", "a\\b", "<b>", "a|b"):
        said = plain(name)
        assert re.sub(r"\\(.)", r"\1", said) == name  # what is shown
        assert not set(re.sub(r"\\.", "", said)) & set("*_[]`$:~<>|\\")  # what is left to have a meaning


# --- charts ---


def test_bars_stand_by_model_then_by_class_with_a_gap_between() -> None:
    names, classes = ["b", "a"], ["cat", "dog", "frog"]
    rows = [(model, label) for model in names for label in classes]
    at = places(pd.DataFrame(rows, columns=["model", "class"]), names, classes)
    steps = [b - a for a, b in pairwise(at)]
    assert steps[:2] == steps[3:] == [1, 1] and steps[2] > 1.5


def row(step: int, num: int = 2000, **values: float) -> dict[str, Any]:
    named = {f"{family}_mnistnet_2k": value for family, value in values.items()}
    about = {"step": step, "data": "mnist", "extractor": "mnistnet", "num": num, "seed": 0}
    return {**about, **named, "floor": dict.fromkeys(named, 0.5), "ceiling": dict.fromkeys(named, 9.0)}


def test_a_curve_is_of_one_protocol() -> None:
    rows = [row(10, fd=3.0), row(10, num=500, fd=4.0), row(20, fd=2.0)]
    assert [r["step"] for r in newest_protocol(rows)] == [10, 20]
    assert newest_protocol([]) == []
    assert values_of(rows[0]) == {"fd": 3.0}
    assert values_of(row(1, class_kl=1.0, fd=2.0), "floor") == {"class_kl": 0.5, "fd": 0.5}
