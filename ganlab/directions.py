"""Directions in latent space: found in the generator, in measurements of its pictures, or taught by examples. No torch.

A direction is a vector of length 1; one goes along it by adding so many times the vector to z.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from ganlab.errors import ConfigError, WeightsError
from ganlab.measurements import measure
from ganlab.program import Activation, Affine, Layer, Linear, Program, Reshape, Residual
from ganlab.render import Model
from ganlab.weights import load_arrays, save_arrays

DIRECTIONS = "ganlab-directions"  # kind of file
FILE = "directions.safetensors"  # beside a model
NUM_PRINCIPAL = 12
SAMPLES = 3000  # of z, from which a direction is found
MIN_R2 = 0.25  # below, a measurement follows z too little along a line for a direction to be named after it
CHUNK = 500  # pictures that are measured at once

Where = Literal["picture", "features"]


@dataclass(frozen=True, eq=False)
class Direction:
    """A named unit vector, float32 (latent_dim,).

    `label`: the class that it was found in; None for all of them. `evidence`: figures that say what it is worth, by
    name: `share` of the variance for a principal direction; `r2` of the fit on pictures that it was not fitted to, and
    `per_unit`, how far the measurement changes along one unit, for a measured one; `length` of a difference of means.
    """

    name: str
    vector: np.ndarray
    label: str | None = None
    evidence: Mapping[str, float] | None = None


def all_directions(model: Model, label: str | None = None) -> list[Direction]:
    """All that can be found without being taught: named ones, and the principal ones of both kinds."""
    return [
        *named_directions(model, label=label),
        *principal_directions(model, "features", label=label),
        *principal_directions(model, "picture", label=label),
    ]


def move(z: ArrayLike, steps: Iterable[tuple[Direction, float]]) -> np.ndarray:
    """z (..., latent_dim) moved by an amount along each direction, float32. Amounts of one direction add up."""
    z = np.asarray(z, np.float64)
    for direction, amount in steps:
        z = z + amount * direction.vector.astype(np.float64)
    return z.astype(np.float32)


# --- found in the generator ------------------------------------------------------------------------------------------


def principal_directions(
    model: Model, where: Where = "features", *, num: int | None = None, label: str | None = None, samples: int = SAMPLES
) -> list[Direction]:
    """The `num` (by default 12, or all if z is shorter) directions in which the generator varies most, the strongest
    first; named features-1, features-2, …

    "features": GANSpace (Härkönen et al. 2020, arXiv:2004.02546, section 2.2): principal components of the first
    feature map, each brought back to z by least squares. "picture": right singular vectors of the linear map from z to
    the picture that fits best; for a normal prior that is the mean Jacobian (Stein's lemma), so these are the
    directions in which z itself changes pictures most, the same way everywhere; they stand at right angles.

    From the seeds 0 to `samples` - 1, of the class `label`, or of all classes after their means are taken away. The
    same for the same file: a vector's entry of largest magnitude is positive. Takes some 4 * samples * features bytes.
    Raises ConfigError for a class or a `num` that the model lacks.
    """
    num = min(NUM_PRINCIPAL, model.config.latent_dim) if num is None else num
    if not 1 <= num <= model.config.latent_dim:
        raise ConfigError(f"{model.name} has 1 to {model.config.latent_dim} directions; got {num}.")
    seeds = range(samples)
    z, labels = model.z(seeds), model.labels_of(seeds, label)
    if where == "features":
        values = first_features(model.program, z, labels).reshape(samples, -1)
    else:
        values = model.generate(z, labels).reshape(samples, -1).astype(np.float32) / 255
    z, values = _centred(z, None), _centred(values, labels)
    total = float(np.square(values).sum(dtype=np.float64))
    if where == "features":
        components = _components(values, num)
        coordinates = values @ components  # uncorrelated, so each is regressed on by itself
        squares = np.square(coordinates).sum(0)
        vectors = (z.T @ coordinates / np.maximum(squares, 1e-30)).T
    else:
        fitted = np.linalg.lstsq(z.astype(np.float64), values.astype(np.float64), rcond=None)[0]  # (dim, pixels)
        left, scales, _ = np.linalg.svd(fitted, full_matrices=False)
        vectors = left.T[:num]
        squares = np.square(scales[:num]) * float(np.square(z).sum() / z.shape[1])
    shares = squares / max(total, 1e-30)
    return [
        Direction(f"{where}-{i}", _unit(_signed(vector)), label, {"share": float(share)})
        for i, (vector, share) in enumerate(zip(vectors, shares, strict=True), start=1)
    ]


def first_features(program: Program, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """The first feature map, float32 (N, F) or (N, C, H, W): what follows the first activation, of z (N, latent_dim)
    and class indices (N,)."""
    x = z
    for layer in _until_activation(program.layers):
        match layer:
            case Linear():
                x = x @ layer.weight.T + _of_class(layer.bias, labels)
            case Reshape():
                x = x.reshape(len(x), *layer.shape)
            case Affine():
                maps = (1,) * (x.ndim - 2)
                scale, shift = (_of_class(a, labels) for a in (layer.scale, layer.shift))
                x = x * scale.reshape(*scale.shape, *maps) + shift.reshape(*shift.shape, *maps)
            case Activation(kind="tanh"):
                x = np.tanh(x)
            case Activation():
                x = np.where(x > 0, x, layer.slope * x)
            case _:
                raise AssertionError(f"{layer} before the first activation")
    return x.astype(np.float32)


def _until_activation(layers: Iterable[Layer]) -> Iterable[Layer]:
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _until_activation(layer.body)
            return
        yield layer
        if isinstance(layer, Activation):
            return


def _of_class(array: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    return array if array.ndim == 1 else array[labels]


def _components(x: np.ndarray, num: int) -> np.ndarray:
    """The first `num` principal components of centred rows (N, F), as orthonormal columns (F, num): by subspace
    iteration from a fixed start (Halko et al. 2011, arXiv:0909.4061, algorithm 4.4)."""
    wide = min(num + 12, *x.shape)
    basis = np.random.default_rng(0).standard_normal((x.shape[1], wide)).astype(np.float32)
    for _ in range(10):
        basis = np.linalg.qr(x.T @ (x @ basis))[0]
    _, _, right = np.linalg.svd(x @ basis, full_matrices=False)
    return (basis @ right.T)[:, :num]


# --- found in measurements -------------------------------------------------------------------------------------------


def named_directions(
    model: Model, *, label: str | None = None, samples: int = SAMPLES, min_r2: float = MIN_R2
) -> list[Direction]:
    """Directions along which a measurement of the picture grows fastest: slant, thickness, …; see `measure`.

    Each is the gradient of the least squares fit of that measurement on z, over three quarters of the seeds 0 to
    `samples` - 1; r2 is that of the fit on the last quarter. Of a conditional model each class has its own constant
    (`label`: only that class). Those with an r2 below `min_r2` are left out: there is no such line in this model's z.
    """
    seeds = range(samples)
    z, labels = model.z(seeds), model.labels_of(seeds, label)
    parts = []
    for i in range(0, samples, CHUNK):
        rows = slice(i, i + CHUNK)
        parts.append(measure(model.generate(z[rows], None if labels is None else labels[rows])))
    constants = np.ones((samples, 1)) if labels is None else np.eye(model.num_classes)[labels]
    inputs, last = np.hstack([z.astype(np.float64), constants]), np.arange(samples) % 4 == 3
    found = []
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        there = np.isfinite(values)
        fit, held = there & ~last, there & last
        weights = np.linalg.lstsq(inputs[fit], values[fit], rcond=None)[0]
        gradient, others = weights[: z.shape[1]], weights[z.shape[1] :]
        rest = values[held] - constants[held] @ others
        if not held.any() or (spread := float(rest.std())) < 1e-9:  # of a picture that is always the same: rounding
            continue
        r2 = 1 - np.square(rest - z[held] @ gradient).mean() / spread**2
        if r2 >= min_r2:
            evidence = {"r2": float(r2), "per_unit": float(np.linalg.norm(gradient))}
            found.append(Direction(name, _unit(gradient), label, evidence))
    return found


# --- taught by examples ----------------------------------------------------------------------------------------------


def difference(name: str, these: ArrayLike, those: ArrayLike) -> Direction:
    """Mean of these z (N, latent_dim) minus mean of those (M, latent_dim): attribute arithmetic (Radford et al. 2015,
    arXiv:1511.06434, section 6.3.2). Its `length`, before it was made 1, is the amount that leads from those to these.

    Raises ConfigError for a side without examples, or sides with the same mean.
    """
    these, those = _examples(these, those)
    vector = these.mean(0) - those.mean(0)
    if not (length := float(np.linalg.norm(vector))):
        raise ConfigError("Both sides have the same mean: nothing tells these from those.")
    return Direction(name, _unit(vector), evidence={"length": length})


def taught(name: str, more: ArrayLike, less: ArrayLike, locked: Sequence[Direction] = (), c: float = 1.0) -> Direction:
    """The direction from what was marked as less (M, latent_dim) to more (N, latent_dim): the normal of a logistic
    regression, orthogonalised against `locked` ones (Shen et al. 2020, arXiv:1907.10786, sections 2.1 and 2.2).

    `c`: inverse strength of the L2 penalty, as in scikit-learn. Raises ConfigError for a side without examples, or
    where the locked ones leave nothing.
    """
    more, less = _examples(more, less)
    normal = logistic_normal(np.vstack([more, less]), np.arange(len(more) + len(less)) < len(more), c)
    return Direction(name, orthogonalised(normal, locked))


def logistic_normal(x: np.ndarray, y: np.ndarray, c: float = 1.0) -> np.ndarray:
    """The weights w (dim,) that minimise |w|^2 / 2 + c * sum of log(1 + exp(-s (x w + b))) over rows x (N, dim), where
    s is 1 where y (N,) is true, else -1; b is free. By Newton's method with halved steps."""
    x = np.hstack([x.astype(np.float64), np.ones((len(x), 1))])
    s, weights = np.where(y, 1.0, -1.0), np.zeros(x.shape[1])
    penalty = np.append(np.ones(x.shape[1] - 1), 0.0)

    def loss(w: np.ndarray) -> float:
        return float(penalty @ w**2 / 2 + c * np.logaddexp(0, -s * (x @ w)).sum())

    for _ in range(100):
        p = 1 / (1 + np.exp(np.clip(s * (x @ weights), -500, 500)))  # of being on the wrong side
        gradient = penalty * weights - c * x.T @ (s * p)
        hessian = np.diag(penalty) + c * (x.T * (p * (1 - p))) @ x
        hessian[-1, -1] += 1e-12
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-6 and loss(weights - size * step) > loss(weights) - 1e-4 * size * gradient @ step:
            size /= 2
        weights = weights - size * step
        if np.abs(gradient).max() < 1e-9 * max(1.0, c * len(x)):
            break
    return weights[:-1]


def orthogonalised(vector: ArrayLike, locked: Sequence[Direction]) -> np.ndarray:
    """The vector (latent_dim,) without what lies along locked directions, length 1 (Gram-Schmidt).

    Raises ConfigError if nothing is left.
    """
    vector = np.asarray(vector, np.float64)
    rest = vector
    if locked:
        basis, scales, _ = np.linalg.svd(np.array([d.vector for d in locked], np.float64).T, full_matrices=False)
        basis = basis[:, scales > 1e-6 * scales.max()]
        for _ in range(2):  # twice is enough (Kahan), also for nearly parallel vectors
            rest = rest - basis @ (basis.T @ rest)
    if np.linalg.norm(rest) <= 1e-6 * np.linalg.norm(vector):
        names = ", ".join(d.name for d in locked) or "nothing"
        raise ConfigError(f"Nothing is left of this direction beside {names}: unlock one of them.")
    return _unit(rest)


def _examples(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1:] != b.shape[1:] or not (len(a) and len(b)):
        raise ConfigError(f"Mark at least one picture on either side; got z of shapes {a.shape} and {b.shape}.")
    return a, b


def find_direction(name: str, model: Model, saved: Mapping[str, Direction]) -> Direction:
    """A direction by its name: one of `saved`, else a principal one (features-3, picture-1), found now.

    Raises ConfigError that lists what there is.
    """
    if name in saved:
        return saved[name]
    where, _, number = name.rpartition("-")
    if where in get_args(Where) and number.isdecimal():
        found = principal_directions(model, where)  # type: ignore[arg-type]
        if not 1 <= int(number) <= len(found):
            raise ConfigError(f"{name!r} is no direction: {where}-1 to {where}-{len(found)} are.")
        return found[int(number) - 1]
    near = difflib.get_close_matches(name, saved, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"{model.name} has no direction {name!r}.{hint} There are: {', '.join([*saved, 'features-1', 'picture-1'])}, …"
    )


# --- files -----------------------------------------------------------------------------------------------------------


class Saved(NamedTuple):
    """What a file of directions holds: in their order, and the SHA-256 of the generator's file they were found in."""

    directions: list[Direction]
    sha256: str


def save_directions(path: Path, directions: Sequence[Direction], model: Model) -> None:
    """Write directions of a model, atomically. Raises ConfigError for none, names that are not unique, or vectors that
    are not the model's."""
    names = [d.name for d in directions]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"Directions are saved under names of their own, one at least; got {', '.join(names)}.")
    if any(d.vector.shape != (model.config.latent_dim,) for d in directions):
        raise ConfigError(f"{model.name} has directions of {model.config.latent_dim} numbers; these have others.")
    about = [{"name": d.name, "label": d.label, "evidence": dict(d.evidence or {})} for d in directions]
    vectors = np.array([d.vector for d in directions], np.float32)
    facts = {"sha256": model.sha256, "directions": about}
    save_arrays(path, {"vectors": vectors}, kind=DIRECTIONS, config=model.config, facts=facts)


