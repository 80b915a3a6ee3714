"""The endless plane: its random numbers are those of the paper, its points those of the prior, its ways smooth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from ganlab import latent, lattice
from ganlab.errors import ConfigError

# Random123's own known answers (kat_vectors): counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(counter, key, answer):
    assert lattice.philox(words(counter), words(key)).tolist() == words(answer)


def test_philox_takes_many_at_once():
    counters = [words(counter) for counter, _, _ in KNOWN]
    keys = [words(key) for _, key, _ in KNOWN]
    assert lattice.philox(counters, keys).tolist() == [words(answer) for _, _, answer in KNOWN]


def test_noise_is_normal_and_independent():
    i, j = np.meshgrid(np.arange(-20, 20), np.arange(-20, 20))
    z = lattice.noise(5, i, j, 6)
    assert z.shape == (40, 40, 6)
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(z.reshape(-1, 6).T) - np.eye(6)).max() < 0.1  # 1600 points: 4 standard errors
    right = (z[:, :-1] * z[:, 1:]).mean()
    assert abs(right) < 4 / np.sqrt(z.size)


def test_noise_depends_on_seed_and_crossing_alone():
    one = lattice.noise(1, -3, 7, 10)
    assert (lattice.noise(1, [2, -3], [7, 7], 10)[1] == one).all()
    assert (lattice.noise(1, -3, 7, 6) == one[:6]).all()
    for other in (lattice.noise(2, -3, 7, 10), lattice.noise(1, 7, -3, 10), lattice.noise(1, 3, 7, 10)):
        assert abs(other - one).min() > 1e-6


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ConfigError, match=f"is {seed}; it must be from 0 to 4294967295"):
        lattice.noise(seed, 0, 0, 4)


@given(st.floats(-1e6, 1e6))
def test_squares_of_the_weights_sum_to_one(u):
    assert (lattice.blend(u) ** 2).sum() == pytest.approx(1)


def test_every_point_of_the_plane_is_as_the_prior_says():
    """Also halfway between crossings, where a plain blend would be too short: one point of many planes."""
    for x, y in ((0.0, 0.0), (0.5, 0.5), (3.3, -8.9)):
        z = np.concatenate([lattice.at(seed, [x], [y], 50) for seed in range(100)]).ravel()
        assert stats.kstest(z, "norm").pvalue > 0.01
        uniform = np.concatenate([lattice.at(seed, [x], [y], 50, "uniform") for seed in range(100)]).ravel()
        assert stats.kstest(uniform, stats.uniform(-1, 2).cdf).pvalue > 0.01
        np.testing.assert_allclose(uniform, special.erf(z / np.sqrt(2)), atol=1e-6)


@pytest.mark.parametrize("edge", [0, 1, -3])
def test_the_plane_is_smooth_at_crossings(edge):
    """No jump, and no bend: the step before is the step after."""
    h = 1e-3
    z = lattice.at(3, [edge - h, edge, edge + h], [0.2] * 3, 20).astype(np.float64)
    before, after = z[1] - z[0], z[2] - z[1]
    assert abs(before).max() < 10 * h and abs(after - before).max() < 0.02 * abs(before).max() + 1e-5


def test_the_plane_moves_at_an_even_pace():
    """A walk of constant speed crosses pictures at about constant speed: it neither sticks to crossings nor leaps."""
    x = np.linspace(-4, 4, 801)
    steps = np.linalg.norm(np.diff(lattice.at(1, x, 0 * x, 200), axis=0), axis=1)
    assert steps.max() / steps.min() < 1.6


def test_a_plane_through_three_is_that_of_latent():
    a, b, c = latent.from_seeds([1, 2, 3], 16, "normal")
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 1, 5)))
    np.testing.assert_allclose(lattice.through(a, b, c, x, y), latent.plane(a, b, c, 5), atol=1e-6)


def test_a_plane_through_three_keeps_the_norm_outside():
    a, b, c = latent.from_seeds([1, 2, 3], 16, "normal")
    norms = np.linalg.norm(lattice.through(a, b, c, [-5, 9, 3], [-7, 0, 40]), axis=1)
    corner = (np.linalg.norm(b) + np.linalg.norm(c)) / 2
    np.testing.assert_allclose(norms, [np.linalg.norm(a), np.linalg.norm(b), corner], rtol=1e-6)


def test_a_walk_is_closed_smooth_and_meets_its_keys():
    keys = lattice.walk(4)
    assert keys.shape == (8, 2) and (keys[0] == 0).all()
    np.testing.assert_allclose(lattice.along(keys, np.arange(8) / 8), keys, atol=1e-12)
    np.testing.assert_allclose(lattice.along(keys, [1.0, 1.25, -0.25]), lattice.along(keys, [0.0, 0.25, 0.75]))
    t = np.arange(0, 8) / 8
    before, after = (lattice.along(keys, t + h) - lattice.along(keys, t + h - 1e-6) for h in (0, 1e-6))
    np.testing.assert_allclose(before, after, atol=1e-9)
    assert abs(lattice.walk(5) - keys)[1:].max(1).min() > 1e-3
