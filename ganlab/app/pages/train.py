"""Train: set up a run, start it, watch it, pause, step, resume, stop. The training itself is a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from ganlab import jobs
from ganlab.alarm import Alarm, alarms
from ganlab.app.alarms import alarm_badge, alarm_cards, tiles
from ganlab.app.changes import change_popover, falls_to_zero, fork_popover
from ganlab.app.charts import MetricsReader, draw_losses, draw_scores, draw_verdicts
from ganlab.app.setup import set_up
from ganlab.app.state import keep, label_of, runs, runs_folder, stem_of
from ganlab.app.widgets import link_to_explore, link_to_measure, show
from ganlab.config import Config
from ganlab.errors import GanlabError
from ganlab.rundir import ACTIVE, RunDir, Status, best_of, scored

NEW = "New run"
# Seconds between two looks at a live run: at its state, and at its charts and pictures. Where a training has but a core
# or two, every look takes something from it.
LIVE, CALM = (1.0, 3.0) if (os.cpu_count() or 1) > 2 else (2.0, 6.0)
Rows = list[dict[str, Any]]
Events = list[dict[str, Any]]
STATES: dict[
    str, tuple[Literal["blue", "green", "orange", "gray", "violet", "red"], str, str]
] = {  # label: (colour, icon, what it means)
    "starting": ("blue", ":material/hourglass_top:", "The worker loads its libraries and the data; a few seconds."),
    "running": ("green", ":material/play_circle:", "It trains. You may close this page; it goes on."),
    "paused": ("orange", ":material/pause_circle:", "It waits, everything saved."),
    "stopped": ("gray", ":material/stop_circle:", "Saved and ended. Resume goes on from this very step."),
    "done": ("violet", ":material/check_circle:", "It has reached its last step."),
    "failed": ("red", ":material/error:", "It ended with an error."),
    "interrupted": ("orange", ":material/power_off:", "Its process vanished. Resume goes on from the last save."),
}

TOO_LATE = (
    "Its learning rates fell to 0 towards this last step, so it can't simply go on. **Fork** it instead: a new run "
    "that trains until a later step, towards which they fall anew."
)


def page() -> None:
    """The page: one run, or the set-up of a new one."""
    keep(None)
    labels = {run.name: label_of(run) for run in runs()}
    names = list(labels)
    choices = [NEW, *names]
    asked = st.query_params.get("run")
    if "run" not in st.session_state:
        alive = next((name for name, label in labels.items() if label in ACTIVE), NEW)
        st.session_state.run = asked if asked in names else alive
    if st.session_state.run not in choices:
        st.session_state.run = NEW
    if (wanted := st.session_state.pop("open_run", None)) in choices:
        st.session_state.run = wanted
    if asked and asked not in names:
        st.warning(f"There is no run called {asked[:60]!r} here. Choose one of these, or start a new one.")
    name = st.selectbox(
        "Run",
        choices,
        key="run",
        help="All runs in this folder, also those started from the command line.",
        persist_state="session",
    )
    if busy := [f"{other} ({labels[other]})" for other in names if other != name and labels[other] in ACTIVE]:
        st.caption(f"Also at work: {', '.join(busy)}.")
    if name is None or name == NEW:
        if asked:
            del st.query_params["run"]
        set_up()
    else:
        st.query_params["run"] = name
        _watch(RunDir(runs_folder() / name))


# --- a run that exists -----------------------------------------------------------------------------------------------


def _watch(run: RunDir) -> None:
    """State, buttons and numbers; alarms, charts and samples. Both are drawn anew while a worker is alive: the second
    part, which costs the browser more, less often."""
    try:
        config, alive = run.read_config(), run.read_status().alive
    except GanlabError as error:
        st.error(str(error))
        return
    for part, seconds in ((_now, LIVE), (_so_far, CALM)):
        st.fragment(part, run_every=seconds if alive else None)(run, config, alive)


def _look(run: RunDir, config: Config, was_alive: bool) -> tuple[Status, Rows, Events, list[Alarm]] | None:
    """The run as it is: status, lines of metrics, events, alarms; None, with the cause said, where it can't be read."""
    try:
        status = run.read_status()
    except GanlabError as error:
        st.error(str(error))
        return None
    if status.alive != was_alive:
        st.rerun()  # the timers start or end with the worker
    events = run.read_events()
    rows = st.session_state.setdefault(f"metrics_{run.path}", MetricsReader()).read(run)
    judged = (len(rows), rows[-1]["step"] if rows else 0, len(events))  # both parts show the same alarms
    known = st.session_state.get(f"alarms_{run.path}")
    if known is None or known[0] != judged:
        known = st.session_state[f"alarms_{run.path}"] = (judged, alarms(rows, config, events))
    if status.label == "paused" and status.partial:
        rows = [*rows, status.partial]
    return status, rows, events, known[1]


