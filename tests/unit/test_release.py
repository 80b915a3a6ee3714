"""Making a released model: what is chosen of a run, what the card says, and what is refused."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlab import catalog, cli, loop, presets
from ganlab.checkpoint import arrays_at_rest
from ganlab.cli import training
from ganlab.config import Config
from ganlab.errors import ConfigError, RunError, WeightsError
from ganlab.fork import fork
from ganlab.models import build_discriminator, build_generator
from ganlab.rundir import RunDir, Status
from ganlab.weights import DISCRIMINATOR, GENERATOR, load_arrays, save_arrays
from tools import card
from tools import release as tool

TINY = Config(data="mnist", model="mlp", width=8, latent_dim=4, batch_size=64, steps=800)
STEPS = [0, 1, 2, 4, 8, 16, 32, 64, 100, 128, 200, 256, 300, 400, 500, 512, 600, 700, 800]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Released models and docs of one's own, and two small presets."""
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(tool, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(card, "TIMED", 3)
    monkeypatch.setitem(presets.PRESETS, "tiny", TINY)
    monkeypatch.setitem(presets.PRESETS, "tiny-sn", TINY.replace(model="sn-conv", conditioning="projection"))
    return tmp_path


def make_run(path: Path, config: Config = TINY, best: int = 500, **status: object) -> RunDir:
    """A run with random weights at every step of STEPS, scored at each hundred; a step takes half a second."""
    run = RunDir(path)
    run.open_config(config)
    run.append_event("started", 0, device="cpu", threads=1, processes=1)
    for step in STEPS:
        facts = {"step": step, "images": 64 * step}
        for file, kind, network in (
            (run.snapshot_file(step), GENERATOR, build_generator(config)),
            (run.discriminator_file(step), DISCRIMINATOR, build_discriminator(config)),
        ):
            save_arrays(file, arrays_at_rest(network), kind=kind, config=config, facts=facts)
    for step in range(10, 801, 10):
        row = {"step": step, "images": 64 * step, "seconds": step / 2, "loss_g": 1.0, "loss_d": 2.0}
        scores = {"metric": "fd_mnistnet_2k", "score": 1.0 + abs(step - best)} if step % 100 == 0 else {}
        run.append_metrics({**row, "d_real": 0.75, "d_fake": 0.25, **scores})
    values: dict = dict(state="done", step=800, total_steps=800, num_images=60_000, seconds=400.0, device="cpu")
    run.write_status(Status(**{**values, **status}))
    return run


# --- the steps of a history ------------------------------------------------------------------------------------------


def test_a_history_keeps_both_ends_and_its_number():
    for num in range(2, 19):
        kept = tool.log_spaced(STEPS, 800, num)
        assert len(kept) == num and kept[0] == 0 and kept[-1] == 800
        assert kept == sorted(set(kept)) and set(kept) <= set(STEPS)
    assert tool.log_spaced(STEPS, 800, 99) == STEPS
    assert tool.log_spaced([5], 5, 12) == [5]


def test_a_history_ends_with_the_released_step():
    assert tool.log_spaced([9, 3, 7, 5], 7, 12) == [3, 5, 7]
    assert tool.log_spaced(STEPS, 300, 6)[-1] == 300


@pytest.mark.parametrize("num", [3, 4, 6])
def test_a_history_is_about_as_even_as_can_be(num):
    """Its widest gap in log(1 + step) is at most half as wide again as that of the best of all choices."""
    steps = [*(2**i for i in range(7)), *range(100, 1100, 100)]

    def widest(kept: tuple[int, ...] | list[int]) -> float:
        return max(math.log1p(b) - math.log1p(a) for a, b in zip(kept, kept[1:], strict=False))

    best = min(widest((1, *inner, 1000)) for inner in combinations(steps[1:-1], num - 2))
    assert widest(tool.log_spaced(steps, 1000, num)) <= 1.5 * best


def test_a_history_of_a_long_run_is_spread_over_all_its_decades():
    steps = [0, *(2**i for i in range(9)), *range(500, 46_876, 500), 46_875]
    kept = tool.log_spaced(steps, 46_875, 14)
    ratios = [(b + 1) / (a + 1) for a, b in zip(kept, kept[1:], strict=False)]
    assert 1.5 <= min(ratios) and max(ratios) <= 4.1


# --- the command -----------------------------------------------------------------------------------------------------


def asked_for(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Config, int | None]:
    """The config and the threads with which the command would train."""
    caught = []
    monkeypatch.setattr(
        training, "_work", lambda run, config, started, **work: caught.append((config, work["threads"]))
    )
    python, module, ganlab, *rest = shlex.split(command)
    assert (python, module, ganlab) == ("python", "-m", "ganlab")
    cli.main(None, rest)
    return caught[0]


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, ""),
        ({"seed": 7}, ""),
        ({"steps": 900, "save_every": 100}, " --steps 900 --save-every 100"),
        ({"steps": None, "epochs": 2.5, "score_every": 100, "score": "none"}, None),
    ],
)
def test_the_command_trains_the_same_again(changes, flags, tmp_path, monkeypatch):
    config = TINY.replace(**changes)
    run = RunDir(tmp_path / "run")
    run.open_config(config)
    run.append_event("started", 0, threads=2)
    command = tool.command_of(run, "tiny")
    assert asked_for(command, monkeypatch) == (config, 2)
    if flags is not None:
        expected = f"python -m ganlab train --preset tiny{flags} --seed {config.seed} --threads 2"
        assert command == expected


