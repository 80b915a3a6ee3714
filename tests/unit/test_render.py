"""Pictures: a generator computed by hand in numpy, layouts pixel by pixel, files read back through other readers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import write_generator
from PIL import Image

from ganlab import catalog, cli, export, latent, render
from ganlab.config import Config
from ganlab.errors import ConfigError, RunError, WeightsError
from ganlab.generators import generator_program
from ganlab.render import Model, grid, load_model, strip, to_uint8, upscale
from ganlab.rundir import RunDir
from ganlab.weights import GENERATOR, save_arrays


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def mlp_arrays(config: Config) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    sizes = [config.latent_dim + config.num_classes, config.width, config.width, config.channels * config.image_size**2]
    arrays = {}
    for i, (n, m) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        arrays[f"layers.{i}.weight"] = random.normal(0, np.sqrt(2 / n), (m, n)).astype(np.float32)
        arrays[f"layers.{i}.bias"] = random.normal(0, 0.2, m).astype(np.float32)
    return arrays


def grey_levels(config: Config, arrays: dict[str, np.ndarray], z: np.ndarray, y: list | None = None) -> np.ndarray:
    """The same network in numpy and double precision: (N, H, W, C) from 0 to 255, not rounded. `y`: class weights."""
    x = np.asarray(z, np.float64) if y is None else np.concatenate([z, np.array(y, np.float64)], axis=1)
    for i in range(3):
        x = x @ arrays[f"layers.{i}.weight"].T.astype(np.float64) + arrays[f"layers.{i}.bias"]
        x = np.maximum(x, 0) if i < 2 else np.tanh(x)
    shape = (len(z), config.channels, config.image_size, config.image_size)
    return (x.reshape(shape).transpose(0, 2, 3, 1) + 1) * 127.5


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def drawn(request) -> tuple[Model, dict[str, np.ndarray]]:
    config = Config(model="mlp", width=8, latent_dim=4, channels=request.param)
    arrays = mlp_arrays(config)
    return Model("a-model", config, generator_program(config, arrays), {"step": 3}), arrays


# --- generating ------------------------------------------------------------------------------------------------------


def test_generate_draws_the_network(drawn):
    model, arrays = drawn
    z = np.random.default_rng(2).standard_normal((5, 4))
    images = model.generate(z)
    assert images.dtype == np.uint8 and images.shape == (5, 28, 28, model.config.channels)
    levels = grey_levels(model.config, arrays, z)
    assert levels.std() > 30
    assert np.abs(images - levels).max() < 0.501  # rounded to the nearest


def test_many_at_once_are_the_same_pictures_as_one_by_one(drawn):
    model, arrays = drawn
    num = 2 * render.BATCH + 3
    z = np.random.default_rng(3).standard_normal((num, 4)).astype(np.float32)
    images = model.generate(z)
    assert len(images) == num
    assert np.abs(images - grey_levels(model.config, arrays, z)).max() < 0.501
    for i in (0, render.BATCH - 1, render.BATCH, 2 * render.BATCH, num - 1):
        # the matrix product may sum in another order for another batch: the last bit, a level in a rare pixel
        difference = np.abs(images[i].astype(int) - model.generate(z[i : i + 1])[0])
        assert difference.max() <= 1 and (difference > 0).mean() < 0.001


def test_generate_of_nothing_is_nothing(drawn):
    model, _ = drawn
    assert model.generate(np.zeros((0, 4))).shape == (0, 28, 28, model.config.channels)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 5), (1, 2, 4), ()])
def test_a_latent_vector_of_another_shape_is_refused(drawn, shape):
    model, _ = drawn
    with pytest.raises(ConfigError, match="a-model") as caught:
        model.generate(np.zeros(shape))
    assert str(shape) in str(caught.value) and "(N, 4)" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_latent_vector_that_is_not_finite_is_refused(drawn, bad):
    model, _ = drawn
    z = np.zeros((3, 4))
    z[2, 1] = bad
    with pytest.raises(ConfigError, match="finite"):
        model.generate(z)


def test_sample_counts_seeds_up(drawn):
    model, arrays = drawn
    z = np.stack([np.random.default_rng(seed).standard_normal(4) for seed in (7, 8, 9)]).astype(np.float32)
    np.testing.assert_array_equal(model.z([7, 8, 9]), z)
    images = model.sample(3, seed=7)
    assert np.abs(images - grey_levels(model.config, arrays, z)).max() < 0.501
    np.testing.assert_array_equal(model.sample(1, seed=8)[0], model.generate(z[1:2])[0])
    np.testing.assert_array_equal(model.from_seeds([7, 8, 9]), images)
    assert model.sample(0).shape == (0, 28, 28, model.config.channels)


def test_truncation_scales_the_latent_vectors(drawn):
    model, arrays = drawn
    np.testing.assert_allclose(model.z([1, 2], 0.5), model.z([1, 2]) / 2, rtol=1e-6)
    assert model.z([1, 2], 0.5).dtype == np.float32
    still = model.sample(2, truncation=0.0)
    assert np.abs(still - grey_levels(model.config, arrays, np.zeros((2, 4)))).max() < 0.501
    half = grey_levels(model.config, arrays, model.z([0, 1]) / 2)
    assert np.abs(model.sample(2, truncation=0.5) - half).max() < 0.501
    assert np.abs(model.from_seeds([0, 1], 0.5) - half).max() < 0.501


def test_latent_vectors_come_from_the_prior_of_the_config(drawn):
    model, _ = drawn
    uniform = Model("u", model.config.replace(prior="uniform"), model.program, {})
    z = uniform.z(range(100))
    assert np.abs(z).max() <= 1
    np.testing.assert_array_equal(z[12], np.random.default_rng(12).uniform(-1, 1, 4).astype(np.float32))


def test_a_model_is_called_like_its_folder_or_its_file(drawn, tmp_path):
    model, arrays = drawn
    for file, name in (("digits/generator.safetensors", "digits"), ("000120.safetensors", "000120")):
        save_arrays(tmp_path / file, arrays, kind=GENERATOR, config=model.config, facts={"step": 9})
        opened = load_model(tmp_path / file)
        assert (opened.name, opened.config, opened.facts) == (name, model.config, {"step": 9})
        assert load_model(tmp_path / file, "mine").name == "mine"
        np.testing.assert_array_equal(opened.sample(2), model.sample(2))
        np.testing.assert_array_equal(load_model(tmp_path / file, num_threads=2).sample(2), model.sample(2))


def test_a_file_whose_arrays_do_not_fit_is_named(drawn, tmp_path):
    model, arrays = drawn
    wider = model.config.replace(width=16)
    save_arrays(tmp_path / "x.safetensors", arrays, kind=GENERATOR, config=wider)
    with pytest.raises(WeightsError, match="x.safetensors.*layers.0.weight"):
        load_model(tmp_path / "x.safetensors")


# --- classes ---------------------------------------------------------------------------------------------------------

ANIMALS = ("Cat", "cat", "5", "dog")  # in two cases, and one that looks like an index


@pytest.fixture
def animals(tmp_path, monkeypatch) -> tuple[Model, dict[str, np.ndarray]]:
    """A conditional model, opened from the file runs/animals/generator.safetensors."""
    config = Config(model="mlp", width=8, latent_dim=4, conditioning="concat", classes=ANIMALS)
    monkeypatch.chdir(tmp_path)
    file, arrays = Path("runs/animals/generator.safetensors"), mlp_arrays(config)
    save_arrays(file, arrays, kind=GENERATOR, config=config)
    return load_model(file), arrays


def test_a_conditional_model_names_its_classes(animals, drawn):
    assert (animals[0].num_classes, animals[0].classes) == (4, ANIMALS)
    unconditional, _ = drawn
    of_some = Model("s", unconditional.config.replace(classes=("3", "5")), unconditional.program, {})
    for model in (unconditional, of_some):  # trained on some classes, but not told of them
        assert (model.num_classes, model.classes, model.labels_of([1, 2])) == (0, (), None)


@pytest.mark.parametrize(
    ("label", "index"),
    [
        ("Cat", 0),
        ("cat", 1),
        ("CAT", 0),
        ("dog", 3),
        ("DOG", 3),
        ("5", 2),
        ("0", 0),
        ("3", 3),
        (2, 2),
        (np.int64(3), 3),
    ],
)
def test_a_class_goes_by_name_or_index(animals, label, index):
    assert animals[0].index_of(label) == index
    np.testing.assert_array_equal(animals[0].labels_of(iter([9, 8, 7]), label), [index] * 3)


@pytest.mark.parametrize("label", ["cow", "", "4", "-1", "1.0", 4, 5, -1, True])
def test_an_unknown_class_lists_those_that_there_are(animals, label):
    with pytest.raises(ConfigError, match="animals") as caught:
        animals[0].sample(1, label=label)
    assert repr(label) in str(caught.value) and "Cat, cat, 5, dog; or an index from 0 to 3" in str(caught.value)


@pytest.mark.parametrize("label", ["Cat", 0])
def test_a_model_without_classes_refuses_one(drawn, label):
    model, _ = drawn
    for ask in (model.index_of, lambda label: model.sample(1, label=label)):
        with pytest.raises(ConfigError, match="a-model knows no classes"):
            ask(label)
    for y in ([0, 0], np.ones((2, 1)), []):
        with pytest.raises(ConfigError, match="a-model knows no classes"):
            model.generate(np.zeros((2, 4)), y)


def test_generate_draws_the_class(animals):
    model, arrays = animals
    z = np.random.default_rng(2).standard_normal((3, 4))
    eye = np.eye(4)
    labels = np.array([3, 0, 2])
    levels = grey_levels(model.config, arrays, z, eye[labels])
    assert np.abs(levels - grey_levels(model.config, arrays, z, eye[[0, 1, 1]])).max() > 20
    for y in (labels, labels.astype(np.uint8), labels.tolist(), eye[labels], eye[labels].astype(int).tolist()):
        images = model.generate(z, y)
        assert images.dtype == np.uint8 and np.abs(images - levels).max() < 0.501
    mixed = [[0.5, 0.5, 0, 0], [0, 0, 0.2, 0.8], [0.25] * 4]
    assert np.abs(model.generate(z, mixed) - grey_levels(model.config, arrays, z, mixed)).max() < 0.501
    assert model.generate(np.zeros((0, 4)), np.zeros(0, int)).shape == (0, 28, 28, 1)


def test_each_batch_has_its_own_classes(animals):
    model, arrays = animals
    num = render.BATCH + 5
    z, labels = np.random.default_rng(3).standard_normal((num, 4)), np.random.default_rng(4).integers(0, 4, num)
    assert np.abs(model.generate(z, labels) - grey_levels(model.config, arrays, z, np.eye(4)[labels])).max() < 0.501


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (None, r"y is missing: animals takes class indices \(2,\) or class weights \(2, 4\), of Cat, cat, 5, dog"),
        ([0], r"shape \(1,\)"),
        ([[0], [1]], r"shape \(2, 1\)"),
        (1, r"shape \(\)"),
        (np.eye(4), r"shape \(4, 4\)"),
        ([0.0, 1.0], "type float64; animals takes class indices"),
        ([True, False], "type bool"),
        (["Cat", "dog"], "type <U3"),
        ([0, 4], "from 0 to 4; animals has 0 to 3"),
        ([-1, 0], "from -1 to 0"),
        ([[1, 0, 0, 0], [0.5, 0, 0, 0]], "sum to 1"),
        ([[1, 0, 0, 0], [1.5, -0.5, 0, 0]], "below 0"),
        ([[1, 0, 0, 0], [np.nan, 0, 0, 1]], "sum to 1"),
        ([[1, 0, 0, 0], [np.inf, 0, 0, 1]], "sum to 1"),
    ],
)
def test_classes_that_can_not_be_are_refused(animals, y, reason):
    with pytest.raises(ConfigError, match=reason):
        animals[0].generate(np.zeros((2, 4)), y)


def test_seeds_go_round_the_classes_unless_one_is_asked_for(animals):
    model, _ = animals
    seeds = [6, 3, 8, 2**70 + 1]
    labels = model.labels_of(seeds)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, [2, 3, 0, 1])
    np.testing.assert_array_equal(model.from_seeds(seeds), model.generate(model.z(seeds), [2, 3, 0, 1]))
    np.testing.assert_array_equal(model.from_seeds(iter(seeds)), model.from_seeds(seeds))
    expected = model.generate(model.z(seeds, 0.5), [3] * 4)
    np.testing.assert_array_equal(model.from_seeds(seeds, 0.5, "dog"), expected)
    np.testing.assert_array_equal(model.sample(3, 5), model.generate(model.z([5, 6, 7]), [1, 2, 3]))
    np.testing.assert_array_equal(model.sample(3, 5, label=1), model.generate(model.z([5, 6, 7]), [1, 1, 1]))
    assert model.sample(0).shape == (0, 28, 28, 1)


def test_sample_a_class_by_command(animals):
    model, _ = animals
    for argv, labels in (["", [1, 2, 3]], ["--class dog", [3] * 3], ["--class 1", [1] * 3], ["--class 5", [2] * 3]):
        cli.main(None, f"sample runs/animals/generator.safetensors --num 3 --seed 5 --out x.npz {argv}".split())
        with np.load("x.npz") as arrays:
            np.testing.assert_array_equal(arrays["labels"], labels)
            np.testing.assert_array_equal(arrays["images"], model.generate(model.z([5, 6, 7]), labels))
    cli.main(None, "sample runs/animals/generator.safetensors --num 4 --class dog".split())
    shown = np.asarray(Image.open("samples.png"))[..., None]
    np.testing.assert_array_equal(shown, grid(model.sample(4, label="dog")))


@pytest.mark.parametrize(("argv", "label"), [("", 2), ("--class Cat", 0)])
def test_a_walk_stays_in_its_class(animals, argv, label):
    model, _ = animals
    cli.main(
        None, f"interpolate runs/animals/generator.safetensors --from 6 --to 9 --frames 3 --out x.png {argv}".split()
    )
    walk = np.asarray(Image.open("x.png")).reshape(28, 3, 28, 1).swapaxes(0, 1).astype(int)
    expected = model.generate(latent.path(model.z([6, 9]), 3), [label] * 3)
    np.testing.assert_array_equal(walk, expected)


@pytest.mark.parametrize(("command", "class_"), [("sample", "cow"), ("interpolate", "4"), ("interpolate", "cow")])
def test_commands_list_the_classes(animals, command, class_, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(None, [command, "runs/animals/generator.safetensors", "--class", class_])
    error = capsys.readouterr().err
    assert caught.value.code == 1 and error.startswith("ganlab: ") and error.count("\n") == 1
    assert f"has no class '{class_}'. Its classes: Cat, cat, 5, dog" in error


@pytest.mark.parametrize("command", ["sample", "interpolate"])
def test_commands_refuse_a_class_where_there_is_none(drawn, command, tmp_path, monkeypatch, capsys):
    model, arrays = drawn
    monkeypatch.chdir(tmp_path)
    save_arrays(Path("x.safetensors"), arrays, kind=GENERATOR, config=model.config)
    with pytest.raises(SystemExit):
        cli.main(None, [command, "x.safetensors", "--class", "0"])
    assert capsys.readouterr().err == "ganlab: x.safetensors knows no classes: it was trained without; got class '0'.\n"
    assert not Path("samples.png").exists() and not Path("walk.gif").exists()


# --- grey levels and layouts -----------------------------------------------------------------------------------------


def test_to_uint8_rounds_to_the_nearest_level():
    values = np.array([-1, 1, -1.5, 2, 0.001, -1 + 0.49 / 127.5, -1 + 0.51 / 127.5, 1 - 0.51 / 127.5])
    np.testing.assert_array_equal(to_uint8(values), [0, 255, 0, 255, 128, 0, 1, 254])
    assert to_uint8(values).dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_uint8_gives_every_level_back(dtype):
    levels = np.arange(256)
    np.testing.assert_array_equal(to_uint8((levels / 127.5 - 1).astype(dtype)), levels)


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 7, 9, 10])
@pytest.mark.parametrize(("columns", "gap", "background"), [(None, 0, 255), (3, 0, 7), (2, 2, 255), (None, 1, 0)])
def test_grid_pixel_by_pixel(num, columns, gap, background):
    images = noise(num, 3, 4, 3, seed=num)
    out = grid(images, columns, gap, background)
    across = columns or next(n for n in range(1, 11) if n * n >= num)
    down = next(n for n in range(1, 11) if n * across >= num)
    assert out.dtype == np.uint8
    assert out.shape == (3 * down + gap * (down - 1), 4 * across + gap * (across - 1), 3)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            (row, inner_y), (column, inner_x) = divmod(y, 3 + gap), divmod(x, 4 + gap)
            which = row * across + column
            inside = inner_y < 3 and inner_x < 4 and column < across and which < num
            expected = images[which, inner_y, inner_x] if inside else [background] * 3
            assert (out[y, x] == expected).all(), (y, x)


def test_a_grid_of_nothing_is_refused():
    for layout in (grid, strip):
        with pytest.raises(ConfigError, match="picture"):
            layout(np.zeros((0, 4, 4, 1), np.uint8))
    for columns in (0, -1):
        with pytest.raises(ConfigError, match="column"):
            grid(noise(2, 4, 4, 1), columns)


@pytest.mark.parametrize("channels", [1, 3])
def test_strip_is_one_row(channels):
    images = noise(3, 5, 4, channels)
    np.testing.assert_array_equal(strip(images), np.concatenate(list(images), axis=1))
    for background in ({}, {"background": 9}):
        bar = np.full((5, 2, channels), background.get("background", 255), np.uint8)
        with_gaps = np.concatenate([images[0], bar, images[1], bar, images[2]], axis=1)
        np.testing.assert_array_equal(strip(images, gap=2, **background), with_gaps)


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_upscale_makes_blocks(factor):
    image = noise(3, 4, 3)
    block = np.ones((factor, factor, 1), np.uint8)
    np.testing.assert_array_equal(upscale(image, factor), np.kron(image, block))
    images = noise(2, 3, 4, 1)
    np.testing.assert_array_equal(upscale(images, factor), np.stack([np.kron(x, block) for x in images]))


# --- PNG and NPZ -----------------------------------------------------------------------------------------------------


def read(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png_holds_the_pixels_exactly(tmp_path, channels, mode):
    image = noise(30, 17, channels)
    picture = read(export.png_bytes(image))
    assert (picture.format, picture.mode, picture.size) == ("PNG", mode, (17, 30))
    np.testing.assert_array_equal(np.asarray(picture).reshape(image.shape), image)

    file = tmp_path / "new" / "folder" / "x.PNG"
    export.save_image(file, image)
    assert file.read_bytes() == export.png_bytes(image)
    assert [f.name for f in file.parent.iterdir()] == ["x.PNG"]


@pytest.mark.parametrize("name", ["x.jpg", "x.gif", "x", "png", "x.png.txt", "x.npy"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"\.png"):
        export.save_image(tmp_path / name, noise(4, 4, 1))
    with pytest.raises(ConfigError, match=r"\.npz"):
        export.save_npz(tmp_path / name, noise(2, 4, 4, 1))
    assert list(tmp_path.iterdir()) == []


def test_npz_holds_pictures_and_labels(tmp_path):
    images, labels = noise(5, 8, 8, 3), np.array([3, 1, 2, 0, 9])
    export.save_npz(tmp_path / "with.npz", images, labels)
    with np.load(tmp_path / "with.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["images", "labels"]
        np.testing.assert_array_equal(file["images"], images)
        np.testing.assert_array_equal(file["labels"], labels)
        assert file["images"].dtype == np.uint8
    export.save_npz(tmp_path / "without.npz", images)
    with np.load(tmp_path / "without.npz", allow_pickle=False) as file:
        assert file.files == ["images"]


# --- GIF -------------------------------------------------------------------------------------------------------------


def frames_of(gif: Image.Image) -> tuple[list[np.ndarray], list[int]]:
    """Pixels (H, W, 3) and milliseconds of each frame."""
    pixels, times = [], []
    for i in range(gif.n_frames):
        gif.seek(i)
        pixels.append(np.asarray(gif.convert("RGB")))
        times.append(gif.info["duration"])
    return pixels, times


def blocks(frame: np.ndarray, scale: int) -> np.ndarray:
    return np.broadcast_to(np.kron(frame, np.ones((scale, scale, 1), np.uint8)), (*[scale * 8] * 2, 3))


@pytest.mark.parametrize(("bounce", "order"), [(False, [0, 1, 2, 3]), (True, [0, 1, 2, 3, 2, 1])])
def test_gif_plays_the_frames_in_order_for_ever(bounce, order):
    frames = noise(4, 8, 8, 1)
    gif = read(export.film_bytes(".gif", frames, fps=10, scale=3, bounce=bounce))
    assert (gif.format, gif.size, gif.info["loop"]) == ("GIF", (24, 24), 0)
    pixels, times = frames_of(gif)
    assert times == [100] * len(order)
    for shown, i in zip(pixels, order, strict=True):
        np.testing.assert_array_equal(shown, blocks(frames[i], 3))


def test_gif_comes_near_many_colours():
    """Two smooth ramps, of more colours than a GIF has."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    frame = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(128)), axis=-1)
    pixels, _ = frames_of(read(export.film_bytes(".gif", np.stack([frame, frame[::-1]]), scale=1)))
    for shown, expected in zip(pixels, (frame, frame[::-1]), strict=True):
        difference = np.abs(shown.astype(int) - expected)
        assert difference.mean() < 8 and difference.max() < 40


