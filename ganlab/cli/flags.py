"""Flags of commands whose hyperparameters come from the config, as tyro reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from ganlab.config import Config, hints

Flag = tuple[str, Any, Any]  # name, annotated type, dataclass field


def flag(name: str, kind: Any, default: Any, help: str, aliases: Sequence[str] = ()) -> Flag:
    argument = tyro.conf.arg(help=help.replace("%", "%%"), aliases=list(aliases))
    return name, Annotated[kind, argument], dataclasses.field(default=default)


def where_to_work() -> list[Flag]:
    return [
        flag("device", str, "auto", "auto, cpu, cuda, cuda:1 or mps."),
        flag("data_root", Path | None, None, "Folder of downloaded data sets (else $GANLAB_DATA, else ./data)."),
        flag("threads", int | None, None, "Threads of the CPU; else torch's choice. Another number rounds otherwise."),
    ]


def hyperparameters(base: Config) -> list[Flag]:
    """A flag for every field of the config, with the defaults of `base`."""
    flags = []
    for f in dataclasses.fields(Config):
        meta = f.metadata
        limits = f" [{meta['low']:,} to {meta['high']:,}]" if meta["low"] is not None else ""
        aliases = [f"--{alias}" for alias in meta["aliases"]]
        flags.append(flag(f.name, hints()[f.name], getattr(base, f.name), meta["help"] + limits, aliases))
    return flags


def parsed(name: str, command: Callable, flags: Sequence[Flag], argv: Sequence[str]) -> dict[str, Any]:
    """The values of the flags, by name."""
    made = dataclasses.make_dataclass(name.capitalize(), list(flags), kw_only=True)
    arguments: Any = tyro.cli(made, args=argv, prog=f"python -m ganlab {name}", description=command.__doc__)
    return {f.name: getattr(arguments, f.name) for f in dataclasses.fields(arguments)}


def early_flag(argv: Sequence[str], name: str) -> str | None:
    """The value of a flag that must be known before the others can be explained; as for those, the last one counts."""
    value = None
    for i, argument in enumerate(argv):
        if argument.startswith(name + "="):
            value = argument.partition("=")[2]
        elif argument == name and i + 1 < len(argv):
            value = argv[i + 1]
    return value
