"""Measuring a model: `evaluate`. Results are kept by content; see `ganlab.evaluate.report`, which only reads them."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ganlab.data import Dataset, cache, root_of
from ganlab.errors import ConfigError, DataError
from ganlab.evaluate.figures import BETTER, figures
from ganlab.evaluate.gallery import save_gallery
from ganlab.evaluate.metrics import class_histogram
from ganlab.evaluate.reference import Progress, Reference, as_seen, open_reference
from ganlab.evaluate.report import (
    NUM,
    Metric,
    Report,
    Reporter,
    folder_of,
    protocol,
    read_report,
    read_status,
    subject,
    write_report,
)
from ganlab.render import Model

CHUNK = 1000  # pictures between two signs of life
GOLDEN = (5**0.5 - 1) / 2
SHARES = {"data": 0.3, "generate": 0.25, "look": 0.15, "measure": 0.2, "gallery": 0.1}  # of the work, for the bar


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
        num: generated pictures, seeds `seed` to seed + num - 1, untruncated; those of a conditional model are of its
            classes as often as the data has them. As many training pictures are the reference, all if there are fewer.
        data_root: where named data sets lie.
        num_threads: of the networks; 0: all cores.
        progress: hears what is being done, and the share of the whole that is behind it.
        folder: where results go; by default the cache, by content.
        pictures: also choose pictures to look at, which takes about a fifth of the time.

    Returns: the Report; its metrics carry the protocol in their names.

    Raises ConfigError for impossible numbers, DataError for data that is missing, too small, or that no feature network
    fits, and for an evaluation that another process is making. A failure also stands in the folder's status.json.
    """
    if num < 100 or seed < 0 or not model.sha256:
        raise ConfigError(
            f"num is {num} and seed {seed}; at least 100 and 0. The model must come from a file (sha256 "
            f"{model.sha256 or 'missing'})."
        )
    folder = folder or folder_of(model, data, num=num, seed=seed, data_root=data_root)
    if (kept := read_report(folder)) and (kept.has_pictures or not pictures):
        return kept
    if not folder.is_dir() and folder.parent.name == "evaluations":
        folder = cache.writable(root_of(data_root)) / "evaluations" / folder.name
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".worker.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        status = read_status(folder)
        raise DataError(
            f"{model.name} is being evaluated by another process (pid {status.pid if status else 'unknown'}). Wait for "
            "it, or end it first."
        ) from None
    try:
        with Reporter(folder) as reporter:
            return _Evaluation(model, data, num, seed, data_root, num_threads, progress, reporter, folder).make(
                pictures
            )
    finally:
        lock.release()


