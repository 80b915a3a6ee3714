"""ganlab: train a generative adversarial network, watch it learn, and walk through what it has learnt.

import ganlab
model = ganlab.load("mnist-dcgan")
images = model.sample(16, seed=0)                     # uint8 (16, 28, 28, 1)
run = ganlab.train(ganlab.preset("mnist-mlp"), out="runs/a")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganlab.catalog import load, released
from ganlab.config import Config
from ganlab.data import open_dataset
from ganlab.errors import GanlabError
from ganlab.presets import PRESETS, preset
from ganlab.rundir import RunDir

if TYPE_CHECKING:
    from ganlab.loop import resume, train

__version__ = "0.1.0"
__all__ = [
    "PRESETS",
    "Config",
    "GanlabError",
    "RunDir",
    "load",
    "open_dataset",
    "preset",
    "released",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    """torch is imported only when training is asked for."""
    if name in ("train", "resume"):
        from importlib import import_module

        return getattr(import_module("ganlab.loop"), name)
    raise AttributeError(f"module 'ganlab' has no attribute {name!r}")
