"""Image files inside a zip, read in memory. Nothing is ever unpacked to disk, and no number in a header is trusted."""

from __future__ import annotations

import functools
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ganlab.data.files import MAX_FILE_BYTES, ImageFile, is_clutter, is_image
from ganlab.errors import DataError

MAX_MEMBERS = 1_000_000
MAX_TOTAL_BYTES = 4 * 2**30
MAX_RATIO = 200  # of a member of at least RATIO_FROM_BYTES; a small blank picture may well shrink this much
RATIO_FROM_BYTES = 16 * 2**20
_INSTEAD = "Unpack it yourself if you trust it, and give the folder."


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`, found safe to read. Raises DataError if it is no zip, damaged, or looks like an attack."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} can't be opened: {error.strerror}. Check its permissions.") from error
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError) as error:
            raise DataError(
                f"{path} is not a zip archive, or is incomplete ({error}). Give a folder or a zip of images."
            ) from error
        with archive:
            _refuse_attacks(path, archive.infolist())
            yield archive


def _refuse_attacks(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise DataError(f"{path} holds {len(members):,} files; at most {MAX_MEMBERS:,} are read. {_INSTEAD}")
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        raise DataError(
            f"{path} would unpack to {total / 2**30:.1f} GiB; at most {MAX_TOTAL_BYTES // 2**30} are read. {_INSTEAD}"
        )
    for member in members:
        name = member.filename
        if _leaves_archive(name) or _leaves_archive(member.orig_filename):
            raise DataError(
                f"{path} holds the entry {name!r}, whose path leads outside the archive. Make the zip again from "
                "inside the folder, with plain relative names."
            )
        if member.flag_bits & 0x1:
            raise DataError(f"{path} is encrypted ({name!r}). Unpack it with its password, and give the folder.")
        if member.file_size >= RATIO_FROM_BYTES and member.file_size > MAX_RATIO * member.compress_size:
            raise DataError(
                f"{path} looks like a zip bomb: {name!r} would grow from {member.compress_size:,} to "
                f"{member.file_size:,} bytes. {_INSTEAD}"
            )


def _leaves_archive(name: str) -> bool:
    return name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name) is not None or ".." in name.split("/")


def list_archive(archive: zipfile.ZipFile) -> tuple[list[ImageFile], list[str]]:
    """The image files of an open archive, unsorted, and those that will not be read as "name: reason"."""
    files, skipped = [], []
    for member in _wanted(archive.infolist()):
        name = member.filename
        if stat.S_ISLNK(member.external_attr >> 16):
            skipped.append(f"{name}: a link, not followed")
        elif name.lower().endswith(".zip"):
            skipped.append(f"{name}: a zip inside the zip, not opened; unpack it first")
        elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # The other methods decompress in blocks of unlimited size.
            skipped.append(f"{name}: an uncommon compression; zip it again with the usual one (deflate)")
        else:
            files.append(ImageFile(name, functools.partial(_read, archive, member)))
    return files, skipped


def _wanted(members: Iterable[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    for member in members:
        name = member.filename
        if not member.is_dir() and not is_clutter(name) and (is_image(name) or name.lower().endswith(".zip")):
            yield member


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The contents of one member; zipfile checks their length and checksum, and stops at the length in the header."""
    if member.file_size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
    with archive.open(member) as file:
        return file.read(member.file_size)
