"""A recipe over a training: what it shows, drawn by each snapshot of a model's history or of a run. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ganlab import catalog, render
from ganlab.directions import FILE, load_directions
from ganlab.errors import WeightsError
from ganlab.export import Progress
from ganlab.recipe import Recipe
from ganlab.render import Model, load_model
from ganlab.scene import Scene, scene


def points_of(recipe: Recipe, model: Model | None = None) -> Scene:
    """The points that a recipe shows, also along the directions beside its model. Raises as `catalog.find` and
    `scene`."""
    model = model or catalog.load(recipe.source)
    kept = catalog.beside(recipe.source, FILE)
    saved = load_directions(kept, model).directions if kept.is_file() else []
    return scene(recipe, model, {direction.name: direction for direction in saved})


def snapshots_of(recipe: Recipe) -> dict[int, Path]:
    """The snapshots of a recipe's model by step, first steps first. Raises WeightsError where there is none."""
    catalog.find(recipe.model)
    if not (found := catalog.snapshots(recipe.model)):
        raise WeightsError(f"{recipe.model} was released without a history: there is one picture of it, and no film.")
    return found


def frame(points: Scene, file: Path) -> np.ndarray:
    """What a snapshot draws at these points, as `render` lays it out: uint8 (H, W, C)."""
    return render.grid(load_model(file).generate(points.z, points.y), points.columns)


def frames(points: Scene, files: Sequence[Path], progress: Progress | None = None) -> np.ndarray:
    """The same of each snapshot, uint8 (len(files), H, W, C): the same z at every step. `progress`: hears how far."""
    drawn = []
    for i, file in enumerate(files):
        drawn.append(frame(points, file))
        if progress is not None:
            progress((i + 1) / len(files))
    return np.array(drawn)


def spread(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` of the steps, in order: every second, fourth, … and always the last. As a training goes on, those
    that were chosen stay until every other one goes."""
    stride = 1
    while -(-len(steps) // stride) >= most > 1 and len(steps) > most:
        stride *= 2
    return sorted({*steps[::stride], *steps[-1:]})
