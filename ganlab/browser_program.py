"""A program for the browser: which functions of a small kernel to call on which numbers, and the weights as fp16.

Here everything is laid out, so that the browser has nothing to think about: maps in (H, W, C) order with zeros around
them, channels padded to eights for SIMD, and transposed convolutions, or upsampling before a convolution, as one plain
convolution for each sub-pixel of the result (Shi et al. 2016, arXiv:1609.05158), which multiplies no zeros.

    4 bytes      length of the header, little-endian
    header       JSON: latent_dim, num_classes, picture, calls, arrays, …; padded with spaces to a multiple of 4
    fp16 ...     the arrays one after another

`ganlab/app/components/generator/engine.js` reads it; `kernel.ts` beside it says what each call does.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ganlab.errors import WeightsError
from ganlab.program import Activation, Affine, Conv, ConvTranspose, Layer, Linear, Program, Reshape, Residual, Upsample

BUDGET = 150_000_000  # multiply-adds a picture that a browser is asked for: 20 ms or so on a laptop's core
LANES = 8  # channels at once in the kernel
FIRST = 64  # address of the first number, in bytes: 0 stays nobody's
LARGEST = float(np.finfo(np.float16).max)


def to_browser(program: Program) -> bytes:
    """The program as bytes for the browser.

    Raises WeightsError if a weight is beyond fp16's range (65504), which only a training that diverges reaches.
    """
    plan = _planned(program)
    halves = np.concatenate([array.ravel() for array in plan.arrays])
    if not (abs(halves) <= LARGEST).all():
        raise WeightsError(
            f"A weight is {abs(halves).max():.3g}, beyond what 16 bits hold ({LARGEST:.0f}): the training diverged."
        )
    weights = halves.astype("<f2").tobytes()
    header = {**plan.header, "id": hashlib.sha256(json.dumps(plan.header).encode() + weights).hexdigest()[:16]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return len(text).to_bytes(4, "little") + text + weights


def multiply_adds(program: Program) -> int:
    """What a picture takes in the browser; compare with BUDGET."""
    return _planned(program).multiply_adds


@dataclass(frozen=True)
class _Map:
    """Numbers in the browser's memory, (height, width, channels): address of the first, bytes from one row or pixel to
    the next. A vector is one pixel."""

    at: int
    height: int
    width: int
    channels: int
    row: int
    col: int

    @property
    def lanes(self) -> int:
        """Channels, padded."""
        return self.col // 4

    def pixel(self, y: int, x: int) -> int:
        """The address of a pixel, perhaps of the zeros around."""
        return self.at + y * self.row + x * self.col


@dataclass(frozen=True)
class _Taps:
    """The plain convolution that makes every `stride`-th pixel from (y, x) on: weight (height, width, in, out), whose
    first tap is at `dy`, `dx` from the pixel that it looks at."""

    y: int
    x: int
    dy: int
    dx: int
    weight: np.ndarray


def _planned(program: Program) -> _Plan:
    plan = _Plan(program)
    picture = plan.run(program.layers, plan.z)
    channels, height, width = program.output_shape
    assert (picture.height, picture.width, picture.channels) == (height, width, channels)
    plan.header = {
        "latent_dim": program.input_shape[0],
        "num_classes": program.num_classes,
        "multiply_adds": plan.multiply_adds,
        "z": plan.z.at,
        "y": plan.y.at,
        "picture": vars(picture),
        "calls": plan.calls,
        "arrays": plan.places,
        "bytes": plan.end,
    }
    return plan


class _Plan:
    """Calls in the order in which they run, and where in memory everything is."""

    def __init__(self, program: Program) -> None:
        self.calls: list[list[Any]] = []
        self.arrays: list[np.ndarray] = []
        self.places: list[tuple[int, int]] = []  # of each array: address, numbers
        self.end, self.multiply_adds = FIRST, 0
        self.header: dict[str, Any] = {}
        self.border = max([0, *map(_reach, _convolutions(program.layers))])
        self.z, self.y = self.vector(program.input_shape[0]), self.vector(program.num_classes)

    # --- memory -----------------------------------------------------------------------------------------------------

    def take(self, numbers: int) -> int:
        """The address of so many new numbers, all 0."""
        at = self.end
        self.end += 4 * _padded(numbers)
        return at

    def constant(self, array: np.ndarray) -> int:
        """The address of an array, (..., channels): channels padded with zeros."""
        array = _pad_last(array)
        at = self.take(array.size)
        self.arrays.append(array)
        self.places.append((at, array.size))
        return at

    def vector(self, numbers: int) -> _Map:
        lanes = _padded(numbers)
        return _Map(self.take(lanes), 1, 1, numbers, 4 * lanes, 4 * lanes)

    def map(self, height: int, width: int, channels: int) -> _Map:
        """A new map with zeros around. The kernel, which takes four pixels at once, may read beyond the last."""
        col, edge = 4 * _padded(channels), self.border
        row = (width + 2 * edge) * col
        at = self.take((height + 2 * edge) * row // 4 + col)
        return _Map(at + edge * (row + col), height, width, channels, row, col)

    def looked_up(self, array: np.ndarray) -> int:
        """The address of a constant (F,), or of what y takes from a table (K, F)."""
        if array.ndim == 1:
            return self.constant(array)
        found = self.vector(array.shape[1])
        self.dense(self.y, array, self.constant(np.zeros(array.shape[1], np.float32)), found, 1, 1.0)
        return found.at

    # --- layers -----------------------------------------------------------------------------------------------------

    def run(self, layers: Iterable[Layer], x: _Map) -> _Map:
        """The map after all `layers`. An activation goes into the layer before it, where it can."""
        rest = deque(layers)
        while rest:
            match layer := rest.popleft():
                case Linear():
                    x = self.linear(layer, x, rest)
                case Conv():
                    x = self.conv([_whole(layer)], x, layer.bias, x.height, x.width, 1, _slope(rest))
                case ConvTranspose():
                    more = layer.weight.shape[-1] - layer.stride - 2 * layer.padding
                    height, width = (n * layer.stride + more for n in (x.height, x.width))
                    x = self.conv(_phases(layer), x, layer.bias, height, width, layer.stride, _slope(rest))
                case Upsample() if rest and isinstance(rest[0], Conv):
                    after: Any = rest.popleft()
                    x = self.conv(_upsampled(after), x, after.bias, 2 * x.height, 2 * x.width, 2, _slope(rest))
                case Upsample():
                    x = self.affine(x, *self.same(x), up=1)
                case Affine():
                    x = self.affine(x, self.looked_up(layer.scale), self.looked_up(layer.shift), slope=_slope(rest))
                case Activation(kind="tanh"):
                    self.calls.append(["tanh", *vars(x).values()])
                case Activation():
                    x = self.affine(x, *self.same(x), slope=layer.slope)
                case Residual():
                    x = self.residual(layer, x)
                case Reshape():
                    pass  # the linear layer before it has put each number in its place
        return x

    def linear(self, layer: Linear, x: _Map, rest: deque[Layer]) -> _Map:
        """A vector; or, if it is reshaped next, the map, dense if that is the picture."""
        weight, bias, slope = layer.weight.T, layer.bias, _slope(rest)
        after = [other for other in rest if not isinstance(other, Activation)]
        rows = 1
        if not (after and isinstance(after[0], Reshape)):
            y = self.vector(bias.shape[-1])
        else:
            channels, height, width = after[0].shape
            weight, bias = (_pixels(array, after[0].shape, padded=len(after) > 1) for array in (weight, bias))
            if len(after) > 1:
                y, rows = self.map(height, width, channels), height
            else:
                y = _Map(self.take(bias.shape[-1]), height, width, channels, 4 * width * channels, 4 * channels)
        self.dense(x, weight, self.looked_up(bias), y, rows, slope)
        return y

    def dense(self, x: _Map, weight: np.ndarray, bias: int, y: _Map, rows: int, slope: float) -> None:
        """y = x @ weight (in, out) + what is at `bias`, in `rows` rows."""
        blocks = _pad_last(weight).reshape(len(weight), -1, LANES).transpose(1, 0, 2)
        each = len(blocks) // rows
        self.multiply_adds += blocks.size
        self.calls.append(["linear", x.at, len(weight), self.constant(blocks), bias, y.at, y.row, rows, each, slope])

    def conv(
        self, parts: list[_Taps], x: _Map, bias: np.ndarray, height: int, width: int, stride: int, slope: float
    ) -> _Map:
        """A map (height, width, len(bias)), of which each of `parts` makes its own pixels."""
        y, b = self.map(height, width, len(bias)), self.constant(bias)
        for part in parts:
            tall, wide, channels, _ = part.weight.shape
            weight = np.zeros((tall, wide, x.lanes, y.lanes), np.float32)
            weight[:, :, :channels, : len(bias)] = part.weight
            blocks = weight.reshape(tall, wide * x.lanes, -1, LANES).transpose(2, 0, 1, 3)
            rows, cols = (-(-(size - first) // stride) for size, first in ((height, part.y), (width, part.x)))
            self.multiply_adds += rows * -(-cols // 4) * 4 * weight.size
            self.calls.append(
                ["conv", x.pixel(part.dy, part.dx), x.row, x.col, self.constant(blocks), b, y.pixel(part.y, part.x)]
                + [stride * y.row, stride * y.col, rows, cols, tall, wide * x.lanes, len(blocks), slope]
            )
        return y

    def affine(self, x: _Map, scale: int, shift: int, up: int = 0, slope: float = 1.0) -> _Map:
        y = self.map(x.height << up, x.width << up, x.channels)
        size = [y.height, y.width, x.lanes]
        self.calls.append(["affine", x.at, x.row, y.at, y.row, *size, scale, shift, up, slope])
        return y

    def same(self, x: _Map) -> tuple[int, int]:
        """Scale and shift that change nothing."""
        return self.constant(np.ones(x.channels, np.float32)), self.constant(np.zeros(x.channels, np.float32))

    def residual(self, layer: Residual, x: _Map) -> _Map:
        """Both ways and their sum; upsampling at the end of the shortcut is done while adding."""
        up = isinstance(layer.shortcut[-1], Upsample)
        y = self.run(layer.body, x)
        short = self.run(layer.shortcut[:-1] if up else layer.shortcut, x)
        self.calls.append(["add", short.at, short.row, y.at, y.row, y.height, y.width, y.lanes, int(up)])
        return y


# --- arrays as the kernel reads them ---------------------------------------------------------------------------------


def _padded(numbers: int) -> int:
    return -(-numbers // LANES) * LANES


def _pad_last(array: np.ndarray) -> np.ndarray:
    """(..., n) with zeros to the next eight."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % LANES)])


