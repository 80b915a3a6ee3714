"""Image files in a folder, wherever they lie below it."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ganlab.data.pixels import EXTENSIONS
from ganlab.errors import DataError

MAX_FILE_BYTES = 256 * 2**20


class ImageFile(NamedTuple):
    """One file that claims to be a picture."""

    name: str  # relative to the folder or archive, with "/"
    read: Callable[[], bytes]
    stamp: tuple[int, int] = (0, 0)  # size and time of change: another stamp, another picture


def is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def is_clutter(name: str) -> bool:
    """Whether an operating system put it there: dotfiles, __MACOSX, and all that lies in folders so named."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def list_folder(root: Path) -> tuple[list[ImageFile], list[str]]:
    """The image files below `root`, unsorted, and those that will not be read as "name: reason".

    Links to folders, and links to files outside `root`, are not followed. Raises DataError where a folder can't be
    listed: its pictures would be missing unnoticed.
    """
    root = root.resolve()
    files, skipped = [], []
    for path in _walk(root):
        name = printable(path.relative_to(root).as_posix())
        if path.is_symlink() and (os.path.isdir(path) or not Path(os.path.realpath(path)).is_relative_to(root)):
            skipped.append(f"{name}: a link to elsewhere, not followed")
            continue
        try:
            info = path.stat()
        except OSError as error:
            skipped.append(f"{name}: {error.strerror}")
            continue
        if not stat.S_ISREG(info.st_mode):
            skipped.append(f"{name}: not a regular file")
            continue
        files.append(ImageFile(name, functools.partial(_read, path), (info.st_size, info.st_mtime_ns)))
    return files, skipped


def _walk(root: Path) -> Iterator[Path]:
    """Image files below `root`, and links to folders."""

    def refuse(error: OSError) -> None:
        raise DataError(f"The folder {error.filename} can't be listed: {error.strerror}. Check its permissions.")

    for folder, subfolders, names in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not is_clutter(name)]
        yield from (path for name in subfolders if (path := Path(folder, name)).is_symlink())
        yield from (Path(folder, name) for name in names if is_image(name) and not is_clutter(name))


def printable(name: str) -> str:
    """File names may hold bytes that are no text in any encoding, but names are shown and stored as text."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
    return path.read_bytes()
