"""A whole evaluation on the bundled digits: its figures against independent implementations, its pictures against brute
force, and its folder in every state that a reader can find it in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial
import scipy.special
from conftest import REAL, REPO, write_generator
from prdc import compute_prdc

from ganlab.data import open_dataset
from ganlab.errors import ConfigError, DataError, RunError
from ganlab.evaluate import measure, report
from ganlab.evaluate.extractors import choose
from ganlab.evaluate.figures import figures
from ganlab.evaluate.generate import asked_classes
from ganlab.evaluate.measure import evaluate
from ganlab.evaluate.reference import open_reference
from ganlab.evaluate.report import Report, Status, find_report, folder_of, read_report, read_status, subject
from ganlab.render import Model, load_model

NUM = 300
ALL = [f"{name}_mnistnet_{NUM}" for name in (
    "fd", "kd", "precision", "recall", "density", "coverage", "agreement", "modes", "class_kl", "duplicates", "support"
)]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluations")


@pytest.fixture(autouse=True)
def kept(shared: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for all tests here: the features of the digits take a second. Evaluations differ by their seed."""
    monkeypatch.setenv("GANLAB_CACHE", str(shared / "cache"))
    return shared / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_generator(tmp_path / "tiny.safetensors"))


@pytest.fixture
def obedient(tmp_path: Path) -> Model:
    return load_model(write_generator(tmp_path / "classes.safetensors", num_classes=10))


@pytest.fixture
def made(obedient: Model) -> Report:
    return evaluate(obedient, num=NUM, num_threads=1)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_other_implementations(model: Model) -> None:
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    side = open_reference(subject(model), NUM, 3, None, 1, lambda doing, share: None)
    real, images = side.held.features, model.sample(NUM, 3)
    fake, classes = side.extractor.look(images)
    found = evaluate(model, num=NUM, seed=3, num_threads=1).metrics
    value = {name.partition("_mnistnet_")[0]: metric.value for name, metric in found.items()}
    inputs = [torch.from_numpy(x.astype(np.float64)) for x in (fake, real)]
    fid = fid_statistics_to_metric(*map(fid_features_to_statistics, inputs), verbose=False)[KEY_METRIC_FID]
    assert value["fd"] == pytest.approx(fid, rel=1e-4)
    kid = kid_features_to_metric(*inputs, kid_subsets=1, kid_subset_size=NUM, verbose=False)
    assert value["kd"] == pytest.approx(kid[KEY_METRIC_KID_MEAN], rel=1e-6)
    three, five = (compute_prdc(real.astype(float), fake.astype(float), nearest_k=k) for k in (3, 5))
    assert [value["precision"], value["recall"]] == pytest.approx([three["precision"], three["recall"]])
    assert [value["density"], value["coverage"]] == pytest.approx([five["density"], five["coverage"]])
    shares, expected = (np.bincount(c, minlength=10) / NUM for c in (classes, side.seen.classes[rows_of(side, real)]))
    assert value["class_kl"] == pytest.approx(scipy.special.rel_entr(shares, expected).sum())
    assert value["modes"] == len(set(classes.tolist()))
    apart = np.linalg.norm(fake[:, None].astype(float) - fake, axis=2)[np.triu_indices(NUM, 1)]
    assert value["duplicates"] == np.count_nonzero(apart <= side.held.threshold)


def rows_of(side: object, real: np.ndarray) -> list[int]:
    """Where the reference pictures lie in the training split, found by their features."""
    places = {row.tobytes(): i for i, row in enumerate(side.seen.features)}  # type: ignore[attr-defined]
    return [places[row.tobytes()] for row in real]


def test_pictures_of_the_data_reach_the_floor_and_noise_the_ceiling(model: Model) -> None:
    """The data's own pictures in the place of a model's are near the floor, uniform noise is not."""
    side = open_reference(subject(model), NUM, 0, None, 1, lambda doing, share: None)
    held = set(rows_of(side, side.held.features))
    rest = np.array([i for i in range(len(side.train)) if i not in held])
    chosen = np.random.default_rng(5).permutation(rest)[:NUM]
    digits = figures(side.extractor, side.held, *side.seen.of(chosen))
    noise = np.random.default_rng(0).integers(0, 256, (NUM, 28, 28, 1), np.uint8)
    static = figures(side.extractor, side.held, *side.extractor.look(noise), None)
    for name, good in (("fd", -1), ("kd", -1), ("precision", 1), ("recall", 1), ("coverage", 1)):
        floor, ceiling = side.floor[name].value, side.ceiling[name].value
        assert good * floor > good * ceiling, name
        assert abs(digits[name].value - floor) < 0.2 * abs(ceiling - floor), name
        assert abs(static[name].value - floor) > 0.2 * abs(ceiling - floor), name
    assert side.floor["agreement"].value > 0.98 and side.ceiling["agreement"].value < 0.3
    assert abs(side.floor["kd"].value) < 4 * side.floor["kd"].error
    assert side.floor["modes"].value == 10 and side.floor["class_kl"].value < 0.1


