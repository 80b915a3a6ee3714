"""The data's side of an evaluation: its features, what a model is held against, and the floor and the ceiling of every
figure. Nothing of it depends on the model, and all of it is kept beside the data."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganlab.data import Dataset, cache, identity, open_dataset, root_of
from ganlab.errors import DataError, NoSplit
from ganlab.evaluate.extractors import CHUNK, Extractor, choose
from ganlab.evaluate.figures import NEIGHBOURS, Figure, Held, figures
from ganlab.evaluate.metrics import class_histogram, moments
from ganlab.evaluate.neighbours import duplicate_threshold, neighbour_distances
from ganlab.evaluate.report import PROTOCOL, Subject, digest
from ganlab.files import write_atomic

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Reference:
    """What a model is held against.

    train: the training pictures; features, classes: how the network sees all of them, float32 (N, F) and int64 (N,).
    held: those of them that the figures are computed against. floor, ceiling: figures by family. floor_split,
    floor_num: which pictures the floor is of. extractor: the network.
    """

    train: Dataset
    features: np.ndarray
    classes: np.ndarray
    held: Held
    floor: dict[str, Figure]
    ceiling: dict[str, Figure]
    split: str
    floor_split: str
    floor_num: int
    extractor: Extractor


def open_reference(
    about: Subject, num: int, seed: int, data_root: Path | None, num_threads: int, progress: Progress
) -> Reference:
    """Open the data, look at it through its network, and compute floor and ceiling, unless all that is kept already."""
    progress("opening the pictures", 0.0)
    train = open_dataset(about.data, data_root=data_root, **about.options)
    extractor = choose(about.data, about.shape, train.classes, num_threads)
    features, classes = _seen(extractor, about, train, "train", data_root, lambda s: progress("looking at the data", s))
    try:
        test = open_dataset(about.data, data_root=data_root, split="test", **about.options)
    except NoSplit:
        test = None
    order = np.random.default_rng([seed, 1]).permutation(len(train))
    if test is None:  # the other half of the training pictures stands in
        half = len(train) // 2
        rows, rest = np.sort(order[:half][:num]), np.sort(order[half:][:num])
        other = (features[rest], classes[rest], train.labels[rest])
        split, floor_split = "a half of train", "the other half of train"
    else:
        rows = np.sort(order[:num])
        seen = _seen(extractor, about, test, "test", data_root, lambda s: progress("looking at the test pictures", s))
        rest = np.sort(np.random.default_rng([seed, 2]).permutation(len(test))[:num])
        other = (seen[0][rest], seen[1][rest], test.labels[rest])
        split, floor_split = "train", "test"
    if len(rows) <= NEIGHBOURS or len(rest) <= NEIGHBOURS:
        raise DataError(
            f"{about.data} has too few pictures to measure against: {len(rows)} and {len(rest)} to compare them with. "
            "Some hundreds are needed, better thousands."
        )
    held, floor, ceiling = _held(
        extractor, about, train, features, classes, rows, other, num, seed, data_root, progress
    )
    return Reference(train, features, classes, held, floor, ceiling, split, floor_split, len(rest), extractor)


def _seen(
    extractor: Extractor,
    about: Subject,
    data: Dataset,
    split: str,
    data_root: Path | None,
    told: Callable[[float], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Features and most likely classes of a whole split."""
    key = digest(PROTOCOL, extractor.name, extractor.net.hash, identity(about.data, **about.options), split)
    kept = _load(f"features/{key}.npz", data_root)
    if kept is None or len(kept.get("features", ())) != len(data):
        features, classes = extractor.look(data.images, told)
        kept = {"features": features, "classes": classes.astype(np.int16)}
        _keep(f"features/{key}.npz", kept, data_root)
    return kept["features"], kept["classes"].astype(np.int64)


