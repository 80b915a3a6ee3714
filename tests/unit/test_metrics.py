"""Metrics and neighbours against independent truth: closed forms, brute force, expectations that papers derive, scipy,
torch-fidelity and prdc on the same features."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from ganlab.errors import ConfigError, DataError
from ganlab.evaluate import metrics, neighbours
from ganlab.evaluate.metrics import (
    class_agreement,
    class_histogram,
    density_coverage,
    frechet_distance,
    frechet_from_moments,
    histogram_divergence,
    kernel_distance,
    moments,
    num_modes,
    precision_recall,
    realism,
    stacked_modes,
)
from ganlab.evaluate.neighbours import (
    closest_pairs,
    duplicate_threshold,
    duplicates,
    nearest,
    neighbour_distances,
    support_estimate,
)

PAIRED = [frechet_distance, kernel_distance, precision_recall, density_coverage]
each_paired = pytest.mark.parametrize("metric", PAIRED, ids=["frechet", "kernel", "precision", "density"])


def normal(num: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num, dim))


def features(num: int, dim: int, seed: int = 0) -> np.ndarray:
    """What a network's last layer gives: correlated, not negative, away from 0, float32."""
    mixed = normal(num, dim, seed) @ normal(dim, dim, 99) / math.sqrt(dim)
    return (np.maximum(mixed, 0) + 0.3).astype(np.float32)


def a_covariance(dim: int, seed: int) -> np.ndarray:
    root = normal(dim, dim, seed)
    return root @ root.T / dim


def a_rotation(dim: int, seed: int = 5) -> np.ndarray:
    return np.linalg.qr(normal(dim, dim, seed))[0]


def all_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Brute force, one difference at a time."""
    return np.array([[math.sqrt(np.square(x - y).sum()) for y in b] for x in a])


@pytest.fixture(params=["one tile", "many tiles"])
def any_tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in use, and with tiles so small that a hundred points need many, of unequal sizes."""
    if request.param == "many tiles":
        for module in (neighbours, metrics):
            monkeypatch.setattr(module, "ROWS", 7)
        monkeypatch.setattr(neighbours, "COLUMNS", 11)


# --- Fréchet distance ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("any_tiles")
def test_moments_are_numpys_mean_and_covariance():
    x = features(1500, 6)
    mean, covariance = moments(x)
    assert mean.dtype == covariance.dtype == np.float64
    np.testing.assert_allclose(mean, x.mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x, rowvar=False, dtype=np.float64), rtol=1e-10, atol=1e-14)


def test_frechet_of_commuting_covariances_is_the_distance_of_their_standard_deviations():
    q, m1, m2 = a_rotation(5), normal(1, 5, 1)[0], normal(1, 5, 2)[0]
    s1, s2 = np.array([1, 2, 3, 4, 5.0]), np.array([2, 2, 0.5, 7, 0])
    expected = np.square(m1 - m2).sum() + np.square(s1 - s2).sum()
    got = frechet_from_moments(m1, q * s1**2 @ q.T, m2, q * s2**2 @ q.T)
    assert got == pytest.approx(expected, rel=1e-12)


def frechet_of_planes(m1: np.ndarray, c1: np.ndarray, m2: np.ndarray, c2: np.ndarray) -> float:
    """Closed form in two dimensions: (tr sqrt(M))^2 = tr(M) + 2 sqrt(det M), for the eigenvalues of M = C1 C2."""
    trace = math.sqrt(np.trace(c1 @ c2) + 2 * math.sqrt(np.linalg.det(c1) * np.linalg.det(c2)))
    return float(np.square(m1 - m2).sum() + np.trace(c1) + np.trace(c2) - 2 * trace)


def test_frechet_of_covariances_that_do_not_commute():
    c1, c2 = np.array([[2, 1], [1, 3.0]]), np.array([[1, -0.8], [-0.8, 4]])
    assert np.abs(c1 @ c2 - c2 @ c1).max() > 1
    m1, m2 = np.array([0.0, 1]), np.array([2.0, -1])
    assert frechet_from_moments(m1, c1, m2, c2) == pytest.approx(frechet_of_planes(m1, c1, m2, c2), rel=1e-12)


