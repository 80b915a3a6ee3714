"""A generator's program against torch: the same picture from the same weights, for every family and shape."""

from __future__ import annotations

import json
import math
import re
from itertools import product
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from ganlab.config import Config, from_dict
from ganlab.errors import WeightsError
from ganlab.models import DISCRIMINATORS, GENERATORS, build_discriminator, build_generator
from ganlab.models.dcgan import stages
from ganlab.program import Activation, ConvTranspose, Linear, Reshape, build_program, to_onnx
from ganlab.render import load_model

FAMILIES = get_args(get_type_hints(Config)["model"])
RELEASED = sorted((Path(__file__).parents[2] / "checkpoints").glob("*/generator.safetensors"))
every_shape = pytest.mark.parametrize(
    "config",
    [
        Config(model=family, image_size=size, channels=channels, width=width, latent_dim=6)
        for family, size, channels, width in product(FAMILIES, (28, 32), (1, 3), (8, 16))
    ],
    ids=lambda c: f"{c.model}-{c.image_size}px-{c.channels}ch-w{c.width}",
)


def random_generator(config: Config, seed: int = 0) -> nn.Module:
    """A generator at rest whose every number is drawn at random, statistics of batch norm included.

    Variances reach far below batch norm's epsilon, so that another epsilon would show; activations stay of order one,
    so that tanh does not hide a difference.
    """
    random = np.random.default_rng(seed)
    module = build_generator(config).double().eval()

    def fill(tensor: torch.Tensor, values: np.ndarray) -> None:
        tensor.data = torch.from_numpy(values.astype(np.float32)).double()

    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
            terms = layer.weight.shape[1] if isinstance(layer, nn.Linear) else 4 * layer.weight.shape[0]
            fill(layer.weight, random.normal(0, math.sqrt(2 / terms), layer.weight.shape))
            if layer.bias is not None:
                fill(layer.bias, random.normal(0, 0.3, layer.bias.shape))
        elif isinstance(layer, nn.BatchNorm2d):
            num = layer.num_features
            variance = 10 ** random.uniform(-6, 0.5, num)
            fill(layer.running_var, variance)
            fill(layer.running_mean, random.normal(0, 0.3, num))
            fill(layer.weight, random.choice([-1, 1], num) * random.uniform(0.5, 1.5, num) * np.sqrt(variance + 1e-5))
            fill(layer.bias, random.normal(0, 0.3, num))
    return module


def arrays_of(module: nn.Module, dtype: type = np.float32) -> dict[str, np.ndarray]:
    state = module.state_dict()
    return {k: v.numpy().astype(dtype) for k, v in state.items() if not k.endswith("num_batches_tracked")}


def load_torch(config: Config, arrays: dict[str, np.ndarray]) -> nn.Module:
    """A torch generator with these weights, computing in double precision."""
    module = build_generator(config).double().eval()
    state = {k: torch.from_numpy(v.astype(np.float64)) for k, v in arrays.items()}
    module.load_state_dict({**{k: v for k, v in module.state_dict().items() if k.endswith("tracked")}, **state})
    return module


@torch.no_grad()
def run_torch(module: nn.Module, z: np.ndarray) -> np.ndarray:
    return module(torch.from_numpy(z).double()).numpy()


def run_onnx(model: bytes, z: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["image"], {"z": z})[0]


