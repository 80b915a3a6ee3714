"""Residual GAN with a spectrally normalised discriminator (Miyato et al. 2018, tables 4 and 5; Gulrajani et al. 2017).

Blocks as published; their number and widths are our own. The generator doubles by nearest upsampling in each block; the
discriminator halves by mean pooling, sums over places and, where labels are used, projects the class (Miyato & Koyama
2018). 1x1 convolutions and resampling commute, so the shortcuts resample whichever is smaller.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from ganlab.config import Config
from ganlab.models.layers import (
    Activation,
    Head,
    g_activation,
    g_norm,
    laid_out_for,
    num_concatenated,
    prepare,
    with_class,
    with_class_maps,
)

# Features of G's maps as thirds of width, from the smallest map to the picture's size.
THIRDS = {28: (10, 6, 3), 32: (10, 10, 6, 3)}
# D's blocks: (features as multiples of its width, whether the block halves the picture).
BLOCKS = ((1, True), (2, True), (2, False), (2, False))


class UpBlock(nn.Module):
    """(N, n, H, W) -> (N, m, 2H, 2W): norm, activation, upsample, 3x3; norm, activation, 3x3; plus the shortcut."""

    def __init__(self, config: Config, n: int, m: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = g_norm(config, n), g_norm(config, m)
        self.conv1, self.conv2 = nn.Conv2d(n, m, 3, padding=1), nn.Conv2d(m, m, 3, padding=1)
        self.shortcut = nn.Conv2d(n, m, 1)
        self.slope = config.leaky_slope if config.g_activation == "leaky-relu" else 0.0

    def forward(self, x: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        h = F.leaky_relu(self.norm1(x, y), self.slope)
        h = self.conv1(F.interpolate(h, scale_factor=2.0))
        h = self.conv2(F.leaky_relu(self.norm2(h, y), self.slope))
        return h + F.interpolate(self.shortcut(x), scale_factor=2.0)


class SNResNetGenerator(nn.Module):
    """z (N, latent_dim) -> pictures (N, C, H, W) in [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        features = [max(1, config.width * n // 3) for n in THIRDS[config.image_size]]
        self.start = config.image_size >> (len(features) - 1)
        self.project = nn.Linear(config.latent_dim + num_concatenated(config), features[0] * self.start**2)
        self.blocks = nn.ModuleList(UpBlock(config, n, m) for n, m in pairwise(features))
        self.norm, self.act = g_norm(config, features[-1]), g_activation(config)
        self.last = nn.Conv2d(features[-1], config.channels, 3, padding=1)
        prepare(self, config.inits[0])

    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = self.project(with_class(self.config, z, y)).view(len(z), -1, self.start, self.start)
        x = laid_out_for(self.blocks[0].get_submodule("conv1"), x)
        for block in self.blocks:
            x = block(x, y)
        return torch.tanh(self.last(self.act(self.norm(x, y))))


class DownBlock(nn.Module):
    """(N, n, H, W) -> (N, m, H, W), or half as high and wide: [activation,] 3x3, activation, 3x3; plus the shortcut."""

    def __init__(self, n: int, m: int, slope: float, *, down: bool, first: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(n, m, 3, padding=1), nn.Conv2d(m, m, 3, padding=1)
        self.shortcut = nn.Conv2d(n, m, 1) if n != m or down else None
        self.slope, self.down, self.first = slope, down, first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(x if self.first else F.leaky_relu(x, self.slope))
        h = self.conv2(F.leaky_relu(h, self.slope))
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + (x if self.shortcut is None else self.shortcut(x))


class SNResNetDiscriminator(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] -> logits (N,)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.d_width or config.width
        sizes = [config.channels + num_concatenated(config), *(n * width for n, _ in BLOCKS)]
        self.blocks = nn.ModuleList(
            DownBlock(n, m, config.leaky_slope, down=down, first=i == 0)
            for i, ((n, m), (_, down)) in enumerate(zip(pairwise(sizes), BLOCKS, strict=True))
        )
        self.act, self.dropout = Activation(config.leaky_slope), nn.Dropout2d(config.d_dropout)
        self.head = Head(config, sizes[-1])
        prepare(self, config.inits[1], spectral=config.norms[1] == "spectral")

    def forward(self, images: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = with_class_maps(self.config, images, y)
        for block in self.blocks:
            x = self.dropout(block(x))
        return self.head(self.act(x).sum((2, 3)), y)
