"""How fast and how well pictures are found in latent space: `python -m benchmarks.projection mnist-dcgan`.

For pictures of the test split and for the model's own: milliseconds to the first answer and to the end, CPU seconds,
and the error, beside that of the nearest of random points (the 1,000 that a projection begins with, and as many as take
as long as the projection). `--keep` writes what is typical beside the model, by which `project` judges.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ganlab import catalog
from ganlab.data import open_dataset
from ganlab.files import write_atomic
from ganlab.found import Typical, nearest_samples
from ganlab.path_facts import extractor_of
from ganlab.projection import project
from ganlab.render import Model

OWN_SEEDS = 10**6  # of the model's own pictures: none of those that a projection begins with


def timed(model: Model, image: np.ndarray) -> tuple[float, ...]:
    """Milliseconds to the first answer and to the end, CPU seconds, errors of the 1,000, of the end, and of random
    points for as many CPU seconds."""
    extractor, start, cpu, first, at_starts = extractor_of(model), time.monotonic(), time.process_time(), 0.0, 0.0
    for i, found in enumerate(project(model, image, extractor=extractor)):
        if i == 0:
            first = time.monotonic() - start
        if i < 8:
            at_starts = float(found.errors[0])
    end, spent, error = time.monotonic() - start, time.process_time() - cpu, float(found.errors[0])
    cpu, random = time.process_time(), 1.0
    for found in nearest_samples(model, image, num=10**7):
        random = float(found.errors[0])
        if time.process_time() - cpu > spent:
            break
    return 1000 * first, 1000 * end, spent, at_starts, error, random


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--num", type=int, default=20, help="pictures of each kind")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    print("| model | pictures | first answer, ms | end, ms | CPU s | error of 1,000 | error | p95 | random, as long |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.models:
        model = catalog.load(name)
        config = model.config
        options = {"image_size": config.image_size, "channels": config.channels, "classes": config.classes}
        test = open_dataset(config.data, split="test", data_root=arguments.data_root, **options)
        rows = np.sort(np.random.default_rng(0).permutation(len(test))[: arguments.num])
        kinds = {"test split": test.images[rows], "its own": model.sample(arguments.num, OWN_SEEDS)}
        for kind, images in kinds.items():
            found = np.array([timed(model, image) for image in images])
            first, end, cpu, starts, error, random = np.median(found, axis=0)
            p95 = float(np.quantile(found[:, 4], 0.95))
            print(f"| {name} | {kind} | {first:.0f} | {end:.0f} | {cpu:.1f} | {starts:.3f} | {error:.3f} | {p95:.3f} | "
                  f"{random:.3f} |", flush=True)  # fmt: skip
            if kind == "test split" and arguments.keep:
                typical = Typical(config.data, len(images), round(float(error), 4), round(p95, 4))
                write_atomic(catalog.beside(name, "projection.json"), json.dumps(asdict(typical)).encode() + b"\n")


if __name__ == "__main__":
    main()
