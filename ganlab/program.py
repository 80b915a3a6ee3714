"""A network as layers with folded weights: what onnxruntime, an exported file and a browser can run.

Each network is written once in torch (`ganlab.models`) and once as a program (`ganlab.generators`,
`ganlab.discriminators`), from the same weights. Batch norm at rest is a scale and a shift of each feature; where these
are the same for all classes, the layer before takes them in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ganlab.config import Config
from ganlab.errors import WeightsError

BATCH_NORM_EPS = 1e-5  # torch's default, with which the weights were trained
Shape = tuple[int, ...]  # of one picture, or of its features: without N


@dataclass(frozen=True, eq=False)
class Linear:
    """x @ weight.T + bias: weight (out, in), bias (out,), or a table (K, out) of each class's own."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution: weight (out, in, k, k), bias (out,); zeros around, that keep height and width at stride 1, k odd."""

    weight: np.ndarray
    bias: np.ndarray
    stride: int = 1

    @property
    def padding(self) -> int:
        """Zeros on every side."""
        return (self.weight.shape[-1] - 1) // 2


@dataclass(frozen=True, eq=False)
class ConvTranspose:
    """Transposed convolution: weight (in, out, k, k), bias (out,); the same stride and padding on every side."""

    weight: np.ndarray
    bias: np.ndarray
    stride: int
    padding: int


@dataclass(frozen=True, eq=False)
class Affine:
    """x * scale + shift for each channel of (N, F, H, W): both (F,), or tables (K, F) of each class's own."""

    scale: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, eq=False)
class Dot:
    """(N, F) -> (N,): the sum of x * weight, plus bias (1,). weight: (F,), or a table (K, F) of each class's own."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Reshape:
    """(N, C*H*W) -> (N, C, H, W), or the other way round."""

    shape: Shape


@dataclass(frozen=True, eq=False)
class Activation:
    """Elementwise, any shape. `slope` below zero is of leaky-relu alone."""

    kind: Literal["relu", "leaky-relu", "tanh"]
    slope: float = 0.0


@dataclass(frozen=True, eq=False)
class Upsample:
    """(N, C, H, W) -> (N, C, 2H, 2W): each pixel as 2 x 2."""


@dataclass(frozen=True, eq=False)
class MeanPool:
    """(N, C, H, W) -> (N, C, H/2, W/2): means of 2 x 2."""


@dataclass(frozen=True, eq=False)
class SumPlaces:
    """(N, C, H, W) -> (N, C)."""


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """(N, C, H, W) -> (N, C + K, H, W): behind the channels, a constant map of each class's weight in y.

    `shape`: of the maps, (K, H, W).
    """

    shape: Shape


@dataclass(frozen=True, eq=False)
class Residual:
    """body(x) + shortcut(x), which have the same shape. An empty shortcut is x itself."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...]


Weighted = Linear | Conv | ConvTranspose
Layer = Weighted | Affine | Dot | Reshape | Activation | Upsample | MeanPool | SumPlaces | ClassMaps | Residual


@dataclass(frozen=True, eq=False)
class Program:
    """x (N, *input_shape) -> (N, *output_shape), layer by layer.

    A generator: z (latent_dim,) -> pictures (C, H, W) in [-1, 1]. A discriminator: pictures -> logits (), above 0 for
    "real". A conditional one takes class weights y (N, num_classes) as well, of which each row sums to 1: one-hot for
    one class, or a mixture. A table (num_classes, F) is then looked up as y @ table.
    """

    input_shape: Shape
    output_shape: Shape
    num_classes: int  # 0: unconditional
    layers: tuple[Layer, ...]

    @property
    def num_parameters(self) -> int:
        """Numbers in all arrays, after folding."""
        return sum(array.size for array in arrays_of(self.layers))

    @property
    def flops(self) -> int:
        """Floating-point operations of one picture: two for each multiplication by a weight and the addition after it.

        Every place where a kernel stands counts in full, those beyond the border too. Looking up the class,
        activations, pooling and the sums of residuals do not count.
        """
        shape, multiplications = _after(self.layers, self.input_shape)
        assert shape == self.output_shape
        return 2 * multiplications


