"""What a generator computes on its way to a picture: the values after each of its layers. No torch."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ganlab.engine import open_session
from ganlab.program import Activation, Layer, Residual, flattened
from ganlab.render import Model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class Stage(NamedTuple):
    """`layers`: those since the stage before, of which the last is followed by `values`: float32 (C, H, W), or (F,)
    where no place in the picture belongs to them."""

    layers: tuple[Layer, ...]
    values: np.ndarray


class Inside:
    """A generator whose values after every layer can be seen.

    `layers`: all of them in the order in which they are done, those within residuals before these.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.layers = tuple(flattened(model.program.layers))

    @cached_property
    def _session(self) -> InferenceSession:
        from ganlab.onnx_graph import to_onnx  # here: onnx is large, and pages that draw no layers import this

        return open_session(to_onnx(self.model.program, every_layer=True), self.model.num_threads)

    def values(self, z: np.ndarray, y: np.ndarray | None = None) -> list[np.ndarray]:
        """The values after each of `layers`, float32 (N, F) or (N, C, H, W), the last of them pictures in [-1, 1].

        z: float32 (N, latent_dim). y: class weights float32 (N, num_classes) of a conditional model.
        """
        return self._session.run(None, {"z": z, **({} if y is None else {"y": y})})

    def stages(self, z: np.ndarray, y: np.ndarray | None = None) -> list[Stage]:
        """The way of one picture, z (latent_dim,) and y (num_classes,), in the steps that one would name: after each
        nonlinearity, each residual block, and at the end the picture."""
        values = self.values(z[None], None if y is None else y[None])
        after = {id(layer): value[0] for layer, value in zip(self.layers, values, strict=True)}
        found, since = [], []
        outer = self.model.program.layers
        for layer, following in zip(outer, [*outer[1:], None], strict=True):
            since.append(layer)
            if _ends(layer, following):
                found.append(Stage(tuple(since), after[id(layer)]))
                since = []
        return found


def _ends(layer: Layer, following: Layer | None) -> bool:
    """Whether a stage ends with this layer."""
    if isinstance(layer, Activation):
        return layer.kind != "tanh" or following is None
    return following is None or isinstance(layer, Residual) or isinstance(following, Residual)


def strongest(values: np.ndarray, num: int) -> np.ndarray:
    """The indices (n,) of the channels of (C, H, W) with the largest mean squares, the strongest first."""
    power = np.square(values, dtype=np.float64).mean((1, 2))
    return np.argsort(-power, kind="stable")[:num]
