"""One picture from a file: as a model's pictures are, or an error that says what it is instead."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlab.data import open_dataset
from ganlab.data.picture import open_picture
from ganlab.errors import DataError


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return open_dataset("mnist-5k").images[::250]


@pytest.mark.parametrize("dark_on_light", [True, False])
def test_a_digit_anywhere_at_any_size_is_the_digit_of_mnist(digits, dark_on_light):
    """Enlarged five times and moved into a corner of a wide sheet, most come back nearly as they were."""
    errors = []
    for digit in digits:
        big = np.asarray(Image.fromarray(digit[..., 0]).resize((140, 140), Image.Resampling.BILINEAR))
        sheet = np.zeros((300, 500), np.uint8)
        sheet[10:150, 330:470] = big
        found = open_picture(png(255 - sheet if dark_on_light else sheet), 28, 1, digit=True)
        assert found.shape == (28, 28, 1) and found.dtype == np.uint8
        errors.append(np.sqrt(np.mean((found.astype(float) - digit) ** 2)) / 255)
    assert np.median(errors) < 0.1 and max(errors) < 0.3


def test_its_centre_of_mass_is_in_the_middle_and_it_fits_the_box():
    sheet = np.full((100, 100), 255, np.uint8)
    sheet[5:45, 60:70] = 0  # a stroke 40 high and 10 wide
    found = open_picture(png(sheet), 28, 1, digit=True)[..., 0] / 255
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert (len(rows), len(columns)) == (20, 5)
    centre = [(found.sum(axis) * (np.arange(28) + 0.5)).sum() / found.sum() for axis in (1, 0)]
    np.testing.assert_allclose(centre, 14.5, atol=0.51)  # the middle of pixel 14: so are all of MNIST


def test_faint_paper_is_no_ink():
    sheet = np.random.default_rng(0).integers(225, 256, (60, 60)).astype(np.uint8)
    sheet[20:40, 25:35] = 30
    found = open_picture(png(sheet), 28, 1, digit=True)
    assert np.flatnonzero((found[..., 0] > 60).any(1)).size == 20


def test_pictures_that_are_no_digits_are_cropped_and_scaled_as_data_are():
    colours = np.random.default_rng(0).integers(0, 256, (32, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(open_picture(png(colours), 32, 3), colours[:, 4:36])
    np.testing.assert_array_equal(open_picture(png(colours), 32, 3, digit=True), colours[:, 4:36])  # of grey alone
    assert open_picture(png(colours, "JPEG"), 28, 1).shape == (28, 28, 1)


def test_a_file_is_read_as_its_content(tmp_path, digits):
    file = tmp_path / "x.png"
    file.write_bytes(png(digits[0, ..., 0]))
    np.testing.assert_array_equal(open_picture(file, 28, 1), digits[0])


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(2**20))
    return buffer.getvalue()


def vast_png() -> bytes:
    """A header that promises 100,000 x 100,000 pixels."""
    content = bytearray(png(np.zeros((1, 1), np.uint8)))
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize("digit", [False, True])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"just text", "not an image, whatever its name says"),
        (b"", "not an image"),
        (zip_bomb(), "not an image"),
        (vast_png(), "far too many pixels|megapixels"),
        (png(np.zeros((50, 50), np.uint8))[:-30], "can't be read as a picture"),
    ],
)
def test_hostile_files_are_refused_with_their_name(tmp_path: Path, content, says, digit):
    file = tmp_path / "pad.png"
    file.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        open_picture(file, 28, 1, digit=digit)
    assert str(caught.value).startswith(f"{file} ")
    with pytest.raises(DataError, match="^The picture "):
        open_picture(content, 28, 1, digit=digit)


def test_an_empty_pad_says_so():
    for level in (0, 255):
        with pytest.raises(DataError, match="holds no ink"):
            open_picture(png(np.full((280, 280), level, np.uint8)), 28, 1, digit=True)


def test_what_is_no_file_says_so(tmp_path):
    with pytest.raises(DataError, match="nowhere.png does not exist"):
        open_picture(tmp_path / "nowhere.png", 28, 1)
    with pytest.raises(DataError, match="is no file"):
        open_picture(tmp_path, 28, 1)
