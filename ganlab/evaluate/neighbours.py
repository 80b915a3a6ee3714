"""Nearest neighbours, near-identical samples and the size of the support, exact and in numpy.

Points are the rows of an array: features, float (N, F), or pictures, uint8 (N, ...), which are flattened and scaled
to [0, 1]. Distances are Euclidean, in the units of the features; between pictures, the square root of the summed
squared differences of pixels in [0, 1]. All arithmetic is float64. Distances come in tiles of at most 32 MB, so
memory does not grow with N^2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ganlab.errors import ConfigError, DataError

ROWS, COLUMNS = 1024, 4096  # of a tile of distances
Z_95 = 1.959964  # the middle 95% of a normal distribution lies within this many standard deviations


def points(array: np.ndarray, name: str) -> np.ndarray:
    """`array` as rows (N, F), its dtype kept. Raises DataError, naming the array, unless it is float and finite or
    uint8, with at least one row and one column."""
    array = np.asarray(array)
    if array.ndim < 2 or array.size == 0:
        raise DataError(f"The {name} have the shape {array.shape}; (N, F) is needed, with N and F at least 1.")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"The {name} are {array.dtype}; features are float and pictures are uint8.")
    array = array.reshape(len(array), -1)
    if not all(np.isfinite(array[i : i + ROWS]).all() for i in range(0, len(array), ROWS)):
        raise DataError(f"The {name} hold NaN or infinite numbers; the network or the generator has diverged.")
    return array


def matching_points(a: np.ndarray, b: np.ndarray, names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Both as `points`; raises DataError unless they have as many columns and both are pictures, or neither is."""
    a, b = points(a, names[0]), points(b, names[1])
    if a.shape[1] != b.shape[1]:
        raise DataError(f"The {names[0]} have {a.shape[1]} dimensions, the {names[1]} {b.shape[1]}; they must agree.")
    if (a.dtype == np.uint8) != (b.dtype == np.uint8):
        raise DataError(f"The {names[0]} are {a.dtype}, the {names[1]} {b.dtype}; compare like with like.")
    return a, b


def values(block: np.ndarray) -> np.ndarray:
    """A few rows as float64; uint8 levels are scaled to [0, 1]."""
    return block / 255.0 if block.dtype == np.uint8 else block.astype(np.float64)


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x_i - y_j|^2 through one matrix product: float64 (n, F) and (m, F) -> (n, m).

    Too small by at most 2 F eps (|x_i|^2 + |y_j|^2), eps = 2.2e-16, and never too large: the bound of the rounding
    error is taken off. So a point on the border of a ball counts as inside, whatever the order of the sums; and the
    square for equal points may be a little below 0.
    """
    keep = 1 - x.shape[1] * np.finfo(np.float64).eps
    d2 = (-2 * x) @ y.T
    d2 += keep * np.einsum("if,if->i", x, x)[:, None]
    d2 += keep * np.einsum("jf,jf->j", y, y)
    return d2


def tiles(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """All squared distances between `points` a (N, F) and b (M, F): rows of a, rows of b, and the tile of those."""
    for i in range(0, len(a), ROWS):
        x = values(a[i : i + ROWS])
        for j in range(0, len(b), COLUMNS):
            y = values(b[j : j + COLUMNS])
            yield slice(i, i + len(x)), slice(j, j + len(y)), squared_distances(x, y)


def pair_tiles(a: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Squared distances of all pairs i < j of `points` (N, F): the tile's first i and j, and the tile, which is
    infinite where j <= i."""
    for i in range(0, len(a), ROWS):
        x = values(a[i : i + ROWS])
        for j in range(i, len(a), COLUMNS):
            d2 = squared_distances(x, values(a[j : j + COLUMNS]))
            if j == i:
                d2[np.arange(d2.shape[1]) <= np.arange(len(x))[:, None]] = np.inf
            yield i, j, d2