def arrays_of(layers: Iterable[Layer]) -> Iterator[np.ndarray]:
    """Every array of the layers in order, a residual's body before its shortcut."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from arrays_of([*layer.body, *layer.shortcut])
        else:
            yield from (value for value in vars(layer).values() if isinstance(value, np.ndarray))


def flattened(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Every layer in the order in which it is done: a residual's body and shortcut, then the residual itself."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from flattened([*layer.body, *layer.shortcut])
        yield layer


def _after(layers: Iterable[Layer], shape: Shape) -> tuple[Shape, int]:
    """The shape after the layers, and the multiplications by a weight on the way, of one picture."""
    total = 0
    for layer in layers:
        match layer:
            case Linear():
                shape, count = (len(layer.weight),), layer.weight.size
            case Conv(weight=weight, stride=stride, padding=padding):
                sides = [(side + 2 * padding - weight.shape[-1]) // stride + 1 for side in shape[1:]]
                shape, count = (len(weight), *sides), weight.size * math.prod(sides)
            case ConvTranspose(weight=weight, stride=stride, padding=padding):
                count = weight.size * math.prod(shape[1:])
                sides = [(side - 1) * stride - 2 * padding + weight.shape[-1] for side in shape[1:]]
                shape = (weight.shape[1], *sides)
            case Affine():
                count = math.prod(shape)
            case Dot():
                shape, count = (), math.prod(shape)
            case Residual():
                _, beside = _after(layer.shortcut, shape)
                shape, count = _after(layer.body, shape)
                count += beside
            case _:
                shape, count = _reshaped(layer, shape), 0
        total += count
    return shape, total


def _reshaped(layer: Layer, shape: Shape) -> Shape:
    """The shape after a layer that has no weights."""
    match layer:
        case Reshape():
            return layer.shape
        case Upsample():
            return (shape[0], 2 * shape[1], 2 * shape[2])
        case MeanPool():
            return (shape[0], shape[1] // 2, shape[2] // 2)
        case SumPlaces():
            return shape[:1]
        case ClassMaps():
            return (shape[0] + layer.shape[0], *shape[1:])
    return shape


# --- from a file's arrays ------------------------------------------------------------------------------------------


class Arrays:
    """The arrays of a file, handed out once each and checked."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.left = dict(arrays)

    def take(self, name: str, *shape: int) -> np.ndarray:
        """The array `name` in float32, which must have `shape`."""
        if name not in self.left:
            raise WeightsError(f"The weights lack {name!r} of shape {shape}, which the config asks for.")
        array = self.left.pop(name)
        if array.shape != shape:
            raise WeightsError(f"{name!r} has shape {array.shape} in the weights; the config asks for {shape}.")
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise WeightsError(f"{name!r} holds numbers that are not finite: the training had diverged.")
        return array

    def batch_norm(self, name: str, features: int, num_classes: int) -> Affine:
        """A batch norm at rest (Ioffe & Szegedy 2015, algorithm 2): conditional if there are classes."""
        mean, variance = (self.take(f"{name}.{key}", features) for key in ("running_mean", "running_var"))
        if variance.min() < 0:
            raise WeightsError(f"'{name}.running_var' holds a negative variance: the weights are damaged.")
        if num_classes:
            gain, bias = (self.take(f"{name}.{key}.weight", num_classes, features) for key in ("gain", "shift"))
        else:
            gain, bias = (self.take(f"{name}.{key}", features) for key in ("weight", "bias"))
        scale = gain / np.sqrt(variance + BATCH_NORM_EPS)
        return Affine(scale, bias - mean * scale)

    def expect_all_taken(self) -> None:
        if self.left:
            name = sorted(self.left)[0]
            raise WeightsError(
                f"The weights hold {name!r} of shape {self.left[name].shape}; the config asks for no such array."
            )


class Network:
    """Layers put one after another, each with its arrays. `name`s are those of the modules in torch."""

    def __init__(self, config: Config, arrays: Arrays) -> None:
        self.config, self.arrays = config, arrays
        self.layers: list[Layer] = []

    def add(self, *layers: Layer) -> None:
        self.layers += layers

    def linear(self, name: str, n: int, m: int) -> None:
        self.add(Linear(self.arrays.take(f"{name}.weight", m, n), self.bias(name, m)))

    def conv(self, name: str, n: int, m: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        weight = self.arrays.take(f"{name}.weight", m, n, kernel, kernel)
        self.add(Conv(weight, self.bias(name, m, bias), stride))

    def bias(self, name: str, m: int, there: bool = True) -> np.ndarray:
        return self.arrays.take(f"{name}.bias", m) if there else np.zeros(m, np.float32)

    def batch_norm(self, name: str, features: int, num_classes: int = 0) -> None:
        """A batch norm: into the layer before where it can be, else a layer of its own."""
        norm = self.arrays.batch_norm(name, features, num_classes)
        at = -2 if self.layers and isinstance(self.layers[-1], Reshape) else -1
        before = self.layers[at] if self.layers else None
        if isinstance(before, Weighted) and not num_classes:
            self.layers[at] = _folded(before, norm)
        else:
            self.add(norm)


def _folded(layer: Weighted, norm: Affine) -> Weighted:
    """One layer for a weighted one and the norm of its features, or of the channels that they are reshaped to."""
    pixels = layer.bias.shape[-1] // len(norm.scale)
    scale, shift = norm.scale.repeat(pixels), norm.shift.repeat(pixels)
    axis = 1 if isinstance(layer, ConvTranspose) else 0  # of the outputs
    per_output = scale.reshape([-1 if i == axis else 1 for i in range(layer.weight.ndim)])
    return replace(layer, weight=layer.weight * per_output, bias=layer.bias * scale + shift)


def expect_classes(config: Config) -> None:
    """Raises WeightsError where a conditional network has no classes."""
    if config.conditioning != "none" and not config.classes:
        raise WeightsError(f"conditioning is {config.conditioning!r}, but the config names no classes.")
