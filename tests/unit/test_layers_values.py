"""The values inside a generator, against what torch's own modules give out on the way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from test_program import ALL, arrays_in, random_generator, small
from torch import nn

from ganlab.app.explore.layers import described
from ganlab.config import Config
from ganlab.generators import generator_program
from ganlab.layer_values import Inside, strongest
from ganlab.program import Activation, Conv, ConvTranspose, Layer, Linear, Reshape, Residual
from ganlab.render import Model

every_config = pytest.mark.parametrize(
    "config", ALL, ids=lambda c: f"{c.model}-{c.image_size}px-{c.channels}ch-{c.conditioning}-{c.g_norm}"
)
Heard = list[tuple[str, np.ndarray]]


def opened(config: Config) -> tuple[nn.Module, Inside]:
    module = random_generator(config)
    return module, Inside(Model("m", config, generator_program(config, arrays_in(module)), {}))


def draw(config: Config, num: int) -> tuple[np.ndarray, np.ndarray | None, torch.Tensor | None]:
    """z, class weights, and the same classes as torch takes them."""
    z = np.random.default_rng(1).normal(size=(num, config.latent_dim)).astype(np.float32)
    if not config.num_classes:
        return z, None, None
    labels = np.arange(num) % config.num_classes
    return z, np.eye(config.num_classes, dtype=np.float32)[labels], torch.from_numpy(labels)


def listen(module: nn.Module, z: np.ndarray, y: torch.Tensor | None) -> Heard:
    """What every module within gives out, by name, in the order of the calls."""
    heard: Heard = []
    names = {inner: name for name, inner in module.named_modules() if name}
    hooks = [
        inner.register_forward_hook(lambda m, i, out: heard.append((names[m], out.detach().numpy().copy())))
        for inner in names
    ]
    with torch.no_grad():
        heard.append(("", module(torch.from_numpy(z.astype(np.float64)), y).numpy()))
    for hook in hooks:
        hook.remove()
    return heard


def of(heard: Heard, *prefixes: str) -> list[np.ndarray]:
    return [value for name, value in heard if name.split(".")[-1].startswith(prefixes) or name.startswith(prefixes)]


def seen(inside: Inside, values: list[np.ndarray], kind: type | tuple[type, ...]) -> Iterator[tuple[Layer, np.ndarray]]:
    return ((layer, value) for layer, value in zip(inside.layers, values, strict=True) if isinstance(layer, kind))


def same(value: np.ndarray, expected: np.ndarray) -> None:
    assert value.shape == expected.shape and value.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=0, atol=2e-5 * max(1.0, float(np.abs(expected).max())))


@every_config
def test_activations_are_those_of_torch(config):
    """Outside of residual blocks, where torch's activation is a module."""
    module, inside = opened(config)
    z, y, labels = draw(config, 4)
    heard, values = listen(module, z, labels), inside.values(z, y)
    outer = {id(layer) for layer in inside.model.program.layers}
    ours = [v for layer, v in seen(inside, values, Activation) if id(layer) in outer and layer.kind != "tanh"]
    theirs = of(heard, "act")
    assert len(ours) == len(theirs) > 0
    for value, expected in zip(ours, theirs, strict=True):
        same(value, expected)
        assert expected.std() > 1e-2, "all alike: compares nothing"
    same(values[-1], heard[-1][1])


@every_config
def test_weighted_layers_are_those_of_torch(config):
    """A layer gives what torch's own does; or where a norm is folded in, what the norm gives."""
    module, inside = opened(config)
    z, y, labels = draw(config, 3)
    heard, values = listen(module, z, labels), inside.values(z, y)
    names = ("project", "layers", "ups", "last", "conv", "shortcut")
    weighted = [(n, v) for n, v in heard if n.split(".")[-1].startswith(names) or n.startswith(names)]
    weighted = [(n, v) for n, v in weighted if not n.startswith("last_norm")]
    folded = {n: v for n, v in heard if "norm" in n}
    ours = list(seen(inside, values, (Linear, Conv, ConvTranspose)))
    assert len(ours) == len(weighted) > 0
    exact = 0
    for (_, value), (_, plain) in zip(ours, weighted, strict=True):
        candidates = [plain, *folded.values()]
        fitting = [c for c in candidates if c.size == value.size]
        near = min(np.abs(c.reshape(value.shape) - value).max() for c in fitting)
        assert near <= 2e-5 * max(1.0, float(np.abs(value).max()))
        exact += np.allclose(plain.reshape(value.shape), value, atol=1e-4)
    if config.norms[0] == "none":
        assert exact == len(ours)


