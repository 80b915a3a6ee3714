"""One file format for everything learnt: safetensors that carry their kind, schema, config and checksum.

A released generator, a snapshot along a run and the exact training state are all such files. Reading one never runs
code from it, and a file that was cut short or altered is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import safe_open, save

from ganlab.config import SCHEMA, Config, from_dict, to_dict
from ganlab.errors import ConfigError, WeightsError
from ganlab.files import write_atomic

GENERATOR = "ganlab-generator"
DISCRIMINATOR = "ganlab-discriminator"
STATE = "ganlab-state"


def save_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    *,
    kind: str,
    config: Config | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write arrays with the config that made them (the default one, if none did), `facts` (JSON values) and a checksum
    of both, atomically."""
    # not np.ascontiguousarray: that would make (1,) of a scalar, such as Adam's step
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    about = json.dumps({"config": to_dict(config or Config()), "facts": dict(facts or {})}, sort_keys=True)
    metadata = {"kind": kind, "schema": str(SCHEMA), "about": about, "sha256": _digest(arrays, about)}
    write_atomic(path, save(arrays, metadata))


def load_arrays(path: Path, *, kind: str) -> tuple[dict[str, np.ndarray], Config, dict[str, Any]]:
    """Read what `save_arrays` wrote: (arrays, config, facts).

    Raises WeightsError for a file that is missing, no safetensors (a pickle, say), of another kind or schema, or whose
    checksum does not match.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("kind") != kind:
                raise WeightsError(f"{path} holds {metadata.get('kind', 'something else')!r}, not a {kind} file.")
            if metadata.get("schema") != str(SCHEMA):
                raise WeightsError(
                    f"{path} has schema {metadata.get('schema')}; this ganlab reads {SCHEMA}. "
                    "Use the version of ganlab that wrote it."
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise WeightsError(f"There is no file {path}.") from None
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # the last two: a type that numpy lacks
        raise WeightsError(
            f"{path} is no readable safetensors file ({error}). ganlab reads nothing else: a pickle can "
            "run code. If the file was cut short, copy or train it again."
        ) from None
    about = metadata.get("about", "")
    if metadata.get("sha256") != _digest(arrays, about):
        raise WeightsError(f"{path} is damaged: its checksum does not match its content. Copy or train it again.")
    try:
        parsed = json.loads(about)
        return arrays, from_dict(parsed["config"]), parsed["facts"]
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"{path} carries a config that this ganlab can't read: {error}") from None


def _digest(arrays: Mapping[str, np.ndarray], about: str) -> str:
    """SHA-256 over the description and every array's name, type, shape and bytes."""
    digest = hashlib.sha256(about.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
