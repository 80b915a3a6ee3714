"""The data's side of an evaluation: its features, what a model is held against, and the floor and the ceiling of every
figure. Nothing of it depends on the model, and all of it is kept beside the data."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganlab.data import Dataset, cache, identity, open_dataset, root_of
from ganlab.errors import DataError, NoSplit
from ganlab.evaluate.extractors import CHUNK, Extractor, choose
from ganlab.evaluate.figures import NEIGHBOURS, Figure, Held, figures
from ganlab.evaluate.generate import Progress
from ganlab.evaluate.metrics import KernelSums, class_histogram, kernel_sums, moments
from ganlab.evaluate.neighbours import duplicate_threshold, nearest, neighbour_distances
from ganlab.evaluate.report import PROTOCOL, Subject, digest
from ganlab.files import write_atomic

STRANGERS = 500  # pictures of the floor whose nearest training pictures are looked for


class Seen(NamedTuple):
    """Pictures as the network sees them: features float32 (N, F), most likely classes int64 (N,); and the classes that
    they are said to be of, as indices of the network's (N,), or None where it does not know those."""

    features: np.ndarray
    classes: np.ndarray
    said: np.ndarray | None

    def of(self, rows: np.ndarray) -> Seen:
        return Seen(self.features[rows], self.classes[rows], None if self.said is None else self.said[rows])


class Reference(NamedTuple):
    """What a model is held against.

    extractor: the network. train: all training pictures; seen: how the network sees them. held: what the figures need
    of those that they are computed against. floor, ceiling: figures by family. split, floor_split, floor_num: which
    pictures the reference and the floor are of. strangers: of some pictures of the floor, the distances (n,) to their
    nearest training picture by "pixels" and by "features".
    """

    extractor: Extractor
    train: Dataset
    seen: Seen
    held: Held
    floor: dict[str, Figure]
    ceiling: dict[str, Figure]
    split: str
    floor_split: str
    floor_num: int
    strangers: dict[str, np.ndarray]


def open_reference(
    about: Subject, num: int, seed: int, data_root: Path | None, num_threads: int, progress: Progress
) -> Reference:
    """Open the data, look at it through its network, and compute floor and ceiling, unless all that is kept already.

    The reference is `num` training pictures chosen by seed, the floor as many test pictures. Where there are no test
    pictures, the training pictures are cut in two halves, one for each. Raises DataError for too few pictures.
    """
    progress("opening the pictures", 0.0)
    train = open_dataset(about.data, data_root=data_root, **about.options)
    extractor = choose(about.data, about.shape, train.classes, num_threads)
    side = _Side(about, extractor, num, seed, data_root, progress)
    seen = side.seen(train, "train", 0.05, 0.45)
    order = np.random.default_rng([seed, 1]).permutation(len(train))
    try:
        test = open_dataset(about.data, data_root=data_root, split="test", **about.options)
    except NoSplit:
        half = len(train) // 2
        rows, rest = order[:half][:num], order[half:][:num]
        split, floor_split, others = "a half of train", "the other half of train", seen.of(rest)
        strangers = side.strangers(train, seen, train.images[rest[:STRANGERS]], others, itself=1)
    else:
        rows, rest = order[:num], np.random.default_rng([seed, 2]).permutation(len(test))[:num]
        split, floor_split, others = "train", "test", side.seen(test, "test", 0.45, 0.55).of(rest)
        strangers = side.strangers(train, seen, test.images[rest[:STRANGERS]], others)
    if min(len(rows), len(rest)) <= NEIGHBOURS:
        raise DataError(
            f"{about.data} has too few pictures to measure against: {len(rows)}, and {len(rest)} to compare those "
            "with. Some hundreds are needed, better thousands."
        )
    held, floor, ceiling = side.held(train, seen, np.sort(rows), others)
    return Reference(extractor, train, seen, held, floor, ceiling, split, floor_split, len(rest), strangers)


