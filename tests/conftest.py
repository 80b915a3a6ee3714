"""Shared by all tests: small configurations, folders of their own, and what makes two runs the same."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, for the workers too: tiny networks gain from no more

import numpy as np
import pytest

from ganlab.config import Config
from ganlab.rundir import RunDir
from ganlab.weights import GENERATOR, STATE, load_arrays, save_arrays

pytest_plugins = ["in_browser"]  # the fixtures of the browser tests

WALL_CLOCK = ("seconds", "images_per_s")
REPO = Path(__file__).parents[1]
REAL = Path(os.environ.get("GANLAB_DATA") or REPO.parent / "shared" / "data")  # whole data sets, where they are
PATIENCE = 120  # seconds for what takes one on a machine that has nothing else to do


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache or runs."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("GANLAB_CACHE", str(folder / "cache"))
    monkeypatch.setenv("GANLAB_RUNS", str(folder / "runs"))
    return folder


@pytest.fixture
def tiny() -> Config:
    """A DCGAN that trains a step in some 20 ms on the bundled digits; too short a run for a score."""
    return Config(
        data="mnist-5k", width=8, latent_dim=8, batch_size=16, steps=12, log_every=3, sample_every=4, save_every=5
    )


def wait_for(condition: Callable[[], object], says: Callable[[], object] = lambda: "nothing happened") -> None:
    """Look until the condition holds; after PATIENCE seconds fail with what `says` says."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, says()
        time.sleep(0.01)


def newest_state(run: RunDir) -> dict[str, np.ndarray]:
    return load_arrays(run.states()[-1], kind=STATE)[0]


def content(file: Path, kind: str) -> dict[str, tuple[str, bytes]]:
    """The arrays in a file, bit for bit; the file itself is not, for safetensors writes its header in any order."""
    return {name: (str(array.shape), array.tobytes()) for name, array in load_arrays(file, kind=kind)[0].items()}


def lines(run: RunDir) -> list[dict]:
    """All metrics, but for those that measure time."""
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in run.read_metrics()[0]]


def assert_same_run(a: RunDir, b: RunDir) -> None:
    """Weights of G, D and the average, both optimisers, every line of metrics with its score, every picture and
    snapshot: bit for bit."""
    one, two = (content(run.states()[-1], STATE) for run in (a, b))
    assert [name for name in one.keys() | two.keys() if one.get(name) != two.get(name)] == []
    assert lines(a) == lines(b)
    for mine, yours in ((a.samples(), b.samples()), (a.pairs(), b.pairs())):
        assert [f.name for f in mine] == [f.name for f in yours]
        assert [f.name for f, g in zip(mine, yours, strict=True) if f.read_bytes() != g.read_bytes()] == []
    assert [f.name for f in a.snapshots()] == [f.name for f in b.snapshots()]
    for f, g in zip(a.snapshots(), b.snapshots(), strict=True):
        assert content(f, GENERATOR) == content(g, GENERATOR), f.name


def write_generator(file: Path, seed: int = 0, num_classes: int = 0, step: int = 7, **changes: object) -> Path:
    """A fully connected generator with random weights; of a conditional one, the class decides as much as z."""
    options: dict = {"model": "mlp", "width": 16, "latent_dim": 4, "data": "mnist-5k", **changes}
    if num_classes:
        options |= {"conditioning": "concat", "classes": tuple("0123456789"[:num_classes])}
    config = Config(**options)
    random, pixels = np.random.default_rng(seed), config.channels * config.image_size**2
    sizes, arrays = [4 + num_classes, 16, 16, pixels], {}
    for i in range(3):
        arrays[f"layers.{i}.weight"] = random.normal(0, 1, (sizes[i + 1], sizes[i])).astype(np.float32)
        arrays[f"layers.{i}.bias"] = random.normal(0, 0.1, sizes[i + 1]).astype(np.float32)
    save_arrays(file, arrays, kind=GENERATOR, config=config, facts={"step": step, "images": 64 * step})
    return file
