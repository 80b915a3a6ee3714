"""Explore in a headless Chromium, as a hand feels it: `python -m benchmarks.explore` (needs playwright and a chromium).

For each released model: what its bytes weigh, the time to the first picture of a cold browser, from a move of the
pointer to its picture, how far its pictures are off torch's, and frames a second of one and of sixteen pictures; a
browser makes 60 at most.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import Browser, Page

from benchmarks.in_browser import PICTURE, chromium, serve
from ganlab import catalog, jobs
from ganlab.app.components.generator import why_not
from ganlab.browser_program import multiply_adds, to_browser
from ganlab.models import build_generator
from ganlab.presets import preset
from ganlab.render import Model, to_uint8
from ganlab.rundir import RunDir
from ganlab.weights import GENERATOR, load_arrays

MOVES, SECONDS = 60, 4
# Moves of the first slider, one a frame, and the latency that the component notes for each picture.
SLIDE = """async (picture, moves) => {
  const slider = picture.getRootNode().querySelector("input[type=range]"), times = [];
  for (let i = 1; i <= moves; i++) {
    const before = picture.dataset.drawn;
    slider.value = (3 * i) / moves;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    while (picture.dataset.drawn === before) await new Promise(requestAnimationFrame);
    times.push(Number(picture.dataset.latency));
  }
  return times;
}"""
FRAMES = """async ([id, num, seconds]) => {
  const generator = await globalThis.ganlab.generator(id), z = new Float32Array(generator.latentDim);
  const y = generator.numClasses ? new Float32Array(generator.numClasses).fill(1 / generator.numClasses) : null;
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  const image = new ImageData(generator.width, generator.height);
  const end = performance.now() + 1000 * seconds, start = performance.now();
  let frames = 0, work = 0;
  while (performance.now() < end) {
    await new Promise(requestAnimationFrame);
    const begun = performance.now();
    for (let i = 0; i < num; i++) {
      z.forEach((_, k) => (z[k] = Math.sin(k + i + frames / 60)));
      generator.run(z, y, image.data);
      context.putImageData(image, i % 4, i >> 2);
    }
    frames++;
    work += performance.now() - begun;
  }
  return [(1000 * frames) / (performance.now() - start), work / frames];
}"""


def first_picture(browser: Browser, address: str) -> tuple[Page, float, float]:
    """A page of a cold browser with its plane drawn: seconds until then, and MB that came over the network."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(300_000)
    received: list[int] = []
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    network.on("Network.webSocketFrameReceived", lambda event: received.append(len(event["response"]["payloadData"])))
    start = time.perf_counter()
    page.goto(address)
    page.locator(PICTURE).wait_for()
    seconds = time.perf_counter() - start
    page.locator("canvas.picture[data-place]").wait_for()
    return page, seconds, sum(received) / 1e6


def drag(page: Page) -> list[float]:
    """Milliseconds from each move of a real pointer to its picture, as the component notes them."""
    picture, times = page.locator("canvas.picture"), []
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    for i in range(1, MOVES + 1):
        before = picture.get_attribute("data-drawn")
        page.mouse.move(box["x"] + 200 + i, box["y"] + 100)
        while picture.get_attribute("data-drawn") == before:
            pass
        times.append(float(picture.get_attribute("data-latency") or "nan"))
    page.mouse.up()
    return times


def measure(browser: Browser, address: str, name: str) -> None:
    model = catalog.load(name)
    if reason := why_not(model.program):
        print(f"{name}: the server draws. {reason}")
        return
    content = to_browser(model.program)
    page, seconds, received = first_picture(browser, f"{address}/?model={name}")
    times = sorted(drag(page))
    key = content[4 : 4 + int.from_bytes(content[:4], "little")].decode().split('"id":"')[1][:16]
    print(
        f"{name}\n"
        f"  {model.program.num_parameters:,} parameters, {multiply_adds(model.program):,} multiply-adds, "
        f"{len(content) / 1e6:.2f} MB\n"
        f"  first picture of a cold browser   {seconds:.1f} s, {received:.1f} MB received\n"
        f"  pointer to picture                median {statistics.median(times):.1f} ms, "
        f"p95 {times[int(0.95 * len(times))]:.1f} ms ({len(times)} moves)"
    )
    off = difference_to_torch(page, key, model, name)
    print(f"  off torch's pictures              {off.max()} of 255 at most, {off.mean():.4f} on average (64 pictures)")
    for num in (1, 16):
        fps, work = page.evaluate(FRAMES, [key, num, SECONDS])
        print(f"  {num:2d} at once                        {fps:.0f} frames/s, {work:.1f} ms a frame")
    page.goto(f"{address}/?view=Directions&model={name}")
    page.locator("canvas.picture[data-whole]").wait_for()
    times = sorted(page.locator("canvas.picture").evaluate(SLIDE, MOVES))
    print(
        f"  slider to picture                 median {statistics.median(times):.1f} ms, "
        f"p95 {times[int(0.95 * len(times))]:.1f} ms ({len(times)} moves; eight samples move too)"
    )
    page.context.close()


PICTURES = """async ([id, zs, ys]) => {
  const generator = await globalThis.ganlab.generator(id);
  return zs.map((z, i) => {
    const data = new Uint8ClampedArray(4 * generator.width * generator.height);
    generator.run(Float32Array.from(z), ys && Float32Array.from(ys[i]), data);
    return Array.from(data);
  });
}"""


@torch.no_grad()
def difference_to_torch(page: Page, key: str, model: Model, name: str, num: int = 64) -> np.ndarray:
    """Grey levels between the browser's pictures of the first seeds and torch's."""
    arrays, config, _ = load_arrays(catalog.find(name), kind=GENERATOR)
    network = build_generator(config).eval()
    network.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in arrays.items()}, strict=False)
    z, labels = model.z(range(num)), model.labels_of(range(num))
    expected = to_uint8(network(torch.from_numpy(z), None if labels is None else torch.from_numpy(labels)).numpy())
    ys = None if labels is None else np.eye(model.num_classes)[labels].tolist()
    channels, height, width = model.program.output_shape
    drawn = np.array(page.evaluate(PICTURES, [key, z.tolist(), ys])).reshape(num, height, width, 4)
    return np.abs(drawn[..., :channels] - expected.transpose(0, 2, 3, 1).astype(int))


@contextmanager
def trainings(runs: Path, num: int) -> Iterator[None]:
    """So many trainings of one thread each, beside what is measured."""
    started = [RunDir(runs / f"busy-{i}") for i in range(num)]
    workers = [jobs.start(run, preset("mnist-5k-dcgan").replace(epochs=1000, score="none")) for run in started]
    while not all(run.read_metrics()[0] for run in started):
        time.sleep(0.2)
    yield
    for run, worker in zip(started, workers, strict=True):
        jobs.stop(run)
        worker.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=catalog.released())
    parser.add_argument("--trainings", type=int, default=0, help="how many trainings take a core each meanwhile")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs, chromium() as browser, serve(runs) as (address, _):
        with trainings(Path(runs), given.trainings):
            for name in given.models:
                measure(browser, address, name)


if __name__ == "__main__":
    main()
