"""The directions of a model: its file's, those found while one waits, and one's own; and the words for them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import streamlit as st

from ganlab.app.explore.hand import base_of
from ganlab.app.explore.recipes import kept_directions, saved
from ganlab.app.state import runs
from ganlab.directions import (
    FILE,
    Direction,
    load_directions,
    named_directions,
    principal_directions,
    save_directions,
)
from ganlab.errors import ConfigError, WeightsError
from ganlab.recipe import Move
from ganlab.render import Model
from ganlab.rundir import RunDir

MEASURED, FEATURES, PICTURE, OWN = range(4)
GROUPS = (
    ("Measured", "Along each of them a measurement of the picture grows fastest: a linear fit over 3,000 samples."),
    ("First features", "What varies most in the network's first layer of features: GANSpace (Härkönen et al. 2020, "
     "arXiv:2004.02546)."),
    ("Whole picture", "What changes the pictures most, found at z itself: the strongest directions of the linear map "
     "from z to the picture that fits best."),
    ("Your own", "Taught by pictures that you marked, or from a link."),
)  # fmt: skip
PRINCIPAL = re.compile(r"(features|picture)-\d+")
UNITS = {
    "slant": "pixels to the right for each pixel up",
    "thickness": "pixels",
    "size": "pixels, root mean square distance from the centre",
    "aspect": "width over height",
}
LONGEST = 40  # name


@dataclass
class Own:
    """What a session has beside the model's file: directions, and whether it asked for those that take a while."""

    directions: list[Direction] = field(default_factory=list)
    more: bool = False


def own(name: str) -> Own:
    """One's own of a model, as `catalog` names it. All snapshots of it share them."""
    return st.session_state.setdefault(f"directions of {base_of(name)}", Own())


def known(model: Model, name: str) -> dict[str, Direction]:
    """All directions by name, in the order of groups. Measured and whole-picture ones of a model without a file are
    found once `own(name).more` is set."""
    kept, mine = saved(name, model), own(name)
    found = list(kept.values())
    if not any(group_of(d) == FEATURES for d in found):
        found += _features(model.sha256, model)
    if mine.more and lacks_more(kept):
        found += _more(model.sha256, model)
    every: dict[str, Direction] = {}
    for direction in [*found, *mine.directions]:
        every.setdefault(direction.name, direction)
    return dict(sorted(every.items(), key=lambda item: group_of(item[1])))


def lacks_more(kept: Mapping[str, Direction]) -> bool:
    """Whether a file has no principal directions of the picture: then it is none that `ganlab directions` wrote."""
    return not any(group_of(d) == PICTURE for d in kept.values())


@st.cache_resource(max_entries=6, show_spinner="Looking for directions in the first features …")
def _features(sha256: str, _model: Model) -> list[Direction]:
    return principal_directions(_model, "features")


@st.cache_resource(max_entries=6, show_spinner="Measuring 3,000 pictures …")
def _more(sha256: str, _model: Model) -> list[Direction]:
    return [*named_directions(_model), *principal_directions(_model, "picture")]


def reach(model: Model) -> float:
    """The largest amount of a slider: three standard deviations of z along any direction."""
    return 3.0 if model.config.prior == "normal" else 1.75


def group_of(direction: Direction) -> int:
    if found := PRINCIPAL.fullmatch(direction.name):
        return FEATURES if found[1] == "features" else PICTURE
    return MEASURED if "r2" in (direction.evidence or {}) else OWN


def label_of(direction: Direction) -> str:
    """Its name for people."""
    return f"no. {direction.name.partition('-')[2]}" if PRINCIPAL.fullmatch(direction.name) else direction.name


def about(direction: Direction) -> str:
    """What it is worth, in words; one sentence or two."""
    figures = direction.evidence or {}
    match group_of(direction):
        case group if group == MEASURED:
            unit = UNITS.get(direction.name, "levels from 0 to 1")
            return (
                f"This direction explains {max(figures['r2'], 0):.0%} of how {direction.name} differs between pictures "
                f"that it was not fitted to. An amount of 1 adds {figures.get('per_unit', 0):.2g} ({unit})."
            )
        case group if group in (FEATURES, PICTURE):
            where = "the first features" if group == FEATURES else "the pictures"
            return f"It carries {figures.get('share', 0):.1%} of all that varies in {where}."
    if "more" in figures:
        words = f"Learnt from {figures['more']:.0f} pictures marked more and {figures['less']:.0f} marked less."
        if "right" not in figures:
            return words
        of = figures["more"] + figures["less"]
        return f"{words} Of these {of:.0f}, what the others teach puts {figures['right']:.0f} on their side."
    return "A direction of your own."


