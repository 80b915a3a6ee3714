"""What is in checkpoints/: each file is the one on the card, and draws what the card shows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlab import catalog, render
from ganlab.config import from_dict
from ganlab.judge import load_judge
from ganlab.weights import GENERATOR, load_arrays
from tools import models_md

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
NAMES = catalog.released()
WITH_HISTORY = [name for name in NAMES if catalog.history(name)]
WITH_JUDGE = [name for name in NAMES if (CHECKPOINTS / name / "discriminator.safetensors").is_file()]
MB = 1_000_000
each_model = pytest.mark.parametrize("name", NAMES)


def files() -> list[Path]:
    return [file for file in CHECKPOINTS.rglob("*") if file.is_file()]


def some(names: list[str], what: str) -> pytest.MarkDecorator:
    none = [pytest.param("", marks=pytest.mark.skip(reason=f"no released model has {what}"))]
    return pytest.mark.parametrize("name", names or none)


def test_there_are_models_and_they_are_small():
    assert NAMES, "a newcomer finds nothing"
    assert sum(file.stat().st_size for file in files()) < 64 * MB
    assert [file for file in files() if file.stat().st_size > 12 * MB] == []


@each_model
def test_each_file_is_the_one_on_the_card(name):
    folder, card = CHECKPOINTS / name, catalog.read_card(name)
    hashes = {file: facts["sha256"] for file, facts in card["files"].items()}
    for file, digest in hashes.items():
        content = (folder / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, file
        assert len(content) == card["files"][file]["bytes"]
    there = [file for file in folder.rglob("*") if file.suffix in (".safetensors", ".png")]
    assert sorted(hashes) == sorted(file.relative_to(folder).as_posix() for file in there)
    assert card["sha256"] == hashes["generator.safetensors"]


@each_model
def test_the_samples_are_seeds_0_to_63_untruncated(name):
    with Image.open(CHECKPOINTS / name / "samples.png") as image:
        kept = np.asarray(image).astype(int)
    drawn = render.grid(catalog.load(name).sample(64))
    assert np.abs(kept.reshape(drawn.shape) - drawn).max() <= 1
    assert kept.std() > 20, "empty pictures"


@each_model
def test_the_card_says_what_the_files_say(name):
    card, model = catalog.read_card(name), catalog.load(name)
    assert (card["steps"], card["images"]) == (model.facts["step"], model.facts["images"])
    assert (card["parameters"], card["flops"]) == (model.program.num_parameters, model.program.flops)
    assert from_dict(json.loads((CHECKPOINTS / name / "config.json").read_text())) == model.config
    assert card["command"].startswith(f"python -m ganlab train --preset {name} ")
    assert f"--seed {model.config.seed}" in card["command"]
    for key in ("title", "licence", "hardware", "timed_on", "samples", "date"):
        assert card[key], key
    assert card["minutes"] > 0 and card["milliseconds"] > 0


@each_model
def test_the_figures_are_those_of_the_evaluation(name):
    (result,) = (CHECKPOINTS / name / "evaluations").glob("*/result.json")
    found, card = json.loads(result.read_text()), catalog.read_card(name)
    assert found["model"]["sha256"] == card["sha256"] and found["num"] == card["evaluation"]["num"] == 10_000
    assert found["metrics"] == card["evaluation"]["metrics"]
    assert found["extractor"] == card["evaluation"]["extractor"]


@each_model
def test_a_browser_can_run_it(name):
    if name == "cifar10-resnet":
        assert "cifar10-sn" in NAMES, "a browser needs a smaller one beside it"
        return
    card = catalog.read_card(name)
    assert card["parameters"] < 1_500_000 and card["milliseconds"] < 10


@some(WITH_HISTORY, "a history")
def test_a_history_leads_to_the_released_model(name):
    history = catalog.snapshots(name)
    assert 12 <= len(history) <= 16
    facts = [load_arrays(file, kind=GENERATOR)[2] for file in history.values()]
    steps = list(history)
    assert steps == sorted(set(steps)) == [fact["step"] for fact in facts]
    assert steps[-1] == catalog.read_card(name)["steps"] and steps[0] <= steps[-1] // 100
    assert history[steps[-1]] == CHECKPOINTS / name / "generator.safetensors"
    z_of = catalog.load(name).z([0, 1])
    pictures = [render.load_model(file) for file in history.values()]
    y = pictures[0].labels_of([0, 1])
    drawn = [model.generate(z_of, y) for model in pictures]
    assert (drawn[0] != drawn[-1]).mean() > 0.2
    assert catalog.find(f"{name}@{steps[0]}") == history[steps[0]]


@some(WITH_HISTORY, "a history")
def test_numbers_in_a_history_take_two_bytes(name):
    for file in catalog.snapshots(name).values():
        arrays, _, _ = load_arrays(file, kind=GENERATOR)
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}


@some(WITH_JUDGE, "a discriminator")
def test_the_discriminator_is_of_the_same_step_and_prefers_real_pictures(name):
    """Real ones are kept with the evaluation."""
    model, judge = catalog.load(name), load_judge(catalog.find_discriminator(name))
    assert judge.facts["step"] == model.facts["step"] and judge.config == model.config
    seeds = range(64)
    pictures, y = model.from_seeds(seeds), model.labels_of(seeds)
    (kept,) = (CHECKPOINTS / name / "evaluations").glob("*/pictures.npz")
    with np.load(kept) as arrays:
        real, labels = arrays["real"], arrays["real_classes"]
    assert judge.logits(real, labels if y is not None else None).mean() > judge.logits(pictures, y).mean()


def test_the_page_about_them_is_up_to_date():
    page = (CHECKPOINTS.parent / "docs" / "models.md").read_text()
    assert page == models_md.text(NAMES), "write it anew: python -m tools.models_md"
    for name in NAMES:  # and says what the cards say
        card = catalog.read_card(name)
        values = [f"{card['parameters']:,}", f"{card['images']:,}", card["command"], *card.get("weaknesses", [])]
        assert [value for value in values if value not in page] == []
