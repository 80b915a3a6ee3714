"""Sliders along directions in a real browser: the pictures are onnxruntime's, and what one takes is what one saw."""

from __future__ import annotations

import json
import re

import pytest
from in_browser import SLOW, pixels, pytestmark  # noqa: F401  (marks this module)

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Locator, Page, expect  # noqa: E402

from ganlab import catalog, directions  # noqa: E402
from ganlab.recipe import parse  # noqa: E402
from ganlab.scene import pictures  # noqa: E402


def opened(page: Page, address: str) -> Locator:
    """The large picture, once all pictures are drawn."""
    page.goto(address)
    picture = page.locator("canvas.picture")
    expect(picture).to_have_attribute("data-whole", re.compile(r"^\{"))
    return picture


def assert_moved(page: Page, picture: Locator, name: str, amounts: dict[str, float]) -> None:
    """The large picture, of seed 0, and the samples, of 1 to 8, are those that Python draws, within a level."""
    page.wait_for_function(
        "([c, wanted]) => c.dataset.whole === wanted",
        arg=[picture.element_handle(), json.dumps(amounts, separators=(",", ":"))],
    )
    model = catalog.load(name)
    kept = {d.name: d for d in directions.load_directions(catalog.beside(name, "directions.safetensors"), model)[0]}
    moves = ",".join(f"{key}*{amount}" for key, amount in amounts.items())
    expected = pictures(parse(f"model={name}&at=0..8&move={moves}"), model, kept).astype(int)
    samples = page.locator(".samples canvas")
    for canvas, wanted in zip([picture, *(samples.nth(i) for i in range(8))], expected, strict=True):
        assert abs(pixels(canvas)[..., : wanted.shape[-1]] - wanted).max() <= 1


@pytest.mark.parametrize("name", catalog.released())
def test_sliders_draw_as_onnxruntime_does(server: str, page: Page, name: str) -> None:
    """While it is held, with no help of the server; and the link of what is shown opens the same."""
    picture = opened(page, f"{server}/?view=Directions&model={name}")
    assert_moved(page, picture, name, {})
    first = page.get_by_role("slider", name="no. 1, First features")
    box = first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2, steps=4)
    held = float(first.input_value())
    assert held > 0.5
    assert_moved(page, picture, name, {"features-1": held})  # not yet let go
    assert float(picture.get_attribute("data-latency") or "nan") < SLOW
    page.mouse.up()
    second = page.get_by_role("slider", name="no. 2, First features")
    for _ in range(3):
        second.press("ArrowLeft")
    assert_moved(page, picture, name, {"features-1": held, "features-2": -0.15})


def test_what_is_taken_is_what_was_seen(server: str, page: Page) -> None:
    picture = opened(page, f"{server}/?view=Directions&model=mnist-mlp")
    slant = page.get_by_role("slider", name="slant, Measured")
    for _ in range(20):
        slant.press("ArrowRight")
    expect(picture).to_have_attribute("data-whole", '{"slant":1}')
    seen = pixels(picture)
    page.get_by_role("button", name="Take in hand").click()
    expect(picture).to_have_attribute("data-whole", "{}")
    expect(slant).to_have_value("0")
    expect(page.get_by_text("A place of its own").first).to_be_visible()
    page.wait_for_timeout(500)
    assert abs(pixels(picture).astype(int) - seen).max() <= 1
    for _ in range(20):
        slant.press("ArrowRight")  # the same amounts as before are heard again
    page.get_by_role("button", name="Reset").click()
    expect(slant).to_have_value("0")
    page.locator(".samples button").nth(2).click()
    expect(page.get_by_text(re.compile("^Seed 3 "))).to_be_visible()
    page.get_by_role("button", name="size", exact=True).click()
    expect(page.get_by_role("listbox", name="5 pictures along size, a row each")).to_be_visible()


def test_without_simd_the_server_draws(server: str, page: Page) -> None:
    page.add_init_script("WebAssembly.validate = () => false")
    page.goto(f"{server}/?view=Directions&model=mnist-mlp")
    expect(page.get_by_text("This browser lacks WebAssembly with SIMD.")).to_be_visible()
    picture = page.locator("canvas.picture")
    model = catalog.load("mnist-mlp")
    kept = {
        d.name: d for d in directions.load_directions(catalog.beside("mnist-mlp", "directions.safetensors"), model)[0]
    }
    slant = page.get_by_role("slider", name="slant, Measured")
    slant.press("End")
    expected = pictures(parse("model=mnist-mlp&at=0&move=slant*1.75"), model, kept)[0]
    for _ in range(SLOW // 500):
        if (pixels(picture)[..., :1] == expected).all():
            break
        page.wait_for_timeout(500)
    else:
        pytest.fail("the server's picture never came")


def test_children_lead_on_and_back_by_keyboard(server: str, page: Page) -> None:
    page.goto(f"{server}/?view=Mutate&model=mnist-mlp")
    children = page.get_by_role("listbox", name="12 children of the picture in hand")
    children.get_by_role("option", name="Child 1", exact=True).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_text("generation 2 of 2")).to_be_visible()
    line = page.get_by_role("listbox", name="The pictures that led here")
    line.get_by_role("option", name="Generation 1, seed 0").click()
    expect(page.get_by_text("generation 1 of 2")).to_be_visible()