def _pixels(array: np.ndarray, shape: tuple[int, ...], padded: bool) -> np.ndarray:
    """(..., C*H*W) to (..., H*W*C), each pixel's channels padded if asked for."""
    pixels = np.moveaxis(array.reshape(*array.shape[:-1], *shape), -3, -1)
    return (_pad_last(pixels) if padded else pixels).reshape(*array.shape[:-1], -1)


def _whole(layer: Conv) -> _Taps:
    return _Taps(0, 0, -layer.padding, -layer.padding, layer.weight.transpose(2, 3, 1, 0))


def _reach(layer: Conv | ConvTranspose) -> int:
    """How far from a pixel its taps reach."""
    if isinstance(layer, Conv):
        return layer.padding
    return max(max(-part.dy, part.dy + len(part.weight) - 1) for part in _phases(layer))


def _phases(layer: ConvTranspose) -> list[_Taps]:
    """Pixel stride * i + a of the result takes pixel i + d of the input times row a + padding - stride * d of the
    kernel, where there is one; and columns likewise."""
    kernel, stride, padding = layer.weight.shape[-1], layer.stride, layer.padding
    seen = [[d for d in range(-kernel, kernel) if 0 <= a + padding - stride * d < kernel] for a in range(stride)]
    rows = [[a + padding - stride * d for d in seen[a]] for a in range(stride)]
    return [
        _Taps(a, b, seen[a][0], seen[b][0], layer.weight[:, :, rows[a]][..., rows[b]].transpose(2, 3, 0, 1))
        for a, b in product(range(stride), repeat=2)
    ]


