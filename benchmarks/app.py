"""The app as a whole: `python -m benchmarks.app` (needs playwright and a chromium).

Time from `streamlit run` to the first generated picture; memory of the app's process when it is new, after minutes of
use in all views, with ten browsers open, and with a training beside it; what the live page costs that training.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import cycle
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks.in_browser import PICTURE, chromium, memory, serve
from ganlab import catalog, jobs
from ganlab.app.pages.explore import VIEWS
from ganlab.presets import preset
from ganlab.rundir import RunDir

BROWSERS = 10


def say(what: str, value: str) -> None:
    print(f"{what:44s} {value}", flush=True)


def opened(browser: Browser, address: str) -> Page:
    """A page of a browser that knows nothing yet."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.locator(PICTURE).first.wait_for()
    return page


def use(page: Page, address: str, minutes: float) -> int:
    """Go through all views of all models, a few seconds each, as long as that; how many were seen."""
    end, seen = time.monotonic() + 60 * minutes, 0
    for model, view in cycle((model, view) for model in catalog.released() for view in VIEWS):
        if time.monotonic() > end:
            return seen
        page.goto(f"{address}/?view={view}&model={model}")
        page.wait_for_timeout(2000)
        for _ in range(3):
            page.keyboard.press("Tab")
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(500)
        seen += 1
    return seen


def speed_while_watched(page: Page, run: RunDir, address: str, windows: int, seconds: float) -> str:
    """Steps a second with the live page open against none, in turns; the median of the ratios."""
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for i in range(2 * windows):
        watched = i % 2 == 0
        page.goto(f"{address}/train?run={run.name}" if watched else "about:blank")
        page.wait_for_timeout(3000)
        first = run.read_status()
        page.wait_for_timeout(1000 * seconds)
        last = run.read_status()
        speeds[watched].append((last.step - first.step) / (last.heartbeat - first.heartbeat))
    ratios = sorted(a / b for a, b in zip(speeds[True], speeds[False], strict=True))
    return (
        f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) "
        f"of {statistics.median(speeds[False]):.1f} steps/s"
    )


def measure(browser: Browser, runs: Path, given: argparse.Namespace) -> None:
    start = time.perf_counter()
    with serve(runs) as (address, server):
        say("streamlit run to server up", f"{time.perf_counter() - start:.2f} s")
        page = opened(browser, address)
        say("streamlit run to the first picture", f"{time.perf_counter() - start:.2f} s")
        again = time.perf_counter()
        opened(browser, address).context.close()
        say("a second visitor's first picture", f"{time.perf_counter() - again:.2f} s")
        say("memory of the app's process, new", f"{memory(server.pid):.0f} MB")
        if given.minutes:
            seen = use(page, address, given.minutes)
            say(f"after {given.minutes:g} minutes of use ({seen} views)", f"{memory(server.pid):.0f} MB")
        models = catalog.released()
        others = [opened(browser, f"{address}/?model={models[i % len(models)]}") for i in range(BROWSERS - 1)]
        say(f"with {BROWSERS} browsers open", f"{memory(server.pid):.0f} MB")
        for other in others:
            other.context.close()
        run = RunDir(runs / "busy")
        worker = jobs.start(run, preset("mnist-5k-dcgan").replace(epochs=1000, score="none"))
        while not run.read_metrics()[0]:
            time.sleep(0.2)
        say(
            "a training with its page open, of alone",
            speed_while_watched(page, run, address, given.windows, given.seconds),
        )
        say("memory of the app's process", f"{memory(server.pid):.0f} MB")
        say("memory of the worker", f"{memory(worker.pid):.0f} MB")
        jobs.stop(run)
        worker.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of use before memory is looked at again")
    parser.add_argument("--windows", type=int, default=7, help="how often the live page is opened beside a training")
    parser.add_argument("--seconds", type=float, default=15, help="of each window")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs, chromium() as browser:
        measure(browser, Path(runs), given)


if __name__ == "__main__":
    main()
