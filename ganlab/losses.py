"""GAN losses: pairs of small functions of logits. Each returns one loss a picture, shape (N,)."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def non_saturating_d(real: torch.Tensor, fake: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Discriminator's loss -(1-s) log D(x) - s log(1-D(x)) - log(1-D(G(z))), with D = sigmoid(logit).

    Goodfellow et al. 2014, eq. 1; one-sided label smoothing s: Salimans et al. 2016, section 3.4. At s = 0 and D = 1/2
    everywhere it is 2 log 2 = 1.386.

    Arguments:
        real, fake: logits (N,) for real and generated pictures.
        smoothing: s in [0, 1); the target for real pictures is 1 - s.
    """
    return F.softplus(-real) + smoothing * real + F.softplus(fake)


def non_saturating_g(fake: torch.Tensor) -> torch.Tensor:
    """Generator's loss -log D(G(z)) (Goodfellow et al. 2014, section 3), from logits (N,). At D = 1/2 it is log 2."""
    return F.softplus(-fake)
