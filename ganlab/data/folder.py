"""A folder or zip of images, one sub-folder a class or none."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganlab.data import cache
from ganlab.data.archive import list_archive, open_archive
from ganlab.data.dataset import Dataset
from ganlab.data.files import ImageFile, list_folder, printable
from ganlab.data.pixels import EXTENSIONS, decode
from ganlab.errors import DataError, NoSplit

MAX_SKIPPED = 0.1  # share of files that may be unreadable before the whole is refused
_SPLITS = {"train", "test", "val", "valid", "validation"}
_READER = 1  # of the cache's key: raised when the same files would give other pixels


def open_images(path: Path, *, split: str, image_size: int, channels: int, data_root: Path) -> Dataset:
    """All pictures in the folder or zip `path`, sorted by class, then by name, with numbers by value.

    A picture of any size is cropped to its centre square and scaled. A single folder around everything is no class;
    folders named train, test and the like are chosen from by `split`. A few unreadable files are named in `skipped`.
    Raises DataError where more than MAX_SKIPPED of them are, and for archives that are unsafe to read.
    """
    path = path.resolve()
    files, skipped, state = _look_at(path)

    def build() -> Dataset:
        if path.is_dir():
            return _decoded(path, files, skipped, split, image_size, channels)
        with open_archive(path) as archive:
            return _decoded(path, *list_archive(archive), split, image_size, channels)

    key = _digest([_READER, str(path), split, image_size, channels, state])
    label = re.sub(r"[^A-Za-z0-9.-]+", "_", path.stem)[:40]
    file_name = f"{label}-{_digest(str(path))[:12]}-{split}-{image_size}x{channels}.npz"
    return cache.remembered(file_name, key, data_root, build)


def state_of(path: Path) -> str:
    """What changes as soon as a file in the folder or zip `path` changes, comes or goes. Reads no pictures."""
    path = path.resolve()
    return _digest([_READER, str(path), _look_at(path)[2]])


def _look_at(path: Path) -> tuple[list[ImageFile], list[str], list[list]]:
    """The files of a folder (of a zip none: it is not even opened unless the cache misses), those that will not be
    read, and sizes and times of all, sorted."""
    if not path.is_dir():
        info = path.stat()
        return [], [], [[info.st_size, info.st_mtime_ns]]
    files, skipped = list_folder(path)
    return files, skipped, sorted([[file.name, *file.stamp] for file in files] + [[line] for line in skipped])


def _decoded(
    path: Path, files: list[ImageFile], skipped: Sequence[str], split: str, image_size: int, channels: int
) -> Dataset:
    rows, loose = _arrange(path, files, split)
    skipped = [*skipped, *loose]
    images = np.empty((len(rows), image_size, image_size, channels), np.uint8)
    found: list[str] = []  # class name of each picture that was read
    for class_name, file in rows:
        try:
            images[len(found)] = decode(file.read(), image_size, channels)
            found.append(class_name)
        except Exception as error:  # hostile bytes meet many decoders here, and each fails in its own way
            skipped.append(f"{file.name}: {reason(error)}")
    _refuse_unreadable(path, len(found), skipped)
    classes = sorted(set(found) - {""}, key=_natural)
    index = {name: i for i, name in enumerate(classes)}
    name = (path.name if path.is_dir() else path.stem) or str(path)
    labels = np.array([index.get(name, 0) for name in found], np.int64)
    return Dataset(images[: len(found)], labels, tuple(classes), printable(name), tuple(skipped))


def _arrange(path: Path, files: list[ImageFile], split: str) -> tuple[list[tuple[str, ImageFile]], list[str]]:
    """Sorted (class name, file), where the class is "" if there are none; and the files that have no class."""
    rows = _unwrap([(PurePosixPath(file.name).parts, file) for file in files])
    tops = {parts[0] for parts, _ in rows}
    has_splits = len(tops) > 1 and tops <= _SPLITS
    if split not in (tops if has_splits else {"train"}):
        raise NoSplit(f"{path} has no {split!r} split: that takes folders named train and test in it.")
    if has_splits:
        rows = _unwrap([(parts[1:], file) for parts, file in rows if parts[0] == split])
    rows.sort(key=lambda row: [_natural(part) for part in row[0]])
    if all(len(parts) == 1 for parts, _ in rows):
        return [("", file) for _, file in rows], []
    loose = [f"{file.name}: lies beside the class folders, not in one" for parts, file in rows if len(parts) == 1]
    return [(parts[0], file) for parts, file in rows if len(parts) > 1], loose


def _unwrap(rows: list[tuple[tuple[str, ...], ImageFile]]) -> list[tuple[tuple[str, ...], ImageFile]]:
    """Without the folders that hold everything: one class for all says nothing."""
    depth = len(os.path.commonprefix([parts[:-1] for parts, _ in rows]))
    return [(parts[depth:], file) for parts, file in rows]


def _refuse_unreadable(path: Path, num_read: int, skipped: Sequence[str]) -> None:
    if not num_read and not skipped:
        raise DataError(f"{path} holds no images ({', '.join(EXTENSIONS)}), neither at the top nor in sub-folders.")
    if not num_read or len(skipped) > MAX_SKIPPED * (num_read + len(skipped)):
        raise DataError(
            f"{path}: {len(skipped):,} of {num_read + len(skipped):,} files can't be read. Repair or remove them. "
            f"The first: {'; '.join(skipped[:3])}."
        )


def reason(error: Exception) -> str:
    """Why a file is no picture, in words."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, whatever its name says"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "far too many pixels"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _natural(name: str) -> tuple[str, str]:
    """Sorts 2 before 10."""
    return re.sub("[0-9]+", lambda digits: digits[0].zfill(20), name), name


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
