"""The data room against pictures with known pixels, files made by hand, and the published sets where they are there."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import types
import urllib.error
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import REAL, REPO
from PIL import Image

import ganlab.data
from ganlab.data import DATASETS, Dataset, archive, files, folder, is_on_disk, open_dataset, standard
from ganlab.errors import DataError, NoSplit


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """No test reads or leaves anything outside its own folder."""
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANLAB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def real(*names: str) -> Path:
    missing = [name for name in names if not (REAL / name).exists()]
    if missing:
        pytest.skip(f"real data absent: {', '.join(missing)} (looked in {REAL}; set GANLAB_DATA)")
    return REAL


def noise(seed: int, size: int = 32, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


def encode(image: Image.Image | np.ndarray, form: str = "PNG", **options) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image.squeeze())
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def write(root: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, forge=None) -> Path:
    """A zip; `forge` may falsify its central directory before that is written."""
    with zipfile.ZipFile(path, "w", method) as out:
        for name, data in contents.items():
            out.writestr(name, data)
        if forge:
            forge({member.filename: member for member in out.infolist()})
    return path


def pictures(num: int = 4) -> dict[str, bytes]:
    return {f"{i}.png": encode(noise(i)) for i in range(num)}


def opened(path: Path, **options) -> Dataset:
    return open_dataset(str(path), **{"image_size": 32, "channels": 3, **options})


def one(tmp_path: Path, data: bytes, name: str = "picture.png", **options) -> np.ndarray:
    """The pixels that one file becomes."""
    root = write(Path(tempfile.mkdtemp(dir=tmp_path)), {f"a{name}": data, f"b{name}": data})
    dataset = opened(root, **options)
    assert np.array_equal(dataset.images[0], dataset.images[1])
    return dataset.images[0]


# Named data sets


def test_bundled_digits_are_balanced_and_ready_for_torch():
    dataset = open_dataset("mnist-5k")
    assert dataset.images.shape == (5000, 28, 28, 1) and dataset.images.dtype == np.uint8
    assert dataset.images.flags.c_contiguous and dataset.images.flags.writeable
    assert dataset.labels.dtype == np.int64
    assert np.bincount(dataset.labels).tolist() == [500] * 10
    assert dataset.classes == tuple("0123456789")
    assert dataset.name == "mnist-5k" and dataset.skipped == ()
    assert 30 < dataset.images.mean() < 37  # MNIST's published mean is 0.1307 x 255 = 33.3


def test_bundled_digits_are_the_first_500_of_each_in_mnist():
    root = real("MNIST/raw/train-images-idx3-ubyte")
    small, full = open_dataset("mnist-5k"), open_dataset("mnist", data_root=root)
    first = np.concatenate([np.flatnonzero(full.labels == digit)[:500] for digit in range(10)])
    order = np.lexsort((first, full.labels[first]))
    assert np.array_equal(small.labels, full.labels[first][order])
    assert sorted(image.tobytes() for image in small.images) == sorted(i.tobytes() for i in full.images[first])


def test_bundled_digits_have_no_test_split():
    with pytest.raises(DataError, match="training split only"):
        open_dataset("mnist-5k", split="test")


@pytest.mark.parametrize("name", DATASETS)
def test_unknown_split(name):
    with pytest.raises(DataError, match="choose train or test"):
        open_dataset(name, split="validate")


@pytest.mark.parametrize(
    ("typo", "meant"), [("minst", "mnist"), ("CIFAR-10", "cifar10"), ("Fashion_MNIST", "fashion-mnist")]
)
def test_unknown_name_lists_the_known_and_suggests(typo, meant):
    with pytest.raises(DataError, match=f"Did you mean {meant}\\?") as caught:
        open_dataset(typo)
    assert all(name in str(caught.value) for name in DATASETS)
    assert "folder or zip" in str(caught.value)


@pytest.mark.parametrize("name", ["", "\0", "x" * 5000, "/no/such/folder"])
def test_a_path_that_is_none(name):
    with pytest.raises(DataError, match="no data set, folder or zip"):
        open_dataset(name)
    assert not is_on_disk(name)


def test_a_data_set_in_another_size_and_colour():
    native = open_dataset("mnist-5k")
    rgb = open_dataset("mnist-5k", channels=3)
    assert np.array_equal(rgb.images, np.repeat(native.images, 3, axis=3))
    large = open_dataset("mnist-5k", image_size=32)
    expected = Image.fromarray(native.images[7, :, :, 0]).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(large.images[7, :, :, 0], np.asarray(expected))
    assert large.images.shape == (5000, 32, 32, 1)


@pytest.mark.parametrize(("size", "channels"), [(0, 1), (28, 2), (28, 4)])
def test_impossible_shapes(size, channels):
    with pytest.raises(DataError):
        open_dataset("mnist-5k", image_size=size, channels=channels)


# Classes


def test_choosing_classes_relabels_in_the_data_sets_order():
    full, some = open_dataset("mnist-5k"), open_dataset("mnist-5k", classes=["7", "3"])
    assert some.classes == ("3", "7") and len(some) == 1000
    for new, old in enumerate((3, 7)):
        assert np.array_equal(some.images[some.labels == new], full.images[full.labels == old])


def test_class_names_in_any_case_but_the_exact_one_wins(tmp_path):
    root = write(tmp_path / "pets", {f"{c}/{i}.png": encode(noise(i)) for c in ("Cat", "dog", "DOG") for i in range(3)})
    assert opened(root, classes=[" cAT "]).classes == ("Cat",)
    assert opened(root, classes=["dog"]).classes == ("dog",)
    assert opened(root, classes=["Dog"]).classes == ("DOG", "dog")


def test_unknown_class_lists_the_known_and_suggests(tmp_path):
    root = write(tmp_path / "pets", {f"{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(3)})
    with pytest.raises(DataError, match=r"no class 'cta'\. Did you mean cat\? Its classes: cat, dog"):
        opened(root, classes=["dog", "cta"])


def test_choosing_classes_where_there_are_none(tmp_path):
    with pytest.raises(DataError, match="has no classes"):
        opened(write(tmp_path / "flat", pictures()), classes=["cat"])


def test_fewer_than_two_images_left(tmp_path):
    root = write(tmp_path / "pets", {"cat/1.png": encode(noise(1)), "dog/1.png": encode(noise(2))})
    assert len(opened(root)) == 2
    with pytest.raises(DataError, match="too few images: 1"):
        opened(root, classes=["cat"])


# IDX files


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(root: Path, name: str = "MNIST", prefix: str = "train", num: int = 5) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(num).integers(0, 256, (num, 28, 28), dtype=np.uint8)
    labels = np.arange(num, dtype=np.uint8) % 10
    raw = {f"{prefix}-images-idx3-ubyte": idx(images), f"{prefix}-labels-idx1-ubyte": idx(labels)}
    write(root / name / "raw", raw)
    return images, labels


@pytest.mark.parametrize(("data", "layout"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_idx_files_of_both_splits(tmp_path, data, layout):
    for split, prefix, num in (("train", "train", 5), ("test", "t10k", 3)):
        images, labels = write_idx(tmp_path, layout, prefix, num)
        dataset = open_dataset(data, data_root=tmp_path, split=split)
        assert np.array_equal(dataset.images[..., 0], images) and np.array_equal(dataset.labels, labels)
        assert dataset.images.flags.writeable and dataset.labels.dtype == np.int64
        assert dataset.classes == DATASETS[data].classes


def test_gzipped_idx_files_and_the_environments_data_root(tmp_path, monkeypatch):
    images, _ = write_idx(tmp_path)
    for path in list((tmp_path / "MNIST" / "raw").iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert not is_on_disk("mnist")
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path))
    assert is_on_disk("mnist")
    assert np.array_equal(open_dataset("mnist").images[..., 0], images)


def test_data_root_defaults_to_data_in_the_working_directory(tmp_path):
    images, _ = write_idx(tmp_path / "data")
    assert np.array_equal(open_dataset("mnist").images[..., 0], images)


GOOD = idx(np.zeros((5, 28, 28), np.uint8))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (GOOD[:-1], "cut short"),
        (GOOD[:10], "cut short"),
        (GOOD[:3], "not an IDX file"),
        (b"", "not an IDX file"),
        (GOOD + b"\0", "too long"),
        (b"<html>404</html>", "not an IDX file"),
        (idx(np.zeros(5, np.uint8)), "not an IDX file"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "cut short"),
        (idx(np.zeros((5, 20, 28), np.uint8)), "is not mnist"),
        (idx(np.zeros((4, 28, 28), np.uint8)), "is not mnist"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_idx_files_are_named(tmp_path, data, complaint, suffix):
    write_idx(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.unlink()
    path = path.with_name(path.name + suffix)
    path.write_bytes(gzip.compress(data) if suffix else data)
    with pytest.raises(DataError, match=complaint) as caught:
        open_dataset("mnist", data_root=tmp_path)
    assert str(path) in str(caught.value)


def test_damaged_gzip_and_labels_out_of_range(tmp_path):
    write_idx(tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 2, 3, 10], np.uint8)))
    with pytest.raises(DataError, match="label below 10"):
        open_dataset("mnist", data_root=tmp_path)
    for damaged in (gzip.compress(GOOD)[:-20], b"not gzip at all"):
        (raw / "train-images-idx3-ubyte").unlink(missing_ok=True)
        (raw / "train-images-idx3-ubyte.gz").write_bytes(damaged)
        with pytest.raises(DataError, match="can't be read"):
            open_dataset("mnist", data_root=tmp_path)


def test_the_published_mnist():
    root = real("MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/t10k-images-idx3-ubyte")
    train, test = (open_dataset("mnist", data_root=root, split=split) for split in ("train", "test"))
    header = struct.pack(">IIII", 2051, 60_000, 28, 28)
    assert hashlib.md5(header + train.images.tobytes()).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.images.shape == (10_000, 28, 28, 1) and test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert len(train) == DATASETS["mnist"].num_images


# Stacked MNIST


def test_stacked_digits_are_three_of_mnist_as_colours(tmp_path):
    for prefix, num in (("train", 300), ("t10k", 90)):
        write_idx(tmp_path, prefix=prefix, num=num)
    assert is_on_disk("stacked-mnist", tmp_path)
    seen = {}
    for split in ("train", "test"):
        stacked = open_dataset("stacked-mnist", channels=3, data_root=tmp_path, split=split)
        digits = open_dataset("mnist", data_root=tmp_path, split=split)
        assert stacked.images.shape == (len(digits), 28, 28, 3) and stacked.images.flags.c_contiguous
        assert stacked.classes == () and not stacked.labels.any()
        known = {image.tobytes(): i for i, image in enumerate(digits.images)}
        rows = np.array([[known[image[..., c].tobytes()] for c in range(3)] for image in stacked.images])
        assert len(np.unique(rows)) > 0.9 * len(digits)  # each stands in three pictures, on average: e^-3 in none
        assert (rows[:, 0] == rows[:, 1]).mean() < 0.1 and (np.diff(rows[:, 0]) == 1).mean() < 0.1
        again = open_dataset("stacked-mnist", channels=3, data_root=tmp_path, split=split)
        assert np.array_equal(again.images, stacked.images)
        seen[split] = rows
    assert not np.array_equal(seen["train"][:90] % 90, seen["test"])
    assert not is_on_disk("stacked-mnist", tmp_path / "elsewhere")


def test_the_published_stacked_mnist_is_always_the_same():
    root = real("MNIST/raw/train-images-idx3-ubyte")
    stacked = open_dataset("stacked-mnist", channels=3, data_root=root)
    assert hashlib.sha256(stacked.images.tobytes()).hexdigest()[:16] == "18feff7dd308a831"
    assert len(stacked) == DATASETS["stacked-mnist"].num_images


# torchvision, as a stand-in that reads or fails as the real one does


@pytest.fixture
def stand_in(monkeypatch):
    """Replaces torchvision.datasets by classes that call the given function."""

    def install(constructor) -> None:
        package, datasets = types.ModuleType("torchvision"), types.ModuleType("torchvision.datasets")
        for name in ("MNIST", "FashionMNIST", "CIFAR10"):
            setattr(datasets, name, constructor)
        monkeypatch.setitem(sys.modules, "torchvision", package)
        monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)

    return install


def fail_import(monkeypatch, error: Exception) -> None:
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "torchvision":
                raise error

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


def test_torchvision_is_asked_once_and_then_never_again(tmp_path, stand_in, capsys, monkeypatch, cache_folder):
    pixels, calls = np.stack([noise(i) for i in range(4)]), []

    def download(root, train, download):
        calls.append((root, train, download))
        print("100%|#####| downloading")
        return types.SimpleNamespace(data=pixels.transpose(0, 1, 2, 3)[::-1], targets=[3, 2, 1, 0])

    stand_in(download)
    assert not is_on_disk("cifar10", tmp_path)
    first = open_dataset("cifar10", image_size=32, channels=3, data_root=tmp_path)
    assert calls == [(str(tmp_path), True, True)]
    assert capsys.readouterr().out == ""
    assert is_on_disk("cifar10", tmp_path)
    fail_import(monkeypatch, ModuleNotFoundError("No module named 'torchvision'"))
    again = open_dataset("cifar10", image_size=32, channels=3, data_root=tmp_path)
    for dataset in (first, again):
        assert np.array_equal(dataset.images, pixels[::-1]) and dataset.labels.tolist() == [3, 2, 1, 0]
        assert dataset.images.flags.c_contiguous and dataset.images.flags.writeable
        assert dataset.labels.dtype == np.int64 and dataset.classes == DATASETS["cifar10"].classes
    assert [path.name for path in cache_folder.iterdir()] == ["cifar10-train.npz"]
    with pytest.raises(DataError):  # the other split was not fetched
        open_dataset("cifar10", data_root=tmp_path, split="test")


def test_mnist_through_torchvision(tmp_path, stand_in):
    images = noise(0, 28, 5).transpose(2, 0, 1)

    def download(root, train, download):
        assert not train
        return types.SimpleNamespace(data=images, targets=np.arange(5))

    stand_in(download)
    dataset = open_dataset("mnist", data_root=tmp_path, split="test")
    assert np.array_equal(dataset.images[..., 0], images)


def test_is_on_disk_knows_what_torchvision_has_fetched(tmp_path, monkeypatch):
    assert is_on_disk("mnist-5k", tmp_path)
    assert not any(is_on_disk(name, tmp_path) for name in ("mnist", "fashion-mnist", "cifar10"))
    write_idx(tmp_path)
    assert is_on_disk("mnist", tmp_path) and not is_on_disk("fashion-mnist", tmp_path)
    write(tmp_path, {"cifar-10-batches-py/data_batch_5": b""})
    monkeypatch.setattr(standard.importlib.util, "find_spec", lambda name: None)
    assert not is_on_disk("cifar10", tmp_path)
    monkeypatch.setattr(standard.importlib.util, "find_spec", lambda name: object())
    assert is_on_disk("cifar10", tmp_path)
    assert is_on_disk(str(tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'torchvision'"),
        RuntimeError("operator torchvision::nms does not exist"),
        OSError("libcudart.so.13: cannot open shared object file"),
    ],
)
def test_torchvision_that_does_not_import(tmp_path, monkeypatch, error):
    fail_import(monkeypatch, error)
    monkeypatch.setattr(standard.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    with pytest.raises(DataError) as caught:
        open_dataset("mnist", data_root=tmp_path)
    for part in (
        str(error),
        "torch 2.13.0+cpu",
        str(tmp_path / "MNIST" / "raw"),
        "train-images-idx3-ubyte",
        "mnist-5k",
    ):
        assert part in str(caught.value)
    with pytest.raises(DataError, match="folder or zip of its images"):
        open_dataset("cifar10", data_root=tmp_path)


def test_neither_torch_nor_torchvision(tmp_path, monkeypatch):
    def version(name):
        raise standard.importlib.metadata.PackageNotFoundError(name)

    fail_import(monkeypatch, ModuleNotFoundError("No module named 'torchvision'"))
    monkeypatch.setattr(standard.importlib.metadata, "version", version)
    with pytest.raises(DataError, match=r"torch \(not installed either\)"):
        open_dataset("mnist", data_root=tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("Temporary failure in name resolution"),
        RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried a mirror"),
        EOFError("Compressed file ended"),
        PermissionError(13, "Permission denied"),
    ],
)
def test_a_download_that_fails(tmp_path, stand_in, error, cache_folder):
    def download(root, train, download):
        raise error

    stand_in(download)
    with pytest.raises(DataError) as caught:
        open_dataset("fashion-mnist", data_root=tmp_path, split="test")
    for part in (
        str(tmp_path / "FashionMNIST" / "raw"),
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
        "mnist-5k",
    ):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=f"put cifar-10-python.tar.gz into {tmp_path}"):
        open_dataset("cifar10", data_root=tmp_path)
    assert not cache_folder.exists()


@pytest.fixture
def torchvision():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchvision.datasets
    except Exception as error:
        pytest.skip(f"torchvision does not import: {type(error).__name__}: {error}")
    return torchvision


def test_real_torchvision_reads_its_cifar10(tmp_path, torchvision, monkeypatch):
    rows = np.arange(5 * 3072, dtype=np.int64).reshape(5, 3072) % 251
    batch = {"data": rows.astype(np.uint8), "labels": [9, 0, 4, 4, 2]}
    write(tmp_path / "cifar-10-batches-py", {"tiny": pickle.dumps(batch), "meta": pickle.dumps({"label_names": []})})
    md5 = {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in (tmp_path / "cifar-10-batches-py").iterdir()}
    for field in ("train_list", "test_list"):
        monkeypatch.setattr(torchvision.datasets.CIFAR10, field, [["tiny", md5["tiny"]]])
    meta = {"filename": "meta", "key": "label_names", "md5": md5["meta"]}
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "meta", meta)
    dataset = open_dataset("cifar10", image_size=32, channels=3, data_root=tmp_path)
    # A row of CIFAR-10 holds 1,024 red, then 1,024 green, then 1,024 blue values, each row by row.
    assert dataset.images[2, 5, 7].tolist() == [rows[2, plane * 1024 + 5 * 32 + 7] for plane in range(3)]
    assert dataset.labels.tolist() == batch["labels"]


def test_real_torchvision_without_a_network(tmp_path, torchvision, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError, match="could not be fetched"):
        open_dataset("mnist", data_root=tmp_path)


def test_real_torchvision_reads_the_same_mnist(torchvision):
    root = real("MNIST/raw/train-images-idx3-ubyte")
    theirs = torchvision.datasets.MNIST(str(root), train=False, download=False)
    ours = open_dataset("mnist", data_root=root, split="test")
    assert np.array_equal(ours.images[..., 0], theirs.data.numpy())
    assert np.array_equal(ours.labels, theirs.targets.numpy())


def test_opening_data_imports_no_torch(tmp_path):
    write_idx(tmp_path)
    code = (
        "import sys, ganlab.data as d\n"
        "d.open_dataset('mnist-5k'); d.open_dataset('mnist'); d.is_on_disk('cifar10')\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(REPO), "GANLAB_DATA": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


# The cache


def damaged(data: bytes) -> list[bytes]:
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
    other = []
    for save, array in ((np.savez, np.array(["x"], dtype=object)), (np.savez, np.zeros(3)), (np.save, np.zeros(3))):
        buffer = io.BytesIO()
        save(buffer, array)
        other.append(buffer.getvalue())
    return [flipped, data[:middle], b"", b"hello", *other]


def test_the_second_opening_decodes_nothing(tmp_path, monkeypatch, cache_folder):
    contents = {f"{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(10)} | {"cat/bad.png": b"bad"}
    for path in (write(tmp_path / "pets", contents), write_zip(tmp_path / "pets.zip", contents)):
        first = opened(path)
        with monkeypatch.context() as patch:
            patch.setattr(folder, "decode", lambda *args: pytest.fail("decoded again"))
            again = opened(path)
        assert np.array_equal(again.images, first.images) and np.array_equal(again.labels, first.labels)
        assert again.classes == first.classes == ("cat", "dog") and again.name == first.name == "pets"
        assert again.skipped == first.skipped != ()
        assert again.images.flags.writeable
    assert len(list(cache_folder.iterdir())) == 2


def test_a_change_of_the_data_or_of_the_shape_is_noticed(tmp_path, cache_folder):
    root = write(tmp_path / "flat", pictures())
    opened(root)
    write(root, {"0.png": encode(noise(50))})
    assert np.array_equal(opened(root).images[0], noise(50))
    write(root, {"4.png": encode(noise(4))})
    assert len(opened(root)) == 5
    (root / "4.png").rename(root / "00.png")
    assert np.array_equal(opened(root).images[1], noise(4))
    assert len(list(cache_folder.iterdir())) == 1  # outdated copies are replaced, not kept
    assert opened(root, image_size=28, channels=1).images.shape == (5, 28, 28, 1)
    assert opened(root).images.shape == (5, 32, 32, 3)
    packed = write_zip(tmp_path / "packed.zip", pictures(4))
    opened(packed)
    write_zip(packed, pictures(6))
    assert len(opened(packed)) == 6


def test_a_damaged_cache_is_made_again(tmp_path, cache_folder, caplog):
    root = write(tmp_path / "flat", pictures())
    opened(root)
    (kept,) = cache_folder.iterdir()
    good = kept.read_bytes()
    for data in damaged(good):
        kept.write_bytes(data)
        caplog.clear()
        assert np.array_equal(opened(root).images, np.stack([noise(i) for i in range(4)]))
        assert str(kept) in caplog.text
        assert kept.read_bytes() == good


def test_a_cache_that_can_not_be_written_is_no_obstacle(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("GANLAB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = write(tmp_path / "flat", pictures())
    blocked = write(tmp_path, {"blocked": b"", "home/.cache": b""}) / "blocked"
    assert len(opened(root, data_root=blocked)) == 4
    assert "could not be cached" in caplog.text
    (tmp_path / "home" / ".cache").unlink()
    opened(root, data_root=blocked)
    assert len(list((tmp_path / "home" / ".cache" / "ganlab").iterdir())) == 1
    opened(root, data_root=tmp_path / "writable")
    assert not (tmp_path / "writable").exists()  # it was found in the other place
    write(root, {"4.png": encode(noise(4))})
    opened(root, data_root=tmp_path / "writable")
    assert len(list((tmp_path / "writable" / "cache").iterdir())) == 1


# Folders and zips: what counts as a class, and in which order


@pytest.fixture(params=["folder", "zip"])
def pack(request, tmp_path):
    """Writes the same contents as a folder or as a zip."""

    def make(contents: dict[str, bytes], name: str = "pack") -> Path:
        if request.param == "folder":
            return write(tmp_path / name, contents)
        shuffled = list(contents.items())
        random.Random(0).shuffle(shuffled)
        return write_zip(tmp_path / f"{name}.zip", dict(shuffled))

    return make


def test_a_sub_folder_a_class(pack):
    names = ["10/a.png", "2/b2.png", "2/b10.png", "9/deep/er/c.PNG"]
    dataset = opened(pack({name: encode(noise(i)) for i, name in enumerate(names)}))
    assert dataset.classes == ("2", "9", "10")
    assert dataset.labels.tolist() == [0, 0, 1, 2]
    assert np.array_equal(dataset.images, np.stack([noise(i) for i in (1, 2, 3, 0)]))
    assert dataset.name == "pack"


@pytest.mark.parametrize("wrapper", ["", "photos/", "train/", "a/b/c/"])
def test_images_without_classes_in_any_wrapper(pack, wrapper):
    dataset = opened(pack({wrapper + name: data for name, data in pictures().items()}))
    assert dataset.classes == () and dataset.labels.tolist() == [0] * 4
    assert np.array_equal(dataset.images, np.stack([noise(i) for i in range(4)]))
    with pytest.raises(DataError, match="no 'test' split"):
        opened(pack({wrapper + name: data for name, data in pictures().items()}, "again"), split="test")


@pytest.mark.parametrize("wrapper", ["pets/", "train/", "pets/train/"])
def test_classes_in_a_wrapper(pack, wrapper):
    dataset = opened(pack({f"{wrapper}{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(2)}))
    assert dataset.classes == ("cat", "dog") and dataset.labels.tolist() == [0, 0, 1, 1]


def test_train_and_test_folders_are_splits_not_classes(pack):
    path = pack(
        {f"pets/train/{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(3)}
        | {f"pets/test/all/{c}/{i}.png": encode(noise(9 + i)) for c in ("cat", "dog") for i in range(2)}
    )
    train, test = opened(path), opened(path, split="test")
    assert (len(train), len(test)) == (6, 4)
    assert train.classes == test.classes == ("cat", "dog")
    assert np.array_equal(test.images[0], noise(9))
    with pytest.raises(DataError, match="no 'val' split"):
        opened(path, split="val")


def test_what_operating_systems_leave_behind_is_ignored(pack):
    clutter = [
        "__MACOSX/cat/._1.png",
        "__MACOSX/cat/1.png",
        ".hidden/1.png",
        ".1.png",
        "Thumbs.db",
        "cat/.DS_Store",
        "readme.txt",
    ]
    contents = {f"{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(2)}
    dataset = opened(pack({"pets/" + name: data for name, data in contents.items()} | dict.fromkeys(clutter, b"x")))
    assert dataset.classes == ("cat", "dog") and len(dataset) == 4 and dataset.skipped == ()


def test_pictures_beside_class_folders_are_reported(pack):
    contents = {f"{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(5)}
    dataset = opened(pack(contents | {"cover.png": encode(noise(0))}))
    assert len(dataset) == 10
    assert dataset.skipped == ("cover.png: lies beside the class folders, not in one",)


@pytest.mark.parametrize("contents", [{}, {"notes.txt": b"hello"}, {"cat/notes.txt": b"hello"}])
def test_no_images_at_all(pack, tmp_path, contents):
    (tmp_path / "pack").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        opened(pack(contents))


def test_a_single_image(pack):
    with pytest.raises(DataError, match="too few images: 1"):
        opened(pack(pictures(1)))


def test_names_that_are_no_text(tmp_path):
    for i in range(3):
        folder_name = os.fsencode(tmp_path) + b"/odd/\xff%d" % (i % 2)
        os.makedirs(folder_name, exist_ok=True)
        with open(folder_name + b"/%d.png" % i, "wb") as file:
            file.write(encode(noise(i)))
    dataset = opened(tmp_path / "odd")
    assert np.array_equal(dataset.images, np.stack([noise(i) for i in (0, 2, 1)]))
    assert [name.encode("utf-8") for name in dataset.classes] == [b"?0", b"?1"]


def test_test_pictures_beside_train_pictures(tmp_path):
    for split, num in (("train", 4), ("test", 3)):
        write(tmp_path / split, {f"{c}/{i}.png": encode(noise(i + num)) for c in ("cat", "dog") for i in range(num)})
    train, test = opened(tmp_path / "train"), opened(tmp_path / "train", split="test")
    assert (len(train), len(test)) == (8, 6) and test.classes == ("cat", "dog")
    assert np.array_equal(test.images, opened(tmp_path / "test").images)
    (tmp_path / "train").rename(tmp_path / "pictures")  # another name promises nothing
    with pytest.raises(NoSplit):
        opened(tmp_path / "pictures", split="test")


# What pictures are known by


def test_an_identity_changes_with_the_pictures_and_only_with_them(tmp_path):
    def of(path="train", **changes):
        data = path if path in DATASETS else str(tmp_path / path)
        return ganlab.data.identity(data, **{"image_size": 32, "channels": 3, **changes})

    write(tmp_path / "train", {f"{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(3)})
    first = of()
    assert of() == first and of(classes=["DOG "]) == of(classes=["dog"])
    others = [of(channels=1), of(image_size=28), of(classes=["dog"]), of("mnist"), of("cifar10")]
    write(tmp_path / "train", {"cat/9.png": encode(noise(9))})
    others.append(of())
    write(tmp_path / "test", {"cat/1.png": encode(noise(1))})  # the test pictures, beside
    others.append(of())
    assert len({first, *others}) == 1 + len(others)
    with pytest.raises(DataError, match="no data set, folder or zip"):
        of("nowhere")


# Pixels


def test_every_lossless_format_is_exact(tmp_path):
    rgb, grey = noise(1), noise(2, channels=1)
    for form, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {})):
        suffix = {"TIFF": "tif"}.get(form, form.lower())
        assert np.array_equal(one(tmp_path, encode(rgb, form, **options), f"x.{suffix}"), rgb), form
        assert np.array_equal(one(tmp_path, encode(grey, form, **options), f"x.{suffix}", channels=1), grey), form
    colours = Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32))  # 256 greys fit a GIF's palette
    assert np.array_equal(one(tmp_path, encode(colours, "GIF"), "x.gif", channels=1)[..., 0], np.asarray(colours))
    jpeg = one(tmp_path, encode(Image.new("RGB", (32, 32), (200, 100, 50)), "JPEG", quality=95), "x.JPEG")
    assert np.abs(jpeg.astype(int) - (200, 100, 50)).max() <= 2


def test_colour_to_grey_is_the_luma_of_itu_r_601(tmp_path):
    rgb = noise(3)
    expected = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(one(tmp_path, encode(rgb), channels=1)[..., 0] - expected).max() <= 0.51
    grey = one(tmp_path, encode(noise(4, channels=1)))
    assert np.array_equal(grey, np.repeat(noise(4, channels=1), 3, axis=2))


def test_transparency_turns_white(tmp_path):
    alpha = np.zeros((32, 32, 4), np.uint8)
    alpha[..., 0] = 255
    alpha[:, 16:, 3], alpha[:, 8:16, 3] = 255, 128
    row = one(tmp_path, encode(alpha))[0]
    assert row[0].tolist() == [255, 255, 255] and row[31].tolist() == [255, 0, 0]
    assert row[10, 0] == 255 and abs(int(row[10, 1]) - 127) <= 1
    palette = Image.fromarray((np.arange(1024) // 512).astype(np.uint8).reshape(32, 32), "L").convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 200])
    for form in ("PNG", "GIF"):
        pixels = one(tmp_path, encode(palette, form, transparency=0), f"x.{form.lower()}")
        assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[31, 0].tolist() == [0, 0, 200], form
    grey_alpha = Image.merge("LA", [Image.new("L", (32, 32), 90), Image.new("L", (32, 32), 0)])
    assert one(tmp_path, encode(grey_alpha), channels=1).min() == 255


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, form, order):
    values = np.linspace(0, 65535, 1024).reshape(32, 32)
    data = encode(Image.fromarray(values.astype(order)), form)
    pixels = one(tmp_path, data, f"x.{form.lower()}", channels=1)[..., 0]
    assert np.abs(pixels - values / 65535 * 255).max() <= 0.51
    assert pixels.min() == 0 and pixels.max() == 255


def test_other_modes(tmp_path):
    cmyk = encode(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "TIFF")  # no cyan, full magenta and yellow: red
    assert one(tmp_path, cmyk, "x.tiff")[0, 0].tolist() == [255, 0, 0]
    bits = (np.indices((32, 32)).sum(0) % 2).astype(bool)
    assert np.array_equal(one(tmp_path, encode(Image.fromarray(bits)), channels=1)[..., 0], bits * np.uint8(255))
    lab = encode(Image.new("LAB", (32, 32), (255, 128, 128)), "TIFF")  # full lightness, no colour
    assert one(tmp_path, lab, "x.tif", channels=1).min() > 250


@pytest.mark.parametrize("values", [np.full((32, 32), 0.5, np.float32), np.full((32, 32), 70_000, np.int32)])
def test_pixels_of_unknown_range_are_refused(tmp_path, values):
    root = write(tmp_path / "odd", {f"{i}.tiff": encode(Image.fromarray(values), "TIFF") for i in range(3)})
    with pytest.raises(DataError, match="save it with 8 or 16 bits"):
        opened(root)


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("JPEG", {"quality": 95}), ("TIFF", {})])
def test_exif_orientation_is_respected(tmp_path, form, options):
    top_red = Image.new("RGB", (32, 32))
    top_red.paste((255, 0, 0), (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter, so that the top comes to the right
    pixels = one(tmp_path, encode(top_red, form, exif=exif, **options), f"x.{form.lower()}")
    assert pixels[4, 28, 0] > 250 and pixels[28, 28, 0] > 250
    assert pixels[4, 4, 0] < 5 and pixels[28, 4, 0] < 5


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation(tmp_path, form):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encode(
        frames[0], form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {})
    )
    assert one(tmp_path, data, f"x.{form.lower()}").reshape(-1, 3).tolist() == [[255, 0, 0]] * 1024


@pytest.mark.parametrize(("width", "height"), [(32, 50), (51, 32)])
def test_only_the_centre_is_kept_and_exactly(tmp_path, width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    left, top = (width - 32) // 2, (height - 32) // 2
    assert np.array_equal(one(tmp_path, encode(pixels)), pixels[top : top + 32, left : left + 32])


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_large_pictures_are_averaged_not_sampled(tmp_path, form):
    """A fine chessboard must turn grey, and halves must stay halves."""
    board = (np.indices((1600, 2400)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(one(tmp_path, encode(board, form), f"x.{form.lower()}", channels=1).astype(int) - 127).max() <= 3
    half = np.zeros((1600, 2400), np.uint8)
    half[:800] = 255
    pixels = one(tmp_path, encode(half, form), f"x.{form.lower()}", channels=1)
    assert pixels[:14].min() >= 245 and pixels[18:].max() <= 10


def test_a_jpeg_is_not_shrunk_below_what_is_needed(tmp_path):
    """Its decoder offers quick shrinking by 2, 4 and 8."""
    bars = np.repeat(np.arange(32, dtype=np.uint8) % 2 * 255, 4)[:, None].repeat(128, axis=1)
    pixels = one(tmp_path, encode(bars, "JPEG", quality=95), "x.jpg", channels=1)[..., 0].astype(int)
    assert pixels[2:-2:2].max() < 60 and pixels[3:-1:2].min() > 195


def test_extreme_shapes(tmp_path):
    assert one(tmp_path, encode(Image.new("RGB", (1, 1), (9, 8, 7))))[31, 31].tolist() == [9, 8, 7]
    tracemalloc.start()
    strip = one(tmp_path, encode(Image.new("RGB", (1, 30_000), (9, 8, 7))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert strip[0, 0].tolist() == [9, 8, 7]
    assert peak < 50e6


# Bad files


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that promises a huge picture in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


BAD = {
    "text.png": (b"I am a picture, honestly.", "not an image"),
    "empty.jpg": (b"", "not an image"),
    "half.png": (encode(noise(0))[:1500], "truncated"),
    "half.jpg": (encode(noise(0, 64), "JPEG")[:900], "truncated"),
    "half.webp": (encode(noise(0), "WEBP", lossless=True)[:1500], ""),
    "half.bmp": (encode(noise(0), "BMP")[:1500], "truncated"),
    "over.png": (header_only_png(8_100, 8_100), "8100 x 8100 is more than 64 megapixels"),
    "bomb.png": (header_only_png(10_000, 10_000), "pixels"),
    "bomber.png": (header_only_png(50_000, 50_000), "pixels"),
    "web.svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_few_bad_files_are_skipped_and_named(pack, name):
    data, reason = BAD[name]
    dataset = opened(pack(pictures(9) | {f"zz-{name}": data}))
    assert np.array_equal(dataset.images, np.stack([noise(i) for i in range(9)]))
    (line,) = dataset.skipped
    assert line.startswith(f"zz-{name}: ") and reason in line and "<" not in line


@pytest.mark.filterwarnings("default")
def test_a_bomb_is_skipped_whatever_the_warning_filters(pack):
    with pytest.warns(Image.DecompressionBombWarning):
        assert "64 megapixels" in opened(pack(pictures(9) | {"zz.png": BAD["bomb.png"][0]})).skipped[0]


def test_more_than_a_tenth_of_bad_files_is_refused(pack):
    bad = {f"bad{i}.png": b"bad" for i in range(5)}
    with pytest.raises(DataError, match="5 of 49 files can't be read") as caught:
        opened(pack(pictures(44) | bad))
    assert all(f"bad{i}.png: not an image" in str(caught.value) for i in range(3))
    assert "bad3.png" not in str(caught.value)
    assert len(opened(pack(pictures(45) | bad, "fewer")).skipped) == 5


def test_a_class_without_a_readable_picture_is_no_class(pack):
    contents = {f"{c}/{i}.png": encode(noise(i)) for c in ("ant", "cat") for i in range(9)} | {"bee/1.png": b"bad"}
    dataset = opened(pack(contents))
    assert dataset.classes == ("ant", "cat") and set(dataset.labels.tolist()) == {0, 1}


def test_oversized_files_are_not_read(pack, monkeypatch):
    for module in (files, archive):
        monkeypatch.setattr(module, "MAX_FILE_BYTES", 10_000)
    dataset = opened(pack(pictures(9) | {"zz.png": encode(noise(0, 100))}))
    assert dataset.skipped[0].startswith("zz.png: larger than")


def test_links_that_leave_the_folder_are_not_followed(tmp_path):
    outside = write(tmp_path / "outside", pictures(2))
    root = write(tmp_path / "root", {f"{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(20)})
    (root / "cat" / "out.png").symlink_to(outside / "0.png")
    (root / "elsewhere").symlink_to(outside)
    (root / "felines").symlink_to(root / "cat")
    (root / "cat" / "loop.png").symlink_to("loop.png")
    (root / "cat" / "inside.png").symlink_to(root / "dog" / "3.png")
    dataset = opened(root)
    assert dataset.classes == ("cat", "dog") and np.bincount(dataset.labels).tolist() == [21, 20]
    reasons = dict(line.split(": ", 1) for line in dataset.skipped)
    assert reasons.keys() == {"cat/out.png", "elsewhere", "felines", "cat/loop.png"}
    assert all("not followed" in reasons[name] for name in ("cat/out.png", "elsewhere", "felines"))
    (tmp_path / "alias").symlink_to(root)  # the folder that the person names may be a link
    assert len(opened(tmp_path / "alias")) == 41


def test_pipes_are_not_waited_for(tmp_path):
    root = write(tmp_path / "root", pictures(9))
    os.mkfifo(root / "pipe.png")
    assert opened(root).skipped == ("pipe.png: not a regular file",)
    with pytest.raises(DataError, match="no data set, folder or zip"):
        opened(root / "pipe.png")


@pytest.fixture
def open_ground():
    """A folder that another user may enter, and a block in which this process has no more rights than anybody."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)

    @contextlib.contextmanager
    def as_anybody():
        mine = os.geteuid()
        if mine == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(mine)

    yield root, as_anybody
    shutil.rmtree(root)


