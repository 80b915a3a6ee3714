"""The app's server and a browser beside it, for benchmarks (needs playwright and a chromium)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURE = "canvas.picture[data-drawn]"  # of Explore, once it shows something


@contextmanager
def serve(runs: str | Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a server that has just come up, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port),
         "--server.address", "127.0.0.1", "--server.headless", "true"],
        cwd=ROOT, env={**os.environ, "GANLAB_RUNS": str(runs)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not _answers(f"http://127.0.0.1:{port}/_stcore/health"):
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address).close()
    except OSError:
        return False
    return True


@contextmanager
def chromium() -> Iterator[Browser]:
    """Without a GPU, as on most servers."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


def memory(pid: int) -> float:
    """Resident memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0
