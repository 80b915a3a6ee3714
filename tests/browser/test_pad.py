"""The pad of Project in a real browser: the picture has ink where one draws, undo, clear and stop do what they say."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from in_browser import SLOW, pytestmark, until  # noqa: F401  (marks this module)
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page, expect  # noqa: E402


def draw(page: Page, *places: tuple[float, float]) -> None:
    """A stroke with the mouse through places of the pad, from 0 to 1."""
    box = page.locator(".sheet").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def looked_for(page: Page) -> np.ndarray:
    """The picture that the model is asked for, (28, 28) in levels."""
    image = page.get_by_role("img", name="The picture that is looked for")
    expect(image).to_be_visible()
    content = base64.b64decode((image.get_attribute("src") or "").partition(",")[2])
    pixels = np.array(Image.open(io.BytesIO(content)))[..., 0]
    side = pixels.shape[0] // 28
    return pixels[side // 2 :: side, side // 2 :: side]


def inked(page: Page, x: float, y: float) -> int:
    """The level of the pad itself there."""
    script = "(c, [x, y]) => c.getContext('2d').getImageData(x * c.width, y * c.height, 1, 1).data[0]"
    return page.locator(".sheet canvas").evaluate(script, [x, y])


def test_the_picture_has_ink_where_one_draws(server: str, page: Page) -> None:
    page.goto(f"{server}/?view=Project&model=mnist-sn")
    page.locator(".sheet").scroll_into_view_if_needed()
    draw(page, (0.25, 0.25), (0.75, 0.25))
    expect(page.get_by_text(re.compile("Error of the nearest"))).to_be_visible()
    page.get_by_text("Centre it like the digits of MNIST").click()
    row, columns = int(0.25 * 28), slice(int(0.27 * 28), int(0.73 * 28))
    until(page, lambda: looked_for(page)[row, columns].min() > 200)
    picture = looked_for(page)
    assert inked(page, 0.5, 0.25) == 255
    assert picture[row + 4 :].max() == 0 and picture[:, :5].max() == 0 and picture[:, 23:].max() == 0

    draw(page, (0.5, 0.4), (0.5, 0.8))  # a second stroke, undone
    until(page, lambda: looked_for(page)[14:20, 13:15].max() > 200)
    page.locator("button.undo").click()
    until(page, lambda: np.array_equal(looked_for(page), picture))
    assert inked(page, 0.5, 0.6) == 0

    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Move on from it")).to_be_visible()
    page.locator("button.clear").click()
    expect(page.get_by_text(re.compile("They appear here"))).to_be_visible()
    page.locator("button.undo").click()  # what was cleared comes back
    np.testing.assert_array_equal(looked_for(page), picture)


def test_a_picture_that_was_found_is_taken_and_carried_on(server: str, page: Page, runs: Path) -> None:
    page.goto(f"{server}/?view=Project&model=mnist-mlp")
    page.locator(".sheet").scroll_into_view_if_needed()
    draw(page, (0.3, 0.25), (0.7, 0.25), (0.45, 0.8))
    page.get_by_role("option", name=re.compile("^The second, error")).click()
    expect(page.get_by_text(re.compile("A place of its own"))).to_be_visible()
    expect(page.get_by_text(re.compile("As near as it comes"))).to_be_visible()
    page.get_by_role("button", name="Move on from it").click()
    expect(page.locator("canvas.picture")).to_have_attribute("data-drawn", re.compile(r"\d"))
    assert "view=Move" in page.url or "view=" not in page.url
    assert list((runs / ".searches").iterdir())
    page.get_by_role("radio", name="Project").click()
    expect(page.get_by_text(re.compile("As near as it comes"))).to_be_visible()  # it was kept,
    assert inked(page, 0.5, 0.25) == 255  # and so was the drawing
