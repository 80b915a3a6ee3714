"""What the app's process keeps: where runs live, open models, and the workers that it started."""

from __future__ import annotations

import gc
import os
import re
import subprocess
from pathlib import Path

import streamlit as st

from ganlab import catalog
from ganlab.errors import GanlabError
from ganlab.evaluate.extractors import Extractor
from ganlab.judge import Judge, load_judge
from ganlab.path_facts import extractor_of
from ganlab.render import Model, load_model
from ganlab.rundir import ACTIVE, RunDir, list_runs

ICON = Path(__file__).with_name("icon.png")  # four generated digits


def runs_folder() -> Path:
    """Where runs live: $GANLAB_RUNS, else ./runs."""
    return Path(os.environ.get("GANLAB_RUNS", "runs"))


def runs() -> list[RunDir]:
    """All runs, the most recently active first."""
    return list_runs(runs_folder())


def free_name(stem: str) -> str:
    """The first of stem-1, stem-2, … that no run has."""
    return next(name for i in range(1, 10_000) if not (runs_folder() / (name := f"{stem}-{i}")).exists())


def problem_with_name(name: str) -> str | None:
    """Why a new run can't be called so; None if it can."""
    if not re.fullmatch(r"[\w][\w.-]*", name):
        return "A name is letters, digits, dots and dashes."
    return f"There is a run called {name} already." if (runs_folder() / name).exists() else None


def stem_of(data: str) -> str:
    """The short name of a data set: of a path its last part, without an ending."""
    return re.sub(r"[^\w-]+", "-", data.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0])


def label_of(run: RunDir) -> str:
    """The state of a run for people; "damaged" if its status can't be read: whoever opens it is told how."""
    try:
        return run.read_status().label
    except GanlabError:
        return "damaged"


def is_alive(run: RunDir) -> bool:
    """Whether a worker trains this run."""
    return label_of(run) in ACTIVE


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """Once a process: everything imported so far is there to stay, so the collector need not look at it again."""
    gc.collect()
    gc.freeze()


@st.cache_resource(show_spinner=False)
def workers() -> list[subprocess.Popen]:
    """Processes started by this app, kept so that the ended ones are reaped."""
    return []


def keep(process: subprocess.Popen | None) -> None:
    """Remember a worker, and reap those that have ended."""
    alive = [p for p in workers() if p.poll() is None]
    workers()[:] = [*alive, process] if process is not None else alive


def model_names() -> list[str]:
    """What Explore can open: released models, then runs that have a snapshot, by name or path."""
    return catalog.released() + [str(run.path) for run in runs() if run.snapshots()]


def open_model(name: str) -> Model:
    """A model for drawing, cached by the file that it comes from. Raises GanlabError; an error is never cached."""
    file = catalog.find(name)
    return _open_file(str(file), file.stat().st_mtime_ns, name)


def open_judge(name: str) -> Judge | None:
    """The discriminator beside a model, cached by its file; None where there is none that can be read."""
    try:
        file = catalog.find_discriminator(name)
        return _open_judge(str(file), file.stat().st_mtime_ns, name)
    except GanlabError:
        return None


@st.cache_resource(max_entries=8, show_spinner=False)
def _open_judge(file: str, changed: int, name: str) -> Judge:
    return load_judge(Path(file), name)


@st.cache_resource(max_entries=8, show_spinner=False)
def open_extractor(sha256: str, _model: Model) -> Extractor | None:
    """The network that looks at a model's pictures, cached by the model's file; None where there is none."""
    return extractor_of(_model)


@st.cache_resource(max_entries=8, show_spinner=False)
def _open_file(file: str, changed: int, name: str) -> Model:
    return load_model(Path(file), name)
