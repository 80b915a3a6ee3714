"""Scores against independent computations; the same answer every time; the right network for the data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist

from ganlab.config import Config
from ganlab.data import open_dataset
from ganlab.evaluate.features import feature_net
from ganlab.scores import NUM, PAIRS, Scorer, scorer_of

DIGITS = open_dataset("mnist-5k")


def of_digits(score: str = "auto") -> Scorer:
    found = scorer_of(Config(score=score), DIGITS.images, DIGITS.classes, 1)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def by_network() -> Scorer:
    return of_digits()


def held_out(num: int) -> np.ndarray:
    """Real digits, none of which the scorer holds as its reference."""
    rows = np.random.default_rng([0, 1]).permutation(5000)[NUM:]
    return DIGITS.images[rows[:num]]


def test_the_score_is_the_frechet_distance_of_the_networks_features(by_network: Scorer) -> None:
    """Against its formula with scipy's matrix square root, on half-noisy digits."""
    made = held_out(500).copy()
    made[:250] = np.random.default_rng(0).integers(0, 256, made[:250].shape)
    net, rows = feature_net("mnistnet", 1), np.random.default_rng([0, 1]).permutation(5000)[:NUM]
    (x, _), (y, logits) = net.look(DIGITS.images[rows]), net.look(made)
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(c1 + c2) - 2 * np.trace(sqrtm(c1 @ c2)).real
    row = by_network(made).row
    assert (row["metric"], row["score"]) == ("fd_mnistnet_2k", pytest.approx(expected, rel=1e-3))
    assert row["spread"] == pytest.approx(y.var(0).sum() / x.var(0).sum(), rel=1e-3)
    assert row["classes"] == pytest.approx(np.bincount(logits.argmax(1), minlength=10) / 500, abs=1e-5)


def test_real_digits_score_well_and_one_digit_again_and_again_does_not(by_network: Scorer) -> None:
    real, same = by_network(held_out(1000)), by_network(np.repeat(held_out(1), 1000, axis=0))
    assert real.row["score"] < 5 < 100 < same.row["score"]
    assert 0.9 < real.row["spread"] < 1.1 and same.row["spread"] < 1e-9
    assert real.row["duplicates"] <= 3 and same.row["duplicates"] == 1000 * 999 / 2
    assert real.row["class_kl"] < 0.05 and same.row["class_kl"] == pytest.approx(np.log(10), abs=0.2)
    facts = by_network.facts()
    assert facts["extractor"] == feature_net("mnistnet").hash and sum(facts["classes"].values()) == pytest.approx(1)


def test_the_pairs_are_the_closest_ones(by_network: Scorer) -> None:
    images = held_out(300).copy()
    images[7] = images[250]
    found = by_network(images)
    assert found.pairs.shape == (2, PAIRS, 28, 28, 1) and found.pairs.dtype == np.uint8
    assert np.array_equal(found.pairs[0, 0], images[7]) and np.array_equal(found.pairs[1, 0], images[7])
    features = feature_net("mnistnet", 1).look(images)[0].astype(float)
    wanted = np.sort(pdist(features))[:PAIRS]
    seen = [feature_net("mnistnet", 1).look(pair)[0].astype(float) for pair in found.pairs]
    assert np.diag(cdist(*seen)) == pytest.approx(wanted, abs=1e-4)


def test_the_same_pictures_have_the_same_score() -> None:
    images = held_out(200)
    assert of_digits()(images).row == of_digits()(images).row


def test_pixel_moments_against_a_computation_pixel_by_pixel() -> None:
    noise = np.random.default_rng(1)
    real, made = (noise.integers(0, high, (30, 28, 28, 3)).astype(np.uint8) for high in (256, 128))
    squares = []
    for pixel in np.ndindex(28, 28, 3):
        a, b = (images[(slice(None), *pixel)].astype(float) / 255 for images in (real, made))
        squares.append((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2)
    scorer = scorer_of(Config(score="pixel-moments"), real, ())
    assert scorer is not None
    row = scorer(made).row
    assert row["score"] == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)
    assert scorer(real).row["score"] == 0 and scorer(real).row["spread"] == pytest.approx(1)
    assert row["metric"] == "pixel-moments" and "classes" not in row and row["spread"] < 0.5
    assert scorer(np.repeat(made[:1], 20, axis=0)).row["duplicates"] == 190


@pytest.mark.parametrize(
    ("data", "classes", "shape", "metric"),
    [
        ("mnist-5k", DIGITS.classes, (28, 28, 1), "fd_mnistnet_2k"),
        ("mnist", ("3", "5"), (28, 28, 1), "fd_mnistnet_2k"),
        ("my/digits", DIGITS.classes, (28, 28, 1), "fd_mnistnet_2k"),
        ("my/letters", ("a", "b"), (28, 28, 1), None),
        ("my/pictures", (), (28, 28, 1), None),
        ("mnist", DIGITS.classes, (32, 32, 1), None),
    ],
)
def test_which_network_scores(data: str, classes: tuple[str, ...], shape: tuple[int, ...], metric: str | None) -> None:
    found = scorer_of(Config(data=data), np.zeros((3, *shape), np.uint8), classes)
    assert (found.metric if found else None) == metric
    assert scorer_of(Config(data=data, score="none"), np.zeros((3, *shape), np.uint8), classes) is None
