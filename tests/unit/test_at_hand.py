"""Which splits of a data set open at once: without a network, and without torch in this process."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from ganlab.data import is_at_hand, is_on_disk, open_dataset


def write_idx(root: Path, prefix: str) -> None:
    """Three pictures of MNIST in its own format."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", np.ones((3, 28, 28), np.uint8)), ("labels-idx1", np.arange(3, dtype=np.uint8))):
        head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
        with gzip.open(folder / f"{prefix}-{name}-ubyte.gz", "wb") as file:
            file.write(head + array.tobytes())


def test_each_split_by_itself(tmp_path):
    write_idx(tmp_path, "train")
    assert is_at_hand("mnist", "train", tmp_path) and not is_at_hand("mnist", "test", tmp_path)
    assert not is_at_hand("stacked-mnist", "test", tmp_path) and is_at_hand("stacked-mnist", "train", tmp_path)
    write_idx(tmp_path, "t10k")
    assert is_at_hand("mnist", "test", tmp_path) and is_at_hand("stacked-mnist", "test", tmp_path)
    assert not is_at_hand("fashion-mnist", "test", tmp_path)
    assert len(open_dataset("mnist", split="test", data_root=tmp_path)) == 3


def test_the_bundled_digits_have_no_test_split(tmp_path):
    assert is_at_hand("mnist-5k", "train", tmp_path) and not is_at_hand("mnist-5k", "test", tmp_path)


def test_what_only_torchvision_reads_is_not_at_hand(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_5").write_bytes(b"")
    assert is_on_disk("cifar10", tmp_path) and not is_at_hand("cifar10", "train", tmp_path)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "test.zip").write_bytes(b"")
    assert is_at_hand("cifar10", "test", tmp_path)


def test_ones_own_pictures_are_no_data_set(tmp_path):
    assert not is_at_hand(str(tmp_path), "train", tmp_path)
