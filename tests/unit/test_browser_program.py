"""A program laid out for the browser, run by a kernel in numpy, against onnxruntime. The true kernel: tests/browser."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
from test_program import ALL, CLASSES, every_config, program_of, small

from ganlab.browser_program import BUDGET, multiply_adds, to_browser
from ganlab.errors import WeightsError
from ganlab.onnx_graph import to_onnx
from ganlab.program import Activation, Affine, ConvTranspose, Linear, Program, Reshape, Upsample


class Browser:
    """Memory and kernel as a browser has them, one number at a time where that is clearest."""

    def __init__(self, content: bytes) -> None:
        start = 4 + int.from_bytes(content[:4], "little")
        self.program = json.loads(content[4:start])
        self.memory = np.zeros(self.program["bytes"] // 4 + 64)
        halves = iter(np.frombuffer(content[start:], "<f2"))
        for at, size in self.program["arrays"]:
            assert at % 16 == 0
            self.memory[at // 4 : at // 4 + size] = [next(halves) for _ in range(size)]
        assert next(halves, None) is None

    def run(self, z: np.ndarray, y: np.ndarray | None) -> np.ndarray:
        """One picture, (H, W, C) in [-1, 1]."""
        self.memory[self.program["z"] // 4 :][: len(z)] = z
        if y is not None:
            self.memory[self.program["y"] // 4 :][: len(y)] = y
        for name, *values in self.program["calls"]:
            getattr(self, name)(*values)
        picture = self.program["picture"]
        pixels = list(self._pixels(picture["at"], picture["row"], picture["col"], picture["height"], picture["width"]))
        values = [self.memory[at : at + picture["channels"]] for at in pixels]
        return np.reshape(values, (picture["height"], picture["width"], picture["channels"]))

    def _pixels(self, at: int, row: int, col: int, height: int, width: int) -> Iterator[int]:
        for i in range(height):
            for j in range(width):
                yield (at + i * row + j * col) // 4

    def conv(self, x, x_row, x_col, w, b, y, y_row, y_col, rows, cols, height, run, blocks, slope) -> None:
        weight = self.memory[w // 4 :][: blocks * height * run * 8].reshape(blocks, height, run, 8)
        sources = self._pixels(x, x_row, x_col, rows, cols)
        for source, target in zip(sources, self._pixels(y, y_row, y_col, rows, cols), strict=True):
            seen = np.stack([self.memory[source + t * x_row // 4 :][:run] for t in range(height)])
            sums = np.einsum("tk,btkc->bc", seen, weight).ravel() + self.memory[b // 4 :][: 8 * blocks]
            self.memory[target : target + 8 * blocks] = np.maximum(sums, slope * sums)

    def linear(self, x, n, w, b, y, y_row, rows, blocks, slope) -> None:
        weight = self.memory[w // 4 :][: rows * blocks * n * 8].reshape(rows, blocks, n, 8)
        sums = np.einsum("k,rbkc->rbc", self.memory[x // 4 :][:n], weight).reshape(rows, -1)
        sums += self.memory[b // 4 :][: sums.size].reshape(sums.shape)
        for i, values in enumerate(sums):
            self.memory[(y + i * y_row) // 4 :][: len(values)] = np.maximum(values, slope * values)

    def affine(self, x, x_row, y, y_row, rows, cols, channels, scale, shift, up, slope) -> None:
        factor, constant = (self.memory[at // 4 :][:channels].copy() for at in (scale, shift))
        for k, target in enumerate(self._pixels(y, y_row, 4 * channels, rows, cols)):
            i, j = k // cols >> up, k % cols >> up
            values = self.memory[(x + i * x_row) // 4 + j * channels :][:channels] * factor + constant
            self.memory[target : target + channels] = np.maximum(values, slope * values)

    def add(self, x, x_row, y, y_row, rows, cols, channels, up) -> None:
        for k, target in enumerate(self._pixels(y, y_row, 4 * channels, rows, cols)):
            i, j = k // cols >> up, k % cols >> up
            self.memory[target : target + channels] += self.memory[(x + i * x_row) // 4 + j * channels :][:channels]

    def tanh(self, at, height, width, channels, row, col) -> None:
        for pixel in self._pixels(at, row, col, height, width):
            self.memory[pixel : pixel + channels] = np.tanh(self.memory[pixel : pixel + channels])


def run_onnx(program: Program, z: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    session = onnxruntime.InferenceSession(to_onnx(program), providers=["CPUExecutionProvider"])
    inputs = {"z": z[None]} if y is None else {"z": z[None], "y": y[None]}
    return session.run(["image"], inputs)[0][0].transpose(1, 2, 0)


def assert_same_picture(program: Program, tolerance: float = 1.5 / 127.5) -> None:
    """Twice from one memory: the second picture must not meet what the first one left. Level = 1 / 127.5."""
    random, browser = np.random.default_rng(0), Browser(to_browser(program))
    for _ in range(2):
        z = random.normal(size=program.input_shape).astype(np.float32)
        k = program.num_classes
        y = random.dirichlet(np.ones(k)).astype(np.float32) if k else None
        assert abs(browser.run(z, y) - run_onnx(program, z, y)).max() < tolerance


@every_config
def test_every_family_gives_the_same_picture(config):
    assert_same_picture(program_of(config))


def test_every_layer_alone_and_in_odd_order():
    """What no family does today: a lone upsampling, activations after them, an affine table first."""
    random = np.random.default_rng(1)
    maps = Linear(random.normal(size=(3 * 16, 5)), random.normal(size=(2, 3 * 16))), Reshape((3, 4, 4))
    table = Affine(random.normal(size=(2, 3)), random.normal(size=(2, 3)))
    layers = (*maps, table, Upsample(), Activation("leaky-relu", 0.4), Activation("tanh"))
    exact = [_fp16(layer) for layer in layers]
    assert_same_picture(Program((5,), (3, 8, 8), 2, tuple(exact)), 1e-5)


def _fp16(layer):
    """The same layer with numbers that 16 bits hold."""
    rounded = {k: v.astype(np.float16).astype(np.float32) for k, v in vars(layer).items() if isinstance(v, np.ndarray)}
    return type(layer)(**{**vars(layer), **rounded})


@pytest.mark.parametrize("config", [ALL[0], small(model="dcgan", conditioning="concat")], ids=["plain", "classes"])
def test_the_header_says_what_goes_in_and_how_much_it_takes(config):
    program = program_of(config)
    header = Browser(to_browser(program)).program
    assert header["latent_dim"] == 6 and header["num_classes"] == len(CLASSES) * (config.conditioning == "concat")
    assert header["multiply_adds"] == multiply_adds(program) < BUDGET


def test_work_counts_multiplications_of_the_layers():
    """Of a network of full eights nothing is padded: linear 8 x 512; four sub-pixels, each 16 places of 2 x 2 taps."""
    random = np.random.default_rng(0)
    layers = (
        Linear(random.normal(size=(32 * 16, 8)), np.zeros(32 * 16)),
        Reshape((32, 4, 4)),
        ConvTranspose(random.normal(size=(32, 8, 4, 4)), np.zeros(8), 2, 1),
    )
    assert multiply_adds(Program((8,), (8, 8, 8), 0, layers)) == 8 * 512 + 64 * 4 * 32 * 8


def test_an_id_is_of_the_content():
    one, other = program_of(ALL[0]), program_of(ALL[1])
    ids = [Browser(to_browser(p)).program["id"] for p in (one, program_of(ALL[0]), other)]
    assert ids[0] == ids[1] != ids[2]


def test_a_weight_beyond_16_bits_is_refused():
    layers = (Linear(np.full((784, 2), 70_000.0, np.float32), np.zeros(784, np.float32)), Reshape((1, 28, 28)))
    with pytest.raises(WeightsError, match="7e[+]04, beyond what 16 bits hold"):
        to_browser(Program((2,), (1, 28, 28), 0, layers))
