"""How close generated samples are to the data: each metric a function of two arrays of features, in numpy.

`real` and `fake` are float (N, F) and (M, F), the same network's features of pictures of the data and of generated
ones (uint8 pictures (N, ...) do too, as pixels in [0, 1]). Arithmetic is float64. A figure depends on the network, on
N and M and on the split: never compare figures of different protocols. All raise DataError for arrays that are
empty, not finite or do not fit together, and ConfigError for a setting out of range.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ganlab.errors import DataError
from ganlab.evaluate.neighbours import COLUMNS, ROWS, matching_points, neighbour_distances, points, tiles, values

NAMES = ("real features", "fake features")


# --- Fréchet distance ------------------------------------------------------------------------------------------------


class Moments(NamedTuple):
    """Mean (F,) and covariance (F, F) of features, float64: all that the Fréchet distance knows of them."""

    mean: np.ndarray
    covariance: np.ndarray


def moments(features: np.ndarray) -> Moments:
    """Mean and unbiased covariance (divided by N - 1, as numpy.cov and the reference implementations do) of features
    (N, F), N >= 2. Keep them: those of the data are the same for every model."""
    x = points(features, "features")
    if len(x) < 2:
        raise DataError("A covariance needs at least 2 samples; there is 1.")
    blocks = [slice(i, i + ROWS) for i in range(0, len(x), ROWS)]
    mean = sum((values(x[block]).sum(axis=0) for block in blocks), np.zeros(x.shape[1])) / len(x)
    scatter = np.zeros((x.shape[1], x.shape[1]))
    for block in blocks:
        centred = values(x[block]) - mean
        scatter += centred.T @ centred
    return Moments(mean, scatter / (len(x) - 1))


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Squared Fréchet distance between Gaussians fitted to the features: `frechet_from_moments`, which see.

    It is biased upwards, roughly by a term in 1/N + 1/M: 0 is not reached by two samples of one distribution, and only
    figures of the same N and M compare.
    """
    real, fake = matching_points(real, fake, NAMES)
    return frechet_from_moments(*moments(real), *moments(fake))


