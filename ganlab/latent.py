"""Points and paths in latent space, in numpy. One picture, one seed: seed 12 is the same picture everywhere."""

from __future__ import annotations

import base64
import binascii
import math
import re
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


def shell(latent_dim: int, prior: Prior) -> tuple[float, float]:
    """The norms between which 95% of a prior's vectors lie, by the normal approximation of the squared norm (of its
    cube root for a normal prior: Wilson & Hilferty 1931), good to a hundredth from some ten dimensions on."""
    n, z95 = latent_dim, 1.959964
    if prior == "normal":
        mean, sigma = 1 - 2 / (9 * n), math.sqrt(2 / (9 * n))
        low, high = (n * max(mean + sign * z95 * sigma, 0) ** 3 for sign in (-1, 1))
    else:
        low, high = (max(n / 3 + sign * z95 * math.sqrt(4 * n / 45), 0) for sign in (-1, 1))
    return math.sqrt(low), math.sqrt(high)


def class_path(start: int, end: int, num_classes: int, frames: int) -> np.ndarray:
    """Class weights from one class to another, float32 (frames, num_classes), for `Model.generate` with the same z in
    each frame."""
    return path(np.eye(num_classes)[[start, end]], frames, "lerp")


def in_all_classes(z: ArrayLike, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Each z (N, dim) in every class, one after another: z float32 (N * num_classes, dim) and class weights float32
    (N * num_classes, num_classes)."""
    z = np.asarray(z, np.float32)
    return z.repeat(num_classes, axis=0), np.tile(np.eye(num_classes, dtype=np.float32), (len(z), 1))


def mutate(z: ArrayLike, strength: float, seed: int, prior: Prior, num: int = 12) -> np.ndarray:
    """`num` children of z (dim,), float32 (num, dim): child i depends on (seed, i) alone.

    `strength` from 0, the parent itself, to 1, no likeness at all. A child of a random z is as any random z: for a
    normal prior it is cos(a) z + sin(a) noise, a a share of a right angle, and for a uniform one
    z + 2 * strength * noise, with what leaves [-1, 1] reflected at its ends. Raises ConfigError for another strength,
    or a negative seed.
    """
    z = np.asarray(z, np.float64)
    if not 0 <= strength <= 1 or seed < 0:
        raise ConfigError(f"strength is from 0 to 1 and seed from 0 on; got {strength} and {seed}.")
    noise = np.empty((num, len(z)))
    for i, row in enumerate(noise):
        random = np.random.default_rng([seed, i])
        row[:] = random.standard_normal(len(z)) if prior == "normal" else random.uniform(-1, 1, len(z))
    if prior == "normal":
        angle = strength * math.pi / 2
        return (math.cos(angle) * z + math.sin(angle) * noise).astype(np.float32)
    moved = z + 2 * strength * noise  # at 1 as far as from one end to the other, and after a reflection anywhere
    return (1 - np.abs((moved + 1) % 4 - 2)).astype(np.float32)


def mutate_class(y: ArrayLike, chance: float, seed: int, num: int = 12) -> np.ndarray:
    """Class weights of `num` children of y (num_classes,), float32 (num, num_classes): each has the `chance` to be of
    another class than the parent's strongest, else it is as the parent. Child i depends on (seed, i) alone.

    Raises ConfigError for a chance outside 0 to 1.
    """
    y = np.asarray(y, np.float32)
    if not 0 <= chance <= 1:
        raise ConfigError(f"The chance of another class is from 0 to 1; got {chance}.")
    weights, others = np.tile(y, (num, 1)), np.delete(np.arange(len(y)), y.argmax())
    for i, row in enumerate(weights):
        random = np.random.default_rng([seed, i, 1])  # another stream than z's
        if random.random() < chance and len(others):
            row[:] = np.arange(len(y)) == random.choice(others)
    return weights


def to_text(z: ArrayLike) -> str:
    """z (dim,) as text to copy: z16: or z32: and its numbers, little-endian, in base64 that a link may hold. In half
    precision where that changes nothing."""
    z = np.asarray(z, np.float32)
    half = z.astype("<f2") if np.abs(z).max(initial=0) < 65504 else z
    bits, numbers = (16, half) if half.dtype == "<f2" and np.array_equal(half.astype(np.float32), z) else (32, z)
    content = numbers.astype("<f2" if bits == 16 else "<f4").tobytes()
    return f"z{bits}:{base64.urlsafe_b64encode(content).decode().rstrip('=')}"


def from_text(text: str) -> np.ndarray:
    """z, float32 (dim,), from what `to_text` wrote, or from numbers between blanks, commas or brackets.

    Raises ConfigError for anything else, and for numbers that are not finite.
    """
    text = text.strip()
    try:
        if found := re.fullmatch(r"z(16|32):([A-Za-z0-9_-]*)={0,2}", text):
            content = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
            z = np.frombuffer(content, "<f2" if found[1] == "16" else "<f4").astype(np.float32)
        else:
            z = np.array([float(word) for word in re.split(r"[\s,;\[\]()]+", text) if word])
    except (ValueError, binascii.Error):
        shown = text if len(text) < 40 else text[:37] + "…"
        raise ConfigError(
            f"{shown!r} is no z: that is z16: or z32: and base64, whole as it was copied, or numbers."
        ) from None
    if not len(z) or not (np.abs(z) <= np.finfo(np.float32).max).all():  # NaN is neither
        raise ConfigError("This z holds no numbers, or some that are not finite.")
    return z.astype(np.float32)


def _norm(x: np.ndarray) -> np.ndarray:
    """Euclidean norm of (..., dim), as (..., 1)."""
    return np.linalg.norm(x, axis=-1, keepdims=True)
