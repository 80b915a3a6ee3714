"""Points and paths in latent space against closed forms."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ganlab.errors import ConfigError
from ganlab.latent import (
    class_path,
    from_seeds,
    from_text,
    in_all_classes,
    lerp,
    mutate,
    path,
    plane,
    shell,
    slerp,
    to_text,
    truncate,
)

T = np.linspace(0, 1, 11)


def polar(angle: float | np.ndarray, radius: float | np.ndarray = 1.0) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def vectors(num: int, dim: int, seed: int = 0) -> np.ndarray:
    """Random directions with norms from 0.5 to 3."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((num, dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * random.uniform(0.5, 3, (num, 1))


def angles_between(points: np.ndarray) -> np.ndarray:
    """Angle from each point to the next, by the chord: exact also for small ones."""
    points = points.astype(np.float64)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return 2 * np.arcsin(np.linalg.norm(np.diff(unit, axis=0), axis=1) / 2)


# --- seeds -----------------------------------------------------------------------------------------------------------


def test_a_seed_is_the_same_picture_everywhere():
    """Numbers that numpy's own documentation prints for `default_rng(0)`."""
    np.testing.assert_allclose(from_seeds([0], 3, "normal")[0], [0.12573022, -0.13210486, 0.64042265], rtol=1e-6)
    random = np.array([0.63696169, 0.26978671, 0.04097352])
    np.testing.assert_allclose(from_seeds([0], 3, "uniform")[0], 2 * random - 1, rtol=1e-6)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_each_row_comes_from_its_own_seed(prior):
    seeds = [5, 0, 12, 5, 2**31]
    z = from_seeds(seeds, 16, prior)
    assert z.shape == (5, 16) and z.dtype == np.float32
    for row, seed in zip(z, seeds, strict=True):
        random = np.random.default_rng(seed)
        expected = random.standard_normal(16) if prior == "normal" else random.uniform(-1, 1, 16)
        np.testing.assert_array_equal(row, expected.astype(np.float32))
        np.testing.assert_array_equal(row, from_seeds([seed], 16, prior)[0])
    assert len(np.unique(z, axis=0)) == 4
    np.testing.assert_array_equal(from_seeds(iter(seeds), 16, prior), z)


def test_no_seeds_give_no_rows():
    assert from_seeds([], 8, "normal").shape == (0, 8)


@pytest.mark.parametrize(("prior", "variance", "kurtosis"), [("normal", 1, 3), ("uniform", 1 / 3, 9 / 5)])
def test_neighbouring_seeds_follow_the_prior(prior, variance, kurtosis):
    """Moments of 64,000 numbers, within four standard errors and a little; rows uncorrelated."""
    z = from_seeds(range(2000), 32, prior).astype(np.float64)
    assert abs(z.mean()) < 0.017
    assert abs(z.var() / variance - 1) < 0.025
    assert abs((z**4).mean() / z.var() ** 2 / kurtosis - 1) < 0.05
    rows = (z[1:] * z[:-1]).mean(axis=1)  # of neighbours: mean 0, deviation variance / sqrt(32)
    assert abs(rows.mean()) < 4 * variance / math.sqrt(32 * 1999)
    if prior == "uniform":
        assert z.min() >= -1 and z.max() <= 1 and z.min() < -0.999 and z.max() > 0.999


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="-3"):
        from_seeds([1, -3], 4, "normal")


def test_an_unknown_prior_is_refused():
    with pytest.raises(ConfigError, match="cauchy"):
        from_seeds([1], 4, "cauchy")


def test_truncate_scales():
    points = truncate(np.array([[2.0, -4.0], [0.5, 0]]), 0.5)
    np.testing.assert_array_equal(points, [[1, -2], [0.25, 0]])
    assert points.dtype == np.float32


# --- lerp and slerp --------------------------------------------------------------------------------------------------


def test_lerp_is_the_straight_line():
    a, b = np.array([1.0, -2.0, 0.0]), np.array([3.0, 2.0, -8.0])
    points = lerp(a, b, np.array([0, 0.25, 0.5, 1]))
    np.testing.assert_array_equal(points, [[1, -2, 0], [1.5, -1, -2], [2, 0, -4], [3, 2, -8]])
    assert points.dtype == np.float32
    np.testing.assert_array_equal(lerp(a, b, 0.5), [2, 0, -4])


@pytest.mark.parametrize(("start", "turn"), [(0.0, math.pi / 2), (0.4, 1.0), (-2.0, 3.0), (1.0, -2.5), (0.0, 0.01)])
def test_slerp_in_a_plane_is_a_rotation(start, turn):
    a, b = polar(start), polar(start + turn)
    np.testing.assert_allclose(slerp(a, b, T), polar(start + turn * T), atol=1e-6)


