"""A moving average of the generator's weights (Polyak averaging; Karras et al. 2018, section 4.1)."""

from __future__ import annotations

import torch
from torch import nn

RAMP = 0.05  # the half-life never exceeds this share of the images seen, so that early noise is forgotten


def ema_decay(half_life: int, images_seen: int, batch_size: int) -> float:
    """Decay for one step so that an old weight counts half after `half_life` images (0: no averaging).

    Early on the half-life is RAMP * images_seen (StyleGAN2-ADA's ramp-up), so the first steps are hardly averaged.
    """
    images = min(half_life, RAMP * images_seen)
    return 0.5 ** (batch_size / images) if images > 0 else 0.0


@torch.no_grad()
def ema_update(average: nn.Module, source: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * source, for weights and batch-norm statistics alike."""
    averages = list(average.parameters()) + [b for b in average.buffers() if b.is_floating_point()]
    sources = list(source.parameters()) + [b for b in source.buffers() if b.is_floating_point()]
    torch._foreach_lerp_(averages, sources, 1 - decay)
