"""All figures of models side by side, with what real pictures and noise would score."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from ganlab.app.measure.words import METRICS, as_real, best, families, figure, filled, metric, number, plain
from ganlab.evaluate.report import Report

LEGEND = (
    "**Bold**: the best of the row, and what its error does not tell from it. :green[:material/check:]: as good as "
    "**real** pictures that the model never saw, the best that one can ask for. **Noise**: pictures with the right "
    "average and contrast, but no structure; anything should beat them."
)


NO_BREAK = "\u00a0"


def table(names: Sequence[str], reports: Sequence[Report]) -> None:
    """One row a metric, one column a model, then real pictures and noise."""
    st.table(figures(names, reports), border="horizontal", hide_index=True)
    st.caption(LEGEND)
    with st.expander("How each figure is computed", icon=":material/function:"):
        st.table(protocol(reports[0], families(reports)), border="horizontal", hide_index=True)
        for note in dict.fromkeys(note for report in reports for note in report.notes):
            st.caption(plain(note))


def figures(names: Sequence[str], reports: Sequence[Report]) -> pd.DataFrame:
    """The table, its cells in Markdown."""
    rows: list[list[str]] = []
    for family in families(reports):
        about = METRICS[family]
        metrics = [metric(report, family) for report in reports]
        known = next(m for m in metrics if m)
        winners = best(metrics, family)
        cells = []
        for i, one in enumerate(metrics):
            text = figure(one, family) if one else "–"
            text = f"**{text}**" if i in winners else text
            cells.append(f"{text} :green[:material/check:]" if one and as_real(one, family) else text)
        ends = [f":gray[{number(end, family)}]" for end in (known.floor, known.ceiling)]
        sentence = filled(about.plain, reports[0])
        title = about.title.replace(" ", NO_BREAK)  # so that the column keeps a width to read in
        rows.append([f"**{title}**  \n:small[:gray[{sentence}]]", *cells, *ends])
    return pd.DataFrame(rows, columns=["", *(f"**{plain(name)}**" for name in names), ":gray[Real]", ":gray[Noise]"])


def protocol(report: Report, shown: Sequence[str]) -> pd.DataFrame:
    """What an expert asks for: each metric's full name, how it is computed, and by whom."""
    full = {report.family(name): name for name in report.metrics}
    abouts = [(full[family], METRICS[family]) for family in shown if family in full]
    rows = [[about.title, f"`{name}`", about.expert, "[{}]({})".format(*about.paper)] for name, about in abouts]
    return pd.DataFrame(rows, columns=["Figure", "Full name", "What is computed", "Paper"])
