"""Write docs/models.md of the cards in checkpoints/: `python -m tools.models_md`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganlab import catalog
from ganlab.app.card import why
from ganlab.files import write_atomic

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEAD = """# Released models

Written from the cards in `checkpoints/` by `python -m tools.models_md`; do not edit. Each model was trained by the
command beside it, on the whole training split, and is the snapshot that is said below; its `samples.png` shows seeds 0
to 63, untruncated and not selected.

## How good they are

Each figure is of 10,000 generated pictures, seeds 0 to 9,999. The floor is what real pictures of the test split get in
their place: no generator should do better. Figures of different names are no match for each other; what each means is
in the README, under Measure.
"""
COST = """## What they cost

Minutes and images until the released step; in brackets, minutes of the whole training. An operation is a multiplication
or an addition in a layer with weights. Milliseconds are the median of pictures drawn one by one by onnxruntime on one
thread. The card says on which machines. MB are of all files of the model.
"""
MEANS = {"lower": "lower", "higher": "higher", "middle": "as the floor"}


def text(names: Sequence[str]) -> str:
    """The page for these released models. Raises WeightsError for a card that can't be read."""
    cards = {name: catalog.read_card(name) for name in names}
    parts = [HEAD, *_figures(cards), COST, _cost(cards), "## One by one\n"]
    return "\n".join([*parts, *(_model(name, card) for name, card in cards.items())])


def _figures(cards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table for each set of models that were measured alike."""
    alike: dict[str, dict[str, Any]] = {}
    for name, card in cards.items():
        if found := card.get("evaluation"):
            key = json.dumps([found["reference"], found["extractor"], found["num"], found["seed"], found["floor"]])
            alike.setdefault(key, {})[name] = found["metrics"]
    return [_table(group) for group in alike.values()]


def _table(group: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a metric, a column a model, then the floor."""
    rows = [["", *(f"`{name}`" for name in group), "floor", "better"]]
    for metric in dict.fromkeys(metric for metrics in group.values() for metric in metrics):
        one = next(metrics[metric] for metrics in group.values() if metric in metrics)
        values = [_figure(metrics.get(metric)) for metrics in group.values()]
        rows.append([f"`{metric}`", *values, _number(one["floor"]), MEANS[one["better"]]])
    return _markdown(rows)


def _cost(cards: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [["", "minutes", "images", "G parameters", "operations a picture", "ms a picture", "MB"]]
    for name, card in cards.items():
        whole = f" ({card['chosen']['of_minutes']:g})" if "chosen" in card else ""
        counts = [f"{card['images']:,}", f"{card['parameters']:,}", f"{card['flops'] / 1e6:,.1f} M"]
        ends = [f"{card['milliseconds']:.2f}", f"{card['bytes'] / 1e6:.1f}"]
        rows.append([f"`{name}`", f"{card['minutes']:g}{whole}", *counts, *ends])
    return _markdown(rows)


def _model(name: str, card: Mapping[str, Any]) -> str:
    lines = [f"### {name}\n", f"{card['title']}, {card['hardware']}:\n", f"    {card['command']}\n"]
    if chosen := card.get("chosen"):
        lines.append(f"Step {card['steps']:,} of {chosen['of_steps']:,}, {why(chosen)}.\n")
    else:
        lines.append(f"Step {card['steps']:,}, the last one.\n")
    if weaknesses := card.get("weaknesses"):
        lines += ["Known weaknesses:\n", *(f"- {sentence}" for sentence in weaknesses), ""]
    if (DOCS / "models" / f"{name}.png").is_file():
        lines.append(f"![Losses of both networks and the score over the images seen, {name}](models/{name}.png)\n")
    return "\n".join(lines)


def _figure(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "–"
    if metric["value"] is None and metric["low"] is not None:
        return f"over {_number(metric['low'])}"
    return _number(metric["value"]) + (f" ± {metric['error']:.1g}" if metric["error"] is not None else "")


def _number(value: float | None) -> str:
    """Three digits, or a whole number."""
    if value is None:
        return "–"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g} M"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.3g}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    rules = ["---", *["--:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rules, *rows[1:]]) + "\n"


def write() -> Path:
    """Write docs/models.md for all released models."""
    write_atomic(DOCS / "models.md", text(catalog.released()).encode())
    return DOCS / "models.md"


if __name__ == "__main__":
    print(write())
