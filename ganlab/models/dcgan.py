"""Deep convolutional GAN (Radford, Metz & Chintala 2015, https://arxiv.org/abs/1511.06434), sized for 28 and 32 pixels.

As in the paper: strided convolutions instead of pooling; batch norm everywhere but in the generator's last layer and
the discriminator's first; ReLU and tanh in the generator, LeakyReLU(0.2) in the discriminator; weights from N(0, 0.02).
Pictures grow from 4x4 in three steps: 4, 8, 16, 32; or 4, 7, 14, 28, whose first step has 3x3 kernels instead of 4x4.
"""

from __future__ import annotations

import torch
from torch import nn

from ganlab.config import Config

START = 4  # height and width of the smallest feature map


def stages(config: Config) -> list[tuple[int, int]]:
    """(features, kernel) of each step up from 4x4; the last one leads to the picture."""
    first_kernel = 3 if config.image_size == 28 else 4
    return [(4 * config.width, first_kernel), (2 * config.width, 4), (config.width, 4)]


class DCGANGenerator(nn.Module):
    """z (N, latent_dim) -> pictures (N, C, H, W) in [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        features, kernels = zip(*stages(config), strict=True)
        self.project = nn.Linear(config.latent_dim, features[0] * START**2, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in features)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(n, m, k, stride=2, padding=1, bias=i == len(features) - 1)
            for i, (n, m, k) in enumerate(zip(features, [*features[1:], config.channels], kernels, strict=True))
        )
        self.apply(init_weights)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.project(z).view(len(z), -1, START, START)
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(torch.relu(norm(x)))
        return torch.tanh(x)


class DCGANDiscriminator(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] -> logits (N,)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        features, kernels = zip(*reversed(stages(config)), strict=True)
        layers: list[nn.Module] = []
        for i, (n, m, k) in enumerate(zip([config.channels, *features], features, kernels, strict=False)):
            layers.append(nn.Conv2d(n, m, k, stride=2, padding=1, bias=i == 0))
            if i > 0:
                layers.append(nn.BatchNorm2d(m))
            layers += [nn.LeakyReLU(0.2), nn.Dropout2d(config.d_dropout)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features[-1] * START**2, 1))
        self.apply(init_weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).squeeze(1).float()  # the loss in full precision, under autocast too


def init_weights(module: nn.Module) -> None:
    """N(0, 0.02) for weights, N(1, 0.02) for batch norm's scales, as in the paper's code."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
