"""Points in latent space found for a picture: the nearest of random ones, and those of a projection. No torch.

A projection (`python -m ganlab project`, `ganlab.projection`) keeps in its folder, each file written whole:

    status.json   see `ganlab.worker`
    found.npz     the best points so far; see `Found`
    found.png     the picture itself, then theirs
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganlab import export, render
from ganlab.errors import ConfigError, WeightsError
from ganlab.files import write_atomic
from ganlab.render import Model

NUM = 1000  # random points among which it is looked first
FIRST = 125  # of them, after which the first answer comes
KEPT = 8  # the best points that are shown


class Found(NamedTuple):
    """The best points so far, the best one first.

    z: float32 (K, latent_dim). y: class weights float32 (K, num_classes) of a conditional model, else None. images:
    uint8 (K, H, W, C). errors: (K,), root mean square differences from the picture, in levels from 0 to 1.
    """

    z: np.ndarray
    y: np.ndarray | None
    images: np.ndarray
    errors: np.ndarray

    def best(self, num: int = KEPT) -> Found:
        """The `num` best of them, in order."""
        rows = np.argsort(self.errors, kind="stable")[:num]
        return Found(self.z[rows], None if self.y is None else self.y[rows], self.images[rows], self.errors[rows])


def differences(images: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Root mean square differences of pictures uint8 (N, H, W, C) from one (H, W, C), (N,), in levels from 0 to 1."""
    levels = images.astype(np.float32) / 255 - image.astype(np.float32) / 255
    return np.sqrt(np.square(levels.reshape(len(images), -1)).mean(1))


def drawn(model: Model, image: np.ndarray, z: np.ndarray, y: np.ndarray | None) -> Found:
    """Points with their pictures and errors, in their order."""
    images = model.generate(z, y)
    return Found(z.astype(np.float32), y, images, differences(images, image))


def nearest_samples(
    model: Model, image: np.ndarray, *, num: int = NUM, seed: int = 0, keep: int = KEPT
) -> Iterator[Found]:
    """The `keep` nearest of random points to a picture uint8 (H, W, C), better with each answer: the first after FIRST
    of them, the last after all `num`. They are the seeds from `seed` on, classes going round.

    Raises ConfigError for a picture of another shape.
    """
    shape = (model.config.image_size, model.config.image_size, model.config.channels)
    if image.shape != shape or image.dtype != np.uint8:
        raise ConfigError(f"{model.name} makes pictures uint8 {shape}; this one is {image.dtype} {image.shape}.")
    kept: Found | None = None
    for first in range(seed, seed + num, FIRST):
        seeds = range(first, min(first + FIRST, seed + num))
        labels = model.labels_of(seeds)
        y = None if labels is None else np.eye(model.num_classes, dtype=np.float32)[labels]
        kept = joined(kept, drawn(model, image, model.z(seeds), y)).best(keep)
        yield kept


def joined(a: Found | None, b: Found) -> Found:
    """The points of both."""
    if a is None:
        return b
    y = None if a.y is None or b.y is None else np.concatenate([a.y, b.y])
    z, images, errors = (np.concatenate(p) for p in ((a.z, b.z), (a.images, b.images), (a.errors, b.errors)))
    return Found(z, y, images, errors)


def save_found(folder: Path, image: np.ndarray, found: Found) -> None:
    """Write found.npz and found.png."""
    arrays = {"image": image, **{name: array for name, array in found._asdict().items() if array is not None}}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(folder / "found.npz", buffer.getvalue())
    export.save_image(folder / "found.png", render.strip(np.concatenate([image[None], found.images]), gap=2))


def load_found(folder: Path) -> tuple[np.ndarray, Found] | None:
    """The picture and the best points so far; None if there are none yet."""
    try:
        with np.load(folder / "found.npz", allow_pickle=False) as arrays:
            y = arrays["y"] if "y" in arrays else None
            return arrays["image"], Found(arrays["z"], y, arrays["images"], arrays["errors"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


# --- what is typical -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Typical:
    """How well a model's projections meet `num` pictures of the test split of its `data`, as `python -m
    benchmarks.projection` found: the median of their errors, and the error that a twentieth exceed."""

    data: str
    num: int
    median: float
    p95: float

    def verdict(self, error: float) -> str:
        """Whether a picture with this error can be reached, in words."""
        usual = f"{self.median:.3f} for {self.num} test pictures of {self.data}, of which 95% are below {self.p95:.3f}"
        if error <= self.p95:
            return f"It can be reached: the usual error is {usual}."
        return (
            f"It can't be reached: this model makes nothing so near to it as to the data. The usual error is {usual}."
        )


def read_typical(file: Path) -> Typical | None:
    """What is typical of a model; None where nobody has measured it."""
    try:
        return Typical(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError) as error:
        raise WeightsError(f"{file} can't be read: {error}. Measure it again, or delete it.") from None
