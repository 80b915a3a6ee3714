"""Strokes of a pen: ink lies where they were drawn, and what no pad draws is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ganlab.data.drawing import MOST_POINTS, Stroke, drawn, read_strokes
from ganlab.errors import DataError

LINE = Stroke(((0.25, 0.5), (0.75, 0.5)), 0.1)


def distance_to(line: Stroke, size: int) -> np.ndarray:
    """From the middle of each pixel to a line of two points, in pixels."""
    (x0, y0), (x1, y1) = line.points
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1) if length else 0.0
    return size * np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize(
    "line", [LINE, Stroke(((0.2, 0.1), (0.6, 0.9)), 0.15), Stroke(((0.3, 0.7), (0.3, 0.7)), 0.2)], ids=str
)
def test_ink_lies_within_half_the_width_of_the_line(line, size):
    image = drawn([line], size, 1)[..., 0]
    radius, distance = size * line.width / 2, distance_to(line, size)
    assert (image[distance < radius - 0.9] == 255).all() and (image[distance > radius + 0.9] == 0).all()
    soft = image[abs(distance - radius) < 0.3]
    assert ((soft > 0) & (soft < 255)).any()


def test_its_area_is_that_of_a_line_with_round_ends():
    image = drawn([LINE], 28, 1) / 255
    assert image.sum() == pytest.approx(28 * 28 * (0.5 * 0.1 + math.pi * 0.05**2), rel=0.02)


def test_a_dot_is_a_disc():
    image = drawn([Stroke(((0.5, 0.5),), 0.5)], 28, 1) / 255
    assert image.sum() == pytest.approx(math.pi * 7**2, rel=0.02)


def test_colours_lie_over_one_another_and_a_stroke_without_points_fills_the_sheet():
    strokes = [Stroke((), 0.1, (10, 20, 250)), Stroke(LINE.points, 0.2, (200, 100, 0))]
    image = drawn(strokes, 32, 3)
    assert image.shape == (32, 32, 3)
    assert image[2, 2].tolist() == [10, 20, 250] and image[16, 16].tolist() == [200, 100, 0]
    grey = drawn(strokes, 28, 1)
    luma = [round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in ((10, 20, 250), (200, 100, 0))]
    assert [int(grey[2, 2, 0]), int(grey[14, 14, 0])] == pytest.approx(luma, abs=1)


def test_as_a_digit_it_is_fitted_and_centred():
    corner = [Stroke(((0.1, 0.05), (0.1, 0.3)), 0.05)]
    plain, centred = drawn(corner, 28, 1)[..., 0], drawn(corner, 28, 1, digit=True)[..., 0]
    assert np.flatnonzero(plain.any(1)).max() < 10 and np.flatnonzero(plain.any(0)).max() < 5
    assert len(np.flatnonzero(centred.any(1))) == 20
    middle = [(centred.sum(axis) * (np.arange(28) + 0.5)).sum() / centred.sum() for axis in (1, 0)]
    np.testing.assert_allclose(middle, 14.5, atol=0.51)  # the middle of pixel 14, as in MNIST


def test_black_on_black_is_no_digit():
    with pytest.raises(DataError, match="no ink"):
        drawn([Stroke(LINE.points, 0.1, (0, 0, 0))], 28, 1, digit=True)


def test_what_a_pad_sends_is_read():
    sent = [{"points": [[0.25, 0.5], [0.75, 0.5]], "width": 0.1, "colour": [255, 255, 255]}]
    assert read_strokes(sent) == (LINE,)
    assert read_strokes([]) == ()


@pytest.mark.parametrize(
    "junk",
    [
        3,
        [1],
        "strokes",
        [{}],
        [{"points": [[0, 0]], "width": 0.1}],
        [{"points": [[0]], "width": 0.1, "colour": [0, 0, 0]}],
        [{"points": [["a", 0]], "width": 0.1, "colour": [0, 0, 0]}],
        [{"points": [[0, 0]], "width": math.nan, "colour": [0, 0, 0]}],
        [{"points": [[1e300, 0]], "width": 0.1, "colour": [0, 0, 0]}],
        [{"points": [[0, 0]], "width": 0.1, "colour": [math.inf, 0, 0]}],
        [{"points": [[0, 0]], "width": 0.1, "colour": [0, 0, 999]}],
        [{"points": [[0, 0]], "width": 0.1, "colour": [0, 0, 0], "more": 1}],
        [{"points": [[0, 0]] * (MOST_POINTS + 1), "width": 0.1, "colour": [0, 0, 0]}],
    ],
    ids=lambda junk: str(junk)[:60],
)
def test_junk_is_refused(junk):
    with pytest.raises(DataError, match="Clear it"):
        read_strokes(junk)
