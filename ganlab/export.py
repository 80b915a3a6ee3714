"""Pictures as files."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ganlab.errors import ConfigError, RunError
from ganlab.files import write_atomic
from ganlab.render import strip, upscale

Frame = TypeVar("Frame")  # a picture, or its file
Progress = Callable[[float], object]  # hears how far it is, from 0 to 1
HOLD = 2.0  # seconds that the last picture of a timelapse stays
FILMS = (".gif", ".mp4")
FPS = (1, 50)
MAX_MILLIONS = 1_000  # of pixels, of all frames of a film together: a GIF takes a byte for each while it is made
H264 = {"crf": "10", "preset": "faster"}  # levels differ by one or two


def png_bytes(image: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, C), as PNG: grey for C = 1, colour for C = 3."""
    buffer = io.BytesIO()
    _pillow(image).save(buffer, "PNG")
    return buffer.getvalue()


def film_bytes(
    kind: str,
    frames: np.ndarray,
    fps: float = 20,
    *,
    scale: int = 4,
    bounce: bool = True,
    hold: float | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Frames, uint8 (N, H, W, C), as a film, each pixel `scale` wide; with `bounce` it runs there and back.

    .gif: it plays for ever. Grey is exact; each colour frame has the 256 colours that suit it best. GIF counts in
    hundredths of a second, so single frames last one more or less and the total is right. Frames that equal the one
    before are stored once, with their times added up.

    .mp4: H.264, which every browser and telephone plays, once. Nearly exact, also in colour where `scale` is even:
    H.264 keeps one colour for two by two pixels. Where a side is odd, its last row or column is there twice.

    Arguments:
        hold: seconds that the last frame stays, instead of 1 / fps.
        progress: hears how far it is.
    Raises:
        ConfigError for another kind, no frames, a rate that browsers do not play, a film too large to be held in
        memory, or an MP4 where the package av is missing.
    """
    if kind not in FILMS:
        raise ConfigError(f"A film is a {' or a '.join(FILMS)}, not {kind or 'a file without an extension'}.")
    check_mp4(kind)
    if len(frames) < 1 or not FPS[0] <= fps <= FPS[1]:
        raise ConfigError(f"A film needs a frame at least and 1 to 50 frames a second; got {len(frames)} and {fps:g}.")
    if (millions := math.prod(frames.shape[:3]) * scale**2 / 1e6) > MAX_MILLIONS:
        raise ConfigError(
            f"That film would have {millions:,.0f} million pixels, {MAX_MILLIONS:,} at most: take a smaller scale or "
            "fewer pictures."
        )
    order = [*range(len(frames)), *(range(len(frames) - 2, 0, -1) if bounce else ())]  # neither end twice
    return (_gif if kind == ".gif" else _mp4)(frames, order, fps, scale, hold, progress)


def check_mp4(kind: str) -> None:
    """Raise ConfigError for .mp4 where the package av is missing; to be asked before pictures are drawn."""
    if kind.lower() == ".mp4" and not has_mp4():
        raise ConfigError("MP4 needs one package more: pip install av. A GIF needs none.")


def has_mp4() -> bool:
    """Whether films can be MP4s here."""
    return importlib.util.find_spec("av") is not None


def save_image(path: Path, image: np.ndarray) -> None:
    """Write a picture, uint8 (H, W, C), as PNG, atomically. Raises ConfigError for another extension."""
    _expect_suffix(path, ".png")
    write_atomic(path, png_bytes(image))


def save_timelapse(
    path: Path,
    files: Sequence[Path],
    fps: float = 12,
    scale: int = 1,
    max_frames: int = 200,
    progress: Progress | None = None,
) -> None:
    """Write pictures of one size, PNG files in their order, as a film, atomically; the last one stays for two seconds.

    See `save_film`. Raises RunError that names a file that is damaged, or of another size than the first.
    """
    files = thinned(files, max_frames)
    frames = [_read_png(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise RunError(
                f"{file} is {frame.shape}, and {files[0]} is {frames[0].shape} (height, width, channels): a film needs "
                "pictures of one size. Delete those that do not belong to it."
            )
    save_film(path, frames, fps, scale, max_frames, progress)


def save_film(
    path: Path,
    frames: Sequence[np.ndarray],
    fps: float = 12,
    scale: int = 1,
    max_frames: int = 200,
    progress: Progress | None = None,
) -> None:
    """Write frames, uint8 (H, W, C) of one size, atomically: as a GIF or an MP4, of which the last one stays for two
    seconds; or side by side, as a PNG.

    Of more than `max_frames` it shows so many, spread evenly over the list, the first and the last among them.
    Raises ConfigError for another extension, no frames, or numbers out of range.
    """
    _expect_suffix(path, *FILMS, ".png")
    if not 1 <= scale <= 16 or max_frames < 2:
        raise ConfigError(f"scale must be from 1 to 16 and max-frames 2 at least; got {scale} and {max_frames}.")
    shown = np.array(thinned(frames, max_frames))
    if path.suffix.lower() == ".png":
        save_image(path, upscale(strip(shown), scale))
        return
    film = film_bytes(path.suffix.lower(), shown, fps, scale=scale, bounce=False, hold=HOLD, progress=progress)
    write_atomic(path, film)


def thinned(frames: Sequence[Frame], most: int) -> list[Frame]:
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


def _expect_suffix(path: Path, *suffixes: str) -> None:
    if path.suffix.lower() not in suffixes:
        here = " or ".join(suffixes)
        raise ConfigError(f"{path}: pictures are written as .png, arrays as .npz, films as .gif or .mp4; here {here}.")


def _gif(
    frames: np.ndarray, order: Sequence[int], fps: float, scale: int, hold: float | None, progress: Progress | None
) -> bytes:
    indexed = [_indexed(frame, scale) for frame in _counted(list(frames), progress, 0, 0.5)]
    first, *others = [indexed[i] for i in order]
    ends = [round(100 * i / fps) for i in range(len(others) + 2)]
    durations = [10 * (end - start) for start, end in zip(ends, ends[1:], strict=False)]
    if hold is not None:
        durations[-1] = 10 * round(100 * hold)
    buffer = io.BytesIO()
    rest = _counted(others, progress, 0.5, 1)  # unoptimised, all grey frames share one palette
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=durations, optimize=False, loop=0)
    return buffer.getvalue()


def _mp4(
    frames: np.ndarray, order: Sequence[int], fps: float, scale: int, hold: float | None, progress: Progress | None
) -> bytes:
    import av  # an extra, and 100 MB

    held = [*order, *[order[-1]] * (round((hold or 0) * fps) - 1)]
    height, width = (side * scale for side in frames.shape[1:3])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", Fraction(fps).limit_denominator(1000), options=H264)
        stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
        for tag in ("color_primaries", "color_trc", "colorspace"):
            setattr(stream.codec_context, tag, 1)  # BT.709: else players guess
        for i in _counted(held, progress, 0, 1):
            file.mux(stream.encode(_video_frame(frames[i], scale)))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def _counted(items: Sequence[Frame], progress: Progress | None, start: float, end: float) -> Iterator[Frame]:
    """The items; after each, `progress` hears how far from start to end they are."""
    for i, item in enumerate(items):
        yield item
        if progress is not None:
            progress(start + (end - start) * (i + 1) / len(items))


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


def _video_frame(frame: np.ndarray, scale: int) -> Any:
    """A frame for `av`, in the colours of H.264, with even sides."""
    from av import VideoFrame

    pixels = upscale(np.broadcast_to(frame, (*frame.shape[:2], 3)), scale)
    height, width, _ = pixels.shape
    pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    image = VideoFrame.from_ndarray(pixels, "rgb24")
    return image.reformat(format="yuv420p", dst_colorspace="ITU709", interpolation="AREA")
