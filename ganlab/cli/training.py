"""Commands that train, or speak to a worker that does."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganlab.cli.flags import early_flag, flag, hyperparameters, parsed, where_to_work
from ganlab.config import Config
from ganlab.presets import PRESETS, preset
from ganlab.rundir import RunDir, Status

if TYPE_CHECKING:
    from tqdm import tqdm


def train_command(argv: list[str], started: float) -> None:
    """Train a GAN, or resume the run in --out. All hyperparameters can be set; --preset gives their defaults."""
    name = early_flag(argv, "--preset")
    base = preset(name) if name else Config()
    where = name or f"{Path(base.data).stem}-{base.model}"
    own = [
        flag("preset", str | None, name, f"Defaults from one of: {', '.join(PRESETS)}."),
        flag("out", Path, Path("runs") / where, "The run directory.", aliases=["--outdir"]),
        *where_to_work(),
    ]
    values = parsed("train", train_command, [*own, *hyperparameters(base)], argv)
    values.pop("preset")
    work = {name: values.pop(name) for name in ("out", "device", "data_root", "threads")}
    _work(RunDir(work.pop("out")), Config(**values), None, **work)


def fork_command(argv: list[str], started: float) -> None:
    """Go on from a saved state of a run, as a new run, with other hyperparameters."""
    from ganlab.fork import config_at, fork

    parent = RunDir(argv[0]) if argv and not argv[0].startswith("-") else None
    at = early_flag(argv, "--at")
    base = config_at(parent, int(at) if at and at.isdecimal() else None) if parent else Config()
    own = [
        flag("run", tyro.conf.Positional[Path], dataclasses.MISSING, "The run to go on from; the first argument."),
        flag("out", Path, dataclasses.MISSING, "The new run's directory.", aliases=["--outdir"]),
        flag("at", int | None, None, "Step of the saved state; else the newest."),
        *where_to_work(),
    ]
    values = parsed("fork", fork_command, [*own, *hyperparameters(base)], argv)
    run, out, at_step = (values.pop(name) for name in ("run", "out", "at"))
    work = {name: values.pop(name) for name in ("device", "data_root", "threads")}
    changes = {name: value for name, value in values.items() if value != getattr(base, name)}
    new = fork(RunDir(run), out, at=at_step, changes=changes)
    _work(new, new.read_config(), None, **work)


def resume_command(argv: list[str], started: float) -> None:
    """Go on with a run, with the configuration that it has."""
    own = [flag("run", tyro.conf.Positional[Path], dataclasses.MISSING, "The run directory."), *where_to_work()]
    values = parsed("resume", resume_command, own, argv)
    run = RunDir(values.pop("run"))
    _work(run, run.read_config(), started, **values)


def _work(
    run: RunDir, config: Config, started: float | None, device: str, data_root: Path | None, threads: int | None
) -> None:
    """Train in this process, with a progress bar. Ctrl-C (or SIGTERM) saves and stops; a second one ends it at once.

    Of the processes that torchrun starts, the first one speaks and obeys for all.
    """
    leads = os.environ.get("RANK", "0") == "0"

    def ask_to_stop(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        if leads:
            run.request("stop")

    if leads and run.exists and started is None:
        run.request("run")  # a person typed the command: whatever was asked before is over
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    from ganlab.loop import train
    from ganlab.worker import keep_memory

    keep_memory()

    if not leads:
        train(config, run.path, data_root=data_root, device=device, threads=threads, started=started)
        return
    print(f"{run.path}: {config.model} on {config.data}", flush=True)
    with _Progress(run) as progress:
        train(config, run.path, data_root=data_root, device=device, threads=threads, progress=progress, started=started)
    status = run.read_status()
    print(
        f"{run.path}: {status.label} at step {status.step:,} of {status.total_steps:,}"
        f" ({status.images:,} images, {status.seconds / 60:.1f} minutes)"
    )


class _Progress:
    """A bar on a terminal; a line every ten seconds where the output is a pipe or a file. And a line whenever an alarm
    begins, looked for every ten seconds."""

    LINE_EVERY = 10.0

    def __init__(self, run: RunDir) -> None:
        self.run, self.told = run, set[str]()
        self.bar: tqdm | None = None
        self.next_line = self.next_look = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, status: Status, row: dict[str, Any]) -> None:
        losses = (
            f"loss_g {row['loss_g']:.3f}  loss_d {row['loss_d']:.3f}  D(x) {row['d_real']:.2f}  "
            f"D(G(z)) {row['d_fake']:.2f}"
        )
        if sys.stdout.isatty():
            self._draw(status, losses)
        elif time.monotonic() >= self.next_line or row["step"] >= status.total_steps:
            self.next_line = time.monotonic() + self.LINE_EVERY
            eta = f"  ETA {status.eta_s / 60:.1f} min" if status.eta_s else ""
            print(
                f"step {row['step']:,}/{status.total_steps:,}  {status.steps_per_s:.1f} steps/s  "
                f"{row['images_per_s']:.0f} images/s{eta}  {losses}",
                flush=True,
            )

        if time.monotonic() >= self.next_look or row["step"] >= status.total_steps:
            self.next_look = time.monotonic() + self.LINE_EVERY
            self._look_for_alarms()

    def _look_for_alarms(self) -> None:
        from ganlab.alarm import alarms_of, ongoing

        found = ongoing(alarms_of(self.run))
        for alarm in found:
            if alarm.kind not in self.told:
                line = f"alarm: {alarm.title}, since step {alarm.since:,}. More: python -m ganlab check {self.run.path}"
                self.bar.write(line) if self.bar is not None else print(line, flush=True)
        self.told = {alarm.kind for alarm in found}

    def _draw(self, status: Status, losses: str) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=status.total_steps, initial=status.step, unit=" steps", dynamic_ncols=True)
        self.bar.set_postfix_str(f"{status.images_per_s:.0f} images/s  {losses}", refresh=False)
        self.bar.update(status.step - self.bar.n)


def control_command(argv: list[str], started: float) -> None:
    """Ask a running worker to pause, go on, or stop."""

    def control(
        run: Annotated[Path, tyro.conf.Positional],
        command: Annotated[Literal["run", "pause", "stop"], tyro.conf.Positional],
        until: int | None = None,
    ) -> None:
        """Ask a running worker to pause, go on, or stop (it saves first).

        Args:
            run: The run directory.
            command: What to ask for.
            until: With `run`: pause at this step.
        """
        RunDir(run).read_config()
        RunDir(run).request(command, until=until)
        if not RunDir(run).read_status().alive:
            print(f"No worker is alive in {run}; start one with: python -m ganlab resume {run}")

    tyro.cli(control, args=argv, prog="python -m ganlab control")
