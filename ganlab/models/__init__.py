"""Network families. Generators map z (N, latent_dim) and labels y (N,) to pictures (N, C, H, W) in [-1, 1];
discriminators map pictures and labels to logits (N,), positive for "real". Unconditional ones take y = None."""

from __future__ import annotations

import torch
from torch import nn

from ganlab.config import Config
from ganlab.errors import ConfigError
from ganlab.models.dcgan import DCGANDiscriminator, DCGANGenerator
from ganlab.models.mlp import MLPDiscriminator, MLPGenerator
from ganlab.models.sn_conv import SNConvDiscriminator, SNConvGenerator
from ganlab.models.sn_resnet import SNResNetDiscriminator, SNResNetGenerator

FAMILIES: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
    "sn-conv": (SNConvGenerator, SNConvDiscriminator),
    "sn-resnet": (SNResNetGenerator, SNResNetDiscriminator),
}


def build_generator(config: Config) -> nn.Module:
    """A new generator, initialised from torch's global random state."""
    return _family(config)[0](config)


def build_discriminator(config: Config) -> nn.Module:
    """A new discriminator, initialised from torch's global random state."""
    return _family(config)[1](config)


def _family(config: Config) -> tuple[type[nn.Module], type[nn.Module]]:
    if config.conditioning != "none" and not config.classes:
        raise ConfigError(f"conditioning is {config.conditioning!r}, but no classes are named that it could tell of.")
    return FAMILIES[config.model]


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
