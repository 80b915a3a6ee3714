"""A program as an ONNX model, which onnxruntime and many others run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganlab.program import (
    Activation,
    Affine,
    ClassMaps,
    Conv,
    ConvTranspose,
    Dot,
    Layer,
    Linear,
    MeanPool,
    Program,
    Reshape,
    Residual,
    SumPlaces,
    Upsample,
)

OPSET, IR_VERSION = 17, 8  # old enough for every onnxruntime that we allow
DRAWS = "A ganlab generator: z (N, latent_dim) to image (N, C, H, W) in [-1, 1]."
JUDGES = "A ganlab discriminator: image (N, C, H, W) in [-1, 1] to logit (N,), above 0 for real."
DOC_CLASSES = " y (N, classes): one-hot for one class, or weights of several that sum to 1."


def to_onnx(program: Program, every_layer: bool = False) -> bytes:
    """The program as an ONNX model, for any N.

    Of a generator, input `z` (N, latent_dim) and output `image` (N, C, H, W) in [-1, 1]; of a discriminator, input
    `image` and output `logit` (N,). A conditional one takes `y` (N, num_classes) too. All are float32.

    every_layer: the values after each layer are outputs too, in the order of `ganlab.program.flattened`, whose last is
    the result.
    """
    draws = bool(program.output_shape)
    x, result = ("z", "image") if draws else ("image", "logit")
    graph = _Graph()
    graph.run(program.layers, x)
    graph.nodes[-1].output[0] = result
    inputs = {x: program.input_shape, **({"y": (program.num_classes,)} if program.num_classes else {})}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "generator" if draws else "discriminator",
            [_info(name, shape) for name, shape in inputs.items()],
            [_info(result, program.output_shape)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="ganlab",
        doc_string=(DRAWS if draws else JUDGES) + DOC_CLASSES * bool(program.num_classes),
    )
    if every_layer:
        known = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
        last = model.graph.output.pop()
        model.graph.output.extend([*(known[name] for name in graph.values[:-1]), last])
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _info(name: str, shape: Iterable[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])


class _Graph:
    """Nodes in the order in which they run. A value goes by its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: list[str] = []  # after each layer

    def run(self, layers: Iterable[Layer], x: str) -> str:
        """The value of `x` after all `layers`."""
        for layer in layers:
            x = self.layer(layer, x)
            self.values.append(x)
        return x

    def layer(self, layer: Layer, x: str) -> str:
        """The value of `x` after one layer."""
        match layer:
            case Linear():
                return self.node("Gemm", x, self.constant(layer.weight), self.looked_up(layer.bias), transB=1)
            case Conv():
                arrays = self.constant(layer.weight), self.constant(layer.bias)
                return self.node("Conv", x, *arrays, strides=[layer.stride] * 2, pads=[layer.padding] * 4)
            case ConvTranspose():
                arrays = self.constant(layer.weight), self.constant(layer.bias)
                sizes = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
                return self.node("ConvTranspose", x, *arrays, **sizes)
            case Affine():
                scaled = self.node("Mul", x, self.looked_up(layer.scale, maps=True))
                return self.node("Add", scaled, self.looked_up(layer.shift, maps=True))
            case Dot():
                products = self.node("Mul", x, self.looked_up(layer.weight))
                summed = self.node("ReduceSum", products, self.ints(1), keepdims=0)
                return self.node("Add", summed, self.constant(layer.bias))
            case Reshape():
                return self.node("Reshape", x, self.ints(0, *layer.shape))  # 0: N
            case Activation(kind="leaky-relu"):
                return self.node("LeakyRelu", x, alpha=layer.slope)
            case Activation():
                return self.node({"relu": "Relu", "tanh": "Tanh"}[layer.kind], x)
            case Upsample():
                scales = self.constant(np.array([1, 1, 2, 2], np.float32))
                how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
                return self.node("Resize", x, "", scales, **how)
            case MeanPool():
                return self.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            case SumPlaces():
                return self.node("ReduceSum", x, self.ints(2, 3), keepdims=0)
            case ClassMaps():
                y = self.node("Unsqueeze", "y", self.ints(2, 3))
                return self.node("Concat", x, self.node("Expand", y, self.ints(1, *layer.shape)), axis=1)
            case Residual():
                return self.node("Add", self.run(layer.body, x), self.run(layer.shortcut, x))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The value of an operator."""
        name = f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def looked_up(self, array: np.ndarray, maps: bool = False) -> str:
        """A constant (F,), or from a table (K, F) what y asks for (N, F); with `maps`, each as (…, F, 1, 1)."""
        if array.ndim == 1:
            return self.constant(array.reshape(-1, 1, 1) if maps else array)
        value = self.node("MatMul", "y", self.constant(array))
        return self.node("Unsqueeze", value, self.ints(2, 3)) if maps else value
