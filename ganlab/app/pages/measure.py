"""Measure: how good models are, side by side, and what the figures mean. Long work is done by processes apart."""

from __future__ import annotations

import json
from collections.abc import Sequence

import streamlit as st

from ganlab import catalog
from ganlab.app import widgets
from ganlab.app.measure.classes import histograms, obedience
from ganlab.app.measure.gallery import near_copies, pictures_of, walls
from ganlab.app.measure.table import table
from ganlab.app.measure.timeline import over_time
from ganlab.app.measure.words import headline, plain, title
from ganlab.app.measure.work import Evaluation, look, work
from ganlab.app.state import keep, model_names, runs
from ganlab.errors import GanlabError
from ganlab.evaluate.report import NUM
from ganlab.rundir import RunDir

FULL = 1040  # width of the page
MOST = 4  # models side by side
FIRST = ("mnist-sn", "mnist-mlp")  # what the page opens with
COUNTS = (2_000, NUM)  # quick, standard
STEPS = 8  # of each run that are offered; any other can be typed
ABOUT_COUNTS = (
    "How many generated pictures the figures are of. 2,000: quick. 10,000: the standard, with smaller errors. Figures "
    "of different counts can't be compared, as distances fall when the count grows."
)
APART = (
    "These models learnt from different data. Figures can be compared only against the same real pictures, seen "
    "through the same network, so each data set has a table of its own."
)


def page() -> None:
    """The page: choose models, then see how good they are."""
    keep(None)
    with st.container(horizontal_alignment="center"), st.container(width=FULL):
        released = catalog.released()
        if not model_names():
            widgets.empty("Nothing to measure yet", "Train a model for a moment, and see here how good it is.")
            return
        st.header("How good are they?", anchor=False)
        names, num, seed = _choose(released)
        if not names:
            st.info("Choose a model above, and its figures appear here.", icon=":material/straighten:")
            return
        found = _look(names, num, seed)
        work(found, num, seed)
        measured = [one for one in found if one.report]
        groups = _by_data(measured)
        if len(groups) > 1:
            st.caption(APART)
        for place, group in enumerate(groups):
            _compare(group, str(place), several=len(groups) > 1)
        over_time(_runs_of(names))


def _choose(released: Sequence[str]) -> tuple[list[str], int, int]:
    """Widgets for models, how many pictures, and from which seed; all in the address bar."""
    default = [name for name in FIRST if name in released] or model_names()[:1]
    with st.container(horizontal=True):
        with st.container(width=470):
            names = st.multiselect(
                "Models",
                _options(released),
                default,
                key="models",
                max_selections=MOST,
                accept_new_options=True,
                bind="query-params",
                wrap=True,
                placeholder="Choose up to four",
                help="Released models, then your runs: RUN is its newest snapshot, RUN@best the one with the best "
                "score, RUN@STEP that of a step. Any step can be typed.",
            )
        with st.container(width=190):
            num = widgets.segments("Pictures of each", COUNTS, NUM, "samples", help=ABOUT_COUNTS)
        with st.container(width=130):
            about = "The first of the seeds whose pictures are measured. Another one shows how much is chance."
            seed = widgets.seed_input("First seed", "from", 0, about)
    return list(dict.fromkeys(names)), num, seed


def _options(released: Sequence[str]) -> list[str]:
    """Released models, then of each run the newest snapshot, the best, and some on the way."""
    options = list(released)
    for run in runs():
        steps = [int(file.stem) for file in run.snapshots()]
        if steps:
            best = ["@best"] if _has_best(str(run.path), _changed(run)) else []
            some = steps[:: -max(1, -(-len(steps) // STEPS))]
            options += [f"{run.path}{end}" for end in ["", *best, *(f"@{step}" for step in some)]]
    return options


def _changed(run: RunDir) -> int:
    """When its metrics changed last; 0 without any."""
    file = run.path / "metrics.jsonl"
    return file.stat().st_mtime_ns if file.exists() else 0


@st.cache_data(max_entries=256, show_spinner=False)
def _has_best(path: str, changed: int) -> bool:
    return RunDir(path).best_step() is not None


def _look(names: Sequence[str], num: int, seed: int) -> list[Evaluation]:
    """How it stands with each; those that can't be measured are said so, and left out."""
    found = []
    for name in names:
        try:
            found.append(look(name, num, seed))
        except GanlabError as error:
            st.error(f"**{plain(name)} can't be measured.** {plain(str(error))}", icon=":material/error:")
    return found


def _by_data(measured: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Those that were held against the same real pictures through the same network, together."""
    groups: dict[str, list[Evaluation]] = {}
    for one in measured:
        assert one.report is not None
        groups.setdefault(json.dumps([one.report.data, one.report.extractor["sha256"]]), []).append(one)
    return list(groups.values())


def _compare(group: Sequence[Evaluation], key: str, several: bool) -> None:
    """One data set: the result in words, pictures, figures, classes, near-copies."""
    names, reports = [one.label for one in group], [one.report for one in group if one.report]
    if several:
        st.subheader(title(reports[0].data["name"]), anchor=False)
    st.markdown(headline(names, reports))
    shown = pictures_of(group)
    if shown:
        walls(shown, key)
    with st.container(border=True):
        st.markdown(f"**All figures**, against {plain(title(reports[0].data['name']))}")
        table(names, reports)
    if any(report.classes for report in reports):
        with st.container(border=True):
            st.markdown(
                "**How often each class comes.** Bars: generated; the thin line: in the data.",
                help=f"As {reports[0].extractor['name']} sees them.",
            )
            histograms(group)
            obedience(group)
    if shown:
        with st.container(border=True):
            near_copies(shown)


def _runs_of(names: Sequence[str]) -> list[RunDir]:
    """The runs among the chosen models, each once."""
    paths = [name.rpartition("@")[0] if "@" in name else name for name in names if name not in catalog.released()]
    return [run for run in map(RunDir, dict.fromkeys(paths)) if run.exists]
