"""A generator as a flat list of layers with folded weights: what onnxruntime, an exported file and a browser can run.

Each family is written once in torch (`ganlab.models`) and once here, from the same weights. Batch norm at rest is a
scale and a shift of each feature; here it is folded into the layer before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ganlab.config import Config
from ganlab.errors import WeightsError

BATCH_NORM_EPS = 1e-5  # torch's default, with which the weights were trained
START = 4  # height and width of the DCGAN's smallest feature map
OPSET, IR_VERSION = 17, 8  # old enough for every onnxruntime that we allow


@dataclass(frozen=True, eq=False)
class Linear:
    """x @ weight.T + bias: weight (out, in), bias (out,)."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class ConvTranspose:
    """Transposed convolution: weight (in, out, k, k), bias (out,); the same stride and padding on every side."""

    weight: np.ndarray
    bias: np.ndarray
    stride: int
    padding: int


@dataclass(frozen=True, eq=False)
class Reshape:
    """(N, C*H*W) -> (N, C, H, W)."""

    shape: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Activation:
    """Elementwise, any shape."""

    kind: Literal["relu", "tanh"]


Layer = Linear | ConvTranspose | Reshape | Activation


@dataclass(frozen=True, eq=False)
class Program:
    """z (N, latent_dim) -> pictures (N, C, H, W) in [-1, 1], layer by layer."""

    latent_dim: int
    image_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]

    @property
    def num_parameters(self) -> int:
        """Numbers in weights and biases, after folding."""
        return sum(x.weight.size + x.bias.size for x in self.layers if isinstance(x, Linear | ConvTranspose))


def build_program(config: Config, arrays: Mapping[str, np.ndarray]) -> Program:
    """The program of a trained generator, from its config and its state dict (fp16 or fp32).

    Raises WeightsError that names the array that is missing, unknown, of another shape, or not finite.
    """
    reader = _Arrays(arrays)
    image_shape = (config.channels, config.image_size, config.image_size)
    layers = _FAMILIES[config.model](config, reader, image_shape)
    reader.expect_all_taken()
    return Program(config.latent_dim, image_shape, tuple(layers))


class _Arrays:
    """The arrays of a file, handed out once each and checked."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.left = dict(arrays)

    def take(self, name: str, *shape: int) -> np.ndarray:
        """The array `name` in float32, which must have `shape`."""
        if name not in self.left:
            raise WeightsError(f"The weights lack {name!r} of shape {shape}, which the config asks for.")
        array = self.left.pop(name)
        if array.shape != shape:
            raise WeightsError(f"{name!r} has shape {array.shape} in the weights; the config asks for {shape}.")
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise WeightsError(f"{name!r} holds numbers that are not finite: the training had diverged.")
        return array

    def batch_norm(self, name: str, features: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift of a batch norm at rest (Ioffe & Szegedy 2015, algorithm 2)."""
        gain, bias, mean, variance = (
            self.take(f"{name}.{key}", features) for key in ("weight", "bias", "running_mean", "running_var")
        )
        if variance.min() < 0:
            raise WeightsError(f"'{name}.running_var' holds a negative variance: the weights are damaged.")
        scale = gain / np.sqrt(variance + BATCH_NORM_EPS)
        return scale, bias - mean * scale

    def expect_all_taken(self) -> None:
        if self.left:
            name = sorted(self.left)[0]
            raise WeightsError(
                f"The weights hold {name!r} of shape {self.left[name].shape}; the config asks for no such array."
            )


def _mlp(config: Config, arrays: _Arrays, image_shape: tuple[int, int, int]) -> list[Layer]:
    sizes = [config.latent_dim, config.width, config.width, math.prod(image_shape)]
    layers: list[Layer] = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        weight = arrays.take(f"layers.{2 * i}.weight", m, n)
        layers += [Linear(weight, arrays.take(f"layers.{2 * i}.bias", m)), Activation("relu")]
    return [*layers[:-1], Activation("tanh"), Reshape(image_shape)]


def _dcgan(config: Config, arrays: _Arrays, image_shape: tuple[int, int, int]) -> list[Layer]:
    features = [4 * config.width, 2 * config.width, config.width]
    kernels = [3 if config.image_size == 28 else 4, 4, 4]
    scale, shift = arrays.batch_norm("norms.0", features[0])
    weight = arrays.take("project.weight", features[0] * START**2, config.latent_dim)
    layers: list[Layer] = [
        Linear(weight * scale.repeat(START**2)[:, None], shift.repeat(START**2)),
        Reshape((features[0], START, START)),
        Activation("relu"),
    ]
    for i, (n, m, k) in enumerate(zip(features, [*features[1:], config.channels], kernels, strict=True)):
        weight = arrays.take(f"ups.{i}.weight", n, m, k, k)
        if i < len(features) - 1:
            scale, shift = arrays.batch_norm(f"norms.{i + 1}", m)
            layers += [ConvTranspose(weight * scale[:, None, None], shift, 2, 1), Activation("relu")]
        else:
            layers += [ConvTranspose(weight, arrays.take(f"ups.{i}.bias", m), 2, 1), Activation("tanh")]
    return layers


_FAMILIES: dict[str, Callable[[Config, _Arrays, tuple[int, int, int]], list[Layer]]] = {"mlp": _mlp, "dcgan": _dcgan}


def to_onnx(program: Program) -> bytes:
    """The program as an ONNX model: input `z` (N, latent_dim), output `image` (N, C, H, W) in [-1, 1], any N."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []
    names = ["z", *(f"x{i}" for i in range(1, len(program.layers))), "image"]
    for i, layer in enumerate(program.layers):
        kind, attributes, arrays = _onnx_node(layer)
        constants += [numpy_helper.from_array(array, f"{key}{i}") for key, array in arrays.items()]
        inputs = [names[i], *(f"{key}{i}" for key in arrays)]
        nodes.append(helper.make_node(kind, inputs, [names[i + 1]], **attributes))
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", program.latent_dim])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *program.image_shape])
    model = helper.make_model(
        helper.make_graph(nodes, "generator", [z], [image], constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="ganlab",
        doc_string="A ganlab generator: z (N, latent_dim) to image (N, C, H, W) in [-1, 1].",
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _onnx_node(layer: Layer) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Operator, attributes, and the constant inputs that follow the layer's input, in order."""
    match layer:
        case Linear():
            return "Gemm", {"transB": 1}, {"weight": layer.weight, "bias": layer.bias}
        case ConvTranspose():
            attributes = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
            return "ConvTranspose", attributes, {"weight": layer.weight, "bias": layer.bias}
        case Reshape():
            return "Reshape", {}, {"shape": np.array([0, *layer.shape], np.int64)}  # 0: N, whatever it is
        case Activation():
            return {"relu": "Relu", "tanh": "Tanh"}[layer.kind], {}, {}