def test_gif_keeps_colours():
    colours = np.array([[255, 0, 0], [0, 200, 30], [10, 20, 240], [255, 255, 255]], np.uint8)
    frames = colours[noise(3, 8, 8) % 4]
    pixels, _ = frames_of(read(export.film_bytes(".gif", frames, scale=2, bounce=False)))
    for shown, frame in zip(pixels, frames, strict=True):
        np.testing.assert_array_equal(shown, blocks(frame, 2))


@pytest.mark.parametrize("fps", [1, 7, 10, 12.5, 20, 24, 30, 40, 50])
def test_gif_keeps_time(fps):
    """GIF counts in hundredths of a second: each frame lasts one more or less, and all together as long as asked."""
    num = 41
    _, times = frames_of(read(export.film_bytes(".gif", noise(num, 8, 8, 1), fps=fps, scale=1, bounce=False)))
    assert len(times) == num
    assert np.abs(np.array(times) - 1000 / fps).max() <= 10
    assert np.abs(np.cumsum(times) - 1000 / fps * np.arange(1, num + 1)).max() <= 5


@pytest.mark.parametrize("order", [[0, 0, 1], [0, 1, 1, 1], [0, 0, 0], [0]])
def test_frames_that_repeat_keep_their_time(order):
    frames = noise(2, 8, 8, 1)[order]
    gif = read(export.film_bytes(".gif", frames, fps=10, bounce=False))
    pixels, times = frames_of(gif)
    assert sum(times) == 100 * len(order)
    assert len(pixels) == len(set(order))
    np.testing.assert_array_equal(pixels[-1], blocks(frames[-1], 4))