def test_frechet_of_samples_finds_that_of_their_gaussians():
    """The mean of 40 figures of 2,000 samples each, within four of its standard errors and the bias of order F / N."""
    c1, c2 = np.array([[2, 1], [1, 3.0]]), np.array([[1, -0.8], [-0.8, 4]])
    m1, m2 = np.zeros(2), np.array([0.5, -1])
    random = np.random.default_rng(0)
    figures = [
        frechet_distance(random.multivariate_normal(m1, c1, 2000), random.multivariate_normal(m2, c2, 2000))
        for _ in range(40)
    ]
    expected, error = frechet_of_planes(m1, c1, m2, c2), np.std(figures) / math.sqrt(40)
    assert error < 0.02 * expected
    assert np.mean(figures) == pytest.approx(expected, abs=4 * error + 10 / 2000)


@pytest.mark.parametrize("dim", [3, 40])
def test_frechet_agrees_with_scipys_matrix_square_root(dim: int):
    c1, c2, m1, m2 = a_covariance(dim, 1), a_covariance(dim, 2), normal(1, dim, 3)[0], normal(1, dim, 4)[0]
    cross = np.trace(scipy.linalg.sqrtm(c1 @ c2)).real
    expected = np.square(m1 - m2).sum() + np.trace(c1) + np.trace(c2) - 2 * cross
    assert frechet_from_moments(m1, c1, m2, c2) == pytest.approx(expected, rel=1e-9)


def test_frechet_agrees_with_torch_fidelity():
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    real, fake = features(1200, 48, 1), features(900, 48, 2) * 1.1
    stats = [fid_features_to_statistics(torch.from_numpy(x.astype(np.float64))) for x in (fake, real)]
    expected = fid_statistics_to_metric(*stats, verbose=False)[KEY_METRIC_FID]
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-8)


def test_frechet_of_covariances_of_rank_one():
    """C1 = u u^T and C2 = v v^T: tr (C1 C2)^(1/2) = |u . v|."""
    u, v = normal(2, 30, 1)
    expected = u @ u + v @ v - 2 * abs(u @ v)
    zero = np.zeros(30)
    assert frechet_from_moments(zero, np.outer(u, u), zero, np.outer(v, v)) == pytest.approx(expected, rel=1e-12)
    assert frechet_from_moments(zero, np.outer(u, u), zero, np.zeros((30, 30))) == pytest.approx(u @ u, rel=1e-12)


def test_frechet_of_features_that_fill_few_of_their_dimensions():
    """Three dimensions turned into sixty, and fewer samples than dimensions: the figure is that of the three."""
    real, fake = normal(40, 3, 1), normal(50, 3, 2) * 2 + 1
    into = a_rotation(60)[:3]
    assert frechet_distance(real @ into, fake @ into) == pytest.approx(frechet_distance(real, fake), rel=1e-10)


def test_frechet_is_a_symmetric_distance_that_scales():
    real, fake = features(300, 20, 1), features(200, 20, 2) + 0.5
    figure = frechet_distance(real, fake)
    assert figure > 5
    assert frechet_distance(fake, real) == pytest.approx(figure, rel=1e-10)
    assert frechet_distance(real[::-1], fake) == pytest.approx(figure, rel=1e-10)
    assert frechet_distance(3 * real, 3 * fake) == pytest.approx(9 * figure, rel=1e-5)
    assert 0 <= frechet_distance(real, real[::-1]) < 1e-10
    assert frechet_distance(real, real + np.float64(2)) == pytest.approx(20 * 4, rel=1e-6)


def test_frechet_refuses_moments_that_do_not_fit():
    m, c = moments(normal(9, 3))
    with pytest.raises(DataError, match="shapes"):
        frechet_from_moments(m, c, m[:2], c[:2, :2])
    with pytest.raises(DataError, match="NaN"):
        frechet_from_moments(m, c, m, c * np.nan)
    with pytest.raises(DataError, match="2 samples"):
        moments(normal(1, 3))


# --- Kernel distance -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("any_tiles")
def test_kernel_distance_is_equation_4():
    """Binkowski et al. 2018, term by term."""
    x, y = normal(20, 4, 1), normal(9, 4, 2) + 1

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / 4 + 1) ** 3

    x_x, y_y = (np.mean([k(a, b) for a, b in itertools.permutations(side, 2)]) for side in (x, y))
    x_y = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y).value == pytest.approx(x_x + y_y - 2 * x_y, rel=1e-12)