def test_permission_denied(open_ground, monkeypatch):
    root, as_anybody = open_ground
    monkeypatch.setenv("GANLAB_CACHE", str(root / "cache"))
    write(root / "one", pictures(10))
    write(root / "closed", {f"{c}/{i}.png": encode(noise(i)) for c in ("cat", "dog") for i in range(2)})
    (root / "one" / "9.png").chmod(0)
    (root / "closed" / "cat").chmod(0)
    write_zip(root / "closed.zip", pictures()).chmod(0)
    with as_anybody():
        assert opened(root / "one").skipped == ("9.png: Permission denied",)
        with pytest.raises(DataError, match="closed/cat can't be listed: Permission denied"):
            opened(root / "closed")
        with pytest.raises(DataError, match="closed.zip can't be opened: Permission denied"):
            opened(root / "closed.zip")
    (root / "closed" / "cat").chmod(0o755)


# Hostile zips


@pytest.mark.parametrize("data", [b"", b"PK", b"\x1f\x8b tar", encode(noise(0))])
def test_not_a_zip(tmp_path, data):
    with pytest.raises(DataError, match=r"data\.zip is not a zip archive.*Give a folder or a zip"):
        opened(write(tmp_path, {"data.zip": data}) / "data.zip")


def test_a_zip_cut_short(tmp_path):
    path = write_zip(tmp_path / "cut.zip", pictures(20))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="incomplete"):
        opened(path)