def test_classes_that_the_data_named_are_no_difference(tmp_path):
    run, classes = RunDir(tmp_path / "run"), tuple("0123456789")
    run.open_config(presets.preset("tiny-sn").replace(classes=classes))
    assert tool.command_of(run, "tiny-sn") == "python -m ganlab train --preset tiny-sn --seed 0 --threads 1"
    run.write_config(presets.preset("tiny-sn").replace(classes=("3", "5")))
    with pytest.raises(ConfigError, match="classes"):
        tool.command_of(run, "tiny-sn")


def test_a_run_of_another_config_is_refused(tmp_path):
    run = make_run(tmp_path / "run", TINY.replace(learning_rate=0.001, beta1=0.1))
    with pytest.raises(ConfigError, match="no run of the preset 'tiny'") as caught:
        tool.release(run, "tiny")
    assert "learning_rate: 0.0002 in the preset, 0.001 in the run" in str(caught.value)
    assert "beta1: 0.5 in the preset, 0.1 in the run" in str(caught.value)
    with pytest.raises(ConfigError, match="No preset is called 'zebra'"):
        tool.release(run, "zebra")
    assert not catalog.CHECKPOINTS.exists()


def test_a_run_that_was_changed_on_the_way_is_refused(tmp_path):
    run = make_run(tmp_path / "run")
    run.append_event("changed", 40, changes={"learning_rate": [1, 2]})
    with pytest.raises(RunError, match="was changed at step 40"):
        tool.release(run, "tiny")


