"""Workers: processes of their own that tell a folder how far they are, so that anybody can watch them. No torch.

A training has more to tell than others (`ganlab.rundir`); evaluations and projections write a `Status`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args

from filelock import FileLock, Timeout

from ganlab.errors import RunError
from ganlab.files import write_atomic

HEARTBEAT = 1.0  # seconds between two signs of life
LOST_AFTER = 15.0  # seconds without one after which a worker counts as gone

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_ON_HEAP = 2**25  # bytes; the most that glibc allows

State = Literal["running", "done", "stopped", "failed"]
S = TypeVar("S")  # a status: a dataclass with a heartbeat


def is_fresh(heartbeat: float) -> bool:
    """Whether a sign of life (Unix time) is recent."""
    return time.time() - heartbeat < LOST_AFTER


class Heartbeat(Generic[S]):
    """A status that is written at every change and once a second by a thread, so that a long step or a download does
    not look like death."""

    def __init__(self, status: S, write: Callable[[S], None]) -> None:
        self.status, self._write = status, write
        self._lock, self._done = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat")

    def __enter__(self) -> Any:
        self.update()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._done.set()
        self._thread.join()

    def update(self, *, write: bool = True, **changes: Any) -> None:
        """Change fields of the status; with `write=False` they reach the file at the next heartbeat."""
        with self._lock:
            self.status = replace(self.status, heartbeat=time.time(), **changes)  # type: ignore[type-var]
            if write:
                self._write(self.status)

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT):
            with contextlib.suppress(OSError):  # a full disk: the work itself will meet it, and say so
                self.update()


@dataclass(frozen=True)
class Status:
    """How far a worker is: the content of status.json."""

    state: State = "running"
    share: float = 0.0
    doing: str = ""
    pid: int = 0
    heartbeat: float = 0.0  # Unix time of the last sign of life
    error: str = ""  # why it failed, in plain words

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise ValueError(f"state is {self.state!r}")

    @property
    def alive(self) -> bool:
        """Whether a worker is at it: its state says so and its heartbeat is fresh."""
        return self.state == "running" and is_fresh(self.heartbeat)


def read_status(folder: Path) -> Status | None:
    """How far the worker is, or how it ended; None if none was ever there or the file is damaged."""
    try:
        return Status(**json.loads((folder / "status.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


class Reporter(Heartbeat[Status]):
    """The status of a folder's worker. On leaving: done, unless another end was told; or failed with the cause."""

    def __init__(self, folder: Path) -> None:
        file = folder / "status.json"
        super().__init__(Status(pid=os.getpid()), lambda s: write_atomic(file, json.dumps(asdict(s)).encode()))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        super().__exit__(kind, error, _)
        if kind is not None:
            said = str(error) if isinstance(error, Exception) else ""
            self.update(state="failed", error=said or ("interrupted" if kind is KeyboardInterrupt else kind.__name__))
        elif self.status.state == "running":
            self.update(state="done", share=1.0, doing="")


@contextmanager
def ends_when_told() -> Iterator[Callable[[], None]]:
    """Note SIGINT and SIGTERM instead of dying of them; a second one ends the process at once.

    Yields a function that raises KeyboardInterrupt once one has come; call it where the work may end. The handler
    must not raise by itself: it runs anywhere, and an exception where C++ calls Python, as the import of torch does,
    aborts the process.
    """
    told = threading.Event()

    def note(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        told.set()

    def check() -> None:
        if told.is_set():
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_memory() -> None:
    """Let this process keep what it has freed. glibc hands large blocks back, and for the next such tensor each page is
    mapped again: up to a tenth of a training step or an evaluation. With another C library nothing happens."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_ON_HEAP)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def claimed(folder: Path, doing: str) -> Iterator[None]:
    """Hold the folder as its one worker, until the process ends at the latest.

    Raises RunError at once if another process holds it; `doing`, such as "mnist-dcgan is being evaluated", begins it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".worker.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        status = read_status(folder)
        raise RunError(
            f"{doing} by another process (pid {status.pid if status else 'unknown'}). Wait for its result, or end it."
        ) from None
    try:
        yield
    finally:
        lock.release()
