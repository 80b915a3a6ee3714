"""Programs to pictures, through onnxruntime. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganlab import latent
from ganlab.config import Config
from ganlab.errors import ConfigError, WeightsError
from ganlab.program import Program, build_program, to_onnx
from ganlab.weights import GENERATOR, load_arrays

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BATCH = 64  # pictures at once: a larger batch is no faster, and takes more memory


class Model:
    """A trained generator, ready to draw.

    `facts`: what its file says of its making (JSON values). `num_threads`: 1 leaves the other cores to a training.
    """

    def __init__(
        self, name: str, config: Config, program: Program, facts: dict[str, Any], num_threads: int = 1
    ) -> None:
        self.name, self.config, self.program, self.facts = name, config, program, facts
        self.num_threads = num_threads

    @cached_property
    def onnx(self) -> bytes:
        """The generator as an ONNX model: `z` (N, latent_dim) to `image` (N, C, H, W) in [-1, 1]."""
        return to_onnx(self.program)

    @cached_property
    def _session(self) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # an arena keeps what the largest batch took
        return onnxruntime.InferenceSession(self.onnx, options, providers=["CPUExecutionProvider"])

    def z(self, seeds: Iterable[int], truncation: float = 1.0) -> np.ndarray:
        """Latent vectors of seeds, float32 (N, latent_dim), drawn from the prior and scaled by `truncation`."""
        return latent.truncate(latent.from_seeds(seeds, self.config.latent_dim, self.config.prior), truncation)

    def generate(self, z: np.ndarray) -> np.ndarray:
        """Pictures of latent vectors (N, latent_dim): uint8 (N, H, W, C).

        Raises ConfigError if z has another shape, or holds NaN or infinity.
        """
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.config.latent_dim:
            raise ConfigError(f"z has shape {z.shape}; {self.name} takes (N, {self.config.latent_dim}).")
        if not np.isfinite(z).all():
            raise ConfigError("z holds numbers that are not finite.")
        channels, height, width = self.program.image_shape
        images = np.empty((len(z), height, width, channels), np.uint8)
        for i in range(0, len(z), BATCH):
            floats = self._session.run(None, {"z": z[i : i + BATCH]})[0]
            images[i : i + BATCH] = to_uint8(floats).transpose(0, 2, 3, 1)
        return images

    def from_seeds(self, seeds: Iterable[int], truncation: float = 1.0) -> np.ndarray:
        """The picture of each seed: uint8 (len(seeds), H, W, C)."""
        return self.generate(self.z(seeds, truncation))

    def sample(self, num: int, seed: int = 0, truncation: float = 1.0) -> np.ndarray:
        """The pictures of the `num` seeds from `seed` on: uint8 (num, H, W, C)."""
        return self.from_seeds(range(seed, seed + num), truncation)


def load_model(path: Path, name: str | None = None, num_threads: int = 1) -> Model:
    """Open a generator file. Unless `name` says otherwise, NAME/generator.safetensors and NAME.safetensors are NAME.

    Raises WeightsError if it is missing, damaged, or not what its config says.
    """
    arrays, config, facts = load_arrays(path, kind=GENERATOR)
    try:
        program = build_program(config, arrays)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    path = path.resolve()
    return Model(
        name or (path.parent.name if path.stem == "generator" else path.stem), config, program, facts, num_threads
    )


def to_uint8(images: np.ndarray) -> np.ndarray:
    """[-1, 1] to levels 0 to 255, any shape: (x + 1) * 127.5, rounded half to even as a browser's canvas does."""
    return np.rint((images + 1) * 127.5).clip(0, 255).astype(np.uint8)


def grid(images: np.ndarray, columns: int | None = None, gap: int = 0, background: int = 255) -> np.ndarray:
    """Pictures (N, H, W, C) as one picture in reading order, uint8 (rows*(H+gap)-gap, columns*(W+gap)-gap, C).

    By default about square. `gap`: pixels between pictures, in the grey level `background`, as are empty places.
    Raises ConfigError where there is nothing to show.
    """
    num, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(num)) if columns is None else columns
    if num < 1 or columns < 1:
        raise ConfigError(f"A grid needs a picture and a column at least; got {num} and {columns}.")
    rows = -(-num // columns)
    picture = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), background, np.uint8)
    for i, image in enumerate(images):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        picture[y : y + height, x : x + width] = image
    return picture


def strip(images: np.ndarray, gap: int = 0, background: int = 255) -> np.ndarray:
    """Pictures (N, H, W, C) in one row; see `grid`."""
    return grid(images, len(images), gap, background)


def upscale(image: np.ndarray, factor: int) -> np.ndarray:
    """Each pixel of (..., H, W, C) as factor x factor pixels, so that a browser has nothing to blur."""
    return image.repeat(factor, axis=-3).repeat(factor, axis=-2)
