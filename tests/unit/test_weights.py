"""The one file format: what is read is what was written, or it is refused; nothing in a file is ever run."""

from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import ganlab.weights
from ganlab.config import Config, to_dict
from ganlab.errors import WeightsError
from ganlab.files import write_atomic
from ganlab.weights import GENERATOR, STATE, load_arrays, save_arrays

CONFIG = Config(data="Ziffern-ä", classes=("null", "eins"), width=16, learning_rate=3e-4)


def some_arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "half": random.standard_normal((2, 3)).astype(np.float16),
        "single": random.standard_normal(5).astype(np.float32),
        "double": random.standard_normal((1, 2)),
        "count": np.array([7, -(2**40)], np.int64),
        "bytes": np.arange(4, dtype=np.uint8),
        "scalar": np.array(12345.5, np.float32),
        "none": np.zeros((0, 3), np.float32),
        "across": random.standard_normal((3, 4)).astype(np.float32).T,
        "every other": np.arange(10, dtype=np.float32)[::2],
    }


@pytest.fixture
def file(tmp_path) -> Path:
    file = tmp_path / "x.safetensors"
    save_arrays(file, some_arrays(), kind=GENERATOR, config=CONFIG, facts={"step": 12, "note": "ä", "rate": 0.1})
    return file


# --- round trip ------------------------------------------------------------------------------------------------------


def test_what_is_read_is_what_was_written(file):
    arrays, config, facts = load_arrays(file, kind=GENERATOR)
    expected = some_arrays()
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape, name
        np.testing.assert_array_equal(arrays[name], array)
    assert config == CONFIG
    assert facts == {"step": 12, "note": "ä", "rate": 0.1}


def test_any_reader_of_safetensors_reads_it(file):
    arrays = load_file(file)
    for name, array in some_arrays().items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    assert metadata["kind"] == GENERATOR
    assert json.loads(metadata["about"])["config"] == to_dict(CONFIG)


def test_facts_may_be_left_out(tmp_path):
    save_arrays(tmp_path / "y", {"a": np.ones(2)}, kind=STATE, config=CONFIG)
    assert load_arrays(tmp_path / "y", kind=STATE)[2] == {}


def test_arrays_that_were_read_may_be_written_to(file):
    arrays, _, _ = load_arrays(file, kind=GENERATOR)
    arrays["single"][0] = 1
    assert load_file(file)["single"][0] != 1


# --- damage ----------------------------------------------------------------------------------------------------------


def test_one_altered_byte_anywhere_is_refused(file):
    good = file.read_bytes()
    for i in range(len(good)):
        damaged = bytearray(good)
        damaged[i] ^= (0x01, 0x20, 0xFF)[i % 3]
        file.write_bytes(damaged)
        with pytest.raises(WeightsError):
            load_arrays(file, kind=GENERATOR)
    file.write_bytes(good)
    load_arrays(file, kind=GENERATOR)


def test_a_file_cut_short_is_refused(file):
    good = file.read_bytes()
    for length in [*range(0, len(good), 7), len(good) - 1]:
        file.write_bytes(good[:length])
        with pytest.raises(WeightsError, match="x.safetensors"):
            load_arrays(file, kind=GENERATOR)


def test_a_file_with_something_after_its_end_is_refused(file):
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(WeightsError):
        load_arrays(file, kind=GENERATOR)


def rewrite(file: Path, **changes: str | None) -> None:
    """The same file with other metadata; None leaves a key out."""
    with safe_open(file, framework="numpy") as opened:
        metadata = {k: v for k, v in {**opened.metadata(), **changes}.items() if v is not None}
    save_file(load_file(file), file, metadata)


def test_rewriting_with_nothing_changed_still_reads(file):
    """The control of the tests that follow."""
    rewrite(file)
    load_arrays(file, kind=GENERATOR)


@pytest.mark.parametrize("change", ["renamed", "missing", "added", "reshaped", "retyped", "swapped"])
def test_arrays_other_than_those_written_are_refused(file, change):
    arrays = load_file(file)
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    if change == "renamed":
        arrays["double "] = arrays.pop("double")
    elif change == "missing":
        del arrays["none"]
    elif change == "added":
        arrays["zero"] = np.zeros(1, np.float32)
    elif change == "reshaped":
        arrays["half"] = arrays["half"].reshape(3, 2)
    elif change == "retyped":
        arrays["single"] = arrays["single"].view(np.int32)
    else:
        arrays["count"] = arrays["count"][::-1].copy()
    save_file(arrays, file, metadata)
    with pytest.raises(WeightsError, match="checksum"):
        load_arrays(file, kind=GENERATOR)


