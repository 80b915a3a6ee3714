"""One picture from a file, as a model's pictures are: to be found in latent space."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from ganlab.data.files import MAX_FILE_BYTES
from ganlab.data.folder import reason
from ganlab.data.pixels import decode, opened
from ganlab.errors import DataError

BOX = 20 / 28  # of the side: into so much a digit is fitted, as MNIST's were
LEAST_INK = 0.15  # of the darkest stroke: fainter is paper
LARGEST = 512  # pixels a side to which a picture is brought before its ink is looked for


def open_picture(source: Path | bytes, size: int, channels: int, *, digit: bool = False) -> np.ndarray:
    """The picture in a file, or in its content, as uint8 (size, size, channels).

    It is cropped to its centre square and scaled. With `digit` (grey) it is instead taken as ink, dark on light paper
    or light on dark, fitted into a box of 20/28 of the side, and its centre of mass put in the middle, as LeCun et al.
    1998 prepared MNIST. Raises DataError for a file that is missing, too large or no picture, or holds no ink.
    """
    name = "The picture" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else _content(source)
        return as_digit(_grey(content), size) if digit and channels == 1 else decode(content, size, channels)
    except DataError as error:
        raise DataError(f"{name} {error}") from None
    except Exception as error:  # hostile bytes meet many decoders here, and each fails in its own way
        raise DataError(f"{name} can't be read as a picture: {reason(error)}.") from None


def _content(path: Path) -> bytes:
    if not os.path.isfile(path):
        raise DataError("is no file." if os.path.exists(path) else "does not exist.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"is larger than {MAX_FILE_BYTES // 2**20} MiB.")
    return path.read_bytes()


def _grey(content: bytes) -> np.ndarray:
    with opened(io.BytesIO(content), "L", LARGEST) as image:
        image.thumbnail((LARGEST, LARGEST))
        return np.asarray(image)


def as_digit(grey: np.ndarray, size: int) -> np.ndarray:
    """Ink on paper, uint8 (H, W), as uint8 (size, size, 1), light on dark; see `open_picture`."""
    rim = np.ones(grey.shape, bool)
    rim[1:-1, 1:-1] = False
    paper = float(np.median(grey[rim]))
    ink = (paper - grey if paper > 127 else grey - paper).clip(0)
    if ink.max() < 16:
        raise DataError("holds no ink: draw something dark on light, or light on dark.")
    ink = ink / ink.max()
    rows, columns = (np.flatnonzero((ink > LEAST_INK).any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = round(BOX * size) / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    image = Image.fromarray(np.rint(255 * ink).astype(np.uint8))
    small = np.asarray(image.resize((width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR))
    weights = small / max(float(small.sum()), 1.0)
    corner = []
    for axis, side in ((1, height), (0, width)):
        centre = float((weights.sum(axis) * (np.arange(side) + 0.5)).sum())
        corner.append(min(max(round(size / 2 + 0.5 - centre), 0), size - side))  # in the middle of pixel 14 of 28
    out = np.zeros((size, size, 1), np.uint8)
    out[corner[0] : corner[0] + height, corner[1] : corner[1] + width, 0] = small
    return out
