"""Feature networks: small classifiers of ganlab's own, one a data set, that turn pictures into features. No torch.

`tools/train_features.py` makes them, as plain convolutions with biases (batch norm is folded in): three
blocks of two 3x3 convolutions with max pooling after the first of each, a maximum over places (the features), and a
linear layer (the classes).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganlab.errors import WeightsError
from ganlab.weights import load_arrays

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FEATURES = "ganlab-features"  # kind of file
FOLDER = Path(__file__).with_name("networks")
BATCH = 64  # pictures at once: a larger batch is no faster, and takes more memory


class FeatureNet:
    """A feature network, ready to look at pictures.

    `name`, `card` (how it was trained, its accuracy), `hash` (of its weights: part of every metric's provenance),
    `classes` and `shape` (H, W, C) of the pictures that it takes.
    """

    def __init__(self, name: str, arrays: dict[str, np.ndarray], card: dict[str, Any], num_threads: int = 0) -> None:
        self.name, self.card, self.num_threads = name, card, num_threads
        self.arrays = arrays
        self.hash: str = card["sha256"]
        self.classes = tuple(card["classes"])
        self.shape: tuple[int, int, int] = tuple(card["shape"])  # type: ignore[assignment]

    @cached_property
    def _session(self) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting must not starve others
        return onnxruntime.InferenceSession(
            to_onnx(self.arrays, self.shape), options, providers=["CPUExecutionProvider"]
        )

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, F) and class logits (N, K), float32, of pictures uint8 (N, H, W, C).

        Raises WeightsError for pictures of another shape or type.
        """
        if images.ndim != 4 or images.shape[1:] != self.shape or images.dtype != np.uint8:
            raise WeightsError(f"{self.name} looks at uint8 (N, {self.shape}), not {images.dtype} {images.shape}.")
        parts = [self._run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        features, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
        return features, logits

    def _run(self, images: np.ndarray) -> Iterable[np.ndarray]:
        floats = images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        return self._session.run(None, {"image": floats})


@cache
def feature_net(name: str, num_threads: int = 0) -> FeatureNet:
    """Open mnistnet, fashionnet or cifarnet. Raises WeightsError if its file is missing or damaged."""
    arrays, card = load_arrays(FOLDER / f"{name}.safetensors", kind=FEATURES)[::2]
    return FeatureNet(name, {key: a.astype(np.float32) for key, a in arrays.items()}, card, num_threads)


def to_onnx(arrays: dict[str, np.ndarray], shape: tuple[int, int, int]) -> bytes:
    """The network as an ONNX model: `image` (N, C, H, W) in [-1, 1] to `features` (N, F) and `logits` (N, K)."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []
    x = "image"

    def layer(kind: str, *names: str, output: str = "", **attributes: Any) -> str:
        output = output or f"x{len(nodes)}"
        constants.extend(numpy_helper.from_array(arrays[name], name) for name in names)
        nodes.append(helper.make_node(kind, [x, *names], [output], **attributes))
        return output

    height, width, channels = shape
    for block in range(sum(name.endswith(".0.weight") for name in arrays)):
        x = layer("Conv", f"blocks.{block}.0.weight", f"blocks.{block}.0.bias", pads=[1] * 4)
        x = layer("Relu")
        x = layer("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        x = layer("Conv", f"blocks.{block}.1.weight", f"blocks.{block}.1.bias", pads=[1] * 4)
        x = layer("Relu")
    x = layer("ReduceMax", output="features", axes=[2, 3], keepdims=0)
    layer("Gemm", "last.weight", output="logits", transB=1)
    features, classes = arrays["last.weight"].shape[::-1]
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", channels, height, width])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", features]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="ganlab")
    checker.check_model(model, full_check=True)
    return model.SerializeToString()
