"""What goes wrong in a run, on its page: a card for each alarm with evidence and one thing to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from ganlab import jobs
from ganlab.alarm import STEPS, Alarm, ongoing
from ganlab.app.changes import changed_config, fork_with
from ganlab.app.controls import label, value_text
from ganlab.app.widgets import show
from ganlab.config import Config
from ganlab.errors import GanlabError
from ganlab.rundir import RunDir, Status

CHARTS = {"losses": "Loss", "verdicts": "How real D finds pictures", "score": "Score"}  # as the page calls them
Rows = Sequence[Mapping[str, Any]]


def alarm_badge(found: Sequence[Alarm], rows: Rows) -> None:
    """One word on how it goes, once there is something to judge by."""
    if not rows or rows[-1]["step"] <= STEPS:
        return
    if now := ongoing(found):
        titles = "; ".join(alarm.title for alarm in now)
        st.badge(
            f"{len(now)} alarm{'s' if len(now) > 1 else ''}",
            icon=":material/notifications:",
            color="orange",
            help=titles,
        )
    else:
        help = "Neither player wins outright, the pictures vary, and nothing swings or explodes."
        st.badge("No alarm", icon=":material/check:", color="gray", help=help)


def alarm_cards(
    run: RunDir, config: Config, status: Status, events: list[dict[str, Any]], rows: Rows, found: Sequence[Alarm]
) -> None:
    """A card for each alarm that has not ended."""
    for alarm in ongoing(found):
        with st.container(border=True, gap="small"):
            st.markdown(f":orange[:material/notifications:] **{alarm.title}**, since step {alarm.since:,}")
            st.markdown(alarm.why)
            if alarm.kind == "collapse":
                _variety(run, config, events, rows)
            else:
                st.caption(f"See the shaded part of the chart “{CHARTS[alarm.curve]}”.")
            _advice(run, config, status, events, alarm)


# --- evidence --------------------------------------------------------------------------------------------------------


def _variety(run: RunDir, config: Config, events: Rows, rows: Rows) -> None:
    """The pictures that are nearest to each other, and how often each class comes."""
    if pairs := run.pairs():
        st.caption("The closest pairs of 2,000 pictures, one above the other")
        pictures = tiles(pairs[-1], config)
        show(pictures, len(pictures) // 2, width=420, alt="Pairs of generated pictures that are nearly the same")
    shares = next((row["classes"] for row in reversed(rows) if row.get("classes")), None)
    known = next((event["classes"] for event in reversed(events) if event.get("classes")), None)
    if shares and known and len(shares) == len(known):
        _histogram(list(known), shares, list(known.values()))


def _histogram(names: list[str], generated: list[float], real: list[float]) -> None:
    """Share of each class among generated pictures, as bars, and in the data, as ticks."""
    table = pd.DataFrame({"class": names, "generated": generated, "data": real})
    base = alt.Chart(alt.NamedData("rows")).encode(
        x=alt.X("class:N", sort=None, title=None, axis=alt.Axis(labelAngle=0))
    )
    y = alt.Axis(format="%", tickCount=4)
    bars = base.mark_bar().encode(
        y=alt.Y("generated:Q", title=None, axis=y),
        tooltip=["class:N", alt.Tooltip("generated:Q", format=".1%"), alt.Tooltip("data:Q", format=".1%")],
    )
    ticks = base.mark_tick(thickness=2, color="#d9692b", width=22).encode(y=alt.Y("data:Q"))
    most = int(np.argmax(generated))
    st.caption("How often each class comes: bars, generated; ticks, in the data")
    st.vega_lite_chart(
        None,
        {**alt.layer(bars, ticks).to_dict(validate=False), "datasets": {"rows": table}},
        height=150,
        alt=f"Of the generated pictures {generated[most]:.0%} are of class {names[most]}, of the data {real[most]:.0%}",
    )


def tiles(file: Path, config: Config) -> np.ndarray:
    """The pictures of a grid of the run, row by row, uint8 (N, H, W, C)."""
    size, pixels = config.image_size, np.asarray(Image.open(file))
    height, width = pixels.shape[0] // size, pixels.shape[1] // size
    grid = pixels.reshape(height, size, width, size, config.channels)
    return grid.swapaxes(1, 2).reshape(-1, size, size, config.channels)


# --- one thing to try ------------------------------------------------------------------------------------------------


def _advice(run: RunDir, config: Config, status: Status, events: list[dict[str, Any]], alarm: Alarm) -> None:
    """What to try, with a button that does it: in the run itself while it trains, else in a fork of it."""
    changes = [event["step"] for event in events if event["event"] == "changed"]
    if status.alive and changes and status.step - changes[-1] < 2 * STEPS:
        st.caption(f"You changed something at step {changes[-1]:,}. Give it some hundred steps to show.")
        return
    now = changed_config(config, events)
    what = ", ".join(
        f"{label(name)} {value_text(name, getattr(now, name))} to {value_text(name, value)}"
        for name, value in alarm.changes.items()
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"One thing to try: {alarm.advice}", width="content")
        if not status.alive and not run.states():
            return
        act = "Change" if status.alive else "Fork with"
        if st.button(f"{act} {what}", key=f"try_{alarm.kind}_{run.name}", icon=":material/healing:"):
            try:
                _try(run, status, alarm)
            except (GanlabError, OSError) as error:
                st.error(str(error))


def _try(run: RunDir, status: Status, alarm: Alarm) -> None:
    if status.alive:
        jobs.change(run, alarm.changes)
        st.toast("Asked for. A dashed line marks the step at which it changes.")
    else:
        fork_with(run, status, alarm.changes)
