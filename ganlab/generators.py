"""Generators as programs, a family each, from a trained one's arrays. See `ganlab.program` for what a program is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from ganlab.config import Config
from ganlab.program import (
    Activation,
    Arrays,
    ConvTranspose,
    Linear,
    Network,
    Program,
    Reshape,
    Residual,
    Upsample,
    expect_classes,
)

# Features from the smallest map to the picture's size: multiples of width, thirds of it for sn-resnet.
DCGAN, SN_CONV = (4, 2, 1), {28: (4, 2, 1), 32: (6, 4, 2, 1)}
SN_RESNET = {28: (10, 6, 3), 32: (10, 10, 6, 3)}


def generator_program(config: Config, arrays: Mapping[str, np.ndarray]) -> Program:
    """The program of a trained generator, from its config and its state dict (fp16 or fp32).

    Raises WeightsError that names the array that is missing, unknown, of another shape, or not finite.
    """
    expect_classes(config)
    net = _Generator(config, Arrays(arrays))
    _FAMILIES[config.model](net)
    net.arrays.expect_all_taken()
    image_shape = (config.channels, config.image_size, config.image_size)
    return Program((config.latent_dim,), image_shape, config.num_classes, tuple(net.layers))


class _Generator(Network):
    """What generators have besides: the class beside z, growing maps, norms that may know the class."""

    def __init__(self, config: Config, arrays: Arrays) -> None:
        super().__init__(config, arrays)
        self.plain = config.norms[0] == "none"

    def first(self, name: str, m: int, bias: bool = True) -> None:
        """Linear, from z and perhaps the class beside it to `m` features: a class's weights become its bias."""
        n, k = self.config.latent_dim, self.config.num_classes if self.config.conditioning == "concat" else 0
        weight, constant = self.arrays.take(f"{name}.weight", m, n + k), self.bias(name, m, bias)
        table = np.ascontiguousarray(constant + weight[:, n:].T) if k else constant
        self.add(Linear(weight[:, :n].copy(), table))

    def grow(self, name: str, n: int, m: int, kernel: int, bias: bool) -> None:
        """Transposed convolution that doubles height and width (less 1 if the kernel is 3)."""
        weight = self.arrays.take(f"{name}.weight", n, m, kernel, kernel)
        self.add(ConvTranspose(weight, self.bias(name, m, bias), stride=2, padding=1))

    def norm(self, name: str, features: int, last: bool = False) -> None:
        """The norm, if the config has one here."""
        if self.plain or (last and self.config.norms[0] != "batch-all"):
            return
        self.batch_norm(name, features, self.config.num_classes if self.config.conditioning == "projection" else 0)

    def act(self) -> None:
        leaky = self.config.g_activation == "leaky-relu"
        self.add(Activation("leaky-relu", self.config.leaky_slope) if leaky else Activation("relu"))


def _mlp(net: _Generator) -> None:
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


def _smallest(net: _Generator, features: int, start: int, bias: bool) -> None:
    net.first("project", features * start**2, bias)
    net.add(Reshape((features, start, start)))


def _dcgan(net: _Generator) -> None:
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


def _sn_conv(net: _Generator) -> None:
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


def _sn_resnet(net: _Generator) -> None:
    config = net.config
    features = [config.width * n // 3 for n in SN_RESNET[config.image_size]]
    _smallest(net, features[0], config.image_size >> (len(features) - 1), True)
    for i, (n, m) in enumerate(pairwise(features)):
        net.add(_up_block(config, net.arrays, f"blocks.{i}", n, m))
    net.norm("norm", features[-1])
    net.act()
    net.conv("last", features[-1], config.channels, 3)
    net.add(Activation("tanh"))


def _up_block(config: Config, arrays: Arrays, name: str, n: int, m: int) -> Residual:
    body, shortcut = _Generator(config, arrays), _Generator(config, arrays)
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


_FAMILIES: dict[str, Callable[[_Generator], None]] = {
    "mlp": _mlp,
    "dcgan": _dcgan,
    "sn-conv": _sn_conv,
    "sn-resnet": _sn_resnet,
}