@pytest.mark.parametrize(
    "config", [c for c in ALL if c.model == "sn-resnet"], ids=lambda c: f"{c.image_size}-{c.g_norm}"
)
def test_residual_blocks_are_those_of_torch(config):
    module, inside = opened(config)
    z, y, labels = draw(config, 3)
    heard, values = listen(module, z, labels), inside.values(z, y)
    blocks = [v for name, v in heard if name.startswith("blocks.") and name.count(".") == 1]
    ours = [value for _, value in seen(inside, values, Residual)]
    assert len(ours) == len(blocks) >= 2
    for value, expected in zip(ours, blocks, strict=True):
        same(value, expected)


@every_config
def test_stages_lead_to_the_picture(config):
    module, inside = opened(config)
    z, y, labels = draw(config, 1)
    stages = inside.stages(z[0], None if y is None else y[0])
    assert [layer for stage in stages for layer in stage.layers] == list(inside.model.program.layers)
    same(stages[-1].values[None], listen(module, z, labels)[-1][1])
    blocks = sum(isinstance(layer, Residual) for layer in inside.model.program.layers)
    activations = {"mlp": config.hidden_layers, "dcgan": 3, "sn-conv": 3 if config.image_size == 28 else 4}
    assert len(stages) == activations.get(config.model, blocks + 2) + 1
    assert all(stage.values.ndim == (1 if config.model == "mlp" else 3) for stage in stages[:-1])
    for stage in stages[:-1]:
        assert any(np.array_equal(stage.values, v[0]) for v in inside.values(z, y))


def test_the_class_is_seen_on_the_way():
    _, inside = opened(small(model="sn-conv", conditioning="projection"))
    z = draw(inside.model.config, 1)[0][0]
    a, b = (inside.stages(z, np.eye(3, dtype=np.float32)[k]) for k in (0, 1))
    assert all(np.abs(one.values - other.values).max() > 1e-3 for one, other in zip(a, b, strict=True))


def test_the_strongest_channels():
    values = np.zeros((4, 2, 2), np.float32)
    values[1], values[2, 0, 0], values[3] = -3, 4, 1  # mean squares 0, 9, 4, 1
    assert strongest(values, 3).tolist() == [1, 2, 3]
    assert strongest(values, 9).tolist() == [1, 2, 3, 0]


def test_a_value_without_a_place_ends_no_stage():
    """The picture of an mlp is reshaped at the very end; before, its values are in no order."""
    _, inside = opened(small(model="mlp", hidden_layers=2))
    stages = inside.stages(draw(inside.model.config, 1)[0][0])
    assert [stage.values.shape for stage in stages] == [(8,), (8,), (1, 28, 28)]
    assert isinstance(stages[-1].layers[-1], Reshape)


@pytest.mark.parametrize("conditioning", ["none", "projection"])
def test_words_for_residual_blocks(conditioning):
    _, inside = opened(small(model="sn-resnet", width=12, conditioning=conditioning, g_norm="batch"))
    config = inside.model.config
    z, y, _ = draw(config, 1)
    words = described(inside.stages(z[0], None if y is None else y[0]), inside.model)
    assert [title for title, _ in words] == [
        "7 × 7, 40 channels, where it begins",
        "14 × 14, 24 channels, after the first residual block",
        "28 × 28, 12 channels, after the second residual block",
        "28 × 28, 12 channels, cut off below zero",
        "The picture",
    ]
    assert ["class" in about for _, about in words] == [bool(config.num_classes) and 0 < i < 4 for i in range(5)]
