"""Live charts: thinned to what a screen can show, G and D told apart by dash as well as by colour."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from ganlab.rundir import RunDir

BUCKETS = 120  # each keeps its smallest and largest value of every line: at most some 500 points
LOSSES = {"loss_g": "Generator", "loss_d": "Discriminator"}
VERDICTS = {"d_fake": "on generated pictures, D(G(z))", "d_real": "on real pictures, D(x)"}


def draw_losses(rows: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """Both losses over steps, with marks where hyperparameters were changed."""
    last = rows[-1]
    alt_text = f"Losses at step {last['step']}: generator {last['loss_g']:.2f}, discriminator {last['loss_d']:.2f}."
    _draw(rows, events, tuple(LOSSES.items()), None, alt_text)


def draw_verdicts(rows: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """How real D finds real and generated pictures, 0 to 1, over steps."""
    last = rows[-1]
    alt_text = f"At step {last['step']} D gives real pictures {last['d_real']:.2f} and generated {last['d_fake']:.2f}."
    _draw(rows, events, tuple(VERDICTS.items()), (0.0, 1.0), alt_text)


def _draw(
    rows: list[dict[str, Any]],
    events: list[dict[str, Any]],
    lines: tuple[tuple[str, str], ...],
    domain: tuple[float, float] | None,
    alt_text: str,
) -> None:
    table = pd.DataFrame(thin(rows, [name for name, _ in lines]), columns=["step", *(name for name, _ in lines)])
    table = table.rename(columns=dict(lines))
    changes = tuple(sorted({e["step"] for e in events if e["event"] == "changed"}))
    spec = _spec(tuple(label for _, label in lines), domain, changes, points=len(table) < 30)
    st.vega_lite_chart(table, spec, height=230, alt=alt_text)


@lru_cache(maxsize=32)
def _spec(
    labels: tuple[str, ...], domain: tuple[float, float] | None, changes: tuple[int, ...], points: bool
) -> dict[str, Any]:
    """A chart without data, made once: Altair's own checks cost more than drawing."""
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    base = alt.Chart().transform_fold(list(labels), as_=["who", "value"])
    chart = base.mark_line(strokeWidth=1.75, point=points).encode(
        x=alt.X("step:Q", title="Step", axis=alt.Axis(tickMinStep=1, format="~s", grid=False)),
        y=alt.Y("value:Q", title=None, scale=scale),
        color=alt.Color(
            "who:N",
            title=None,
            sort=list(labels),
            legend=alt.Legend(orient="top", labelLimit=300, offset=4, padding=0, symbolType="stroke"),
        ),
        strokeDash=alt.StrokeDash("who:N", sort=list(labels), legend=None),
        tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("who:N", title="line"), alt.Tooltip("value:Q", format=".3f")],
    )
    if changes:
        marks = alt.Chart(alt.InlineData([{"change": step} for step in changes]))
        rules = marks.mark_rule(strokeDash=[2, 3], opacity=0.6).encode(
            x="change:Q", tooltip=[alt.Tooltip("change:Q", title="hyperparameters changed at step")]
        )
        chart = alt.layer(chart, rules)
    spec = chart.to_dict(validate=False)
    spec["padding"] = {"left": 0, "top": 0, "right": 8, "bottom": 0}
    return spec


def thin(rows: Sequence[dict[str, Any]], names: Sequence[str], buckets: int = BUCKETS) -> list[dict[str, Any]]:
    """At most `buckets` x 2 x len(names) rows, with every bucket's smallest and largest value of each name kept."""
    if len(rows) <= 2 * buckets * len(names):
        return list(rows)
    values = np.array([[np.nan if row[name] is None else row[name] for name in names] for row in rows], float)
    keep = {0, len(rows) - 1}
    for part in np.array_split(np.arange(len(rows)), buckets):
        for column in values[part].T:
            finite = np.where(np.isnan(column), 0, column)
            keep |= {int(part[finite.argmin()]), int(part[finite.argmax()])}
    return [rows[i] for i in sorted(keep)]


class MetricsReader:
    """The metrics of one run, read on from where the last look ended."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.offset = 0

    def read(self, run: RunDir) -> list[dict[str, Any]]:
        """All lines so far. A run that was resumed from an earlier step is read anew."""
        new, offset = run.read_metrics(self.offset)
        rows = self.rows + new
        if offset < self.offset or any(a["step"] >= b["step"] for a, b in zip(rows, rows[1:], strict=False)):
            rows, offset = run.read_metrics()
        self.rows, self.offset = rows, offset
        return rows