def test_of_pictures_without_structure_every_place_has_the_datas_values(model: Model, monkeypatch) -> None:
    looked = []
    extractor = choose("mnist-5k", (28, 28, 1), (), 1)
    real_look = type(extractor).look
    monkeypatch.setattr(
        type(extractor), "look", lambda self, images, *rest: (looked.append(images), real_look(self, images, *rest))[1]
    )
    side = open_reference(subject(model), 1000, 77, None, 1, lambda doing, share: None)
    noise, real = looked[-1], side.train.images[rows_of(side, side.held.features)]
    assert noise.shape == (1000, 28, 28, 1)
    values = [set(noise[:, y, x, 0].tolist()) <= set(real[:, y, x, 0].tolist()) for y in range(28) for x in range(28)]
    assert all(values)
    np.testing.assert_allclose(noise.mean(0), real.mean(0), atol=5 * 128 / 1000**0.5)
    # neighbours agree in the data and not here
    left, right = (x.reshape(-1) / 255 for x in (noise[:, 14, 13], noise[:, 14, 14]))
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.15 < np.corrcoef(real[:, 14, 13, 0], real[:, 14, 14, 0])[0, 1]


def test_the_floor_of_data_without_test_pictures_is_its_other_half(made: Report) -> None:
    assert made.data == {
        "name": "mnist-5k", "split": "a half of train", "num": NUM, "classes": list("0123456789"),
        "floor": {"split": "the other half of train", "num": NUM},
    }  # fmt: skip
    assert "the other half of train" in made.notes[0]


def test_reference_and_floor_share_no_picture(model: Model) -> None:
    side = open_reference(subject(model), 3000, 1, None, 1, lambda doing, share: None)
    assert len(side.held.features) == side.floor_num == 2500
    half = set(rows_of(side, side.held.features))
    assert len(half) == 2500
    other = open_reference(subject(model), NUM, 1, None, 1, lambda doing, share: None)
    assert set(rows_of(other, other.held.features)) < half  # of the same seed: a part of the same half


@pytest.mark.skipif(not (REAL / "MNIST/raw").is_dir(), reason=f"real data absent: MNIST (looked in {REAL})")
def test_the_floor_of_mnist_is_its_test_split(model: Model) -> None:
    found = evaluate(model, "mnist", num=1000, num_threads=1, pictures=False, data_root=REAL)
    assert found.data["split"] == "train" and found.data["floor"] == {"split": "test", "num": 1000}
    assert found.metrics["fd_mnistnet_1k"].floor < 3 and found.metrics["fd_mnistnet_1k"].ceiling > 100


# --- classes ---------------------------------------------------------------------------------------------------------


def test_agreement_is_counted_class_by_class(obedient: Model, made: Report) -> None:
    data = open_dataset("mnist-5k")
    seeds = np.arange(NUM)
    asked = asked_classes(obedient, seeds, data)
    assert asked is not None
    _, seen = choose("mnist-5k", (28, 28, 1), data.classes, 1).look(obedient.generate(obedient.z(range(NUM)), asked))
    metric = made.metrics[f"agreement_mnistnet_{NUM}"]
    assert metric.value == pytest.approx(np.mean(seen == asked))
    assert metric.error == pytest.approx((metric.value * (1 - metric.value) / NUM) ** 0.5)
    assert made.agreement_by_class == pytest.approx([np.mean(seen[asked == k] == k) for k in range(10)])
    assert made.histogram["fake"] == pytest.approx([np.mean(seen == k) for k in range(10)])
    assert sum(made.histogram["real"]) == pytest.approx(1) and min(made.histogram["real"]) > 0.03
    assert list(made.metrics) == ALL


