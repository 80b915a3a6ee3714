"""The command line: `python -m ganlab COMMAND`. Thin: each command imports what it needs when it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from ganlab.cli.check import check_command
from ganlab.cli.evaluate import evaluate_command
from ganlab.cli.pictures import (
    interpolate_command,
    list_command,
    plot_command,
    render_command,
    sample_command,
    timelapse_command,
)
from ganlab.cli.project import directions_command, project_command
from ganlab.cli.training import control_command, fork_command, resume_command, train_command
from ganlab.errors import GanlabError


def main(started: float | None = None, argv: Sequence[str] | None = None) -> None:
    """Run a command; translate the library's errors into one line and exit code 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"ganlab: there is no command {name!r}.\n\n{_overview()}", file=sys.stderr)
        sys.exit(2)
    try:
        COMMANDS[name](rest, started or time.time())
    except GanlabError as error:
        print(f"ganlab: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)  # whoever read the output has seen enough
    except OSError as error:
        print(f"ganlab: {error.strerror or error}: {error.filename or 'is the disk full?'}", file=sys.stderr)
        sys.exit(1)


COMMANDS: dict[str, Callable[[list[str], float], None]] = {
    "train": train_command,
    "resume": resume_command,
    "fork": fork_command,
    "control": control_command,
    "check": check_command,
    "sample": sample_command,
    "interpolate": interpolate_command,
    "render": render_command,
    "project": project_command,
    "directions": directions_command,
    "timelapse": timelapse_command,
    "plot": plot_command,
    "evaluate": evaluate_command,
    "list": list_command,
}


def _overview() -> str:
    rows = "\n".join(f"  {name:<12} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items())
    return f"usage: python -m ganlab COMMAND [--help]\n\n{rows}"