def _now(run: RunDir, config: Config, was_alive: bool) -> None:
    if (seen := _look(run, config, was_alive)) is None:
        return
    status, rows, events, found = seen
    _head(run, config, status, events, rows, found)
    if status.label == "failed":
        st.error(status.error, icon=":material/error:")
    if status.label in ("failed", "interrupted") and (log := jobs.log_tail(run)):
        with st.expander("What the worker printed"):
            st.code(log, language=None)
    _numbers(status, rows)


def _so_far(run: RunDir, config: Config, was_alive: bool) -> None:
    if (seen := _look(run, config, was_alive)) is None:
        return
    status, rows, events, found = seen
    left, right = st.columns([11, 9], gap="large")
    with left:
        alarm_cards(run, config, status, events, rows, found)
        _charts(rows, events, status, found)
    with right:
        _samples(run, config, status)


def _head(
    run: RunDir,
    config: Config,
    status: Status,
    events: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    found: list[Alarm],
) -> None:
    """What it is, how it is, and the buttons that make sense now."""
    colour, icon, meaning = STATES[status.label]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(status.label.capitalize(), icon=icon, color=colour, help=meaning)
        alarm_badge(found, rows)
        st.caption(
            f"{config.model} on {stem_of(config.data)}, batch {config.batch_size}, {status.device or 'not started'}"
            + _origin(events),
            width="content",
        )
        st.space("stretch")
        _buttons(run, config, status, events)
    text = f"Step {status.step:,} of {status.total_steps:,}" if status.total_steps else "Loading libraries and data"
    st.progress(min(status.step / max(status.total_steps, 1), 1.0), text=text)


def _origin(events: list[dict[str, Any]]) -> str:
    """Of a fork: where it comes from."""
    forks = [event for event in events if event["event"] == "forked"]
    return f". Forked from {Path(forks[-1]['parent']).name} at step {forks[-1]['parent_step']:,}" if forks else ""


def _buttons(run: RunDir, config: Config, status: Status, events: list[dict[str, Any]]) -> None:
    label = status.label
    if label in ("running", "starting"):
        _button("Pause", "pause", lambda: jobs.pause(run), primary=True)
    elif label == "done":
        _train_longer(run, config, status)
    else:
        _button("Resume", "play_arrow", lambda: keep(jobs.resume(run)), primary=True)
    if label in ("paused", "stopped", "interrupted"):
        num = st.number_input("Steps", 1, 100_000, 1, key=f"num_{run.name}", label_visibility="collapsed", width=110,
                              help="How many steps the button beside trains before it pauses again.")  # fmt: skip
        _button("Step", "skip_next", lambda: keep(jobs.step(run, num)))
    if status.alive:
        _button("Stop", "stop", lambda: jobs.stop(run))
        change_popover(run, config, events)
    fork_popover(run, config, status, events)
    if run.snapshots():
        _links(run)