def test_kernel_distance_agrees_with_torch_fidelity():
    """With one subset of everything; the mean over its usual, smaller subsets lies about it."""
    import torch
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    real, fake = features(400, 32, 1), features(400, 32, 2) * 1.1
    inputs = [torch.from_numpy(x.astype(np.float64)) for x in (fake, real)]
    value = kernel_distance(real, fake).value
    whole = kid_features_to_metric(*inputs, kid_subsets=1, kid_subset_size=400, rng_seed=3, verbose=False)
    assert value == pytest.approx(whole[KEY_METRIC_KID_MEAN], rel=1e-9)
    usual = kid_features_to_metric(*inputs, kid_subsets=400, kid_subset_size=100, rng_seed=3, verbose=False)
    assert value == pytest.approx(usual[KEY_METRIC_KID_MEAN], abs=4 * usual[KEY_METRIC_KID_STD] / math.sqrt(400))


def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
    """E (x.y / F + 1)^3 for x of N(a, 1) and y of N(b, 1): given y, x.y is normal with mean a.y and variance |y|^2."""
    dim, ab, aa, bb = len(a), a @ b, a @ a, b @ b
    moments_of_xy = ab, ab**2 + aa + bb + dim, ab**3 + 3 * ab * aa + 3 * ab * (bb + dim + 2)
    return 1 + sum(c * m / dim**n for c, m, n in zip((3, 3, 1), moments_of_xy, (1, 2, 3), strict=True))


@pytest.mark.parametrize(
    ("shift", "least", "most"), [(0, 0.9, 1.35), (0.05, 0.9, 1.3), (0.3, 0.88, 1.12), (2, 0.88, 1.12)]
)
@pytest.mark.parametrize(("num_real", "num_fake"), [(150, 150), (300, 80)])
def test_the_error_of_the_kernel_distance_is_its_spread_over_fresh_samples(
    shift: float, least: float, most: float, num_real: int, num_fake: int
):
    """For Gaussians that are equal, so near that all terms of the error matter, and far apart. The value is right on
    average: not squared away from 0 where the distributions are equal."""
    random, dim = np.random.default_rng(int(100 * shift) + num_real), 8
    a, b = np.full(dim, 0.5), np.full(dim, 0.5 + shift)
    draws = [(random.normal(a, 1, (num_real, dim)), random.normal(b, 1, (num_fake, dim))) for _ in range(400)]
    figures, errors = np.array([kernel_distance(*draw) for draw in draws]).T
    truth = mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)
    spread = figures.std(ddof=1)  # itself known to 3.5%
    assert least < np.sqrt(np.mean(errors**2)) / spread < most
    assert abs(figures.mean() - truth) < 3.5 * spread / 20
    assert (np.abs(figures - truth) < 2 * errors).mean() > 0.85  # the figures are skewed, and the errors follow them


def test_kernel_sums_of_the_data_may_be_kept():
    x, y = features(50, 6, 1), features(40, 6, 2)
    assert kernel_distance(x, y, real_sums=metrics.kernel_sums(x)) == kernel_distance(x, y)
    with pytest.raises(DataError, match="real_sums are of 40 samples, and there are 50"):
        kernel_distance(x, y, real_sums=metrics.kernel_sums(y))


def test_kernel_distance_takes_three_samples():
    with pytest.raises(DataError, match="not 50 and 2"):
        kernel_distance(normal(50, 3), normal(2, 3))
    assert math.isfinite(kernel_distance(normal(3, 3), normal(3, 3, 1)).error)


# --- Precision, recall, density, coverage ----------------------------------------------------------------------------


@pytest.mark.usefixtures("any_tiles")
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("num_real", "num_fake", "dim"), [(150, 90, 3), (80, 130, 16)])
def test_precision_recall_density_and_coverage_agree_with_prdc(num_real: int, num_fake: int, dim: int, k: int):
    from prdc import compute_prdc

    real, fake = features(num_real, dim, 1).astype(np.float64), features(num_fake, dim, 2) * 1.15 + 0.02
    real, fake = real + 1e-3 * normal(num_real, dim, 3), fake + 1e-3 * normal(num_fake, dim, 4)  # no ties
    expected = compute_prdc(real, fake, nearest_k=k)
    assert 0 < expected["precision"] < 1 and 0 < expected["recall"] < 1
    np.testing.assert_allclose(precision_recall(real, fake, k), [expected["precision"], expected["recall"]])
    np.testing.assert_allclose(density_coverage(real, fake, k), [expected["density"], expected["coverage"]])


