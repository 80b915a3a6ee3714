"""The command that measures models: a table, and JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ganlab.cli.pictures import ModelArgument
from ganlab.errors import ConfigError
from ganlab.rundir import RunDir

if TYPE_CHECKING:
    from ganlab.evaluate.report import Metric, Report

Rows = Sequence[Sequence[str]]
MEANS = {"lower": "lower is better", "higher": "higher is better", "middle": "best at the floor"}


def evaluate_command(argv: list[str], started: float) -> None:
    """Measure how good models are, with floor and ceiling of every figure."""

    def evaluate(
        model: tyro.conf.Positional[ModelArgument],
        against: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...")] = (),
        data: str = "",
        num: int | None = None,
        seed: int = 0,
        all_snapshots: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        inception: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        inception_weights: Path | None = None,
        out: Path | None = None,
        data_root: Path | None = None,
        threads: int = 0,
    ) -> None:
        """Measure how good models are, with floor and ceiling of every figure.

        Args:
            against: More models, beside it.
            data: What to measure against; else what the model learnt from.
            num: Generated pictures; else 10000, and 2000 with --all-snapshots.
            seed: Picture i comes from seed + i.
            all_snapshots: Of a run: every snapshot, a row each; also written to evaluations.jsonl in the run.
            inception: FID as papers report it instead, through torch-fidelity: 50000 pictures unless --num says
                otherwise. Minutes on a GPU, hours on a CPU.
            inception_weights: The Inception weights of torch-fidelity, where they can't be downloaded.
            out: A .json for all figures.
            data_root: Folder of downloaded data sets (else $GANLAB_DATA, else ./data).
            threads: Threads of the CPU; 0: all cores.
        """
        from ganlab.worker import ends_when_told, keep_memory

        keep_memory()
        if out is not None and out.suffix.lower() != ".json":
            raise ConfigError(f"{out}: figures are written as .json.")
        names = [model, *against]
        options: dict[str, Any] = {"seed": seed, "data_root": data_root, "num_threads": threads}
        with ends_when_told() as check, _Progress(check) as progress:
            options["progress"] = progress
            if inception:
                found = _inception(names, data, num, inception_weights, options)
            elif all_snapshots:
                found = _snapshots(names, data, num, options)
            else:
                found = _models(names, data, num, options)
        if out is not None:
            from ganlab.evaluate.report import to_json
            from ganlab.files import write_atomic

            write_atomic(out, to_json(found))
            print(f"\n{out}")

    try:
        tyro.cli(evaluate, args=argv, prog="python -m ganlab evaluate")
    except KeyboardInterrupt:
        print("ganlab: interrupted; what was finished is kept.", file=sys.stderr)
        sys.exit(130)


def _models(names: Sequence[str], data: str, num: int | None, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure each model; print a table for all that were measured alike."""
    from ganlab import catalog, render
    from ganlab.evaluate.measure import evaluate
    from ganlab.evaluate.report import NUM

    opened = [render.load_model(catalog.find(name), name, options["num_threads"]) for name in names]
    data = data or opened[0].config.data  # one table where one can be
    reports = [evaluate(model, data, num=NUM if num is None else num, **options) for model in opened]
    alike: dict[str, list[Report]] = {}
    for report in reports:
        alike.setdefault(json.dumps([report.data, report.extractor["sha256"]]), []).append(report)
    options["progress"].clear()
    print("\n\n".join(_table(group) for group in alike.values()))
    return [json.loads((report.folder / "result.json").read_text()) for report in reports]


