"""Shared by all tests: small configurations, a cache and a runs folder of their own."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, for the workers too: tiny networks gain from no more

import pytest

from ganlab.config import Config


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache or runs."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("GANLAB_CACHE", str(folder / "cache"))
    monkeypatch.setenv("GANLAB_RUNS", str(folder / "runs"))
    return folder


@pytest.fixture
def tiny() -> Config:
    """A DCGAN that trains a step in some 20 ms on the bundled digits."""
    return Config(
        data="mnist-5k", width=8, latent_dim=8, batch_size=16, steps=12, log_every=3, sample_every=4, save_every=5
    )
