"""`check`: what goes wrong in a run, in words."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ganlab.rundir import RunDir

if TYPE_CHECKING:
    from ganlab.alarm import Alarm


def check_command(argv: list[str], started: float) -> None:
    """Tell what goes wrong in a run, why one thinks so, and what to try. Exit code 1 if something does."""

    def check(run: Annotated[Path, tyro.conf.Positional]) -> None:
        """Tell what goes wrong in a run, why one thinks so, and what to try. Exit code 1 if something does.

        Args:
            run: The run directory.
        """
        from ganlab.alarm import alarms_of, ongoing

        found = alarms_of(RunDir(run))
        now = ongoing(found)
        print(f"{run}: {len(now) or 'no'} alarm{'s' if len(now) != 1 else ''} at step {_step(RunDir(run)):,}")
        for alarm in now:
            print(f"\n{alarm.title}, since step {alarm.since:,}")
            print(_indented(alarm.why))
            if alarm.kind == "collapse" and (pairs := RunDir(run).pairs()):
                print(_indented(f"The closest pairs: {pairs[-1]}"))
            print(_indented(f"Try: {alarm.advice} {_flags(alarm)}"))
        for alarm in found:
            if alarm.until is not None:
                print(f"\nOver: {alarm.title}, steps {alarm.since:,} to {alarm.until:,}")
        if now:
            sys.exit(1)

    tyro.cli(check, args=argv, prog="python -m ganlab check")


def _flags(alarm: Alarm) -> str:
    """What it advises, as flags of the command line: (--d-steps 1)."""
    return "(" + " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in alarm.changes.items()) + ")"


def _step(run: RunDir) -> int:
    rows, _ = run.read_metrics()
    return max(rows[-1]["step"] if rows else 0, run.read_status().step)


def _indented(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
