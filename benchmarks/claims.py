"""What tutorials say of GANs, measured: `python -m benchmarks.claims`. Prints a table, and draws the curves.

Each arm differs from the base in what a claim is about, and is trained for the same number of steps of 64 real
pictures, with three seeds. Trainings are ordinary runs and evaluations are kept by content: whoever is interrupted
types the same command.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from ganlab.config import Config
from ganlab.evaluate.measure import evaluate
from ganlab.evaluate.report import Report
from ganlab.files import write_atomic
from ganlab.loop import train
from ganlab.presets import preset
from ganlab.render import load_model
from ganlab.rundir import RunDir, scored

BUDGET = dict(steps=1500, save_every=1500, sample_every=500, score_every=150)
BASE = preset("mnist-dcgan").replace(width=32, batch_size=64, **BUDGET)
MLP = preset("mnist-mlp").replace(width=512, d_width=256, **BUDGET)  # batches of 64 + 64 merged
ARMS: dict[str, tuple[str, Config]] = {  # arm: (claim, config)
    "dcgan": ("", BASE),
    "mlp": ("A DCGAN beats a fully connected GAN", MLP),
    "mlp-4x": (
        "… also one with four times the steps",
        MLP.replace(steps=4 * BUDGET["steps"], save_every=6000),
    ),
    "uniform": ("z should be normal, not uniform", BASE.replace(prior="uniform")),
    "dropout": ("Dropout in D helps", BASE.replace(d_dropout=0.3)),
    "smoothing": ("One-sided label smoothing helps", BASE.replace(label_smoothing=0.1)),
    "all-batch-norm": (
        "Batch norm not in every layer",
        BASE.replace(g_norm="batch-all", d_norm="batch-all"),
    ),
}
COLUMNS = ("fd", "kd", "precision", "recall", "density", "coverage", "class_kl", "duplicates")


def trained(arm: str, seed: int, root: Path, data_root: Path | None, threads: int) -> RunDir:
    config = ARMS[arm][1].replace(seed=seed)
    return train(config, root / f"{arm}-{seed}", data_root=data_root, device="cpu", threads=threads)


def measured(run: RunDir, data_root: Path | None, threads: int) -> Report:
    """The last snapshot, by 10,000 pictures."""
    model = load_model(run.snapshots()[-1], run.name, threads)
    return evaluate(model, data_root=data_root, num_threads=threads, pictures=False)


def table(reports: dict[str, list[Report]], runs: dict[str, list[RunDir]]) -> str:
    """Markdown: mean over seeds, and the least and the most; then floor and ceiling."""
    lines = ["| arm | " + " | ".join(COLUMNS) + " | minutes |", "|---" * (len(COLUMNS) + 2) + "|"]
    for arm, found in reports.items():
        minutes = statistics.mean(run.read_status().seconds for run in runs[arm]) / 60
        cells = [_cell([_metric(report, name).value for report in found]) for name in COLUMNS]
        lines.append(f"| {arm} | {' | '.join(cells)} | {minutes:.1f} |")
    first = next(iter(reports.values()))[0]
    for name in ("floor", "ceiling"):
        cells = [_number(getattr(_metric(first, column), name)) for column in COLUMNS]
        lines.append(f"| *{name}* | {' | '.join(cells)} | |")
    return "\n".join(lines)


def _metric(report: Report, family: str):  # type: ignore[no-untyped-def]
    return next(metric for name, metric in report.metrics.items() if report.family(name) == family)


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{_number(statistics.mean(known))} ({_number(min(known))} to {_number(max(known))})" if known else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def curves(runs: dict[str, list[RunDir]], out: Path) -> None:
    """One picture a claim: the score of the averaged generator over the pictures that D has seen, a line a seed."""
    import io

    from matplotlib.figure import Figure

    claims = [arm for arm, (claim, _) in ARMS.items() if claim and arm in runs]
    rows = -(-len(claims) // 3)
    figure = Figure((11, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, sharey=True, squeeze=False)
    for axis, arm in zip(axes.flat, claims, strict=False):
        for name, colour, style in (("dcgan", "#5b4be0", "-"), (arm, "#e07a3f", "--")):
            for i, run in enumerate(runs[name]):
                lines = scored(run.read_metrics()[0])
                axis.plot(
                    [line["images"] / 1000 for line in lines],
                    [line["score"] for line in lines],
                    style,
                    color=colour,
                    linewidth=1.2,
                    label=name if not i else None,
                )
        axis.set(title=ARMS[arm][0], xlabel="thousand real pictures", yscale="log")
        axis.legend(frameon=False)
    for axis in axes[:, 0]:
        axis.set_ylabel("Fréchet distance, 2,000 pictures")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomic(out, buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/claims"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-root", type=Path, help="folder of MNIST; else as `train` finds it")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    where = (arguments.data_root, arguments.threads)
    runs: dict[str, list[RunDir]] = {arm: [] for arm in ARMS}
    reports: dict[str, list[Report]] = {arm: [] for arm in ARMS}
    for seed in range(arguments.seeds):
        for arm in ARMS:
            runs[arm].append(trained(arm, seed, arguments.out, *where))
            reports[arm].append(measured(runs[arm][-1], *where))
            fd = _metric(reports[arm][-1], "fd").value
            print(
                f"{runs[arm][-1].name}: fd {_number(fd)}, {runs[arm][-1].read_status().seconds / 60:.1f} minutes",
                flush=True,
            )
        print("\n" + table(reports, runs) + "\n", flush=True)
        curves(runs, arguments.out / "claims.png")


if __name__ == "__main__":
    main()