def test_slerp_grows_evenly_from_one_norm_to_the_other():
    np.testing.assert_allclose(slerp(polar(0, 2), polar(1, 5), T), polar(T, 2 + 3 * T), atol=1e-6)


@pytest.mark.parametrize("dim", [2, 3, 100, 512])
def test_slerp_in_many_dimensions(dim):
    """Against the circle in the basis that Gram and Schmidt make of a and b."""
    a, b = vectors(2, dim, seed=dim)
    norm_a, norm_b = np.linalg.norm(a), np.linalg.norm(b)
    first = a / norm_a
    second = b - (b @ first) * first
    second /= np.linalg.norm(second)
    angle = math.atan2(b @ second, b @ first)
    expected = np.outer(np.cos(angle * T), first) + np.outer(np.sin(angle * T), second)
    expected *= ((1 - T) * norm_a + T * norm_b)[:, None]

    points = slerp(a, b, T)
    assert points.shape == (11, dim) and points.dtype == np.float32
    np.testing.assert_allclose(points, expected, atol=1e-6)
    np.testing.assert_allclose(points[[0, -1]], [a, b], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), (1 - T) * norm_a + T * norm_b, rtol=1e-6)
    np.testing.assert_allclose(angles_between(points), angle / 10, atol=1e-5)  # constant angular speed


def test_slerp_of_one_number_is_one_vector():
    point = slerp(polar(0), polar(1), 0.5)
    assert point.shape == (2,) and point.dtype == np.float32
    np.testing.assert_allclose(point, polar(0.5), atol=1e-6)


def test_slerp_takes_single_precision_and_whole_numbers():
    np.testing.assert_allclose(slerp(np.float32([3, 0]), np.float32([0, 3]), 0.5), polar(math.pi / 4, 3), rtol=1e-6)
    np.testing.assert_allclose(slerp(np.array([3, 0]), np.array([0, 3]), 0.5), polar(math.pi / 4, 3), rtol=1e-6)


def test_slerp_of_pairs_is_slerp_of_each():
    a, b = vectors(5, 8), vectors(5, 8, seed=1)
    b[2], b[3] = 2 * a[2], -a[3]
    pairs = slerp(a, b, T[:5])
    assert pairs.shape == (5, 8)
    for i in range(5):
        np.testing.assert_allclose(pairs[i], slerp(a[i], b[i], T[i]), atol=1e-6)
        np.testing.assert_allclose(lerp(a, b, T[:5])[i], (1 - T[i]) * a[i] + T[i] * b[i], atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 3.0, 1e-3, 0.0, -1.0, -0.5, -40.0])
def test_without_a_single_circle_slerp_is_the_straight_line(factor):
    """Parallel, opposite and zero vectors."""
    a = vectors(1, 50)[0]
    atol = 1e-6 * (1 + abs(factor))
    np.testing.assert_allclose(slerp(a, factor * a, T), np.outer(1 + T * (factor - 1), a), atol=atol)
    np.testing.assert_allclose(slerp(factor * a, a, T), np.outer(factor + T * (1 - factor), a), atol=atol)


def test_slerp_of_two_zeros_is_zero():
    np.testing.assert_array_equal(slerp(np.zeros(4), np.zeros(4), T), np.zeros((11, 4)))


@pytest.mark.parametrize("turn", [1e-8, 1e-7, 0.99e-6, 1.01e-6, 1e-5, 1e-3, math.pi - 1e-3, math.pi - 1e-5])
def test_slerp_is_a_rotation_up_to_parallel_and_opposite(turn):
    np.testing.assert_allclose(slerp(polar(0.3), polar(0.3 + turn), T), polar(0.3 + turn * T), atol=1e-6)


# --- paths -----------------------------------------------------------------------------------------------------------


def test_path_turns_through_all_anchors():
    angles, radii = np.array([0.3, 1.2, 2.9, 2.0]), np.array([1, 2, 0.5, 1])
    points = path(polar(angles, radii), 31)
    where = np.linspace(0, 3, 31)
    expected = polar(np.interp(where, range(4), angles), np.interp(where, range(4), radii))
    assert points.shape == (31, 2) and points.dtype == np.float32
    np.testing.assert_allclose(points, expected, atol=1e-6)
    np.testing.assert_allclose(points[[0, 10, 20, 30]], polar(angles, radii), atol=1e-6)


def test_straight_path_goes_through_all_anchors():
    anchors = vectors(4, 20)
    where = np.linspace(0, 3, 17)
    expected = np.stack([np.interp(where, range(4), column) for column in anchors.T], axis=1)
    np.testing.assert_allclose(path(anchors, 17, "lerp"), expected, atol=1e-6)


