"""Data sets, each opened as one uint8 array in memory: by name, or from a folder or zip of images.

Neither torch nor torchvision is imported here; torchvision only when a data set has to be downloaded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from ganlab.data.dataset import Dataset, did_you_mean, keep_classes
from ganlab.data.folder import open_images, state_of
from ganlab.data.pixels import convert
from ganlab.data.standard import DATASETS, DatasetInfo, is_standard_at_hand, is_standard_on_disk, open_standard
from ganlab.errors import DataError

__all__ = ["DATASETS", "Dataset", "DatasetInfo", "identity", "is_at_hand", "is_on_disk", "open_dataset", "root_of"]


def open_dataset(
    data: str,
    *,
    image_size: int = 28,
    channels: int = 1,
    classes: Sequence[str] = (),
    data_root: Path | None = None,
    split: str = "train",
) -> Dataset:
    """Open a data set, whole, in memory.

    Arguments:
        data: a name in DATASETS, else the path of a folder or zip of images, one sub-folder a class or none. A folder
            with the name of a data set is reached as "./mnist".
        image_size: height and width in pixels. Other pictures are cropped to the centre square and scaled.
        channels: 1 for grey (ITU-R 601 luma of colour), 3 for RGB.
        classes: keep only these, in any case; empty keeps all. Labels then count the kept ones.
        data_root: where named data sets lie or are downloaded to. Default: the environment's GANLAB_DATA, else `data`
            in the working directory.
        split: "train" or "test". Of folders and zips, the sub-folder with that name, where train and test both exist;
            the test pictures of train.zip, or of a folder train, are also looked for beside it, in test.zip or test.

    Returns: a Dataset; images uint8 (N, image_size, image_size, channels).

    Raises DataError, which names the file and says what to do: for an unknown name or class, data that is missing,
    damaged or unsafe to open, and for fewer than 2 images. Up to a tenth of a folder's files may be unreadable; they
    are listed in `skipped`.
    """
    if image_size < 1 or channels not in (1, 3):
        raise DataError(f"Images of {image_size} pixels with {channels} channels can't be made; channels are 1 or 3.")
    root = root_of(data_root)
    if data in DATASETS:
        dataset = open_standard(data, split, root)
    else:
        path = _existing(data)
        if split == "test" and (beside := _beside(path)):
            path, split = beside, "train"
        dataset = open_images(path, split=split, image_size=image_size, channels=channels, data_root=root)
    if classes:
        dataset = keep_classes(dataset, classes)
    if len(dataset) < 2:
        raise DataError(f"{data} has too few images: {len(dataset)}. Training takes at least 2, better thousands.")
    return dataclasses.replace(dataset, images=convert(dataset.images, image_size, channels))


def is_on_disk(name: str, data_root: Path | None = None) -> bool:
    """Whether `name`, or the folder or zip at that path, can be opened without a network. Cheap: reads no images."""
    if name in DATASETS:
        return is_standard_on_disk(name, root_of(data_root))
    return os.path.exists(os.path.expanduser(name))


def is_at_hand(name: str, split: str = "train", data_root: Path | None = None) -> bool:
    """Whether a split of a data set of DATASETS opens without a network, and without torch in this process."""
    return name in DATASETS and is_standard_at_hand(name, split, root_of(data_root))


def identity(data: str, *, image_size: int = 28, channels: int = 1, classes: Sequence[str] = ()) -> str:
    """One word for the pictures that `open_dataset` gives for these arguments, so that what was computed from them can
    be kept. A folder or zip that has changed has another one. Cheap: reads no pictures.

    Raises DataError where there is no such data set, folder or zip.
    """
    files = [] if data in DATASETS else [path for path in (_existing(data), _beside(_existing(data))) if path]
    source = [state_of(path) for path in files] or data
    kept = sorted(name.strip().casefold() for name in classes)
    return hashlib.sha256(json.dumps([source, image_size, channels, kept]).encode()).hexdigest()


def _beside(path: Path) -> Path | None:
    """Where the test pictures of train.zip or train are: in test.zip or test beside it."""
    test = path.with_name("test" + path.suffix)
    return test if path.stem == "train" and os.path.exists(test) else None


def root_of(data_root: Path | None) -> Path:
    """Where named data sets lie: `data_root`, else the environment's GANLAB_DATA, else `data`."""
    return Path(data_root or os.environ.get("GANLAB_DATA") or "data").expanduser()


def _existing(data: str) -> Path:
    path = os.path.expanduser(data)
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise DataError(
            f"There is no data set, folder or zip {data!r}.{did_you_mean(data, DATASETS)} "
            f"Give one of {', '.join(DATASETS)}, or the path of a folder or zip of images."
        )
    return Path(path)
