"""A picture from the strokes of a pen, as a model's pictures are: to be found in latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ganlab.data.picture import as_digit
from ganlab.errors import DataError

SIDE = 336  # pixels of the sheet on which is drawn, before it is scaled: a multiple of 28
MOST_POINTS = 20_000


@dataclass(frozen=True)
class Stroke:
    """A line through points (x, y), of the sheet from 0 to 1, right and down; one point is a dot, and none fills the
    sheet. `width`: of the sheet; `colour`: RGB, 0 to 255."""

    points: tuple[tuple[float, float], ...]
    width: float
    colour: tuple[int, int, int] = (255, 255, 255)


def read_strokes(given: Any) -> tuple[Stroke, ...]:
    """Strokes as a browser sends them: a list of {points: [[x, y], …], width, colour: [r, g, b]}.

    Raises DataError for anything else, and for more than MOST_POINTS points or strokes.
    """
    try:
        if max(len(given), sum(len(stroke["points"]) for stroke in given)) > MOST_POINTS:
            raise DataError("This drawing has too many strokes. Clear it and begin again.")
        return tuple(_stroke(**stroke) for stroke in given)
    except (TypeError, ValueError, KeyError, OverflowError):
        raise DataError("This drawing can't be read. Clear it and begin again.") from None


def _stroke(points: Any, width: Any, colour: Any) -> Stroke:
    places = tuple((float(x), float(y)) for x, y in points)
    red, green, blue = (int(level) for level in colour)
    numbers = [float(width), *(u for place in places for u in place)]
    if not all(-1 <= u <= 2 for u in numbers) or not all(0 <= level <= 255 for level in (red, green, blue)):
        raise ValueError("off the sheet")
    return Stroke(places, float(width), (red, green, blue))


def drawn(strokes: Sequence[Stroke], size: int, channels: int, *, digit: bool = False) -> np.ndarray:
    """What strokes draw on black: uint8 (size, size, channels), with soft edges.

    With `digit` (grey) it is fitted and centred as MNIST's digits were; see `ganlab.data.picture`. Raises DataError if
    it then holds no ink.
    """
    sheet = Image.new("RGB", (SIDE, SIDE))
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes:
        _draw(pen, stroke)
    if channels == 1:
        sheet = sheet.convert("L")
        if digit:
            return as_digit(np.asarray(sheet), size)
    return np.asarray(sheet.resize((size, size), Image.Resampling.BOX)).reshape(size, size, channels)


def _draw(pen: ImageDraw.ImageDraw, stroke: Stroke) -> None:
    if not stroke.points:
        pen.rectangle((0, 0, SIDE, SIDE), fill=stroke.colour)
        return
    places = [(SIDE * x, SIDE * y) for x, y in stroke.points]
    radius = max(1.0, SIDE * stroke.width / 2)
    pen.line(places, fill=stroke.colour, width=round(2 * radius))
    for x, y in places:  # round ends, and round corners
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=stroke.colour)
