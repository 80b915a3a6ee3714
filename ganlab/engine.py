"""What a generator and a discriminator share once they are opened: a program that onnxruntime runs. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ganlab.config import Config
from ganlab.errors import ConfigError, WeightsError
from ganlab.program import Program
from ganlab.weights import load_arrays

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BATCH = 64  # pictures at once: a larger batch is no faster, and takes more memory


class Engine:
    """A trained network, ready to run.

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
        """The network as an ONNX model; see `ganlab.onnx_graph.to_onnx` for its inputs and its output."""
        from ganlab.onnx_graph import to_onnx

        return to_onnx(self.program)

    @cached_property
    def _session(self) -> InferenceSession:
        return open_session(self.onnx, self.num_threads)

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

    def _run(self, x: np.ndarray, y: np.ndarray | None, start: int) -> np.ndarray:
        """The program's output for BATCH rows of x, and of the class weights y if there are any, from `start` on."""
        rows = slice(start, start + BATCH)
        inputs = {"image" if x.ndim == 4 else "z": x[rows], **({} if y is None else {"y": y[rows]})}
        return self._session.run(None, inputs)[0]

    def _class_weights(self, y: ArrayLike | None, num: int) -> np.ndarray | None:
        """What the program takes for `y`, float32 (num, num_classes); None if the network is unconditional."""
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


def open_session(model: bytes, num_threads: int = 1) -> InferenceSession:
    """An ONNX model, ready to run on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # an arena keeps what the largest batch took
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


Build = Callable[[Config, Mapping[str, np.ndarray]], Program]


def open_program(path: Path, kind: str, build: Build) -> tuple[Config, Program, dict[str, Any], str]:
    """A file's config, program, facts and SHA-256.

    Raises WeightsError if it is missing, damaged, of another kind, or not what its config says.
    """
    arrays, config, facts = load_arrays(path, kind=kind)
    try:
        program = build(config, arrays)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return config, program, facts, hashlib.sha256(path.read_bytes()).hexdigest()