def test_bounce_of_two_frames_shows_each_once():
    frames = noise(2, 8, 8, 1)
    assert frames_of(read(export.film_bytes(".gif", frames, fps=10)))[1] == [100, 100]


@pytest.mark.parametrize(("num", "fps"), [(0, 20), (3, 0), (3, -1), (3, 0.99), (3, 51), (3, float("nan"))])
def test_a_gif_that_can_not_be_is_refused(num, fps):
    with pytest.raises(ConfigError, match=f"got {num} and"):
        export.film_bytes(".gif", noise(num, 8, 8, 1), fps=fps)


@pytest.mark.parametrize("bounce", [False, True])
def test_the_last_frame_may_be_held(bounce):
    frames = noise(4, 8, 8, 1)
    plain = frames_of(read(export.film_bytes(".gif", frames, fps=8, bounce=bounce)))[1]
    pixels, times = frames_of(read(export.film_bytes(".gif", frames, fps=8, bounce=bounce, hold=1.5)))
    assert times == [*plain[:-1], 1500] and len(pixels) == (6 if bounce else 4)


# --- a run's grids as a film -----------------------------------------------------------------------------------------


def save_grids(run: RunDir, grids: np.ndarray) -> list[Path]:
    """Grids (N, H, W, C) as samples at steps that are near at first and far later."""
    steps = [0, *(2**i for i in range(30))][: min(len(grids), 8)]
    steps += [200 * (i + 1) for i in range(len(grids) - len(steps))]
    for step, picture in zip(steps, grids, strict=True):
        export.save_image(run.sample_file(step), picture)
    return run.samples()