class _Side:
    """What is computed from data alone, and kept: for one subject, network, number of pictures and seed."""

    def __init__(
        self, about: Subject, extractor: Extractor, num: int, seed: int, data_root: Path | None, progress: Progress
    ) -> None:
        self.extractor, self.num, self.seed, self.data_root = extractor, num, seed, data_root
        self.progress = progress
        self.key = key_of(about, extractor)

    def seen(self, data: Dataset, split: str, begin: float, end: float) -> Seen:
        """A whole split as the network sees it."""
        file = features_file(self.key, split)
        kept = load_arrays(file, self.data_root, {"features", "classes"})
        if kept is None or len(kept["features"]) != len(data):
            doing = f"looking at the {split}ing pictures" if split == "train" else "looking at the test pictures"
            features, classes = self.extractor.look(
                data.images, lambda share: self.progress(doing, begin + (end - begin) * share)
            )
            kept = {"features": features, "classes": classes.astype(np.int16)}
            keep_arrays(file, kept, self.data_root)
        said = as_seen(data.labels, data.classes, self.extractor)
        return Seen(kept["features"], kept["classes"].astype(np.int64), said)

    def strangers(
        self, train: Dataset, seen: Seen, images: np.ndarray, others: Seen, itself: int = 0
    ) -> dict[str, np.ndarray]:
        """How near pictures of the floor come to a training picture; what comes nearer may be a copy. `itself`: 1 where
        they are training pictures, each of which is nearest to itself."""
        file = f"strangers/{digest(*self.key, self.num, self.seed)}.npz"
        if kept := load_arrays(file, self.data_root, {"pixels", "features"}):
            return kept
        self.progress("looking how near real pictures come to each other", 0.55)
        looked_at = {"pixels": (images, train.images), "features": (others.features[: len(images)], seen.features)}
        found = {space: nearest(*both, itself + 1)[0][:, itself] for space, both in looked_at.items()}
        keep_arrays(file, found, self.data_root)
        return found

    def held(
        self, train: Dataset, seen: Seen, rows: np.ndarray, others: Seen
    ) -> tuple[Held, dict[str, Figure], dict[str, Figure]]:
        """What the figures need of the reference pictures; floor and ceiling."""
        real = seen.of(rows)
        num_classes = len(self.extractor.classes)
        histogram = class_histogram(real.classes, num_classes) if num_classes else np.zeros(0)
        file = f"references/{digest(*self.key, self.num, self.seed)}.npz"
        kept = load_arrays(file, self.data_root, {"distances", "rows", "rest", "threshold", "floor", "ceiling"})
        if kept is not None and len(kept["distances"]) == len(rows):
            kernel = KernelSums(kept["rows"], kept["rows"], float(kept["rest"]))
            distances, threshold = kept["distances"], float(kept["threshold"])
            held = Held(real.features, moments(real.features), distances, kernel, threshold, histogram)
            return held, _unpacked(kept["floor"]), _unpacked(kept["ceiling"])
        self.progress("comparing the data with itself", 0.55)
        distances, kernel = neighbour_distances(real.features, NEIGHBOURS), kernel_sums(real.features)
        threshold = duplicate_threshold(real.features, real_distances=distances)
        held = Held(real.features, moments(real.features), distances, kernel, threshold, histogram)
        self.progress("measuring the floor", 0.65)
        floor = figures(self.extractor, held, others.features, others.classes, others.said)
        self.progress("measuring the ceiling", 0.8)
        noise = self._without_structure(train.images, seen, rows)
        ceiling = figures(self.extractor, held, noise.features, noise.classes, noise.said)
        arrays = {"distances": distances, "rows": kernel.rows, "rest": np.array(kernel.rest)}
        arrays |= {"threshold": np.array(threshold), "floor": _packed(floor), "ceiling": _packed(ceiling)}
        keep_arrays(file, arrays, self.data_root)
        return held, floor, ceiling

    def _without_structure(self, images: np.ndarray, seen: Seen, rows: np.ndarray) -> Seen:
        """Pictures whose every pixel comes from a reference picture of its own, at the same place: right averages and
        contrasts, and nothing that fits together. They are said to be of the class that lent the first pixel."""
        random = np.random.default_rng([self.seed, 3])
        y, x = np.indices(images.shape[1:3])
        parts, first = [], []
        for i in range(0, self.num, CHUNK):
            source = rows[random.integers(len(rows), size=(min(CHUNK, self.num - i), *y.shape))]
            parts.append(self.extractor.look(images[source, y, x]))
            first.append(source[:, 0, 0])
        features, classes = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Seen(features, classes, None if seen.said is None else seen.said[np.concatenate(first)])


def key_of(about: Subject, extractor: Extractor) -> list[Any]:
    """What everything that is computed from data alone depends on."""
    return [PROTOCOL, extractor.name, extractor.net.hash, identity(about.data, **about.options)]


def features_file(key: list[Any], split: str) -> str:
    """Where the features and classes of a whole split are kept."""
    return f"features/{digest(*key, split)}.npz"


def as_seen(labels: np.ndarray, classes: tuple[str, ...], extractor: Extractor) -> np.ndarray | None:
    """Labels (N,), which count `classes`, as indices into the extractor's classes; None where it does not know all."""
    if not classes or not set(classes) <= set(extractor.classes):
        return None
    return np.array([extractor.classes.index(name) for name in classes])[labels]


# --- keeping ---------------------------------------------------------------------------------------------------------


def load_arrays(name: str, data_root: Path | None, fields: set[str]) -> dict[str, np.ndarray] | None:
    """The arrays kept under `name`; None if any is missing or damaged, which means to make them again."""
    for folder in cache.directories(root_of(data_root)):
        with contextlib.suppress(DataError):
            if fields <= (arrays := cache.read_npz(folder / name)).keys():
                return arrays
    return None


def keep_arrays(name: str, arrays: Mapping[str, np.ndarray], data_root: Path | None) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
    write_atomic(cache.writable(root_of(data_root)) / name, buffer.getvalue())


def _packed(values: Mapping[str, Figure]) -> np.ndarray:
    """As a text, in which infinity may stand: nobody else reads it."""
    return np.array(json.dumps({name: list(figure) for name, figure in values.items()}))


def _unpacked(text: np.ndarray) -> dict[str, Figure]:
    return {name: Figure(*figure) for name, figure in json.loads(str(text)).items()}