def _train_longer(run: RunDir, config: Config, status: Status) -> None:
    """More steps for a run that is done, unless its step sizes have fallen to 0."""
    with st.popover("Train longer", icon=":material/more_time:"):
        if falls_to_zero(config):
            st.markdown(TOO_LATE, width=320)
            return
        more = st.number_input("More steps", 1, 10_000_000, max(status.step // 2, 1), key=f"more_{run.name}")
        _button(
            "Go on",
            "play_arrow",
            lambda: keep(jobs.start(run, config.replace(steps=status.step + more))),
            primary=True,
        )


def _button(label: str, icon: str, act: Callable[[], Any], *, primary: bool = False) -> None:
    """A button; what goes wrong on the click is said beneath it, in words."""
    if st.button(label, icon=f":material/{icon}:", type="primary" if primary else "secondary"):
        try:
            act()
        except (GanlabError, OSError) as error:
            st.error(str(error))
        else:
            st.rerun()


def _links(run: RunDir) -> None:
    """Links, as only on a link's click the browser ends the timer before it asks for the other page.

    With `st.switch_page` the timer goes on meanwhile, and its last request can bring this page back, half drawn.
    """
    link_to_explore(str(run.path))
    link_to_measure(str(run.path))


def _numbers(status: Status, rows: list[dict[str, Any]]) -> None:
    """Speed, time left and D's verdicts, in a row."""
    last = rows[-1] if rows else None
    running = status.label == "running"
    with st.container(horizontal=True):
        st.metric("Epoch", f"{last['epoch']:.2f}" if last else "–", help="Passes over the data set.", border=True)
        st.metric(
            "Images a second",
            f"{status.images_per_s:,.0f}" if running else "–",
            border=True,
            help="Real pictures shown to the discriminator in a second.",
        )
        st.metric("Time left", _duration(status.eta_s) if running and status.eta_s else "–", border=True)
        st.metric(
            "D(x)",
            _number(last, "d_real"),
            border=True,
            help="How real D finds real pictures, 0 to 1. Near 1 with D(G(z)) near 0: D wins, and G learns little.",
        )
        st.metric(
            "D(G(z))",
            _number(last, "d_fake"),
            border=True,
            help="How real D finds generated pictures. 0.5 for both is a draw: D can't tell them apart.",
        )


def _number(row: dict[str, Any] | None, name: str) -> str:
    return f"{row[name]:.2f}" if row and row[name] is not None else "–"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _charts(rows: list[dict[str, Any]], events: list[dict[str, Any]], status: Status, found: list[Alarm]) -> None:
    if not rows:
        words = "Two charts grow here: the losses of both networks, and how real D finds pictures."
        st.info(f"{words} The worker is starting." if status.alive else words, icon=":material/show_chart:")
        return
    with st.container(border=True):
        st.markdown("**Loss**", help="Each network's loss falls as the other's rises: it is a game, not a descent.")
        draw_losses(rows, events, found)
    with st.container(border=True):
        st.markdown("**How real D finds pictures**", help="Sigmoid of D's logit, averaged: 1 real, 0 generated.")
        draw_verdicts(rows, events, found)
    if best := best_of(rows):
        with st.container(border=True):
            st.markdown(
                f"**Score** (lower is better), best at step {best['step']:,}: {best['score']:.3g}",
                help=f"{best['metric']}, of the averaged generator. Explore has a snapshot of each scored step.",
            )
            draw_scores(scored(rows), best, events, found)


def _samples(run: RunDir, config: Config, status: Status) -> None:
    """The newest grid of the fixed noise; of a run at rest, any grid of its history."""
    files = run.samples()
    if not files:
        st.info("Pictures appear here as they improve, always of the same noise.", icon=":material/image:")
        return
    steps = {int(file.stem): file for file in files}
    with st.container(border=True):
        st.markdown("**Samples**", help="The averaged generator's pictures of 64 points z that never change.")
        newest = max(steps)
        shown = newest
        if len(steps) > 1 and status.label != "running":
            shown = st.select_slider(
                "Training time",
                list(steps),
                newest,
                key=f"time_{run.name}_{newest}",
                format_func=lambda s: f"step {s:,}",
                help="Go back, and see how it learnt.",
            )
        show(tiles(steps[shown], config), 8, width=460, alt=f"64 generated pictures at step {shown}")
        st.caption(f"Step {shown:,}. The same noise every time.")
