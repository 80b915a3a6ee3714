"""GAN losses against their definitions in probabilities, torch's cross-entropy, known optima and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, margin_ranking_loss

from ganlab.losses import (
    LOSSES,
    clip_weights_,
    hinge_d,
    interpolate,
    least_squares_d,
    least_squares_g,
    logistic_d,
    minimax_g,
    non_saturating_g,
    one_centred_penalty,
    relativistic_d,
    relativistic_g,
    wasserstein_d,
    zero_centred_penalty,
)

LOGITS = torch.linspace(-15, 15, 61, dtype=torch.float64)
PAIRS = (LOGITS, LOGITS.flip(0) * 0.7 + 0.1)  # of real and fake logits, all different
RATIO = torch.linspace(0, 1, 61, dtype=torch.float64)  # a target of its own for each picture
NAMES = ["non-saturating", "minimax", "least-squares", "wasserstein", "hinge", "relativistic"]


def double(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """log D for the probability D = 1 / (1 + e^-x), as it is defined; exact enough in double precision to |x| = 15."""
    return torch.log(1 / (1 + torch.exp(-x)))


def slope(loss: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf).sum(), leaf)[0]


def best_d(name: str, p: torch.Tensor, q: torch.Tensor, **targets: float) -> torch.Tensor:
    """The logits, one a symbol, that a numeric search finds best where real data is p and generated is q."""
    logits = torch.zeros_like(p, requires_grad=True)
    search = torch.optim.LBFGS([logits], max_iter=50, tolerance_grad=1e-9, tolerance_change=0, history_size=4)

    def closure() -> torch.Tensor:
        search.zero_grad()
        real, fake = LOSSES[name].d(logits, 0 * logits, **targets), LOSSES[name].d(0 * logits, logits, **targets)
        total = (p * real + q * fake).sum()
        total.backward()
        return total

    search.step(closure)
    return logits.detach()


# Values


def test_the_table_is_complete() -> None:
    assert list(LOSSES) == NAMES
    assert [name for name in NAMES if LOSSES[name].has_targets] == NAMES[:3]
    assert [name for name in NAMES if LOSSES[name].paired] == NAMES[5:]


@pytest.mark.parametrize(
    ("name", "d", "g"),
    [  # at real logit 0.5 and fake logit -2, by hand
        ("non-saturating", math.log1p(math.exp(-0.5)) + math.log1p(math.exp(-2)), math.log1p(math.exp(2))),
        ("minimax", math.log1p(math.exp(-0.5)) + math.log1p(math.exp(-2)), -math.log1p(math.exp(-2))),
        ("least-squares", (0.25 + 4) / 2, 4.5),
        ("wasserstein", -2.5, 2.0),
        ("hinge", 0.5, 2.0),
        ("relativistic", math.log1p(math.exp(-2.5)), math.log1p(math.exp(2.5))),
    ],
)
def test_values_by_hand(name: str, d: float, g: float) -> None:
    real, fake = double(0.5), double(-2.0)
    assert LOSSES[name].d(real, fake).tolist() == pytest.approx([d], abs=1e-14)
    assert LOSSES[name].g(fake, real).tolist() == pytest.approx([g], abs=1e-14)
    if not LOSSES[name].paired:
        assert torch.equal(LOSSES[name].g(fake, None), LOSSES[name].g(fake, real))


def test_logistic_losses_are_logarithms_of_what_d_said() -> None:
    real, fake = PAIRS
    not_fake = torch.log(1 - 1 / (1 + torch.exp(-fake)))
    torch.testing.assert_close(logistic_d(real, fake), -log_sigmoid(real) - not_fake, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(minimax_g(fake), not_fake, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(non_saturating_g(fake), -log_sigmoid(fake), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("targets", [(1.0, 0.0), (0.9, 0.0), (0.5, 0.25), (0.0, 1.0), (RATIO, RATIO.flip(0).square())])
def test_targets_are_those_of_the_cross_entropy(targets: tuple[float | torch.Tensor, float | torch.Tensor]) -> None:
    expected = sum(
        binary_cross_entropy_with_logits(logits, torch.zeros_like(logits) + target, reduction="none")
        for logits, target in zip(PAIRS, targets, strict=True)
    )
    torch.testing.assert_close(logistic_d(*PAIRS, *targets), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES[:3])
def test_without_a_word_labels_are_one_and_zero(name: str) -> None:
    assert torch.equal(LOSSES[name].d(*PAIRS), LOSSES[name].d(*PAIRS, 1.0, 0.0))
    assert not torch.equal(LOSSES[name].d(*PAIRS), LOSSES[name].d(*PAIRS, 0.9, 0.0))
    assert not torch.equal(LOSSES[name].d(*PAIRS), LOSSES[name].d(*PAIRS, 1.0, 0.1))


@pytest.mark.parametrize("name", ["non-saturating", "least-squares"])
def test_both_labels_flipped_are_both_roles_swapped(name: str) -> None:
    real, fake = PAIRS
    torch.testing.assert_close(LOSSES[name].d(real, fake, 0.0, 1.0), LOSSES[name].d(fake, real))


def test_relativistic_loss_is_the_cross_entropy_of_which_of_two_is_real() -> None:
    real, fake = PAIRS
    ones = torch.ones_like(real)
    expected = binary_cross_entropy_with_logits(real - fake, ones, reduction="none")
    torch.testing.assert_close(relativistic_d(real, fake), expected, rtol=1e-9, atol=1e-8)
    torch.testing.assert_close(relativistic_g(fake, real), relativistic_d(fake, real))
    torch.testing.assert_close(relativistic_d(real + 3, fake + 3), relativistic_d(real, fake))
    assert relativistic_d(real, real).tolist() == pytest.approx([math.log(2)] * len(real), abs=1e-15)


def test_hinge_is_torchs_margin_loss_against_zero() -> None:
    real, fake = PAIRS
    expected = sum(
        margin_ranking_loss(x, torch.zeros_like(x), sign * torch.ones_like(x), margin=1, reduction="none")
        for x, sign in ((real, 1), (fake, -1))
    )
    torch.testing.assert_close(hinge_d(real, fake), expected)


# Optima


def test_at_one_half_everywhere() -> None:
    """Goodfellow et al. 2014, section 4.1: at the optimum D = 1/2."""
    zero = torch.zeros(3, dtype=torch.float64)
    assert logistic_d(zero, zero).tolist() == pytest.approx([2 * math.log(2)] * 3, abs=1e-15)
    assert logistic_d(zero, zero, 0.9, 0.2).tolist() == pytest.approx([2 * math.log(2)] * 3, abs=1e-15)
    assert non_saturating_g(zero).tolist() == pytest.approx([math.log(2)] * 3, abs=1e-15)
    assert minimax_g(zero).tolist() == pytest.approx([-math.log(2)] * 3, abs=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_best_d_knows_the_share_of_real_pictures(smoothing: float) -> None:
    """p / (p+q): Goodfellow et al. 2014, proposition 1, and Mao et al. 2017, eq. 5; smoothed: Salimans et al. 2016."""
    p, q = double(0.1, 0.2, 0.3, 0.4), double(0.3, 0.2, 0.45, 0.05)
    expected = (1 - smoothing) * p / (p + q)
    for name, verdict in (("non-saturating", torch.sigmoid), ("least-squares", lambda x: x)):
        found = verdict(best_d(name, p, q, real_target=1 - smoothing))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


# Slopes


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_slopes(name: str) -> None:
    """Away from the hinges, which none of these logits hits."""
    real, fake = (x.clone().requires_grad_() for x in PAIRS)
    targets = (0.9, RATIO) if LOSSES[name].has_targets else ()
    assert torch.autograd.gradcheck(lambda x, y: LOSSES[name].d(x, y, *targets), (real + 0.01, fake))
    assert torch.autograd.gradcheck(LOSSES[name].g, (fake, real.detach()))
    assert slope(lambda x: LOSSES[name].g(x, PAIRS[0]), PAIRS[1]).abs().max() > 0.4


def test_minimax_saturates_where_the_other_does_not() -> None:
    """Both push D(G) up, with slopes D and 1-D: where D(G) = 0.01 they are 99-fold apart, at 1/2 equal."""
    verdicts = double(0.01, 0.5, 0.99)
    logits = torch.log(verdicts / (1 - verdicts))
    strong, weak = slope(non_saturating_g, logits), slope(minimax_g, logits)
    torch.testing.assert_close(weak, -verdicts)
    torch.testing.assert_close(strong / weak, (1 - verdicts) / verdicts)


def test_hinge_has_no_slope_beyond_the_margin() -> None:
    logits = double(-2.0, -0.5, 0.5, 2.0)
    assert slope(lambda x: hinge_d(x, double(0)), logits).tolist() == [-1, -1, -1, 0]
    assert slope(lambda x: hinge_d(double(0), x), logits).tolist() == [0, 1, 1, 1]


def test_the_other_slopes_in_closed_form() -> None:
    real, fake = PAIRS
    torch.testing.assert_close(slope(lambda x: least_squares_d(x, fake), real), real - 1)
    torch.testing.assert_close(slope(lambda x: least_squares_d(real, x), fake), fake)
    torch.testing.assert_close(slope(least_squares_g, fake), fake - 1)
    torch.testing.assert_close(slope(lambda x: wasserstein_d(x, fake), real), -torch.ones_like(real))
    torch.testing.assert_close(slope(lambda x: relativistic_g(x, real), fake), -1 / (1 + torch.exp(fake - real)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sure_verdicts_stay_finite(dtype: torch.dtype) -> None:
    """At logits of 10,000 a probability is 0 or 1 exactly, and its logarithm would be infinite."""
    far = torch.tensor([-1e4, 1e4], dtype=dtype, requires_grad=True)
    zero = torch.zeros(2, dtype=dtype)
    for loss, values, gradients in (
        (logistic_d(far, zero) - math.log(2), [1e4, 0.0], [-1.0, 0.0]),
        (logistic_d(zero, far) - math.log(2), [0.0, 1e4], [0.0, 1.0]),
        (logistic_d(far, zero, 0.75) - math.log(2), [7500.0, 2500.0], [-0.75, 0.25]),
        (logistic_d(zero, far, 1.0, 1.0) - math.log(2), [1e4, 0.0], [-1.0, 0.0]),
        (non_saturating_g(far), [1e4, 0.0], [-1.0, 0.0]),
        (minimax_g(far), [0.0, -1e4], [0.0, -1.0]),
        (relativistic_d(far, zero), [1e4, 0.0], [-1.0, 0.0]),
    ):
        assert loss.tolist() == pytest.approx(values, rel=1e-6, abs=1e-6)
        assert torch.autograd.grad(loss.sum(), far)[0].tolist() == pytest.approx(gradients, abs=1e-6)


def test_small_losses_are_not_rounded_away() -> None:
    """In single precision log(1 + e^-30) = e^-30 is lost, where it is taken as a difference of 30 and 30."""
    right, wrong, tiny = torch.tensor([30.0]), torch.tensor([-30.0]), math.exp(-30)
    assert logistic_d(right, wrong).item() == pytest.approx(2 * tiny, rel=1e-5, abs=0)
    assert non_saturating_g(right).item() == -minimax_g(wrong).item() == pytest.approx(tiny, rel=1e-5, abs=0)
    assert relativistic_d(right, 0 * wrong).item() == pytest.approx(tiny, rel=1e-5, abs=0)


@pytest.mark.parametrize("num", [0, 1, 7])
@pytest.mark.parametrize("name", NAMES)
def test_one_loss_a_picture(name: str, num: int) -> None:
    """Each loss depends on its own picture (or pair) alone; the mean is left to the caller."""
    real, fake = torch.randn(num), torch.randn(num)
    whole_d, whole_g = LOSSES[name].d(real, fake), LOSSES[name].g(fake, real)
    assert whole_d.shape == whole_g.shape == (num,)
    for i in range(num):
        torch.testing.assert_close(whole_d[i : i + 1], LOSSES[name].d(real[i : i + 1], fake[i : i + 1]))
        torch.testing.assert_close(whole_g[i : i + 1], LOSSES[name].g(fake[i : i + 1], real[i : i + 1]))


# Penalties


def pictures(num: int = 3) -> torch.Tensor:
    return torch.randn(num, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def weights() -> torch.Tensor:
    return (torch.arange(1.0, 25.0, dtype=torch.float64).reshape(2, 3, 4) / 70).requires_grad_()


def norm(x: torch.Tensor) -> float:
    return math.sqrt(sum(value * value for value in x.flatten().tolist()))


def test_penalties_of_a_linear_d() -> None:
    """D(x) = w.x + 5: the slope is w everywhere; d ||w||^2 / dw = 2 w, d (||w||-1)^2 / dw = 2 (1 - 1/||w||) w."""
    x, w = pictures(), weights()
    for penalty, value, derivative in (
        (zero_centred_penalty, norm(w) ** 2, 2 * w),
        (one_centred_penalty, (norm(w) - 1) ** 2, 2 * (1 - 1 / norm(w)) * w),
    ):
        found = penalty((w * x).sum((1, 2, 3)) + 5, x)
        assert found.tolist() == pytest.approx([value] * 3, rel=1e-12)
        torch.testing.assert_close(torch.autograd.grad(found.mean(), w)[0], derivative)


def test_penalties_of_a_quadratic_d() -> None:
    """D(x) = a ||x||^2 / 2: the slope is a x, of each picture its own."""
    x, a = pictures(), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    norms = [0.7 * norm(picture) for picture in x]
    logits = a * x.square().sum((1, 2, 3)) / 2
    assert zero_centred_penalty(logits, x).tolist() == pytest.approx([n**2 for n in norms], rel=1e-12)
    assert one_centred_penalty(logits, x).tolist() == pytest.approx([(n - 1) ** 2 for n in norms], rel=1e-12)


@pytest.mark.parametrize("penalty", [zero_centred_penalty, one_centred_penalty])
def test_penalties_teach_d_and_g(penalty: Callable[..., torch.Tensor]) -> None:
    """Their derivatives in D's weights, and in pictures, are those of finite differences."""
    torch.manual_seed(0)
    inner, outer = torch.randn(5, 24, dtype=torch.float64) / 5, torch.randn(5, dtype=torch.float64)

    def of(x: torch.Tensor, inner: torch.Tensor, outer: torch.Tensor) -> torch.Tensor:
        return penalty(torch.tanh(x.flatten(1) @ inner.T) @ outer, x)

    assert torch.autograd.gradcheck(of, (pictures(2), inner.requires_grad_(), outer.requires_grad_()))


