"""The view Examine in a real browser: a click on the map, or on its pictures, takes that very point in hand."""

from __future__ import annotations

import numpy as np
import pytest
from in_browser import SLOW, pytestmark  # noqa: F401  (marks this module)

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page, expect  # noqa: E402

from ganlab import catalog, lattice  # noqa: E402
from ganlab.app.explore.judged import SIDE  # noqa: E402


def length(place: tuple[float, float, float], row: int, column: int) -> str:
    """What the panel says of the tile's z, counted from 0."""
    model = catalog.load("mnist-mlp")
    x, y = lattice.tiles(*place, SIDE)
    z = lattice.at(0, x, y, model.config.latent_dim, model.config.prior)
    return f"length of z {np.linalg.norm(z[row * SIDE + column]):.2f},"


def test_a_click_takes_a_point_in_hand_and_the_map_goes_there(server: str, page: Page) -> None:
    page.goto(f"{server}/?view=Examine&model=mnist-mlp")
    tiles = page.locator("[data-testid='stVegaLiteChart'] svg[class='marks'] .mark-rect.role-mark path")
    expect(tiles).to_have_count(SIDE**2)
    tiles.nth(5 * SIDE + 17).click()
    expect(page.get_by_text(length((0, 0, 1), 5, 17))).to_be_visible()
    expect(page.get_by_role("option", name="Row 6, column 18,")).to_have_attribute("aria-selected", "true")

    page.get_by_role("option", name="Row 2, column 4,").click()
    expect(page.get_by_text(length((0, 0, 1), 1, 3))).to_be_visible()
    page.get_by_role("button", name="Go there").click()
    x, y = (float(u[SIDE + 3]) for u in lattice.tiles(0, 0, 1, SIDE))
    middle = f"Row {SIDE // 2 + 1}, column {SIDE // 2 + 1},"
    expect(page.get_by_role("option", name=middle)).to_have_attribute("aria-selected", "true")
    page.wait_for_url(lambda url: f"x={x:g}&y={y:g}" in url)
