"""Start, watch, pause, step and stop workers: processes of their own, `python -m ganlab resume RUN`, `evaluate`
and `project`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganlab.config import Config
from ganlab.errors import RunError
from ganlab.rundir import ACTIVE, RunDir, Status

ROOT = Path(__file__).resolve().parent.parent


def start(
    run: RunDir,
    config: Config | None = None,
    *,
    until: int | None = None,
    device: str = "auto",
    data_root: Path | None = None,
) -> subprocess.Popen:
    """Start a worker on a new run (with `config`) or on one that exists, and return at once.

    The worker outlives the caller. What it prints goes to `worker.log` in the run directory. `until`: pause at that
    step. Raises RunError if a worker is already alive.
    """
    if run.read_status().alive:
        raise RunError(f"{run.path} is already being trained.")
    if config is not None:
        config = run.open_config(config)
    run.request("run", until=until)
    run.write_status(
        replace(run.read_status(), state="starting", heartbeat=time.time(), pid=0, device="", error="", eta_s=None)
    )
    arguments = ["resume", str(run.path.resolve()), "--device", device]
    if data_root is not None:
        arguments += ["--data-root", str(Path(data_root).resolve())]
    return _worker(arguments, run.path / "worker.log")


def measure(
    models: Sequence[str], log: Path, *, num: int, seed: int = 0, all_snapshots: bool = False
) -> subprocess.Popen:
    """Start a worker that measures models of one data set, one after another, or all snapshots of runs; return at once.

    It outlives the caller, keeps what it finds where `ganlab.evaluate.report` looks, and prints to `log`.
    """
    arguments = ["evaluate", models[0], *(["--against", *models[1:]] if models[1:] else [])]
    arguments += ["--num", str(num), "--seed", str(seed), "--threads", str(_threads())]
    return _worker([*arguments, *(["--all-snapshots"] if all_snapshots else [])], log)


def project(model: str, image: Path, folder: Path, *, seed: int = 0, digit: str = "auto") -> subprocess.Popen:
    """Start a worker that looks for a picture in a model's latent space, and return at once; `interrupt` stops it.

    It keeps in `folder` what it finds, while it improves; see `ganlab.found`. `digit`: auto, yes or no.
    """
    arguments = ["project", model, str(image), "--out", str(folder), "--seed", str(seed), "--digit", digit]
    return _worker([*arguments, "--threads", str(_threads())], folder / "worker.log")


def interrupt(pid: int) -> None:
    """Ask a process to end, so that it can still say that it did; nothing happens where it has ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _worker(arguments: Sequence[str], log: Path) -> subprocess.Popen:
    """A process of its own for a command of ganlab, which outlives this one."""
    command = [sys.executable, "-m", "ganlab", *arguments]
    if nice := shutil.which("nice"):
        command = [nice, "-n", "10", *command]
    environment = {
        "OMP_NUM_THREADS": str(_threads()),
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        # A session of its own: Ctrl-C in the terminal of the app must not end the training.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=environment
        )


def _threads() -> int:
    """The page stays quick beside a worker: it yields to the page, and leaves it a core."""
    return max(1, (os.cpu_count() or 1) - 1)


def pause(run: RunDir) -> None:
    """Ask the worker to save and wait."""
    run.request("pause")


def resume(run: RunDir, **options: Any) -> subprocess.Popen | None:
    """Go on: wake a paused worker, or start one where none is alive (then returns the process)."""
    return _run(run, None, options)


def step(run: RunDir, num: int, **options: Any) -> subprocess.Popen | None:
    """Train `num` steps more, then pause."""
    return _run(run, run.read_status().step + num, options)


def stop(run: RunDir) -> None:
    """Ask the worker to save and end."""
    run.request("stop")


def change(run: RunDir, changes: Mapping[str, Any]) -> None:
    """Ask for other values of live hyperparameters, and leave everything else as it was asked for."""
    control = run.read_control()
    run.request(control.command, until=control.until, changes=changes)


def _run(run: RunDir, until: int | None, options: dict[str, Any]) -> subprocess.Popen | None:
    if run.read_status().alive:
        run.request("run", until=until)
        return None
    return start(run, until=until, **options)


def wait(run: RunDir, *states: str, timeout: float = 60.0) -> Status:
    """Wait until the run's state is one of `states` (default: until no worker is active). Raises RunError after
    `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        status = run.read_status()
        if status.label in states or (not states and not status.alive):
            return status
        if states and status.state not in ACTIVE:
            raise RunError(f"{run.path} is {status.label}, not {' or '.join(states)}. {status.error}")
        time.sleep(0.05)
    raise RunError(f"{run.path} is still {run.read_status().label} after {timeout:g} seconds.")


def log_tail(run: RunDir, num_lines: int = 20) -> str:
    """The last lines that the worker printed: why it died, if it could not say so itself."""
    return tail(run.path / "worker.log", num_lines)


def tail(log: Path, num_lines: int = 20) -> str:
    """The last lines of a file; none if there is no file."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-num_lines:])
    except FileNotFoundError:
        return ""
