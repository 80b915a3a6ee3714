"""Pictures as files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from ganlab.errors import ConfigError, RunError
from ganlab.files import write_atomic

Frame = TypeVar("Frame")  # a picture, or its file
HOLD = 2.0  # seconds that the last picture of a timelapse stays


def png_bytes(image: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, C), as PNG: grey for C = 1, colour for C = 3."""
    buffer = io.BytesIO()
    _pillow(image).save(buffer, "PNG")
    return buffer.getvalue()


def gif_bytes(
    frames: np.ndarray,
    fps: float = 20,
    *,
    loop: bool = True,
    scale: int = 4,
    bounce: bool = True,
    hold: float | None = None,
) -> bytes:
    """Frames, uint8 (N, H, W, C), as a GIF, each pixel `scale` wide; with `bounce` it runs there and back.

    `loop`: for ever instead of once. `hold`: seconds that the last frame stays, instead of 1 / fps. Grey is exact; each
    colour frame has the 256 colours that suit it best. GIF counts in hundredths of a second, so single frames last one
    more or less and the total is right. Frames that equal the one before are stored once, with their times added up.
    Raises ConfigError for no frames, or a rate that browsers do not play.
    """
    if len(frames) < 1 or not 1 <= fps <= 50:
        raise ConfigError(f"A GIF needs a frame at least and 1 to 50 frames a second; got {len(frames)} and {fps:g}.")
    first, *others = [_indexed(frame, scale) for frame in frames]
    if bounce:
        others += others[-2::-1]
    ends = [round(100 * i / fps) for i in range(len(others) + 2)]
    durations = [10 * (end - start) for start, end in zip(ends, ends[1:], strict=False)]
    if hold is not None:
        durations[-1] = 10 * round(100 * hold)
    buffer = io.BytesIO()
    forever = {"loop": 0} if loop else {}
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, **forever)
    return buffer.getvalue()


def save_image(path: Path, image: np.ndarray) -> None:
    """Write a picture, uint8 (H, W, C), as PNG, atomically. Raises ConfigError for another extension."""
    _expect_suffix(path, ".png")
    write_atomic(path, png_bytes(image))


def save_timelapse(path: Path, files: Sequence[Path], fps: float = 12, scale: int = 1, max_frames: int = 200) -> None:
    """Write pictures of one size, PNG files in their order, as a GIF, atomically; the last one stays for two seconds.

    See `save_film`. Raises RunError that names a file that is damaged, or of another size than the first.
    """
    files = _thinned(files, max_frames)
    frames = [_read_png(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise RunError(
                f"{file} is {frame.shape}, and {files[0]} is {frames[0].shape} (height, width, channels): a film needs "
                "pictures of one size. Delete those that do not belong to it."
            )
    save_film(path, frames, fps, scale, max_frames)


def save_film(path: Path, frames: Sequence[np.ndarray], fps: float = 12, scale: int = 1, max_frames: int = 200) -> None:
    """Write frames, uint8 (H, W, C) of one size, as a GIF, atomically; the last one stays for two seconds.

    Of more than `max_frames` it shows so many, spread evenly over the list, the first and the last among them.
    Raises ConfigError for another extension, no frames, or numbers out of range.
    """
    _expect_suffix(path, ".gif")
    if not 1 <= scale <= 16 or max_frames < 2:
        raise ConfigError(f"scale must be from 1 to 16 and max-frames 2 at least; got {scale} and {max_frames}.")
    shown = np.array(_thinned(frames, max_frames))
    write_atomic(path, gif_bytes(shown, fps, scale=scale, bounce=False, hold=HOLD))


def _thinned(frames: Sequence[Frame], most: int) -> list[Frame]:
    """At most so many, evenly, both ends among them."""
    if len(frames) <= most:
        return list(frames)
    return [frames[i] for i in np.linspace(0, len(frames) - 1, max(most, 2)).round().astype(int)]


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
        raise ConfigError(f"{path}: pictures are written as .png, arrays as .npz, films as .gif; here {suffix}.")


def _read_png(path: Path) -> np.ndarray:
    """A picture as uint8 (H, W, C), grey for C = 1. Raises RunError if it is damaged, OSError if it can't be read."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged or torn file
        raise RunError(f"{path} is damaged ({error}). Delete it to go on without it.") from None
    return pixels.reshape(*pixels.shape[:2], -1)


def _pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _indexed(frame: np.ndarray, scale: int) -> Image.Image:
    """A frame of at most 256 colours. Quantised before it is scaled: the same colours from fewer pixels."""
    image = _pillow(frame)
    if image.mode == "RGB":
        image = image.quantize(256, dither=Image.Dither.NONE)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