def test_precision_and_recall_agree_with_torch_fidelity():
    import torch
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    real, fake = normal(300, 6, 1), normal(250, 6, 2) * 0.9
    inputs = [torch.from_numpy(x) for x in (fake, real)]
    expected = prc_features_to_metric(*inputs, verbose=False)
    assert 0.3 < expected[KEY_METRIC_RECALL] < expected[KEY_METRIC_PRECISION] < 1
    np.testing.assert_allclose(
        precision_recall(real, fake), [expected[KEY_METRIC_PRECISION], expected[KEY_METRIC_RECALL]]
    )


def test_balls_on_a_line_counted_by_hand():
    """k = 1. Real balls: 0 +- 1, 1 +- 1, 3 +- 2. Fake ones: 2 +- 2.5, 4.5 +- 2.5, 20 +- 15.5."""
    real, fake = np.array([[0.0], [1], [3]]), np.array([[2.0], [4.5], [20]])
    assert precision_recall(real, fake, k=1) == pytest.approx((2 / 3, 1.0))
    # 2 lies on the border of 1's ball, which counts, and in 3's; 4.5 in 3's; 20 in none.
    assert density_coverage(real, fake, k=1) == pytest.approx((3 / 3, 2 / 3))
    assert precision_recall(real, fake - 30, k=1) == (0, 1)  # the outlier -10 reaches from -25.5 to 5.5
    assert precision_recall(real, fake + 30, k=1) == (0, 0)


def test_samples_of_one_distribution_have_the_density_and_coverage_of_the_lemmas():
    """Naeem et al. 2020, section 3: 1, and 1 - (N-1) ... (N-k) / ((M+N-1) ... (M+N-k)), whatever the distribution."""
    num_real, num_fake, k = 60, 40, 3
    random = np.random.default_rng(0)
    draws = [random.exponential(size=(num_real + num_fake, 2)) for _ in range(300)]
    found = np.array([density_coverage(x[:num_real], x[num_real:], k) for x in draws])
    missed = math.prod((num_real - i) / (num_fake + num_real - i) for i in range(1, k + 1))
    error = found.std(0) / math.sqrt(len(draws))
    assert (error < 0.015).all()
    assert (np.abs(found.mean(0) - [1, 1 - missed]) < 3.5 * error).all()


@pytest.mark.parametrize("offset", [0, 1e4])
def test_copies_of_the_data_are_inside_in_spite_of_rounding(offset: float):
    """A memorised point lies in its own ball and, at its border included, in those of k others on average."""
    real = normal(300, 64) + offset
    order = np.random.default_rng(1).permutation(300)
    assert precision_recall(real, real[order]) == (1, 1)
    assert density_coverage(real, real[order], k=5) == pytest.approx((6 / 5, 1))


@pytest.mark.parametrize("at_origin", [False, True])
def test_a_generator_of_one_picture_has_no_recall(at_origin: bool):
    real = features(200, 8)
    real -= at_origin * real[0]
    fake = np.repeat(real[:1], 50, axis=0)
    precision, recall = precision_recall(real, fake)
    density, coverage = density_coverage(real, fake)
    assert precision == 1 and recall == 1 / 200  # its balls have no extent and hold the one real point at their place
    assert coverage == pytest.approx(density * 5 / 200)  # each ball about it holds all fakes or none


@pytest.mark.parametrize("at", [0, 50])
def test_balls_without_extent_hold_the_copies_of_their_point(at: float):
    """A data set that holds one picture seven times, far from the others, and a generator of that picture."""
    fake = np.full((9, 8), float(at))
    real = np.concatenate([fake[:7], features(19, 8) + 200])
    assert precision_recall(real, fake) == (1, pytest.approx(7 / 26))
    assert density_coverage(real, fake) == (pytest.approx(7 / 5), pytest.approx(7 / 26))


def test_distances_among_the_data_may_be_kept():
    real, fake = features(100, 8, 1), features(80, 8, 2)
    kept = neighbour_distances(real, 7)
    assert precision_recall(real, fake, real_distances=kept) == precision_recall(real, fake)
    assert density_coverage(real, fake, real_distances=kept) == density_coverage(real, fake)
    for wrong in (kept[:, :2], kept[:99], kept[:, 0]):
        with pytest.raises(DataError, match="real_distances"):
            precision_recall(real, fake, real_distances=wrong)
    for metric in (precision_recall, density_coverage):
        for k in (0, 100):
            with pytest.raises(ConfigError, match=f"k is {k}"):
                metric(real, fake, k)