@pytest.fixture
def longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run that came to its end, then was forked to train as long again."""
    short = TINY.replace(data="mnist-5k", steps=4, save_every=2, lr_schedule="linear", lr_decay_from=0.5)
    monkeypatch.setitem(presets.PRESETS, "tiny", short)
    loop.train(short, tmp_path / "a", device="cpu", threads=1)
    fork(RunDir(tmp_path / "a"), tmp_path / "b", changes={"steps": 8})
    return loop.resume(tmp_path / "b", device="cpu", threads=1)


def test_the_commands_of_a_fork_train_the_same_again(longer, tmp_path, monkeypatch):
    command = tool.command_of(longer, "tiny")
    first, second = (shlex.split(part) for part in command.split(" && "))
    assert first[:6] == ["python", "-m", "ganlab", "train", "--preset", "tiny"] and "--steps" in second
    monkeypatch.chdir(tmp_path)
    for part in (first, second):
        cli.main(None, part[3:])
    again = RunDir(tmp_path / second[second.index("--out") + 1])
    (arrays, config, facts), other = (load_arrays(r.snapshot_file(8), kind=GENERATOR) for r in (again, longer))
    assert (config, facts) == other[1:] and facts["step"] == 8
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, other[0][key])


def test_a_fork_that_no_command_repeats_is_refused(longer, tmp_path):
    fork(longer, tmp_path / "c", changes={"steps": 12})
    with pytest.raises(RunError, match="itself a fork"):
        tool.command_of(RunDir(tmp_path / "c"), "tiny")
    parent = RunDir(tmp_path / "a")
    parent.write_status(replace(parent.read_status(), state="stopped"))
    with pytest.raises(RunError, match="at step 4, which was not its end"):
        tool.command_of(longer, "tiny")
    (tmp_path / "a" / "config.yaml").unlink()
    with pytest.raises(RunError, match="or is gone"):
        tool.command_of(longer, "tiny")


# --- what is released ------------------------------------------------------------------------------------------------


def test_the_best_snapshot_is_released_with_its_history(tmp_path):
    run = make_run(tmp_path / "run")
    folder = tool.release(run, "tiny")
    tool.complete("tiny", None, ["It knows no 7."])
    assert catalog.load("tiny").facts["step"] == catalog.load_judge("tiny").facts["step"] == 500
    steps = list(catalog.snapshots("tiny"))
    assert len(steps) == 12 and steps == tool.log_spaced(STEPS, 500, 12)
    assert catalog.snapshots("tiny")[500] == folder / "generator.safetensors"
    assert [int(file.stem) for file in catalog.history("tiny")] == steps[:-1]  # that one is not there twice
    assert json.loads((folder / "config.json").read_text())["width"] == 8
    with Image.open(folder / "samples.png") as image:
        first = np.asarray(image)[:28, :28]
    np.testing.assert_array_equal(first, catalog.load("tiny").sample(1)[0, ..., 0])
    with Image.open(tmp_path / "docs" / "models" / "tiny.png") as image:
        assert image.size == (960, 640)


def test_the_card_says_how_it_was_made_and_chosen(tmp_path):
    folder = tool.release(make_run(tmp_path / "run"), "tiny", hardware="an abacus")
    tool.complete("tiny", None, ["It knows no 7.", "It is slow."])
    said = catalog.read_card("tiny")
    assert (said["steps"], said["images"], said["epochs"], said["minutes"]) == (500, 32_000, 0.53, 4.2)
    assert said["chosen"] == {
        "as": "best", "of_steps": 800, "of_minutes": 6.7, "of_scores": 8, "metric": "fd_mnistnet_2k", "score": 1.0
    }  # fmt: skip
    assert said["command"] == "python -m ganlab train --preset tiny --seed 0 --threads 1"
    assert said["hardware"] == "an abacus" and said["weaknesses"] == ["It knows no 7.", "It is slow."]
    parameters = (4 * 8 + 8) + (8 * 8 + 8) + (8 * 784 + 784)
    assert (said["parameters"], said["flops"]) == (parameters, 2 * (4 * 8 + 8 * 8 + 8 * 784))
    assert 0 < said["milliseconds"] < 1000
    names = ["directions.safetensors", "discriminator.safetensors", "generator.safetensors", "samples.png"]
    names += [f"history/{file.name}" for file in catalog.history("tiny")]
    assert sorted(said["files"]) == sorted(names)
    for name, facts in said["files"].items():
        content = (folder / name).read_bytes()
        assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert said["sha256"] == said["files"]["generator.safetensors"]["sha256"]


@pytest.mark.parametrize(
    ("at", "step", "why"), [("newest", 800, "newest"), ("300", 300, "step"), ("best", 500, "best")]
)
def test_another_snapshot_can_be_chosen(at, step, why, tmp_path):
    tool.release(make_run(tmp_path / "run"), "tiny", at)
    said = catalog.read_card("tiny")
    assert (said["steps"], said["chosen"]["as"], said["chosen"]["score"]) == (step, why, 1.0 + abs(step - 500))
    assert max(catalog.snapshots("tiny")) == step


def test_releasing_again_leaves_nothing_behind_but_the_weaknesses(tmp_path):
    run = make_run(tmp_path / "run")
    tool.release(run, "tiny", "800")
    tool.complete("tiny", None, ["It knows no 7."])
    tool.release(run, "tiny", "300")
    tool.complete("tiny", None)
    assert max(catalog.snapshots("tiny")) == 300
    assert catalog.read_card("tiny")["weaknesses"] == ["It knows no 7."]
    tool.release(run, "tiny", "300", num_history=0)
    assert catalog.history("tiny") == [] and catalog.snapshots("tiny") == {}


def test_what_can_not_be_released_is_said_before_anything_is_written(tmp_path):
    run = make_run(tmp_path / "run", device="cuda")
    with pytest.raises(RunError, match="trained on cuda: say by --hardware"):
        tool.release(run, "tiny")
    with pytest.raises(WeightsError, match="no snapshot of step 3"):
        tool.release(run, "tiny", "3", hardware="a GPU")
    run.discriminator_file(500).unlink()
    with pytest.raises(WeightsError, match="no discriminator"):
        tool.release(run, "tiny", hardware="a GPU")
    assert not catalog.CHECKPOINTS.exists()