def test_classes_are_asked_for_as_often_as_the_data_has_them(obedient: Model, model: Model) -> None:
    data = open_dataset("mnist-5k")
    assert asked_classes(model, np.arange(5), data) is None
    counts = np.bincount(asked_classes(obedient, np.arange(1000), data), minlength=10)
    assert counts.min() >= 97 and counts.max() <= 103
    labels = np.concatenate([np.full(700, 3), np.full(200, 9), np.full(100, 0)])
    uneven = type(data)(data.images[:1000], labels, data.classes, "uneven")
    counts = np.bincount(asked_classes(obedient, np.arange(50, 1050), uneven), minlength=10)
    assert abs(counts - np.array([100, 0, 0, 700, 0, 0, 0, 0, 0, 200])).max() <= 4
    some = asked_classes(obedient, np.array([4, 700]), uneven)
    assert some.tolist() == asked_classes(obedient, np.arange(701), uneven)[[4, 700]].tolist()  # by seed alone


def test_an_unconditional_model_has_no_agreement(model: Model) -> None:
    found = evaluate(model, num=NUM, num_threads=1)
    assert list(found.metrics) == [name for name in ALL if not name.startswith("agreement")]
    assert found.agreement_by_class is None


def test_features_learnt_on_something_else_say_so_and_know_no_classes(tmp_path: Path) -> None:
    from PIL import Image

    data = open_dataset("mnist-5k")
    for i in range(0, 5000, 10):
        folder = tmp_path / "pets" / ("cat" if i % 20 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.images[i, :, :, 0]).save(folder / f"{i}.png")
    model = load_model(write_generator(tmp_path / "pets.safetensors", data=str(tmp_path / "pets")))
    found = evaluate(model, num=200, num_threads=1)
    assert found.extractor["own"] is False and found.classes == () and found.histogram == {}
    assert {found.family(name) for name in found.metrics} == {
        *["fd", "kd", "precision", "recall", "density", "coverage", "duplicates", "support"]
    }
    assert any("learnt on" in note and "not on this data" in note for note in found.notes)
    assert found.data["num"] == 200 and found.data["classes"] == ["cat", "dog"]
    pictures = found.pictures()
    assert set(pictures["wall_classes"].tolist()) == {-1} and set(pictures["real_classes"].tolist()) == {0, 1}


def test_a_folder_sorted_into_the_networks_classes_is_known_by_them(tmp_path: Path) -> None:
    assert choose("/pictures/mine", (28, 28, 1), tuple("9876543210")).own
    assert choose("/pictures/mine", (28, 28, 1), tuple("9876543210")).name == "mnistnet"
    assert not choose("/pictures/mine", (28, 28, 1), tuple("012345678")).own
    assert not choose("/pictures/mine", (28, 28, 1), ()).own
    assert choose("mnist", (28, 28, 1), ("3", "5")).own  # some classes of a data set with a name


def test_where_no_network_fits_the_way_out_is_said(tmp_path: Path) -> None:
    model = load_model(write_generator(tmp_path / "odd.safetensors", image_size=32, channels=1))
    with pytest.raises(DataError, match="32 x 32 grey pixels, as mnist-5k has them here; there are: .*mnistnet for 28"):
        evaluate(model, num=NUM)
    with pytest.raises(DataError, match="make a network with tools/train_features.py"):
        find_report(model, num=NUM)


def test_stacked_digits_are_read_colour_by_colour(tmp_path: Path) -> None:
    data = open_dataset("mnist-5k")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, rows in (("train", slice(0, None, 2)), ("t10k", slice(1, None, 5))):
        images, labels = data.images[rows, :, :, 0], data.labels[rows].astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(header + array.tobytes())
    model = load_model(write_generator(tmp_path / "stacked.safetensors", data="stacked-mnist", channels=3))
    found = evaluate(model, num=1000, num_threads=1, data_root=tmp_path, pictures=False)
    assert found.extractor["name"] == "stacked_mnistnet" and len(found.classes) == 1000
    modes, kl = found.metrics["modes_stacked_mnistnet_1k"], found.metrics["class_kl_stacked_mnistnet_1k"]
    test = open_dataset("stacked-mnist", channels=3, data_root=tmp_path, split="test")
    of_digit = {image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)}
    triples = [tuple(of_digit[image[..., c].tobytes()] for c in range(3)) for image in test.images]
    assert modes.floor == pytest.approx(len(set(triples)), abs=5)  # the network is wrong about few of these
    shares = np.unique(triples, axis=0, return_counts=True)[1] / len(triples)
    assert kl.floor == pytest.approx(np.sum(shares * np.log(shares * 1000)), abs=0.02)
    _, seen = choose("mnist", (28, 28, 1), (), 1).look(model.sample(1000).transpose(0, 3, 1, 2).reshape(-1, 28, 28, 1))
    assert modes.value == len({tuple(triple) for triple in seen.reshape(-1, 3).tolist()})