def test_damage_inside_a_zip_is_noticed(tmp_path):
    path = write_zip(tmp_path / "rot.zip", pictures(20), zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as whole:
        data[whole.getinfo("7.png").header_offset + 1000] ^= 0xFF
    path.write_bytes(data)
    dataset = opened(path)
    assert len(dataset) == 19 and dataset.skipped[0].startswith("7.png: ")


@pytest.mark.parametrize(
    "name", ["/etc/a.png", "../a.png", "cat/../../a.png", "cat\\a.png", "..\\a.png", "C:/a.png", "c:a.png", "cat/.."]
)
def test_paths_that_leave_the_zip(tmp_path, name):
    with pytest.raises(DataError, match="leads outside") as caught:
        opened(write_zip(tmp_path / "evil.zip", pictures() | {name: encode(noise(0))}))
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["..a.png", "a..b/c.png", "cat/...png"])
def test_dots_in_names_are_no_attack(tmp_path, name):
    contents = {f"cat/{i}.png": encode(noise(i)) for i in range(10)} | {name: encode(noise(0))}
    assert len(opened(write_zip(tmp_path / "dots.zip", contents))) >= 10


def test_zip_bombs_are_refused_unread(tmp_path, monkeypatch):
    zeros = write_zip(tmp_path / "ratio.zip", pictures() | {"zeros.png": bytes(20 * 2**20)})
    many = write_zip(
        tmp_path / "total.zip",
        {f"{i}.png": b"x" for i in range(5)},
        forge=lambda members: [setattr(member, "file_size", 2**30 - 1) for member in members.values()],
    )
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args, **options: pytest.fail("read a member"))
    with pytest.raises(DataError, match="looks like a zip bomb: 'zeros.png'"):
        opened(zeros)
    with pytest.raises(DataError, match=r"would unpack to 5\.0 GiB; at most 4"):
        opened(many)
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with pytest.raises(DataError, match="holds 5 files; at most 3"):
        opened(many)


