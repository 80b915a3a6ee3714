"""How good a run was over time: its snapshots measured one by one, and `evaluations.jsonl` in the run directory.

One line a snapshot and protocol, by step: step, images, data, extractor, sha256 (of the snapshot), num, seed, each
metric's value under its full name, and the floor and the ceiling of each as {name: value}. The training worker neither
reads nor writes the file; whoever evaluates next writes it anew, without snapshots that are no longer there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganlab.errors import RunError
from ganlab.evaluate.measure import evaluate
from ganlab.evaluate.report import Report
from ganlab.files import write_atomic
from ganlab.render import load_model
from ganlab.rundir import RunDir

NUM = 2_000  # pictures of each snapshot: enough to tell them apart, and cheap
FILE = "evaluations.jsonl"


def evaluate_snapshots(
    run: RunDir, data: str = "", *, num: int = NUM, progress: Callable[[str, float], None], **options: Any
) -> list[Report]:
    """Measure every snapshot of a run, oldest first, without pictures, and write evaluations.jsonl after each.

    Options as for `evaluate`. Raises RunError if there is no run or no snapshot, and whatever `evaluate` raises.
    """
    run.read_config()
    files = run.snapshots()
    if not files:
        raise RunError(f"{run.path} has no snapshot yet. The first comes a moment after the training starts.")
    reports = []
    for i, file in enumerate(files):
        model = load_model(file, f"{run.path}@{int(file.stem)}", options.get("num_threads", 0))

        def told(doing: str, share: float, i: int = i, name: str = model.name) -> None:
            progress(f"{name}: {doing}", (i + share) / len(files))

        reports.append(evaluate(model, data, num=num, progress=told, pictures=False, **options))
        _write(run, reports)
    return reports


def read_timeline(run: RunDir) -> list[dict[str, Any]]:
    """The lines of evaluations.jsonl, by step; those that are damaged or of no snapshot that is there are left out."""
    try:
        lines = (run.path / FILE).read_text().splitlines()
    except (OSError, ValueError):
        return []
    rows = []
    steps = {int(file.stem) for file in run.snapshots()}
    for line in lines:
        try:
            row = json.loads(line)
            if row["step"] in steps:
                rows.append(row)
        except (ValueError, KeyError, TypeError):
            continue
    return rows


def row_of(report: Report) -> dict[str, Any]:
    """A report as a line of evaluations.jsonl."""
    metrics = report.metrics
    return {
        "step": report.model["step"],
        "images": report.model["images"],
        "data": report.data["name"],
        "extractor": report.extractor["name"],
        "sha256": report.model["sha256"],
        "num": report.num,
        "seed": report.seed,
        **{name: metric.value for name, metric in metrics.items()},
        "floor": {name: metric.floor for name, metric in metrics.items()},
        "ceiling": {name: metric.ceiling for name, metric in metrics.items()},
    }


def _write(run: RunDir, reports: list[Report]) -> None:
    """The lines that are there with those of the reports, which replace older ones of the same step and protocol."""
    rows = {_place(row): row for row in [*read_timeline(run), *map(row_of, reports)]}
    lines = [json.dumps(rows[place], allow_nan=False) + "\n" for place in sorted(rows)]
    write_atomic(Path(run.path) / FILE, "".join(lines).encode())


def _place(row: dict[str, Any]) -> tuple[int, str, str, int, int]:
    return row["step"], row["data"], row["extractor"], row["num"], row["seed"]
