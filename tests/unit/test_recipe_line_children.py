"""Recipes of a line along a direction, and of the children of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import write_generator
from hypothesis import given
from hypothesis import strategies as st

from ganlab import latent
from ganlab.directions import Direction
from ganlab.errors import ConfigError
from ganlab.recipe import Anchor, Move, Recipe, parse
from ganlab.render import Model, load_model
from ganlab.scene import scene

KEPT = {"slant": Direction("slant", np.array([0, 1, 0, 0], np.float32))}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_generator(tmp_path / "plain.safetensors"))


@pytest.fixture
def conditional(tmp_path: Path) -> Model:
    return load_model(write_generator(tmp_path / "cond.safetensors", num_classes=3))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**63 - 1), st.none() | st.integers(2, 99))
def test_what_is_written_is_read_as_the_same(strength, wander, litter, num):
    values = {"strength": strength, "wander": wander, "litter": litter, "num": num}
    for recipe in (
        Recipe("m", (Anchor(3, (("a", 1.0),)),), "children", **values),
        Recipe("m", (Anchor(3), Anchor(9)), "line", num=num, moves=(Move("slant", 3 * strength),)),
    ):
        assert parse(str(recipe)) == recipe


def test_a_line_is_a_row_for_each_anchor(conditional):
    shown = scene(parse("model=m&show=line&at=1,5@0&num=5&move=slant*2"), conditional, KEPT)
    expected = conditional.z([1, 5])[:, None] + np.linspace(-2, 2, 5)[:, None] * KEPT["slant"].vector
    np.testing.assert_allclose(shown.z, expected.reshape(10, 4), atol=1e-6)
    np.testing.assert_array_equal(shown.y, np.eye(3)[[1] * 5 + [0] * 5])
    assert shown.columns == 5
    assert len(scene(parse("model=m&show=line&at=1&move=slant*2"), conditional, KEPT).z) == 7


def test_children_are_those_of_latent(model, conditional):
    shown = scene(parse("model=m&show=children&at=1&strength=0.5&litter=4"), model)
    np.testing.assert_array_equal(shown.z, latent.mutate(model.z([1])[0], 0.5, 4, "normal"))
    assert shown.columns == 4 and shown.y is None
    shown = scene(parse("model=m&show=children&at=1@2&num=30&wander=0.5"), conditional)
    np.testing.assert_array_equal(shown.z, latent.mutate(conditional.z([1])[0], 0.3, 0, "normal", 30))
    np.testing.assert_array_equal(shown.y, latent.mutate_class([0, 0, 1], 0.5, 0, 30))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model=m&show=line&at=1", "say which and how far"),
        ("model=m&show=children&at=1,2", "takes 1 anchors"),
        ("model=m&show=children&at=1&strength=1.5", "strength and wander are from 0 to 1"),
        ("model=m&show=children&at=1&wander=-1", "strength and wander are from 0 to 1"),
        ("model=m&show=children&at=1&litter=-1", "litter is"),
        ("model=m&at=1&litter=1", "go with show=children"),
        ("model=m&at=1&strength=0.5", "go with show=children"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(ConfigError, match=words):
        parse(text)


def test_too_many_pictures(model):
    with pytest.raises(ConfigError, match="more than"):
        scene(parse("model=m&show=line&at=0..20&num=1000&move=slant*2"), model, KEPT)


# --- classes of children ---------------------------------------------------------------------------------------------


def test_classes_wander_as_often_as_they_are_told():
    y = np.float32([0, 0.75, 0.25, 0])
    np.testing.assert_array_equal(latent.mutate_class(y, 0, 5), np.tile(y, (12, 1)))
    always = latent.mutate_class(y, 1, 5, 3000)
    assert (always.max(1) == 1).all() and (always.sum(1) == 1).all()
    counts = always.sum(0)
    assert counts[1] == 0 and (abs(counts[[0, 2, 3]] - 1000) < 120).all()  # all others alike
    some = (latent.mutate_class(y, 0.25, 5, 3000) != y).any(1).mean()
    assert abs(some - 0.25) < 0.03


def test_a_child_depends_on_its_place_alone():
    y = np.eye(5)[0]
    np.testing.assert_array_equal(latent.mutate_class(y, 0.5, 7, 5), latent.mutate_class(y, 0.5, 7, 40)[:5])
    assert (latent.mutate_class(y, 0.5, 7, 40) != latent.mutate_class(y, 0.5, 8, 40)).any()
    np.testing.assert_array_equal(latent.mutate_class([1.0], 1, 7), np.ones((12, 1)))  # there is no other
    with pytest.raises(ConfigError, match="from 0 to 1"):
        latent.mutate_class(y, 1.5, 7)
