"""Other hyperparameters for a run that exists: while it trains, or in a fork of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ganlab import jobs
from ganlab.app.controls import hyperparameters, live_fields, problem_of
from ganlab.app.state import free_name, keep, problem_with_name, runs_folder
from ganlab.config import Config, to_dict
from ganlab.errors import GanlabError
from ganlab.fork import fork
from ganlab.rundir import RunDir, Status, apply_change

WIDTH = 540  # of a popover's content, in pixels
RATES = ("learning_rate", "d_learning_rate")
MAX_STEPS = 100_000_000

Events = Sequence[dict[str, Any]]


def change_popover(run: RunDir, config: Config, events: Events) -> None:
    """Widgets for what may change while it trains, at the values that were asked for last."""
    config = changed_config(config, events)
    with (
        st.popover("Change", icon=":material/tune:", help="Hyperparameters that may change while it trains"),
        st.container(width=WIDTH),
    ):
        values = _live_widgets(live_fields(config), config, f"live_{run.name}")
        changes = {name: value for name, value in values.items() if value != getattr(config, name)}
        if problem := problem_of(**{**to_dict(config), **changes}):
            st.warning(problem, icon=":material/block:")
        if st.button("Apply", type="primary", disabled=not changes or problem is not None, key=f"apply_{run.name}"):
            jobs.change(run, changes)
            st.toast("Asked for. A dashed line marks the step at which it changes.")


def fork_popover(run: RunDir, config: Config, status: Status, events: Events) -> None:
    """A form for a new run that goes on from a saved state of this one, with other values."""
    steps = [int(file.stem) for file in run.states()]
    if not steps:
        return
    with (
        st.popover("Fork", icon=":material/fork_right:", help="A new run that goes on from a saved state of this one"),
        st.container(width=WIDTH),
    ):
        st.markdown(
            "A new run goes on from a saved state of this one, with what you change here. This one stays as it is."
        )
        at = _choose_state(run, steps)
        left, right = st.columns(2, gap="medium")
        name = left.text_input("Name of the new run", _free_fork_name(run), max_chars=60)
        until = right.number_input(
            "Train until step", at + 1, MAX_STEPS, _length(at, status), key=f"fork_until_{run.name}_{at}"
        )
        values = _fork_widgets(run, changed_config(config, [e for e in events if e["step"] <= at]))
        if until != status.total_steps:
            values["steps"] = until
        problem = problem_with_name(name) or problem_of(**{**to_dict(config), **values})
        if problem:
            st.warning(problem, icon=":material/block:")
        if st.button("Fork", key=f"fork_{run.name}", type="primary", disabled=problem is not None):
            _fork(run, name, at, values)


def fork_with(run: RunDir, status: Status, changes: dict[str, Any]) -> None:
    """Fork the newest state with `changes`, start it, and open its page."""
    at = int(run.states()[-1].stem)
    if status.total_steps <= at:
        changes = {**changes, "steps": _length(at, status)}
    _fork(run, _free_fork_name(run), at, changes)


def falls_to_zero(config: Config) -> bool:
    """Whether its step sizes are 0 after its last step, so that it can't simply go on."""
    return config.lr_schedule != "constant"


def _free_fork_name(run: RunDir) -> str:
    return free_name(re.sub(r"(-fork-\d+)?$", "-fork", run.name, count=1))


def _choose_state(run: RunDir, steps: list[int]) -> int:
    if len(steps) == 1:
        st.caption(f"From step {steps[0]:,}, the one state that is saved.")
        return steps[0]
    return st.select_slider(
        "From step",
        steps,
        steps[-1],
        key=f"fork_at_{run.name}_{steps[-1]}",
        format_func="{:,}".format,
        help="Exact states that are saved. Set States kept to have more of them.",
    )


def _length(at: int, status: Status) -> int:
    """Until which step a fork trains, unless one says otherwise: as its parent, or half as long again."""
    return status.total_steps if status.total_steps > at else at + max(at // 2, 1)


def _fork_widgets(run: RunDir, config: Config) -> dict[str, Any]:
    """The learning rates, and the rest of what may change folded away."""
    key = f"fork_{run.name}"
    values = _live_widgets(RATES, config, key)
    with st.expander("Other changes"):
        return values | _live_widgets([name for name in live_fields(config) if name not in RATES], config, key)


def _live_widgets(names: Sequence[str], config: Config, key: str) -> dict[str, Any]:
    """Widgets that start anew when the run's own values have changed, so that they show these."""
    return hyperparameters(names, config, f"{key}_{hash(tuple(getattr(config, name) for name in names))}")


def _fork(run: RunDir, name: str, at: int, changes: dict[str, Any]) -> None:
    try:
        new = fork(run, runs_folder() / name, at=at, changes=changes)
        keep(jobs.start(new))
    except (GanlabError, OSError) as error:
        st.error(str(error))
        return
    st.session_state.open_run = name
    st.rerun()


def changed_config(config: Config, events: Events) -> Config:
    """The config after the changes that were made while it trained."""
    for event in events:
        if event["event"] == "changed":
            config = apply_change(config, event)
    return config