@pytest.mark.parametrize("size", [28, 32])
def test_timelapse_shows_the_grids_in_order(size, tmp_path):
    grids = noise(12, 8 * size, 8 * size, 1)
    files = save_grids(RunDir(tmp_path), grids)
    export.save_timelapse(tmp_path / "x.gif", files, fps=10)
    gif = read((tmp_path / "x.gif").read_bytes())
    assert gif.size == (8 * size, 8 * size) and gif.info["loop"] == 0
    pixels, times = frames_of(gif)
    assert times == [100] * 11 + [2000]
    for shown, file, picture in zip(pixels, files, grids, strict=True):
        np.testing.assert_array_equal(shown, np.broadcast_to(picture, shown.shape))
        np.testing.assert_array_equal(shown, np.asarray(read(file.read_bytes()).convert("RGB")))


def test_timelapse_of_colours_and_larger_pixels(tmp_path):
    colours = np.array([[255, 0, 0], [0, 200, 30], [10, 20, 240], [255, 255, 255]], np.uint8)
    grids = colours[noise(3, 8, 8) % 4]
    export.save_timelapse(tmp_path / "x.gif", save_grids(RunDir(tmp_path), grids), scale=3)
    pixels, times = frames_of(read((tmp_path / "x.gif").read_bytes()))
    assert times[-1] == 2000 and sum(times[:2]) == 170  # two frames at 12 a second, in hundredths
    for shown, picture in zip(pixels, grids, strict=True):
        np.testing.assert_array_equal(shown, blocks(picture, 3))


