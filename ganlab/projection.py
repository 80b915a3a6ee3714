"""From a picture to z: the points whose pictures come nearest to it, by gradient descent from many starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch.nn import functional as F

from ganlab.evaluate.extractors import Extractor
from ganlab.found import Found, drawn, nearest_samples
from ganlab.program import Activation, Affine, Conv, ConvTranspose, Layer, Linear, Reshape, Residual, Upsample
from ganlab.render import Model

STARTS = 16
STEPS = 150
SHOW_EVERY = 10  # steps
RATE, LAST_RATE = 0.1, 0.01  # of Adam, from the first step to the last
FEATURES, PRIOR = 0.1, 4e-4  # weights of these terms beside that of the pixels


def project(
    model: Model,
    image: np.ndarray,
    *,
    starts: Found | None = None,
    num_starts: int = STARTS,
    steps: int = STEPS,
    seed: int = 0,
    extractor: Extractor | None = None,
) -> Iterator[Found]:
    """The KEPT points nearest to a picture uint8 (H, W, C), ever better: whoever has seen enough stops asking.

    Each start is improved by itself (Zhu et al. 2016, arXiv:1609.03552, section 3; Lipton & Tripathi 2017): Adam on z
    of the squared difference of pixels, plus that of features of `extractor` if there is one, each as a share of what
    it is at the starts, plus a term that keeps z where the prior has it: |z|^2 near latent_dim for a normal one, the
    cube [-1, 1] for a uniform one. Starts are the `num_starts` nearest of NUM random points (or `starts`), of a
    conditional model in whichever classes these are; the class of each stays. With as many threads as the model has;
    the same for the same seed and threads. Raises ConfigError for a picture of another shape.
    """
    if starts is None:
        for starts in nearest_samples(model, image, seed=seed, keep=num_starts):
            yield starts.best()
    assert starts is not None
    torch.set_num_threads(model.num_threads)
    z = torch.tensor(starts.z, requires_grad=True)
    y = None if starts.y is None else torch.tensor(starts.y)
    loss_of = _Loss(model, image, starts, extractor)
    optimizer = torch.optim.Adam([z], lr=RATE, betas=(0.9, 0.99))
    best = starts
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        loss_of(z, y).sum().backward()
        optimizer.step()
        if model.config.prior == "uniform":
            with torch.no_grad():
                z.clamp_(-1, 1)
        if step % SHOW_EVERY == 0 or step == steps:
            now = drawn(model, image, z.detach().numpy().copy(), starts.y)
            better = now.errors < best.errors  # each start keeps its own best
            best = Found(
                np.where(better[:, None], now.z, best.z),
                best.y,
                np.where(better[:, None, None, None], now.images, best.images),
                np.where(better, now.errors, best.errors),
            )
            yield best.best()


class _Loss:
    """The loss of each start, (N,)."""

    def __init__(self, model: Model, image: np.ndarray, starts: Found, extractor: Extractor | None) -> None:
        self.model, self.layers = model, model.program.layers
        self.arrays = None if extractor is None or extractor.stacked else extractor.net.arrays
        self.weights: dict[int, torch.Tensor] = {}
        self.image = _floats(image[None])
        with torch.no_grad():
            first = _floats(starts.images)
            self.pixels = self._mean_square(first - self.image).mean().clamp(min=1e-6)
            if self.arrays is not None:
                self.target = look(self.arrays, self.image)
                self.features = self._mean_square(look(self.arrays, first) - self.target).mean().clamp(min=1e-6)

    def __call__(self, z: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        images = generate(self.layers, z, y)
        loss = self._mean_square(images - self.image) / self.pixels
        if self.arrays is not None:
            distance = self._mean_square(look(self.arrays, images) - self.target)
            loss = loss + FEATURES * distance / self.features
        if self.model.config.prior == "normal":
            deviations = (z.square().sum(1) - z.shape[1]) / math.sqrt(2 * z.shape[1])  # of chi-squared, in its own
            loss = loss + PRIOR * deviations.square()
        return loss

    @staticmethod
    def _mean_square(x: torch.Tensor) -> torch.Tensor:
        return x.square().flatten(1).mean(1)


def _floats(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, C) as (N, C, H, W) in [-1, 1]."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)


# --- networks in torch -----------------------------------------------------------------------------------------------


def generate(layers: Iterable[Layer], z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
    """What a program makes of z (N, latent_dim) and class weights y (N, num_classes): (N, C, H, W) in [-1, 1].

    Unlike the network that it was trained as, it takes mixtures of classes, and has batch norm folded in.
    """
    x = z
    for layer in layers:
        x = _after(layer, x, y)
    return x


def _after(layer: Layer, x: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
    match layer:
        case Linear():
            return x @ _tensor(layer.weight).T + _looked_up(layer.bias, y)
        case Conv():
            return F.conv2d(x, _tensor(layer.weight), _tensor(layer.bias), layer.stride, layer.padding)
        case ConvTranspose():
            weight, bias = _tensor(layer.weight), _tensor(layer.bias)
            return F.conv_transpose2d(x, weight, bias, layer.stride, layer.padding)
        case Affine():
            return x * _looked_up(layer.scale, y, x.ndim) + _looked_up(layer.shift, y, x.ndim)
        case Reshape():
            return x.reshape(len(x), *layer.shape)
        case Activation(kind="tanh"):
            return torch.tanh(x)
        case Activation():
            return F.leaky_relu(x, layer.slope)
        case Upsample():
            return F.interpolate(x, scale_factor=2.0)
        case Residual():
            return generate(layer.body, x, y) + generate(layer.shortcut, x, y)
        case _:
            raise AssertionError(f"{layer} is in no generator")


def look(arrays: dict[str, np.ndarray], images: torch.Tensor) -> torch.Tensor:
    """Features (N, F) of a feature network of pictures (N, C, H, W) in [-1, 1]; see `ganlab.evaluate.features`."""
    x = images
    for block in range(sum(name.endswith(".0.weight") for name in arrays)):
        for i in range(2):
            name = f"blocks.{block}.{i}"
            x = F.relu(F.conv2d(x, _tensor(arrays[f"{name}.weight"]), _tensor(arrays[f"{name}.bias"]), padding=1))
            x = F.max_pool2d(x, 2) if i == 0 else x
    return x.amax((2, 3))


def _looked_up(array: np.ndarray, y: torch.Tensor | None, ndim: int = 2) -> torch.Tensor:
    """A constant (F,), or from a table (K, F) what y asks for (N, F), for an x of `ndim` axes."""
    values = _tensor(array)
    if array.ndim == 2:
        assert y is not None
        values = y @ values
    return values.reshape(*values.shape, *(1,) * (ndim - 2))


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
