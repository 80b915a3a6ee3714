"""What an evaluation found, in a folder of its own that everybody can read. No torch, no onnxruntime.

`<cache>/evaluations/<key>/`, where the key is made of all that the figures depend on, so that a folder is never out of
date:

    status.json    state (running, done, failed), share, doing, pid, heartbeat, error; by the worker, once a second
    result.json    the figures; see `Report`
    pictures.npz   the pictures; see `ganlab.evaluate.gallery`

Those of released models lie in `checkpoints/<name>/evaluations/<key>/` and are found first.

All are written whole. A file that is missing or damaged means that the evaluation is made again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ganlab import catalog
from ganlab.data import cache, identity, root_of
from ganlab.evaluate.extractors import candidates
from ganlab.files import write_atomic
from ganlab.render import Model
from ganlab.worker import Status as Status  # whoever reads a report also wants to know how far it is
from ganlab.worker import read_status as read_status

SCHEMA = 1  # of result.json
PROTOCOL = 1  # of the key: raised when the same inputs would give other figures or pictures
NUM = 10_000  # pictures, unless one says otherwise
Better = Literal["lower", "higher", "middle"]


@dataclass(frozen=True)
class Metric:
    """One figure with what it is to be read against.

    `value`: None where it is infinite or has no meaning. `error`: standard error, where one is known. `floor`: of real
    pictures that the reference does not hold, in the place of the generated ones: no generator should do better.
    `ceiling`: of pictures with the data's values at every place and no structure: a generator that does no better has
    learnt averages at most; it is no worst case. `better`: "middle" means as near to the floor as possible.
    `low`, `high`: ends of a 95% interval, of the support.
    """

    value: float | None
    error: float | None
    floor: float | None
    ceiling: float | None
    better: Better
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Report:
    """The content of result.json.

    model: name, sha256 (of its file), step, images (seen in training), num_classes, parameters.
    data: name, split, num (pictures of the reference), classes, floor {split, num}.
    extractor: name, sha256, own (whether its classes are those of the data), accuracy.
    metrics: by name, protocol included: fd_mnistnet_10k.
    classes: the extractor's; histogram: shares of them, {"fake": [...], "real": [...]}, both as it sees the pictures.
    agreement_by_class: of a conditional model, the share that obeyed, for each of its own classes; else None.
    notes: sentences for people. seconds: by part. date: ISO 8601.
    """

    folder: Path
    model: dict[str, Any]
    data: dict[str, Any]
    extractor: dict[str, Any]
    num: int
    seed: int
    metrics: dict[str, Metric]
    classes: tuple[str, ...]
    histogram: dict[str, list[float]]
    agreement_by_class: list[float | None] | None
    notes: tuple[str, ...]
    seconds: dict[str, float]
    date: str

    def family(self, name: str) -> str:
        """A metric's name without its protocol: fd of fd_mnistnet_10k."""
        return name.removesuffix(f"_{protocol(self.extractor['name'], self.num)}")

    @property
    def has_pictures(self) -> bool:
        return (self.folder / "pictures.npz").is_file()

    def pictures(self) -> dict[str, np.ndarray]:
        """The arrays of pictures.npz; see `ganlab.evaluate.gallery`. Raises DataError if it is missing or damaged."""
        return cache.read_npz(self.folder / "pictures.npz")


class Subject(NamedTuple):
    """The pictures that a model is measured against, as `ganlab.open_dataset` takes them."""

    data: str
    image_size: int
    channels: int
    classes: tuple[str, ...]

    @property
    def options(self) -> dict[str, Any]:
        return {"image_size": self.image_size, "channels": self.channels, "classes": self.classes}

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.image_size, self.image_size, self.channels


def subject(model: Model, data: str = "") -> Subject:
    """What the model learnt from, classes included; or all of another data set, in the model's size and colour."""
    config = model.config
    own = data in ("", config.data)
    return Subject(data or config.data, config.image_size, config.channels, config.classes if own else ())


def protocol(extractor: str, num: int) -> str:
    """What a metric's name carries: mnistnet_10k."""
    return f"{extractor}_{num // 1000}k" if num % 1000 == 0 else f"{extractor}_{num}"


# --- finding ---------------------------------------------------------------------------------------------------------


def folder_of(model: Model, data: str = "", *, num: int = NUM, seed: int = 0, data_root: Path | None = None) -> Path:
    """The folder of this evaluation, where it is or would be. Cheap: opens no pictures, and makes nothing.

    Raises DataError where there is no such data, or no network for it.
    """
    about = subject(model, data)
    nets = sorted(net.hash for net in candidates(about.data, about.shape))
    key = digest(PROTOCOL, model.sha256, nets, identity(about.data, **about.options), "train", num, seed)
    folders = [root / "evaluations" / key for root in cache.directories(root_of(data_root))]
    released = [file.parent for file in catalog.CHECKPOINTS.glob(f"*/evaluations/{key}/result.json")]
    return next((folder for folder in [*released, *folders] if os.path.isdir(folder)), folders[0])


def find_report(
    model: Model, data: str = "", *, num: int = NUM, seed: int = 0, data_root: Path | None = None
) -> Report | None:
    """The report of this evaluation, if it was made; computes nothing. Raises as `folder_of`."""
    return read_report(folder_of(model, data, num=num, seed=seed, data_root=data_root))


def read_report(folder: Path) -> Report | None:
    """The report in a folder; None if there is none, or it is damaged or of another schema."""
    try:
        values = json.loads((folder / "result.json").read_text())
        if values.pop("schema") != SCHEMA:
            return None
        values["metrics"] = {name: Metric(**metric) for name, metric in values["metrics"].items()}
        values["classes"], values["notes"] = tuple(values["classes"]), tuple(values["notes"])
        return Report(folder, **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# --- writing ---------------------------------------------------------------------------------------------------------


def write_report(report: Report) -> None:
    """Write result.json; numbers that are not finite as null."""
    values = {f.name: getattr(report, f.name) for f in fields(Report) if f.name != "folder"}
    values["metrics"] = {name: asdict(metric) for name, metric in report.metrics.items()}
    write_atomic(report.folder / "result.json", to_json({"schema": SCHEMA, **values}))


def to_json(values: Any) -> bytes:
    return (json.dumps(_finite(values), indent=1, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
