"""A generator as layers with folded weights: what onnxruntime, an exported file and a browser can run.

Each family is written once in torch (`ganlab.models`) and once here, from the same weights. Batch norm at rest is a
scale and a shift of each feature; where these are the same for all classes, the layer before takes them in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from ganlab.config import Config
from ganlab.errors import WeightsError

BATCH_NORM_EPS = 1e-5  # torch's default, with which the weights were trained
# Features from the smallest map to the picture's size: multiples of width, thirds of it for sn-resnet.
DCGAN, SN_CONV = (4, 2, 1), {28: (4, 2, 1), 32: (6, 4, 2, 1)}
SN_RESNET = {28: (10, 6, 3), 32: (10, 10, 6, 3)}


@dataclass(frozen=True, eq=False)
class Linear:
    """x @ weight.T + bias: weight (out, in), bias (out,), or a table (K, out) of each class's own."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution: weight (out, in, k, k), bias (out,); stride 1, zeros around that keep height and width."""

    weight: np.ndarray
    bias: np.ndarray

    @property
    def padding(self) -> int:
        """Zeros on every side."""
        return self.weight.shape[-1] // 2


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
class Reshape:
    """(N, C*H*W) -> (N, C, H, W)."""

    shape: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Activation:
    """Elementwise, any shape. `slope` below zero is of leaky-relu alone."""

    kind: Literal["relu", "leaky-relu", "tanh"]
    slope: float = 0.0


@dataclass(frozen=True, eq=False)
class Upsample:
    """(N, C, H, W) -> (N, C, 2H, 2W): each pixel as 2 x 2."""


@dataclass(frozen=True, eq=False)
class Residual:
    """body(x) + shortcut(x), which have the same shape."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...]


Weighted = Linear | Conv | ConvTranspose
Layer = Linear | Conv | ConvTranspose | Affine | Reshape | Activation | Upsample | Residual


@dataclass(frozen=True, eq=False)
class Program:
    """z (N, latent_dim) -> pictures (N, C, H, W) in [-1, 1], layer by layer.

    Of a conditional generator it takes class weights y (N, num_classes) as well, of which each row sums to 1: one-hot
    for one class, or a mixture. A table (num_classes, F) is then looked up as y @ table.
    """

    latent_dim: int
    image_shape: tuple[int, int, int]
    num_classes: int  # 0: unconditional
    layers: tuple[Layer, ...]

    @property
    def num_parameters(self) -> int:
        """Numbers in all arrays, after folding."""
        return sum(array.size for array in arrays_of(self.layers))


def arrays_of(layers: Iterable[Layer]) -> Iterator[np.ndarray]:
    """Every array of the layers in order, a residual's body before its shortcut."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from arrays_of([*layer.body, *layer.shortcut])
        else:
            yield from (value for value in vars(layer).values() if isinstance(value, np.ndarray))


def build_program(config: Config, arrays: Mapping[str, np.ndarray]) -> Program:
    """The program of a trained generator, from its config and its state dict (fp16 or fp32).

    Raises WeightsError that names the array that is missing, unknown, of another shape, or not finite.
    """
    if config.conditioning != "none" and not config.classes:
        raise WeightsError(f"conditioning is {config.conditioning!r}, but the config names no classes.")
    reader = _Arrays(arrays)
    network = _Network(config, reader)
    _FAMILIES[config.model](network)
    reader.expect_all_taken()
    image_shape = (config.channels, config.image_size, config.image_size)
    return Program(config.latent_dim, image_shape, config.num_classes, tuple(network.layers))


class _Arrays:
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


class _Network:
    """Layers put one after another, each with its arrays. `name`s are those of the modules in torch."""

    def __init__(self, config: Config, arrays: _Arrays) -> None:
        self.config, self.arrays = config, arrays
        self.plain = config.norms[0] == "none"
        self.layers: list[Layer] = []

    def first(self, name: str, m: int, bias: bool = True) -> None:
        """Linear, from z and perhaps the class beside it to `m` features: a class's weights become its bias."""
        n, k = self.config.latent_dim, self.config.num_classes if self.config.conditioning == "concat" else 0
        weight, constant = self.arrays.take(f"{name}.weight", m, n + k), self._bias(name, m, bias)
        table = np.ascontiguousarray(constant + weight[:, n:].T) if k else constant
        self.layers.append(Linear(weight[:, :n].copy(), table))

    def linear(self, name: str, n: int, m: int) -> None:
        self.layers.append(Linear(self.arrays.take(f"{name}.weight", m, n), self._bias(name, m)))

    def conv(self, name: str, n: int, m: int, kernel: int) -> None:
        weight = self.arrays.take(f"{name}.weight", m, n, kernel, kernel)
        self.layers.append(Conv(weight, self._bias(name, m)))

    def grow(self, name: str, n: int, m: int, kernel: int, bias: bool) -> None:
        """Transposed convolution that doubles height and width (less 1 if the kernel is 3)."""
        weight = self.arrays.take(f"{name}.weight", n, m, kernel, kernel)
        self.layers.append(ConvTranspose(weight, self._bias(name, m, bias), stride=2, padding=1))

    def _bias(self, name: str, m: int, there: bool = True) -> np.ndarray:
        return self.arrays.take(f"{name}.bias", m) if there else np.zeros(m, np.float32)

    def norm(self, name: str, features: int, last: bool = False) -> None:
        """G's norm, if the config has one here: into the layer before where it can be, else a layer of its own."""
        if self.plain or (last and self.config.norms[0] != "batch-all"):
            return
        num_classes = self.config.num_classes if self.config.conditioning == "projection" else 0
        norm = self.arrays.batch_norm(name, features, num_classes)
        at = -2 if self.layers and isinstance(self.layers[-1], Reshape) else -1
        before = self.layers[at] if self.layers else None
        if isinstance(before, Weighted) and not num_classes:
            self.layers[at] = _folded(before, norm)
        else:
            self.layers.append(norm)

    def act(self) -> None:
        leaky = self.config.g_activation == "leaky-relu"
        self.layers.append(Activation("leaky-relu", self.config.leaky_slope) if leaky else Activation("relu"))

    def add(self, *layers: Layer) -> None:
        self.layers += layers


