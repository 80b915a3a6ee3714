"""The nearest real pictures: exact, found in small bites, kept, and where an evaluation finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ganlab.data import open_dataset
from ganlab.evaluate import closest
from ganlab.evaluate.closest import RealPictures, at_hand
from ganlab.evaluate.extractors import choose
from ganlab.evaluate.reference import features_file, key_of
from ganlab.evaluate.report import Subject

FEW = Subject("mnist-5k", 28, 1, ("3", "7"))  # about a thousand pictures


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(closest, "BITE", 300)
    return tmp_path / "cache"


def looked_at(about: Subject) -> RealPictures:
    pictures = RealPictures(about)
    while pictures.share < 1:
        before = pictures.share
        pictures.advance()
        assert pictures.share > before
    return pictures


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All of them (N, M), one row at a time from differences."""
    flat = b.reshape(len(b), -1).astype(np.float64)
    return np.stack([np.sqrt(np.square(flat - row).sum(1)) for row in a.reshape(len(a), -1).astype(np.float64)])


def test_the_nearest_are_those_of_all_differences():
    pictures = looked_at(FEW)
    train = open_dataset("mnist-5k", classes=FEW.classes)
    image = (train.images[5] // 2 + train.images[9] // 2).astype(np.uint8)
    found = pictures.nearest(image, 4)
    extractor = choose("mnist-5k", FEW.shape, train.classes)
    for space, expected in {
        "pixels": distances(image[None] / 255, train.images / 255)[0],
        "features": distances(extractor.look(image[None])[0], extractor.look(train.images)[0])[0],
    }.items():
        assert found[space].indices.tolist() == np.argsort(expected)[:4].tolist()
        np.testing.assert_allclose(found[space].distances, np.sort(expected)[:4], rtol=1e-4)
        assert (found[space].images == train.images[found[space].indices]).all()


def test_real_pictures_are_compared_with_the_nearest_other_one():
    pictures = looked_at(FEW)
    train = pictures.train
    for space, points in {"pixels": train.images / 255, "features": pictures.extractor.look(train.images)[0]}.items():
        others = distances(points[pictures.sample], points)
        others[np.arange(len(pictures.sample)), pictures.sample] = np.inf
        np.testing.assert_allclose(pictures.others[space], others.min(1), rtol=1e-4)


def test_before_all_are_looked_at_there_are_the_nearest_by_pixels():
    pictures = RealPictures(FEW)
    assert pictures.share == 0 and pictures.others == {}
    near = pictures.nearest(pictures.train.images[7], 1)
    assert list(near) == ["pixels"] and near["pixels"].indices.tolist() == [7] and near["pixels"].distances[0] == 0


def test_a_look_is_kept_where_evaluations_keep_it(kept: Path):
    first = looked_at(FEW)
    file = kept / features_file(key_of(FEW, first.extractor), "train")
    with np.load(file) as arrays:
        assert (arrays["features"] == first.features).all() and arrays["classes"].shape == (len(first.train),)
    again = RealPictures(FEW)
    assert again.share == 1 and (again.features == first.features).all()
    assert all((again.others[space] == first.others[space]).all() for space in ("pixels", "features"))


def test_what_an_evaluation_kept_is_not_looked_at_again(kept: Path, monkeypatch: pytest.MonkeyPatch):
    looked_at(FEW)
    for file in (kept / "others").iterdir():
        file.unlink()
    pictures = RealPictures(FEW)
    monkeypatch.setattr(type(pictures.extractor), "look", None)
    while pictures.share < 1:
        pictures.advance()
    assert set(pictures.others) == {"pixels", "features"}


def test_pictures_that_no_network_knows_are_compared_by_pixels():
    pictures = looked_at(Subject("mnist-5k", 20, 1, ("3",)))
    assert pictures.extractor is None and set(pictures.others) == {"pixels"}
    assert set(pictures.nearest(pictures.train.images[0], 2)) == {"pixels"}


def test_a_bundled_part_stands_in_for_absent_data(tmp_path: Path):
    mnist = Subject("mnist", 28, 1, ())
    assert at_hand(mnist) == Subject("mnist-5k", 28, 1, ())
    assert at_hand(FEW) == FEW
    assert at_hand(Subject("fashion-mnist", 28, 1, ())) is None
    assert at_hand(Subject(str(tmp_path / "gone"), 28, 1, ())) is None
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("images-idx3", "labels-idx1"):
        (folder / f"train-{name}-ubyte").touch()
    assert at_hand(mnist) == mnist
