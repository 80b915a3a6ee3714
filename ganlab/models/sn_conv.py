"""Convolutional GAN with a spectrally normalised discriminator (Miyato et al. 2018, https://arxiv.org/abs/1802.05957).

The 32-pixel discriminator is that of the authors' code: 3x3 convolutions that keep the size, 4x4 ones that halve it;
ours ends in a sum over places, as its residual networks do, so that a class can be projected on it. For 28 pixels it
is shorter and lighter, but its last features, too, see the whole picture. The generator starts at 7x7 or 4x4 and
doubles with 4x4 transposed convolutions.
"""

from __future__ import annotations

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
    laid_out_for,
    num_concatenated,
    prepare,
    with_class,
    with_class_maps,
)
from ganlab.models.strided import Down, Up

# Features of G's feature maps, as multiples of width, from the smallest map to the picture's size.
WIDTHS = {28: (4, 2, 1), 32: (6, 4, 2, 1)}
# D's convolutions: (features as multiples of its width, kernel, stride).
DOWNS = {
    28: ((1, 4, 2), (2, 3, 1), (2, 4, 2), (4, 3, 1), (4, 3, 2)),
    32: ((1, 3, 1), (2, 4, 2), (2, 3, 1), (4, 4, 2), (4, 3, 1), (8, 4, 2), (8, 3, 1)),
}


class SNConvGenerator(nn.Module):
    """z (N, latent_dim) -> pictures (N, C, H, W) in [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        features = [config.width * n for n in WIDTHS[config.image_size]]
        self.start = config.image_size >> (len(features) - 1)
        plain = config.norms[0] == "none"
        self.project = nn.Linear(config.latent_dim + num_concatenated(config), features[0] * self.start**2, bias=plain)
        self.norms = nn.ModuleList(g_norm(config, n) for n in features)
        self.ups = nn.ModuleList(Up(n, m, 4, bias=plain) for n, m in pairwise(features))
        self.last, self.last_norm = (
            nn.Conv2d(features[-1], config.channels, 3, padding=1),
            g_norm(config, config.channels, last=True),
        )
        self.act = g_activation(config)
        prepare(self, config.inits[0])

    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = self.project(with_class(self.config, z, y)).view(len(z), -1, self.start, self.start)
        x = laid_out_for(self.ups[0], x)
        for norm, up in zip(self.norms, [*self.ups, self.last], strict=True):
            x = up(self.act(norm(x, y)))
        return torch.tanh(self.last_norm(x, y))


class SNConvDiscriminator(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] -> logits (N,)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, downs = config.d_width or config.width, DOWNS[config.image_size]
        sizes = [config.channels + num_concatenated(config), *(n * width for n, _, _ in downs)]
        self.downs = nn.ModuleList(
            Down(n, m, kernel) if stride == 2 else nn.Conv2d(n, m, kernel, padding=1)
            for (n, m), (_, kernel, stride) in zip(pairwise(sizes), downs, strict=True)
        )
        self.norms = nn.ModuleList(d_norm(config, m, first=i == 0) for i, m in enumerate(sizes[1:]))
        self.act, self.dropout = Activation(config.leaky_slope), nn.Dropout2d(config.d_dropout)
        self.head = Head(config, sizes[-1])
        prepare(self, config.inits[1], spectral=config.norms[1] == "spectral")

    def forward(self, images: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = with_class_maps(self.config, images, y)
        for norm, down in zip(self.norms, self.downs, strict=True):
            x = self.dropout(self.act(norm(down(x))))
        return self.head(x.sum((2, 3)), y)
