"""Finding a model by what a person calls it: a released name, a run directory, RUN@STEP or RUN@best."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

from ganlab.errors import WeightsError
from ganlab.judge import Judge
from ganlab.judge import load_judge as open_judge
from ganlab.render import Model, load_model
from ganlab.rundir import RunDir

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"


def released() -> list[str]:
    """Names of the released models."""
    return sorted(file.parent.name for file in CHECKPOINTS.glob("*/generator.safetensors"))


def read_card(name: str) -> dict[str, Any]:
    """The card of a released model: data, command, steps, figures."""
    try:
        return json.loads((CHECKPOINTS / name / "card.json").read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"The card of {name!r} can't be read: {error}") from None


def history(name: str) -> list[Path]:
    """Generator files that lead to a released model, first steps first; none if it was released without."""
    files = (CHECKPOINTS / name / "history").glob("*.safetensors")
    return sorted((file for file in files if file.stem.isdecimal()), key=lambda file: int(file.stem))


def snapshots(name: str) -> dict[int, Path]:
    """The generator files of a released name or a run directory by their step, first steps first. The last one of a
    released model with a history is the model itself."""
    if name not in released():
        return {int(file.stem): file for file in RunDir(name).snapshots()}
    files = {int(file.stem): file for file in history(name)}
    if files and (step := _released_step(name)) > max(files):
        files[step] = CHECKPOINTS / name / "generator.safetensors"
    return files


def find(model: str | Path) -> Path:
    """The generator file of a model: a released name, a run directory, RUN@STEP, RUN@best, or the file
    itself.

    A released name wins over a folder of the same name (write ./NAME for the folder); NAME@STEP is of its history. RUN
    is the newest snapshot; RUN@STEP the one of that step, RUN@best the one with the best score. Raises WeightsError
    that says what there is.
    """
    text = str(model)
    if text in released():
        return CHECKPOINTS / text / "generator.safetensors"
    path = Path(text)
    if os.path.isfile(path):
        return path
    name, _, step = text.rpartition("@")
    at_step = name and (step.isdecimal() or step == "best") and not os.path.exists(path)
    if at_step and name in released():
        return _of_history(name, step)
    run, wanted = (RunDir(name), step) if at_step else (RunDir(path), None)
    if not (os.path.isdir(run) and run.exists):  # os.path: "no" also for a text too long to be a path
        near = difflib.get_close_matches(text, released(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise WeightsError(
            f"No model is called {text!r}: it is no released name ({', '.join(released()) or 'none'}) and "
            f"no run directory.{hint}"
        )
    there = {int(file.stem): file for file in run.snapshots()}
    if not there:
        raise WeightsError(f"{run.path} has no snapshot yet. The first comes a moment after the training starts.")
    if wanted is None:
        return there[max(there)]
    if wanted == "best":
        if (best := run.best_step()) is None:
            raise WeightsError(f"{run.path} has no score yet. Train with --score to have its snapshots compared.")
        wanted = str(best)
    if int(wanted) not in there:
        raise WeightsError(f"{run.path} has no snapshot of step {wanted}. There are: {_listed(sorted(there))}.")
    return there[int(wanted)]


def find_discriminator(model: str | Path) -> Path:
    """The file of the discriminator that trained with a model; see `find` for what `model` may be.

    Raises WeightsError where there is no such model, or no discriminator beside it.
    """
    generator = find(model)
    if generator.name == "generator.safetensors":
        file = generator.with_name("discriminator.safetensors")
    else:
        file = generator.parent.parent / "discriminators" / generator.name
    if not os.path.isfile(file):
        raise WeightsError(
            f"There is no discriminator beside {model}. Released models have one of the released step alone, and runs "
            "of an older ganlab have none: train it again to have its verdict."
        )
    return file


def beside(model: str | Path, name: str) -> Path:
    """Where a file about a model is, if there is one: beside the generator's file, or in the run's directory.

    Raises WeightsError as `find`.
    """
    folder = find(model).parent
    return (folder.parent if folder.name in ("snapshots", "history") else folder) / name


def load(model: str | Path) -> Model:
    """Open a model for generating pictures; see `find` for what `model` may be. Needs no torch."""
    return load_model(find(model), name=str(model))


def load_judge(model: str | Path) -> Judge:
    """Open the discriminator of a model for judging pictures; see `find_discriminator`. Needs no torch."""
    return open_judge(find_discriminator(model), name=str(model))


def _released_step(name: str) -> int:
    """After how many steps a model was released, as its card says; 0 if that can't be read."""
    try:
        return int(read_card(name)["steps"])
    except (WeightsError, KeyError, TypeError, ValueError):
        return 0


def _of_history(name: str, step: str) -> Path:
    steps = snapshots(name)
    if step == "best":
        raise WeightsError(f"{name} is released: {name} alone is its chosen snapshot.")
    if int(step) not in steps:
        there = f"There are: {_listed(sorted(steps))}" if steps else "It was released without a history"
        raise WeightsError(f"{name} has no snapshot of step {step}. {there}.")
    return steps[int(step)]


def _listed(steps: list[int]) -> str:
    shown = [*steps[:6], "…", *steps[-6:]] if len(steps) > 12 else steps
    return ", ".join(map(str, shown))
