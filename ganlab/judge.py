"""A discriminator's verdict on pictures, through onnxruntime. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ganlab.discriminators import discriminator_program
from ganlab.engine import BATCH, Engine, open_program
from ganlab.errors import ConfigError
from ganlab.weights import DISCRIMINATOR


class Judge(Engine):
    """A trained discriminator, ready to judge. Its facts are those of `ganlab.render.Model`."""

    def logits(self, images: np.ndarray, y: ArrayLike | None = None) -> np.ndarray:
        """The logit of each picture, uint8 (N, H, W, C): float32 (N,), above 0 for "real".

        A conditional one also takes `y`, as `Model.generate`. Raises ConfigError if images or y has another shape or
        type, or is out of range.
        """
        channels, height, width = self.program.input_shape
        if images.ndim != 4 or images.shape[1:] != (height, width, channels) or images.dtype != np.uint8:
            takes = f"uint8 (N, {height}, {width}, {channels})"
            raise ConfigError(f"The pictures are {images.dtype} {images.shape}; {self.name} takes {takes}.")
        weights = self._class_weights(y, len(images))
        logits = np.empty(len(images), np.float32)
        floats = np.ascontiguousarray((images / np.float32(127.5) - 1).transpose(0, 3, 1, 2))
        for i in range(0, len(images), BATCH):
            logits[i : i + BATCH] = self._run(floats, weights, i)
        return logits

    def verdicts(self, images: np.ndarray, y: ArrayLike | None = None) -> np.ndarray:
        """D(x) = sigmoid(logit) of each picture, float32 (N,) in [0, 1]; see `logits`.

        A probability of "real" only where the loss makes it one (Goodfellow et al. 2014, section 4.1); for others it
        keeps the order.
        """
        return 1 / (1 + np.exp(-self.logits(images, y).clip(-80, None)))  # exp(80) is a float32, exp(90) is none


def load_judge(path: Path, name: str | None = None, num_threads: int = 1) -> Judge:
    """Open a discriminator file. Unless `name` says otherwise, NAME/discriminator.safetensors and NAME.safetensors are
    NAME.

    Raises WeightsError if it is missing, damaged, or not what its config says.
    """
    config, program, facts, sha256 = open_program(path, DISCRIMINATOR, discriminator_program)
    path = path.resolve()
    name = name or (path.parent.name if path.stem == "discriminator" else path.stem)
    return Judge(name, config, program, facts, num_threads, sha256)