def _snapshots(names: Sequence[str], data: str, num: int | None, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure each snapshot of the runs; print a table for each run."""
    from ganlab.evaluate.timeline import NUM, evaluate_snapshots, row_of

    found = []
    for name in names:
        reports = evaluate_snapshots(RunDir(name), data, num=NUM if num is None else num, **options)
        options["progress"].clear()
        print(f"{_heading(reports[0])}\n\n{_timetable(reports)}\n")
        found += [{"run": name, **row_of(report)} for report in reports]
    return found


def _inception(
    names: Sequence[str], data: str, num: int | None, weights: Path | None, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """FID of each model, in a table of its own."""
    from ganlab import catalog, render
    from ganlab.inception import NUM, inception_distance

    found = []
    for name in names:
        model = render.load_model(catalog.find(name), name, options["num_threads"])
        found.append(inception_distance(model, data, num=NUM if num is None else num, weights=weights, **options))
    options["progress"].clear()
    rows = [[row["model"], row["data"], row["metric"], f"{row['value']:.2f}"] for row in found]
    print(_aligned([["model", "data", "metric", "value"], *rows]))
    for note in dict.fromkeys(note for row in found for note in row["notes"]):
        print(f"\n{note}")
    return found


# --- tables ----------------------------------------------------------------------------------------------------------


def _heading(report: Report) -> str:
    own, accuracy = report.extractor["own"], report.extractor["accuracy"]
    right = f", which is right about {accuracy:.1%} of real test pictures" if own and accuracy else ""
    return (
        f"{report.data['name']}: {report.num:,} generated pictures, seeds {report.seed} to "
        f"{report.seed + report.num - 1}; features of {report.extractor['name']}{right}."
    )


def _table(reports: Sequence[Report]) -> str:
    """One row a metric, one column a model, then floor and ceiling."""
    names = list(dict.fromkeys(name for report in reports for name in report.metrics))
    rows = [["metric", *(report.model["name"] for report in reports), "floor", "ceiling", ""]]
    for name in names:
        metrics = [report.metrics.get(name) for report in reports]
        known = next(metric for metric in metrics if metric)
        rows.append([name, *map(_figure, metrics), _number(known.floor), _number(known.ceiling), MEANS[known.better]])
    notes = dict.fromkeys(note for report in reports for note in report.notes)
    return "\n".join([_heading(reports[0]), "", _aligned(rows), "", *notes])


def _timetable(reports: Sequence[Report]) -> str:
    """One row a snapshot, one column a metric, then floor and ceiling."""
    names = list(reports[0].metrics)
    families = [reports[0].family(name) for name in names]
    rows = [["step", *families]]
    rows += [[f"{r.model['step']:,}", *(_number(r.metrics[name].value) for name in names)] for r in reports]
    last = [reports[-1].metrics[name] for name in names]
    rows += [["floor", *(_number(m.floor) for m in last)], ["ceiling", *(_number(m.ceiling) for m in last)]]
    return _aligned(rows)


def _figure(metric: Metric | None) -> str:
    if metric is None:
        return ""
    if metric.value is None and metric.low is not None:
        return f"over {_number(metric.low)}"
    error = f" ± {_number(metric.error)}" if metric.error is not None else ""
    return _number(metric.value) + error


def _number(value: float | None) -> str:
    """Three digits, or a whole number."""
    if value is None:
        return "-"
    if float(value).is_integer() and abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _aligned(rows: Rows) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1 if not rows[0][-1] else 0  # words, not numbers
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


class _Progress:
    """What is being done, on standard error: one line that changes on a terminal, else a line every ten seconds.

    `check` is called each time: it may raise, to end the work.
    """

    LINE_EVERY = 10.0

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        self.next_line = time.monotonic() + self.LINE_EVERY
        self.shown = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __call__(self, doing: str, share: float) -> None:
        self.check()
        line = f"{share:4.0%}  {doing}"
        if sys.stderr.isatty():
            print(f"\r{line.ljust(self.shown)}", end="", file=sys.stderr, flush=True)
            self.shown = len(line)
        elif time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + self.LINE_EVERY
            print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """An empty line again, for what comes next."""
        if self.shown:
            print(f"\r{' ' * self.shown}\r", end="", file=sys.stderr, flush=True)
            self.shown = 0
