"""What a recipe shows: its points in latent space, its pictures, and the files of them. No torch."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganlab import export, latent, lattice, render
from ganlab.directions import Direction, find_direction, move
from ganlab.errors import ConfigError
from ganlab.files import write_atomic
from ganlab.recipe import Anchor, Blend, Recipe, Show
from ganlab.render import Model

MAX_PICTURES = 10_000
MAX_SCALE = 64


class Scene(NamedTuple):
    """z float32 (N, latent_dim), and class weights float32 (N, num_classes) of a conditional model, in reading order;
    `columns`: pictures in a row."""

    z: np.ndarray
    y: np.ndarray | None
    columns: int | None


def scene(recipe: Recipe, model: Model, saved: Mapping[str, Direction] | None = None) -> Scene:
    """The points that a recipe shows of its model.

    `saved`: directions by name; principal ones need not be among them. Raises ConfigError where the recipe does not go
    with the model: another length of z, no such class or direction, or too many pictures.
    """
    count, sides = recipe.count, len(recipe.anchors)
    total = {"pictures": sides, "classes": sides * max(model.num_classes, 1), "lerp": count, "slerp": count}
    if total.get(recipe.show, count**2) > MAX_PICTURES:
        raise ConfigError(f"The recipe shows more than {MAX_PICTURES:,} pictures; take a smaller num.")
    points = _LAYOUTS[recipe.show](recipe, model)
    steps = []
    for step in recipe.moves:
        if isinstance(step.direction, str):
            steps.append((find_direction(step.direction, model, saved or {}), step.amount))
        else:
            vector = np.array(step.direction, np.float32)
            _expect_length(vector, model)
            steps.append((Direction("", vector), step.amount))
    return points._replace(z=move(points.z, steps))


def pictures(recipe: Recipe, model: Model, saved: Mapping[str, Direction] | None = None) -> np.ndarray:
    """The pictures that a recipe shows, uint8 (N, H, W, C), in reading order or that of time. Raises as `scene`."""
    z, y, _ = scene(recipe, model, saved)
    return model.generate(z, y)


def save_scene(
    path: Path,
    points: Scene,
    model: Model,
    *,
    scale: int = 1,
    fps: float = 20,
    closed: bool = False,
    progress: export.Progress | None = None,
) -> None:
    """Write what a recipe shows, atomically; its extension says as what. See `scene_bytes`."""
    content = scene_bytes(path.suffix, points, model, scale=scale, fps=fps, closed=closed, progress=progress)
    write_atomic(path, content)


def scene_bytes(
    kind: str,
    points: Scene,
    model: Model,
    *,
    scale: int = 1,
    fps: float = 20,
    closed: bool = False,
    progress: export.Progress | None = None,
) -> bytes:
    """What a recipe shows as a file, each pixel `scale` wide: .png (pictures in their rows), .gif or .mp4 (one after
    another; there and back unless `closed`), or .npy (z, float32). `progress`: hears of a film how far it is.

    Raises ConfigError for another kind, or a scale out of range.
    """
    if not 1 <= scale <= MAX_SCALE:
        raise ConfigError(f"scale is a whole number from 1 to {MAX_SCALE}; got {scale}.")
    kind = kind.lower()
    if kind == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, points.z)
        return buffer.getvalue()
    if kind not in (".png", *export.FILMS):
        raise ConfigError(
            f"A recipe is drawn as .png, .gif, .mp4, or .npy (its z), not as {kind or 'a file without any'}."
        )
    images = model.generate(points.z, points.y)
    if kind != ".png":
        return export.film_bytes(kind, images, fps, scale=scale, bounce=not closed, progress=progress)
    return export.png_bytes(render.upscale(render.grid(images, points.columns), scale))


# --- layouts ---------------------------------------------------------------------------------------------------------


def _pictures(recipe: Recipe, model: Model) -> Scene:
    return Scene(*_anchors(recipe, model), None)


def _walk(recipe: Recipe, model: Model) -> Scene:
    z, y = _anchors(recipe, model)
    frames, kind, closed = recipe.count, recipe.show, recipe.closed
    assert kind in ("lerp", "slerp")
    weights = None if y is None else latent.path(y, frames, "lerp", closed)
    return Scene(latent.path(z, frames, kind, closed), weights, frames)


def _classes(recipe: Recipe, model: Model) -> Scene:
    if not model.num_classes:
        raise ConfigError(f"{model.name} knows no classes: show=classes takes a conditional model.")
    if recipe.blend or any(anchor.blend for anchor in recipe.anchors):
        raise ConfigError("show=classes draws every class: leave class and @ out of the recipe.")
    z = _z(recipe, model)
    return Scene(*latent.in_all_classes(z, model.num_classes), model.num_classes)


def _plane(recipe: Recipe, model: Model) -> Scene:
    a, b, c = _z(recipe, model)
    z = latent.plane(a, b, c, recipe.count)
    return Scene(z, _one_class(recipe, model, len(z)), recipe.count)


def _place(recipe: Recipe, model: Model) -> Scene:
    num, where = recipe.count, (recipe.x, recipe.y)
    x, y = np.array(where)[:, None] if num == 1 else lattice.tiles(*where, recipe.zoom, num)
    if recipe.show == "lattice":
        seed = recipe.anchors[0].at
        assert isinstance(seed, int)
        z = lattice.at(seed, x, y, model.config.latent_dim, model.config.prior)
        z = latent.truncate(z, recipe.truncation)
    else:
        a, b, c = _z(recipe, model)
        z = lattice.through(a, b, c, x, y)
    return Scene(z, _one_class(recipe, model, len(z)), num)


_LAYOUTS: dict[Show, Callable[[Recipe, Model], Scene]] = {
    "pictures": _pictures,
    "lerp": _walk,
    "slerp": _walk,
    "classes": _classes,
    "plane": _plane,
    "lattice": _place,
    "through": _place,
}


# --- anchors ---------------------------------------------------------------------------------------------------------


def _anchors(recipe: Recipe, model: Model) -> tuple[np.ndarray, np.ndarray | None]:
    """z (A, latent_dim) and class weights (A, num_classes)."""
    weights = [class_weights(anchor, recipe.blend, model) for anchor in recipe.anchors]
    return _z(recipe, model), np.array(weights, np.float32) if model.num_classes else None


def _z(recipe: Recipe, model: Model) -> np.ndarray:
    rows = []
    for anchor in recipe.anchors:
        if isinstance(anchor.at, int):
            rows.append(model.z([anchor.at], recipe.truncation)[0])
        else:
            rows.append(np.array(anchor.at, np.float32))
            _expect_length(rows[-1], model)
    return np.array(rows)


def class_weights(anchor: Anchor, blend: Blend, model: Model) -> np.ndarray | None:
    """What a conditional model takes for an anchor, float32 (num_classes,): its own blend, else `blend`, else the class
    of its seed. Raises ConfigError for a class that the model lacks, or where nothing says which."""
    blend = anchor.blend or blend
    if not model.num_classes:
        if blend:
            model.index_of(blend[0][0])  # says that there are none
        return None
    if not blend:
        if not isinstance(anchor.at, int):
            raise ConfigError(
                f"{model.name} draws classes: say which, with class={model.classes[0]} or @ behind the z."
            )
        return np.eye(model.num_classes, dtype=np.float32)[anchor.at % model.num_classes]
    weights = np.zeros(model.num_classes)
    for name, weight in blend:
        weights[model.index_of(name)] += weight
    return (weights / weights.sum()).astype(np.float32)


def _one_class(recipe: Recipe, model: Model, num: int) -> np.ndarray | None:
    """The first anchor's class for all: a plane has one."""
    if len({anchor.blend for anchor in recipe.anchors}) > 1:
        raise ConfigError("All of a plane is of one class: give it as class, without @.")
    weights = class_weights(recipe.anchors[0], recipe.blend, model)
    return None if weights is None else np.tile(weights, (num, 1))


def _expect_length(z: np.ndarray, model: Model) -> None:
    if z.shape != (model.config.latent_dim,):
        raise ConfigError(f"The recipe holds a z of {len(z)} numbers; {model.name} takes {model.config.latent_dim}.")
