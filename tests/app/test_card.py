"""The model card in Explore: what it shows of card.json, whole, old or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import write_generator
from streamlit.testing.v1 import AppTest

from ganlab import catalog

CARD = {
    "title": "A GAN on digits",
    "licence": "Digits: CC0, A. Nobody",
    "command": "python -m ganlab train --preset alpha --seed 3 --threads 1",
    "seed": 3,
    "steps": 4000,
    "images": 256_000,
    "minutes": 12.5,
    "hardware": "one thread of an abacus",
    "chosen": {
        "as": "best", "of_steps": 5000, "of_minutes": 15.0, "of_scores": 9, "metric": "fd_mnistnet_2k", "score": 1.25
    },
    "parameters": 123_456,
    "flops": 2_500_000,
    "milliseconds": 0.431,
    "timed_on": "AMD abacus, one thread",
    "bytes": 3_210_000,
    "samples": "samples.png: seeds 0 to 63, untruncated, not selected",
    "weaknesses": ["Its 7s often look like 1s.", "It knows no *italics*."],
    "sha256": "ab" * 32,
    "files": {"generator.safetensors": {"bytes": 10, "sha256": "ab" * 32}},
    "evaluation": {
        "extractor": {"name": "mnistnet", "sha256": "0" * 64}, "num": 10_000, "seed": 0,
        "notes": ["Reference: the whole split."],
        "metrics": {
            "fd_mnistnet_10k": {"value": 1.5, "error": None, "floor": 0.165, "ceiling": 365.0, "better": "lower"},
            "recall_mnistnet_10k": {"value": 0.75, "error": None, "floor": 0.824, "ceiling": 0.0, "better": "higher"},
            "kd_mnistnet_10k": {"value": None, "error": None, "floor": None, "ceiling": 1.0, "better": "lower"},
        },
    },
}  # fmt: skip
OLD = {key: CARD[key] for key in ("title", "licence", "command", "seed", "steps", "images", "minutes", "hardware")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path)
    write_generator(tmp_path / "alpha" / "generator.safetensors")
    return tmp_path / "alpha"


def show() -> None:
    from ganlab.app import card

    card.show("alpha")


def shown(folder: Path, content: str) -> AppTest:
    (folder / "card.json").write_text(content)
    app = AppTest.from_function(show, default_timeout=30).run()
    assert not app.exception
    return app


def text_of(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption])


def test_all_that_the_card_says_is_there(folder):
    app = shown(folder, json.dumps(CARD))
    (expander,) = app.expander
    assert expander.label == "Model card"
    assert [code.value for code in app.code] == [CARD["command"], f"{'ab' * 32}  generator.safetensors"]
    text = text_of(app)
    for words in (
        "A GAN on digits", "CC0, A. Nobody", "256,000 images in 4,000 steps, 12.5 minutes", "seed 3",
        "step 4,000 of 5,000 steps (15 minutes), the best of 9 by its score, `fd_mnistnet_2k` 1.25",
        "| Distance to real pictures `fd_mnistnet_10k` | 1.50 | 0.165 |", "`recall_mnistnet_10k` | 75.0% | 82.4% |",
        "`kd_mnistnet_10k` | – | – |", "10,000 generated pictures, seeds 0 to 9,999", "the whole split",
        "- Its 7s often look like 1s.", r"no \*italics\*", "123,456 parameters", "2.5 million operations",
        "0.43 ms a picture", "3.2 MB on disk", "one thread of an abacus", "untruncated, not selected",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("why", "says"),
    [
        ({"as": "newest"}, "the newest; its score: `fd_mnistnet_2k` 1.25"),
        ({"as": "newest", "score": None, "metric": None}, "the newest; its score: none"),
        ({"as": "step"}, "chosen by hand; its score: `fd_mnistnet_2k` 1.25"),
    ],
)
def test_why_this_snapshot(why, says, folder):
    assert says in text_of(shown(folder, json.dumps({**CARD, "chosen": {**CARD["chosen"], **why}})))


def test_an_old_card_shows_what_it_has(folder):
    app = shown(folder, json.dumps(OLD))
    text = text_of(app)
    assert "256,000 images" in text and "not been measured" in text and "Known weaknesses" not in text
    assert [code.value for code in app.code] == [CARD["command"]]


def test_a_damaged_card_is_said_and_a_run_has_none(folder):
    app = shown(folder, "{")
    assert "There is no card to show. The card of 'alpha' can't be read" in text_of(app)
    (folder / "generator.safetensors").unlink()
    assert not AppTest.from_function(show, default_timeout=30).run().expander


@pytest.mark.parametrize("name", catalog.released())
def test_cards_of_released_models_are_shown(name, monkeypatch):
    monkeypatch.undo()

    def show(name: str) -> None:
        from ganlab.app import card

        card.show(name)

    app = AppTest.from_function(show, default_timeout=30, args=(name,)).run()
    assert not app.exception
    assert app.code[0].value == catalog.read_card(name)["command"]
    assert "fd_" in text_of(app)
