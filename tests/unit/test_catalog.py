"""Finding a model by what a person calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ganlab import catalog
from ganlab.config import Config
from ganlab.errors import WeightsError
from ganlab.weights import DISCRIMINATOR, GENERATOR, save_arrays

REPO = Path(__file__).parents[2]
CONFIG = Config(model="mlp", width=8, latent_dim=4)


def write_generator(file: Path, level: float) -> None:
    """A generator whose every picture is of one grey level, whatever z is."""
    sizes = [4, 8, 8, 784]
    arrays = {}
    for i in range(3):
        arrays[f"layers.{i}.weight"] = np.zeros((sizes[i + 1], sizes[i]), np.float32)
        arrays[f"layers.{i}.bias"] = np.zeros(sizes[i + 1], np.float32)
    arrays["layers.2.bias"] += np.float32(np.arctanh(level / 127.5 - 1))
    save_arrays(file, arrays, kind=GENERATOR, config=CONFIG, facts={"step": int(level)})


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch) -> Path:
    """Two released models, of grey levels 50 and 60."""
    folder = tmp_path / "checkpoints"
    write_generator(folder / "mnist-mlp" / "generator.safetensors", 50)
    write_generator(folder / "mnist-dcgan" / "generator.safetensors", 60)
    (folder / "unfinished").mkdir()
    (folder / "README.md").write_text("no model")
    monkeypatch.setattr(catalog, "CHECKPOINTS", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def make_run(path: Path, *steps: int) -> Path:
    """A run directory whose snapshot of step n is of grey level n."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("schema: 1\n")
    for step in steps:
        write_generator(path / "snapshots" / f"{step:06d}.safetensors", step)
    return path


def grey(model: str | Path) -> int:
    """The grey level of the model that is found."""
    (level,) = np.unique(catalog.load(model).sample(2))
    return int(level)


# --- what there is ---------------------------------------------------------------------------------------------------


def test_released_lists_folders_with_a_generator():
    assert catalog.released() == ["mnist-dcgan", "mnist-mlp"]


def test_a_released_name(checkpoints):
    assert catalog.find("mnist-mlp") == checkpoints / "mnist-mlp" / "generator.safetensors"
    assert (grey("mnist-mlp"), grey("mnist-dcgan")) == (50, 60)


def test_a_run_is_its_newest_snapshot(tmp_path):
    run = make_run(tmp_path / "runs" / "a", 20, 100, 3)
    assert grey("runs/a") == grey(run) == grey(str(run) + "/") == 100


def test_newest_is_by_number_not_by_name(tmp_path):
    run = make_run(tmp_path / "a", 200)
    write_generator(run / "snapshots" / "1000000.safetensors", 100)
    write_generator(run / "snapshots" / "999999.safetensors", 90)
    (run / "snapshots" / ".x.safetensors.12.tmp").write_text("half a file")
    (run / "snapshots" / "best.safetensors").write_text("no number")
    assert catalog.find("a").name == "1000000.safetensors"


def test_a_step_of_a_run(tmp_path):
    make_run(tmp_path / "a", 20, 100, 3)
    assert (grey("a@20"), grey("a@3"), grey("a@000020")) == (20, 3, 20)


def test_a_file(tmp_path):
    run = make_run(tmp_path / "a", 20, 100)
    assert grey(run / "snapshots" / "000020.safetensors") == 20
    assert grey("a/snapshots/000020.safetensors") == 20


def test_a_released_name_wins_over_a_folder(tmp_path):
    make_run(tmp_path / "mnist-mlp", 100)
    assert (grey("mnist-mlp"), grey("./mnist-mlp")) == (50, 100)


def test_an_at_sign_may_be_part_of_a_name(tmp_path):
    make_run(tmp_path / "a", 7)
    make_run(tmp_path / "a@7", 90)
    make_run(tmp_path / "b@x", 80)
    assert (grey("a@7"), grey("a@7@90"), grey("b@x"), grey("b@x@80")) == (90, 90, 80, 80)