def test_path_defaults_to_the_circle():
    anchors = polar(np.array([0.0, 2.0]))
    np.testing.assert_allclose(path(anchors, 5), polar(np.linspace(0, 2, 5)), atol=1e-6)


def test_shortest_path_is_its_ends():
    anchors = vectors(3, 20)
    np.testing.assert_allclose(path(anchors, 2), anchors[[0, 2]], atol=1e-6)


@pytest.mark.parametrize("kind", ["slerp", "lerp"])
def test_a_closed_path_comes_back_and_stops_a_frame_before(kind):
    anchors = vectors(3, 20)
    there_and_back = path(np.concatenate([anchors, anchors[:1]]), 13, kind)
    closed = path(anchors, 12, kind, closed=True)
    assert closed.shape == (12, 20)
    np.testing.assert_allclose(closed, there_and_back[:-1], atol=1e-6)
    np.testing.assert_allclose(closed[[0, 4, 8]], anchors, atol=1e-6)


def test_a_closed_path_round_a_circle_moves_evenly():
    """Three anchors a third of a turn apart: every step, the one over the seam included, is of equal angle."""
    closed = path(polar(np.arange(3) * 2 * math.pi / 3), 12, closed=True)
    np.testing.assert_allclose(closed, polar(np.arange(12) * math.pi / 6), atol=1e-6)


@pytest.mark.parametrize(("num_anchors", "frames"), [(0, 5), (1, 5), (2, 1), (2, 0), (3, -1)])
def test_a_path_to_nowhere_is_refused(num_anchors, frames):
    with pytest.raises(ConfigError, match=f"{num_anchors} and {frames}"):
        path(np.ones((num_anchors, 4)), frames)


# --- planes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 8])
def test_corners_of_a_plane_are_the_anchors(size):
    a, b, c = vectors(3, 64)
    points = plane(a, b, c, size)
    assert points.shape == (size * size, 64) and points.dtype == np.float32
    np.testing.assert_allclose(points[0], a, atol=1e-6)
    np.testing.assert_allclose(points[size - 1], b, atol=1e-6)
    np.testing.assert_allclose(points[size * (size - 1)], c, atol=1e-6)
    fourth = b + c - a
    fourth *= (np.linalg.norm(b) + np.linalg.norm(c)) / 2 / np.linalg.norm(fourth)
    np.testing.assert_allclose(points[-1], fourth, atol=1e-6)


@pytest.mark.parametrize("kind", ["slerp", "lerp"])
def test_plane_point_by_point(kind):
    a, b, c = vectors(3, 10, seed=4)
    norm_a, norm_b, norm_c = (np.linalg.norm(x) for x in (a, b, c))
    points = plane(a, b, c, 5, kind).reshape(5, 5, 10)
    for row in range(5):
        for column in range(5):
            u, v = column / 4, row / 4
            expected = a * (1 - u - v) + b * u + c * v
            if kind == "slerp":
                top = norm_a * (1 - u) + norm_b * u
                bottom = norm_c * (1 - u) + (norm_b + norm_c) / 2 * u
                expected *= (top * (1 - v) + bottom * v) / np.linalg.norm(expected)
            np.testing.assert_allclose(points[row, column], expected, atol=1e-6)


def test_a_plane_between_points_of_a_sphere_stays_on_it():
    a, b, c = 7 * np.eye(3)
    points = plane(a, b, c, 9)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 7, rtol=1e-6)
    np.testing.assert_allclose(points[4], [7 / math.sqrt(2), 7 / math.sqrt(2), 0], atol=1e-6)  # halfway from a to b


def test_a_plane_through_one_point_is_that_point():
    a = vectors(1, 6)[0]
    np.testing.assert_allclose(plane(a, a, a, 3), np.tile(a, (9, 1)), atol=1e-6)
    np.testing.assert_array_equal(plane(0 * a, 0 * a, 0 * a, 3), np.zeros((9, 6)))


@pytest.mark.parametrize("kind", ["slerp", "lerp"])
def test_the_origin_has_no_direction_and_stays(kind):
    a, c = vectors(2, 6)
    points = plane(a, -a, c, 3, kind)
    np.testing.assert_allclose(points[[0, 1, 2]], [a, 0 * a, -a], atol=1e-6)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("size", [1, 0, -2])
def test_a_plane_needs_two_pictures_a_side(size):
    with pytest.raises(ConfigError, match=str(size)):
        plane(*vectors(3, 4), size)


# --- classes ---------------------------------------------------------------------------------------------------------


