"""Evaluations on their way: which are there, which are being made, starting and stopping them.

An evaluation is a process of its own. Whatever this page knows of it, it reads from the evaluation's folder, so a page
that was closed, or another one, sees the same.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from ganlab import jobs
from ganlab.app.measure.words import plain, title
from ganlab.app.state import keep, open_model, workers
from ganlab.catalog import released
from ganlab.data import DATASETS, is_on_disk
from ganlab.errors import GanlabError
from ganlab.evaluate.report import Report, Status, folder_of, read_report, read_status
from ganlab.render import Model

LOOK = 1.0  # seconds between two looks at a worker
LOG = "worker.log"
State = Literal["done", "running", "waiting", "failed", "missing"]
BUSY = ("running", "waiting")


@dataclass(frozen=True)
class Evaluation:
    """One model's evaluation, in whatever state. `name` as the person chose it, `label` as the page calls it.

    `log`: the end of what a worker printed that died without a word.
    """

    name: str
    label: str
    model: Model
    folder: Path
    report: Report | None
    status: Status | None
    state: State
    log: str = ""


def look(name: str, num: int, seed: int) -> Evaluation:
    """How the evaluation of a model stands; computes nothing. Raises GanlabError if it can't be opened or measured."""
    model = open_model(name)
    folder = folder_of(model, num=num, seed=seed)
    report, status, process = read_report(folder), read_status(folder), _process(name, num, seed)
    log = ""
    state: State
    if report and report.has_pictures:
        state = "done"
    elif status and status.alive:
        state = "running"
    elif process:
        state = "waiting"  # until the worker has started, and is through with those before it
    elif status and status.state != "done":
        state = "failed"
    elif not status and (log := jobs.tail(folder / LOG, 5)):
        state = "failed"  # before its first sign of life
    else:
        state = "missing"
    return Evaluation(name, label_of(name, model), model, folder, report, status, state, log)


def label_of(name: str, model: Model) -> str:
    """A released model's name; of a run its folder's name and the step: digits@500."""
    run = name.rpartition("@")[0] or name
    return name if name in released() else f"{Path(run).name}@{model.facts.get('step', '?')}"


def _process(name: str, num: int, seed: int) -> subprocess.Popen | None:
    """A living worker of this app that was asked for this."""
    wanted = {"evaluate", name, str(num), str(seed)}
    return next((p for p in workers() if wanted <= set(_arguments(p)) and p.poll() is None), None)


def _arguments(process: subprocess.Popen) -> list[str]:
    return list(map(str, process.args)) if isinstance(process.args, list) else []


def start(evaluations: Sequence[Evaluation], num: int, seed: int) -> None:
    """Start workers: one a data set, as it measures all its models against the same pictures."""
    groups: dict[tuple, list[Evaluation]] = {}
    for one in evaluations:
        config = one.model.config
        groups.setdefault((config.data, config.classes, config.image_size, config.channels), []).append(one)
    for group in groups.values():
        keep(jobs.measure([one.name for one in group], group[0].folder / LOG, num=num, seed=seed))


# --- widgets ---------------------------------------------------------------------------------------------------------


def work(evaluations: Sequence[Evaluation], num: int, seed: int) -> None:
    """A card for those that are not there yet; it looks once a second while a worker is at one of them."""
    before = [one.state for one in evaluations]
    if all(state == "done" for state in before):
        return
    busy = any(state in BUSY for state in before)
    st.fragment(_card, run_every=LOOK if busy else None)([one.name for one in evaluations], num, seed, before)


def _card(names: list[str], num: int, seed: int, before: list[State]) -> None:
    try:
        evaluations = [look(name, num, seed) for name in names]
    except GanlabError:
        st.rerun()  # a model has gone meanwhile; the page says which
    if [one.state for one in evaluations] != before:
        st.rerun()
    with st.container(border=True):
        for one in evaluations:
            if one.state in BUSY:
                _progress(one)
            elif one.state == "failed":
                _failure(one)
        if open_ends := [one for one in evaluations if one.state in ("missing", "failed")]:
            _offer(open_ends, num, seed)


def _progress(one: Evaluation) -> None:
    status = one.status if one.status and one.status.alive else None
    doing = f"{status.doing[:1].upper()}{status.doing[1:]}" if status and status.doing else "Waiting to start"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.progress(min(max(status.share if status else 0.0, 0.0), 1.0), f"**{plain(one.label)}**: {doing}")
        stop = "Ends the worker, with those that wait for it. What it knows of the data is kept."
        if st.button("Stop", icon=":material/stop:", key=f"stop_{one.name}", help=stop, disabled=status is None):
            assert status is not None
            jobs.interrupt(status.pid)


def _failure(one: Evaluation) -> None:
    status = one.status
    if status and status.state == "failed":
        if status.error == "interrupted":
            st.info(f"**{plain(one.label)}**: stopped before it was through.", icon=":material/stop_circle:")
            return
        cause = status.error
    else:
        cause = one.log or "Its process vanished. Perhaps there was too little memory."
    st.error(f"**{plain(one.label)} could not be measured.** {plain(cause)}", icon=":material/error:")


def _offer(open_ends: Sequence[Evaluation], num: int, seed: int) -> None:
    names = ", ".join(f"**{plain(one.label)}**" for one in open_ends)
    st.markdown(f"{names}: not measured yet with {num:,} pictures from seed {seed}.")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Measure", type="primary", icon=":material/straighten:", key="measure"):
            try:
                start(open_ends, num, seed)
            except OSError as error:
                st.error(f"No worker could be started: {error}", icon=":material/error:")
                return
            st.rerun()
        each = " each" if len(open_ends) > 1 else ""
        st.caption(
            f"{_how_long(num)}{each}. You may leave this page meanwhile: it goes on.{_downloads(open_ends)}",
            width="content",
        )


def _how_long(num: int) -> str:
    return "About a minute" if num >= 5000 else "Some ten seconds"


def _downloads(evaluations: Sequence[Evaluation]) -> str:
    """That data have to be fetched first, if they are not on this disk."""
    names = {one.model.config.data for one in evaluations}
    missing = sorted(title(name) for name in names if name in DATASETS and not is_on_disk(name))
    return f" First to be downloaded: {' and '.join(missing)}." if missing else ""
