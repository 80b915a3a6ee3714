"""Programs to pictures, through onnxruntime. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ganlab import latent
from ganlab.engine import BATCH, Engine, open_program
from ganlab.errors import ConfigError
from ganlab.generators import generator_program
from ganlab.weights import GENERATOR


class Model(Engine):
    """A trained generator, ready to draw."""

    def z(self, seeds: Iterable[int], truncation: float = 1.0) -> np.ndarray:
        """Latent vectors of seeds, float32 (N, latent_dim), drawn from the prior and scaled by `truncation`."""
        return latent.truncate(latent.from_seeds(seeds, self.config.latent_dim, self.config.prior), truncation)

    def labels_of(self, seeds: Iterable[int], label: str | int | None = None) -> np.ndarray | None:
        """The class of each seed, int64 (len(seeds),): `label` of all if it is given, else they go round by seed.

        None if the model is unconditional. Raises ConfigError for a class that it lacks.
        """
        if label is not None:
            index = self.index_of(label)
            return np.array([index for _ in seeds], np.int64)
        return np.array([seed % self.num_classes for seed in seeds], np.int64) if self.num_classes else None

    def generate(self, z: ArrayLike, y: ArrayLike | None = None) -> np.ndarray:
        """Pictures of latent vectors (N, latent_dim): uint8 (N, H, W, C).

        A conditional model also takes `y`: the class of each as an index (N,), or weights of the classes
        (N, num_classes) from 0 to 1, of which each row sums to 1. Raises ConfigError if z or y has another shape, is
        out of range, or holds NaN or infinity.
        """
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.config.latent_dim:
            raise ConfigError(f"z has shape {z.shape}; {self.name} takes (N, {self.config.latent_dim}).")
        if not np.isfinite(z).all():
            raise ConfigError("z holds numbers that are not finite.")
        weights = self._class_weights(y, len(z))
        channels, height, width = self.program.output_shape
        images = np.empty((len(z), height, width, channels), np.uint8)
        for i in range(0, len(z), BATCH):
            images[i : i + BATCH] = to_uint8(self._run(z, weights, i)).transpose(0, 2, 3, 1)
        return images

    def from_seeds(self, seeds: Iterable[int], truncation: float = 1.0, label: str | int | None = None) -> np.ndarray:
        """The picture of each seed: uint8 (len(seeds), H, W, C). `label`: the class of all; see `labels_of`."""
        seeds = list(seeds)
        return self.generate(self.z(seeds, truncation), self.labels_of(seeds, label))

    def sample(self, num: int, seed: int = 0, truncation: float = 1.0, label: str | int | None = None) -> np.ndarray:
        """The pictures of the `num` seeds from `seed` on: uint8 (num, H, W, C). `label`: see `labels_of`."""
        return self.from_seeds(range(seed, seed + num), truncation, label)


def load_model(path: Path, name: str | None = None, num_threads: int = 1) -> Model:
    """Open a generator file. Unless `name` says otherwise, NAME/generator.safetensors and NAME.safetensors are NAME.

    Raises WeightsError if it is missing, damaged, or not what its config says.
    """
    config, program, facts, sha256 = open_program(path, GENERATOR, generator_program)
    path = path.resolve()
    name = name or (path.parent.name if path.stem == "generator" else path.stem)
    return Model(name, config, program, facts, num_threads, sha256)


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
