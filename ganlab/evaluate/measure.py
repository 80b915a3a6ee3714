"""Measuring a model: `evaluate`. Results are kept by content; see `ganlab.evaluate.report`, which only reads them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from ganlab.data import cache, root_of
from ganlab.errors import ConfigError
from ganlab.evaluate.figures import BETTER, Figure, figures
from ganlab.evaluate.gallery import save_gallery
from ganlab.evaluate.generate import Generated, Progress, generate
from ganlab.evaluate.metrics import class_histogram
from ganlab.evaluate.reference import Reference, Seen, as_seen, open_reference
from ganlab.evaluate.report import (
    NUM,
    Metric,
    Report,
    folder_of,
    protocol,
    read_report,
    subject,
    write_report,
)
from ganlab.render import Model
from ganlab.worker import Reporter, claimed

ENDS = {"data": 0.4, "generate": 0.65, "look": 0.7, "measure": 0.9, "gallery": 1.0}  # of the parts, in all the work


def evaluate(
    model: Model,
    data: str = "",
    *,
    num: int = NUM,
    seed: int = 0,
    data_root: Path | None = None,
    num_threads: int = 0,
    progress: Progress = lambda doing, share: None,
    folder: Path | None = None,
    pictures: bool = True,
) -> Report:
    """Measure a model against a data set, or give the report that is kept.

    Arguments:
        model: an opened generator file.
        data: what to measure against, as `ganlab.open_dataset` takes it; empty: what the model learnt from.
        num: generated pictures, at least 100: seeds `seed` to seed + num - 1, untruncated; those of a conditional model
            are of its classes as often as the data has them. As many training pictures are the reference, all if there
            are fewer.
        data_root: where named data sets lie.
        num_threads: of the feature network; 0: all cores.
        progress: hears what is being done, and the share of the whole that is behind it.
        folder: where results go; by default the cache, by content.
        pictures: also choose pictures to look at.

    Returns: the Report; its metrics carry the protocol in their names.

    Raises ConfigError for impossible numbers, DataError for data that is missing, too small, or that no feature network
    fits, RunError if another process is making this evaluation. A failure also stands in the folder's status.json.
    """
    if num < 100 or seed < 0:
        raise ConfigError(f"num is {num} and seed {seed}; figures need 100 pictures at least, and seeds start at 0.")
    if not model.sha256:
        raise ConfigError(f"{model.name} was made in memory; results are kept by the content of a file. Save it.")
    folder = folder or folder_of(model, data, num=num, seed=seed, data_root=data_root)
    if (kept := read_report(folder)) and (kept.has_pictures or not pictures):
        return kept
    if not folder.is_dir() and folder.parent.name == "evaluations":
        folder = cache.writable(root_of(data_root)) / "evaluations" / folder.name
    with claimed(folder, f"{model.name} is being evaluated"), Reporter(folder) as reporter:
        work = _Work(progress, reporter)
        with work.part("data"):
            reference = open_reference(subject(model, data), num, seed, data_root, num_threads, work.tell)
        extractor = reference.extractor
        with work.part("generate"):
            made = generate(model, num, seed, reference.train, work.tell)
        with work.part("look"):
            features, classes = extractor.look(
                made.images, lambda share: work.tell("looking at the generated pictures", share)
            )
            said = None if made.asked is None else as_seen(made.asked, model.classes, extractor)
        with work.part("measure"):
            work.tell("comparing them with the data", 0.0)
            found = figures(extractor, reference.held, features, classes, said)
        with work.part("gallery"):
            if pictures:
                save_gallery(folder / "pictures.npz", reference, made, features, classes, work.tell)
        write_report(_report(folder, model, reference, made, Seen(features, classes, said), found, work.seconds))
        report = read_report(folder)  # as every later reader gets it
        assert report is not None
        return report


class _Work:
    """How far the work is: each part in seconds, and told to whoever listens."""

    def __init__(self, progress: Progress, reporter: Reporter) -> None:
        self.progress, self.reporter = progress, reporter
        self.seconds: dict[str, float] = {}
        self.begin = self.end = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        self.begin, self.end = self.end, ENDS[name]
        yield
        self.seconds[name] = round(time.monotonic() - start, 2)

    def tell(self, doing: str, share: float) -> None:
        """`share`: of this part."""
        share = self.begin + (self.end - self.begin) * share
        self.reporter.update(doing=doing, share=round(share, 3))
        self.progress(doing, share)


def _report(
    folder: Path,
    model: Model,
    reference: Reference,
    made: Generated,
    seen: Seen,
    found: dict[str, Figure],
    seconds: dict[str, float],
) -> Report:
    extractor, num = reference.extractor, len(made.seeds)
    facts = {"step": model.facts.get("step"), "images": model.facts.get("images")}
    histogram = {}
    if extractor.own:
        fake = class_histogram(seen.classes, len(extractor.classes))
        histogram = {"fake": fake.tolist(), "real": reference.held.histogram.tolist()}
    obeyed = None
    if seen.said is not None and made.asked is not None:
        hits = seen.classes == seen.said
        asked = [made.asked == k for k in range(model.num_classes)]
        obeyed = [float(hits[of_k].mean()) if of_k.any() else None for of_k in asked]
    suffix = protocol(extractor.name, num)
    return Report(
        folder=folder,
        model={"name": model.name, "sha256": model.sha256, **facts, "num_classes": model.num_classes,
               "parameters": model.program.num_parameters},
        data={"name": reference.train.name, "split": reference.split, "num": len(reference.held.features),
              "classes": list(reference.train.classes),
              "floor": {"split": reference.floor_split, "num": reference.floor_num}},
        extractor={"name": extractor.name, "sha256": extractor.net.hash, "own": extractor.own,
                   "accuracy": extractor.net.card.get("test_accuracy")},
        num=num,
        seed=int(made.seeds[0]),
        metrics={f"{name}_{suffix}": _metric(name, figure, reference) for name, figure in found.items()},
        classes=extractor.classes,
        histogram=histogram,
        agreement_by_class=obeyed,
        notes=_notes(reference, num),
        seconds={**seconds, "total": round(sum(seconds.values()), 2)},
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )  # fmt: skip


def _metric(name: str, figure: Figure, reference: Reference) -> Metric:
    floor, ceiling = (side[name].value if name in side else None for side in (reference.floor, reference.ceiling))
    return Metric(figure.value, figure.error, floor, ceiling, BETTER[name], figure.low, figure.high)


def _notes(reference: Reference, num: int) -> tuple[str, ...]:
    extractor, num_real = reference.extractor, len(reference.held.features)
    notes = [
        f"Reference: {num_real:,} pictures of {reference.split}. Floor: {reference.floor_num:,} pictures of "
        f"{reference.floor_split}. Ceiling: {num:,} pictures whose every pixel was drawn by itself."
    ]
    if not extractor.own:
        notes.append(
            f"The features of {extractor.name} were learnt on {extractor.net.card.get('data', 'something else')}, not "
            "on this data: they compare models roughly, and what class a picture is of is not said."
        )
    if reference.floor_num < num:
        notes.append("The floor is of fewer pictures than were generated, which alone raises its fd.")
    return tuple(notes)
