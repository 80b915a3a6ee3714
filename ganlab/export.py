"""Pictures as files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ganlab.errors import ConfigError
from ganlab.files import write_atomic


def png_bytes(image: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, C), as PNG: grey for C = 1, colour for C = 3."""
    buffer = io.BytesIO()
    _pillow(image).save(buffer, "PNG")
    return buffer.getvalue()


def gif_bytes(frames: np.ndarray, fps: float = 20, *, loop: bool = True, scale: int = 4, bounce: bool = True) -> bytes:
    """Frames, uint8 (N, H, W, C), as a GIF, each pixel `scale` wide; with `bounce` it runs there and back.

    `loop`: for ever instead of once. Grey is exact; each colour frame has the 256 colours that suit it best. GIF
    counts in hundredths of a second, so single frames last one more or less and the total is right. Frames that equal
    the one before are stored once, with their times added up. Raises ConfigError for no frames, or a rate that
    browsers do not play.
    """
    if len(frames) < 1 or not 1 <= fps <= 50:
        raise ConfigError(f"A GIF needs a frame at least and 1 to 50 frames a second; got {len(frames)} and {fps:g}.")
    first, *others = [_indexed(frame, scale) for frame in frames]
    if bounce:
        others += others[-2::-1]
    ends = [round(100 * i / fps) for i in range(len(others) + 2)]
    durations = [10 * (end - start) for start, end in zip(ends, ends[1:], strict=False)]
    buffer = io.BytesIO()
    forever = {"loop": 0} if loop else {}
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, **forever)
    return buffer.getvalue()


def save_image(path: Path, image: np.ndarray) -> None:
    """Write a picture, uint8 (H, W, C), as PNG, atomically. Raises ConfigError for another extension."""
    _expect_suffix(path, ".png")
    write_atomic(path, png_bytes(image))


def save_npz(path: Path, images: np.ndarray, labels: np.ndarray | None = None) -> None:
    """Write the arrays `images`, uint8 (N, H, W, C), and `labels` (N,) if there are any, atomically, for `numpy.load`.

    Raises ConfigError for another extension.
    """
    _expect_suffix(path, ".npz")
    buffer = io.BytesIO()
    if labels is None:
        np.savez_compressed(buffer, images=images)
    else:
        np.savez_compressed(buffer, images=images, labels=labels)
    write_atomic(path, buffer.getvalue())


def _expect_suffix(path: Path, suffix: str) -> None:
    if path.suffix.lower() != suffix:
        raise ConfigError(f"{path}: pictures are written as .png, arrays as .npz, walks as .gif; here {suffix}.")


def _pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _indexed(frame: np.ndarray, scale: int) -> Image.Image:
    """A frame of at most 256 colours. Quantised before it is scaled: the same colours from fewer pixels."""
    image = _pillow(frame)
    if image.mode == "RGB":
        image = image.quantize(256, dither=Image.Dither.NONE)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
