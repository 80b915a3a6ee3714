"""What happens along a path through latent space, so that one sees where it leaves the data. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ganlab.errors import DataError
from ganlab.evaluate.extractors import Extractor, choose
from ganlab.render import Model

Verdict = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


class PathFacts(NamedTuple):
    """One entry a frame, (F,).

    `norms`: |z|; see `ganlab.latent.shell` for those of the prior. `steps`: root mean square difference from the frame
    before, in levels from 0 to 1; of the first frame 0. `feature_steps`: Euclidean distance of its features; None where
    no network looks at such pictures. `classes`, `confidence`: the class that the network takes it for, by name, and
    its probability from 0 to 1; None where its classes are not those of the data. `verdicts`: of D, where one is at
    hand.
    """

    images: np.ndarray  # uint8 (F, H, W, C)
    norms: np.ndarray
    steps: np.ndarray
    feature_steps: np.ndarray | None
    classes: tuple[str, ...] | None
    confidence: np.ndarray | None
    verdicts: np.ndarray | None


def path_facts(
    model: Model,
    z: ArrayLike,
    y: ArrayLike | None = None,
    *,
    extractor: Extractor | None = None,
    verdict: Verdict | None = None,
) -> PathFacts:
    """The facts of the frames z (F, latent_dim), y as `Model.generate` takes it.

    `extractor`: see `extractor_of`. `verdict`: D's logits (F,) of pictures uint8 (F, H, W, C) and `y`. Raises
    ConfigError as `Model.generate`.
    """
    images = model.generate(z, y)
    features = classes = confidence = None
    if extractor is not None:
        features, found, probabilities = extractor.judge(images)
        if extractor.own:
            classes, confidence = tuple(extractor.classes[i] for i in found), probabilities
    return PathFacts(
        images,
        np.linalg.norm(np.asarray(z, np.float64), axis=1),
        np.sqrt(np.square(_steps(images / 255)).mean(1)),
        None if features is None else np.linalg.norm(_steps(features), axis=1),
        classes,
        confidence,
        None if verdict is None else verdict(images, None if y is None else np.asarray(y)),
    )


def extractor_of(model: Model) -> Extractor | None:
    """The network that looks at a model's pictures; None where there is none of their shape."""
    config = model.config
    shape = (config.image_size, config.image_size, config.channels)
    try:
        return choose(config.data, shape, config.classes, model.num_threads)
    except DataError:
        return None


def _steps(rows: np.ndarray) -> np.ndarray:
    """Differences from the row before, (F, numbers); of the first, zeros."""
    flat = rows.reshape(len(rows), -1)
    return np.diff(flat, axis=0, prepend=flat[:1])
