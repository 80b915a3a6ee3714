"""The run directory: the one interface between a training worker and everybody who watches it.

The worker is its only writer, but for `control.json`, by which readers ask. See `RunDir` for the files.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from filelock import FileLock, Timeout

from ganlab.config import SCHEMA, Config, differences, from_dict, to_dict
from ganlab.errors import ConfigError, GanlabError, RunError
from ganlab.files import write_atomic
from ganlab.worker import Heartbeat, is_fresh

Record = TypeVar("Record", "Status", "Control")
State = Literal["starting", "running", "paused", "stopped", "done", "failed"]
Command = Literal["run", "pause", "stop"]
ACTIVE = ("starting", "running", "paused")  # states in which a worker should be alive


@dataclass(frozen=True)
class Status:
    """What `status.json` holds: where the run is and how it fares."""

    state: State = "starting"
    pid: int = 0
    host: str = ""
    heartbeat: float = 0.0  # Unix time of the last sign of life
    step: int = 0
    total_steps: int = 0
    images: int = 0
    num_images: int = 0  # in the data set
    images_per_s: float = 0.0
    steps_per_s: float = 0.0
    eta_s: float | None = None
    seconds: float = 0.0  # of training, over all sessions of the run
    device: str = ""
    partial: dict[str, Any] | None = None  # while paused: metrics since the last line, which is not full yet
    error: str = ""  # why it failed, in plain words

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise ValueError(f"state is {self.state!r}")

    @property
    def alive(self) -> bool:
        """Whether a worker holds this run: its state says so and its heartbeat is fresh."""
        return self.state in ACTIVE and is_fresh(self.heartbeat)

    @property
    def label(self) -> str:
        """The state for people; `interrupted` is a worker that vanished without a word (killed, or power lost)."""
        return "interrupted" if self.state in ACTIVE and not self.alive else self.state


@dataclass(frozen=True)
class Control:
    """What readers ask of the worker. Every request bears a higher version than the one before."""

    version: int = 0
    time: float = 0.0
    command: Command = "run"
    until: int | None = None  # with "run": pause on reaching this step
    changes: Mapping[str, Any] | None = None  # live hyperparameters, by name

    def __post_init__(self) -> None:
        if self.command not in get_args(Command):
            raise ValueError(f"command is {self.command!r}")


class RunDir:
    """Paths and files of one run.

    config.yaml      the hyperparameters, written once          metrics.jsonl   one tick a line
    status.json      state, heartbeat, step, error              events.jsonl    starts, pauses, changes, errors
    control.json     what readers ask                           samples/        the same fixed noise over time
    state/           exact training state, the newest two       pairs/          of scored pictures, the closest pairs
    snapshots/       the averaged generator over time           discriminators/ D at each of these
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def exists(self) -> bool:
        return (self.path / "config.yaml").is_file()

    # --- configuration -------------------------------------------------------------------------------------------

    def read_config(self) -> Config:
        """The run's hyperparameters. Raises RunError if the directory holds no run or an unreadable one."""
        file = self.path / "config.yaml"
        try:
            values = yaml.safe_load(file.read_text())
            if not isinstance(values, dict):
                raise ConfigError("it holds no hyperparameters.")
            if (schema := values.pop("schema", None)) != SCHEMA:
                raise RunError(f"{file} has schema {schema}; this ganlab reads {SCHEMA}.")
            return from_dict(values)
        except FileNotFoundError:
            raise RunError(f"{self.path} holds no run: there is no config.yaml in it.") from None
        except (OSError, yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a ConfigError
            raise RunError(f"{file} can't be read: {error}") from None

    def open_config(self, config: Config) -> Config:
        """Write the config of a new run, or check it against the one that is there.

        Returns the config to train with. Raises RunError that lists the differences if a resume would change what
        is computed.
        """
        if self.exists:
            changed = differences(old := self.read_config(), config)
            if changed:
                rows = "\n".join(f"  {name}: {a!r} in the run, {b!r} asked for" for name, (a, b) in changed.items())
                raise RunError(
                    f"{self.path} was started with another configuration:\n{rows}\n"
                    "Use the same values to resume it, or another --out for a new run."
                )
            if old == config:
                return config
        self.write_config(config)
        return config

    def write_config(self, config: Config) -> None:
        """Write the config without a look at the one that is there."""
        values = {"schema": SCHEMA, **to_dict(config)}
        write_atomic(self.path / "config.yaml", yaml.safe_dump(values, sort_keys=False).encode())

    # --- status and control --------------------------------------------------------------------------------------

    def read_status(self) -> Status:
        """The newest status; a fresh `Status` with state "stopped" if the run never started."""
        return _read_json(self.path / "status.json", Status) or Status(state="stopped")

    def write_status(self, status: Status) -> None:
        write_atomic(self.path / "status.json", json.dumps(asdict(status)).encode())

    def read_control(self) -> Control:
        """The newest request, or an empty one."""
        return _read_json(self.path / "control.json", Control) or Control()

    def request(
        self,
        command: Command,
        *,
        until: int | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Control:
        """Ask the worker for something. Changes asked for earlier stay asked for until the worker has answered them."""
        with FileLock(self.path / ".control.lock", timeout=10):
            old = self.read_control()
            answered = max((event.get("version", 0) for event in self.read_events()), default=0)
            waiting = {} if old.version <= answered else old.changes or {}
            new = Control(old.version + 1, time.time(), command, until, {**waiting, **(changes or {})})
            write_atomic(self.path / "control.json", json.dumps(asdict(new)).encode())
        return new

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the run as its one worker. Raises RunError at once if another process holds it.

        The operating system releases the claim when the process ends, however it ends.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".worker.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            pid = self.read_status().pid
            raise RunError(
                f"{self.path} is being trained by another process (pid {pid}). Watch it in the app, or stop it first."
            ) from None
        try:
            yield
        finally:
            lock.release()

    # --- metrics and events --------------------------------------------------------------------------------------

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        _append_json(self.path / "metrics.jsonl", row)

    def append_event(self, kind: str, step: int, **facts: Any) -> None:
        _append_json(self.path / "events.jsonl", {"time": time.time(), "step": step, "event": kind, **facts})

    def read_metrics(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Lines from byte `offset` on, and the offset to go on from. A torn last line is left for the next time.

        A file shorter than `offset` (the run was resumed from an earlier step) is read from its start.
        """
        return _read_lines(self.path / "metrics.jsonl", offset)

    def read_events(self) -> list[dict[str, Any]]:
        return _read_lines(self.path / "events.jsonl", 0)[0]

    def best_step(self) -> int | None:
        """The step with the best score; None if nothing was scored yet."""
        best = best_of(self.read_metrics()[0])
        return best["step"] if best else None

    def rewind(self, step: int) -> None:
        """Forget metrics, pictures and snapshots after `step`: the worker is about to compute them again. What a
        killed worker left half-written goes too."""
        rows, _ = self.read_metrics()
        if (file := self.path / "metrics.jsonl").exists():
            write_atomic(file, "".join(_json_line(row) for row in rows if row["step"] <= step).encode())
        for file in [*self.samples(), *self.pairs(), *self.snapshots(), *self.discriminators()]:
            if int(file.stem) > step:
                file.unlink()
        for folder in (
            "samples",
            "pairs",
            "snapshots",
            "discriminators",
            "state",
        ):  # the worker's own
            for file in (self.path / folder).glob(".*.tmp"):
                file.unlink()

    # --- numbered files ------------------------------------------------------------------------------------------

    def sample_file(self, step: int) -> Path:
        return self.path / "samples" / f"{step:06d}.png"

    def pairs_file(self, step: int) -> Path:
        return self.path / "pairs" / f"{step:06d}.png"

    def snapshot_file(self, step: int) -> Path:
        return self.path / "snapshots" / f"{step:06d}.safetensors"

    def discriminator_file(self, step: int) -> Path:
        return self.path / "discriminators" / f"{step:06d}.safetensors"

    def state_file(self, step: int) -> Path:
        return self.path / "state" / f"{step:06d}.safetensors"

    def samples(self) -> list[Path]:
        """Sample grids, oldest first."""
        return self._numbered("samples", ".png")

    def pairs(self) -> list[Path]:
        """The closest pairs at each score, one above the other, oldest first."""
        return self._numbered("pairs", ".png")

    def snapshots(self) -> list[Path]:
        """Snapshots of the averaged generator, oldest first."""
        return self._numbered("snapshots", ".safetensors")

    def discriminators(self) -> list[Path]:
        """D beside each snapshot, oldest first."""
        return self._numbered("discriminators", ".safetensors")

    def states(self) -> list[Path]:
        """Files of exact training state, oldest first."""
        return self._numbered("state", ".safetensors")

    def _numbered(self, folder: str, suffix: str) -> list[Path]:
        files = (self.path / folder).glob(f"*{suffix}")
        return sorted((f for f in files if f.stem.isdigit()), key=lambda f: int(f.stem))


class Reporter(Heartbeat[Status]):
    """The worker's status; see `Heartbeat`. A quiet one writes nothing."""

    def __init__(self, run: RunDir, status: Status, quiet: bool = False) -> None:
        self.quiet = quiet
        status = replace(status, pid=os.getpid(), host=socket.gethostname())
        super().__init__(status, (lambda _: None) if quiet else run.write_status)


def scored(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines of metrics that carry a `score` (lower is better) of the newest `metric`: a fork may change it."""
    found = [row for row in rows if row.get("score") is not None]
    return [row for row in found if row["metric"] == found[-1]["metric"]]


def best_of(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The line with the best score, the first of equal ones; None without scores."""
    return min(scored(rows), key=lambda row: row["score"], default=None)


def apply_change(config: Config, event: Mapping[str, Any]) -> Config:
    """The config after a recorded change of live hyperparameters, whose `changes` are {name: [old, new]}."""
    return config.replace(**{name: new for name, (_, new) in event["changes"].items()})


def list_runs(root: str | os.PathLike[str]) -> list[RunDir]:
    """Every run directly under `root`, the most recently active first."""
    runs = [RunDir(path) for path in Path(root).glob("*") if (path / "config.yaml").is_file()]
    return sorted(runs, key=_last_sign_of_life, reverse=True)


def _last_sign_of_life(run: RunDir) -> float:
    try:
        return run.read_status().heartbeat
    except GanlabError:
        return 0.0  # one damaged run must not hide the others; whoever opens it is told


def _json_line(row: Mapping[str, Any]) -> str:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return json.dumps(finite, allow_nan=False) + "\n"


def _append_json(path: Path, row: Mapping[str, Any]) -> None:
    line = _json_line(row).encode()
    with open(path, "ab") as file:
        if file.tell() and not _ends_with_newline(path):
            line = b"\n" + line  # a line torn by a crash must not swallow this one
        file.write(line)


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _read_lines(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    try:
        with open(path, "rb") as file:
            if offset > os.fstat(file.fileno()).st_size:
                offset = 0
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], 0
    whole, _, _ = content.rpartition(b"\n")
    rows = []
    for line in whole.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue  # torn by a crash, then followed by a newer line
    return rows, offset + (len(whole) + 1 if whole else 0)


def _read_json(path: Path, kind: type[Record]) -> Record | None:
    """The status or request in a file, or None if there is no file."""
    try:
        values = json.loads(path.read_text())
        if unknown := sorted(values.keys() - {f.name for f in fields(kind)}):
            raise GanlabError(
                f"{path} comes from another version of ganlab: it has {', '.join(unknown)}. Use that version, or "
                "delete the file; the run itself is not in it."
            )
        return kind(**values)
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, TypeError) as error:
        raise GanlabError(f"{path} is damaged ({error}). Delete it; the run itself is not in it.") from None