# --- a released model's history, and discriminators ------------------------------------------------------------------


def with_history(folder: Path, *steps: int) -> None:
    for step in steps:
        write_generator(folder / "history" / f"{step:06d}.safetensors", step)


def test_a_released_model_has_a_history_in_order_of_steps(checkpoints):
    assert catalog.history("mnist-mlp") == catalog.history("zzz") == []
    with_history(checkpoints / "mnist-mlp", 50, 2, 10)
    write_generator(checkpoints / "mnist-mlp" / "history" / "1000000.safetensors", 90)
    (checkpoints / "mnist-mlp" / "history" / "best.safetensors").write_text("no number")
    assert [int(file.stem) for file in catalog.history("mnist-mlp")] == [2, 10, 50, 1_000_000]
    assert (grey("mnist-mlp@2"), grey("mnist-mlp@000010"), grey("mnist-mlp")) == (2, 10, 50)


def test_the_last_snapshot_of_a_released_model_is_the_model(checkpoints):
    folder = checkpoints / "mnist-mlp"
    (folder / "card.json").write_text('{"steps": 60}')
    assert catalog.snapshots("mnist-mlp") == {}  # one picture is no history
    with_history(folder, 2, 10)
    assert list(catalog.snapshots("mnist-mlp")) == [2, 10, 60]
    assert catalog.find("mnist-mlp@60") == catalog.find("mnist-mlp") == folder / "generator.safetensors"
    for unreadable in ("{", "[]", '{"steps": null}'):
        (folder / "card.json").write_text(unreadable)
        assert list(catalog.snapshots("mnist-mlp")) == [2, 10]


def test_a_step_that_history_lacks_lists_those_that_there_are(checkpoints):
    with_history(checkpoints / "mnist-mlp", 50, 2, 10)
    with pytest.raises(WeightsError, match=r"mnist-mlp has no snapshot of step 3\. There are: 2, 10, 50\."):
        catalog.find("mnist-mlp@3")
    with pytest.raises(WeightsError, match="mnist-dcgan has no snapshot of step 3. It was released without a history"):
        catalog.find("mnist-dcgan@3")
    with pytest.raises(WeightsError, match="mnist-mlp alone is its chosen snapshot"):
        catalog.find("mnist-mlp@best")


def write_discriminator(file: Path, level: float) -> None:
    """A discriminator that finds every picture as real as `level` says."""
    arrays = {f"layers.{i}.{kind}": np.zeros((8, 784 if i == 0 else 8) if kind == "weight" else 8, np.float32)
              for i in range(2) for kind in ("weight", "bias")}  # fmt: skip
    arrays |= {"head.linear.weight": np.zeros((1, 8), np.float32), "head.linear.bias": np.full(1, level, np.float32)}
    save_arrays(file, arrays, kind=DISCRIMINATOR, config=CONFIG, facts={"step": 1})


def test_a_discriminator_lies_beside_its_generator(tmp_path, checkpoints):
    write_discriminator(checkpoints / "mnist-mlp" / "discriminator.safetensors", 0.5)
    run = make_run(tmp_path / "a", 20, 100, 3)
    for step in (20, 100):
        write_discriminator(run / "discriminators" / f"{step:06d}.safetensors", step)
    (run / "metrics.jsonl").write_text('{"step": 20, "metric": "m", "score": 1.0}\n')
    pictures = np.zeros((2, 28, 28, 1), np.uint8)
    models = ["mnist-mlp", "a", "a@20", "a@best", "a/snapshots/000020.safetensors"]
    assert [catalog.load_judge(model).logits(pictures).tolist() for model in models] == [
        [level] * 2 for level in (0.5, 100, 20, 20, 20)
    ]
    assert catalog.load_judge("mnist-mlp").name == "mnist-mlp"