def frechet_from_moments(m1: np.ndarray, c1: np.ndarray, m2: np.ndarray, c2: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), in squared units of the features; 0 for equal moments.

    Dowson & Landau 1982; of Inception features, the FID of Heusel et al. 2017 (arXiv:1706.08500, eq. 6). m1, m2: (F,);
    c1, c2: (F, F), symmetric, positive semidefinite, of any rank. With C = S S^T, tr (C1 C2)^(1/2) is the sum of the
    singular values of S1^T S2: only symmetric eigendecompositions and one SVD, no square root of a non-symmetric
    matrix and no complex numbers, and rounding is not magnified by a square root at 0.
    """
    m1, c1, m2, c2 = (np.asarray(array, np.float64) for array in (m1, c1, m2, c2))
    if m1.ndim != 1 or m1.shape != m2.shape or c1.shape != 2 * m1.shape or c2.shape != 2 * m1.shape:
        raise DataError(f"Moments of shapes {m1.shape}, {c1.shape} and {m2.shape}, {c2.shape}; (F,), (F, F) twice.")
    if not all(np.isfinite(array).all() for array in (m1, c1, m2, c2)):
        raise DataError("The moments hold NaN or infinite numbers; the network or the generator has diverged.")
    overlap = np.linalg.svd(_root(c1).T @ _root(c2), compute_uv=False).sum()
    distance = np.square(m1 - m2).sum() + np.trace(c1) + np.trace(c2) - 2 * overlap
    return float(max(distance, 0.0))  # below 0 only by rounding


def _root(covariance: np.ndarray) -> np.ndarray:
    """S (F, F) with S S^T = covariance; directions whose variance is only rounding get 0."""
    variances, directions = np.linalg.eigh(covariance)
    noise = len(variances) * np.finfo(np.float64).eps * max(variances[-1], 0.0)
    return directions * np.sqrt(np.where(variances > noise, variances, 0.0))


# --- Kernel distance -------------------------------------------------------------------------------------------------


class KernelDistance(NamedTuple):
    """`value`, and its standard error over fresh samples of both sides; see `kernel_distance`."""

    value: float
    error: float


class KernelSums(NamedTuple):
    """Of a kernel matrix (N, M), without its diagonal where both sides are one sample: means of rows (N,) and of
    columns (M,), and the variance of what both leave unexplained (the degenerate part of Hoeffding's decomposition)."""

    rows: np.ndarray
    columns: np.ndarray
    rest: float


def kernel_distance(real: np.ndarray, fake: np.ndarray, *, real_sums: KernelSums | None = None) -> KernelDistance:
    """Squared maximum mean discrepancy with the kernel k(x, y) = (x.y / F + 1)^3, unbiased: of Inception features, the
    KID of Binkowski et al. 2018 (arXiv:1801.01401, section 3 and eq. 4).

    For two samples of one distribution the expectation is 0, and single figures may be negative. All N and M samples
    are used at once: the mean over random subsets that torch-fidelity and others report has the same expectation and
    adds the noise of the subsets; with one subset of everything, its answer is this one.

    error: the standard deviation of `value` over fresh samples of these sizes, from Hoeffding's decomposition of the
    U-statistic (for N = M, Sutherland et al. 2017, arXiv:1611.04488, section 3). With g(x) = E k(x, x') - E k(x, y) and
    t the variance of a kernel whose rows and columns are centred,

        error^2 = 4 Var g(x) / N + 4 Var g(y) / M + 2 t_xx / (N (N - 1)) + 2 t_yy / (M (M - 1)) + 4 t_xy / (N M)

    The first two terms vanish for equal distributions, and the others are then all there is; since no estimate of a
    variance may be below 0, the error is about a fifth too large there. A deviation over subsets would be no error:
    they share their samples, so it says how much the figure of one subset varies, whatever N and M.

    real_sums: what `kernel_sums(real)` gave, if one has kept it: it is the same for every model. N, M >= 3; raises
    DataError for fewer.
    """
    real, fake = matching_points(real, fake, NAMES)
    n, m = len(real), len(fake)
    if min(n, m) < 3:
        raise DataError(f"A kernel distance with its error needs at least 3 samples on each side, not {n} and {m}.")
    xx = kernel_sums(real) if real_sums is None else real_sums
    if len(xx.rows) != n:
        raise DataError(f"real_sums are of {len(xx.rows)} samples, and there are {n} real ones.")
    yy, xy = kernel_sums(fake), _kernel_sums_between(real, fake)
    value = xx.rows.mean() + yy.rows.mean() - 2 * xy.rows.mean()
    # Means over few samples vary by themselves; that part is in the other terms already.
    g_x = max(0.0, np.var(xx.rows - xy.rows, ddof=1) - xx.rest / (n - 1) - xy.rest / m)
    g_y = max(0.0, np.var(yy.rows - xy.columns, ddof=1) - yy.rest / (m - 1) - xy.rest / n)
    first = 4 * g_x / n + 4 * g_y / m
    second = 2 * xx.rest / (n * (n - 1)) + 2 * yy.rest / (m * (m - 1)) + 4 * xy.rest / (n * m)
    return KernelDistance(float(value), float(np.sqrt(first + second)))


def kernel_sums(features: np.ndarray) -> KernelSums:
    """What `kernel_distance` needs of one sample (N, F) alone, N >= 3. Each pair is looked at once."""
    a = points(features, "features")
    n = len(a)
    rows, squares = np.zeros(n), 0.0
    for i in range(0, n, ROWS):
        x = values(a[i : i + ROWS])
        k = _kernel(x, x)
        np.fill_diagonal(k, 0)
        rows[i : i + len(x)] += k.sum(axis=1)
        squares += np.vdot(k, k)
        for j in range(i + ROWS, n, COLUMNS):
            k = _kernel(x, values(a[j : j + COLUMNS]))
            rows[i : i + len(x)] += k.sum(axis=1)
            rows[j : j + k.shape[1]] += k.sum(axis=0)
            squares += 2 * np.vdot(k, k)
    return _sums(rows / (n - 1), rows / (n - 1), squares / (n * (n - 1)))


def _kernel_sums_between(a: np.ndarray, b: np.ndarray) -> KernelSums:
    rows, columns, squares = np.zeros(len(a)), np.zeros(len(b)), 0.0
    for i in range(0, len(a), ROWS):
        x = values(a[i : i + ROWS])
        for j in range(0, len(b), COLUMNS):
            k = _kernel(x, values(b[j : j + COLUMNS]))
            rows[i : i + len(x)] += k.sum(axis=1)
            columns[j : j + k.shape[1]] += k.sum(axis=0)
            squares += np.vdot(k, k)
    return _sums(rows / len(b), columns / len(a), squares / (len(a) * len(b)))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    k = x @ y.T
    k /= x.shape[1]
    k += 1
    return k * k * k  # ten times faster than k ** 3


def _sums(rows: np.ndarray, columns: np.ndarray, square: float) -> KernelSums:
    """From means of rows and columns, and the mean of the squares."""
    rest = square - rows.mean() ** 2 - np.var(rows, ddof=1) - np.var(columns, ddof=1)
    return KernelSums(rows, columns, max(0.0, float(rest)))


# --- Precision, recall, density, coverage ----------------------------------------------------------------------------


def _balls(features: np.ndarray, k: int, distances: np.ndarray | None) -> np.ndarray:
    """Squared distance (N,) from each point to its k-th nearest other one, from `distances` if somebody kept them."""
    if distances is None:
        distances = neighbour_distances(features, k)
    if distances.ndim != 2 or len(distances) != len(features) or not 1 <= k <= distances.shape[1]:
        raise DataError(f"real_distances have the shape {distances.shape}; ({len(features)}, {k} or more) is needed.")
    return distances[:, k - 1] ** 2


def precision_recall(
    real: np.ndarray, fake: np.ndarray, k: int = 3, *, real_distances: np.ndarray | None = None
) -> tuple[float, float]:
    """Precision, the share of fake samples in the data's manifold; recall, the share of real ones in the fakes'.

    Kynkäänniemi et al. 2019 (arXiv:1904.06991, eq. 1 and 2): the manifold of a sample is the union of closed balls,
    one about each point, reaching to its k-th nearest other point. N, M > k. One outlier's large ball can raise
    either; `density_coverage` is the answer to that.

    real_distances: what `neighbour_distances(real, k)` gave, for k or more neighbours, if one has kept it: it is the
    same for every model, and shared with `density_coverage`.
    """
    real, fake = matching_points(real, fake, NAMES)
    real_balls, fake_balls = _balls(real, k, real_distances), _balls(fake, k, None)
    inside, recalled = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for f, r, d2 in tiles(fake, real):
        inside[f] |= (d2 <= real_balls[r]).any(axis=1)
        recalled[r] |= (d2 <= fake_balls[f, None]).any(axis=0)
    return float(inside.mean()), float(recalled.mean())


def density_coverage(
    real: np.ndarray, fake: np.ndarray, k: int = 5, *, real_distances: np.ndarray | None = None
) -> tuple[float, float]:
    """Density, how many real points' balls hold a fake sample on average, over k; coverage, the share of real points
    whose ball holds a fake sample. Balls, k and real_distances as in `precision_recall`; none are about fake points.

    Naeem et al. 2020 (arXiv:2002.09797, section 3). For two samples of one distribution the expectations are 1 and
    1 - (N-1) ... (N-k) / ((M+N-1) ... (M+N-k)), about 1 - 2^-k for N = M; so density may exceed 1. N > k.
    """
    real, fake = matching_points(real, fake, NAMES)
    balls = _balls(real, k, real_distances)
    members, covered = 0, np.zeros(len(real), bool)
    for _, r, d2 in tiles(fake, real):
        inside = d2 <= balls[r]
        members += int(np.count_nonzero(inside))
        covered[r] |= inside.any(axis=0)
    return members / (k * len(fake)), float(covered.mean())


def realism(real: np.ndarray, fake: np.ndarray, k: int = 3, *, real_distances: np.ndarray | None = None) -> np.ndarray:
    """How real each fake sample looks, float64 (M,): the largest ratio, over real points, of their ball's radius to
    the sample's distance from them; 1 on the border of the manifold, infinite for a copy of a real point.

    Kynkäänniemi et al. 2019 (arXiv:1904.06991, eq. 3): balls as in `precision_recall`, but only those whose radius is
    at most the median, for the large ones lie where the data is sparse and would let everything pass.
    """
    real, fake = matching_points(real, fake, NAMES)
    balls = _balls(real, k, real_distances)
    kept = balls <= np.median(balls)
    real, balls = real[kept], balls[kept]
    best = np.zeros(len(fake))
    for f, r, d2 in tiles(fake, real):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = balls[r] / np.maximum(d2, 0)
        best[f] = np.maximum(best[f], np.nan_to_num(ratio, nan=np.inf, posinf=np.inf).max(axis=1))
    return np.sqrt(best)


# --- Classes and modes -----------------------------------------------------------------------------------------------


def _labels(labels: np.ndarray, name: str, num_classes: int | None = None) -> np.ndarray:
    """Whole numbers (N,), N >= 1, from 0 to below num_classes if that is given; DataError otherwise."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"The {name} are {labels.dtype} {labels.shape}; whole numbers (N,) are needed, N at least 1.")
    if num_classes is not None and (labels.min() < 0 or labels.max() >= num_classes):
        raise DataError(f"The {name} go from {labels.min()} to {labels.max()}; there are {num_classes} classes from 0.")
    return labels.astype(np.int64)


def class_agreement(predicted: np.ndarray, asked: np.ndarray) -> float:
    """Share in [0, 1] of a conditional model's samples that a classifier takes for the class that was asked for.

    predicted, asked: whole numbers (N,). The classifier's own accuracy on real pictures is about the most to expect.
    """
    predicted, asked = _labels(predicted, "predicted classes"), _labels(asked, "asked classes")
    if predicted.shape != asked.shape:
        raise DataError(f"{len(predicted)} predicted classes and {len(asked)} asked ones; they belong together.")
    return float((predicted == asked).mean())


def class_histogram(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of each class, float64 (num_classes,), sum 1. labels: whole numbers (N,) from 0 to num_classes - 1."""
    labels = _labels(labels, "labels", num_classes)
    return np.bincount(labels, minlength=num_classes) / len(labels)


def histogram_divergence(p_fake: np.ndarray, p_real: np.ndarray) -> float:
    """Kullback-Leibler divergence KL(fake || real) = sum p_fake log(p_fake / p_real), in nats, >= 0.

    p_fake, p_real: shares or counts (K,), scaled here to sum 1. A class that is never generated adds nothing of its
    own (0 log 0 = 0; all classes lost but one of ten equal ones give log 10 = 2.30). A class that is generated but
    not in the data makes it infinite: no smoothing is applied. Of N samples of the data's own distribution the
    expectation is about (K - 1) / (2 N), not 0.
    """
    p, q = np.asarray(p_fake, np.float64), np.asarray(p_real, np.float64)
    if p.ndim != 1 or p.shape != q.shape:
        raise DataError(f"Histograms of shapes {p.shape} and {q.shape}; both must be (K,).")
    for name, shares in (("fake", p), ("real", q)):
        if not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
            raise DataError(f"The histogram of {name} samples holds negative numbers or NaN, or is empty: {shares}.")
    p, q = p / p.sum(), q / q.sum()
    seen = p > 0
    if (q[seen] == 0).any():
        return float("inf")
    return float(max((p[seen] * np.log(p[seen] / q[seen])).sum(), 0.0))  # below 0 only by rounding


def num_modes(labels: np.ndarray) -> int:
    """How many different classes or modes (N,) occur at least once."""
    return int(np.unique(_labels(labels, "labels")).size)


def stacked_modes(digits: np.ndarray) -> tuple[int, float]:
    """Stacked MNIST: how many of the 1,000 modes occur, and KL(fake || uniform) of them in nats.

    Metz et al. 2017 (arXiv:1611.02163); protocol of Lin et al. 2018 (arXiv:1712.04086): three digits are stacked as
    the colours of a picture and read one by one by a classifier of MNIST. digits: whole numbers 0 to 9, (N, 3). N must
    be large, usually 26,000: 1,000 samples of a perfect model show 632 modes, and its KL is about 999 / (2 N).
    """
    digits = np.asarray(digits)
    if digits.ndim != 2 or digits.shape[1] != 3:
        raise DataError(f"The digits have the shape {digits.shape}; (N, 3) is needed.")
    triples = _labels(digits.ravel(), "digits", 10).reshape(-1, 3) @ np.array([100, 10, 1])
    shares = class_histogram(triples, 1000)
    return int(np.count_nonzero(shares)), histogram_divergence(shares, np.full(1000, 1e-3))