def test_a_member_longer_than_its_header_says_is_not_unpacked(tmp_path):
    def forge(members):
        members["liar.png"].file_size = 1000

    path = write_zip(tmp_path / "liar.zip", pictures(20) | {"liar.png": bytes(100 * 2**20)}, forge=forge)
    tracemalloc.start()
    dataset = opened(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dataset) == 20 and dataset.skipped[0].startswith("liar.png: ")
    assert peak < 10e6


def test_an_encrypted_zip(tmp_path):
    def forge(members):
        members["2.png"].flag_bits |= 1

    with pytest.raises(DataError, match=r"is encrypted \('2\.png'\).*password"):
        opened(write_zip(tmp_path / "secret.zip", pictures(), forge=forge))


def test_links_in_a_zip_are_not_followed(tmp_path):
    def forge(members):
        members["link.png"].create_system = 3
        members["link.png"].external_attr = 0o120777 << 16

    path = write_zip(tmp_path / "link.zip", pictures(9) | {"link.png": b"/etc/passwd"}, forge=forge)
    assert opened(path).skipped == ("link.png: a link, not followed",)


def test_a_zip_inside_a_zip(tmp_path):
    inner = write_zip(tmp_path / "inner.zip", pictures()).read_bytes()
    with pytest.raises(DataError, match="inner.zip: a zip inside the zip.*unpack it first"):
        opened(write_zip(tmp_path / "outer.zip", {"inner.zip": inner}))
    dataset = opened(write_zip(tmp_path / "mixed.zip", pictures(9) | {"inner.zip": inner}))
    assert len(dataset) == 9 and "inner.zip" in dataset.skipped[0]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_limit_are_not_read(tmp_path, method):
    with pytest.raises(DataError, match="uncommon compression"):
        opened(write_zip(tmp_path / "odd.zip", pictures(), method))


