"""What the browser tests share: a server with the app, a browser, a page of it, and what they read there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.in_browser import CHROMIUM, PATIENCE, chromium, serve
from ganlab import jobs
from ganlab.rundir import list_runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SLOW = 1000 * PATIENCE  # milliseconds; a quick machine waits for none of it

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (set $CHROMIUM to its path)")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("runs")
    yield folder
    for run in list_runs(folder):
        jobs.stop(run)  # a worker outlives the server, also after a failure


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[str]:
    with serve(runs) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=SLOW)
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a visitor of its own, in which no script fails."""
    page = browser.new_context(viewport={"width": 1280, "height": 1200}).new_page()
    page.set_default_timeout(SLOW)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.context.close()
    assert errors == []


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Let the page live until `condition` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(200)


def pixels(canvas: Locator) -> np.ndarray:
    """uint8 (H, W, 4)."""
    data = canvas.evaluate("c => [c.height, c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    return np.array(data[2:], np.uint8).reshape(data[0], data[1], 4)
