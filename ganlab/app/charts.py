"""Live charts: thinned to what a screen can show, G and D told apart by dash as well as by colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from ganlab.alarm import Alarm
from ganlab.app.controls import label, value_text
from ganlab.rundir import RunDir

GREY, ORANGE = "#85828f", "#e08a1e"  # seen in light and in dark
BUCKETS = 120  # each keeps its smallest and largest value of every line: at most some 500 points
LOSSES = {"loss_g": "Generator", "loss_d": "Discriminator"}
VERDICTS = {"d_fake": "on generated pictures, D(G(z))", "d_real": "on real pictures, D(x)"}

Marks = tuple[tuple[int, str], ...]  # (step, what happened there)
Bands = tuple[tuple[int, int, str], ...]  # (first step, last step, what was wrong)
Rows = Sequence[Mapping[str, Any]]


def draw_losses(rows: list[dict[str, Any]], events: list[dict[str, Any]], alarms: Sequence[Alarm] = ()) -> None:
    """Both losses over steps, with marks where hyperparameters were changed, and shades where an alarm is on."""
    last = rows[-1]
    alt_text = f"Losses at step {last['step']}: generator {last['loss_g']:.2f}, discriminator {last['loss_d']:.2f}."
    _draw(rows, events, tuple(LOSSES.items()), None, alt_text, bands_of(alarms, "losses", last["step"]))


def draw_verdicts(rows: list[dict[str, Any]], events: list[dict[str, Any]], alarms: Sequence[Alarm] = ()) -> None:
    """How real D finds real and generated pictures, 0 to 1, over steps."""
    last = rows[-1]
    alt_text = f"At step {last['step']} D gives real pictures {last['d_real']:.2f} and generated {last['d_fake']:.2f}."
    bands = bands_of(alarms, "verdicts", last["step"])
    _draw(rows, events, tuple(VERDICTS.items()), (0.0, 1.0), alt_text, bands)


def draw_scores(
    scores: Rows, best: Mapping[str, Any], events: list[dict[str, Any]], alarms: Sequence[Alarm] = ()
) -> None:
    """The generator's score over steps, with a ring around the best one."""
    alt_text = f"The best of {len(scores)} scores is {best['score']:.3g}, at step {best['step']}."
    table = pd.DataFrame(thin(scores, ["score"]), columns=["step", "score"])
    ringed = pd.DataFrame([best], columns=["step", "score"])
    bands = bands_of(alarms, "score", scores[-1]["step"])
    _show(_score_spec(bool(marks_of(events)), bool(bands)), 180, alt_text, events, bands, rows=table, best=ringed)


def marks_of(events: list[dict[str, Any]]) -> Marks:
    """What happened to a run at which step, in words, for a line on its charts."""
    words: dict[int, list[str]] = {}
    for event in events:
        if event["event"] == "changed":
            changes = event["changes"].items()
            said = [f"{label(name)}: {value_text(name, a)} to {value_text(name, b)}" for name, (a, b) in changes]
        elif event["event"] == "rolled back":
            said = [f"went back here from step {event['lost_step']:,}"]
        elif event["event"] == "forked":
            said = [f"forked from {Path(event['parent']).name}"]
        else:
            continue
        words.setdefault(event["step"], []).extend(said)
    return tuple((step, "; ".join(said)) for step, said in sorted(words.items()))


def bands_of(alarms: Sequence[Alarm], curve: str, last: int) -> Bands:
    """The stretches of alarms that a chart shows, from the first step to the last that there is, in words."""
    return tuple((a.since, last if a.until is None else a.until, a.title) for a in alarms if a.curve == curve)


def _draw(
    rows: list[dict[str, Any]],
    events: list[dict[str, Any]],
    lines: tuple[tuple[str, str], ...],
    domain: tuple[float, float] | None,
    alt_text: str,
    bands: Bands,
) -> None:
    table = pd.DataFrame(thin(rows, [name for name, _ in lines]), columns=["step", *(name for name, _ in lines)])
    table = table.rename(columns=dict(lines))
    labels = tuple(who for _, who in lines)
    spec = _spec(labels, domain, bool(marks_of(events)), bool(bands), points=len(table) < 30)
    _show(spec, 230, alt_text, events, bands, rows=table)


def _show(
    spec: dict[str, Any], height: int, alt_text: str, events: list[dict[str, Any]], bands: Bands, **tables: pd.DataFrame
) -> None:
    """A chart with its data, each table by the name that the chart knows it by."""
    tables["marks"] = pd.DataFrame(marks_of(events), columns=["step", "text"])
    tables["bands"] = pd.DataFrame(bands, columns=["step", "until", "text"])
    if bands:
        alt_text += " Alarms: " + "; ".join(f"{text}, steps {start} to {end}" for start, end, text in bands) + "."
    st.vega_lite_chart(None, {**spec, "datasets": tables}, height=height, alt=alt_text)


@lru_cache(maxsize=32)
def _spec(
    labels: tuple[str, ...], domain: tuple[float, float] | None, marks: bool, bands: bool, points: bool
) -> dict[str, Any]:
    """A chart without data, made once: Altair's own checks cost more than drawing."""
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    base = alt.Chart(alt.NamedData("rows")).transform_fold(list(labels), as_=["who", "value"])
    chart = base.mark_line(strokeWidth=1.75, point=points).encode(
        x=_steps(),
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
    return _finished([chart], marks, bands)


@lru_cache
def _score_spec(marks: bool, bands: bool) -> dict[str, Any]:
    rows, best = alt.Chart(alt.NamedData("rows")), alt.Chart(alt.NamedData("best"))
    x, y = _steps(), alt.Y("score:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=".4~r"))
    tooltip = [alt.Tooltip("step:Q", format=","), alt.Tooltip("score:Q", format=".3g")]
    line = rows.mark_line(strokeWidth=1.75, point=True).encode(x=x, y=y, tooltip=tooltip)
    ring = best.mark_point(size=140, strokeWidth=2).encode(x=x, y=y, tooltip=tooltip)
    return _finished([line, ring], marks, bands)


def _steps() -> alt.X:
    return alt.X("step:Q", title="Step", axis=alt.Axis(tickMinStep=1, tickCount=10, format="~s", grid=False))


def _finished(layers: list[alt.Chart], marks: bool, bands: bool) -> dict[str, Any]:
    """The layers, perhaps a vertical line wherever something happened to the run, perhaps shades behind all."""
    if marks:
        rule = alt.Chart(alt.NamedData("marks")).mark_rule(strokeDash=[2, 3], color=GREY)
        tooltip = [alt.Tooltip("step:Q", format=","), alt.Tooltip("text:N", title="here")]
        layers = [*layers, rule.encode(x=_steps(), tooltip=tooltip)]
    if bands:
        shade = alt.Chart(alt.NamedData("bands")).mark_rect(color=ORANGE, opacity=0.13)
        layers = [shade.encode(x=_steps(), x2="until:Q", tooltip=[alt.Tooltip("text:N", title="alarm")]), *layers]
    spec = alt.layer(*layers).to_dict(validate=False)
    spec["padding"] = {"left": 0, "top": 0, "right": 8, "bottom": 0}
    return spec


def thin(rows: Sequence[Mapping[str, Any]], names: Sequence[str], buckets: int = BUCKETS) -> list[Mapping[str, Any]]:
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
