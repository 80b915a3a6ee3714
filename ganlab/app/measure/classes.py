"""How often each class comes, and how often a model obeys, as small charts side by side in one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from ganlab.app.charts import GREY
from ganlab.app.measure.words import plain
from ganlab.app.measure.work import Evaluation

MOST = 40  # classes; more have bars too thin to see
SHORT = 2  # letters of a class's name that fit under its bar, lying


def histograms(evaluations: Sequence[Evaluation]) -> None:
    """Each model's share of each class, with the data's as a thin line."""
    reports = [one.report for one in evaluations if one.report]
    classes = reports[0].classes
    if not classes or len(classes) > MOST:
        return
    rows = [
        {"model": one.name, "class": label, "share": fake, "real": real}
        for one in evaluations
        if one.report
        for label, fake, real in zip(classes, *(one.report.histogram[k] for k in ("fake", "real")), strict=True)
    ]
    table = pd.DataFrame(rows)
    worst = table.loc[(table["share"] - table["real"]).abs().idxmax()]
    takeaway = (
        f"{plain(worst['model'])} draws {_often(worst['share'], worst['real'])} class {plain(worst['class'])}: "
        f"{worst['share']:.1%} of its pictures, {worst['real']:.1%} of the data."
    )
    st.markdown(f"The widest gap: {takeaway}")
    _draw(table, _names(evaluations), classes, "Share of pictures", takeaway)


def obedience(evaluations: Sequence[Evaluation]) -> None:
    """Of conditional models: how often each class is drawn when it is asked for."""
    asked = [one for one in evaluations if one.report and one.report.agreement_by_class]
    rows = [
        {"model": one.name, "class": label, "share": share}
        for one in asked
        if one.report and one.report.agreement_by_class
        for label, share in zip(one.model.classes, one.report.agreement_by_class, strict=True)
        if share is not None
    ]
    if not rows or len(asked[0].model.classes) > MOST:
        return
    table = pd.DataFrame(rows)
    worst = table.loc[table["share"].idxmin()]
    takeaway = (
        f"{plain(worst['model'])} obeys least when asked for {plain(worst['class'])}: {worst['share']:.1%} of the time."
    )
    st.markdown(f"**Asked for a class, how often it is drawn.** {takeaway}")
    _draw(table, _names(asked), asked[0].model.classes, "Drawn as asked", takeaway)


def _often(share: float, real: float) -> str:
    return "too often" if share > real else "too seldom"


def _names(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    return tuple(one.name for one in evaluations)


def _draw(table: pd.DataFrame, names: tuple[str, ...], classes: Sequence[str], axis: str, takeaway: str) -> None:
    spec = _spec(names, tuple(classes), axis, "real" in table)
    lying = max(map(len, classes)) <= SHORT
    st.vega_lite_chart(None, {**spec, "datasets": {"rows": table}}, height=190 if lying else 250, alt=takeaway)


@lru_cache(maxsize=16)
def _spec(names: tuple[str, ...], classes: tuple[str, ...], axis: str, with_real: bool) -> dict[str, Any]:
    """A band for each model, in it a bar for each class: one chart, which grows and shrinks with the page."""
    base = alt.Chart(alt.NamedData("rows")).encode(
        x=alt.X(
            "model:N",
            sort=list(names),
            title=None,
            scale=alt.Scale(paddingInner=0.12, paddingOuter=0.02),
            axis=alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False, labelFontWeight="bold", labelLimit=200),
        ),
        xOffset=alt.XOffset("class:N", sort=list(classes), scale=alt.Scale(paddingInner=0.15)),
    )
    share = alt.Y("share:Q", title=axis, axis=alt.Axis(format="%", tickCount=4, grid=True, domain=False, ticks=False))
    hints = [alt.Tooltip("model:N"), alt.Tooltip("class:N"), alt.Tooltip("share:Q", format=".1%", title="generated")]
    if with_real:
        hints.append(alt.Tooltip("real:Q", format=".1%", title="real"))
    bars = base.mark_bar().encode(y=share, color=alt.Color("model:N", sort=list(names), legend=None), tooltip=hints)
    lying = max(map(len, classes)) <= SHORT
    under = (
        base.mark_text(baseline="top", dy=4, fontSize=10, color=GREY)
        if lying
        else base.mark_text(angle=270, align="right", baseline="middle", dx=-4, fontSize=10, color=GREY, limit=62)
    )
    layers = [bars, under.encode(y=alt.datum(0), text="class:N")]
    if with_real:
        layers.insert(1, base.mark_tick(thickness=2, color=GREY, bandSize=1).encode(y="real:Q", tooltip=hints))
    spec = alt.layer(*layers).to_dict(validate=False)
    spec["padding"] = {"left": 0, "top": 0, "right": 4, "bottom": 16 if lying else 68}
    return spec