class _Evaluation:
    """One evaluation on its way: what it was asked, and how far it is."""

    def __init__(
        self,
        model: Model,
        data: str,
        num: int,
        seed: int,
        data_root: Path | None,
        num_threads: int,
        progress: Progress,
        reporter: Reporter,
        folder: Path,
    ) -> None:
        self.model, self.about, self.num, self.seed = model, subject(model, data), num, seed
        self.data_root, self.num_threads = data_root, num_threads
        self.progress, self.reporter, self.folder = progress, reporter, folder
        self.seconds: dict[str, float] = {}

    def tell(self, part: str) -> Progress:
        """A listener for one part of the work, which starts now."""
        before = sum(SHARES[name] for name in SHARES if list(SHARES).index(name) < list(SHARES).index(part))

        def told(doing: str, share: float) -> None:
            share = before + SHARES[part] * share
            self.progress(doing, share)
            self.reporter.update(doing=doing, share=round(share, 3))

        return told

    def timed(self, part: str, work: Callable[[Progress], Any]) -> Any:
        start = time.monotonic()
        found = work(self.tell(part))
        self.seconds[part] = round(time.monotonic() - start, 2)
        return found

    def make(self, pictures: bool) -> Report:
        """Compute and write everything; the report last, so that it stands for a complete folder."""
        reference: Reference = self.timed(
            "data",
            lambda told: open_reference(self.about, self.num, self.seed, self.data_root, self.num_threads, told),
        )
        extractor = reference.extractor
        seeds = np.arange(self.seed, self.seed + self.num)
        asked = asked_classes(self.model, seeds, reference.train)
        images = self.timed("generate", lambda told: self._generate(seeds, asked, told))
        features, classes = self.timed(
            "look", lambda told: extractor.look(images, lambda share: told("looking at the generated pictures", share))
        )
        wanted = None if asked is None else as_seen(asked, self.model.classes, extractor)

        def measured(told: Progress) -> dict:
            told("comparing", 0.0)
            return figures(extractor, reference.held, features, classes, wanted)

        found = self.timed("measure", measured)
        if pictures:
            path = self.folder / "pictures.npz"
            self.timed(
                "gallery",
                lambda told: save_gallery(path, reference, images, seeds, features, classes, asked, told),
            )
        report = self._report(reference, found, classes, wanted, asked)
        write_report(report)
        return read_report(self.folder) or report

    def _generate(self, seeds: np.ndarray, asked: np.ndarray | None, told: Progress) -> np.ndarray:
        parts = []
        for i in range(0, self.num, CHUNK):
            told("generating", i / self.num)
            some = slice(i, i + CHUNK)
            z = self.model.z(seeds[some].tolist())
            parts.append(self.model.generate(z, None if asked is None else asked[some]))
        return np.concatenate(parts)

    def _report(
        self,
        reference: Reference,
        found: dict,
        classes: np.ndarray,
        wanted: np.ndarray | None,
        asked: np.ndarray | None,
    ) -> Report:
        model, extractor, facts = self.model, reference.extractor, self.model.facts
        by_class = None
        if wanted is not None and asked is not None:
            hits = classes == wanted
            by_class = [
                float(hits[asked == k].mean()) if (asked == k).any() else None for k in range(model.num_classes)
            ]
        suffix = protocol(extractor.name, self.num)
        metrics = {
            f"{name}_{suffix}": Metric(
                figure.value,
                figure.error,
                reference.floor[name].value if name in reference.floor else None,
                reference.ceiling[name].value if name in reference.ceiling else None,
                BETTER[name],
                figure.low,
                figure.high,
            )
            for name, figure in found.items()
        }
        shares = {"fake": class_histogram(classes, len(extractor.classes)).tolist()} if extractor.own else {}
        return Report(
            folder=self.folder,
            model={
                "name": model.name,
                "sha256": model.sha256,
                "step": facts.get("step"),
                "images": facts.get("images"),
                "num_classes": model.num_classes,
                "parameters": model.program.num_parameters,
            },
            data={
                "name": reference.train.name,
                "split": reference.split,
                "num": len(reference.held.features),
                "classes": list(reference.train.classes),
                "floor": {"split": reference.floor_split, "num": reference.floor_num},
            },
            extractor={
                "name": extractor.name,
                "sha256": extractor.net.hash,
                "own": extractor.own,
                "accuracy": extractor.net.card.get("test_accuracy"),
            },
            num=self.num,
            seed=self.seed,
            metrics=metrics,
            classes=extractor.classes,
            histogram={**shares, **({"real": reference.held.histogram.tolist()} if extractor.own else {})},
            agreement_by_class=by_class,
            notes=_notes(reference, self.num),
            seconds={**self.seconds, "total": round(sum(self.seconds.values()), 2)},
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        )


def asked_classes(model: Model, seeds: np.ndarray, data: Dataset) -> np.ndarray | None:
    """The class that a conditional model is asked for at each seed, int64 (N,); None if it is unconditional.

    As often as the data has each; equally often where the data does not know the model's classes. By seed alone, in the
    order of multiples of the golden ratio, which comes closer to these shares than chance would (Weyl's sequence).
    """
    if not model.num_classes:
        return None
    shares = np.ones(model.num_classes)
    if set(model.classes) <= set(data.classes):
        shares = np.bincount(data.labels, minlength=len(data.classes)).astype(float)
        shares = shares[[data.classes.index(name) for name in model.classes]]
    ends = np.cumsum(shares / shares.sum())
    return np.minimum(np.searchsorted(ends, (seeds + 1) * GOLDEN % 1, side="right"), model.num_classes - 1)


def _notes(reference: Reference, num: int) -> tuple[str, ...]:
    extractor, held = reference.extractor, reference.held
    notes = [
        f"Reference: {len(held.features):,} pictures of {reference.split}. Floor: {reference.floor_num:,} pictures of "
        f"{reference.floor_split}. Ceiling: {num:,} pictures whose every pixel was drawn by itself."
    ]
    if not extractor.own:
        learnt = extractor.net.card.get("data", "something else")
        notes.append(
            f"The features of {extractor.name} were learnt on {learnt}, not on this data: they compare models, but see "
            "little of what matters here, and what class a picture is of is not said."
        )
    if len(held.features) < num or reference.floor_num < num:
        notes.append("There are fewer real pictures than generated ones; the floor of fd is then too high.")
    return tuple(notes)
