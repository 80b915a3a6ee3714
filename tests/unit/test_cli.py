"""The command line: every flag reaches what it is for, every error is one line, and what README says is so."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlab import catalog, cli
from ganlab.config import Config
from ganlab.errors import Diverged
from ganlab.presets import PRESETS
from ganlab.render import load_model
from ganlab.rundir import RunDir, Status
from ganlab.weights import GENERATOR, save_arrays

README = Path(__file__).parents[2] / "README.md"

ALIASES = ["--class-name", "--encoding-dims", "--latent-vector-length", "--beta-1", "--beta-2", "--n-epochs", "--lr",
           "--conditional", "--gp-lambda", "--clip-value"]  # fmt: skip
HYPERPARAMETERS = [f"--{f.name.replace('_', '-')}" for f in dataclasses.fields(Config)]
SWITCHES = [f"--no-{f.name.replace('_', '-')}" for f in dataclasses.fields(Config) if f.type == "bool"]
WHERE = ["--device", "--data-root", "--threads"]
FLAGS = {
    "train": ["--preset", "--out", "--outdir", *WHERE, *ALIASES, *HYPERPARAMETERS, *SWITCHES],
    "resume": WHERE,
    "fork": ["--at", "--out", "--outdir", *WHERE, *ALIASES, *HYPERPARAMETERS, *SWITCHES],
    "control": ["--until"],
    "check": [],
    "sample": ["--num", "--seed", "--truncation", "--class", "--out"],
    "interpolate": ["--from", "--to", "--class", "--path", "--frames", "--fps", "--out"],
    "render": ["--out", "--scale", "--fps"],
    "project": ["--out", "--digit", "--starts", "--steps", "--seed", "--threads"],
    "directions": ["--class", "--out"],
    "timelapse": ["--out", "--fps", "--scale", "--max-frames"],
    "plot": ["--out"],
    "evaluate": [
        *["--against", "--data", "--num", "--seed", "--all-snapshots", "--inception", "--inception-weights", "--out"],
        *["--data-root", "--threads"],
    ],
    "list": ["--runs"],
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Default paths, such as ./runs, are in an empty folder; messages are as on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run_command(*argv: object, started: float | None = None) -> None:
    cli.main(started, [str(argument) for argument in argv])


def fails(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str]:
    """Exit code and standard error of a command that fails, and prints no result."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run_command(*argv)
    out, err = capsys.readouterr()
    assert caught.value.code not in (0, None) and "Traceback" not in err + out
    return caught.value.code, err  # type: ignore[return-value]


@functools.cache
def help_of(command: str) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as caught:
        run_command(command, "--help")
    assert caught.value.code == 0
    return text.getvalue()


@functools.cache
def flags_in_help(command: str) -> frozenset[str]:
    """The flags that a command's help explains, aliases too."""
    rows = [line.strip("│| ") for line in help_of(command).splitlines()]
    names = [row.split("  ")[0] for row in rows if re.match(r"--?\w", row)]  # two spaces end the names
    return frozenset(re.findall(r"--[\w-]+", " ".join(names))) - {"--help"}


def words_of(text: str) -> str:
    """The words of a text without its frame and line ends."""
    return " ".join(re.sub("[│|]", " ", text).split())


# --- commands and help -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_alone_it_shows_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run_command(*argv)
    out, err = capsys.readouterr()
    assert err == ""
    listed = re.findall(r"^  (\w+) +[A-Z].*\.$", out, re.MULTILINE)  # with the first line of what it does
    assert listed == list(cli.COMMANDS) and set(listed) == set(FLAGS)


def test_an_unknown_command_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = fails(capsys, "trian")
    assert code == 2 and "'trian'" in err.splitlines()[0]
    assert all(f"  {name} " in err for name in cli.COMMANDS)


@pytest.mark.parametrize("command", FLAGS)
def test_help_explains_every_flag(command: str) -> None:
    assert flags_in_help(command) == set(FLAGS[command])
    assert f"python -m ganlab {command}" in help_of(command)


def test_help_of_train_explains_every_hyperparameter_with_limits_and_default() -> None:
    text = words_of(help_of("train"))
    about = {f.name: f.metadata["help"] for f in dataclasses.fields(Config)}
    assert [name for name in about if about[name] not in text] == []
    assert f"{about['width']} [4 to 2,048] (default: 64)" in text
    assert f"{about['seed']} [0 to 2,147,483,647] (default: 0)" in text
    assert f"{about['learning_rate']} [1e-06 to 0.1] (default: 0.0002)" in text