def nearest(queries: np.ndarray, reference: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of `reference` to each query, nearest first; equally near ones by their index.

    `queries` (N, F) and `reference` (M, F), M >= k: two arrays of features or two of uint8 pictures. Returns distances
    float64 (N, k) and indices int64 (N, k) into `reference`. Exact: the candidates' distances are recomputed from
    differences, so that a copy has distance 0. Raises DataError for arrays that do not fit, ConfigError for k.
    """
    a, b = matching_points(queries, reference, ("queries", "reference points"))
    if not 1 <= k <= len(b):
        raise ConfigError(f"k is {k}; it must be from 1 to the number of reference points, {len(b)}.")
    best = np.full((len(a), k), np.inf)
    index = np.zeros((len(a), k), np.int64)
    for rows, columns, d2 in tiles(a, b):
        near, which = _smallest(d2, k)
        both = np.concatenate([best[rows], near], axis=1)
        indices = np.concatenate([index[rows], which + columns.start], axis=1)
        order = np.argsort(both, axis=1, kind="stable")[:, :k]
        best[rows] = np.take_along_axis(both, order, axis=1)
        index[rows] = np.take_along_axis(indices, order, axis=1)
    distances = _exact(a, b, index)
    order = np.lexsort((index, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(index, order, axis=1)


def _smallest(d2: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k smallest of each row, in order, and their columns; overwrites d2. For a small k, k times argmin is many
    times faster than one argpartition."""
    k = min(k, d2.shape[1])
    rows = np.arange(len(d2))
    near, which = np.empty((len(d2), k)), np.empty((len(d2), k), np.int64)
    for place in range(k):
        which[:, place] = d2.argmin(axis=1)
        near[:, place] = d2[rows, which[:, place]]
        d2[rows, which[:, place]] = np.inf
    return near, which


def _exact(a: np.ndarray, b: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Distances, from differences, between row i of a (N, F) and the rows index[i] of b: (N, k)."""
    distances = np.empty(index.shape)
    for i in range(0, len(a), ROWS):
        rows = slice(i, i + ROWS)
        x = values(a[rows])
        for place in range(index.shape[1]):
            difference = x - values(b[index[rows, place]])
            distances[rows, place] = np.sqrt(np.einsum("if,if->i", difference, difference))
    return distances


def neighbour_distances(features: np.ndarray, k: int) -> np.ndarray:
    """Distances (N, k), increasing, from each of N > k points to its k nearest others. Raises as `nearest`."""
    if not 1 <= k < len(features):
        raise ConfigError(f"k is {k}; {len(features)} points have from 1 to {len(features) - 1} neighbours each.")
    return nearest(features, features, k + 1)[0][:, 1:]  # the first is the point itself, or a copy, at distance 0


def closest_pairs(features: np.ndarray, num: int) -> list[tuple[int, int, float]]:
    """The `num` closest pairs among the rows of features (N, F), as (i, j, distance) with i < j, closest first.

    All pairs if there are fewer. Distances are exact, from differences; equally close pairs come by their indices, and
    which of them are left out at the end of the list is open. Raises DataError or, for num below 1, ConfigError.
    """
    a = points(features, "features")
    if num < 1:
        raise ConfigError(f"num is {num}; ask for at least 1 pair.")
    best, first, second = np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    for i, j, d2 in pair_tiles(a):
        worst = best.max() if len(best) == num else np.finfo(np.float64).max
        at = np.flatnonzero(d2 <= worst)
        near = d2.ravel()[at]
        if len(at) > num:
            keep = np.argpartition(near, num - 1)[:num]
            at, near = at[keep], near[keep]
        best = np.concatenate([best, near])
        first = np.concatenate([first, i + at // d2.shape[1]])
        second = np.concatenate([second, j + at % d2.shape[1]])
        order = np.argsort(best, kind="stable")[:num]
        best, first, second = best[order], first[order], second[order]
    distances = _exact(a[first], a, second[:, None])[:, 0]
    order = np.lexsort((second, first, distances))
    return [(int(first[n]), int(second[n]), float(distances[n])) for n in order]


def duplicates(features: np.ndarray, threshold: float) -> int:
    """Number of pairs among the rows of features (N, F) whose distance is at most `threshold`.

    N equal rows are N (N - 1) / 2 pairs; `closest_pairs` gives some to look at. Rounding of float64 blurs distances
    by up to 3e-8 sqrt(F) of a point's norm; what is closer counts as equal. Raises DataError or, for a negative
    or not finite threshold, ConfigError.
    """
    if not 0 <= threshold < np.inf:
        raise ConfigError(f"threshold is {threshold}; it is a distance, 0 or more.")
    a = points(features, "features")
    return sum(int(np.count_nonzero(d2 <= threshold**2)) for _, _, d2 in pair_tiles(a))


def duplicate_threshold(
    real_features: np.ndarray, quantile: float = 0.001, *, real_distances: np.ndarray | None = None
) -> float:
    """The distance below which two samples are called duplicates: closer than almost any two different real pictures.

    It is that quantile of the distances of N real pictures (N, F) to their nearest other one, taken downwards to a
    distance that occurs; for N <= 1 / quantile the smallest. (The smallest always would be 0 as soon as a data set
    holds one picture twice.) So N real pictures themselves have from quantile * N / 2 to quantile * N such pairs, and
    a batch of s real ones about (s / N)^2 times as many: the false alarms to expect of a perfect generator. With the
    default, N = 10,000 and s = 2,000 that is 0.2 to 0.4 pairs.

    real_distances: what `neighbour_distances` gave, if one has kept it. Raises DataError, or ConfigError for N < 2 or
    quantile.
    """
    if not 0 <= quantile <= 1:
        raise ConfigError(f"quantile is {quantile}; it must be from 0 to 1.")
    distances = neighbour_distances(real_features, 1) if real_distances is None else real_distances
    return float(np.quantile(distances[:, 0], quantile, method="lower"))


class SupportEstimate(NamedTuple):
    """How many different pictures a generator makes, with a 95% interval; infinite where nothing bounds it."""

    size: float
    low: float
    high: float


def support_estimate(num_samples: int, num_duplicate_pairs: int) -> SupportEstimate:
    """How many different pictures a generator makes, by the birthday paradox, from the duplicates in one batch.

    Arora & Zhang 2017 (arXiv:1706.08224): if a batch of s samples holds a duplicate with probability 1/2, the support
    is about s^2, up to a constant. Here the pairs are counted, which uses more than whether there is one. Two samples
    of a distribution p over pictures are the same with probability c = sum p_i^2, so s samples hold s (s - 1) / 2 * c
    equal pairs on average, and

        size = 1 / c = s (s - 1) / (2 pairs)

    That is the support if all its pictures are equally likely. Otherwise it is an effective size (inverse Simpson
    index), smaller than the support: a few pictures made very often show, rare ones do not.

    low, high: from the 95% interval of a Poisson mean given the number of pairs (Byar's approximation, within 8%;
    exact for the lower end of a single pair). Equal pairs have a Poisson's variance if p is uniform, whatever s; for
    an uneven p the true interval is wider. With no duplicates, size and high are infinite and low says what such a
    batch rules out: about s^2 / 7.3. With one or few it is wide: take a larger batch.

    num_samples: s >= 2. Raises ConfigError for fewer, and for more pairs than s samples have.
    """
    samples, found = int(num_samples), int(num_duplicate_pairs)
    pairs = samples * (samples - 1) / 2
    if samples < 2 or not 0 <= found <= pairs:
        raise ConfigError(f"{samples} samples can't hold {found} duplicate pairs; at least 2 samples are needed.")
    most = (found + 1) * (1 - 1 / (9 * (found + 1)) + Z_95 / (3 * (found + 1) ** 0.5)) ** 3
    low = max(1.0, pairs / most)
    if found == 0:
        return SupportEstimate(np.inf, low, np.inf)
    least = -np.log(0.975) if found == 1 else found * (1 - 1 / (9 * found) - Z_95 / (3 * found**0.5)) ** 3
    return SupportEstimate(pairs / found, low, float(pairs / least))