# --- pictures --------------------------------------------------------------------------------------------------------


def test_the_pictures_are_those_of_their_seeds(obedient: Model, made: Report) -> None:
    p = made.pictures()
    train = open_dataset("mnist-5k")
    assert {name: array.shape for name, array in p.items() if array.dtype == np.uint8} == {
        "wall": (64, 28, 28, 1), "best": (16, 28, 28, 1), "strangest": (16, 28, 28, 1), "real": (64, 28, 28, 1),
        **{f"{name}_{space}": (num, 5, 28, 28, 1) for name, num in (("wall", 64), ("best", 16), ("strangest", 16))
           for space in ("pixels", "features")},
        "duplicates": (16, 2, 28, 28, 1),
    }  # fmt: skip
    assert p["wall_seeds"].tolist() == list(range(64))
    for name in ("wall", "best", "strangest", "duplicates"):
        seeds = p[f"{name}_seeds"].reshape(-1)
        asked = asked_classes(obedient, seeds, train)
        np.testing.assert_array_equal(
            p[name].reshape(-1, 28, 28, 1), obedient.generate(obedient.z(seeds.tolist()), asked)
        )
        if name != "duplicates":
            assert p[f"{name}_asked"].tolist() == asked.tolist()
        net = choose("mnist-5k", (28, 28, 1), train.classes, 1)
        assert net.look(p[name].reshape(-1, 28, 28, 1))[1].tolist() == p[f"{name}_classes"].reshape(-1).tolist()
    np.testing.assert_array_equal(p["real"], train.images[p["real_indices"]])
    assert p["real_classes"].tolist() == train.labels[p["real_indices"]].tolist()
    assert len(set(p["real_indices"].tolist())) == 64


def test_the_nearest_training_pictures_are_the_nearest_of_all(made: Report) -> None:
    p, train = made.pictures(), open_dataset("mnist-5k")
    net = choose("mnist-5k", (28, 28, 1), train.classes, 1)
    spaces = {"pixels": lambda x: x.reshape(len(x), -1) / 255, "features": lambda x: net.look(x)[0].astype(float)}
    for space, points in spaces.items():
        every = points(train.images)
        for name in ("wall", "best", "strangest"):
            rows = p[name][[0, 5, 15]]
            apart = np.stack([np.linalg.norm(every - query, axis=1) for query in points(rows)])
            expected = np.sort(apart, axis=1)[:, :5]
            np.testing.assert_allclose(p[f"{name}_{space}_distances"][[0, 5, 15]], expected, rtol=1e-5, atol=1e-5)
            indices = p[f"{name}_{space}_indices"]
            np.testing.assert_array_equal(p[f"{name}_{space}"], train.images[indices])
            np.testing.assert_array_equal(p[f"{name}_{space}_classes"], train.labels[indices])


