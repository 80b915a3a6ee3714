"""Points and paths in latent space, in numpy. One picture, one seed: seed 12 is the same picture everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ganlab.errors import ConfigError

Prior = Literal["normal", "uniform"]
PathKind = Literal["slerp", "lerp"]


def from_seeds(seeds: Iterable[int], latent_dim: int, prior: Prior) -> np.ndarray:
    """One latent vector for each seed, float32 (len(seeds), latent_dim); each row depends on its own seed alone.

    `prior`: "normal" is N(0, 1), "uniform" is uniform in [-1, 1]. Raises ConfigError for a negative seed or another
    prior.
    """
    if prior not in ("normal", "uniform"):
        raise ConfigError(f"prior is {prior!r}; choose normal or uniform.")
    seeds = list(seeds)
    z = np.empty((len(seeds), latent_dim), np.float32)
    for row, seed in zip(z, seeds, strict=True):
        if seed < 0:
            raise ConfigError(f"A seed is {seed}; seeds are whole numbers from 0 on.")
        random = np.random.default_rng(seed)
        row[:] = random.standard_normal(latent_dim) if prior == "normal" else random.uniform(-1, 1, latent_dim)
    return z


def truncate(z: np.ndarray, psi: float) -> np.ndarray:
    """z (N, dim) drawn towards the prior's mean 0 by the factor `psi`: below 1 more typical, less varied.

    The truncation trick of Karras et al. 2019 (arXiv:1812.04948, appendix B), in z.
    """
    return (psi * np.asarray(z)).astype(np.float32)


def lerp(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
    """Straight line from a at t = 0 to b at t = 1, float32.

    `a`, `b`: (..., dim); `t`: any shape that broadcasts with the leading axes. So (dim,) with t (F,) gives F points
    between two, and (N, dim) with t (N,) gives one point for each of N pairs.
    """
    a, b, t = np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(t, np.float64)[..., None]
    return ((1 - t) * a + t * b).astype(np.float32)


def slerp(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
    """Great circle from a to b at constant angular speed (Shoemake 1985; for latent spaces White 2016,
    arXiv:1609.04468). Shapes as for `lerp`.

    In many dimensions almost all of a normal prior lies near one sphere; a straight line leaves it, and pictures turn
    grey on the way. Here the direction turns along the circle while the norm goes linearly from |a| to |b|. Where no
    single circle joins them (parallel, opposite or zero vectors) the way is the straight line.
    """
    a, b, t = np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(t, np.float64)[..., None]
    norm_a, norm_b = _norm(a), _norm(b)
    unit_a, unit_b = a / np.where(norm_a > 0, norm_a, 1), b / np.where(norm_b > 0, norm_b, 1)
    angle = 2 * np.arctan2(_norm(unit_a - unit_b), _norm(unit_a + unit_b))  # exact near 0 and pi, unlike arccos
    straight = (np.sin(angle) < 1e-6) | (norm_a == 0) | (norm_b == 0)
    arc = np.sin((1 - t) * angle) * unit_a + np.sin(t * angle) * unit_b
    arc *= ((1 - t) * norm_a + t * norm_b) / np.where(straight, 1, np.sin(angle))
    return np.where(straight, (1 - t) * a + t * b, arc).astype(np.float32)


_BETWEEN: dict[str, Callable[[ArrayLike, ArrayLike, ArrayLike], np.ndarray]] = {"slerp": slerp, "lerp": lerp}


def path(anchors: ArrayLike, frames: int, kind: PathKind = "slerp", closed: bool = False) -> np.ndarray:
    """`frames` points through the anchors (K, dim) in order, float32 (frames, dim), as many on each leg.

    An open path holds both ends. A closed one returns to the first anchor and stops a frame before it, so that a loop
    shows no frame twice. Raises ConfigError for fewer than two anchors or frames.
    """
    anchors = np.asarray(anchors)
    if len(anchors) < 2 or frames < 2:
        raise ConfigError(f"A path needs two anchors and two frames at least; got {len(anchors)} and {frames}.")
    legs = len(anchors) if closed else len(anchors) - 1
    where = np.linspace(0, legs, frames, endpoint=not closed)
    leg = np.minimum(where.astype(int), legs - 1)
    return _BETWEEN[kind](anchors[leg], anchors[(leg + 1) % len(anchors)], where - leg)


def plane(a: ArrayLike, b: ArrayLike, c: ArrayLike, size: int, kind: PathKind = "slerp") -> np.ndarray:
    """A size x size patch of the plane through three points (dim,), in reading order, float32 (size * size, dim).

    Top left is a, top right b, bottom left c, bottom right b + c - a. With "slerp" each point is rescaled to the norm
    that lies, bilinearly, between those of the corners (the fourth one's: the mean of b's and c's), so that pictures
    do not turn grey between the anchors; only the origin, which has no direction, stays. With "lerp" all stay where
    they are. Raises ConfigError for a size below 2.
    """
    if size < 2:
        raise ConfigError(f"A plane needs two pictures a side at least; got {size}.")
    a, b, c = (np.asarray(x, np.float64) for x in (a, b, c))
    down, right = (x.reshape(-1, 1) / (size - 1) for x in np.indices((size, size)))
    points = a + right * (b - a) + down * (c - a)
    if kind == "slerp":
        top = (1 - right) * _norm(a) + right * _norm(b)
        bottom = (1 - right) * _norm(c) + right * (_norm(b) + _norm(c)) / 2
        norm = _norm(points)
        points *= ((1 - down) * top + down * bottom) / np.where(norm > 0, norm, 1)
    return points.astype(np.float32)


def _norm(x: np.ndarray) -> np.ndarray:
    """Euclidean norm of (..., dim), as (..., 1)."""
    return np.linalg.norm(x, axis=-1, keepdims=True)
