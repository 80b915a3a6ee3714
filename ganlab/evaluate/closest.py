"""The real pictures nearest to any picture, by pixels and by features, and how near real pictures are to each other.

All of it is exact, over the whole training split. A data set is looked at once, in small bites; its features are kept
where an evaluation keeps them, and are taken from there.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganlab.data import identity, is_on_disk, open_dataset
from ganlab.errors import DataError
from ganlab.evaluate.extractors import Extractor, choose
from ganlab.evaluate.neighbours import nearest
from ganlab.evaluate.reference import features_file, keep_arrays, key_of, load_arrays
from ganlab.evaluate.report import Subject, digest

BITE = 400  # pictures looked at before one hears how far it is
SAMPLE = 200  # pictures whose nearest other ones say how near real pictures are to each other
PARTS = {"mnist": "mnist-5k"}  # data that need no download, and are a part of others


class Near(NamedTuple):
    """The nearest real pictures to one picture, nearest first: distances float64 (k,), indices int64 (k,), and the
    pictures uint8 (k, H, W, C)."""

    distances: np.ndarray
    indices: np.ndarray
    images: np.ndarray


def at_hand(about: Subject, data_root: Path | None = None) -> Subject | None:
    """The data themselves, else a part of them that is bundled; None where neither is on this disk."""
    if is_on_disk(about.data, data_root):
        return about
    part = PARTS.get(about.data)
    return about._replace(data=part) if part else None


class RealPictures:
    """The training pictures of a data set, which is on this disk.

    `train`: the data set. `share`: of it, what has been looked at, from 0 to 1; `advance` goes on. Then `others` has
    the distances (n,) from each of the pictures `sample` (n,) to the nearest other one, by "pixels" and by "features".
    Raises DataError where the data can't be opened.
    """

    def __init__(self, about: Subject, data_root: Path | None = None, num_threads: int = 1) -> None:
        self.data_root = data_root
        self.train = open_dataset(about.data, data_root=data_root, **about.options)
        self.sample = np.sort(np.random.default_rng(0).permutation(len(self.train))[:SAMPLE])
        self._done = 0
        self._pairs = np.full((len(self.sample), 2), np.inf)  # by pixels: to itself, and to the nearest other
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self.features: np.ndarray | None = None
        self.others: dict[str, np.ndarray] = {}
        try:
            self.extractor: Extractor | None = choose(about.data, about.shape, self.train.classes, num_threads)
        except DataError:
            self.extractor = None
        key = key_of(about, self.extractor) if self.extractor else [identity(about.data, **about.options)]
        self._files = features_file(key, "train"), f"others/{digest(*key, SAMPLE)}.npz"
        self._load()

    def _load(self) -> None:
        if self.extractor:
            kept = load_arrays(self._files[0], self.data_root, {"features", "classes"})
            if kept is not None and len(kept["features"]) == len(self.train):
                self.features = kept["features"]
        kept = load_arrays(self._files[1], self.data_root, {"pixels"})
        if kept is not None and (self.features is not None or not self.extractor):
            self.others = kept
            self._done = len(self.train)

    @property
    def share(self) -> float:
        return 1.0 if self.others else min(self._done / len(self.train), 0.99)

    def advance(self) -> None:
        """Look at some more pictures, until all have been looked at."""
        images = self.train.images[self._done : self._done + BITE]
        near = nearest(self.train.images[self.sample], images, min(2, len(images)))[0]
        self._pairs = np.sort(np.concatenate([self._pairs, near], axis=1), axis=1)[:, :2]
        if self.extractor and self.features is None:
            self._parts.append(self.extractor.look(images))
        self._done += len(images)
        if self._done == len(self.train):
            self._finish()

    def _finish(self) -> None:
        others = {"pixels": self._pairs[:, 1]}
        if self.extractor:
            if self.features is None:
                features, classes = (np.concatenate(part) for part in zip(*self._parts, strict=True))
                self._parts, self.features = [], features
                self._keep(self._files[0], {"features": features, "classes": classes.astype(np.int16)})
            others["features"] = nearest(self.features[self.sample], self.features, 2)[0][:, 1]
        self._keep(self._files[1], others)
        self.others = others

    def _keep(self, file: str, arrays: dict[str, np.ndarray]) -> None:
        with contextlib.suppress(DataError, OSError):  # without a place for it, it is known as long as this lasts
            keep_arrays(file, arrays, self.data_root)

    def nearest(self, image: np.ndarray, num: int) -> dict[str, Near]:
        """The `num` nearest to a picture uint8 (H, W, C), by "pixels"; and by "features", once all have been looked
        at."""
        spaces = {"pixels": (image[None], self.train.images)}
        if self.extractor and self.features is not None:
            spaces["features"] = (self.extractor.look(image[None])[0], self.features)
        found = {}
        for space, (query, points) in spaces.items():
            distances, indices = nearest(query, points, min(num, len(self.train)))
            found[space] = Near(distances[0], indices[0], self.train.images[indices[0]])
        return found