# --- to recipes, and from them ---------------------------------------------------------------------------------------


def moves_of(amounts: Mapping[str, float], every: Mapping[str, Direction], kept: Mapping[str, Direction]) -> list[Move]:
    """Amounts as a recipe says them: by name what a file has (`kept`), where `render` finds it at once; others as they
    are."""
    found = []
    for name, amount in amounts.items():
        if name in every and amount:
            vector = tuple(every[name].vector.astype(float).tolist())
            found.append(Move(name if name in kept else vector, amount))
    return found


def amounts_of(moves: tuple[Move, ...], model: Model, name: str) -> dict[str, float]:
    """What a recipe's moves are on the sliders. Directions without a name become one's own; raises ConfigError for one
    that there is not, or that is of another model."""
    mine, amounts = own(name), dict[str, float]()
    if any(isinstance(m.direction, str) and m.direction not in known(model, name) for m in moves):
        mine.more = True
    for step in moves:
        every = known(model, name)
        if isinstance(step.direction, str):
            if step.direction not in every:
                raise ConfigError(f"{model.name} has no direction {step.direction!r}.")
            key = step.direction
        else:
            vector = np.array(step.direction, np.float32)
            if vector.shape != (model.config.latent_dim,):
                raise ConfigError(f"The link holds a direction of {len(vector)} numbers; {model.name} has others.")
            same = [k for k, d in every.items() if np.allclose(d.vector, vector, atol=1e-6)]
            key = same[0] if same else next(f"linked-{i}" for i in range(1, 1000) if f"linked-{i}" not in every)
            if not same:
                mine.directions.append(Direction(key, vector))
        amounts[key] = amounts.get(key, 0.0) + step.amount
    return amounts


# --- one's own -------------------------------------------------------------------------------------------------------


def problem_with(name: str, every: Mapping[str, Direction]) -> str:
    """Why a new direction can't be called so; empty if it can."""
    if not re.fullmatch(r"[^\W_][\w.-]*", name) or len(name) > LONGEST:
        return f"A name is letters, digits, dots and dashes, {LONGEST} at most, and begins with a letter or digit."
    if PRINCIPAL.fullmatch(name):
        return f"{name} is a principal direction; choose another name."
    return f"There is a direction called {name} already." if name in every else ""


def is_older(name: str, model: Model) -> bool:
    """Whether the directions beside a model were found in another snapshot of it."""
    kept = kept_directions(name, model)
    return kept is not None and kept.sha256 != model.sha256


def run_of(name: str) -> RunDir | None:
    """The run of one's own that a model comes from, as `catalog` names it; None for a released one."""
    return next((run for run in runs() if str(run.path) == base_of(name)), None)


def keep_in(run: RunDir, direction: Direction, model: Model) -> None:
    """Write a direction into its run's file, beside those that are there. Raises GanlabError or OSError."""
    file = run.path / FILE
    there = load_directions(file, model).directions if file.is_file() else []
    save_directions(file, [*there, direction], model)


def as_file(directions: Sequence[Direction], model: Model) -> bytes:
    """Directions as the bytes of a .safetensors."""
    with tempfile.TemporaryDirectory() as folder:
        save_directions(file := Path(folder) / FILE, directions, model)
        return file.read_bytes()


def from_file(content: bytes, model: Model, name: str) -> list[str]:
    """Make the directions of such bytes one's own, but for those that are there already; the names of the new ones.

    One whose name another direction has is called NAME-2. Raises GanlabError for bytes that hold no directions of this
    model.
    """
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder) / FILE).write_bytes(content)
        try:
            found = load_directions(file, model).directions
        except WeightsError as error:
            raise WeightsError(str(error).replace(str(file), "The file")) from None
    every, new = known(model, name), []
    for direction in found:
        if PRINCIPAL.fullmatch(direction.name) or any(
            np.array_equal(d.vector, direction.vector) for d in every.values()
        ):
            continue
        names = [direction.name, *(f"{direction.name}-{i}" for i in range(2, 1000))]
        free = next(candidate for candidate in names if candidate not in every)
        every[free] = replace(direction, name=free)
        own(name).directions.append(every[free])
        new.append(free)
    return new
