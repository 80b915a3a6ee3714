"""Measurements of drawn shapes against what geometry says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ganlab.errors import ConfigError
from ganlab.measurements import COLOUR, GREY, measure, names_for

FINE = 8  # points a pixel and axis, of which a drawn pixel is the mean


def drawn(inside, size: int = 40) -> np.ndarray:
    """A shape as uint8 (1, size, size, 1), white on black: `inside(right, up)` in pixels from the centre."""
    at = (np.arange(size * FINE) + 0.5) / FINE - size / 2
    points = inside(at[None, :], -at[:, None]).astype(float)
    return np.rint(255 * points.reshape(size, FINE, size, FINE).mean((1, 3)))[None, ..., None].astype(np.uint8)


def ellipse(a: float, b: float, slant: float = 0.0) -> np.ndarray:
    """Half axes a (across) and b (up), sheared to the right by `slant`."""
    return drawn(lambda x, y: ((x - slant * y) / a) ** 2 + (y / b) ** 2 < 1)


def ring(outer: float, inner: float) -> np.ndarray:
    return drawn(lambda x, y: (np.hypot(x, y) < outer) & (np.hypot(x, y) >= inner))


def value(name: str, images: np.ndarray) -> float:
    return float(measure(images)[name][0])


@pytest.mark.parametrize("slant", [-0.5, 0.0, 0.2, 0.7])
@pytest.mark.parametrize(("a", "b"), [(5, 10), (9, 9), (10, 4)])
def test_a_sheared_ellipse_leans_by_its_shear_and_keeps_its_aspect(a, b, slant):
    image = ellipse(a, b, slant)
    assert value("slant", image) == pytest.approx(slant, abs=0.02)
    assert value("aspect", image) == pytest.approx(a / b, rel=0.02)


def test_a_slash_leans_to_the_right():
    slash = np.zeros((1, 28, 28, 1), np.uint8)
    for i in range(6, 22):
        slash[0, i, 27 - i] = 255
    assert value("slant", slash) == pytest.approx(1)


@pytest.mark.parametrize(("outer", "inner"), [(10, 8), (12, 9), (15, 10), (14.5, 12.3)])
def test_a_ring_is_as_thick_as_the_difference_of_its_radii(outer, inner):
    assert value("thickness", ring(outer, inner)) == pytest.approx(outer - inner, rel=0.03)


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90])
def test_a_long_stroke_is_as_thick_whichever_way_it_goes(angle):
    length, width = 30, 3
    along, across = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    stroke = drawn(lambda x, y: (abs(along * x + across * y) < length / 2) & (abs(across * x - along * y) < width / 2))
    assert value("thickness", stroke) == pytest.approx(length * width / (length + width), rel=0.06)


@pytest.mark.parametrize(("a", "b"), [(5, 10), (12, 12)])
def test_the_size_of_an_ellipse_is_its_radius_of_gyration(a, b):
    assert value("size", ellipse(a, b)) == pytest.approx(math.sqrt(a * a + b * b) / 2, rel=0.01)


def test_grey_ink_weighs_what_it_is_worth():
    image = ellipse(6, 9, 0.3)
    assert value("slant", image // 2) == pytest.approx(value("slant", image), abs=1e-3)
    assert value("thickness", image // 2) == pytest.approx(value("thickness", image), rel=1e-2)
    assert value("brightness", image) == pytest.approx(math.pi * 6 * 9 / 40**2, rel=0.01)


def test_dark_ink_on_light_paper_is_measured_as_light_on_dark():
    image = ellipse(6, 9, 0.3)
    for name in set(GREY) - {"brightness"}:
        assert value(name, 255 - image) == pytest.approx(value(name, image), rel=1e-6)
    assert value("brightness", 255 - image) == pytest.approx(1 - value("brightness", image))


def test_each_picture_is_measured_by_itself_wherever_its_ink_lies():
    images = np.concatenate([ellipse(5, 8, 0.2), ring(9, 6)])
    moved = np.roll(images, (3, -4), (1, 2))
    for name in GREY:
        alone = [value(name, images[i : i + 1]) for i in range(2)]
        np.testing.assert_allclose(measure(images)[name], alone)
        np.testing.assert_allclose(measure(moved)[name], alone, rtol=1e-9, atol=1e-9)


def test_without_ink_there_is_no_shape_and_no_warning():
    found = measure(np.zeros((2, 28, 28, 1), np.uint8))
    assert all(np.isnan(found[name]).all() for name in set(GREY) - {"brightness"})
    assert (found["brightness"] == 0).all()
    row = np.zeros((1, 28, 28, 1), np.uint8)
    row[0, 5, 4:9] = 255
    assert all(np.isfinite(measure(row)[name]).all() for name in GREY)
    assert measure(row[:0])["slant"].shape == (0,)


def test_colours():
    """Half pure red, half black."""
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[0, :2, :, 0] = 255
    expected = {"brightness": 0.299 / 2, "contrast": 0.299 / 2, "warmth": 0.5, "saturation": 0.5}
    assert {name: float(v[0]) for name, v in measure(image).items()} == pytest.approx(expected)
    grey = np.full((1, 4, 4, 3), 51, np.uint8)
    expected = {"brightness": 0.2, "contrast": 0, "warmth": 0, "saturation": 0}
    assert {name: float(v[0]) for name, v in measure(grey).items()} == pytest.approx(expected, abs=1e-12)
    assert value("warmth", image[..., ::-1]) == -0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_the_names_are_those_that_are_measured(channels):
    found = measure(np.zeros((1, 28, 28, channels), np.uint8))
    assert tuple(found) == names_for(channels) == (GREY if channels == 1 else COLOUR)


@pytest.mark.parametrize(("shape", "kind"), [((1, 4, 4, 2), "u1"), ((4, 4, 1), "u1"), ((1, 4, 4, 1), "f8")])
def test_other_arrays_are_refused(shape, kind):
    with pytest.raises(ConfigError, match="uint8"):
        measure(np.zeros(shape, kind))
