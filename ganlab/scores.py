"""Cheap measures of the averaged generator while it trains, lower is better. A row in `SCORES` is all that a new one
needs: the real pictures in, a function of generated ones out; both uint8 (N, H, W, C)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Score = Callable[[np.ndarray], float]
NUM = 512  # generated pictures that are scored, always of the same noise


def pixel_moments(real: np.ndarray) -> Score:
    """Euclidean distance between generated and real pictures' mean and standard deviation of each pixel, in levels of
    [0, 1], divided by the square root of the number of pixels: the Fréchet distance (Dowson & Landau 1982) of pixels
    taken as independent. It sees a wrong average picture and collapse, nothing finer."""

    def moments(images: np.ndarray) -> np.ndarray:
        return np.stack([images.mean(0, dtype=np.float64), images.std(0, dtype=np.float64)]) / 255

    target = moments(real)
    return lambda generated: float(np.sqrt(np.square(moments(generated) - target).sum(0).mean()))


SCORES: dict[str, Callable[[np.ndarray], Score]] = {"pixel-moments": pixel_moments}