@pytest.mark.usefixtures("any_tiles")
@pytest.mark.parametrize("k", [1, 3])
def test_realism_is_equation_3(k: int):
    """Kynkäänniemi et al. 2019, one pair at a time, over the smaller half of the balls."""
    real, fake = features(61, 4, 1), features(25, 4, 2) * 1.2
    radii = np.sort(all_distances(real, real), axis=1)[:, k]
    small = [i for i in range(61) if radii[i] <= np.median(radii)]
    expected = [max(radii[i] / math.dist(real[i], sample) for i in small) for sample in fake]
    np.testing.assert_allclose(realism(real, fake, k), expected, rtol=1e-5)
    kept = neighbour_distances(real, 5)
    np.testing.assert_array_equal(realism(real, fake, k, real_distances=kept), realism(real, fake, k))


def test_realism_of_copies_is_infinite_and_that_of_balls_without_extent_is_small():
    real = np.concatenate([normal(20, 3), np.full((20, 3), 5.0)])  # many copies of one picture: balls of radius 0
    found = realism(real, np.array([[5.0, 5.0, 5.0], [5.0, 5.0, 6.0]]))
    assert found[0] == np.inf and found[1] < 1
    assert realism(normal(30, 3), normal(30, 3)).max() > 1e6


# --- what all metrics of two arrays share ----------------------------------------------------------------------------


@each_paired
def test_metrics_know_neither_the_order_of_samples_nor_of_dimensions(metric):
    real, fake = features(60, 5, 1), features(60, 5, 2) + 0.1
    random = np.random.default_rng(0)
    dims = random.permutation(5)
    again = metric(random.permutation(real)[:, dims], random.permutation(fake)[:, dims])
    np.testing.assert_allclose(again, metric(real, fake), rtol=1e-9)


@each_paired
def test_metrics_take_pictures_as_pixels_from_0_to_1(metric):
    real, fake = np.random.default_rng(0).integers(0, 256, (2, 30, 4, 4, 3), np.uint8)
    fake //= 2
    expected = metric(*(x.reshape(30, -1) / 255 for x in (real, fake)))
    np.testing.assert_allclose(metric(real, fake), expected, rtol=1e-12)


@each_paired
@pytest.mark.usefixtures("any_tiles")
def test_metrics_refuse_arrays_that_do_not_fit_or_hold_no_numbers(metric):
    good = normal(9, 3)
    broken = good.copy()
    broken[8, 2] = np.nan
    endless = good.copy()
    endless[0, 0], endless[0, 1] = np.inf, -np.inf
    for bad, message in [
        (broken, "NaN"),
        (endless, "NaN or infinite"),
        (good[:, :2], "must agree"),
        (good[:, 0], "shape"),
        (good[:0], "shape"),
        (np.ones((9, 3), int), "int64"),
        (np.ones((9, 3), np.uint8), "like with like"),
    ]:
        with pytest.raises(DataError, match=message):
            metric(good, bad)
        with pytest.raises(DataError, match=message):
            metric(bad, good)


# --- classes and modes -----------------------------------------------------------------------------------------------


def test_class_agreement_is_the_share_of_equal_labels():
    assert class_agreement(np.array([1, 2, 3, 3]), np.array([1, 2, 3, 0])) == 0.75
    with pytest.raises(DataError, match="4 predicted classes and 1 asked"):
        class_agreement(np.array([1, 2, 3, 3]), np.array([1]))  # not to be broadcast
    with pytest.raises(DataError, match="float64"):
        class_agreement(np.ones(3), np.ones(3, int))


def test_class_histogram_is_the_share_of_each_class():
    np.testing.assert_array_equal(class_histogram(np.array([0, 3, 3, 1], np.uint8), 5), [0.25, 0.25, 0, 0.5, 0])
    for labels in ([0, 5], [-1, 2]):
        with pytest.raises(DataError, match="5 classes"):
            class_histogram(np.array(labels), 5)
    with pytest.raises(DataError, match="at least 1"):
        class_histogram(np.empty(0, int), 5)


