"""The app as a newcomer meets it: a real server, a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from in_browser import SLOW, pytestmark, until  # noqa: F401  (marks this module)

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect  # noqa: E402

CHART = "[data-testid='stVegaLiteChart'] svg[class='marks']"


def picture(page: Page) -> str:
    """The bytes of the one large picture, as its data URL."""
    image = page.locator("[data-testid='stImage'] img").first
    expect(image).to_be_visible()
    return image.get_attribute("src") or ""


def wall(page: Page) -> str:
    """What the wall shows, as a data URL."""
    canvas = page.get_by_role("listbox", name=re.compile("generated pictures")).locator("xpath=..").locator("canvas")
    until(page, lambda: canvas.evaluate("c => c.width > 300"))
    return canvas.evaluate("c => c.toDataURL()")


def chart(page: Page) -> str:
    """The lines of the first chart, read at one stroke, as the chart is drawn anew all the time."""
    svg = page.locator(CHART).first
    return svg.evaluate("svg => Array.from(svg.querySelectorAll('path'), path => path.getAttribute('d')).join()")


def test_explore_shows_a_picture_and_a_control_changes_it(server: str, page: Page, browser: Browser) -> None:
    page.goto(f"{server}/?view=Wall")
    before = wall(page)
    assert before.startswith("data:image/png;base64,") and len(before) > 5_000
    truncation = page.get_by_role("slider").last
    truncation.focus()
    for _ in range(4):
        truncation.press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"truncation=0\.8\b"))  # the view is in the address bar
    other = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    other.set_default_timeout(SLOW)
    other.goto(page.url)
    shared = wall(other)
    assert shared != before
    until(page, lambda: wall(page) == shared)  # whoever opens the link sees the very same picture
    other.context.close()


def test_train_on_the_bundled_digits(server: str, page: Page, runs: Path) -> None:
    page.goto(f"{server}/train")
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_text(re.compile(r"^Step \d+ of 4,\d\d\d$"))).to_be_visible()
    expect(page.locator(CHART).first).to_be_visible()
    early_chart, early_sample = chart(page), picture(page)
    (run,) = [p for p in runs.iterdir() if (p / "config.yaml").exists()]
    metrics = run / "metrics.jsonl"
    rows = len(metrics.read_text().splitlines())
    until(page, lambda: len(metrics.read_text().splitlines()) >= rows + 3)
    until(page, lambda: chart(page) != early_chart and picture(page) != early_sample)

    page.reload()  # the training goes on without the page, and the page finds it again
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("link", name="Open in Explore").click()
    expect(page.get_by_text("Every picture here is invented")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    expect(page.get_by_role("combobox", name="Model")).to_have_value(str(run))
    expect(page).to_have_url(re.compile("model="))
    expect(page.locator("canvas.picture")).to_have_attribute("data-drawn", re.compile(r"\d"))
    page.goto(f"{server}/train?run={run.name}")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)


def test_measure_shows_figures_and_the_neighbours_of_any_sample(server: str, page: Page) -> None:
    page.goto(f"{server}/measure")
    expect(page.get_by_text("comes closest to real pictures")).to_be_visible()
    expect(page.get_by_role("table").first).to_contain_text("Distance to real pictures")
    samples = page.get_by_role("listbox", name="64 pictures of mnist-sn")
    samples.get_by_role("option", name=re.compile("^Seed 10,")).click()
    expect(page.get_by_text("Seed 10 of mnist-sn")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("nearest training pictures by pixels"))).to_be_visible()

    chosen = samples.get_by_role("option", selected=True)
    expect(chosen).to_have_attribute("aria-label", re.compile("^Seed 10,"))
    chosen.focus()
    for key in ("ArrowDown", "ArrowRight", "Enter"):  # a row of eight on, then one more
        page.keyboard.press(key)
    expect(page.get_by_text("Seed 19 of mnist-sn")).to_be_visible()
    drawn = page.locator("canvas").nth(1).evaluate("c => c.getContext('2d').getImageData(0, 0, c.width, 1).data.length")
    assert drawn > 8 * 28 * 4  # each pixel as several

    page.get_by_role("radio", name="Strangest").click()
    expect(page.get_by_role("listbox", name="16 pictures of mnist-mlp")).to_be_visible()
    page.get_by_role("link", name="Open in Explore").first.click()
    expect(page.get_by_text("Every picture here is invented")).to_be_visible()
    page.get_by_role("link", name="Open in Measure").click()
    expect(page.get_by_text("Of the pictures of mnist-sn")).to_be_visible()
