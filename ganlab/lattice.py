"""An endless plane of latent vectors, as a function of (seed, x, y) alone, and a plane through three given ones.

The page draws it in the browser; `ganlab/app/components/latent_plane/lattice.js` is this file in JavaScript, and both
agree to 1e-6.

Each crossing (i, j) of a lattice has noise of its own, N(0, 1) in every coordinate, made by counting, not by drawing in
order. Between crossings it is blended by weights w whose squares sum to 1. So at every point of the plane z is
distributed as the prior says, and no picture is greyer than another: plain interpolation would shrink z halfway.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ganlab.errors import ConfigError
from ganlab.latent import Prior

MAX_SEED = 2**32 - 1
NEAR = np.arange(-1, 3)  # the crossings that a point sees, from the one before it
ROUNDS, WEYL, FACTORS = 10, (0x9E3779B9, 0xBB67AE85), (0xD2511F53, 0xCD9E8D57)  # of Philox
SPACING = 0.25  # between the tiles of a map at zoom 1; halved whenever the zoom doubles
KEY_FRAMES = 8  # of a walk


def philox(counter: ArrayLike, key: ArrayLike) -> np.ndarray:
    """Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", table 2).

    `counter` (..., 4) and `key` (..., 2), which broadcast, as unsigned 32-bit numbers: so many random ones, uint32
    (..., 4).
    """
    c, k = np.asarray(counter, np.uint64), np.asarray(key, np.uint64)
    c0, c1, c2, c3 = (c[..., i] for i in range(4))
    k0, k1 = k[..., 0], k[..., 1]
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(ROUNDS):
        a, b = c0 * np.uint64(FACTORS[0]), c2 * np.uint64(FACTORS[1])
        c0, c1, c2, c3 = (b >> half) ^ c1 ^ k0, b & low, (a >> half) ^ c3 ^ k1, a & low
        k0, k1 = (k0 + np.uint64(WEYL[0])) & low, (k1 + np.uint64(WEYL[1])) & low
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3), -1).astype(np.uint32)


def noise(seed: int, i: ArrayLike, j: ArrayLike, dim: int) -> np.ndarray:
    """N(0, 1) at the crossings i, j (any shape, whole numbers): float64 (..., dim).

    Numbers 4b to 4b + 3 of a crossing come from the counter (i, j, b, 0) and the key (seed, 0), by the transform of Box
    and Muller (1958). Raises ConfigError for a seed outside 0 to 2**32 - 1.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"The seed of a plane is {seed}; it must be from 0 to {MAX_SEED}.")
    where = [np.asarray(x, np.int64)[..., None] % 2**32 for x in (i, j)]
    counter = np.stack(np.broadcast_arrays(*where, np.arange(-(-dim // 4)), 0), -1)
    uniform = (philox(counter, (seed, 0)) + 0.5) / 2**32
    radius, angle = np.sqrt(-2 * np.log(uniform[..., ::2])), 2 * np.pi * uniform[..., 1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)  # (..., blocks, 2, 2)
    return pairs.reshape(*pairs.shape[:-3], -1)[..., :dim]


def blend(u: ArrayLike) -> np.ndarray:
    """Weights of the four crossings around u (any shape) along one axis, (..., 4); their squares sum to 1.

    The cubic B-spline over its norm: smooth, and even in its pace, where weights of two crossings would stop at each.
    """
    u = np.asarray(u, np.float64)
    t = (u - np.floor(u))[..., None]
    weights = np.concatenate([(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * (t + t**2 - t**3), t**3], -1)
    return weights / np.linalg.norm(weights, axis=-1, keepdims=True)


def at(seed: int, x: ArrayLike, y: ArrayLike, dim: int, prior: Prior = "normal") -> np.ndarray:
    """z at the points x, y (N,) of the plane of `seed`, float32 (N, dim).

    A step of 1 leads to another picture. For the uniform prior each coordinate g of N(0, 1) becomes
    erf(g / sqrt(2)), which is uniform in [-1, 1].
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    i, j = (np.floor(u).astype(np.int64)[:, None] + NEAR for u in (x, y))
    near = noise(seed, i[:, :, None], j[:, None, :], dim)  # (N, 4, 4, dim)
    z = np.einsum("na,nb,nabd->nd", blend(x), blend(y), near)
    return (z if prior == "normal" else _erf(z / np.sqrt(2))).astype(np.float32)


def through(a: ArrayLike, b: ArrayLike, c: ArrayLike, x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """z at the points x, y (N,) of the plane through three (dim,), float32 (N, dim): a at (0, 0), b at (1, 0), c at
    (0, 1).

    As `latent.plane`, each is rescaled to the norm that lies bilinearly between those of the corners; outside the
    square it is that of the nearest point of its edge.
    """
    a, b, c = (np.asarray(v, np.float64) for v in (a, b, c))
    x, y = (np.asarray(v, np.float64)[:, None] for v in (x, y))
    points = a + x * (b - a) + y * (c - a)
    norm_a, norm_b, norm_c = (np.linalg.norm(v) for v in (a, b, c))
    right, down = x.clip(0, 1), y.clip(0, 1)
    top, bottom = (1 - right) * norm_a + right * norm_b, (1 - right) * norm_c + right * (norm_b + norm_c) / 2
    norm = np.linalg.norm(points, axis=1, keepdims=True)
    return (points * ((1 - down) * top + down * bottom) / np.where(norm > 0, norm, 1)).astype(np.float32)


class Corner(NamedTuple):
    """Where a map of tiles begins: its first column and row, of tiles `spacing` apart, which the level says."""

    i: int
    j: int
    level: int
    spacing: float


def corner(x: float, y: float, zoom: float, side: int) -> Corner:
    """The corner of the map of side x side tiles around a place, as the page draws it: its middle tile is the nearest
    to the place."""
    level = math.floor(math.log2(zoom) + 1e-9)
    spacing = SPACING / 2**level
    i, j = (round(u / spacing) - side // 2 for u in (x, y))
    return Corner(i, j, level, spacing)


def tiles(x: float, y: float, zoom: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of that map's tiles in reading order, x and y (side * side,)."""
    i, j, _, spacing = corner(x, y, zoom, side)
    down, right = np.indices((side, side)).reshape(2, -1)
    return (i + right) * spacing, (j + down) * spacing


def walk(seed: int, num: int = KEY_FRAMES, radius: float = 2.0) -> np.ndarray:
    """Key frames of a closed walk on a plane, float64 (num, 2): the first is (0, 0), the others lie around a circle
    through it, nearer to its middle or farther as `seed` says. The way through them: `along`."""
    angle = 2 * np.pi * np.arange(num) / num
    uneven = 1 + 0.35 * np.tanh(noise(seed, np.arange(num), 0, 1))
    points = radius * uneven * np.stack([1 - np.cos(angle), np.sin(angle)], -1)
    return points - points[:1]


def along(keys: ArrayLike, t: ArrayLike) -> np.ndarray:
    """Points of the smooth closed curve through the key frames (K, 2) at times t (N,), float64 (N, 2): key k at k / K.

    Catmull and Rom 1974: from each key on in the direction from the one before it to the one after.
    """
    keys, t = np.asarray(keys, np.float64), np.asarray(t, np.float64) % 1 * len(np.asarray(keys))
    k = np.floor(t).astype(int)
    u = (t - k)[:, None]
    p0, p1, p2, p3 = (keys[(k + n) % len(keys)] for n in (-1, 0, 1, 2))
    return p1 + u * ((p2 - p0) + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0))) / 2


def _erf(x: np.ndarray) -> np.ndarray:
    """The error function to 1.5e-7: Abramowitz and Stegun 1964, 7.1.26."""
    t = 1 / (1 + 0.3275911 * abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - series * np.exp(-(x**2)))