def test_how_near_real_pictures_come_to_others(made: Report) -> None:
    """The digits have no test split: those of the other half are held against all, but not against themselves."""
    p, train = made.pictures(), open_dataset("mnist-5k")
    other = np.random.default_rng([0, 1]).permutation(len(train))[len(train) // 2 :][:NUM]
    net = choose("mnist-5k", (28, 28, 1), train.classes, 1)
    spaces = {"pixels": train.images.reshape(len(train), -1) / 255, "features": net.look(train.images)[0].astype(float)}
    for space, every in spaces.items():
        apart = scipy.spatial.distance.cdist(every[other], every)
        apart[np.arange(len(other)), other] = np.inf
        np.testing.assert_allclose(p[f"test_{space}_distances"], apart.min(axis=1), rtol=1e-5, atol=1e-5)
    half = np.sort(np.random.default_rng([0, 1]).permutation(len(train))[: len(train) // 2][:NUM])
    among = scipy.spatial.distance.cdist(spaces["features"][half], spaces["features"][half])
    np.fill_diagonal(among, np.inf)
    np.testing.assert_allclose(p["real_features_distances"], among.min(axis=1), rtol=1e-5, atol=1e-5)


def test_best_and_strangest_are_the_ends_of_one_ranking(made: Report) -> None:
    p = made.pictures()
    best, strangest = p["best_realism"], p["strangest_realism"]
    assert (np.diff(best) <= 0).all() and (np.diff(strangest) >= 0).all()
    assert best.min() >= p["wall_realism"].max() or best.min() >= np.sort(p["wall_realism"])[-16]
    assert best.min() > strangest.max() and p["wall_realism"].min() >= strangest.min()
    assert (np.diff(p["duplicates_distances"]) >= 0).all()


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_report_is_found_again_and_by_what_it_depends_on(made: Report, obedient: Model, tmp_path: Path) -> None:
    again = find_report(obedient, num=NUM)
    assert again == made
    assert evaluate(obedient, num=NUM) == made  # the same date, so nothing was computed
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((tmp_path / "classes.safetensors").read_bytes())
    assert find_report(load_model(copy, "another name"), num=NUM) == made  # by content, not by name
    assert find_report(obedient, "mnist-5k", num=NUM) == made
    other = load_model(write_generator(tmp_path / "other.safetensors", seed=1, num_classes=10))
    assert find_report(other, num=NUM) is None
    assert find_report(obedient, num=NUM + 1) is None and find_report(obedient, num=NUM, seed=1) is None
    assert find_report(obedient, "mnist", num=NUM) is None
    assert made.folder == folder_of(obedient, num=NUM) and len(made.folder.name) == 64


def test_a_changed_folder_of_pictures_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.png").write_bytes(b"a picture")
    model = load_model(write_generator(tmp_path / "own.safetensors", data=str(tmp_path / "own")))
    before = folder_of(model, num=NUM)
    assert folder_of(model, num=NUM) == before
    (tmp_path / "own" / "b.png").write_bytes(b"another")
    assert folder_of(model, num=NUM) != before


def test_looking_makes_nothing(model: Model, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLAB_CACHE", str(kept / "nowhere"))
    assert find_report(model, num=NUM) is None and read_status(folder_of(model, num=NUM)) is None
    assert not (kept / "nowhere").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}', b'{"schema": 99}', b"\xff\xfe", b"null"])
def test_a_damaged_result_is_none_and_is_made_again(content: bytes, model: Model) -> None:
    first = evaluate(model, num=NUM, seed=2, num_threads=1)
    for file in ("result.json", "status.json"):
        (first.folder / file).write_bytes(content)
    assert read_report(first.folder) is None and read_status(first.folder) is None
    again = evaluate(model, num=NUM, seed=2, num_threads=1)
    assert again.metrics == first.metrics and read_status(again.folder).state == "done"


def test_damaged_features_and_references_are_made_again(model: Model, kept: Path, tmp_path, monkeypatch) -> None:
    import shutil

    first = evaluate(model, num=NUM, seed=2, num_threads=1)
    shutil.copytree(kept, tmp_path / "cache")
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path / "cache"))
    shutil.rmtree(tmp_path / "cache" / "evaluations")
    files = [*(tmp_path / "cache" / "references").glob("*"), *(tmp_path / "cache" / "features").glob("*")]
    assert len(files) >= 2
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(bytes(content))
    assert evaluate(model, num=NUM, seed=2, num_threads=1).metrics == first.metrics


def test_missing_pictures_are_made_again_if_they_are_wanted(model: Model) -> None:
    quick = evaluate(model, num=NUM, seed=4, num_threads=1, pictures=False)
    assert not quick.has_pictures
    with pytest.raises(DataError, match="pictures.npz is missing"):
        quick.pictures()
    assert find_report(model, num=NUM, seed=4) == quick
    full = evaluate(model, num=NUM, seed=4, num_threads=1)
    assert full.has_pictures and full.metrics == quick.metrics


def test_a_metric_that_is_not_finite_is_null(model: Model) -> None:
    found = evaluate(model, num=NUM, seed=2, num_threads=1)
    text = (found.folder / "result.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    raw = json.loads(text)
    assert raw["schema"] == 1 and raw["model"]["step"] == 7 and raw["model"]["images"] == 448
    assert raw["model"]["sha256"] == found.model["sha256"] and raw["model"]["parameters"] > 10_000
    for metric in raw["metrics"].values():
        assert {"value", "error", "floor", "ceiling", "better"} <= metric.keys()
        assert metric["better"] in ("lower", "higher", "middle")
    assert raw["extractor"]["sha256"] == choose("mnist", (28, 28, 1), ()).net.hash


def test_progress_grows_from_0_to_1_and_stands_in_the_status(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, float, Status]] = []
    folder = folder_of(model, num=NUM, seed=6)

    def listen(doing: str, share: float) -> None:
        status = read_status(folder)
        assert status is not None
        heard.append((doing, share, status))

    evaluate(model, num=NUM, seed=6, num_threads=1, progress=listen)
    shares = [share for _, share, _ in heard]
    assert shares == sorted(shares) and shares[0] == 0 and 0.7 < shares[-1] <= 1
    for doing, share, status in heard:
        assert (status.state, status.doing, status.pid) == ("running", doing, os.getpid())
        assert status.share == pytest.approx(share, abs=1e-3) and status.alive
    done = read_status(folder)
    assert (done.state, done.share, done.error, done.alive) == ("done", 1.0, "", False)


def test_a_failure_stands_in_the_status(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise DataError("the disk has a hole")

    monkeypatch.setattr(measure, "figures", fails)
    with pytest.raises(DataError, match="the disk has a hole"):
        evaluate(model, num=NUM, seed=8, num_threads=1)
    status = read_status(folder_of(model, num=NUM, seed=8))
    assert (status.state, status.error) == ("failed", "the disk has a hole")
    assert find_report(model, num=NUM, seed=8) is None
    monkeypatch.undo()


def test_a_silent_worker_counts_as_gone() -> None:
    assert Status(heartbeat=time.time() - 5).alive
    assert not Status(heartbeat=time.time() - 60).alive
    assert not Status(state="done", heartbeat=time.time()).alive


def test_two_workers_do_not_make_one_evaluation(model: Model) -> None:
    started, go_on = threading.Event(), threading.Event()

    def wait(doing: str, share: float) -> None:
        started.set()
        assert go_on.wait(60)

    first = threading.Thread(target=evaluate, args=(model,), kwargs={"num": NUM, "seed": 9, "progress": wait})
    first.start()
    try:
        assert started.wait(60)
        with pytest.raises(RunError, match=f"by another process .pid {os.getpid()}."):
            evaluate(model, num=NUM, seed=9)
    finally:
        go_on.set()
        first.join()
    assert find_report(model, num=NUM, seed=9) is not None


@pytest.mark.parametrize("options", [{"num": 99}, {"num": 300, "seed": -1}])
def test_impossible_numbers_are_refused(options: dict, model: Model) -> None:
    with pytest.raises(ConfigError, match=f"num is {options['num']} and seed"):
        evaluate(model, **options)


def test_a_model_made_in_memory_is_refused(model: Model) -> None:
    with pytest.raises(ConfigError, match="made in memory"):
        evaluate(Model("x", model.config, model.program, {}), num=NUM)


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "few").mkdir()
    for i in range(11):
        Image.fromarray(np.full((28, 28), i, np.uint8)).save(tmp_path / "few" / f"{i}.png")
    model = load_model(write_generator(tmp_path / "few.safetensors", data=str(tmp_path / "few")))
    with pytest.raises(DataError, match="too few pictures to measure against: 5, and 6"):
        evaluate(model, num=NUM, num_threads=1)


def test_where_nothing_can_be_kept_it_says_so(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path / "file"))
    assert find_report(model, num=NUM) is None
    with pytest.raises(DataError, match="file can't be written. Set GANLAB_CACHE"):
        evaluate(model, num=NUM, num_threads=1)


def test_results_go_to_the_folder_that_one_names(model: Model, tmp_path: Path) -> None:
    found = evaluate(model, num=NUM, seed=2, num_threads=1, folder=tmp_path / "here")
    assert {file.name for file in (tmp_path / "here").iterdir()} >= {"result.json", "status.json", "pictures.npz"}
    assert read_report(tmp_path / "here") == found


def test_reading_needs_neither_torch_nor_onnxruntime(made: Report, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from ganlab.evaluate.report import find_report, read_status
from ganlab.render import load_model
report = find_report(load_model(Path({str(tmp_path / "classes.safetensors")!r})), num={NUM})
assert report.pictures()["wall"].shape == (64, 28, 28, 1)
assert read_status(report.folder).state == "done"
print(sorted({{"torch", "onnxruntime", "streamlit"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_protocols_are_named_by_thousands() -> None:
    assert report.protocol("mnistnet", 10_000) == "mnistnet_10k" and report.protocol("net", 2000) == "net_2k"
    assert report.protocol("mnistnet", 1500) == "mnistnet_1500"