def test_histogram_divergence_agrees_with_scipy_and_the_direction_is_fake_from_real():
    p, q = np.random.default_rng(0).dirichlet(np.ones(10), 2)
    assert histogram_divergence(p, q) == pytest.approx(scipy.stats.entropy(p, q), rel=1e-12)
    assert histogram_divergence(1000 * p, 7 * q) == pytest.approx(histogram_divergence(p, q), rel=1e-12)
    assert histogram_divergence(p, q) != pytest.approx(histogram_divergence(q, p), rel=0.01)


def test_histogram_divergence_of_histograms_with_zeros():
    flat, one = np.full(10, 0.1), np.eye(10)[3]
    assert histogram_divergence(one, flat) == pytest.approx(math.log(10))
    assert histogram_divergence(flat, one) == math.inf
    assert histogram_divergence(one, one) == histogram_divergence(flat, flat) == 0
    for p, q, message in [(flat, flat[:9], "shapes"), (0 * flat, flat, "fake"), (flat, -flat, "real")]:
        with pytest.raises(DataError, match=message):
            histogram_divergence(p, q)
    with pytest.raises(DataError, match="NaN"):
        histogram_divergence(np.nan * flat, flat)


def test_histogram_divergence_of_perfect_samples_is_on_average_what_its_docstring_says():
    random = np.random.default_rng(0)
    found = [histogram_divergence(random.multinomial(500, np.full(10, 0.1)), np.full(10, 0.1)) for _ in range(400)]
    assert np.mean(found) == pytest.approx(9 / 1000, rel=0.1)


def test_number_of_modes():
    assert num_modes(np.array([4, 7, 4, -2])) == 3
    with pytest.raises(DataError):
        num_modes(np.empty(0, int))


def test_stacked_modes():
    every = np.array(list(itertools.product(range(10), repeat=3)))
    assert stacked_modes(every) == (1000, pytest.approx(0, abs=1e-12))
    assert stacked_modes(every[[123, 123]]) == (1, pytest.approx(math.log(1000)))
    assert stacked_modes(every[[123, 321, 123, 321]].astype(np.uint8)) == (2, pytest.approx(math.log(500)))
    for wrong in (every[:, :2], every + 1, every - 1, every / 2, every[:0]):
        with pytest.raises(DataError):
            stacked_modes(wrong)


def test_stacked_modes_of_few_perfect_samples():
    """The 632 modes that 1,000 samples of a perfect model show: 1,000 (1 - 1/e). And the KL of 26,000: 999 / 52,000."""
    digits = np.random.default_rng(0).integers(0, 10, (26_000, 3))
    assert stacked_modes(digits[:1000])[0] == pytest.approx(632, abs=40)
    assert stacked_modes(digits) == (1000, pytest.approx(999 / 52_000, rel=0.15))


# --- neighbours ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("any_tiles")
@pytest.mark.parametrize("k", [1, 4, 23])
def test_nearest_agrees_with_brute_force(k: int):
    queries, reference = features(40, 5, 1), features(23, 5, 2)
    truth = all_distances(queries.astype(np.float64), reference.astype(np.float64))
    distances, indices = nearest(queries, reference, k)
    assert distances.dtype == np.float64 and indices.dtype == np.int64
    np.testing.assert_array_equal(indices, np.argsort(truth, axis=1, kind="stable")[:, :k])
    np.testing.assert_allclose(distances, np.sort(truth, axis=1)[:, :k], rtol=1e-13)


@pytest.mark.usefixtures("any_tiles")
def test_nearest_pictures():
    """uint8 pictures of any shape, as pixels in [0, 1]; one level apart in one pixel is 1 / 255."""
    pictures = np.random.default_rng(0).integers(0, 255, (60, 6, 6, 3), np.uint8)
    asked = pictures[[50, 7]].copy()
    asked[1, 2, 3, 1] += 1
    distances, indices = nearest(asked, pictures, 2)
    np.testing.assert_array_equal(indices[:, 0], [50, 7])
    assert distances[0, 0] == 0 and distances[1, 0] == pytest.approx(1 / 255, rel=1e-12)
    truth = all_distances(asked.reshape(2, -1) / 255, pictures.reshape(60, -1) / 255)
    np.testing.assert_allclose(distances[:, 1], np.sort(truth, axis=1)[:, 1], rtol=1e-12)


@pytest.mark.usefixtures("any_tiles")
def test_nearest_of_copies_is_at_distance_0_and_equal_ones_come_by_index():
    reference = np.tile(features(13, 32) + 1000, (2, 1))  # each twice, far from the origin
    distances, indices = nearest(reference, reference, 2)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices, np.stack([np.arange(26) % 13, np.arange(26) % 13 + 13], axis=1))


