"""What D and G minimise on one batch, as the config asks: losses, labels, augmentation, penalties. Pure functions of
networks, pictures and labels; random numbers come from torch's global generator."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ganlab import losses
from ganlab.augment import diffaugment
from ganlab.config import Config


class Verdict(NamedTuple):
    """D's objective and what it says of the two players; scalars but for the logits (N,)."""

    loss: torch.Tensor
    penalty: torch.Tensor
    real: torch.Tensor
    fake: torch.Tensor


def d_objective(
    D: nn.Module, config: Config, real: torch.Tensor, y_real: torch.Tensor, fake: torch.Tensor, y_fake: torch.Tensor
) -> Verdict:
    """D's loss and penalty on real and generated pictures (N, C, H, W) in [-1, 1] with labels (N,)."""
    real, fake = shown(config, real), shown(config, fake)
    if config.penalised:
        real.requires_grad_(), fake.requires_grad_()
    logits_real, logits_fake = _judge_both(D, config, real, y_real, fake, y_fake)
    loss = losses.LOSSES[config.loss]
    targets = _targets(config, logits_real) if loss.has_targets else ()
    penalty = torch.zeros((), device=real.device)
    if config.r1_gamma:
        penalty = penalty + config.r1_gamma / 2 * losses.zero_centred_penalty(logits_real, real).mean()
    if config.r2_gamma:
        penalty = penalty + config.r2_gamma / 2 * losses.zero_centred_penalty(logits_fake, fake).mean()
    if config.gradient_penalty:
        mix = torch.rand((len(real), 1, 1, 1), device=real.device)
        between = losses.interpolate(real.detach(), fake.detach(), mix).requires_grad_()
        unit = losses.one_centred_penalty(D(between, y_real), between).mean()
        penalty = penalty + config.gradient_penalty * unit
    return Verdict(loss.d(logits_real, logits_fake, *targets).mean(), penalty, logits_real, logits_fake)


def g_objective(
    D: nn.Module,
    config: Config,
    fake: torch.Tensor,
    y_fake: torch.Tensor,
    real: torch.Tensor | None = None,
    y_real: torch.Tensor | None = None,
) -> torch.Tensor:
    """G's loss on its pictures (N, C, H, W); a paired loss also needs as many real ones."""
    loss = losses.LOSSES[config.loss]
    logits_real = None
    if loss.paired:
        assert real is not None
        with torch.no_grad():
            logits_real = D(shown(config, real), y_real)
    return loss.g(D(shown(config, fake), y_fake), logits_real).mean()


def shown(config: Config, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures as D sees them: augmented (Zhao et al. 2020), and with instance noise (Sønderby et al. 2017)."""
    if config.diffaugment:
        pictures = diffaugment(pictures, config.diffaugment)
    if config.instance_noise:
        pictures = pictures + config.instance_noise * torch.randn_like(pictures)
    return pictures


def _judge_both(
    D: nn.Module, config: Config, real: torch.Tensor, y_real: torch.Tensor, fake: torch.Tensor, y_fake: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """D's logits. One pass for both is faster; batch norm would mix their statistics, as merged batches want."""
    if config.norms[1].startswith("batch") and config.d_batches == "separate":
        return D(real, y_real), D(fake, y_fake)
    logits_real, logits_fake = D(torch.cat([real, fake]), torch.cat([y_real, y_fake])).chunk(2)
    return logits_real, logits_fake


def _targets(config: Config, logits: torch.Tensor) -> tuple[losses.Target, losses.Target]:
    """What D is told of real and of generated pictures: one number for all, or (N,) where some labels are flipped."""
    real, fake = 1.0 - config.label_smoothing, 0.0
    if not config.label_flip:
        return real, fake
    flipped = (torch.rand((2, len(logits)), device=logits.device) < config.label_flip).float()
    return real + (fake - real) * flipped[0], fake + (real - fake) * flipped[1]
