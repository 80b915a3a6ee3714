"""How good the averaged generator is while it trains: a score, lower is better, and what a collapse would show in. No
torch.

By the project's own feature network where there is one for the data, else by pixels if one asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ganlab.config import Config
from ganlab.errors import DataError
from ganlab.evaluate.extractors import Extractor, choose
from ganlab.evaluate.metrics import Moments, class_histogram, frechet_from_moments, histogram_divergence, moments
from ganlab.evaluate.neighbours import closest_pairs, duplicate_threshold, duplicates

NUM = 2000  # generated pictures that are scored, always of the same noise; and pictures of the data, at most
BLOCK = 4  # pixels; pictures have 28 or 32 a side
PAIRS = 8  # of generated pictures, the closest ones, kept to be looked at
DIGITS = 6  # of what is written: the last bits depend on the number of threads


class Findings(NamedTuple):
    """What one look at generated pictures found: `row` belongs into the line of metrics, `pairs` is uint8
    (2, PAIRS, H, W, C), the closest pairs among them, closest first."""

    row: dict[str, Any]
    pairs: np.ndarray


class Reference(NamedTuple):
    """What is known of the data, the same for every score."""

    moments: Moments
    variance: float  # of the features, summed
    closeness: float  # two pictures nearer than this are called the same
    classes: np.ndarray | None  # shares (K,), as the network sees them


class Scorer:
    """Scores generated pictures, uint8 (N, H, W, C), against those of the data, of which it keeps the statistics.

    `metric` names the score with its protocol: `fd_mnistnet_2k` is the Fréchet distance of mnistnet's features of 2,000
    generated pictures; `pixel-moments` the same of pixels taken as independent, as a root mean square in levels of
    [0, 1]: it sees a wrong average picture and collapse, nothing finer.
    """

    def __init__(self, real: np.ndarray, extractor: Extractor | None) -> None:
        """`real`: the data set. NUM of its pictures, chosen as `evaluate` does with seed 0, are looked at when they are
        first needed."""
        rows = np.sort(np.random.default_rng([0, 1]).permutation(len(real))[:NUM])
        self._real, self._extractor = real[rows], extractor
        self.metric = f"fd_{extractor.name}_2k" if extractor else "pixel-moments"

    def facts(self) -> dict[str, Any]:
        """The protocol, and the data's own share of each class."""
        shares = self._reference.classes
        facts = {"metric": self.metric, "num": NUM, "reference": len(self._real), "split": "train"}
        if self._extractor is None or shares is None:
            return facts
        names = dict(zip(self._extractor.classes, _rounded(shares), strict=True))
        return facts | {"extractor": self._extractor.net.hash, "classes": names}

    @cached_property
    def _reference(self) -> Reference:
        features, classes = self._look(self._real)
        own = self._moments(self._real, features)
        return Reference(own, _variance(features), duplicate_threshold(features), classes)

    def _look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features (N, F), and the share of each class if a network looks; else blocks of 4 x 4 pixels are features."""
        if self._extractor is not None:
            features, classes = self._extractor.look(images)
            return features, class_histogram(classes, len(self._extractor.classes))
        n, height, width, channels = images.shape
        blocks = images.reshape(n, height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels).mean((2, 4), np.float32)
        return blocks.reshape(n, -1) / 255, None

    def _moments(self, images: np.ndarray, features: np.ndarray) -> Moments:
        """Of the features; of pixels mean and variance, the covariance being too large."""
        if self._extractor is not None:
            return moments(features)
        pixels = images.reshape(len(images), -1)
        return Moments(pixels.mean(0) / 255, np.square(pixels.std(0) / 255))

    def __call__(self, images: np.ndarray) -> Findings:
        """`metric` and `score`; `spread`: the variance of the features over that of the data's; `duplicates`: pairs
        nearer to each other than any two of as many real pictures; and, where a network looks, `classes`: the share
        of each, and `class_kl`: the Kullback-Leibler divergence of these from the data's, in nats."""
        real = self._reference
        features, classes = self._look(images)
        distance = frechet_from_moments if self._extractor else _pixel_moments
        row: dict[str, Any] = {
            "metric": self.metric,
            "score": distance(*real.moments, *self._moments(images, features)),
            "spread": _variance(features) / max(real.variance, 1e-12),
            "duplicates": duplicates(features, real.closeness),
        }
        if classes is not None and real.classes is not None:
            seen = np.maximum(real.classes, 1 / len(self._real))  # a class that the network sees in no real picture
            row |= {"classes": _rounded(classes), "class_kl": histogram_divergence(classes, seen)}
        pairs = np.array([images[[i, j]] for i, j, _ in closest_pairs(features, PAIRS)])
        return Findings({k: _round(v) if isinstance(v, float) else v for k, v in row.items()}, pairs.swapaxes(0, 1))


def scorer_of(config: Config, images: np.ndarray, classes: Sequence[str], num_threads: int = 1) -> Scorer | None:
    """What scores a run on this data, uint8 (N, H, W, C), as its config asks; None if nothing does."""
    if config.score == "pixel-moments":
        return Scorer(images, None)
    if config.score == "none":
        return None
    try:
        extractor = choose(config.data, images.shape[1:], classes, num_threads)
    except DataError:
        return None  # no network for pictures of this shape
    return Scorer(images, extractor) if extractor.own else None


def _pixel_moments(m1: np.ndarray, v1: np.ndarray, m2: np.ndarray, v2: np.ndarray) -> float:
    """As `frechet_from_moments`, of means and variances (F,) of pixels taken as independent: a root mean square."""
    return float(np.sqrt(np.mean(np.square(m1 - m2) + np.square(np.sqrt(v1) - np.sqrt(v2)))))


def _variance(features: np.ndarray) -> float:
    return float(features.var(0, dtype=np.float64).sum())


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _rounded(shares: np.ndarray) -> list[float]:
    return [_round(float(share)) for share in shares]