def test_equally_near_points_come_by_index_where_the_matrix_product_can_not_tell():
    """Far from the origin squares are rounded, differences are not."""
    random = np.random.default_rng(0)
    reference = 2.0**27 + np.array([random.permutation(16) for _ in range(50)])
    distances, indices = nearest(np.full((1, 16), 2.0**27), reference, 50)
    assert (distances == math.sqrt(sum(n * n for n in range(16)))).all()
    np.testing.assert_array_equal(indices[0], np.arange(50))


def test_neighbour_distances_leave_out_the_point_itself_but_not_its_copies():
    x = np.array([[0.0], [1], [1], [4]])
    np.testing.assert_array_equal(neighbour_distances(x, 2), [[1, 1], [0, 1], [0, 1], [3, 3]])
    for k in (0, 4):
        with pytest.raises(ConfigError, match=f"k is {k}"):
            neighbour_distances(x, k)


@pytest.mark.parametrize("k", [0, 6])
def test_nearest_refuses_k(k: int):
    with pytest.raises(ConfigError, match=f"k is {k}"):
        nearest(normal(9, 3), normal(5, 3), k)


def test_equally_close_pairs_come_by_index():
    """The corners of a simplex, as far from the origin as above: each pair at the distance 3 sqrt(2)."""
    found = closest_pairs(2.0**27 + 3 * np.eye(9), 50)
    assert found == [(i, j, math.sqrt(18)) for i, j in itertools.combinations(range(9), 2)]


def brute_pairs(x: np.ndarray) -> list[tuple[float, int, int]]:
    distances = all_distances(x, x)
    return sorted((distances[i, j], i, j) for i, j in itertools.combinations(range(len(x)), 2))


@pytest.mark.usefixtures("any_tiles")
@pytest.mark.parametrize("num", [1, 10, 5000])
def test_closest_pairs_agree_with_brute_force(num: int):
    x = features(70, 6)
    truth = brute_pairs(x.astype(np.float64))[:num]
    found = closest_pairs(x, num)
    assert len(found) == min(num, 70 * 69 / 2)
    assert [(i, j) for i, j, _ in found] == [(i, j) for _, i, j in truth]
    np.testing.assert_allclose([d for *_, d in found], [d for d, *_ in truth], rtol=1e-12)


@pytest.mark.usefixtures("any_tiles")
def test_closest_pairs_of_pictures_begin_with_the_copies():
    pictures = np.random.default_rng(0).integers(0, 256, (40, 5, 5), np.uint8)
    pictures[31], pictures[20] = pictures[4], pictures[19]
    assert closest_pairs(pictures, 2) == [(4, 31, 0.0), (19, 20, 0.0)]
    assert closest_pairs(pictures[:1], 2) == []
    with pytest.raises(ConfigError, match="num"):
        closest_pairs(pictures, 0)


@pytest.mark.usefixtures("any_tiles")
def test_duplicates_agree_with_brute_force():
    x = features(70, 6)
    truth = np.array([d for d, *_ in brute_pairs(x.astype(np.float64))])
    for threshold in (0, 0.2, 0.5, 1.3, 100):
        assert duplicates(x, threshold) == (truth <= threshold).sum()
    assert 0 < duplicates(x, 0.5) < duplicates(x, 1.3) < len(truth)
    assert duplicates(x[:1], 1) == 0
    for threshold in (-0.1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="threshold"):
            duplicates(x, threshold)


@pytest.mark.usefixtures("any_tiles")
def test_all_pairs_of_equal_samples_are_duplicates_at_threshold_0():
    """Groups of 1, 4 and 15 copies: 0 + 6 + 105 pairs, in spite of rounding far from the origin."""
    copies = np.repeat(features(3, 256) + 1e4, [1, 4, 15], axis=0)
    assert duplicates(np.random.default_rng(0).permutation(copies), 0) == 111
    assert duplicates(copies + 1e-2 * normal(20, 256), 0) == 0


