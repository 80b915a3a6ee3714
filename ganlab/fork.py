"""A new run that goes on from a saved state of another, with other hyperparameters. No torch."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganlab.config import Config, changed
from ganlab.errors import ConfigError, RunError
from ganlab.rundir import RunDir, Status
from ganlab.weights import STATE, load_arrays, save_arrays


def state_at(run: RunDir, at: int | None = None) -> Path:
    """The file of exact state of step `at`, or the newest. Raises RunError that lists the steps there are."""
    run.read_config()
    states = {int(file.stem): file for file in run.states()}
    if not states:
        raise RunError(f"{run.path} has no saved state yet. The first comes a moment after the training starts.")
    at = max(states) if at is None else at
    if at not in states:
        raise RunError(
            f"{run.path} has no saved state of step {at}. There are: {', '.join(map(str, states))}. "
            "A run keeps the newest few: train with a larger keep_states to have more to fork from."
        )
    return states[at]


def config_at(run: RunDir, at: int | None = None) -> Config:
    """The hyperparameters at a saved state, with the changes that were made while it ran."""
    return load_arrays(state_at(run, at), kind=STATE)[1]


def fork(run: RunDir, out: str | Path, *, at: int | None = None, changes: Mapping[str, Any] | None = None) -> RunDir:
    """Make the run `out` that continues from a saved state of `run`; `train` or `resume` trains it.

    It takes the parent's history up to that step along: metrics with scores, pictures, snapshots. Its first event,
    "forked", names parent, step and changes.

    Arguments:
        at: step of a saved state; None for the newest.
        changes: hyperparameters by name; all but those that decide the networks' tensors.
    Raises:
        ConfigError for a change that can't be; RunError if `out` is a run already or `at` was not saved.
    """
    new = RunDir(out)
    if new.exists:
        raise RunError(f"{new.path} is a run already. Resume it, or choose another name for the fork.")
    state = state_at(run, at)
    arrays, old, facts = load_arrays(state, kind=STATE)
    config = old.replace(**(changes or {}))
    different = changed(old, config)
    _refuse_other_networks(old, config, different)
    step = facts["step"]
    _copy_history(run, new, step)
    save_arrays(new.state_file(step), arrays, kind=STATE, config=config, facts=facts)
    num_images = run.read_status().num_images
    total = config.total_steps(num_images) if num_images else 0
    new.write_status(Status("stopped", step=step, images=facts["images"], num_images=num_images, total_steps=total))
    new.append_event("forked", step, parent=str(run.path), parent_step=step, changes=different)
    new.open_config(config)  # last: it is what makes the directory a run
    return new


def _refuse_other_networks(old: Config, config: Config, different: Mapping[str, Any]) -> None:
    fixed = [f.name for f in dataclasses.fields(Config) if f.metadata["shape"] and f.name in different]
    if old.num_classes != config.num_classes:
        fixed.append("classes")
    if fixed:
        raise ConfigError(
            f"A fork can't change {', '.join(fixed)}: the saved networks have another shape. Start a new run instead."
        )


def _copy_history(run: RunDir, new: RunDir, step: int) -> None:
    """Metrics, pictures and snapshots up to `step`."""
    new.path.mkdir(parents=True, exist_ok=True)
    if (metrics := run.path / "metrics.jsonl").exists():
        shutil.copyfile(metrics, new.path / metrics.name)
    for file in [*run.samples(), *run.pairs(), *run.snapshots(), *run.discriminators()]:
        (new.path / file.parent.name).mkdir(exist_ok=True)
        shutil.copyfile(file, new.path / file.parent.name / file.name)
    new.rewind(step)
