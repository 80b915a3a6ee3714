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
GAP, WIDTH = 1.2, 0.84  # between models, and of a bar, where a class takes 1
SHORT = 2  # letters of a class's name that fit under its bar, lying


def histograms(evaluations: Sequence[Evaluation]) -> None:
    """Each model's share of each class, with the data's as a thin line."""
    reports = [one.report for one in evaluations if one.report]
    classes = reports[0].classes
    if not classes or len(classes) > MOST:
        return
    rows = [
        {"model": one.label, "class": label, "share": fake, "real": real}
        for one in evaluations
        if one.report
        for label, fake, real in zip(classes, *(one.report.histogram[k] for k in ("fake", "real")), strict=True)
    ]
    table = pd.DataFrame(rows)
    worst = table.loc[(table["share"] - table["real"]).abs().idxmax()]
    takeaway = (
        f"{plain(worst['model'])} draws class {plain(worst['class'])} {_often(worst['share'], worst['real'])}: "
        f"{worst['share']:.1%} of its pictures, {worst['real']:.1%} of the data."
    )
    st.markdown(f"The widest gap: {takeaway}")
    _draw(table, _names(evaluations), classes, "Share of pictures", takeaway)


def obedience(evaluations: Sequence[Evaluation]) -> None:
    """Of conditional models: how often each class is drawn when it is asked for."""
    asked = [one for one in evaluations if one.report and one.report.agreement_by_class]
    rows = [
        {"model": one.label, "class": label, "share": share}
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
    return tuple(one.label for one in evaluations)


def _draw(table: pd.DataFrame, names: tuple[str, ...], classes: Sequence[str], axis: str, takeaway: str) -> None:
    lying = max(map(len, classes)) <= SHORT
    table = table.assign(place=places(table, names, classes))
    table["left"], table["right"] = table["place"] - WIDTH / 2, table["place"] + WIDTH / 2
    middle = [(len(classes) + GAP) * i + (len(classes) - 1) / 2 for i in range(len(names))]
    heads = pd.DataFrame({"model": names, "place": middle})
    spec = _spec(names, axis, "real" in table, lying)
    tables = {"rows": table, "heads": heads}
    st.vega_lite_chart(None, {**spec, "datasets": tables}, height=190 if lying else 250, alt=takeaway)


def places(table: pd.DataFrame, names: Sequence[str], classes: Sequence[str]) -> list[float]:
    """Where each row's bar stands: the classes of a model beside each other, then a gap, then the next model."""
    rows = zip(table["model"], table["class"], strict=True)
    return [(len(classes) + GAP) * names.index(model) + classes.index(label) for model, label in rows]


@lru_cache(maxsize=16)
def _spec(names: tuple[str, ...], axis: str, with_real: bool, lying: bool) -> dict[str, Any]:
    """Places are numbers, so one chart holds all models, and grows and shrinks with the page."""
    base, heads = alt.Chart(alt.NamedData("rows")), alt.Chart(alt.NamedData("heads"))
    place = alt.X("place:Q", axis=None, scale=alt.Scale(nice=False, zero=False, padding=4))
    left = alt.X("left:Q", axis=None)
    share = alt.Y("share:Q", title=axis, axis=alt.Axis(format="%", tickCount=4, grid=True, domain=False, ticks=False))
    hints = [alt.Tooltip("model:N"), alt.Tooltip("class:N"), alt.Tooltip("share:Q", format=".1%", title="generated")]
    if with_real:
        hints.append(alt.Tooltip("real:Q", format=".1%", title="real"))
    color = alt.Color("model:N", sort=list(names), legend=None)
    layers = [base.mark_rect().encode(x=left, x2="right:Q", y=share, y2=alt.datum(0), color=color, tooltip=hints)]
    if with_real:
        line = base.mark_rule(strokeWidth=2, color=GREY)
        layers.append(line.encode(x=left, x2="right:Q", y="real:Q", tooltip=hints))
    under = (
        base.mark_text(baseline="top", dy=5, fontSize=11, color=GREY)
        if lying
        else base.mark_text(angle=270, align="right", baseline="middle", dx=-5, fontSize=11, color=GREY, limit=64)
    )
    layers.append(under.encode(x=place, y=alt.datum(0), text="class:N"))
    title = heads.mark_text(baseline="bottom", dy=-8, fontSize=12, fontWeight="bold", color=GREY)
    layers.append(title.encode(x=place, y=alt.value(0), text="model:N"))
    spec = alt.layer(*layers).to_dict(validate=False)
    spec["padding"] = {"left": 0, "top": 20, "right": 4, "bottom": 18 if lying else 70}
    return spec
