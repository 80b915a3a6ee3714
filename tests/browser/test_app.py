"""The app as a newcomer meets it: a real server, a real browser."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SLOW = 60_000  # milliseconds: a busy machine with two cores

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (set $CHROMIUM to its path)")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port),
               "--server.address", "127.0.0.1", "--server.headless", "true"]  # fmt: skip
    environment = {**os.environ, "GANLAB_RUNS": str(runs)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health").close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    page.close()
    assert not problems


def picture(page: Page) -> str:
    """The bytes of the one large picture, as its data URL."""
    image = page.locator("[data-testid='stImage'] img").first
    expect(image).to_be_visible(timeout=SLOW)
    return image.get_attribute("src") or ""


def test_explore_shows_a_picture_and_a_control_changes_it(server: str, page: Page, browser: Browser) -> None:
    page.goto(server)
    before = picture(page)
    assert before.startswith("data:image/png;base64,") and len(before) > 5_000
    truncation = page.get_by_role("slider").last
    truncation.focus()
    for _ in range(4):
        truncation.press("ArrowLeft")
    page.wait_for_function(
        "old => document.querySelector(\"[data-testid='stImage'] img\").src !== old", arg=before, timeout=SLOW
    )
    page.wait_for_timeout(1500)
    after = picture(page)
    assert after != before
    assert "=" in page.url  # the view is in the address bar
    other = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    other.goto(page.url)
    assert picture(other) == after  # whoever opens the link sees the very same picture
    other.context.close()


def test_train_on_the_bundled_digits(server: str, page: Page, runs: Path) -> None:
    page.goto(f"{server}/train")
    page.get_by_role("button", name="Start training").click(timeout=SLOW)
    chart = page.get_by_text(re.compile(r"^Step \d+ of 4,\d\d\d$"))
    expect(chart).to_be_visible(timeout=2 * SLOW)
    losses = page.locator("[data-testid='stVegaLiteChart'] canvas, [data-testid='stVegaLiteChart'] svg")
    expect(losses.first).to_be_visible(timeout=2 * SLOW)
    samples = page.locator("[data-testid='stImage'] img")
    expect(samples.first).to_be_visible(timeout=SLOW)
    (run,) = [p for p in runs.iterdir() if (p / "config.yaml").exists()]
    early_chart, early_sample = losses.first.screenshot(), samples.first.get_attribute("src")
    rows = len((run / "metrics.jsonl").read_text().splitlines())
    deadline = time.monotonic() + 120
    while len((run / "metrics.jsonl").read_text().splitlines()) < rows + 3:
        assert time.monotonic() < deadline
        page.wait_for_timeout(200)
    page.wait_for_timeout(2000)
    assert losses.first.screenshot() != early_chart
    assert samples.first.get_attribute("src") != early_sample

    page.reload()  # the training goes on without the page, and the page finds it again
    page.get_by_role("button", name="Pause").click(timeout=SLOW)
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Open in Explore").click()
    expect(page).to_have_url(re.compile("model="), timeout=SLOW)
    assert len(picture(page)) > 1_000
    page.goto(f"{server}/train?run={run.name}")
    page.get_by_role("button", name="Stop").click(timeout=SLOW)
    expect(page.get_by_role("button", name="Stop")).to_have_count(0, timeout=SLOW)
