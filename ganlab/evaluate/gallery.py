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

What is near and what is not:

    test_pixels_distances, test_features_distances   (n,), n <= 500: of real pictures that are not the model's training
                                                     pictures (the floor's), the distances to their nearest training
                                                     picture; what comes nearer than nearly all of them may be a copy
    real_features_distances                          (n,): of some reference pictures, the distance to the nearest other

Labels and asked classes count the classes of the data and of the model; they are -1 where there are none.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ganlab.data import Dataset
from ganlab.evaluate.generate import Generated, Progress
from ganlab.evaluate.metrics import realism
from ganlab.evaluate.neighbours import closest_pairs, nearest
from ganlab.evaluate.reference import STRANGERS, Reference
from ganlab.files import write_atomic

WALL, SHOWN, PAIRS, NEAREST = 64, 16, 16, 5


def save_gallery(
    path: Path, reference: Reference, made: Generated, features: np.ndarray, classes: np.ndarray, progress: Progress
) -> None:
    """Choose pictures and write them. made: the generated ones, which the network sees as features (M, F) and classes
    (M,)."""
    held, train, images, seeds = reference.held, reference.train, made.images, made.seeds
    unknown = np.full(len(images), -1)
    of_each = {
        "seeds": seeds,
        "classes": classes if reference.extractor.own else unknown,
        "asked": unknown if made.asked is None else made.asked,
    }
    progress("ranking the samples", 0.0)
    of_each["realism"] = realism(held.features, features, real_distances=held.distances)
    order = np.argsort(-of_each["realism"], kind="stable")
    sets = {"wall": np.arange(len(images))[:WALL], "best": order[:SHOWN], "strangest": order[::-1][:SHOWN]}
    arrays: dict[str, np.ndarray] = {}
    for i, (name, rows) in enumerate(sets.items()):
        progress("looking for the nearest training pictures", 0.3 + 0.15 * i)
        arrays |= {name: images[rows], **{f"{name}_{what}": of_each[what][rows] for what in of_each}}
        arrays |= _near(f"{name}_pixels", images[rows], train.images, train)
        arrays |= _near(f"{name}_features", features[rows], reference.seen.features, train)
    progress("looking for duplicates", 0.75)
    pairs = closest_pairs(features, PAIRS)
    both = np.array([pair[:2] for pair in pairs])
    arrays |= {"duplicates": images[both], "duplicates_distances": np.array([pair[2] for pair in pairs])}
    arrays |= {"duplicates_seeds": seeds[both], "duplicates_classes": of_each["classes"][both]}
    chosen = np.random.default_rng([int(seeds[0]), 4]).permutation(len(train))[:WALL]
    arrays |= {"real": train.images[chosen], "real_indices": chosen, "real_classes": _labels(train)[chosen]}
    arrays |= {f"test_{space}_distances": distances for space, distances in reference.strangers.items()}
    arrays["real_features_distances"] = held.distances[:STRANGERS, 0]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def _near(name: str, queries: np.ndarray, points: np.ndarray, train: Dataset) -> dict[str, np.ndarray]:
    """The training pictures nearest to each query (n, …) by the points (N, …) that stand for them."""
    distances, indices = nearest(queries, points, min(NEAREST, len(train)))
    found = {"": train.images[indices], "_distances": distances}
    found |= {"_indices": indices, "_classes": _labels(train)[indices]}
    return {name + what: array for what, array in found.items()}


def _labels(train: Dataset) -> np.ndarray:
    return train.labels if train.classes else np.full(len(train), -1)