def _upsampled(layer: Conv) -> list[_Taps]:
    """Of a picture with each pixel as 2 x 2, several taps see the same pixel: their sum is one tap."""
    weight = layer.weight.transpose(2, 3, 1, 0).astype(np.float64)
    seen = [[(a + k - layer.padding) // 2 for k in range(len(weight))] for a in (0, 1)]
    parts = []
    for a, b in product((0, 1), repeat=2):
        dy, dx = min(seen[a]), min(seen[b])
        summed = np.zeros((max(seen[a]) - dy + 1, max(seen[b]) - dx + 1, *weight.shape[2:]))
        for (i, y), (j, x) in product(enumerate(seen[a]), enumerate(seen[b])):
            summed[y - dy, x - dx] += weight[i, j]
        parts.append(_Taps(a, b, dy, dx, summed.astype(np.float32)))
    return parts


def _slope(rest: deque[Layer]) -> float:
    """The slope below zero of the activation that comes next, which is taken; 1 if none does."""
    if rest and isinstance(rest[0], Activation) and rest[0].kind != "tanh":
        taken = rest.popleft()
        assert isinstance(taken, Activation)
        return taken.slope
    return 1.0


def _convolutions(layers: Iterable[Layer]) -> Iterable[Conv | ConvTranspose]:
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _convolutions([*layer.body, *layer.shortcut])
        elif isinstance(layer, Conv | ConvTranspose):
            yield layer
