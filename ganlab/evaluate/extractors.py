"""Which network looks at which pictures. No torch, and no onnxruntime until it looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ganlab.errors import DataError
from ganlab.evaluate.features import FOLDER, FeatureNet, feature_net

OWN = {"mnist-5k": "mnistnet", "mnist": "mnistnet", "fashion-mnist": "fashionnet", "cifar10": "cifarnet"}
STACKED = {"stacked-mnist": "mnistnet"}  # looks at each colour by itself
CHUNK = 1000  # pictures between two signs of life
Shape = tuple[int, int, int]


class Extractor(NamedTuple):
    """A feature network and how it is used.

    `name`: as metrics' names carry it. `own`: whether its classes are those of the data; if not, its features were
    learnt on something else, and what it takes pictures for says nothing. `stacked`: whether it looks at each colour
    of a picture as a picture of its own; a class is then the digits of all three, 0 to 999.
    """

    name: str
    net: FeatureNet
    own: bool
    stacked: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that it tells apart; none if they are not those of the data."""
        if not self.own:
            return ()
        return tuple(f"{i:03d}" for i in range(1000)) if self.stacked else self.net.classes

    def look(
        self, images: np.ndarray, seen: Callable[[float], None] = lambda share: None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 (N, F) and most likely classes int64 (N,) of pictures uint8 (N, H, W, C). `seen` hears the
        share that is done."""
        features, classes, _ = self.judge(images, seen)
        return features, classes

    def judge(
        self, images: np.ndarray, seen: Callable[[float], None] = lambda share: None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `look`; and the probability of the most likely class, float32 (N,), as the network takes it to be."""
        parts = []
        for i in range(0, len(images), CHUNK):
            parts.append(self._judge(images[i : i + CHUNK]))
            seen(min(1.0, (i + CHUNK) / len(images)))
        features, classes, confidence = (np.concatenate(part) for part in zip(*parts, strict=True))
        return features, classes, confidence

    def _judge(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not self.stacked:
            features, logits = self.net.look(images)
            return features, logits.argmax(axis=1), _confidence(logits)
        num = len(images)
        features, logits = self.net.look(np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(3 * num, 28, 28, 1))
        classes = logits.argmax(axis=1).reshape(num, 3) @ np.array([100, 10, 1])
        return features.reshape(num, -1), classes, _confidence(logits).reshape(num, 3).prod(axis=1)


def _confidence(logits: np.ndarray) -> np.ndarray:
    """The largest of the probabilities (softmax) of each row (N, K)."""
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)


def networks() -> tuple[str, ...]:
    """Names of the feature networks that are there."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.safetensors")))


def candidates(data: str, shape: Shape, num_threads: int = 0) -> list[FeatureNet]:
    """The networks from which `choose` chooses, once it knows the classes.

    Raises DataError that says what can be done if there are none.
    """
    there = networks()
    if data in STACKED and shape == (28, 28, 3) and STACKED[data] in there:
        return [feature_net(STACKED[data], num_threads)]
    nets = [feature_net(name, num_threads) for name in there]
    fitting = [net for net in nets if net.shape == shape]
    if not fitting:
        known = ", ".join(f"{net.name} for {_words(net.shape)}" for net in nets) or "none at all"
        raise DataError(
            f"No feature network looks at pictures of {_words(shape)}, as {data} has them here; there are: {known}. "
            "Train at such a size and colour, or make a network with tools/train_features.py."
        )
    named = [net for net in fitting if net.name == OWN.get(data)]
    return named or fitting


def choose(data: str, shape: Shape, classes: Sequence[str], num_threads: int = 0) -> Extractor:
    """The network for a data set of `shape` (H, W, C) with these class names: by the data set's name; else the one
    whose classes are exactly these; else the first of that shape, which is then not `own`."""
    fitting = candidates(data, shape, num_threads)
    if data in STACKED and shape == (28, 28, 3):
        return Extractor(f"stacked_{fitting[0].name}", fitting[0], own=True, stacked=True)
    for net in fitting:
        if net.name == OWN.get(data) or (data not in OWN and classes and sorted(net.classes) == sorted(classes)):
            return Extractor(net.name, net, own=True)
    return Extractor(fitting[0].name, fitting[0], own=False)


def _words(shape: Shape) -> str:
    return f"{shape[0]} x {shape[1]} {'grey' if shape[2] == 1 else 'coloured'} pixels"
