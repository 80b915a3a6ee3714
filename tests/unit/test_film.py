"""Films: MP4s as another reader sees them, what is told meanwhile, and recipes over a training."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_generator
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganlab import catalog, cli, export, render, timelapse
from ganlab.errors import ConfigError, WeightsError
from ganlab.recipe import parse
from ganlab.rundir import RunDir

STEPS = (0, 5, 40, 1_000_000)  # names of seven digits come before those of six by their letters
each_kind = pytest.mark.parametrize("kind", export.FILMS)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def smooth(num: int, height: int, width: int) -> np.ndarray:
    """Colours that change slowly from left to right, from top to bottom, and from frame to frame."""
    y, x = np.mgrid[:height, :width]
    frames = [np.stack([255 * x / width, 255 * y / height, 0 * x + 20 * i], -1) for i in range(num)]
    return np.round(frames).astype(np.uint8)


def decoded(content: bytes, folder: Path) -> tuple[np.ndarray, float]:
    """An MP4 as the program ffmpeg reads it: frames, uint8 (N, H, W, 3), and frames a second."""
    reader = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    file = folder / "film.mp4"
    file.write_bytes(content)
    command = [reader.get_ffmpeg_exe(), "-i", str(file), "-fps_mode", "passthrough", "-f", "rawvideo"]
    done = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    found = re.search(rb"Video: h264.*?, (\d+)x(\d+).*?, ([\d.]+) fps", done.stderr)
    assert found, done.stderr.decode()
    width, height = int(found[1]), int(found[2])
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3), float(found[3])


def levels(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 10) for frame in frames]


def mp4(frames: np.ndarray, fps: float = 20, **options: object) -> bytes:
    pytest.importorskip("av", reason="av is not installed")
    return export.film_bytes(".mp4", frames, fps, **options)  # type: ignore[arg-type]


# --- MP4 -------------------------------------------------------------------------------------------------------------


def test_mp4_keeps_grey(tmp_path: Path) -> None:
    frames = noise(6, 28, 28, 1)
    read, fps = decoded(mp4(frames, 12.5, scale=4, bounce=False), tmp_path)
    assert read.shape == (6, 112, 112, 3) and fps == 12.5
    error = np.abs(read.astype(int) - render.upscale(frames, 4))
    assert error.mean() < 1.5 and error.max() <= 12


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_mp4_keeps_colours(scale: int, tmp_path: Path) -> None:
    frames = smooth(5, 32, 48)
    read, _ = decoded(mp4(frames, scale=scale, bounce=False), tmp_path)
    assert read.shape == (5, 32 * scale, 48 * scale, 3)
    error = np.abs(read.astype(int) - render.upscale(frames, scale))
    assert error.mean() < 3 and error.max() <= 14


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (90, 140, 200)])
def test_mp4_says_which_colours_it_has(colour: tuple[int, int, int], tmp_path: Path) -> None:
    """A reader that took it for BT.601 would be far off."""
    frames = np.full((2, 16, 16, 3), colour, np.uint8)
    read, _ = decoded(mp4(frames, bounce=False), tmp_path)
    assert np.abs(read.astype(int) - colour).max() <= 3


def test_mp4_has_even_sides(tmp_path: Path) -> None:
    frames = np.repeat(smooth(1, 9, 15), 3, 0)
    read, _ = decoded(mp4(frames, scale=1, bounce=False), tmp_path)
    assert read.shape == (3, 10, 16, 3)
    assert np.abs(read[:, :9, :15].astype(int) - frames).mean() < 6


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({"bounce": True}, [0, 5, 10, 15, 20, 15, 10, 5]),
        ({"bounce": False}, [0, 5, 10, 15, 20]),
        ({"bounce": False, "hold": 0.5}, [0, 5, 10, 15, 20, 20, 20, 20, 20]),
    ],
)
def test_mp4_plays_the_frames_in_order(options: dict, order: list[int], tmp_path: Path) -> None:
    frames = np.stack([np.full((16, 16, 1), 50 * i, np.uint8) for i in range(5)])
    read, _ = decoded(mp4(frames, 10, **options), tmp_path)
    assert levels(read) == order


def test_without_av_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert not export.has_mp4()
    with pytest.raises(ConfigError, match="pip install av"):
        export.film_bytes(".mp4", noise(2, 8, 8, 1))


@pytest.mark.parametrize(
    "command",
    [["render", "model=mnist-sn&at=1,2"], ["interpolate", "mnist-sn"], ["timelapse", "mnist-sn"]],
    ids=lambda command: command[0],
)
def test_commands_say_so_before_they_draw(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(render.Model, "generate", lambda *_: pytest.fail("it drew"))
    with pytest.raises(SystemExit):
        cli.main(argv=[*command, "--out", str(tmp_path / "film.mp4")])
    assert "pip install av" in capsys.readouterr().err


# --- both ------------------------------------------------------------------------------------------------------------


@each_kind
def test_progress_rises_to_one(kind: str) -> None:
    if kind == ".mp4":
        pytest.importorskip("av", reason="av is not installed")
    told: list[float] = []
    export.film_bytes(kind, noise(7, 8, 8, 3), progress=told.append)
    assert len(told) >= 7 and told == sorted(told) and told[0] > 0 and told[-1] == 1


def test_other_kinds_and_films_too_large_are_refused() -> None:
    for kind in (".avi", "", ".png", "gif"):
        with pytest.raises(ConfigError, match="A film is a .gif or a .mp4"):
            export.film_bytes(kind, noise(2, 8, 8, 1))
    for kind in [".gif", *([".mp4"] if export.has_mp4() else [])]:
        with pytest.raises(ConfigError, match="1,074 million pixels"):
            export.film_bytes(kind, np.broadcast_to(np.uint8(0), (16, 512, 512, 1)), scale=16)


# --- a recipe over a training ----------------------------------------------------------------------------------------


@pytest.fixture
def alpha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a released model with a history, in whose parent one works."""
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints" / "alpha"
    for step in STEPS:
        write_generator(folder / "history" / f"{step:06d}.safetensors", seed=step, step=step, num_classes=3)
    write_generator(folder / "generator.safetensors", seed=STEPS[-1], step=STEPS[-1], num_classes=3)
    return folder


