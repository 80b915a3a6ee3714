"""Convolutions of stride 2, held against torch's own in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganlab.models import strided
from ganlab.models.strided import Down, Up

SHAPES = [  # channels of the larger side, of the smaller, kernel, size of the larger
    (1, 5, 4, 28),
    (3, 6, 4, 32),
    (64, 6, 3, 7),
    (64, 10, 4, 8),
    (80, 70, 4, 14),
]


def pair(
    kind: str, large: int, small: int, kernel: int, size: int, bias: bool
) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """Ours, torch's in float64 with the same weights, and an input in channels-last memory."""
    torch.manual_seed(0)
    options = dict(stride=2, padding=1, bias=bias)
    if kind == "down":
        layer, other = Down(large, small, kernel, bias), nn.Conv2d(large, small, kernel, **options)  # type: ignore[arg-type]
        x = torch.randn(4, large, size, size)
    else:
        layer, other = Up(small, large, kernel, bias), nn.ConvTranspose2d(small, large, kernel, **options)  # type: ignore[arg-type]
        x = torch.randn(4, small, size // 2 + kernel % 2, size // 2 + kernel % 2)
    other.load_state_dict(layer.state_dict())
    return layer.to(memory_format=torch.channels_last), other.double(), x.contiguous(memory_format=torch.channels_last)  # type: ignore[call-overload]


def relative(found: torch.Tensor, true: torch.Tensor) -> float:
    return float((found.detach() - true.detach()).norm() / true.detach().norm())


@pytest.mark.parametrize("learns", [True, False], ids=["learns", "judges"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["down", "up"])
@pytest.mark.parametrize(("bfloat16", "error"), [(False, 2e-6), (True, 1e-2)], ids=["float32", "bfloat16"])
def test_pictures_and_gradients_are_those_of_torch(
    kind: str, shape: tuple[int, int, int, int], bias: bool, learns: bool, bfloat16: bool, error: float
) -> None:
    layer, other, x = pair(kind, *shape, bias)
    layer.requires_grad_(learns), other.requires_grad_(learns)
    x = x.bfloat16().float() if bfloat16 else x
    mine, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        y = layer(mine)
    true = other(theirs)
    assert y.shape == true.shape and relative(y, true) < error
    along = torch.randn_like(true)
    y.backward(along.to(y)), true.backward(along)
    assert relative(mine.grad, theirs.grad) < error  # type: ignore[arg-type]
    for (name, weight), (_, other_weight) in zip(layer.named_parameters(), other.named_parameters(), strict=True):
        assert (weight.grad is None) == (not learns), name
        if learns:
            assert weight.grad.dtype == torch.float32 and relative(weight.grad, other_weight.grad) < error, name


@pytest.mark.parametrize("kind", ["down", "up"])
def test_the_detours_are_taken(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above holds torch against itself."""
    taken = []
    for function in ("pixel_unshuffle", "pixel_shuffle"):
        honest = getattr(strided.F, function)
        monkeypatch.setattr(strided.F, function, lambda *a, honest=honest, f=function: taken.append(f) or honest(*a))
    honest = strided.weight_gradient
    monkeypatch.setattr(strided, "weight_gradient", lambda *a: taken.append("product") or honest(*a))
    few, _, x = pair(kind, 3, 6, 4, 32, True)
    few.requires_grad_(False)(x)
    assert taken == (["pixel_unshuffle"] * 2 if kind == "down" else ["pixel_unshuffle", "pixel_shuffle"])
    taken.clear()
    many, _, x = pair(kind, 64, 10, 4, 8, False)
    with torch.autocast("cpu", torch.bfloat16):
        y = many(x)
    y.sum().backward()
    assert taken == ["product"]


@pytest.mark.parametrize("kind", ["down", "up"])
def test_second_derivatives_are_those_of_finite_differences(kind: str) -> None:
    """Gradient penalties take them, in full precision."""
    layer, _, x = pair(kind, *SHAPES[0], True)
    layer.double().requires_grad_(False)
    part = x.double()[:1, :, :4, :4].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: layer(x).square().sum(), part)


def test_spectral_norm_is_computed_once_a_pass() -> None:
    layer = nn.utils.parametrizations.spectral_norm(Down(3, 6, 4))
    layer.train()
    calls = []
    layer.parametrizations.weight[0].register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr, index, operator]
    layer(torch.randn(2, 3, 8, 8))
    assert calls == [1]