def test_help_of_train_shows_the_presets_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command("train", "--preset", "mnist-mlp", "--help")
    text = words_of(capsys.readouterr().out)
    assert "[4 to 2,048] (default: 384)" in text and "(default: runs/mnist-mlp)" in text


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["train", "--glitter", "1"], "--glitter"),
        (["train", "--width", "wide"], "--width"),
        (["train", "--model", "vae"], "--model"),
        (["train", "--preset"], "--preset"),
        (["resume"], "PATH"),
        (["control", "runs/a", "dance"], "dance"),
        (["sample"], "MODEL"),
        (["interpolate", "m", "--path", "zigzag"], "--path"),
        (["list", "extra"], "extra"),
    ],
)
def test_wrong_usage_is_named(argv: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = fails(capsys, *argv)
    assert code == 2 and named in err


# --- train and resume ------------------------------------------------------------------------------------------------


class Training:
    """Stands in for the training loop: keeps what it was called with; `during` is what happens meanwhile."""

    def __init__(self) -> None:
        self.calls: list[tuple[Config, Path, dict[str, Any]]] = []
        self.during = lambda: None

    def __call__(self, config: Config, out: Path, **options: Any) -> None:
        self.calls.append((config, out, options))
        self.during()

    @property
    def config(self) -> Config:
        ((config, _, _),) = self.calls
        return config


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Iterator[Training]:
    instead = Training()
    monkeypatch.setattr("ganlab.loop.train", instead)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield instead
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_without_flags_it_trains_the_defaults(training: Training) -> None:
    run_command("train")
    ((config, out, options),) = training.calls
    assert config == Config() and out == Path("runs/mnist-5k-dcgan")
    assert (options["device"], options["data_root"], options["started"]) == ("auto", None, None)


def test_every_hyperparameter_has_a_flag_that_reaches_the_config(training: Training) -> None:
    values: dict[str, Any] = dict(
        data="faces.zip", classes=("3", "5"), image_size=32, channels=3, mirror=True, model="sn-conv", width=96,
        d_width=24, hidden_layers=3, latent_dim=7, prior="uniform", conditioning="concat", g_norm="batch-all",
        d_norm="none", g_activation="leaky-relu", leaky_slope=0.1, d_dropout=0.25, g_init="normal", d_init="library",
        loss="least-squares", batch_size=34, d_batches="merged", d_steps=3, g_steps=2, label_smoothing=0.1,
        label_flip=0.05, r1_gamma=0.5, r2_gamma=0.25, gradient_penalty=10.0, weight_clip=0.01, instance_noise=0.1,
        diffaugment=("color", "cutout"), learning_rate=1e-5, d_learning_rate=4e-4, lr_schedule="cosine",
        lr_decay_from=0.5, warmup_steps=7, beta1=0.0, beta2=0.99, ema_half_life=0, precision="float32", epochs=0.3,
        steps=77, log_every=3, sample_every=5, save_every=9, keep_states=4, score="pixel-moments", score_every=11,
        on_divergence="rollback", seed=2**31 - 1,
    )  # fmt: skip
    argv: list[object] = ["train"]
    for name, value in values.items():
        assert getattr(Config(), name) != value
        argv += [f"--{name}", *(value if isinstance(value, tuple) else [] if value is True else [value])]
    assert {*values, "compile"} == {f.name for f in dataclasses.fields(Config)}
    run_command(*argv)
    assert training.config == Config(**values)
    run_command("train", "--compile")
    assert training.calls[-1][0] == Config(compile=True)


@pytest.mark.parametrize(
    ("flag", "text", "field", "value"),
    [
        ("--epochs", "3", "epochs", 3.0),
        ("--n_epochs", "0.5", "epochs", 0.5),
        ("--batch_size", "64", "batch_size", 64),
        ("--learning_rate", "1e-3", "learning_rate", 0.001),
        ("--beta_1", "0.3", "beta1", 0.3),
        ("--beta1", "0.3", "beta1", 0.3),
        ("--beta_2", "0.9", "beta2", 0.9),
        ("--encoding_dims", "7", "latent_dim", 7),
        ("--latent_vector_length", "7", "latent_dim", 7),
        ("--latent_dim", "7", "latent_dim", 7),
        ("--class_name", "cat", "classes", ("cat",)),
    ],
)
def test_names_from_tutorials_mean_the_same(flag: str, text: str, field: str, value: Any, training: Training) -> None:
    expected = Config(**{field: value})
    assert expected != Config()
    for spelling in (flag, flag.replace("_", "-")):
        run_command("train", spelling, text)
        run_command("train", f"{spelling}={text}")
    assert [config for config, _, _ in training.calls] == [expected] * 4


def test_several_classes(training: Training) -> None:
    run_command("train", "--class_name", "cat", "dog", "--width", "8")
    assert training.config == Config(classes=("cat", "dog"), width=8)


@pytest.mark.parametrize("flag", ["--out", "--outdir"])
def test_where_and_on_what_it_trains(flag: str, training: Training) -> None:
    for data_root in ("--data_root", "--data-root"):
        run_command("train", flag, "here/it is", data_root, "/pictures", "--device", "cuda:1")
        _, out, options = training.calls.pop()
        assert out == Path("here/it is")
        assert (options["device"], options["data_root"]) == ("cuda:1", Path("/pictures"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_defaults_and_flags_change_them(name: str, training: Training) -> None:
    run_command("train", "--preset", name)
    run_command("train", f"--preset={name}", "--width", "16", "--seed", "5")
    run_command("train", "--seed", "5", "--width", "16", "--preset", name)
    base, *changed = (config for config, _, _ in training.calls)
    assert base == PRESETS[name] and changed == [PRESETS[name].replace(width=16, seed=5)] * 2
    assert {out for _, out, _ in training.calls} == {Path("runs") / name}


def test_of_two_presets_the_last_one_counts_as_of_all_flags(training: Training) -> None:
    run_command("train", "--preset", "cifar10-dcgan", "--width", "8", "--preset=mnist-mlp", "--width", "16")
    run_command("train", "--preset=cifar10-dcgan", "--width", "16", "--preset", "mnist-mlp")
    assert [config for config, _, _ in training.calls] == [PRESETS["mnist-mlp"].replace(width=16)] * 2


def test_an_unknown_preset_is_answered_with_those_there_are(
    training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = fails(capsys, "train", "--preset", "mnist")
    assert code == 1 and err.startswith("ganlab: No preset is called 'mnist'.") and err.count("\n") == 1
    assert all(name in err for name in PRESETS) and not training.calls


def test_a_value_outside_its_limits_is_refused_in_one_line(
    training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, line in (
        (["--epochs", "0"], "ganlab: epochs is 0.0; give a number from 0.01 to 10,000.\n"),
        (["--learning-rate", "nan"], "ganlab: learning_rate is nan; give a number from 1e-06 to 0.1.\n"),
        (["--batch_size", "-1"], "ganlab: batch_size is -1; give a whole number from 2 to 2,048.\n"),
    ):
        assert fails(capsys, "train", *argv) == (1, line)
    assert not training.calls and not Path("runs").exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Diverged("Training diverged at step 7."), "ganlab: Training diverged at step 7.\n"),
        (OSError(28, "No space left on device", "/x/y"), "ganlab: No space left on device: /x/y\n"),
        (OSError(28, "No space left on device"), "ganlab: No space left on device: is the disk full?\n"),
    ],
)
def test_an_error_in_training_is_one_line(
    error: Exception, line: str, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    training.during = fail
    assert fails(capsys, "train") == (1, line)


def test_a_mistake_of_our_own_is_not_hidden(training: Training) -> None:
    training.during = lambda: 1 // 0
    with pytest.raises(ZeroDivisionError):
        run_command("train")


def test_the_first_interrupt_asks_to_stop_and_a_second_would_end_it(training: Training) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        training.during = functools.partial(signal.raise_signal, number)
        run_command("train", "--out", number.name)
        assert RunDir(number.name).read_control().command == "stop"
        assert signal.getsignal(number) == signal.SIG_DFL


def test_its_last_line_says_how_it_went(training: Training, capsys: pytest.CaptureFixture[str]) -> None:
    status = Status(state="done", step=1234, total_steps=1234, images=157_952, seconds=90.0)

    def work() -> None:
        Path("runs/a").mkdir(parents=True)
        RunDir("runs/a").write_status(status)

    training.during = work
    run_command("train", "--out", "runs/a")
    assert capsys.readouterr().out.splitlines() == [
        "runs/a: dcgan on mnist-5k",
        "runs/a: done at step 1,234 of 1,234 (157,952 images, 1.5 minutes)",
    ]


def test_training_again_by_hand_lifts_an_old_pause(training: Training, tiny: Config) -> None:
    run = RunDir("runs/a")
    run.open_config(tiny)
    run.request("pause", until=3)
    run_command("train", "--out", "runs/a", "--width", "8")
    control = run.read_control()
    assert (control.command, control.until, control.version) == ("run", None, 2)


def test_resume_has_the_runs_own_config_and_its_own_start(training: Training, tiny: Config) -> None:
    """What was asked since the process started counts, so nothing may be asked in its name."""
    run = RunDir("runs/a")
    run.open_config(tiny)
    asked = run.request("pause")
    run_command("resume", "runs/a", "--device", "cpu", "--data-root", "d", started=12.5)
    ((config, out, options),) = training.calls
    assert (config, out) == (tiny, Path("runs/a")) and run.read_control() == asked
    assert (options["started"], options["device"], options["data_root"]) == (12.5, "cpu", Path("d"))


def test_resume_of_nothing_is_refused(training: Training, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = fails(capsys, "resume", "runs/none")
    assert code == 1 and err.startswith("ganlab: runs/none holds no run") and err.count("\n") == 1
    assert not Path("runs").exists()


# --- control and list ------------------------------------------------------------------------------------------------


def test_control_asks_the_worker(tiny: Config, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir("runs/a")
    run.open_config(tiny)
    run.write_status(Status(state="running", heartbeat=time.time()))
    for version, (argv, command, until) in enumerate(
        [(["pause"], "pause", None), (["run", "--until", "50"], "run", 50), (["stop"], "stop", None)], start=1
    ):
        run_command("control", "runs/a", *argv)
        control = run.read_control()
        assert (control.version, control.command, control.until) == (version, command, until)
    assert capsys.readouterr().out == ""
    run.write_status(Status(state="running", heartbeat=0.0))
    run_command("control", "runs/a", "stop")
    assert "python -m ganlab resume runs/a" in capsys.readouterr().out


def test_control_of_no_run_or_a_damaged_one_is_refused(tiny: Config, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = fails(capsys, "control", "runs/a", "stop")
    assert code == 1 and "holds no run" in err and not Path("runs").exists()
    RunDir("runs/a").open_config(tiny)
    Path("runs/a/control.json").write_text("{")
    code, err = fails(capsys, "control", "runs/a", "stop")
    assert code == 1 and "runs/a/control.json is damaged" in err and err.count("\n") == 1


# --- pictures --------------------------------------------------------------------------------------------------------


def write_generator(file: Path, seed: int, channels: int = 3) -> None:
    """A generator with random weights, whose every picture is another."""
    config = Config(model="mlp", width=8, latent_dim=4, channels=channels)
    random, sizes, arrays = np.random.default_rng(seed), [4, 8, 8, channels * 784], {}
    for i in range(3):
        shape = (sizes[i + 1], sizes[i])
        arrays[f"layers.{i}.weight"] = random.normal(0, 0.5, shape).astype(np.float32)
        arrays[f"layers.{i}.bias"] = np.zeros(sizes[i + 1], np.float32)
    save_arrays(file, arrays, kind=GENERATOR, config=config)


@pytest.fixture
def released(in_a_folder_of_its_own: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a released colour model called `noise`; `grey` is there too, but no torch."""
    folder = in_a_folder_of_its_own / "checkpoints"
    write_generator(folder / "noise" / "generator.safetensors", 0)
    write_generator(folder / "grey" / "generator.safetensors", 1, channels=1)
    monkeypatch.setattr(catalog, "CHECKPOINTS", folder)
    for module in ("torch", "ganlab.loop"):
        monkeypatch.setitem(sys.modules, module, None)  # whoever imports it gets an ImportError
    return folder / "noise" / "generator.safetensors"


def picture(file: Path, seed: int, truncation: float = 1.0) -> np.ndarray:
    """The picture of one seed, (28, 28, C), drawn by the library."""
    return load_model(file).from_seeds([seed], truncation)[0]


def sampled(*argv: object) -> np.ndarray:
    run_command("sample", *argv, "--out", "some/x.npz")
    with np.load("some/x.npz") as arrays:
        assert arrays.files == ["images"]
        return arrays["images"]


def test_sample_to_an_array(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = sampled("noise", "--num", "5", "--seed", "7")
    assert images.dtype == np.uint8 and images.shape == (5, 28, 28, 3)
    assert capsys.readouterr().out == "some/x.npz\n"
    for i in range(5):
        assert np.array_equal(images[i], picture(released, 7 + i))
        assert not np.array_equal(images[i], picture(released, 8 + i))
    assert np.array_equal(sampled("noise", "--num", "1", "--truncation", "0.5")[0], picture(released, 0, 0.5))
    assert len(sampled("noise")) == 64


def test_sample_to_a_grid(released: Path) -> None:
    run_command("sample", "noise", "--num", "4", "--seed", "3")
    grid = np.asarray(Image.open("samples.png"))
    assert grid.shape == (56, 56, 3)
    for i in range(4):
        y, x = 28 * (i // 2), 28 * (i % 2)
        assert np.array_equal(grid[y : y + 28, x : x + 28], picture(released, 3 + i))


def test_a_suffix_in_capitals_is_the_same_suffix(released: Path) -> None:
    run_command("sample", "noise", "--num", "2", "--out", "A.NPZ")
    run_command("interpolate", "noise", "--frames", "3", "--out", "B.GIF")
    with np.load("A.NPZ") as arrays, Image.open("B.GIF") as gif:
        assert arrays["images"].shape == (2, 28, 28, 3) and gif.format == "GIF"


def test_sample_of_a_run_and_of_one_of_its_steps(released: Path, tiny: Config) -> None:
    run = RunDir("runs/a")
    run.open_config(tiny)
    for step in (5, 10):
        write_generator(run.snapshot_file(step), seed=step)
    newest, older = picture(run.snapshot_file(10), 0), picture(run.snapshot_file(5), 0)
    assert not np.array_equal(newest, older)
    assert np.array_equal(sampled("runs/a", "--num", "1")[0], newest)
    assert np.array_equal(sampled("runs/a@5", "--num", "1")[0], older)


def test_interpolate_to_a_gif(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command("interpolate", "grey", "--from", "3", "--to", "8", "--frames", "6", "--fps", "10")
    assert capsys.readouterr().out == "walk.gif\n"
    frames, durations = [], []
    with Image.open("walk.gif") as gif:
        for i in range(gif.n_frames):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("L"))[::4, ::4, None].astype(int))  # each pixel is 4 wide
            durations.append(gif.info["duration"])
    assert len(frames) == 6 + 4 and set(durations) == {100}  # there and back again, both ends once
    file = released.parents[1] / "grey" / "generator.safetensors"
    one, other = picture(file, 3), picture(file, 8)
    assert np.abs(one.astype(int) - other).max() > 20
    assert np.abs(frames[0] - one).max() <= 1 and np.abs(frames[5] - other).max() <= 1  # rounding, see below
    assert all(np.array_equal(frames[5 + i], frames[5 - i]) for i in range(1, 5))


def strip(*argv: object) -> np.ndarray:
    """The pictures of a strip, (frames, 28, 28, 3)."""
    run_command("interpolate", "noise", "--frames", "5", *argv, "--out", "strip.png")
    picture = np.asarray(Image.open("strip.png"))
    assert picture.shape == (28, 5 * 28, 3)
    return picture.reshape(28, 5, 28, 3).swapaxes(0, 1)


def test_interpolate_to_a_strip(released: Path) -> None:
    round_way, straight = strip("--from", "3", "--to", "8"), strip("--from", "3", "--to", "8", "--path", "lerp")
    for way in (round_way, straight):
        # drawn in another batch, a sum's last bit may differ, and so a level
        assert np.abs(way[0].astype(int) - picture(released, 3)).max() <= 1
        assert np.abs(way[-1].astype(int) - picture(released, 8)).max() <= 1
    model = load_model(released)
    middle = model.generate(model.z([3, 8]).mean(0, keepdims=True))[0]
    assert np.abs(straight[2].astype(int) - middle).max() <= 1
    assert np.abs(round_way[2].astype(int) - middle).max() > 1
    assert np.array_equal(strip(), strip("--from", "1", "--to", "2"))


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["sample", "noize"], "Did you mean 'noise'?"),
        (["sample", "noise", "--out", "x.jpg"], "x.jpg"),
        (["sample", "noise", "--num", "0"], "picture"),
        (["sample", "noise", "--seed", "-1"], "seed"),
        (["interpolate", "noise", "--out", "x.webm"], "x.webm"),
        (["interpolate", "noise", "--frames", "1"], "frames"),
        (["interpolate", "noise", "--fps", "0"], "frames a second"),
        (["interpolate", "noise", "--to", "-5"], "seed"),
    ],
)
def test_what_can_not_be_drawn_is_said_in_one_line(
    argv: list[str], reason: str, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    code, err = fails(capsys, *argv)
    assert code == 1 and err.startswith("ganlab: ") and reason in err and err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_list_shows_models_and_runs(released: Path, tiny: Config, capsys: pytest.CaptureFixture[str]) -> None:
    run_command("list")
    assert "noise" in capsys.readouterr().out  # without a card, and without a folder of runs
    (released.parent / "card.json").write_text('{"title": "Grey noise"}')
    for name, status in (
        ("first", Status(state="done", heartbeat=10.0, step=1200, total_steps=1200)),
        ("second", Status(state="running", heartbeat=20.0, step=3, total_steps=1200)),
        ("broken1", None),
        ("broken2", None),
        ("third", Status(state="paused", heartbeat=time.time(), step=7, total_steps=9)),
    ):
        run = RunDir(Path("elsewhere") / name)
        run.open_config(tiny)
        if status:
            run.write_status(status)
    for name in ("broken1", "broken2"):
        Path("elsewhere", name, "status.json").write_text("{")
    run_command("list", "--runs", "elsewhere")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    models, runs = lines[: lines.index(["Runs", "in", "elsewhere/"])], lines[-5:]
    assert models[0] == ["Released", "models"] and models[1][0] == "grey"  # which still has no card
    assert models[2:] == [["noise", "Grey", "noise"]]
    assert runs[:3] == [
        "third paused step 7 of 9".split(),
        "second interrupted step 3 of 1,200".split(),
        "first done step 1,200 of 1,200".split(),
    ]
    assert {words[0] for words in runs[3:]} == {"broken1", "broken2"} and all("damaged" in words for words in runs[3:])


# --- README ----------------------------------------------------------------------------------------------------------


def snippets(markdown: str) -> Iterator[str]:
    """Lines of fenced or indented code, continued ones joined, and spans of inline code."""
    fenced = False
    for line in markdown.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.partition("#")[0].strip()
        else:
            yield from (span.strip() for span in re.findall(r"`([^`]+)`", line))


def untrue(markdown: str) -> list[str]:
    """Commands and flags of ganlab that a text shows and that do not exist."""
    wrong = []
    for snippet in snippets(markdown):
        called = re.search(r"(?:-m ganlab|^\$? ?ganlab)(?= |$)(.*)", snippet)
        if called:
            words = shlex.split(called[1].partition("&&")[0].partition("|")[0])
            command = words[0] if words and not words[0].startswith("-") else None
            if command in (None, "COMMAND"):
                known = {"--help"}
            elif command in cli.COMMANDS:
                known = {*flags_in_help(command), "--help"}
            else:
                wrong.append(command)
                continue
        elif snippet.startswith("--"):
            words, known = snippet.split(), frozenset({"--help"}).union(*map(flags_in_help, cli.COMMANDS))
        else:
            continue
        flags = [word.partition("=")[0] for word in words if re.match(r"--\w", word)]
        wrong += [flag for flag in flags if flag.replace("_", "-") not in known]
        wrong += [
            name for flag, name in zip(words, words[1:], strict=False) if flag == "--preset" and name not in PRESETS
        ]
    return wrong


def test_what_is_not_so_is_noticed() -> None:
    text = """
Run `python -m ganlab --help`, `python -m ganlab COMMAND --help` or `python -m ganlab dance --now`.
`--epochs` and `--batch_size 64` are flags, `--glitter` is none. ganlab is fine, `ganlab.load("x")` too, and
`ganlab paint` is not; `pip install --upgrade pip` is not ours.

```bash
python -m ganlab train --preset mnist-mlp --n_epochs=3 \\
    --frames 3   # --comment
.venv/bin/python -m ganlab sample "a b" --num 3 --out x.png --width 8
ganlab list --runs runs | grep --color x
streamlit run streamlit_app.py --server.port 80
```

    python -m ganlab train --preset mnist-dance --until 3
"""
    assert untrue(text) == ["dance", "--glitter", "paint", "--frames", "--width", "--until", "mnist-dance"]


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
def test_every_command_and_flag_in_the_readme_exists() -> None:
    text = README.read_text()
    assert "python -m ganlab train" in text
    assert untrue(text) == []
    assert [name for name in PRESETS if f"`{name}`" not in text] == []