def gif_frames(file: str) -> list[np.ndarray]:
    with Image.open(file) as gif:
        return [np.array(gif.convert("L")) for i in range(gif.n_frames) if gif.seek(i) is None]


RECIPES = [
    "model=alpha&at=3@2",
    "model=alpha&at=0..8&class=1",
    "model=alpha&show=slerp&at=1,2&num=5&class=0*0.5:2*0.5",
    "model=alpha&show=lattice&at=3&x=0.5&y=-1.25&zoom=2&num=3&class=1",
    "model=alpha&at=0..3&move=features-1*2",
]


@pytest.mark.parametrize("text", RECIPES[:-1])
def test_a_film_shows_what_render_draws_at_each_step(alpha: Path, text: str, capsys: pytest.CaptureFixture) -> None:
    cli.main(None, ["timelapse", text, "--out", "film.gif", "--scale", "2"])
    frames = gif_frames("film.gif")
    assert len(frames) == len(STEPS)
    for step, frame in zip(STEPS, frames, strict=True):
        cli.main(None, ["render", f"{text}&step={step}", "--out", "one.png", "--scale", "2"])
        np.testing.assert_array_equal(frame, np.array(Image.open("one.png")))


def test_principal_directions_are_those_of_one_model_at_every_step(alpha: Path) -> None:
    """Else z would be another at each."""
    recipe = parse(RECIPES[-1])
    points = timelapse.points_of(recipe)
    for step, frame in zip(STEPS, timelapse.frames(points, list(timelapse.snapshots_of(recipe).values())), strict=True):
        expected = catalog.load(f"alpha@{step}").generate(points.z, points.y)
        np.testing.assert_array_equal(frame, render.grid(expected))