def _held(
    extractor: Extractor,
    about: Subject,
    train: Dataset,
    features: np.ndarray,
    classes: np.ndarray,
    rows: np.ndarray,
    other: tuple[np.ndarray, np.ndarray, np.ndarray],
    num: int,
    seed: int,
    data_root: Path | None,
    progress: Progress,
) -> tuple[Held, dict[str, Figure], dict[str, Figure]]:
    """What the figures need of the reference pictures, and those of real pictures and of pictures without structure."""
    names = [extractor.name, extractor.net.hash, identity(about.data, **about.options), num, seed]
    file = f"references/{digest(PROTOCOL, *names)}.npz"
    real, labels = features[rows], as_seen(train.labels, train.classes, extractor)
    histogram = class_histogram(classes[rows], len(extractor.classes)) if extractor.own else np.zeros(0)
    kept = _load(file, data_root)
    if kept is not None and np.array_equal(kept["rows"], rows):
        held = Held(real, rows, moments(real), kept["distances"], float(kept["threshold"]), histogram)
        floor, ceiling = (_unpacked(str(kept[name])) for name in ("floor", "ceiling"))
        return held, floor, ceiling
    progress("comparing the data with itself", 0.0)
    distances = neighbour_distances(real, NEIGHBOURS)
    held = Held(real, rows, moments(real), distances, duplicate_threshold(real), histogram)
    progress("measuring the floor", 0.0)
    floor = figures(extractor, held, other[0], other[1], as_seen(other[2], train.classes, extractor))
    progress("measuring the ceiling", 0.0)
    fake, likely, source = _without_structure(extractor, train.images, rows, num, seed)
    ceiling = figures(extractor, held, fake, likely, None if labels is None else labels[source])
    arrays = {"rows": rows, "distances": distances, "threshold": np.array(held.threshold)}
    texts = {"floor": np.array(_packed(floor)), "ceiling": np.array(_packed(ceiling))}
    _keep(file, {**arrays, **texts}, data_root)
    return held, floor, ceiling


def as_seen(labels: np.ndarray, classes: tuple[str, ...], extractor: Extractor) -> np.ndarray | None:
    """Labels (N,), which count `classes`, as indices into the extractor's classes; None where it does not know all."""
    if not classes or not set(classes) <= set(extractor.classes):
        return None
    return np.array([extractor.classes.index(name) for name in classes])[labels]


def _without_structure(
    extractor: Extractor, images: np.ndarray, rows: np.ndarray, num: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features and classes of pictures whose every pixel comes from a reference picture of its own, at the same place:
    right averages and right contrast, nothing that fits together. And which row lent the first pixel: its label is as
    good as any."""
    random = np.random.default_rng([seed, 3])
    height, width = images.shape[1:3]
    y, x = np.indices((height, width))
    parts = []
    for i in range(0, num, CHUNK):
        source = rows[random.integers(len(rows), size=(min(CHUNK, num - i), height, width))]
        parts.append((*extractor.look(images[source, y, x]), source[:, 0, 0]))
    features, classes, first = (np.concatenate(part) for part in zip(*parts, strict=True))
    return features, classes, first


# --- keeping ---------------------------------------------------------------------------------------------------------


def _load(name: str, data_root: Path | None) -> dict[str, np.ndarray] | None:
    """The arrays kept under `name`; None if they are missing or damaged, which means to make them again."""
    for folder in cache.directories(root_of(data_root)):
        with contextlib.suppress(DataError):
            return cache.read_npz(folder / name)
    return None


def _keep(name: str, arrays: Mapping[str, np.ndarray], data_root: Path | None) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    write_atomic(cache.writable(root_of(data_root)) / name, buffer.getvalue())


def _packed(values: Mapping[str, Figure]) -> str:
    return json.dumps({name: list(figure) for name, figure in values.items()})  # with Infinity, which only we read


def _unpacked(text: str) -> dict[str, Figure]:
    parsed: dict[str, Any] = json.loads(text)
    return {name: Figure(*figure) for name, figure in parsed.items()}
