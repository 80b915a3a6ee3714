"""Deep convolutional GAN (Radford, Metz & Chintala 2015, https://arxiv.org/abs/1511.06434), sized for 28 and 32 pixels.

As in the paper: strided convolutions instead of pooling; batch norm everywhere but in the generator's last layer and
the discriminator's first; ReLU and tanh in the generator, LeakyReLU(0.2) in the discriminator; weights from N(0, 0.02).
Pictures grow from 4x4 in three steps: 4, 8, 16, 32; or 4, 7, 14, 28, whose first step has 3x3 kernels instead of 4x4.
"""

from __future__ import annotations

import torch
from torch import nn

from ganlab.config import Config
from ganlab.models.layers import (
    Activation,
    Head,
    d_norm,
    g_activation,
    g_norm,
    laid_out_for,
    num_concatenated,
    prepare,
    with_class,
    with_class_maps,
)
from ganlab.models.strided import Down, Up

START = 4  # height and width of the smallest feature map


def stages(config: Config, width: int) -> list[tuple[int, int]]:
    """(features, kernel) of each step up from 4x4; the last one leads to the picture."""
    first_kernel = 3 if config.image_size == 28 else 4
    return [(4 * width, first_kernel), (2 * width, 4), (width, 4)]


class DCGANGenerator(nn.Module):
    """z (N, latent_dim) -> pictures (N, C, H, W) in [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        features, kernels = zip(*stages(config, config.width), strict=True)
        num_inputs, plain = config.latent_dim + num_concatenated(config), config.norms[0] == "none"
        self.project = nn.Linear(num_inputs, features[0] * START**2, bias=plain)
        outputs = [*features[1:], config.channels]
        self.norms = nn.ModuleList(g_norm(config, n) for n in features)
        self.ups = nn.ModuleList(
            Up(n, m, k, bias=plain or m == config.channels) for n, m, k in zip(features, outputs, kernels, strict=True)
        )
        self.act, self.last_norm = g_activation(config), g_norm(config, config.channels, last=True)
        prepare(self, config.inits[0])

    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = self.project(with_class(self.config, z, y)).view(len(z), -1, START, START)
        x = laid_out_for(self.ups[0], x)
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(self.act(norm(x, y)))
        return torch.tanh(self.last_norm(x, y))


class DCGANDiscriminator(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] -> logits (N,)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        features, kernels = zip(*reversed(stages(config, config.d_width or config.width)), strict=True)
        inputs = [config.channels + num_concatenated(config), *features[:-1]]
        self.norms = nn.ModuleList(d_norm(config, m, first=i == 0) for i, m in enumerate(features))
        self.downs = nn.ModuleList(
            Down(n, m, k, bias=i == 0 or not config.norms[1].startswith("batch"))
            for i, (n, m, k) in enumerate(zip(inputs, features, kernels, strict=True))
        )
        self.act, self.dropout = Activation(config.leaky_slope), nn.Dropout2d(config.d_dropout)
        self.head = Head(config, features[-1] * START**2)
        prepare(self, config.inits[1], spectral=config.norms[1] == "spectral")

    def forward(self, images: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = with_class_maps(self.config, images, y)
        for norm, down in zip(self.norms, self.downs, strict=True):
            x = self.dropout(self.act(norm(down(x))))
        return self.head(x.permute(0, 2, 3, 1).flatten(1), y)  # a view: channels come last in memory
