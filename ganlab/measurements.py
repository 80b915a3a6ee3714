"""What can be measured of a picture by itself: how a digit leans, how thick its strokes are; how bright, how warm."""

from __future__ import annotations

import numpy as np

from ganlab.errors import ConfigError

GREY = ("slant", "thickness", "size", "aspect", "brightness")
COLOUR = ("brightness", "contrast", "warmth", "saturation")
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as data sets turn colour to grey
LEAST_INK = 1e-3  # of a picture: below, there is nothing whose shape could be measured


def names_for(channels: int) -> tuple[str, ...]:
    """The measurements of pictures with so many channels, 1 or 3."""
    return GREY if channels == 1 else COLOUR


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measurements of pictures uint8 (N, H, W, C) by name, float64 (N,).

    Of grey ones, where ink is what is bright (what is dark, if most of the pixels along the borders are bright):

        slant        pixels to the right for each pixel up, by which a shear would set it upright (mu11 / mu02)
        thickness    of the strokes, in pixels: twice the area over the perimeter, which is exact for a ring
        size         root mean square distance of the ink from its centre, in pixels
        aspect       width over height, as standard deviations, once it is set upright
        brightness   mean level, from 0 to 1

    The first four are NaN for a picture without ink. Of colour ones, all from 0 to 1 but warmth, from -1 to 1:

        brightness   mean luma
        contrast     standard deviation of luma
        warmth       mean of red less mean of blue
        saturation   mean over pixels of the largest channel less the smallest

    Raises ConfigError for another shape or type.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
        raise ConfigError(f"Pictures are uint8 (N, H, W, 1 or 3); got {images.dtype} {images.shape}.")
    levels = images / 255
    return _grey(levels[..., 0]) if images.shape[-1] == 1 else _colour(levels)


def _colour(levels: np.ndarray) -> dict[str, np.ndarray]:
    luma = levels @ LUMA
    return {
        "brightness": luma.mean((1, 2)),
        "contrast": luma.std((1, 2)),
        "warmth": (levels[..., 0] - levels[..., 2]).mean((1, 2)),
        "saturation": (levels.max(-1) - levels.min(-1)).mean((1, 2)),
    }


def _grey(levels: np.ndarray) -> dict[str, np.ndarray]:
    rim = np.ones(levels.shape[1:], bool)
    rim[1:-1, 1:-1] = False
    ink = 1 - levels if len(levels) and np.median(levels[:, rim]) > 0.5 else levels
    height, width = ink.shape[1:]
    area = ink.sum((1, 2))
    area = np.where(area < LEAST_INK * height * width, np.nan, area)
    up, right = -np.arange(height)[:, None], np.arange(width)

    def mean(values: np.ndarray) -> np.ndarray:
        """Over the ink of each picture, (N,)."""
        return (ink * values).sum((1, 2)) / area

    x, y = right - mean(right)[:, None, None], up - mean(up)[:, None, None]
    xx, yy, xy = mean(x * x), mean(y * y), mean(x * y)
    flat = yy < 1e-9  # one row of pixels: no shear would show
    slant = np.where(flat, 0, xy / np.where(flat, 1, yy))
    upright = np.sqrt(np.maximum(xx - slant * xy, 0))
    return {
        "slant": slant + 0 * area,
        "thickness": 2 * area / np.maximum(_perimeter(ink), 1e-9),
        "size": np.sqrt(xx + yy),
        "aspect": upright / np.sqrt(np.maximum(yy, 1 / 12)),  # one row: as high as a pixel
        "brightness": levels.mean((1, 2)),
    }


def _perimeter(ink: np.ndarray) -> np.ndarray:
    """The mean length of the outlines at all levels from 0 to 1, in pixels, (N,): the total variation (coarea formula).

    Gradients are taken at the corners between four pixels, so that a diagonal outline is as long as it is.
    """
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    across, down = np.diff(padded, axis=2), np.diff(padded, axis=1)
    dx, dy = (across[:, 1:] + across[:, :-1]) / 2, (down[:, :, 1:] + down[:, :, :-1]) / 2
    return np.hypot(dx, dy).sum((1, 2))