def _folded(layer: Weighted, norm: Affine) -> Weighted:
    """One layer for a weighted one and the norm of its features, or of the channels that they are reshaped to."""
    pixels = layer.bias.shape[-1] // len(norm.scale)
    scale, shift = norm.scale.repeat(pixels), norm.shift.repeat(pixels)
    axis = 1 if isinstance(layer, ConvTranspose) else 0  # of the outputs
    per_output = scale.reshape([-1 if i == axis else 1 for i in range(layer.weight.ndim)])
    return replace(layer, weight=layer.weight * per_output, bias=layer.bias * scale + shift)


def _mlp(net: _Network) -> None:
    config = net.config
    shape = (config.channels, config.image_size, config.image_size)
    sizes = [*[config.width] * config.hidden_layers, math.prod(shape)]
    net.first("layers.0", sizes[0])
    net.norm("norms.0", sizes[0])
    for i, (n, m) in enumerate(pairwise(sizes), start=1):
        net.act()
        net.linear(f"layers.{i}", n, m)
        net.norm(f"norms.{i}", m, last=i == config.hidden_layers)
    net.add(Activation("tanh"), Reshape(shape))


def _smallest(net: _Network, features: int, start: int, bias: bool) -> None:
    net.first("project", features * start**2, bias)
    net.add(Reshape((features, start, start)))


def _dcgan(net: _Network) -> None:
    config = net.config
    features = [config.width * n for n in DCGAN]
    kernels = [3 if config.image_size == 28 else 4, 4, 4]
    _smallest(net, features[0], 4, net.plain)
    for i, (n, m, kernel) in enumerate(zip(features, [*features[1:], config.channels], kernels, strict=True)):
        net.norm(f"norms.{i}", n)
        net.act()
        net.grow(f"ups.{i}", n, m, kernel, bias=net.plain or i == len(features) - 1)
    net.norm("last_norm", config.channels, last=True)
    net.add(Activation("tanh"))


def _sn_conv(net: _Network) -> None:
    config = net.config
    features = [config.width * n for n in SN_CONV[config.image_size]]
    _smallest(net, features[0], config.image_size >> (len(features) - 1), net.plain)
    for i, n in enumerate(features):
        net.norm(f"norms.{i}", n)
        net.act()
        if i < len(features) - 1:
            net.grow(f"ups.{i}", n, features[i + 1], 4, net.plain)
    net.conv("last", features[-1], config.channels, 3)
    net.norm("last_norm", config.channels, last=True)
    net.add(Activation("tanh"))


def _sn_resnet(net: _Network) -> None:
    config = net.config
    features = [config.width * n // 3 for n in SN_RESNET[config.image_size]]
    _smallest(net, features[0], config.image_size >> (len(features) - 1), True)
    for i, (n, m) in enumerate(pairwise(features)):
        net.add(_up_block(config, net.arrays, f"blocks.{i}", n, m))
    net.norm("norm", features[-1])
    net.act()
    net.conv("last", features[-1], config.channels, 3)
    net.add(Activation("tanh"))


def _up_block(config: Config, arrays: _Arrays, name: str, n: int, m: int) -> Residual:
    body, shortcut = _Network(config, arrays), _Network(config, arrays)
    body.norm(f"{name}.norm1", n)
    body.act()
    body.add(Upsample())
    body.conv(f"{name}.conv1", n, m, 3)
    body.norm(f"{name}.norm2", m)
    body.act()
    body.conv(f"{name}.conv2", m, m, 3)
    shortcut.conv(f"{name}.shortcut", n, m, 1)
    shortcut.add(Upsample())
    return Residual(tuple(body.layers), tuple(shortcut.layers))


_FAMILIES: dict[str, Callable[[_Network], None]] = {
    "mlp": _mlp,
    "dcgan": _dcgan,
    "sn-conv": _sn_conv,
    "sn-resnet": _sn_resnet,
}