def draw(num: int, dim: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((num, dim)).astype(np.float32)


@every_shape
def test_onnxruntime_draws_what_torch_draws(config):
    module = random_generator(config)
    model = to_onnx(build_program(config, arrays_of(module)))
    for num in (1, 5):
        z = draw(num, config.latent_dim)
        expected = run_torch(module, z)
        assert expected.std() > 0.2 and (np.abs(expected) > 0.999).mean() < 0.1, "saturated: compares nothing"
        images = run_onnx(model, z)
        assert images.shape == (num, config.channels, config.image_size, config.image_size)
        assert images.dtype == np.float32
        np.testing.assert_allclose(images, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_arrays_are_accepted(family):
    config = Config(model=family, width=8, latent_dim=6)
    arrays = arrays_of(random_generator(config), np.float16)
    z = draw(5, config.latent_dim)
    images = run_onnx(to_onnx(build_program(config, arrays)), z)
    np.testing.assert_allclose(images, run_torch(load_torch(config, arrays), z), rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_building_leaves_the_arrays_as_they_were(family):
    config = Config(model=family, width=8, latent_dim=6)
    arrays = arrays_of(random_generator(config))
    before = {name: array.copy() for name, array in arrays.items()}
    build_program(config, arrays)
    assert arrays.keys() == before.keys()
    for name in before:
        np.testing.assert_array_equal(arrays[name], before[name])


@pytest.mark.parametrize(
    "file",
    RELEASED or [pytest.param(None, marks=pytest.mark.skip(reason="no released model in checkpoints/"))],
    ids=lambda file: file.parent.name if file else "none",
)
def test_released_model_draws_what_torch_draws(file):
    with safe_open(file, framework="numpy") as opened:
        config = from_dict(json.loads(opened.metadata()["about"])["config"])
    module = load_torch(config, {k: v.numpy() for k, v in load_file(file).items()})
    z = draw(32, config.latent_dim)
    levels = (run_torch(module, z).transpose(0, 2, 3, 1) + 1) * 127.5
    pictures = load_model(file).generate(z)
    assert np.abs(pictures - levels).max() <= 1
    assert np.abs(pictures - levels).mean() <= 0.3  # rounding alone costs a quarter of a level on average
    assert levels.std(axis=0).max() > 10, "all pictures are the same"


@every_shape
def test_the_file_says_what_goes_in_and_out(config):
    model = onnx.load_from_string(to_onnx(build_program(config, arrays_of(random_generator(config)))))
    onnx.checker.check_model(model, full_check=True)

    def shape(value: onnx.ValueInfoProto) -> list[int | str]:
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    (z,), (image,) = model.graph.input, model.graph.output
    assert (z.name, shape(z)) == ("z", ["N", config.latent_dim])
    assert (image.name, shape(image)) == ("image", ["N", config.channels, config.image_size, config.image_size])
    assert model.ir_version <= 8 and [x.version for x in model.opset_import] == [17]


# --- architecture ----------------------------------------------------------------------------------------------------


def test_every_family_has_both_networks_and_a_program():
    assert set(FAMILIES) == set(GENERATORS) == set(DISCRIMINATORS)
    for family in FAMILIES:
        config = Config(model=family, width=8, latent_dim=6)
        assert build_program(config, arrays_of(random_generator(config))).image_shape == (1, 28, 28)


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize(("sizes", "kernels"), [([4, 7, 14, 28], [3, 4, 4]), ([4, 8, 16, 32], [4, 4, 4])])
def test_dcgan_grows_alike_in_torch_and_in_the_program(sizes, kernels, width):
    config = Config(model="dcgan", image_size=sizes[-1], channels=3, width=width, latent_dim=6)
    features = [4 * width, 2 * width, width]
    assert stages(config) == list(zip(features, kernels, strict=True))

    program = build_program(config, arrays_of(random_generator(config)))
    linear, reshape, *rest = program.layers
    assert isinstance(linear, Linear) and linear.weight.shape == (features[0] * 16, 6)
    assert isinstance(reshape, Reshape) and reshape.shape == (features[0], 4, 4)
    ups = [layer for layer in rest if isinstance(layer, ConvTranspose)]
    ends = zip(features, [*features[1:], 3], kernels, strict=True)
    assert [up.weight.shape for up in ups] == [(n, m, k, k) for n, m, k in ends]
    for up, size, next_size in zip(ups, sizes, sizes[1:], strict=False):
        assert (size - 1) * up.stride - 2 * up.padding + up.weight.shape[-1] == next_size
    kinds = [layer.kind for layer in rest if isinstance(layer, Activation)]
    assert kinds == ["relu"] * 3 + ["tanh"]


@torch.no_grad()
@pytest.mark.parametrize(("sizes", "kernels"), [([28, 14, 7, 4], [4, 4, 3]), ([32, 16, 8, 4], [4, 4, 4])])
def test_dcgan_shrinks_as_it_grew(sizes, kernels):
    config = Config(model="dcgan", image_size=sizes[0], channels=3, width=8)
    x, seen = torch.zeros(2, 3, sizes[0], sizes[0]), []
    for layer in build_discriminator(config).eval().layers:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            seen.append((x.shape[1], layer.kernel_size[0], x.shape[2]))
    assert seen == list(zip([8, 16, 32], kernels, sizes[1:], strict=True))
    assert x.shape == (2, 1)


def test_num_parameters_counts_by_hand():
    mlp = Config(model="mlp", width=8, latent_dim=6)
    program = build_program(mlp, arrays_of(random_generator(mlp)))
    assert program.num_parameters == (6 * 8 + 8) + (8 * 8 + 8) + (8 * 784 + 784)
    dcgan = Config(model="dcgan", width=8, latent_dim=6)
    program = build_program(dcgan, arrays_of(random_generator(dcgan)))
    ups = (32 * 16 * 9 + 16) + (16 * 8 * 16 + 8) + (8 * 1 * 16 + 1)
    assert program.num_parameters == (6 * 512 + 512) + ups


# --- weights that do not fit -----------------------------------------------------------------------------------------


@pytest.fixture(params=FAMILIES)
def fitting(request) -> tuple[Config, dict[str, np.ndarray]]:
    config = Config(model=request.param, width=8, latent_dim=6)
    return config, arrays_of(random_generator(config))


def names(name: str) -> str:
    return re.escape(f"'{name}'")


def test_a_missing_array_is_named(fitting):
    config, arrays = fitting
    for name in arrays:
        with pytest.raises(WeightsError, match=names(name)):
            build_program(config, {k: v for k, v in arrays.items() if k != name})


def test_an_unknown_array_is_named(fitting):
    config, arrays = fitting
    with pytest.raises(WeightsError, match=names("zebra.weight")):
        build_program(config, {**arrays, "zebra.weight": np.zeros(3, np.float32)})


def test_an_array_of_another_shape_is_named(fitting):
    config, arrays = fitting
    for name, array in arrays.items():
        for wrong in (array[:-1], array[None], array.reshape(-1, 1), np.zeros((), np.float32)):
            with pytest.raises(WeightsError, match=names(name)) as caught:
                build_program(config, {**arrays, name: wrong})
            assert str(wrong.shape) in str(caught.value) and str(array.shape) in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_array_that_is_not_finite_is_named(fitting, bad):
    config, arrays = fitting
    for name, array in arrays.items():
        broken = array.copy()
        broken.flat[-1] = bad
        with pytest.raises(WeightsError, match=names(name)):
            build_program(config, {**arrays, name: broken})


def test_a_negative_variance_is_named():
    config = Config(model="dcgan", width=8, latent_dim=6)
    arrays = arrays_of(random_generator(config))
    for name in ("norms.0.running_var", "norms.2.running_var"):
        broken = arrays[name].copy()
        broken[3] = -1
        with pytest.raises(WeightsError, match=names(name)):
            build_program(config, {**arrays, name: broken})


def test_weights_of_another_config_are_refused(fitting):
    config, arrays = fitting
    for other in ({"width": 16}, {"channels": 3}, {"image_size": 32}, {"latent_dim": 8}):
        with pytest.raises(WeightsError):
            build_program(config.replace(**other), arrays)
    (another,) = (family for family in FAMILIES if family != config.model)
    with pytest.raises(WeightsError):
        build_program(config.replace(model=another), arrays)
