"""All figures of one set of pictures, generated or real, against one reference: the same code for a model, for the
floor and for the ceiling."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ganlab.evaluate.extractors import Extractor
from ganlab.evaluate.metrics import (
    KernelSums,
    Moments,
    class_agreement,
    class_histogram,
    density_coverage,
    frechet_from_moments,
    histogram_divergence,
    kernel_distance,
    moments,
    num_modes,
    precision_recall,
)
from ganlab.evaluate.neighbours import duplicates, support_estimate
from ganlab.evaluate.report import Better

NEIGHBOURS = 5  # kept of each reference picture; density and coverage need the fifth, precision and recall the third
BETTER: dict[str, Better] = {
    "fd": "lower",
    "kd": "lower",
    "precision": "higher",
    "recall": "higher",
    "density": "middle",  # 1 for the data itself; above it, samples crowd where the data is dense
    "coverage": "higher",
    "agreement": "higher",
    "modes": "higher",
    "class_kl": "lower",
    "duplicates": "lower",
    "support": "higher",
}


class Figure(NamedTuple):
    """One figure; its standard error, or the ends of its 95% interval, where they are known."""

    value: float
    error: float | None = None
    low: float | None = None
    high: float | None = None


class Held(NamedTuple):
    """The reference pictures: features float32 (N, F), moments, distances (N, NEIGHBOURS) to the nearest others, kernel
    sums, the distance below which two samples are duplicates, shares of classes."""

    features: np.ndarray
    moments: Moments
    distances: np.ndarray
    kernel: KernelSums
    threshold: float
    histogram: np.ndarray


def figures(
    extractor: Extractor, held: Held, features: np.ndarray, classes: np.ndarray, asked: np.ndarray | None
) -> dict[str, Figure]:
    """The figures by family, of pictures seen as `features` (M, F) and `classes` (M,). `asked`: the classes (M,) that
    they should be of, where that is known."""
    real, num = held.features, len(features)
    found = {"fd": Figure(frechet_from_moments(*held.moments, *moments(features)))}
    found["kd"] = Figure(*kernel_distance(real, features, real_sums=held.kernel))
    precision, recall = precision_recall(real, features, real_distances=held.distances)
    density, coverage = density_coverage(real, features, real_distances=held.distances)
    found |= {"precision": Figure(precision), "recall": Figure(recall)}
    found |= {"density": Figure(density), "coverage": Figure(coverage)}
    if asked is not None:
        share = class_agreement(classes, asked)
        found["agreement"] = Figure(share, (share * (1 - share) / num) ** 0.5)
    if extractor.own:
        shares = class_histogram(classes, len(extractor.classes))
        # the modes of stacked MNIST are too many for the data's histogram to have no gaps by chance
        expected = np.ones(len(shares)) if extractor.stacked else held.histogram
        found["modes"] = Figure(num_modes(classes))
        found["class_kl"] = Figure(histogram_divergence(shares, expected))
    pairs = duplicates(features, held.threshold)
    size, low, high = support_estimate(num, pairs)
    found |= {"duplicates": Figure(pairs), "support": Figure(size, None, low, high)}
    return found