@pytest.mark.parametrize(("penalty", "value"), [(zero_centred_penalty, 0.0), (one_centred_penalty, 1.0)])
def test_a_flat_d_gets_no_nan(penalty: Callable[..., torch.Tensor], value: float) -> None:
    """At a slope of exactly 0 the norm has a kink; its square root must not hand infinity times 0 to the weights."""
    x = pictures()
    w = torch.zeros(2, 3, 4, dtype=torch.float64, requires_grad=True)
    found = penalty((w * x).sum((1, 2, 3)), x)
    assert found.tolist() == [value] * 3
    assert torch.equal(torch.autograd.grad(found.sum(), w)[0], torch.zeros_like(w))


def test_interpolate_lies_between() -> None:
    real, fake = torch.full((3, 2, 4, 4), 1.0), torch.full((3, 2, 4, 4), -1.0)
    mixed = interpolate(real, fake, torch.tensor([0.0, 0.25, 1.0]).view(3, 1, 1, 1))
    assert mixed.shape == real.shape
    assert mixed.amin((1, 2, 3)).tolist() == mixed.amax((1, 2, 3)).tolist() == [-1.0, -0.5, 1.0]


def test_clip_weights_in_place() -> None:
    layer = torch.nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-2.0, 0.005, 0.3]]))
        layer.bias.fill_(-0.02)
    kept = layer.weight
    clip_weights_(layer.parameters(), 0.01)
    assert layer.weight is kept and kept.requires_grad and kept.is_leaf
    assert kept.tolist() == [pytest.approx([-0.01, 0.005, 0.01])]
    assert layer.bias.tolist() == pytest.approx([-0.01])
