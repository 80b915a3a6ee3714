"""GAN losses: pairs of small functions of logits, each one loss a picture, shape (N,); and penalties on D's gradient.

D's loss is `d(real, fake)`, or `d(real, fake, real_target, fake_target)` where it has labels; G's is `g(fake, real)`,
where only a paired loss looks at the real logits. The mean over pictures is left to the caller. Logits of the least
squares, Wasserstein and hinge losses are scores and no log-odds, but one word for both keeps one signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

Target = float | torch.Tensor


def logistic_d(
    real: torch.Tensor, fake: torch.Tensor, real_target: Target = 1.0, fake_target: Target = 0.0
) -> torch.Tensor:
    """Cross-entropy -log D(x) - log(1-D(G(z))), with D = sigmoid(logit) (Goodfellow et al. 2014, eq. 1).

    With a target t a picture costs -t log D - (1-t) log(1-D) = softplus(logit) - t logit. At D = 1/2 everywhere the
    loss is 2 log 2 = 1.386, whatever the targets.

    Arguments:
        real, fake: logits (N,) for real and generated pictures.
        real_target, fake_target: in [0, 1], numbers or (N,). One-sided label smoothing s (Salimans et al. 2016,
            section 3.4) is real_target = 1 - s; a flipped label is 0 for a real picture, 1 for a generated one.
    """
    # softplus(x) - t x = softplus(-x) + (1-t) x: each in the form that is exact where its logit usually is.
    return F.softplus(-real) + (1 - real_target) * real + (F.softplus(fake) - fake_target * fake)


def minimax_g(fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """log(1-D(G(z))), below 0 (Goodfellow et al. 2014, eq. 1), of slope -D: it vanishes where G is found out."""
    return -F.softplus(fake)


def non_saturating_g(fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """-log D(G(z)) (Goodfellow et al. 2014, section 3), of slope D - 1. At D = 1/2 it is log 2 = 0.693."""
    return F.softplus(-fake)


def least_squares_d(
    real: torch.Tensor, fake: torch.Tensor, real_target: Target = 1.0, fake_target: Target = 0.0
) -> torch.Tensor:
    """1/2 (D(x)-b)^2 + 1/2 (D(G(z))-a)^2 (Mao et al. 2017, eq. 9); real_target is b = 1, fake_target is a = 0."""
    return ((real - real_target).square() + (fake - fake_target).square()) / 2


def least_squares_g(fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """1/2 (D(G(z))-c)^2 with c = 1 (Mao et al. 2017, eq. 9)."""
    return (fake - 1).square() / 2


def wasserstein_d(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """D(G(z)) - D(x): minus the estimate of the Wasserstein distance (Arjovsky et al. 2017, eq. 2 and algorithm 1).

    An estimate only if D is held Lipschitz: by `clip_weights_` or by `one_centred_penalty`.
    """
    return fake - real


def wasserstein_g(fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """-D(G(z)) (Arjovsky et al. 2017, algorithm 1)."""
    return -fake


def hinge_d(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """max(0, 1-D(x)) + max(0, 1+D(G(z))) (Lim & Ye 2017; Miyato et al. 2018, eq. 16): no slope beyond the margin 1."""
    return F.relu(1 - real) + F.relu(1 + fake)


def hinge_g(fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """-D(G(z)) (Miyato et al. 2018, eq. 17)."""
    return -fake


def relativistic_d(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(D(x) - D(G(z))), pair by pair (Jolicoeur-Martineau 2018, RpGAN; Huang et al. 2024, eq. 2).

    log 2 where D tells the two of a pair not apart. Only differences of logits count: D's level is free.
    """
    return F.softplus(fake - real)


def relativistic_g(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(D(G(z)) - D(x)): `relativistic_d` with the roles swapped, as in the code of Huang et al. 2024."""
    return F.softplus(real - fake)


@dataclass(frozen=True)
class Loss:
    """D's loss, G's loss, and what they ask of the caller."""

    d: Callable[..., torch.Tensor]
    g: Callable[..., torch.Tensor]
    has_targets: bool
    """Whether `d` takes real_target and fake_target: label smoothing and label flips have a meaning."""
    paired: bool
    """Whether `g` needs the real logits, and both need as many real pictures as generated ones."""


LOSSES: dict[str, Loss] = {
    #                      d                g                 has_targets  paired
    "non-saturating": Loss(logistic_d,      non_saturating_g, True,        False),
    "minimax":        Loss(logistic_d,      minimax_g,        True,        False),
    "least-squares":  Loss(least_squares_d, least_squares_g,  True,        False),
    "wasserstein":    Loss(wasserstein_d,   wasserstein_g,    False,       False),
    "hinge":          Loss(hinge_d,         hinge_g,          False,       False),
    "relativistic":   Loss(relativistic_d,  relativistic_g,   False,       True),
}  # fmt: skip


def _gradient(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """grad_x D(x) of every picture, as large as the pictures, itself differentiable in D's weights.

    The gradient of the sum is every picture's own only if D judges each alone: no batch norm in D.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient


def zero_centred_penalty(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """||grad_x D(x)||^2 of each picture (Mescheder et al. 2018, eq. 9); the caller multiplies by gamma/2.

    On real pictures it is R1, on generated ones R2.

    Arguments:
        logits: D(images), shape (N,).
        images: (N, C, H, W), requiring gradients before D saw them.
    """
    return _gradient(logits, images).square().sum((1, 2, 3))


def one_centred_penalty(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """(||grad_x D(x)||_2 - 1)^2 of each picture (Gulrajani et al. 2017, eq. 3); the caller multiplies by lambda.

    Of pictures between real and generated ones: see `interpolate`. Arguments as of `zero_centred_penalty`.
    """
    # vector_norm's slope at zero is 0; that of a bare square root is infinite, and would turn the weights into NaN.
    return (torch.linalg.vector_norm(_gradient(logits, images), dim=(1, 2, 3)) - 1).square()


def interpolate(real: torch.Tensor, fake: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """x-hat = mix x + (1-mix) G(z), images (N, C, H, W), mix (N, 1, 1, 1) uniform in [0, 1] (Gulrajani et al. 2017)."""
    return mix * real + (1 - mix) * fake


@torch.no_grad()
def clip_weights_(parameters: Iterable[torch.Tensor], limit: float) -> None:
    """Clamp every weight to [-limit, limit], in place (Arjovsky et al. 2017, algorithm 1, where c = 0.01)."""
    for parameter in parameters:
        parameter.clamp_(-limit, limit)