def test_a_description_other_than_the_one_written_is_refused(file):
    about = json.dumps({"config": to_dict(CONFIG.replace(width=24)), "facts": {}}, sort_keys=True)
    rewrite(file, about=about)
    with pytest.raises(WeightsError, match="checksum"):
        load_arrays(file, kind=GENERATOR)


@pytest.mark.parametrize("key", ["about", "sha256", "kind", "schema"])
def test_a_file_without_part_of_its_description_is_refused(file, key):
    rewrite(file, **{key: None})
    with pytest.raises(WeightsError):
        load_arrays(file, kind=GENERATOR)


# --- something else altogether ---------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="no file.*nowhere.safetensors"):
        load_arrays(tmp_path / "nowhere.safetensors", kind=GENERATOR)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 64, b"just some text\n", "ä".encode() * 500, b"\xff" * 64, b"PK\x03\x04" + b"\0" * 60],
    ids=["empty", "zeros", "text", "long text", "ones", "zip"],
)
def test_what_is_no_safetensors_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="x.safetensors is no readable safetensors"):
        load_arrays(tmp_path / "x.safetensors", kind=GENERATOR)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(WeightsError):
        load_arrays(tmp_path, kind=GENERATOR)


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_not_run(tmp_path, protocol):
    sprung = tmp_path / "sprung"
    content = pickle.dumps(Trap(sprung), protocol)
    pickle.loads(content)
    assert sprung.is_dir(), "the trap does not work"
    sprung.rmdir()

    for name in ("x.safetensors", "x.pt", "x.pkl"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match="pickle"):
            load_arrays(tmp_path / name, kind=GENERATOR)
    assert not sprung.exists()


def test_a_file_of_another_kind_is_refused(file):
    with pytest.raises(WeightsError, match=f"{GENERATOR}.*{STATE}"):
        load_arrays(file, kind=STATE)


def test_safetensors_of_another_program_are_refused(tmp_path):
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": np.ones(3, np.float32)}, tmp_path / "x", metadata)
        with pytest.raises(WeightsError, match="something else"):
            load_arrays(tmp_path / "x", kind=GENERATOR)


@pytest.mark.parametrize("schema", ["0", "2", "x"])
def test_another_schema_is_refused(file, schema):
    rewrite(file, schema=schema)
    with pytest.raises(WeightsError, match=f"schema {schema}.*version"):
        load_arrays(file, kind=GENERATOR)


@pytest.mark.parametrize(
    "config", [{**to_dict(CONFIG), "wings": 2}, {**to_dict(CONFIG), "width": -1}, {"width": "wide"}, 3, None]
)
def test_a_config_that_is_none_is_refused(tmp_path, monkeypatch, config):
    """Written with a checksum that fits, by a ganlab that knows other hyperparameters."""
    monkeypatch.setattr(ganlab.weights, "to_dict", lambda _: config)
    save_arrays(tmp_path / "x", {"a": np.ones(2)}, kind=GENERATOR, config=CONFIG)
    with pytest.raises(WeightsError, match="config"):
        load_arrays(tmp_path / "x", kind=GENERATOR)


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_numbers_of_a_type_that_numpy_lacks_are_refused(tmp_path, dtype, size):
    metadata = {"kind": GENERATOR, "schema": "1", "about": "{}", "sha256": "0" * 64}
    array = {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": metadata, "a": array}).encode()
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * size)
    with pytest.raises(WeightsError):
        load_arrays(tmp_path / "x", kind=GENERATOR)


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_whole(file, monkeypatch, call, error):
    before = file.read_bytes()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)) as caught:
        save_arrays(file, {"a": np.ones(2)}, kind=GENERATOR, config=CONFIG)
    assert caught.value is error
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_first_write_that_fails_leaves_nothing(tmp_path, monkeypatch, call):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "new", b"content")
    assert list(tmp_path.iterdir()) == []


def test_the_new_file_is_whole_on_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    """At the moment of the rename, readers still see the old file, and the new one beside it was synchronised."""
    target, calls = tmp_path / "x", []
    target.write_bytes(b"old")
    fsync, replace = os.fsync, os.replace

    def watch_fsync(number: int) -> None:
        calls.append(("fsync", os.fstat(number).st_ino, os.fstat(number).st_size))
        fsync(number)

    def watch_replace(source: Path, destination: Path) -> None:
        assert Path(source).parent == tmp_path  # another file system could not rename in one go
        assert target.read_bytes() == b"old" and Path(source).read_bytes() == b"new content"
        calls.append(("replace", os.stat(source).st_ino, os.stat(source).st_size))
        replace(source, destination)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    write_atomic(target, b"new content")
    assert [call for call, *_ in calls] == ["fsync", "replace"]
    assert calls[0][1:] == calls[1][1:]
    assert target.read_bytes() == b"new content"
    assert list(tmp_path.iterdir()) == [target]


def test_folders_on_the_way_are_made(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "x", b"content")
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"content"
