"""The data sets that have a name: one bundled, the others as torchvision lays them out on disk."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import importlib.metadata
import importlib.util
import math
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganlab.data import cache
from ganlab.data.dataset import Dataset
from ganlab.data.folder import open_images
from ganlab.errors import DataError, NoSplit


@dataclass(frozen=True)
class DatasetInfo:
    """What to tell people about a data set before it is opened. `num_images` is that of its training split."""

    label: str
    image_size: int  # pixels, before any resizing
    channels: int
    classes: tuple[str, ...]
    num_images: int


_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATASETS: dict[str, DatasetInfo] = {
    "mnist-5k":      DatasetInfo("Handwritten digits, 5,000 of MNIST (bundled)", 28, 1, _DIGITS,  5_000),
    "mnist":         DatasetInfo("Handwritten digits, all of MNIST",             28, 1, _DIGITS,  60_000),
    "fashion-mnist": DatasetInfo("Clothes, Fashion-MNIST",                       28, 1, _CLOTHES, 60_000),
    "cifar10":       DatasetInfo("Animals and vehicles in colour, CIFAR-10",     32, 3, _THINGS,  50_000),
    "stacked-mnist": DatasetInfo("Three digits as colours, stacked MNIST",       28, 3, (),       60_000),
}  # fmt: skip

_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}  # its classes
_CIFAR_FOLDER = "cifar-10-batches-py"
_MAX_IDX_BYTES = 2**28


def open_standard(name: str, split: str, data_root: Path) -> Dataset:
    """The data set `name` of DATASETS in its native size. Raises DataError where it can neither be read nor fetched."""
    if split not in ("train", "test"):
        raise DataError(f"{name} has no {split!r} split; choose train or test.")
    if name == "mnist-5k":
        return _bundled(split)
    if name == "stacked-mnist":
        return _stacked(split, data_root)
    raw = _raw_files(name, split, data_root)
    if raw is not None:
        return _checked(name, read_idx(raw[0], ndim=3)[..., None], read_idx(raw[1], ndim=1), str(raw[0]))
    if os.path.isfile(archive := _archive(name, split, data_root)):
        return _from_archive(name, archive, data_root)
    return cache.remembered(
        _cache_name(name, split), f"{name} {split} 1", data_root, lambda: _from_torchvision(name, split, data_root)
    )


def is_standard_on_disk(name: str, data_root: Path) -> bool:
    """Whether the training split of `name` opens without a network. Looks at names only."""
    fetched = any(
        os.path.exists(data_root / file) for file in (f"{_CIFAR_FOLDER}/data_batch_5", "cifar-10-python.tar.gz")
    )
    by_torchvision = name == "cifar10" and fetched and importlib.util.find_spec("torchvision") is not None
    return by_torchvision or is_standard_at_hand(name, "train", data_root)


def is_standard_at_hand(name: str, split: str, data_root: Path) -> bool:
    """Whether a split of `name` opens without a network and without torch. Looks at names only."""
    if name == "mnist-5k":
        return split == "train"
    name = "mnist" if name == "stacked-mnist" else name
    raw, kept = _raw_files(name, split, data_root), cache.holds(_cache_name(name, split), data_root)
    return bool(raw or kept or os.path.isfile(_archive(name, split, data_root)))


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """A uint8 array of `ndim` axes from a file in MNIST's IDX format, plain or .gz.

    The format: two zero bytes, 8 for uint8, the number of axes, each axis as a big-endian uint32, then the values.
    """
    again = "delete it: the next run fetches it again."
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * ndim)
            shape = [int.from_bytes(header[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(ndim)]
            expected = math.prod(shape)
            body = bytearray(file.read(min(expected, _MAX_IDX_BYTES) + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} can't be read ({error}). Check its permissions; if it is damaged, {again}") from error
    if header[:4] != bytes([0, 0, 8, ndim]):
        raise DataError(f"{path} is not an IDX file of bytes with {ndim} axes. To repair it, {again}")
    if len(header) < 4 + 4 * ndim or len(body) != expected:
        relation = "is too long" if len(body) > expected else "is cut short"
        raise DataError(f"{path} {relation}: its header promises {expected:,} values. To repair it, {again}")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _bundled(split: str) -> Dataset:
    if split != "train":
        raise NoSplit("mnist-5k has a training split only; its test images are those of mnist.")
    path = Path(__file__).with_name("mnist_5k.npz")
    arrays = cache.read_npz(path)
    return _checked("mnist-5k", arrays["images"][..., None], arrays["labels"], str(path))


def _stacked(split: str, data_root: Path) -> Dataset:
    """Three random digits of MNIST as the colours of one picture, as many pictures as MNIST has; always the same ones.

    Metz et al. 2017 (arXiv:1611.02163): 1,000 modes that are known and can be counted. No classes: there are too many
    to be told of.
    """
    digits = open_standard("mnist", split, data_root).images[..., 0]
    rows = np.random.default_rng(["train", "test"].index(split)).integers(len(digits), size=(len(digits), 3))
    images = np.stack([digits[rows[:, colour]] for colour in range(3)], axis=3)
    return Dataset(images, np.zeros(len(images), np.int64), (), "stacked-mnist")


def _checked(name: str, images: np.ndarray, labels: np.ndarray, source: str) -> Dataset:
    info = DATASETS[name]
    picture = (info.image_size, info.image_size, info.channels)
    if images.shape[1:] != picture or labels.shape != images.shape[:1] or labels.max(initial=0) >= len(info.classes):
        raise DataError(
            f"{source} is not {name}: expected images of {picture} with a label below {len(info.classes)} each, found "
            f"images {images.shape} with labels {labels.shape}. Replace it."
        )
    return Dataset(np.ascontiguousarray(images), labels.astype(np.int64), info.classes, name)


def _raw_files(name: str, split: str, data_root: Path) -> tuple[Path, Path] | None:
    """The files of images and labels in IDX format, if both are there."""
    folder, names = _raw_names(name, split, data_root)
    found = [next((p for p in (folder / n, folder / f"{n}.gz") if os.path.isfile(p)), None) for n in names]
    return (found[0], found[1]) if found[0] and found[1] else None


def _raw_names(name: str, split: str, data_root: Path) -> tuple[Path, tuple[str, str]]:
    prefix = "train" if split == "train" else "t10k"
    return data_root / _TORCHVISION[name] / "raw", (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")


def _archive(name: str, split: str, data_root: Path) -> Path:
    """Where the split may lie as a zip of pictures, one folder a class."""
    return data_root / name / f"{split}.zip"


def _from_archive(name: str, archive: Path, data_root: Path) -> Dataset:
    info = DATASETS[name]
    found = open_images(archive, split="train", image_size=info.image_size, channels=info.channels, data_root=data_root)
    if [c.casefold() for c in found.classes] != [c.casefold() for c in info.classes]:
        raise DataError(f"{archive} is not {name}: its folders are {', '.join(found.classes) or 'none'}. Replace it.")
    return _checked(name, found.images, found.labels, str(archive))


def _cache_name(name: str, split: str) -> str:
    return f"{name}-{split}.npz"


def _from_torchvision(name: str, split: str, data_root: Path) -> Dataset:
    """Through torchvision, which downloads what is not there yet."""
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except Exception as error:  # a build that does not match torch fails with RuntimeError, OSError and others
        raise DataError(
            f"{name} is not in {data_root}, and torchvision, which would fetch it, can't be imported "
            f"({_brief(error)}). Install the build of torchvision that matches {_torch()}; or "
            f"{_by_hand(name, split, data_root, 'give a folder or zip of its images, one sub-folder a class')}"
        ) from error
    try:
        with contextlib.redirect_stdout(sys.stderr):
            source: Any = getattr(datasets, _TORCHVISION[name])(str(data_root), train=split == "train", download=True)
    except Exception as error:  # the network, the disk, an archive: all in foreign code
        zips = f"{_archive(name, split, data_root)} with one folder a class"
        raise DataError(
            f"{name} could not be fetched into {data_root} ({_brief(error)}). Check the network; or "
            f"{_by_hand(name, split, data_root, f'put cifar-10-python.tar.gz into {data_root}, or {zips}')}"
        ) from error
    images, labels = np.asarray(source.data), np.asarray(source.targets)
    return _checked(name, images[..., None] if images.ndim == 3 else images, labels, f"What torchvision read of {name}")


def _by_hand(name: str, split: str, data_root: Path, cifar10: str) -> str:
    """The ways without a download; CIFAR-10 takes torchvision even to be read, so its way is the caller's to say."""
    folder, names = _raw_names(name, split, data_root)
    files = f"put {' and '.join(names)} (or the same with .gz) into {folder}"
    return f"{cifar10 if name == 'cifar10' else files}; or use mnist-5k, which needs no download."


def _torch() -> str:
    try:
        return f"torch {importlib.metadata.version('torch')}"
    except importlib.metadata.PackageNotFoundError:
        return "torch (not installed either)"


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
