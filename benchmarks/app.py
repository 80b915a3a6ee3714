"""The app as its user feels it: `python -m benchmarks.app` (needs playwright and a chromium).

Time from `streamlit run` to the first generated picture; from a slider to its picture, idle and while a run trains on
the same machine; what the live page costs that run; memory of the app's process and of the worker.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from ganlab import jobs
from ganlab.presets import preset
from ganlab.rundir import RunDir

ROOT = Path(__file__).resolve().parents[1]
PICTURE = "[data-testid='stImage'] img"
MOVES = 40
# Time from the key press to the change of the picture, both seen inside the page.
WATCH = """() => {
  window.times = []; let pressed = 0;
  document.addEventListener('keydown', () => { pressed = performance.now(); }, true);
  new MutationObserver(changes => {
      for (const c of changes) if (pressed && c.target.matches("[data-testid='stImage'] img")) {
        window.times.push(performance.now() - pressed); pressed = 0; } })
    .observe(document.body, {subtree: true, attributes: true, attributeFilter: ['src']});
}"""


def memory(pid: int) -> float:
    """Resident memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def slider_to_picture(page: Page) -> str:
    page.evaluate("window.times.length = 0")
    slider = page.get_by_role("slider").last
    slider.focus()
    for i in range(MOVES):
        before = page.evaluate("window.times.length")
        slider.press("ArrowLeft" if i % 2 == 0 else "ArrowRight")
        page.wait_for_function("n => window.times.length > n", arg=before)
        page.wait_for_timeout(150)
    times = sorted(page.evaluate("window.times"))
    return f"median {statistics.median(times):.0f} ms, p95 {times[int(0.95 * len(times))]:.0f} ms ({len(times)} moves)"


def speed_while_watched(page: Page, run: RunDir, address: str, windows: int = 5, seconds: float = 10.0) -> str:
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
    ratio = statistics.median(a / b for a, b in zip(speeds[True], speeds[False], strict=True))
    return f"{ratio:.3f} of {statistics.median(speeds[False]):.1f} steps/s"


def main() -> None:
    runs = Path(tempfile.mkdtemp())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port),
             "--server.headless", "true"],
            cwd=ROOT, env={**os.environ, "GANLAB_RUNS": str(runs)}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{address}/_stcore/health").close()
                    break
                except OSError:
                    time.sleep(0.02)
            up = time.perf_counter() - start
            page.goto(f"{address}/?view=Wall")
            page.locator(PICTURE).first.wait_for()
            print(f"streamlit run to server up            {up:.2f} s")
            print(f"streamlit run to the first picture    {time.perf_counter() - start:.2f} s")
            opened = time.perf_counter()
            again = browser.new_page()
            again.goto(f"{address}/?view=Wall")
            again.locator(PICTURE).first.wait_for()
            print(f"a second visitor's first picture      {time.perf_counter() - opened:.2f} s")
            again.close()
            page.evaluate(WATCH)
            print(f"slider to picture, idle               {slider_to_picture(page)}")
            run = RunDir(runs / "busy")
            worker = jobs.start(run, preset("mnist-dcgan").replace(data="mnist-5k", epochs=1000))
            while not run.read_metrics()[0]:
                time.sleep(0.2)
            print(f"slider to picture, while a run trains {slider_to_picture(page)}")
            speeds = [row["images_per_s"] for row in run.read_metrics()[0]]
            print(f"that run                              {statistics.median(speeds):.0f} images/s on one thread")
            print(f"memory of the app's process           {memory(server.pid):.0f} MB")
            print(f"that run with the live page open      {speed_while_watched(page, run, address)}")
            print(f"memory of the worker                  {memory(worker.pid):.0f} MB")
            jobs.stop(run)
            worker.wait()
            page.goto(f"{address}/train?run=busy")
            page.get_by_role("button", name="Resume").wait_for()
            page.wait_for_timeout(2000)
            print(f"memory of the app with Train opened   {memory(server.pid):.0f} MB")
        finally:
            server.terminate()
            browser.close()


if __name__ == "__main__":
    main()
