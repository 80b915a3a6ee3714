"""Fully connected networks (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661).

The paper's generator has two hidden layers of rectifiers; its discriminator is regularised by dropout, as ours can be.
Where the paper used maxout and a sigmoid output, we use LeakyReLU and tanh with pictures in [-1, 1].
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from ganlab.config import Config
from ganlab.models.layers import (
    Activation,
    Head,
    d_norm,
    g_activation,
    g_norm,
    num_concatenated,
    prepare,
    with_class,
    with_class_maps,
)


class MLPGenerator(nn.Module):
    """z (N, latent_dim) -> pictures (N, C, H, W) in [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.shape = config, (config.channels, config.image_size, config.image_size)
        num_inputs = config.latent_dim + num_concatenated(config)
        sizes = [num_inputs, *[config.width] * config.hidden_layers, math.prod(self.shape)]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        self.norms = nn.ModuleList(g_norm(config, m, last=i == config.hidden_layers) for i, m in enumerate(sizes[1:]))
        self.act = g_activation(config)
        prepare(self, config.inits[0])

    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = with_class(self.config, z, y)
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = norm(layer(x), y)
            x = self.act(x) if i < self.config.hidden_layers else torch.tanh(x)
        return x.view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] -> logits (N,)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.d_width or config.width
        num_inputs = (config.channels + num_concatenated(config)) * config.image_size**2
        sizes = [num_inputs, *[width] * config.hidden_layers]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        self.norms = nn.ModuleList(d_norm(config, width, first=i == 0) for i in range(config.hidden_layers))
        self.act, self.dropout = Activation(config.leaky_slope), nn.Dropout(config.d_dropout)
        self.head = Head(config, width)
        prepare(self, config.inits[1], spectral=config.norms[1] == "spectral")

    def forward(self, images: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = with_class_maps(self.config, images, y).flatten(1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.dropout(self.act(norm(layer(x))))
        return self.head(x, y)