def test_a_missing_discriminator_is_told_of(tmp_path, checkpoints):
    run = make_run(tmp_path / "a", 20, 3)
    write_discriminator(run / "discriminators" / "000003.safetensors", 1)
    with_history(checkpoints / "mnist-mlp", 2)
    for model in ("a", "a@20", "mnist-mlp", "mnist-mlp@2", "a/snapshots/000020.safetensors"):
        with pytest.raises(WeightsError, match=f"no discriminator beside {model}"):
            catalog.find_discriminator(model)
    for model in ("zzz", "a@4"):
        with pytest.raises(WeightsError, match="No model|no snapshot"):
            catalog.find_discriminator(model)


# --- what there is not -----------------------------------------------------------------------------------------------


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(WeightsError) as caught:
        catalog.find("mnist-dcgn")
    message = str(caught.value)
    assert "'mnist-dcgn'" in message and "mnist-dcgan, mnist-mlp" in message
    assert "Did you mean 'mnist-dcgan'?" in message


@pytest.mark.parametrize(
    "name", ["", "zzz", "@", "@5", "zzz@5", "unfinished", "checkpoints", "a\0b", "x" * 5000, "x" * 5000 + "@5", "../.."]
)
def test_nothing_like_it_is_there(name):
    with pytest.raises(WeightsError, match="No model is called") as caught:
        catalog.find(name)
    assert "Did you mean" not in str(caught.value)


def test_without_released_models_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "nowhere")
    assert catalog.released() == []
    with pytest.raises(WeightsError, match=r"\(none\)"):
        catalog.find("mnist-mlp")


@pytest.mark.parametrize("name", ["a", "a@20"])
def test_a_run_without_snapshots_says_so(tmp_path, name):
    make_run(tmp_path / "a")
    with pytest.raises(WeightsError, match="a has no snapshot yet"):
        catalog.find(name)


def test_a_missing_step_lists_those_that_there_are(tmp_path):
    make_run(tmp_path / "a", 20, 100, 3)
    with pytest.raises(WeightsError, match=r"step 21\. There are: 3, 20, 100\."):
        catalog.find("a@21")


def test_a_long_list_of_steps_is_shortened(tmp_path):
    make_run(tmp_path / "a", *range(1, 41))
    with pytest.raises(WeightsError, match=r": 1, 2, 3, 4, 5, 6, …, 35, 36, 37, 38, 39, 40\."):
        catalog.find("a@41")


@pytest.mark.parametrize("step", ["²", "x", "-1", "1.5", ""])
def test_what_is_no_step_is_part_of_the_name(tmp_path, step):
    make_run(tmp_path / "a", 2)
    with pytest.raises(WeightsError, match="No model is called"):
        catalog.find(f"a@{step}")


def test_a_damaged_model_is_not_opened(checkpoints):
    file = checkpoints / "mnist-mlp" / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="generator.safetensors"):
        catalog.load("mnist-mlp")


# --- what is found ---------------------------------------------------------------------------------------------------


def test_a_model_knows_its_name_config_and_facts():
    model = catalog.load("mnist-dcgan")
    assert (model.name, model.config, model.facts) == ("mnist-dcgan", CONFIG, {"step": 60})


def test_a_card_is_read_or_missed(checkpoints):
    (checkpoints / "mnist-mlp" / "card.json").write_text(json.dumps({"title": "Digits"}))
    assert catalog.read_card("mnist-mlp") == {"title": "Digits"}
    (checkpoints / "mnist-dcgan" / "card.json").write_text("{")
    for name in ("mnist-dcgan", "unfinished", "zzz"):
        with pytest.raises(WeightsError, match=name):
            catalog.read_card(name)


def test_a_fresh_process_draws_without_torch(tmp_path):
    make_run(tmp_path / "a", 20, 100)
    program = f"""
import sys
import ganlab
images = ganlab.load({str(tmp_path / "a")!r} + "@20").sample(3, seed=5)
print(images.shape, images.dtype, images.min(), images.max())
print(sorted({{"torch", "torchvision"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(3, 28, 28, 1) uint8 20 20", "[]"]
