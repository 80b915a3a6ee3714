"""GAN losses against their definitions in probabilities, torch's cross-entropy, and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ganlab.losses import non_saturating_d, non_saturating_g

LOGITS = torch.linspace(-15, 15, 61, dtype=torch.float64)
PAIRS = (LOGITS, LOGITS.flip(0) * 0.7 + 0.1)  # of real and fake logits, all different
SMOOTHINGS = [0.0, 0.1, 0.5]


def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """log D for the probability D = 1 / (1 + e^-x), as it is defined; exact enough in double precision to |x| = 15."""
    return torch.log(1 / (1 + torch.exp(-x)))


def slopes(loss: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each loss's derivative in its own logit: by autograd, and by central differences."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf).sum(), leaf)
    step = 1e-5
    return gradient, (loss(x + step) - loss(x - step)) / (2 * step)


def test_d_is_minus_log_of_what_it_should_have_said() -> None:
    real, fake = PAIRS
    expected = -log_sigmoid(real) - torch.log(1 - 1 / (1 + torch.exp(-fake)))
    torch.testing.assert_close(non_saturating_d(real, fake), expected, rtol=1e-9, atol=1e-9)


def test_g_is_minus_log_of_what_d_said() -> None:
    torch.testing.assert_close(non_saturating_g(LOGITS), -log_sigmoid(LOGITS), rtol=1e-9, atol=1e-12)


def test_at_one_half_everywhere() -> None:
    """Goodfellow et al. 2014, section 4.1: at the optimum D = 1/2."""
    zero = torch.zeros(3, dtype=torch.float64)
    assert non_saturating_d(zero, zero).tolist() == pytest.approx([2 * math.log(2)] * 3, abs=1e-15)
    assert non_saturating_g(zero).tolist() == pytest.approx([math.log(2)] * 3, abs=1e-15)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_smoothing_is_the_cross_entropy_with_a_smaller_target(smoothing: float) -> None:
    """One-sided: 1 - s for real pictures, 0 for generated ones."""
    real, fake = PAIRS
    expected = binary_cross_entropy_with_logits(
        real, torch.full_like(real, 1 - smoothing), reduction="none"
    ) + binary_cross_entropy_with_logits(fake, torch.zeros_like(fake), reduction="none")
    torch.testing.assert_close(non_saturating_d(real, fake, smoothing), expected, rtol=1e-9, atol=1e-9)


def test_smoothing_makes_one_minus_s_the_best_verdict() -> None:
    """The loss of a real picture is least where D(x) = 1 - s, so a surer D is pulled back."""
    smoothing, fake = 0.1, torch.zeros(2001, dtype=torch.float64)
    verdicts = torch.linspace(0.5, 0.999, 2001, dtype=torch.float64)
    best = non_saturating_d(torch.logit(verdicts), fake, smoothing).argmin()
    assert verdicts[best].item() == pytest.approx(0.9, abs=1e-3)


def test_without_a_word_there_is_no_smoothing() -> None:
    assert torch.equal(non_saturating_d(*PAIRS), non_saturating_d(*PAIRS, 0.0))
    assert not torch.equal(non_saturating_d(*PAIRS), non_saturating_d(*PAIRS, 0.1))


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_gradients_are_the_slopes(smoothing: float) -> None:
    real, fake = PAIRS
    for gradient, slope in (
        slopes(lambda x: non_saturating_d(x, fake, smoothing), real),
        slopes(lambda x: non_saturating_d(real, x, smoothing), fake),
        slopes(non_saturating_g, LOGITS),
    ):
        assert gradient.abs().max() > 0.4
        torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-8)


def test_the_generator_learns_most_where_it_is_found_out() -> None:
    """Why it is called non-saturating: dL/dx = D - 1, near -1 where D is sure that a picture is generated."""
    fake = torch.tensor([-10.0, 0.0, 10.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(non_saturating_g(fake).sum(), fake)
    assert gradient.tolist() == pytest.approx([-1.0, -0.5, 0.0], abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sure_verdicts_stay_finite(dtype: torch.dtype) -> None:
    """At logits of 10,000 a probability is 0 or 1 exactly, and its logarithm would be infinite."""
    far = torch.tensor([-1e4, 1e4], dtype=dtype, requires_grad=True)
    zero = torch.zeros(2, dtype=dtype)
    for loss, values, gradients in (
        (non_saturating_d(far, zero) - math.log(2), [1e4, 0.0], [-1.0, 0.0]),
        (non_saturating_d(zero, far) - math.log(2), [0.0, 1e4], [0.0, 1.0]),
        (non_saturating_d(far, zero, 0.25) - math.log(2), [7500.0, 2500.0], [-0.75, 0.25]),
        (non_saturating_g(far), [1e4, 0.0], [-1.0, 0.0]),
    ):
        assert loss.tolist() == pytest.approx(values, rel=1e-6, abs=1e-6)
        assert torch.autograd.grad(loss.sum(), far)[0].tolist() == pytest.approx(gradients, abs=1e-6)


@pytest.mark.parametrize("num", [0, 1, 7])
def test_one_loss_a_picture(num: int) -> None:
    """Each loss depends on its own picture alone; the mean is left to the caller."""
    real, fake = torch.randn(num), torch.randn(num)
    whole_d, whole_g = non_saturating_d(real, fake, 0.1), non_saturating_g(fake)
    assert whole_d.shape == whole_g.shape == (num,)
    for i in range(num):
        torch.testing.assert_close(whole_d[i : i + 1], non_saturating_d(real[i : i + 1], fake[i : i + 1], 0.1))
        torch.testing.assert_close(whole_g[i : i + 1], non_saturating_g(fake[i : i + 1]))
