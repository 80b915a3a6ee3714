"""Programs to pictures, through onnxruntime. No torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ganlab import latent
from ganlab.config import Config
from ganlab.errors import ConfigError, WeightsError
from ganlab.program import Program, build_program
from ganlab.weights import GENERATOR, load_arrays

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BATCH = 64  # pictures at once: a larger batch is no faster, and takes more memory


class Model:
    """A trained generator, ready to draw.

    `facts`: what its file says of its making (JSON values). `num_threads`: 1 leaves the other cores to a training.
    `sha256`: of its file; empty for one that never was a file.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        program: Program,
        facts: dict[str, Any],
        num_threads: int = 1,
        sha256: str = "",
    ) -> None:
        self.name, self.config, self.program, self.facts = name, config, program, facts
        self.num_threads, self.sha256 = num_threads, sha256

    @property
    def num_classes(self) -> int:
        """Classes that it was told of in training; 0 if it is unconditional."""
        return self.program.num_classes

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; none if it is unconditional."""
        return self.config.classes if self.num_classes else ()

    @cached_property
    def onnx(self) -> bytes:
        """The generator as an ONNX model: `z` (N, latent_dim), and class weights `y` (N, num_classes) if it is
        conditional, to `image` (N, C, H, W) in [-1, 1]."""
        from ganlab.onnx_graph import to_onnx

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

    def index_of(self, label: str | int) -> int:
        """The index of a class, by its name (in any case) or its index; a name goes first, for digits are names.

        Raises ConfigError that lists the classes.
        """
        if not self.num_classes:
            raise ConfigError(f"{self.name} knows no classes: it was trained without; got class {label!r}.")
        if isinstance(label, str):
            for names, wanted in ((self.classes, label), ([x.casefold() for x in self.classes], label.casefold())):
                if wanted in names:
                    return names.index(wanted)
        if str(label).isdecimal() and int(label) < self.num_classes:
            return int(label)
        raise ConfigError(
            f"{self.name} has no class {label!r}. Its classes: {', '.join(self.classes)}; "
            f"or an index from 0 to {self.num_classes - 1}."
        )

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
        inputs = {"z": z}
        if (weights := self._class_weights(y, len(z))) is not None:
            inputs["y"] = weights
        channels, height, width = self.program.image_shape
        images = np.empty((len(z), height, width, channels), np.uint8)
        for i in range(0, len(z), BATCH):
            floats = self._session.run(None, {name: rows[i : i + BATCH] for name, rows in inputs.items()})[0]
            images[i : i + BATCH] = to_uint8(floats).transpose(0, 2, 3, 1)
        return images

    def _class_weights(self, y: ArrayLike | None, num: int) -> np.ndarray | None:
        """What the program takes for `y`, float32 (num, num_classes); None if the model is unconditional."""
        k = self.num_classes
        if not k:
            if y is not None:
                raise ConfigError(f"{self.name} knows no classes: it was trained without. Leave y out.")
            return None
        takes = f"{self.name} takes class indices ({num},) or class weights ({num}, {k})"
        if y is None:
            raise ConfigError(f"y is missing: {takes}, of {', '.join(self.classes)}.")
        y = np.asarray(y)
        if y.shape == (num,) and np.issubdtype(y.dtype, np.integer):
            if ((y < 0) | (y >= k)).any():
                raise ConfigError(f"y holds a class from {y.min()} to {y.max()}; {self.name} has 0 to {k - 1}.")
            return np.eye(k, dtype=np.float32)[y]
        if y.shape != (num, k) or y.dtype.kind not in "fiu":
            raise ConfigError(f"y has shape {y.shape} and type {y.dtype}; {takes}.")
        if not ((y >= 0).all() and (abs(y.sum(1) - 1) < 1e-3).all()):  # NaN is neither
            raise ConfigError("y holds class weights that are below 0, or that don't sum to 1 for each picture.")
        return y.astype(np.float32)

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
    arrays, config, facts = load_arrays(path, kind=GENERATOR)
    try:
        program = build_program(config, arrays)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    path = path.resolve()
    name = name or (path.parent.name if path.stem == "generator" else path.stem)
    return Model(name, config, program, facts, num_threads, hashlib.sha256(path.read_bytes()).hexdigest())


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
