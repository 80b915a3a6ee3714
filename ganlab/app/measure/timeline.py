"""How good runs were over training time: from what `evaluate --all-snapshots` wrote, or else from their scores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from ganlab import jobs
from ganlab.app.charts import GREY, thin
from ganlab.app.measure.words import METRICS, SHARES, plain
from ganlab.app.state import keep, runs_folder, workers
from ganlab.app.widgets import link_to_train
from ganlab.evaluate.timeline import NUM, read_timeline
from ganlab.rundir import RunDir, scored

LOOK = 2.0  # seconds
OFFERED = ("fd", "precision", "recall", "coverage", "agreement", "class_kl", "duplicates")
Rows = list[dict[str, Any]]


def over_time(runs: Sequence[RunDir]) -> None:
    """A card with a curve for each run; it looks every two seconds while a worker measures one of them."""
    if runs:
        busy = [_measuring(run) for run in runs]
        st.fragment(_card, run_every=LOOK if any(busy) else None)(list(runs), busy)


def _card(runs: list[RunDir], before: list[bool]) -> None:
    busy = [_measuring(run) for run in runs]
    if busy != before:
        st.rerun()
    with st.container(border=True):
        measured = {run.name: rows for run in runs if (rows := newest_protocol(read_timeline(run)))}
        if measured:
            _measured(measured)
        else:
            _scores(runs)
        for run, at_work in zip(runs, busy, strict=True):
            _offer(run, at_work)


def newest_protocol(rows: Rows) -> Rows:
    """The lines that were measured as the last one was: the same data, network, number and seed."""

    def protocol(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("data", "extractor", "num", "seed"))

    return [row for row in rows if protocol(row) == protocol(rows[-1])]


def values_of(row: dict[str, Any], key: str = "") -> dict[str, float | None]:
    """The figures of a line by family, or with `key` those of its floor or ceiling."""
    return {name.split("_" + row["extractor"])[0]: (row[key][name] if key else row[name]) for name in row["floor"]}


def _measured(measured: dict[str, Rows]) -> None:
    there = {family for rows in measured.values() for family in values_of(rows[-1])}
    options = [family for family in OFFERED if family in there]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Over training time**", help="Every snapshot, measured with fewer pictures.", width="content")
        st.space("stretch")
        chosen = st.selectbox(
            "Metric",
            options,
            format_func=lambda name: METRICS[name].title,
            key="over_time",
            label_visibility="collapsed",
            width=260,
        )
    family = options[0] if chosen is None else chosen
    points = [
        {"run": name, "step": row["step"], "value": values_of(row)[family]}
        for name, rows in measured.items()
        for row in rows
        if values_of(row).get(family) is not None
    ]
    last = next(iter(measured.values()))[-1]
    floor = values_of(last, "floor").get(family)
    words = f"{METRICS[family].title} over steps"
    _draw(points, tuple(measured), floor, family in SHARES, words)
    grey = "; dashed: what real pictures score" if floor is not None else ""
    st.caption(f"{last['num']:,} pictures of each snapshot{grey}. {METRICS[family].plain.split(':')[0].rstrip('.')}.")


def _scores(runs: Sequence[RunDir]) -> None:
    """What the training itself noted, where it was asked for scores."""
    st.markdown("**Over training time**")
    with_scores = {run.name: scored(run.read_metrics()[0]) for run in runs}
    points = [
        {"run": name, "step": row["step"], "value": row["score"]}
        for name, rows in with_scores.items()
        for row in thin(rows, ["score"])
    ]
    if not points:
        st.caption("A curve appears here once the snapshots of a run are measured: when was it best?")
        return
    names = sorted({row["metric"] for rows in with_scores.values() for row in rows})
    _draw(points, tuple(with_scores), None, False, "Score over steps")
    st.caption(f"Scores that the training noted ({', '.join(names)}); lower is better.")


def _offer(run: RunDir, at_work: bool) -> None:
    num, measured = len(run.snapshots()), len(newest_protocol(read_timeline(run)))
    if at_work:
        text = f"**{plain(run.name)}**: {measured} of {num} snapshots measured"
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.progress(min(measured / max(num, 1), 1.0), text)
            if st.button("Stop", icon=":material/stop:", key=f"stop_time_{run.name}"):
                for process in _workers(run):
                    jobs.interrupt(process.pid)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if measured < num:
            label = f"Measure all {num} snapshots of {run.name}"
            about = f"{NUM:,} pictures each. You may leave meanwhile; those that are measured already are kept."
            if st.button(label, icon=":material/timeline:", key=f"time_{run.name}", help=about):
                keep(jobs.measure([str(run.path)], run.path / "evaluate.log", num=NUM, all_snapshots=True))
                st.rerun()
        if run.path.parent == runs_folder():
            link_to_train(run)


def _measuring(run: RunDir) -> bool:
    return bool(_workers(run))


def _workers(run: RunDir) -> list[Any]:
    wanted = {"evaluate", "--all-snapshots", str(run.path)}
    return [p for p in workers() if isinstance(p.args, list) and wanted <= set(map(str, p.args)) and p.poll() is None]


# --- chart -----------------------------------------------------------------------------------------------------------


def _draw(points: Rows, names: tuple[str, ...], floor: float | None, percent: bool, words: str) -> None:
    table = pd.DataFrame(points, columns=["run", "step", "value"])
    last = table.iloc[-1]
    spec = _spec(names, floor is not None, percent)
    tables = {"rows": table, "floor": pd.DataFrame({"value": [] if floor is None else [floor]})}
    st.vega_lite_chart(
        None,
        {**spec, "datasets": tables},
        height=230,
        alt=f"{words}: {last['value']:.3g} at step {last['step']} of {last['run']}.",
    )


@lru_cache(maxsize=32)
def _spec(names: tuple[str, ...], floor: bool, percent: bool) -> dict[str, Any]:
    format = ".1%" if percent else ".3g"
    y = alt.Y(
        "value:Q",
        title=None,
        axis=alt.Axis(tickCount=5, format="%" if percent else alt.Undefined),
        scale=alt.Scale(zero=False),
    )
    legend = alt.Legend(orient="top", title=None, padding=0, offset=4, symbolType="stroke") if len(names) > 1 else None
    tooltip = [alt.Tooltip("run:N"), alt.Tooltip("step:Q", format=","), alt.Tooltip("value:Q", format=format)]
    line = alt.Chart(alt.NamedData("rows")).mark_line(strokeWidth=1.75, point=True).encode(
        x=alt.X("step:Q", title="Step", axis=alt.Axis(tickMinStep=1, tickCount=8, format="~s", grid=False)),
        y=y,
        color=alt.Color("run:N", sort=list(names), legend=legend),
        strokeDash=alt.StrokeDash("run:N", sort=list(names), legend=None),
        tooltip=tooltip,
    )  # fmt: skip
    layers = [line]
    if floor:
        rule = alt.Chart(alt.NamedData("floor")).mark_rule(strokeDash=[4, 4], color=GREY)
        layers.append(rule.encode(y=y, tooltip=[alt.Tooltip("value:Q", format=format, title="real pictures")]))
    spec = alt.layer(*layers).to_dict(validate=False)
    spec["padding"] = {"left": 0, "top": 0, "right": 8, "bottom": 0}
    return spec