def load_directions(path: Path, model: Model) -> Saved:
    """Read what `save_directions` wrote, for this model, or another snapshot of its run.

    Raises WeightsError for a file that is missing, damaged, of another kind, or of a model with another z.
    """
    arrays, config, facts = load_arrays(path, kind=DIRECTIONS)
    wanted = (model.config.latent_dim, model.config.prior)
    if (config.latent_dim, config.prior) != wanted:
        raise WeightsError(
            f"{path} holds directions of {config.latent_dim} numbers, {config.prior} prior; {model.name} has "
            f"{wanted[0]}, {wanted[1]}. They belong to another model."
        )
    try:
        about: list[dict[str, Any]] = facts["directions"]
        vectors = arrays["vectors"]
        if vectors.shape != (len(about), config.latent_dim) or abs(np.linalg.norm(vectors, axis=1) - 1).max() > 1e-3:
            raise ValueError("its vectors are not one of length 1 for each name")
        return Saved([Direction(vector=v, **a) for v, a in zip(vectors, about, strict=True)], facts["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} can't be read as directions: {error}. Find them again.") from None


# --- small helpers ---------------------------------------------------------------------------------------------------


def _centred(rows: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Rows less their mean, or less that of their class."""
    if labels is None:
        return rows - rows.mean(0)
    out = np.empty_like(rows)
    for label in np.unique(labels):
        out[labels == label] = rows[labels == label] - rows[labels == label].mean(0)
    return out


def _signed(vector: np.ndarray) -> np.ndarray:
    """The vector or its opposite: the entry of largest magnitude is positive."""
    return vector if vector[np.abs(vector).argmax()] > 0 else -vector


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
