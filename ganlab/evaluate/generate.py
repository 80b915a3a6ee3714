"""The pictures of a model that are measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ganlab.data import Dataset
from ganlab.evaluate.extractors import CHUNK
from ganlab.render import Model

Progress = Callable[[str, float], None]  # hears what is being done, and the share that is behind it
GOLDEN = (5**0.5 - 1) / 2


class Generated(NamedTuple):
    """Pictures uint8 (N, H, W, C) of seeds (N,); of a conditional model, the classes (N,) that it was asked for."""

    images: np.ndarray
    seeds: np.ndarray
    asked: np.ndarray | None


def generate(model: Model, num: int, seed: int, data: Dataset, progress: Progress) -> Generated:
    """The pictures of `num` seeds from `seed` on; for the classes see `asked_classes`."""
    seeds = np.arange(seed, seed + num)
    asked = asked_classes(model, seeds, data)
    parts = []
    for i in range(0, num, CHUNK):
        progress("generating", i / num)
        z = model.z(seeds[i : i + CHUNK].tolist())
        parts.append(model.generate(z, None if asked is None else asked[i : i + CHUNK]))
    return Generated(np.concatenate(parts), seeds, asked)


def asked_classes(model: Model, seeds: np.ndarray, data: Dataset) -> np.ndarray | None:
    """The class that a conditional model is asked for at each seed, int64 (N,); None if it is unconditional.

    As often as the data has each; equally often where the data does not know the model's classes. By seed alone, in the
    order of multiples of the golden ratio, which comes closer to these shares than chance would (Weyl's sequence).
    """
    if not model.num_classes:
        return None
    counts = np.ones(model.num_classes, int)
    if set(model.classes) <= set(data.classes):
        every = np.bincount(data.labels, minlength=len(data.classes))
        counts = every[[data.classes.index(name) for name in model.classes]]
    ends = np.cumsum(counts) / counts.sum()
    return np.minimum(np.searchsorted(ends, (seeds + 1) * GOLDEN % 1, side="right"), model.num_classes - 1)
