"""Decoded data sets kept as one .npz each, so that they open at once the next time."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ganlab.data.dataset import Dataset
from ganlab.errors import DataError

log = logging.getLogger(__name__)


def directories(data_root: Path) -> list[Path]:
    """Where cached data may lie, best first: GANLAB_CACHE alone, or beside the data, or in the user's cache folder."""
    if os.environ.get("GANLAB_CACHE"):
        return [Path(os.environ["GANLAB_CACHE"]).expanduser()]
    return [data_root / "cache", Path(os.path.expanduser("~/.cache/ganlab"))]


def writable(data_root: Path) -> Path:
    """The best of the directories that can be written, made if need be. Raises DataError where none can."""
    for folder in directories(data_root):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    tried = " and ".join(map(str, directories(data_root)))
    raise DataError(f"Results can't be kept: {tried} can't be written. Set GANLAB_CACHE to a folder that can.")


def holds(file_name: str, data_root: Path) -> bool:
    """Whether the cache has a complete file of this name. Reads only its end."""
    return any(zipfile.is_zipfile(folder / file_name) for folder in directories(data_root))


def remembered(file_name: str, key: str, data_root: Path, build: Callable[[], Dataset]) -> Dataset:
    """The data set kept under `file_name`, if it was made from `key`; else what `build` returns, which is then kept.

    One name holds one data set: the next key replaces it, so outdated copies do not pile up.
    """
    for folder in directories(data_root):
        dataset = _load(folder / file_name, key)
        if dataset is not None:
            return dataset
    dataset = build()
    _save(dataset, key, file_name, directories(data_root))
    return dataset


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file. Raises DataError if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            return dict(np.load(file, allow_pickle=False))
    except (OSError, ValueError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is missing or damaged: {error}.") from error


def _load(path: Path, key: str) -> Dataset | None:
    """The data set in `path`, or None if it is missing, damaged or made from something else: all mean a rebuild."""
    if not os.path.isfile(path):  # unlike Path.is_file, never raises
        return None
    try:
        arrays = read_npz(path)
        if str(arrays["key"]) != key:
            return None
        images, labels, name = arrays["images"], arrays["labels"], str(arrays["name"])
        classes, skipped = (tuple(map(str, arrays[field])) for field in ("classes", "skipped"))
    except (DataError, KeyError) as error:
        log.warning("A cached data set will be made again, since %s can't be used: %s", path, error)
        return None
    if images.dtype != np.uint8 or images.ndim != 4 or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        log.warning("A cached data set will be made again: %s holds something else.", path)
        return None
    return Dataset(images, labels, classes, name, skipped)


def _save(dataset: Dataset, key: str, file_name: str, folders: list[Path]) -> None:
    """Write to the first folder that allows it. Without any, the data set still opens, but slowly each time."""
    for folder in folders:
        part = folder / f".{file_name}.{uuid.uuid4().hex}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(
                    file,
                    key=key,
                    name=dataset.name,
                    images=dataset.images,
                    labels=dataset.labels,
                    classes=np.array(dataset.classes, dtype=str),
                    skipped=np.array(dataset.skipped, dtype=str),
                )
            os.replace(part, folder / file_name)
            return
        except OSError as error:
            log.info("No cache in %s: %s", folder, error)
            with contextlib.suppress(OSError):
                part.unlink()
    log.warning("%s could not be cached in %s.", dataset.name, " or ".join(map(str, folders)))