def test_duplicate_threshold_is_passed_by_few_pairs_of_the_data():
    real = features(2000, 8)
    threshold = duplicate_threshold(real, quantile=0.01)
    assert 0.01 * 2000 / 2 <= duplicates(real, threshold) <= 0.01 * 2000 + 1
    few = real[:100]
    gaps = np.sort((all_distances(few, few) + np.diag(np.full(100, np.inf))).min(axis=1))
    for quantile in (0, 0.005, 0.155, 0.305, 0.505, 1):
        at = math.floor(quantile * 99)
        assert duplicate_threshold(few, quantile) == pytest.approx(gaps[at], rel=1e-6)
    smallest = duplicate_threshold(real[:500])
    assert smallest == closest_pairs(real[:500], 1)[0][2]
    assert duplicates(real[:500], smallest * (1 + 1e-9)) == 1
    for quantile in (-0.1, 1.1):
        with pytest.raises(ConfigError, match="quantile"):
            duplicate_threshold(real, quantile)
    with pytest.raises(ConfigError):
        duplicate_threshold(real[:1])


# --- the size of the support -----------------------------------------------------------------------------------------


def pairs_of(labels: np.ndarray) -> int:
    return sum(math.comb(n, 2) for n in np.bincount(labels))


def test_the_support_of_a_generator_that_knows_500_pictures():
    """From the data's threshold to the estimate, on samples that are its 500 pictures with a little noise."""
    real, known = features(3000, 24, 1), features(500, 24, 2)
    random = np.random.default_rng(3)
    samples = known[random.integers(500, size=400)] + 1e-4 * random.standard_normal((400, 24))
    size, low, high = support_estimate(400, duplicates(samples, duplicate_threshold(real)))
    assert low < 500 < high and size == pytest.approx(500, rel=0.25)
    honest = duplicates(features(400, 24, 4), duplicate_threshold(real))
    assert honest <= 2 and support_estimate(400, honest).size > 10 * size


@pytest.mark.parametrize("num_samples", [60, 200, 1500])
def test_the_interval_holds_the_support_95_times_in_100(num_samples: int):
    """Few duplicates (about 4 pairs), many, and so many that each picture comes thrice."""
    random = np.random.default_rng(0)
    counts = [pairs_of(random.integers(500, size=num_samples)) for _ in range(1000)]
    assert np.mean(counts) == pytest.approx(math.comb(num_samples, 2) / 500, rel=0.05)
    estimates = [support_estimate(num_samples, count) for count in counts]
    covered = np.mean([e.low <= 500 <= e.high for e in estimates])
    assert 0.93 <= covered <= 0.985


def test_the_size_of_an_uneven_support_is_the_effective_one():
    """Half of the samples are one of 10 pictures, half one of 990: 1 / sum p^2 = 39.6, not 1,000."""
    p = np.r_[np.full(10, 0.05), np.full(990, 0.5 / 990)]
    random = np.random.default_rng(0)
    counts = [pairs_of(random.choice(1000, size=300, p=p)) for _ in range(200)]
    sizes = [support_estimate(300, count).size for count in counts]
    assert 1 / (p**2).sum() == pytest.approx(39.6, abs=0.1)
    assert np.median(sizes) == pytest.approx(39.6, rel=0.05)


@pytest.mark.parametrize("found", [1, 2, 3, 10, 100, 10_000])
def test_the_interval_is_that_of_a_poisson_mean(found: int):
    """Garwood's exact interval by quantiles of chi squared."""
    least, most = scipy.stats.chi2.ppf(0.025, 2 * found) / 2, scipy.stats.chi2.ppf(0.975, 2 * found + 2) / 2
    pairs = 1000 * 999 / 2
    size, low, high = support_estimate(1000, found)
    assert size == pytest.approx(pairs / found)
    assert low == pytest.approx(pairs / most, rel=0.01)
    assert high == pytest.approx(pairs / least, rel=0.08 if found < 10 else 0.01)


def test_no_duplicates_bound_the_support_from_below():
    size, low, high = support_estimate(1000, 0)
    assert size == high == math.inf
    assert low == pytest.approx(1000**2 / 7.3, rel=0.02)
    assert low == pytest.approx(1000 * 999 / 2 / -math.log(0.025), rel=0.01)  # the mean that gives 0 in 2.5 of 100


def test_equal_samples_have_a_support_of_one():
    estimate = support_estimate(np.int32(50_000), math.comb(50_000, 2))  # a product that leaves 32 bits
    assert estimate.size == estimate.low == 1 and 1 <= estimate.high < 1.001
    for num_samples, found in ((1, 0), (10, 46), (10, -1)):
        with pytest.raises(ConfigError, match="duplicate pairs"):
            support_estimate(num_samples, found)
