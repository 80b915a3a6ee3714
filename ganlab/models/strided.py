"""Convolutions of stride 2, by which pictures shrink and grow. They are torch's own but for two detours on a CPU, round
what oneDNN, the library under torch, does slowly. The sums are the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

FEW = 8  # channels: pictures have one or three, while oneDNN works on sixteen at a time
MANY = 64  # channels from which on a matrix product is faster, laying the matrix out included


class Down(nn.Conv2d):
    """A convolution (N, C, H, W) -> (N, F, H/2, W/2), sizes rounded down."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride=2, padding=1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight  # once: spectral norm computes it anew each time
        if learns_by_product(x, weight, self.in_channels):
            return by_product(x, weight, self.bias, up=False)
        # where D itself learns, torch's own is faster
        if folds(x, weight, self.in_channels) and not weight.requires_grad:
            return F.conv2d(F.pixel_unshuffle(F.pad(x, (1, 1, 1, 1)), 2), F.pixel_unshuffle(weight, 2), self.bias)
        return F.conv2d(x, weight, self.bias, stride=2, padding=1)


class Up(nn.ConvTranspose2d):
    """A transposed convolution (N, F, H, W) -> (N, C, 2H, 2W), or one less with an odd kernel."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride=2, padding=1, bias=bias)

    def forward(self, x: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        weight = self.weight
        if learns_by_product(x, weight, self.out_channels):
            return by_product(x, weight, self.bias, up=True)
        if folds(x, weight, self.out_channels):
            bias = None if self.bias is None else self.bias.repeat_interleave(4)
            return F.pixel_shuffle(F.conv_transpose2d(x, F.pixel_unshuffle(weight, 2), bias), 2)[..., 1:-1, 1:-1]
        return F.conv_transpose2d(x, weight, self.bias, stride=2, padding=1)


# --- few channels ----------------------------------------------------------------------------------------------------


def folds(x: torch.Tensor, weight: torch.Tensor, channels: int) -> bool:
    """Whether to fold each 2x2 pixels into one of four times the channels: then the kernel has 2x2 and stride 1."""
    return x.device.type == "cpu" and channels < FEW and weight.shape[2] == 4


# --- the gradient of the weights -------------------------------------------------------------------------------------


def learns_by_product(x: torch.Tensor, weight: torch.Tensor, channels: int) -> bool:
    """Whether to compute the weights' gradient as one matrix product: in bfloat16 that is faster."""
    bfloat16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.device.type == "cpu" and bfloat16 and channels >= MANY and weight.requires_grad


def by_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, up: bool) -> torch.Tensor:
    """The convolution, transposed if `up`, whose weights learn so."""
    y = _ByProduct.apply(x.bfloat16(), weight.bfloat16(), up)
    return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)


class _ByProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, up: bool) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.up = up
        return (F.conv_transpose2d if up else F.conv2d)(x, weight, stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None]:
        x, weight = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0] and ctx.up:
            of_x = F.conv2d(gradient, weight, stride=2, padding=1)
        elif ctx.needs_input_grad[0]:
            of_x = conv2d_input(x.shape, weight, gradient, stride=2, padding=1)
        large, small = (gradient, x) if ctx.up else (x, gradient)
        return of_x, weight_gradient(large, small, weight.shape[2]), None


def weight_gradient(large: torch.Tensor, small: torch.Tensor, kernel: int) -> torch.Tensor:
    """The sum over pictures and places of `small` (N, F, h, w) times the window of `large` (N, C, H, W) that belongs to
    it: (F, C, kernel, kernel)."""
    padded = F.pad(large, (1, 1, 1, 1)).contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    num, (height, width), channels = len(small), small.shape[2:], large.shape[1]
    n, h, w, _ = padded.stride()
    windows = padded.as_strided((num, height, width, kernel, kernel, channels), (n, 2 * h, 2 * w, h, w, 1))
    places = small.permute(0, 2, 3, 1).reshape(-1, small.shape[1])
    product = places.t() @ windows.reshape(len(places), -1)
    return product.view(-1, kernel, kernel, channels).permute(0, 3, 1, 2)
