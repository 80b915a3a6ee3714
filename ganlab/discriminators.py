"""Discriminators as programs, a family each, from a trained one's arrays. See `ganlab.program` for what a program is.

Spectral norm is in the weights already when they are saved; dropout is nothing at rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from ganlab.config import Config
from ganlab.program import (
    Activation,
    Arrays,
    ClassMaps,
    Dot,
    Linear,
    MeanPool,
    Network,
    Program,
    Reshape,
    Residual,
    SumPlaces,
    expect_classes,
)

# (features as multiples of D's width, kernel, stride) of each convolution.
DCGAN = {28: ((1, 4, 2), (2, 4, 2), (4, 3, 2)), 32: ((1, 4, 2), (2, 4, 2), (4, 4, 2))}
SN_CONV = {
    28: ((1, 4, 2), (2, 3, 1), (2, 4, 2), (4, 3, 1), (4, 3, 2)),
    32: ((1, 3, 1), (2, 4, 2), (2, 3, 1), (4, 4, 2), (4, 3, 1), (8, 4, 2), (8, 3, 1)),
}
SN_RESNET = ((1, True), (2, True), (2, False), (2, False))  # (features likewise, whether the block halves the picture)


def discriminator_program(config: Config, arrays: Mapping[str, np.ndarray]) -> Program:
    """The program of a trained discriminator, from its config and its arrays at rest (fp16 or fp32).

    Raises WeightsError that names the array that is missing, unknown, of another shape, or not finite.
    """
    expect_classes(config)
    net = _Discriminator(config, Arrays(arrays))
    _FAMILIES[config.model](net)
    net.arrays.expect_all_taken()
    image_shape = (config.channels, config.image_size, config.image_size)
    return Program(image_shape, (), config.num_classes, tuple(net.layers))


class _Discriminator(Network):
    """What discriminators have besides: the class beside the picture, and the head."""

    def __init__(self, config: Config, arrays: Arrays) -> None:
        super().__init__(config, arrays)
        self.width = config.d_width or config.width
        self.num_maps = config.num_classes if config.conditioning == "concat" else 0

    def maps(self) -> int:
        """One map a class behind the channels, if the config concatenates it. Returns the channels that there are."""
        if self.num_maps:
            size = self.config.image_size
            self.add(ClassMaps((self.num_maps, size, size)))
        return self.config.channels + self.num_maps

    def norm(self, name: str, features: int, first: bool) -> None:
        """The norm, if the config has one here."""
        kind = self.config.norms[1]
        if kind == "batch-all" or (kind == "batch" and not first):
            self.batch_norm(name, features)

    def act(self) -> None:
        slope = self.config.leaky_slope
        self.add(Activation("leaky-relu", slope) if slope else Activation("relu"))

    def convs(self, convs: tuple[tuple[int, int, int], ...], biased: bool) -> int:
        """Convolutions, each with its norm and activation; the first one has a bias anyway. Returns the features."""
        n = self.maps()
        for i, (multiple, kernel, stride) in enumerate(convs):
            m = multiple * self.width
            self.conv(f"downs.{i}", n, m, kernel, stride, bias=biased or i == 0)
            self.norm(f"norms.{i}", m, first=i == 0)
            self.act()
            n = m
        return n

    def head(self, features: int, places: int = 1) -> None:
        """The logit of features, or of maps of them that torch lays out place by place: linear, plus <embedding of the
        class, features> (Miyato & Koyama 2018, eq. 3), which is a linear one for each class."""
        num = features * places
        weight, bias = self.arrays.take("head.linear.weight", 1, num), self.arrays.take("head.linear.bias", 1)
        if self.config.conditioning == "projection":
            weight = weight + self.arrays.take("head.embedding.weight", self.config.num_classes, num)
        weight = weight.reshape(-1, places, features).transpose(0, 2, 1).reshape(-1, num)
        self.add(Dot(np.ascontiguousarray(weight if len(weight) > 1 else weight[0]), bias))


def _mlp(net: _Discriminator) -> None:
    config = net.config
    pixels, num = config.image_size**2, config.channels * config.image_size**2
    weight = net.arrays.take("layers.0.weight", net.width, num + net.num_maps * pixels)
    bias = net.bias("layers.0", net.width)
    if net.num_maps:  # a constant map does what a bias does: one for each class
        bias = bias + weight[:, num:].reshape(net.width, net.num_maps, pixels).sum(2).T
    net.add(Reshape((num,)), Linear(weight[:, :num].copy(), np.ascontiguousarray(bias)))
    for i in range(config.hidden_layers):
        if i > 0:
            net.linear(f"layers.{i}", net.width, net.width)
        net.norm(f"norms.{i}", net.width, first=i == 0)
        net.act()
    net.head(net.width)


def _dcgan(net: _Discriminator) -> None:
    config = net.config
    features = net.convs(DCGAN[config.image_size], biased=not config.norms[1].startswith("batch"))
    net.add(Reshape((features * 16,)))
    net.head(features, places=16)


def _sn_conv(net: _Discriminator) -> None:
    features = net.convs(SN_CONV[net.config.image_size], biased=True)
    net.add(SumPlaces())
    net.head(features)


def _sn_resnet(net: _Discriminator) -> None:
    sizes = [net.maps(), *(multiple * net.width for multiple, _ in SN_RESNET)]
    for i, ((n, m), (_, down)) in enumerate(zip(pairwise(sizes), SN_RESNET, strict=True)):
        net.add(_down_block(net, f"blocks.{i}", n, m, down, first=i == 0))
    net.act()
    net.add(SumPlaces())
    net.head(sizes[-1])


def _down_block(net: _Discriminator, name: str, n: int, m: int, down: bool, first: bool) -> Residual:
    body, shortcut = (_Discriminator(net.config, net.arrays) for _ in range(2))
    if not first:
        body.act()
    body.conv(f"{name}.conv1", n, m, 3)
    body.act()
    body.conv(f"{name}.conv2", m, m, 3)
    if down:
        body.add(MeanPool())
        shortcut.add(MeanPool())
    if n != m or down:
        shortcut.conv(f"{name}.shortcut", n, m, 1)
    return Residual(tuple(body.layers), tuple(shortcut.layers))


_FAMILIES: dict[str, Callable[[_Discriminator], None]] = {
    "mlp": _mlp,
    "dcgan": _dcgan,
    "sn-conv": _sn_conv,
    "sn-resnet": _sn_resnet,
}