@pytest.mark.parametrize(("num", "most"), [(1, 200), (5, 5), (6, 5), (41, 5), (9, 2), (250, 200)])
def test_timelapse_thins_evenly_and_keeps_both_ends(num, most, tmp_path):
    levels = np.arange(num)
    grids = np.broadcast_to(levels.astype(np.uint8)[:, None, None, None], (num, 4, 4, 1))
    export.save_timelapse(tmp_path / "x.gif", save_grids(RunDir(tmp_path), grids), max_frames=most)
    shown = np.array([frame[0, 0, 0] for frame in frames_of(read((tmp_path / "x.gif").read_bytes()))[0]])
    assert len(shown) == min(num, most) and shown[0] == 0 and shown[-1] == num - 1
    if num > 1:
        gaps, even = np.diff(shown.astype(int)), (num - 1) / (len(shown) - 1)
        assert gaps.min() >= np.floor(even) and gaps.max() <= np.ceil(even)


def test_timelapse_names_a_file_that_is_damaged(tmp_path):
    files = save_grids(RunDir(tmp_path / "run"), noise(5, 64, 64, 1))
    whole = files[3].read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2], whole[:30], b"GIF89a" + whole):
        files[3].write_bytes(content)
        with pytest.raises(RunError, match="000004.png is damaged"):
            export.save_timelapse(tmp_path / "x.gif", files)
    export.save_image(files[3], noise(32, 64, 1))
    with pytest.raises(RunError, match=r"000004.png is \(32, 64, 1\), and .*000000.png is \(64, 64, 1\)"):
        export.save_timelapse(tmp_path / "x.gif", files)
    assert not (tmp_path / "x.gif").exists()


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("x.webm", {}, r"as \.gif or \.mp4"),
        ("x.gif", {"fps": 0}, "frames a second"),
        ("x.gif", {"scale": 0}, "got 0 and 200"),
        ("x.gif", {"scale": 17}, "got 17 and 200"),
        ("x.gif", {"max_frames": 1}, "got 1 and 1"),
    ],
)
def test_a_timelapse_that_can_not_be_is_refused(name, options, reason, tmp_path):
    files = save_grids(RunDir(tmp_path / "run"), noise(3, 8, 8, 1))
    with pytest.raises(ConfigError, match=reason):
        export.save_timelapse(tmp_path / name, files, **options)
    with pytest.raises(ConfigError, match="got 0"):
        export.save_timelapse(tmp_path / "x.gif", [])
    assert not (tmp_path / name).exists()