def test_nothing_is_unpacked_to_disk(tmp_path, cache_folder):
    path = write_zip(tmp_path / "pets.zip", {f"cat/{name}": data for name, data in pictures().items()})
    opened(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"pets.zip", "cache"}
    assert all(entry.suffix == ".npz" for entry in cache_folder.iterdir())


def test_any_damage_to_a_zip_is_a_data_error_or_skipped(tmp_path):
    """Hundreds of random single-byte changes: never another exception."""
    good = write_zip(tmp_path / "good.zip", {f"{i}.png": encode(noise(i, 8)) for i in range(12)}).read_bytes()
    draw = random.Random(0)
    outcomes = set()
    for i in range(300):
        data = bytearray(good)
        # Half of the changes hit the central directory at the end, where zipfile does its parsing.
        data[draw.randrange(len(data) - 700 if i % 2 else 0, len(data))] = draw.randrange(256)
        path = tmp_path / f"{i}.zip"
        path.write_bytes(data)
        with contextlib.suppress(DataError):
            outcomes.add(len(opened(path, image_size=8)))
            continue
        outcomes.add("refused")
    assert outcomes > {12, 11, "refused"}  # fewer too, where the list of members itself is hit


def test_the_cifar10_zip_is_read_exactly():
    path = real("cifar10/test.zip") / "cifar10" / "test.zip"
    dataset = opened(path)
    assert dataset.images.shape == (10_000, 32, 32, 3) and dataset.skipped == ()
    assert dataset.classes == DATASETS["cifar10"].classes
    assert np.bincount(dataset.labels).tolist() == [1000] * 10
    with zipfile.ZipFile(path) as source:
        names = sorted(name for name in source.namelist() if name.endswith(".webp"))
        for i in range(0, 10_000, 997):
            assert np.array_equal(dataset.images[i], np.asarray(Image.open(io.BytesIO(source.read(names[i])))))
            assert dataset.classes[dataset.labels[i]] == names[i].split("/")[0]