def test_a_film_as_strip_and_as_mp4(alpha: Path, tmp_path: Path) -> None:
    cli.main(None, ["timelapse", RECIPES[0], "--out", "film.png"])
    strip = np.array(Image.open("film.png"))
    each = [catalog.load(f"alpha@{step}").from_seeds([3], label=2)[0, ..., 0] for step in STEPS]
    np.testing.assert_array_equal(strip, np.hstack(each))
    pytest.importorskip("av", reason="av is not installed")
    cli.main(None, ["timelapse", f"http://host/?view=Time&{RECIPES[0]}", "--out", "film.mp4", "--fps", "2"])
    read, fps = decoded(Path("film.mp4").read_bytes(), tmp_path)
    assert fps == 2 and len(read) == len(STEPS) + 3  # the last one for two seconds
    error = np.abs(read[: len(STEPS), ..., 0].astype(int) - np.array(each))
    assert error.mean() < 3


def test_a_film_of_a_runs_snapshots(alpha: Path) -> None:
    run = RunDir("runs/a=model=")
    config = catalog.load("alpha").config
    run.open_config(config)
    for step in (7, 30):
        write_generator(run.snapshot_file(step), seed=step, step=step, num_classes=3)
    cli.main(None, ["timelapse", "model=runs/a%3Dmodel%3D&at=5&class=1", "--out", "film.gif"])
    expected = [catalog.load(f"{run.path}@{step}").from_seeds([5], label=1)[0, ..., 0] for step in (7, 30)]
    np.testing.assert_array_equal(gif_frames("film.gif"), expected)


def test_a_model_without_a_history_says_so(alpha: Path) -> None:
    for file in (alpha / "history").iterdir():
        file.unlink()
    with pytest.raises(WeightsError, match="without a history"):
        timelapse.snapshots_of(parse("model=alpha&at=1"))
    with pytest.raises(WeightsError, match="No model is called 'nobody'"):
        timelapse.snapshots_of(parse("model=nobody&at=1"))


def test_snapshots_come_in_the_order_of_training(alpha: Path) -> None:
    assert list(catalog.snapshots("alpha")) == list(STEPS)
    assert [file.stem for file in catalog.snapshots("alpha").values()] == ["000000", "000005", "000040", "1000000"]


@given(st.sets(st.integers(0, 10_000), max_size=300), st.integers(2, 60))
def test_a_few_steps_of_many(steps: set[int], most: int) -> None:
    ordered = sorted(steps)
    few = timelapse.spread(ordered, most)
    assert len(few) <= most and set(few) <= steps and few == sorted(few)
    if steps:
        assert few[-1] == max(steps) and few[0] == min(steps)
    if len(steps) <= most:
        assert few == ordered


def test_few_steps_stay_while_a_training_goes_on() -> None:
    """What was drawn need not be drawn anew: only at each doubling every other one goes, and none comes back."""
    shown = [timelapse.spread(range(n), 16) for n in range(1, 200)]
    for n, (before, after) in enumerate(zip(shown, shown[1:], strict=False), start=1):
        assert set(after) - {n} <= set(before)


def test_a_gif_is_exact_where_frames_have_other_levels() -> None:
    """Of few levels or nearly all: frames that brought a palette of their own were misread by Pillow."""
    for missing in (100, 255):
        first = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
        second = np.where(first == missing, 0, first)[:, ::-1]
        frames = np.concatenate([first, second, first // 64 * 64])
        content = export.film_bytes(".gif", frames, 10, scale=1, bounce=False)
        with Image.open(io.BytesIO(content)) as gif:
            read = [np.array(gif.convert("L")) for i in range(gif.n_frames) if gif.seek(i) is None]
        np.testing.assert_array_equal(read, frames[..., 0])
