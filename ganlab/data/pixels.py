"""Any picture as a square uint8 array, grey or RGB."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 64_000_000  # below Pillow's own limit; at 4 bytes a pixel this is 256 MB in memory
_OVERSIZE = 3  # shrink quickly to 3x the target, then filter: no visible difference, several times faster


def decode(data: bytes, size: int, channels: int) -> np.ndarray:
    """The picture in the file contents `data`, upright, as uint8 (size, size, channels); of an animation, its first
    frame.

    Raises as `opened`.
    """
    with opened(io.BytesIO(data), None, _OVERSIZE * size) as image:
        return to_array(image, size, channels)


@contextmanager
def opened(file: io.BytesIO, mode: str | None, draft: int) -> Iterator[Image.Image]:
    """The picture in a file, upright, of a JPEG at about `draft` pixels; in mode L or RGB, or as it is (None).

    Raises whatever Pillow's decoders raise for a damaged file (OSError, ValueError, SyntaxError and more), and
    ValueError for a picture of more than MAX_PIXELS, whose pixels are then never decoded.
    """
    with Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} is more than {MAX_PIXELS // 10**6} megapixels")
        image.draft(None, (draft, draft))  # a JPEG decodes straight to about this size
        ImageOps.exif_transpose(image, in_place=True)
        yield image if mode is None else _plain(image, mode)


def to_array(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """The centre square of `image`, scaled to uint8 (size, size, channels). Pixels are kept exactly where the shorter
    side already has `size` pixels."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped before it is scaled: a 1 x 10,000 strip would grow to gigabytes the other way round.
    square = image.crop((left, top, left + side, top + side))
    square = _plain(square, "L" if channels == 1 else "RGB")
    if side != size:
        square = square.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=_OVERSIZE)
    return np.asarray(square).reshape(size, size, channels)


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """`image` in mode L or RGB: transparency over white, 16 bits scaled to 8."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # I;16 and its byte orders; I in older versions of Pillow
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels have more than 16 bits; save it with 8 or 16 bits a channel")
        image = Image.fromarray(np.round(values / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")  # not every mode converts to grey in one step
    return image.convert(mode)


def convert(images: np.ndarray, size: int, channels: int) -> np.ndarray:
    """uint8 (N, H, W, C) as uint8 (N, size, size, channels); the same array if it already is."""
    if images.shape[1:] == (size, size, channels):
        return images
    out = np.empty((len(images), size, size, channels), np.uint8)
    for i, image in enumerate(images):
        out[i] = to_array(Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image), size, channels)
    return out