def test_from_class_to_class():
    y = class_path(3, 1, 4, 3)
    np.testing.assert_array_equal(y, [[0, 0, 0, 1], [0, 0.5, 0, 0.5], [0, 1, 0, 0]])


def test_in_all_classes_each_z_has_a_row():
    z, y = in_all_classes(vectors(2, 5), 3)
    np.testing.assert_array_equal(z, np.asarray(vectors(2, 5), np.float32)[[0, 0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(y.argmax(1), [0, 1, 2, 0, 1, 2])
    assert (y.sum(1) == 1).all() and z.dtype == y.dtype == np.float32


# --- the shell of the prior ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [10, 64, 100, 128])
def test_the_shell_of_a_normal_prior_is_that_of_the_chi_distribution(dim):
    np.testing.assert_allclose(shell(dim, "normal"), stats.chi(dim).ppf([0.025, 0.975]), rtol=0.01)


@pytest.mark.parametrize("dim", [10, 100])
def test_the_shell_of_a_uniform_prior_holds_95_percent(dim):
    norms = np.linalg.norm(np.random.default_rng(0).uniform(-1, 1, (20_000, dim)), axis=1)
    low, high = shell(dim, "uniform")
    assert np.mean(norms < low) == pytest.approx(0.025, abs=0.007)
    assert np.mean(norms > high) == pytest.approx(0.025, abs=0.007)


# --- children --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("prior", "cdf"), [("normal", stats.norm.cdf), ("uniform", stats.uniform(-1, 2).cdf)])
def test_children_of_the_prior_are_of_the_prior(prior, cdf, strength):
    z = from_seeds([1], 20_000, prior)[0]
    child = mutate(z, strength, 5, prior, num=1)[0]
    assert stats.kstest(child, cdf).pvalue > 1e-3


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_the_stronger_the_less_alike(prior):
    z = from_seeds([1], 5_000, prior)[0]
    alike = [np.corrcoef(z, mutate(z, s, 5, prior, num=1)[0])[0, 1] for s in (0, 0.1, 0.3, 0.6, 1)]
    assert alike == sorted(alike, reverse=True) and alike[0] > 1 - 1e-6 and abs(alike[-1]) < 0.05
    np.testing.assert_allclose(mutate(z, 0, 5, prior), np.tile(z, (12, 1)), atol=1e-6)


def test_a_normal_child_lies_at_its_angle():
    """Exactly, but for what the noise has along z: one part in the square root of dim."""
    z = from_seeds([1], 50_000, "normal")[0]
    child = mutate(z, 0.25, 3, "normal", num=1)[0]
    angle = np.arccos(z @ child / np.linalg.norm(z) / np.linalg.norm(child))
    assert angle == pytest.approx(math.pi / 8, abs=0.02)


def test_each_child_depends_on_its_own_number():
    z = from_seeds([1], 10, "uniform")[0]
    twelve = mutate(z, 0.3, 7, "uniform")
    np.testing.assert_array_equal(mutate(z, 0.3, 7, "uniform", num=3), twelve[:3])
    assert len(np.unique(twelve, axis=0)) == 12 and np.abs(twelve).max() <= 1
    assert not np.array_equal(mutate(z, 0.3, 8, "uniform"), twelve)
    for bad in ({"strength": 1.1, "seed": 0}, {"strength": math.nan, "seed": 0}, {"strength": 0.5, "seed": -1}):
        with pytest.raises(ConfigError):
            mutate(z, prior="uniform", **bad)


# --- z as text -------------------------------------------------------------------------------------------------------


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_z_as_text_comes_back_bit_for_bit(z):
    text = to_text(z)
    assert from_text(text).tobytes() == z.tobytes() and re.fullmatch(r"z(16|32):[A-Za-z0-9_-]+", text)
    np.testing.assert_array_equal(from_text(f" {[*map(float, z)]}\n"), z)


def test_half_precision_is_kept_where_it_is_exact():
    z = from_seeds([0], 100, "normal")[0]
    halves = z.astype(np.float16)
    assert to_text(z).startswith("z32:") and to_text(halves) == to_text(halves.astype(np.float32))
    assert to_text(halves).startswith("z16:") and len(to_text(halves)) == 4 + math.ceil(200 * 4 / 3)
    assert to_text([1.0]) == "z16:ADw"  # 0x3c00, little-endian


@pytest.mark.parametrize("bad", ["", "z16:", "z16:A", "z16:AAA!", "z8:AAAA", "one two", "z16:AH4", "1e99", "nan"])
def test_what_is_no_z_is_refused(bad):
    with pytest.raises(ConfigError, match="z"):
        from_text(bad)
