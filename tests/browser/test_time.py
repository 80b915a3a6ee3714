"""The view Time in a real browser: the slider needs no server, the server hears where it rests, films are downloads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from in_browser import SLOW, pytestmark  # noqa: F401  (marks this module)
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Locator, Page, expect  # noqa: E402

from ganlab import catalog  # noqa: E402

STEPS = list(catalog.snapshots("mnist-sn"))


def opened(page: Page, server: str, query: str = "over=Wall") -> Locator:
    """The canvas, once it shows a step."""
    page.goto(f"{server}/?view=Time&model=mnist-sn&{query}")
    canvas = page.locator("canvas[data-step]")
    expect(canvas).to_be_visible()
    return canvas


def step_of(canvas: Locator) -> int:
    return int(canvas.get_attribute("data-step") or -1)


def test_arrows_go_through_the_training_without_the_server(server: str, page: Page) -> None:
    canvas, slider = opened(page, server), page.locator("input.slider")
    assert step_of(canvas) == STEPS[-1]
    expect(page.get_by_role("button", name="Use this snapshot")).to_be_disabled()
    page.context.set_offline(True)
    slider.focus()
    pixels = {canvas.evaluate("(c) => c.toDataURL()")}
    for step in reversed(STEPS[:-1]):
        page.keyboard.press("ArrowLeft")
        assert step_of(canvas) == step
        told = slider.get_attribute("aria-valuetext") or ""
        assert f"Step {step:,}," in told and ("real pictures seen" in told or step == 0)
        pixels.add(canvas.evaluate("(c) => c.toDataURL()"))
    assert len(pixels) == len(STEPS)


def test_the_film_plays_in_order_and_pauses(server: str, page: Page) -> None:
    canvas = opened(page, server, "over=Walk")
    canvas.evaluate(
        """(canvas) => {
          window.seen = [];
          new MutationObserver(() => window.seen.push(Number(canvas.dataset.step))).observe(
            canvas, { attributes: true, attributeFilter: ["data-step"] });
        }"""
    )
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"() => window.seen.length > {len(STEPS)}")
    page.get_by_role("button", name="Pause").click()
    seen = page.evaluate("() => window.seen")
    assert seen[: len(STEPS)] == STEPS and seen[len(STEPS)] == STEPS[0]  # round and round
    rested = step_of(canvas)
    page.wait_for_timeout(1000)
    assert step_of(canvas) == rested


def test_a_snapshot_leads_to_the_other_views_and_its_film_is_saved(
    server: str,
    page: Page,
    tmp_path: Path,
) -> None:
    canvas, slider = opened(page, server, "over=In+hand"), page.locator("input.slider")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    use = page.get_by_role("button", name="Use this snapshot")
    expect(use).to_be_enabled()
    use.click()
    expect(page).to_have_url(re.compile(f"step={STEPS[-3]}"))
    expect(use).to_be_disabled()
    assert step_of(canvas) == STEPS[-3]
    page.get_by_role("button", name="Save").first.click()
    page.get_by_role("button", name="Make the film").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile(r"training\.gif")).click()
    download.value.save_as(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == len(STEPS) and film.size == (112, 112)
