"""The pictures of an evaluation, for a person to look at: pictures.npz.

All pictures are uint8 (H, W, C). For each of the sets `wall` (the first 64 seeds), `best` and `strangest` (16 each: the
highest and the lowest realism of Kynkäänniemi et al. 2019, eq. 3, among all generated ones):

    wall                       (n, H, W, C)
    wall_seeds, wall_classes   int64 (n,); the class is what the network takes it for, -1 where it knows no better
    wall_asked                 int64 (n,): of a conditional model, the class that was asked for, else -1
    wall_realism               float64 (n,)
    wall_pixels, wall_features               (n, 5, H, W, C): the nearest pictures of the whole training split, nearest
                                             first, by pixels in [0, 1] and by features
    wall_pixels_distances, …_indices, …_classes   float64 and int64 (n, 5): distances, where in the split, their labels

Further: `real` (64, H, W, C), real_indices and real_classes (64,), drawn at random from the training split; and
`duplicates` (p, 2, H, W, C), duplicates_seeds (p, 2), duplicates_classes (p, 2), duplicates_distances (p,): the closest
pairs of generated pictures by features, p <= 16, whether they are under the threshold or not.

Labels and asked classes count the classes of the data and of the model; they are -1 where there are none.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ganlab.evaluate.metrics import realism
from ganlab.evaluate.neighbours import closest_pairs, nearest
from ganlab.evaluate.reference import Reference
from ganlab.files import write_atomic

WALL, SHOWN, PAIRS, NEAREST = 64, 16, 16, 5


def save_gallery(
    path: Path,
    reference: Reference,
    images: np.ndarray,
    seeds: np.ndarray,
    features: np.ndarray,
    classes: np.ndarray,
    asked: np.ndarray | None,
    progress: Callable[[str, float], None],
) -> None:
    """Choose and write the pictures. images: the generated ones, uint8 (M, H, W, C), of seeds (M,), seen by the network
    as features (M, F) and classes (M,), asked for as classes (M,)."""
    held, train = reference.held, reference.train
    unknown = np.full(len(images), -1)
    classes = classes if reference.extractor.own else unknown
    asked = unknown if asked is None else asked
    progress("ranking the samples", 0.0)
    real = realism(held.features, features, real_distances=held.distances)
    order = np.argsort(-real, kind="stable")
    sets = {"wall": np.arange(min(WALL, len(images))), "best": order[:SHOWN], "strangest": order[::-1][:SHOWN]}
    arrays: dict[str, np.ndarray] = {}
    progress("looking for the nearest training pictures", 0.2)
    every = np.concatenate(list(sets.values()))
    near = {
        "pixels": nearest(images[every], train.images, min(NEAREST, len(train))),
        "features": nearest(features[every], reference.seen.features, min(NEAREST, len(train))),
    }
    labels = train.labels if train.classes else np.full(len(train), -1)
    start = 0
    for name, rows in sets.items():
        arrays |= {name: images[rows], f"{name}_seeds": seeds[rows], f"{name}_classes": classes[rows]}
        arrays |= {f"{name}_asked": asked[rows], f"{name}_realism": real[rows]}
        for space, (distances, indices) in near.items():
            some = indices[start : start + len(rows)]
            arrays[f"{name}_{space}"] = train.images[some]
            arrays[f"{name}_{space}_distances"] = distances[start : start + len(rows)]
            arrays[f"{name}_{space}_indices"], arrays[f"{name}_{space}_classes"] = some, labels[some]
        start += len(rows)
    progress("looking for duplicates", 0.7)
    pairs = closest_pairs(features, PAIRS)
    both = np.array([pair[:2] for pair in pairs])
    arrays |= {"duplicates": images[both], "duplicates_seeds": seeds[both], "duplicates_classes": classes[both]}
    arrays["duplicates_distances"] = np.array([pair[2] for pair in pairs])
    chosen = np.random.default_rng([int(seeds[0]), 4]).permutation(len(train))[:WALL]
    arrays |= {"real": train.images[chosen], "real_indices": chosen, "real_classes": labels[chosen]}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())
