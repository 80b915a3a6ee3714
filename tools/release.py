"""Make a released model of a finished run: `python -m tools.release RUN --name NAME`.

Writes checkpoints/NAME: generator.safetensors (the averaged generator, fp16), discriminator.safetensors, config.json,
card.json, samples.png, directions.safetensors, history/ (snapshots on the way to it), and evaluations/: how good it
is, for those who have not the data. And docs/models/NAME.png: how it was trained; and docs/models.md, of all cards.
NAME is a preset, and the run must be of it. Without RUN the evaluation and all that follows from the files are made
anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganlab import catalog, export, plots, render
from ganlab.config import Config, changed, to_dict
from ganlab.data import DATASETS
from ganlab.directions import FILE, all_directions, save_directions
from ganlab.errors import ConfigError, GanlabError, RunError
from ganlab.evaluate.measure import evaluate
from ganlab.evaluate.report import Report, to_json
from ganlab.files import write_atomic
from ganlab.presets import preset
from ganlab.rundir import RunDir
from tools import card, models_md

DOCS = Path(__file__).resolve().parent.parent / "docs"
NUM_HISTORY = 12
WATCHED = {"log_every", "sample_every", "score", "score_every"}  # how often one looks: nothing that is computed


def release(run: RunDir, name: str, at: str = "best", num_history: int = NUM_HISTORY, hardware: str = "") -> Path:
    """Write checkpoints/NAME from the snapshot of `run` that `at` says: best, newest, or a step.

    Raises ConfigError if the run is not one of the preset NAME, RunError if its command alone would not repeat it, and
    WeightsError for a step that it lacks.
    """
    command = command_of(run, name)
    generator = catalog.find(run.path if at == "newest" else f"{run.path}@{at}")
    discriminator, step = catalog.find_discriminator(generator), int(generator.stem)
    facts = card.of_training(run, step, command, hardware)
    folder = catalog.CHECKPOINTS / name
    shutil.rmtree(folder / "history", ignore_errors=True)
    (folder / "history").mkdir(parents=True)
    shutil.copyfile(generator, folder / "generator.safetensors")
    shutil.copyfile(discriminator, folder / "discriminator.safetensors")
    snapshots = {int(file.stem): file for file in run.snapshots()}
    for i in log_spaced(list(snapshots), step, num_history)[:-1] if num_history else ():  # the last is the model itself
        shutil.copyfile(snapshots[i], folder / "history" / snapshots[i].name)
    write_atomic(folder / "config.json", _json(to_dict(run.read_config())))
    write_atomic(folder / "card.json", _json({**facts, "weaknesses": card.weaknesses(name)}))
    model = catalog.load(name)
    export.save_image(folder / "samples.png", render.grid(model.sample(64)))
    save_directions(folder / FILE, all_directions(model), model)
    plots.save_training(DOCS / "models" / f"{name}.png", run, step)
    return folder


def measure(name: str) -> Report:
    """Write checkpoints/NAME/evaluations, unless it is there; takes the data, and a minute or two."""
    kept = catalog.CHECKPOINTS / name / "evaluations"
    report = evaluate(catalog.load(name))
    if report.folder.parent != kept:
        shutil.rmtree(kept, ignore_errors=True)
        result = json.loads((report.folder / "result.json").read_text())
        result["model"]["name"] = name  # the same file may have been evaluated as a run's
        write_atomic(kept / report.folder.name / "result.json", to_json(result))
        write_atomic(kept / report.folder.name / "pictures.npz", with_one_neighbour(report.pictures()))
    return report


def complete(name: str, report: Report | None, said: Sequence[str] = ()) -> None:
    """Add to the card of NAME what its files, its evaluation and this machine say. `said`: weaknesses, instead of
    those that it names."""
    known = catalog.read_card(name)
    known["weaknesses"] = list(said) or known.get("weaknesses", [])
    if report is not None:
        known["evaluation"] = card.of_evaluation(report)
    write_atomic(catalog.CHECKPOINTS / name / "card.json", _json({**known, **card.of_files(name)}))


def log_spaced(steps: Sequence[int], released: int, num: int) -> list[int]:
    """Of the steps up to the released one `num`, spread as evenly as they can be over log(1 + step), ascending.

    The first and the released one are among them; all, if they are no more than `num`. Those are dropped one by one
    whose neighbours are nearest to each other.
    """
    kept = sorted(step for step in set(steps) if step <= released)
    while len(kept) > max(num, 2):
        at = [math.log1p(step) for step in kept]
        del kept[min(range(1, len(kept) - 1), key=lambda i: at[i + 1] - at[i - 1])]
    return kept


def command_of(run: RunDir, name: str) -> str:
    """The command that trains this run again: the preset NAME, and what else was chosen. Of a run that was forked to
    train longer it is two: that of the run before, which had come to its end, and the fork.

    Raises ConfigError if more differs from the preset than how long it trains and how often one looks, RunError if
    the run was changed on the way, forked from a run that is gone or was not at its end, or forked twice.
    """
    config, events = run.read_config(), run.read_events()
    if odd := [event for event in events if event["event"] == "changed"]:
        raise RunError(f"{run.path} was changed at step {odd[0]['step']}: no command repeats it.")
    different = _different(name, run, config)
    threads = next((event["threads"] for event in events if "threads" in event), 1)
    forks = [event for event in events if event["event"] == "forked"]
    if not forks:
        return f"python -m ganlab train --preset {name} {_flags(different)}--seed {config.seed} --threads {threads}"
    parent, at = RunDir(forks[-1]["parent"]), forks[-1]["parent_step"]
    before = parent.read_status() if parent.exists else None
    if before is None or (before.state, before.step) != ("done", at):
        raise RunError(f"{run.path} was forked from {parent.path} at step {at}, which was not its end or is gone.")
    if any(event["event"] == "forked" for event in parent.read_events()):
        raise RunError(f"{run.path} was forked from {parent.path}, itself a fork: train it from the start instead.")
    first, second = f"runs/{name}", f"runs/{name}-longer"
    flags = _flags({key: new for key, (_, new) in forks[-1]["changes"].items()})
    return (
        f"{command_of(parent, name)} --out {first} && "
        f"python -m ganlab fork {first} --out {second} {flags}--threads {threads}"
    )


def _different(name: str, run: RunDir, config: Config) -> dict[str, Any]:
    """What the run has otherwise than the preset NAME, but for the seed. Raises ConfigError if that is more than how
    long it trains and how often one looks."""
    base = preset(name)
    different = changed(base, config)
    different.pop("seed", None)
    if config.conditioning != "none" and not base.classes and _has_all_classes(config):
        different.pop("classes", None)  # named by the data
    free = {f.name for f in dataclasses.fields(Config) if f.metadata["free"]} | WATCHED
    if other := [key for key in different if key not in free]:
        rows = "\n".join("  {}: {!r} in the preset, {!r} in the run".format(key, *different[key]) for key in other)
        raise ConfigError(
            f"{run.path} is no run of the preset {name!r}:\n{rows}\nA released model bears the name of its preset: "
            "change the preset and train again, or choose the --name that it was trained by."
        )
    return {key: new for key, (_, new) in different.items()}


def _flags(values: Mapping[str, Any]) -> str:
    shown = {key: f"{value:g}" if isinstance(value, float) else value for key, value in values.items()}
    return "".join(f"--{key.replace('_', '-')} {value} " for key, value in shown.items())


def _has_all_classes(config: Config) -> bool:
    info = DATASETS.get(config.data)
    return info is not None and config.classes == info.classes


def with_one_neighbour(pictures: dict[str, np.ndarray]) -> bytes:
    """The pictures of an evaluation with the nearest training picture of each alone: a few, not a part of the data."""
    kept = {
        name: array[:, :1] if re.match("(wall|best|strangest)_(pixels|features)", name) else array
        for name, array in pictures.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **kept)  # type: ignore[arg-type]
    return buffer.getvalue()


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--name", required=True, help="the preset that it was trained by")
    parser.add_argument("--at", default="best", help="best (by its scores), newest, or a step")
    parser.add_argument(
        "--history", type=int, default=NUM_HISTORY, help="snapshots, the released one among them: 12 to 16, or 0"
    )
    parser.add_argument("--hardware", default="", help="what it was trained on; else this machine's processor")
    parser.add_argument("--weakness", action="append", default=[], help="a plain sentence; repeat it for more")
    parser.add_argument("--no-evaluation", action="store_true", help="keep the evaluation that is there")
    given = parser.parse_args()
    try:
        if given.run is not None:
            print(release(RunDir(given.run), given.name, given.at, given.history, given.hardware))
        complete(given.name, None if given.no_evaluation else measure(given.name), given.weakness)
        print(models_md.write())
    except GanlabError as error:
        parser.exit(1, f"release: {error}\n")
    total = sum(file.stat().st_size for file in catalog.CHECKPOINTS.rglob("*") if file.is_file())
    print(f"{catalog.CHECKPOINTS}: {total / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()
