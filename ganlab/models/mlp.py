"""Fully connected networks (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661).

The paper's generator has two hidden layers of rectifiers; its discriminator is regularised by dropout, as ours is.
Where the paper used maxout and a sigmoid output, we use LeakyReLU and tanh with pictures in [-1, 1].
"""

from __future__ import annotations

import math

import torch
from torch import nn

from ganlab.config import Config


class MLPGenerator(nn.Module):
    """z (N, latent_dim) -> pictures (N, C, H, W) in [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.shape = (config.channels, config.image_size, config.image_size)
        self.layers = nn.Sequential(
            nn.Linear(config.latent_dim, config.width), nn.ReLU(),
            nn.Linear(config.width, config.width), nn.ReLU(),
            nn.Linear(config.width, math.prod(self.shape)), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] -> logits (N,)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        num_inputs = config.channels * config.image_size**2
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(num_inputs, config.width), nn.LeakyReLU(0.2), nn.Dropout(config.d_dropout),
            nn.Linear(config.width, config.width), nn.LeakyReLU(0.2), nn.Dropout(config.d_dropout),
            nn.Linear(config.width, 1),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).squeeze(1).float()  # the loss in full precision, under autocast too
