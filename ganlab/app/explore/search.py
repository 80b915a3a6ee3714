"""Looking for a picture in latent space: at once among some random points, then by a worker that goes on from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import streamlit as st

from ganlab import export, jobs
from ganlab.app.state import keep, runs_folder
from ganlab.found import FIRST, Found, load_found, nearest_samples
from ganlab.render import Model
from ganlab.worker import read_status

MOST = max(2, (os.cpu_count() or 1) // 2)  # workers of all visitors that look at the same time
PAUSE = 0.7  # seconds without a change after which a worker starts: a digit may have several strokes
GONE = 15  # seconds without a look after which a visitor has left, and who waits gets the worker's place
KEPT = 600  # seconds for which a folder stays after its worker's end
LOG = "worker.log"
State = Literal["waiting", "running", "done", "stopped", "failed"]
BUSY = ("waiting", "running")


@dataclass
class Search:
    """How far the search for a picture uint8 (H, W, C) is; `look` brings it up to date.

    share: from 0 to 1; doing: in words; error: why it failed; since, seen: `time.monotonic()` at its beginning and at
    the last look.
    """

    model: Model
    name: str
    image: np.ndarray
    found: Found
    since: float
    seen: float = 0.0
    state: State = "waiting"
    share: float = 0.0
    doing: str = f"the nearest of {FIRST} random ones"
    error: str = ""
    folder: Path | None = None
    process: subprocess.Popen | None = None

    def is_for(self, model: Model, image: np.ndarray) -> bool:
        return self.model.sha256 == model.sha256 and np.array_equal(self.image, image)

    def look(self) -> None:
        """See what the worker has found meanwhile; start one when the picture has rested, and one is free."""
        self.seen = time.monotonic()
        if self.state == "waiting" and self.seen - self.since > PAUSE:
            if there_is_room():
                self._start()
            else:
                self.doing = "waiting until others have found theirs"
        elif self.state == "running":
            self._follow()

    def stop(self) -> None:
        """End the worker, and keep what was found."""
        if self.state == "running":
            self._follow()
        if self.state in BUSY:
            if self.process is not None:
                jobs.interrupt(self.process.pid)
            self.state = "stopped"

    def _start(self) -> None:
        try:
            sweep()
            self.folder = searches() / uuid.uuid4().hex
            export.save_image(self.folder / "asked.png", self.image)
            self.process = jobs.project(self.name, self.folder / "asked.png", self.folder, digit="no")
        except OSError as error:
            self.state, self.error = "failed", f"No worker could be started: {error}"
            return
        keep(self.process)
        running().append(self)
        self.state = "running"

    def _follow(self) -> None:
        assert self.folder is not None and self.process is not None
        has_ended = self.process.poll() is not None  # asked first: what it found last is then there
        if kept := load_found(self.folder):
            self.found = kept[1]
        status = read_status(self.folder)
        if status is not None:
            self.share, self.doing = status.share, status.doing or self.doing
        if has_ended and status is not None and status.state in ("done", "stopped"):
            self.state = "done" if status.state == "done" else "stopped"
        elif has_ended:
            told = status.error if status is not None else jobs.tail(self.folder / LOG, 3)
            self.state, self.error = "failed", told or "Its process vanished. Perhaps there was too little memory."


def begin(model: Model, name: str, image: np.ndarray) -> Search:
    """A search with its first answer. Raises ConfigError for a picture of another shape."""
    return Search(model, name, image, next(nearest_samples(model, image)), time.monotonic())


def search_for(model: Model, name: str, image: np.ndarray | None) -> Search | None:
    """This visitor's search for a picture: the one that is on, or a new one, which ends the one before. None for
    none."""
    now: Search | None = st.session_state.get("search")
    if now is not None and (image is None or not now.is_for(model, image)):
        now.stop()
        now = None
    if now is None and image is not None:
        now = begin(model, name, image)
    st.session_state["search"] = now
    return now


def searches() -> Path:
    """Where the folders of searches are."""
    return runs_folder().resolve() / ".searches"


@st.cache_resource(show_spinner=False)
def running() -> list[Search]:
    """Searches of all visitors whose workers were alive when there was a look last."""
    return []


def there_is_room() -> bool:
    """Whether one more worker may start. Where none may, those end that nobody watches any more."""
    alive = [search for search in running() if search.process is not None and search.process.poll() is None]
    running()[:] = alive
    if len(alive) < MOST:
        return True
    for search in alive:
        if time.monotonic() - search.seen > GONE:
            search.stop()
    return False


def sweep() -> None:
    """Delete the folders of searches that ended a while ago."""
    for folder in searches().glob("*"):
        status = read_status(folder)
        try:
            is_old = time.time() - folder.stat().st_mtime > KEPT
        except OSError:
            continue  # another visitor's sweep was here first
        if is_old and not (status and status.alive):
            shutil.rmtree(folder, ignore_errors=True)
