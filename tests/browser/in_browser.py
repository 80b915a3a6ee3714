"""What the browser tests share: how long they wait, and what they read of a page."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SLOW = 180_000  # milliseconds: two cores, and others at work on them; a quick machine waits for none of it

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (set $CHROMIUM to its path)")


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Let the page live until `condition` holds."""
    deadline = time.monotonic() + SLOW / 1000
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(200)


def pixels(canvas: Locator) -> np.ndarray:
    """uint8 (H, W, 4)."""
    data = canvas.evaluate("c => [c.height, c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    return np.array(data[2:], np.uint8).reshape(data[0], data[1], 4)
