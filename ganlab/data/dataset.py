"""What every reader returns: all pictures of a data set as one array in memory."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ganlab.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures with their labels.

    images: uint8 (N, H, W, C) in 0..255, C-contiguous and writable; C is 1 (grey) or 3 (RGB).
    labels: int64 (N,), each an index into `classes`; all 0 where the data has no classes.
    classes: class names; empty where the data has none.
    name: what to call the data set.
    skipped: files that could not be read, each as "name: reason".
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


def keep_classes(dataset: Dataset, wanted: Sequence[str]) -> Dataset:
    """The pictures of the `wanted` classes (any case), relabelled in the data set's own order of classes.

    Raises DataError for a class that the data does not have.
    """
    if not dataset.classes:
        raise DataError(
            f"{dataset.name} has no classes to choose {', '.join(wanted)} from. "
            "Leave the classes empty, or sort its images into one sub-folder a class."
        )
    kept = sorted({index for name in wanted for index in _indices(dataset, name)})
    new_label = np.full(len(dataset.classes), -1, np.int64)
    new_label[kept] = np.arange(len(kept))
    chosen = np.isin(dataset.labels, kept)
    return dataclasses.replace(
        dataset,
        images=dataset.images[chosen],
        labels=new_label[dataset.labels[chosen]],
        classes=tuple(dataset.classes[index] for index in kept),
    )


def _indices(dataset: Dataset, name: str) -> list[int]:
    """Where `name` stands in the classes. Folders may differ in case only; then the exact name wins."""
    name = name.strip()
    exact = [i for i, known in enumerate(dataset.classes) if known == name]
    found = exact or [i for i, known in enumerate(dataset.classes) if known.casefold() == name.casefold()]
    if not found:
        raise DataError(
            f"{dataset.name} has no class {name!r}.{did_you_mean(name, dataset.classes)} "
            f"Its classes: {', '.join(dataset.classes)}."
        )
    return found


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the nearest known word in any case, or nothing."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return f" Did you mean {by_folded[near[0]]}?" if near else ""