def test_cifar10_is_found_as_zips_of_pictures(tmp_path):
    def pack(split: str, classes: tuple[str, ...]) -> None:
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "cifar10" / f"{split}.zip", "w") as archive:
            for i, name in enumerate(classes):
                buffer = io.BytesIO()
                Image.new("RGB", (32, 32), (i, 2 * i, 3 * i)).save(buffer, "PNG")
                archive.writestr(f"{split}/{name}/0.png", buffer.getvalue())

    classes = DATASETS["cifar10"].classes
    pack("train", classes)
    pack("test", classes[::-1])
    assert is_on_disk("cifar10", tmp_path)
    for split, shade in (("train", lambda i: i), ("test", lambda i: 9 - i)):
        dataset = open_dataset("cifar10", image_size=32, channels=3, data_root=tmp_path, split=split)
        assert dataset.classes == classes and dataset.labels.tolist() == list(range(10))
        assert [tuple(image[0, 0]) for image in dataset.images] == [
            (shade(i), 2 * shade(i), 3 * shade(i)) for i in range(10)
        ]
    pack("train", ("cat", "dog"))
    with pytest.raises(DataError, match="train.zip is not cifar10: its folders are cat, dog"):
        open_dataset("cifar10", image_size=32, channels=3, data_root=tmp_path)


def test_public_names():
    assert set(ganlab.data.__all__) == {
        *["DATASETS", "Dataset", "DatasetInfo", "identity", "is_at_hand", "is_on_disk", "open_dataset", "root_of"]
    }
    for name, info in DATASETS.items():
        assert info.label and info.num_images >= 5000, name
        assert bool(info.classes) == (name != "stacked-mnist")