def test_timelapse_by_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    grids = noise(5, 16, 16, 1)
    save_grids(RunDir("runs/a"), grids)
    cli.main(None, ["timelapse", "runs/a"])
    cli.main(None, "timelapse runs/a --out b.gif --fps 4 --scale 2 --max-frames 3".split())
    assert capsys.readouterr() == ("progress.gif\nb.gif\n", "")
    assert len(frames_of(read(Path("progress.gif").read_bytes()))[0]) == 5
    pixels, times = frames_of(read(Path("b.gif").read_bytes()))
    assert times == [250, 250, 2000]
    for shown, i in zip(pixels, (0, 2, 4), strict=True):
        np.testing.assert_array_equal(shown[::2, ::2, :1], grids[i])


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("none", "none holds no run: there is no config.yaml in it."),
        ("new", "new has no sample grids yet."),
        (
            "a --out x.avi",
            "x.avi: pictures are written as .png, arrays as .npz, films as .gif or .mp4; here .gif or .mp4 or .png.",
        ),
    ],
)
def test_timelapse_explains_what_it_can_not(argv, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    RunDir("new").open_config(Config())
    save_grids(RunDir("a"), noise(2, 8, 8, 1))
    with pytest.raises(SystemExit) as caught:
        cli.main(None, ["timelapse", *argv.split()])
    assert caught.value.code == 1 and capsys.readouterr().err == f"ganlab: {line}\n"


def test_timelapse_of_a_released_model_draws_the_same_seeds_over_its_history(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints" / "alpha"
    for step in (0, 5, 40):
        write_generator(folder / "history" / f"{step:06d}.safetensors", seed=step, step=step)
    write_generator(folder / "generator.safetensors", seed=40, step=40)
    cli.main(None, "timelapse alpha --out film.gif".split())
    frames, durations = frames_of(read((tmp_path / "film.gif").read_bytes()))
    assert durations == [330, 340, 2000]
    for step, frame in zip((0, 5, 40), frames, strict=True):
        np.testing.assert_array_equal(frame[..., :1], render.grid(catalog.load(f"alpha@{step}").sample(64)))
    for file in (folder / "history").iterdir():
        file.unlink()
    with pytest.raises(SystemExit):
        cli.main(None, ["timelapse", "alpha"])
    assert "alpha was released without a history" in capsys.readouterr().err
