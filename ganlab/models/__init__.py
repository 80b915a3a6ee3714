"""Network families. Generators map z (N, latent_dim) to pictures (N, C, H, W) in [-1, 1]; discriminators map pictures
to logits (N,), positive for "real"."""

from __future__ import annotations

import torch
from torch import nn

from ganlab.config import Config
from ganlab.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganlab.models.mlp import MLPDiscriminator, MLPGenerator

GENERATORS = {"mlp": MLPGenerator, "dcgan": DCGANGenerator}
DISCRIMINATORS = {"mlp": MLPDiscriminator, "dcgan": DCGANDiscriminator}


def build_generator(config: Config) -> nn.Module:
    """A new generator, initialised from torch's global random state."""
    return GENERATORS[config.model](config)


def build_discriminator(config: Config) -> nn.Module:
    """A new discriminator, initialised from torch's global random state."""
    return DISCRIMINATORS[config.model](config)


def num_parameters(module: nn.Module) -> int:
    """Trainable numbers in a network."""
    return sum(p.numel() for p in module.parameters())


def sample_prior(
    config: Config, num: int, generator: torch.Generator | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """`num` latent vectors (num, latent_dim) from the config's prior: N(0, 1), or uniform in [-1, 1]."""
    shape = (num, config.latent_dim)
    if config.prior == "normal":
        return torch.randn(shape, generator=generator, device=device)
    return torch.rand(shape, generator=generator, device=device) * 2 - 1
