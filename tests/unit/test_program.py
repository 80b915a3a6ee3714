"""A generator's program against torch: the same picture from the same weights, for every family and what it can be."""

from __future__ import annotations

import copy
import json
import math
import re
from itertools import permutations, product
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
from ganlab.errors import ConfigError, WeightsError
from ganlab.generators import generator_program
from ganlab.models import FAMILIES as NETWORKS
from ganlab.models import build_generator
from ganlab.models.dcgan import stages
from ganlab.models.layers import BatchNorm, ConditionalBatchNorm
from ganlab.onnx_graph import to_onnx
from ganlab.program import (
    Activation,
    Affine,
    Conv,
    ConvTranspose,
    Layer,
    Linear,
    Program,
    Reshape,
    Residual,
    Upsample,
    arrays_of,
)
from ganlab.render import load_model

FAMILIES = get_args(get_type_hints(Config)["model"])
CLASSES = ("cat", "dog", "frog")
RELEASED = sorted((Path(__file__).parents[2] / "checkpoints").glob("*/generator.safetensors"))


def small(**changes) -> Config:
    conditional = changes.get("conditioning", "none") != "none"
    return Config(**{"width": 8, "latent_dim": 6, "classes": CLASSES if conditional else (), **changes})


def all_configs() -> list[Config]:
    """Every family, size, conditioning and norm that go together; channels, activation and depth take turns."""
    configs: list[Config] = []
    for family, size, conditioning, norm in product(
        FAMILIES, (28, 32), ("none", "concat", "projection"), ("none", "batch", "batch-all")
    ):
        i = len(configs)
        turns = dict(
            channels=(1, 3)[i % 2], g_activation=("relu", "leaky-relu")[i // 2 % 2], leaky_slope=(0.3, 0.05, 0.0)[i % 3]
        )
        try:
            configs.append(
                small(model=family, image_size=size, conditioning=conditioning, g_norm=norm, hidden_layers=1 + i % 3)
                .replace(**turns)
            )  # fmt: skip
        except ConfigError:
            continue
    return configs


ALL = all_configs()
every_config = pytest.mark.parametrize(
    "config",
    ALL,
    ids=lambda c: f"{c.model}-{c.image_size}px-{c.channels}ch-{c.conditioning}-{c.g_norm}-{c.g_activation}",
)


def test_the_configs_meet_each_other():
    """12 of mlp (no projection), 16 of dcgan and of sn-conv (no projection without norm), 10 of sn-resnet."""
    assert {f: sum(c.model == f for c in ALL) for f in FAMILIES} == dict(zip(FAMILIES, (12, 16, 16, 10), strict=True))
    for family in FAMILIES:
        turns = {(c.channels, c.g_activation) for c in ALL if c.model == family}
        assert turns == set(product((1, 3), ("relu", "leaky-relu")))
    assert {c.hidden_layers for c in ALL if c.model == "mlp"} == {1, 2, 3}


def random_generator(config: Config, seed: int = 0) -> nn.Module:
    """A generator at rest whose every number is drawn at random, statistics of batch norm included.

    Variances reach far below batch norm's epsilon, so that another epsilon would show; activations stay of order one,
    so that tanh does not hide a difference.
    """
    random = np.random.default_rng(seed)
    module = build_generator(config).double().eval()
    power = 0.8 if config.model == "sn-resnet" else 1.5  # blocks add up

    def fill(tensor: torch.Tensor, values: np.ndarray) -> None:
        tensor.data = torch.from_numpy(values.astype(np.float32)).double()

    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            terms = 4 * len(layer.weight) if isinstance(layer, nn.ConvTranspose2d) else layer.weight[0].numel()
            fill(layer.weight, random.normal(0, math.sqrt(power / terms), layer.weight.shape))
            if layer.bias is not None:
                fill(layer.bias, random.normal(0, 0.3, layer.bias.shape))
        elif isinstance(layer, BatchNorm):
            conditional = isinstance(layer, ConditionalBatchNorm)
            gain, shift = (layer.gain.weight, layer.shift.weight) if conditional else (layer.weight, layer.bias)
            num = layer.num_features
            variance = 10 ** random.uniform(-6, 0.5, num)
            fill(layer.running_var, variance)
            fill(layer.running_mean, random.normal(0, 0.3, num))
            signs = random.choice([-1, 1], gain.shape)
            fill(gain, signs * random.uniform(0.5, 1.5, gain.shape) * np.sqrt(variance + 1e-5))
            fill(shift, random.normal(0, 0.3, shift.shape))
    return module


def arrays_in(module: nn.Module, dtype: type = np.float32) -> dict[str, np.ndarray]:
    state = module.state_dict()
    return {k: v.numpy().astype(dtype) for k, v in state.items() if not k.endswith("num_batches_tracked")}


def program_of(config: Config) -> Program:
    return generator_program(config, arrays_in(random_generator(config)))


def load_torch(config: Config, arrays: dict[str, np.ndarray]) -> nn.Module:
    """A torch generator with these weights, computing in double precision."""
    module = build_generator(config).double().eval()
    state = {k: torch.from_numpy(v.astype(np.float64)) for k, v in arrays.items()}
    module.load_state_dict({**{k: v for k, v in module.state_dict().items() if k.endswith("tracked")}, **state})
    return module


@torch.no_grad()
def run_torch(module: nn.Module, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    return module(torch.from_numpy(z).double(), None if labels is None else torch.from_numpy(labels)).numpy()


def run_onnx(model: bytes, z: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["image"], {"z": z} if y is None else {"z": z, "y": y})[0]


def draw(num: int, dim: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((num, dim)).astype(np.float32)


def one_hot(labels: np.ndarray) -> np.ndarray:
    return (labels[:, None] == np.arange(len(CLASSES))).astype(np.float32)


# --- the same pictures -----------------------------------------------------------------------------------------------


@every_config
def test_onnxruntime_draws_what_torch_draws(config):
    module = random_generator(config)
    model = to_onnx(generator_program(config, arrays_in(module)))
    pictures = []
    for labels in ([0], [0, 1, 2, 2, 1]):
        z, y = draw(len(labels), config.latent_dim), np.array(labels) if config.num_classes else None
        expected = run_torch(module, z, y)
        assert expected.std() > 0.1 and (np.abs(expected) > 0.999).mean() < 0.1, "saturated: compares nothing"
        images = run_onnx(model, z, None if y is None else one_hot(y))
        assert images.shape == (len(labels), config.channels, config.image_size, config.image_size)
        assert images.dtype == np.float32
        np.testing.assert_allclose(images, expected, rtol=0, atol=1e-4)
        pictures.append(images)
    if config.num_classes:
        other = run_onnx(model, draw(1, config.latent_dim), one_hot(np.array([1])))
        assert np.abs(other - pictures[0]).max() > 0.05, "the class makes no difference"


def with_mixture(module: nn.Module, config: Config, weights: np.ndarray) -> nn.Module:
    """The generator whose class 0 is the mixture: what depends on the class does so linearly."""
    module, mixture = copy.deepcopy(module), torch.from_numpy(weights).double()
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Embedding):
                layer.weight[0] = mixture @ layer.weight
        if config.conditioning == "concat":
            first = module.layers[0] if config.model == "mlp" else module.project
            first.weight[:, config.latent_dim] = first.weight[:, config.latent_dim :] @ mixture
    return module


@pytest.mark.parametrize(
    "config", [c for c in ALL if c.num_classes and c.image_size == 28], ids=lambda c: f"{c.model}-{c.conditioning}"
)
def test_classes_can_be_mixed(config):
    module, z = random_generator(config), draw(3, config.latent_dim)
    model = to_onnx(generator_program(config, arrays_in(module)))
    y = np.array([[0.5, 0.25, 0.25], [0, 0.1, 0.9], [0, 1, 0]], np.float32)
    images = run_onnx(model, z, y)
    for i, weights in enumerate(y):
        expected = run_torch(with_mixture(module, config, weights), z[i : i + 1], np.array([0]))
        np.testing.assert_allclose(images[i], expected[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_arrays_are_accepted(family):
    config = small(model=family)
    arrays = arrays_in(random_generator(config), np.float16)
    z = draw(5, config.latent_dim)
    images = run_onnx(to_onnx(generator_program(config, arrays)), z)
    np.testing.assert_allclose(images, run_torch(load_torch(config, arrays), z), rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_building_leaves_the_arrays_as_they_were(family):
    config = small(model=family, conditioning="concat", g_norm="batch")
    arrays = arrays_in(random_generator(config))
    before = {name: array.copy() for name, array in arrays.items()}
    generator_program(config, arrays)
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
    y = np.arange(32) % config.num_classes if config.num_classes else None
    levels = (run_torch(module, z, y).transpose(0, 2, 3, 1) + 1) * 127.5
    pictures = load_model(file).generate(z, y)
    assert np.abs(pictures - levels).max() <= 1
    assert np.abs(pictures - levels).mean() <= 0.3  # rounding alone costs a quarter of a level on average
    assert levels.std(axis=0).max() > 10, "all pictures are the same"


@every_config
def test_the_file_says_what_goes_in_and_out(config):
    model = onnx.load_from_string(to_onnx(program_of(config)))
    onnx.checker.check_model(model, full_check=True)

    def shapes(values) -> dict[str, list[int | str]]:
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    inputs = {"z": ["N", config.latent_dim], **({"y": ["N", 3]} if config.conditioning != "none" else {})}
    assert shapes(model.graph.input) == inputs
    assert shapes(model.graph.output) == {"image": ["N", config.channels, config.image_size, config.image_size]}
    assert model.ir_version <= 8 and [x.version for x in model.opset_import] == [17]
    assert ("y (N, classes)" in model.doc_string) == (config.conditioning != "none")


# --- architecture ----------------------------------------------------------------------------------------------------


def kinds(layers: tuple[Layer, ...]) -> list[type]:
    """The kinds of all layers, a residual's own after it."""
    return [k for x in layers for k in (type(x), *(kinds(x.body + x.shortcut) if isinstance(x, Residual) else ()))]


@every_config
def test_the_program_says_what_it_takes_and_gives(config):
    program = program_of(config)
    assert program.output_shape == (config.channels, config.image_size, config.image_size)
    assert (program.input_shape, program.num_classes) == ((6,), config.num_classes)
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays_of(program.layers))
    assert program.num_parameters == sum(array.size for array in arrays_of(program.layers))


@every_config
def test_norms_are_folded_into_the_layers_before(config):
    """Only one that knows the class, or that follows a sum of which another layer reads too, remains."""
    norms = sum(isinstance(m, BatchNorm) for m in build_generator(config).modules())
    left = kinds(program_of(config).layers).count(Affine)
    assert (norms > 0) == (config.norms[0] != "none")
    if config.conditioning == "projection":
        assert left == norms
    elif config.model == "sn-resnet" and norms:
        assert norms == 2 * (left - 1) + 1  # of two in each block the first, and that after the last block
    else:
        assert left == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_class_beside_z_is_a_bias_of_the_first_layer(family):
    config = small(model=family, conditioning="concat")
    first, *rest = program_of(config).layers
    assert isinstance(first, Linear) and first.weight.shape[1] == 6 and first.bias.shape == (3, len(first.weight))
    assert all(x.bias.ndim == 1 for x in rest if isinstance(x, Linear | Conv | ConvTranspose))


def test_every_family_has_networks_and_a_program():
    assert set(FAMILIES) == set(NETWORKS)
    for family in FAMILIES:
        assert program_of(small(model=family)).output_shape == (1, 28, 28)


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize(("sizes", "kernels"), [([4, 7, 14, 28], [3, 4, 4]), ([4, 8, 16, 32], [4, 4, 4])])
def test_dcgan_grows_alike_in_torch_and_in_the_program(sizes, kernels, width):
    config = small(model="dcgan", image_size=sizes[-1], channels=3, width=width)
    features = [4 * width, 2 * width, width]
    assert stages(config, width) == list(zip(features, kernels, strict=True))

    linear, reshape, *rest = program_of(config).layers
    assert isinstance(linear, Linear) and linear.weight.shape == (features[0] * 16, 6)
    assert isinstance(reshape, Reshape) and reshape.shape == (features[0], 4, 4)
    ups = [layer for layer in rest if isinstance(layer, ConvTranspose)]
    ends = zip(features, [*features[1:], 3], kernels, strict=True)
    assert [up.weight.shape for up in ups] == [(n, m, k, k) for n, m, k in ends]
    for up, size, next_size in zip(ups, sizes, sizes[1:], strict=False):
        assert (size - 1) * up.stride - 2 * up.padding + up.weight.shape[-1] == next_size
    assert [layer.kind for layer in rest if isinstance(layer, Activation)] == ["relu"] * 3 + ["tanh"]


def test_a_residual_block_is_two_ways_to_the_same_shape():
    """Miyato et al. 2018, table 4: 3x3 convolutions around an upsampling; the shortcut's convolution is 1x1."""
    config = small(model="sn-resnet", width=6)
    block = program_of(config).layers[2]
    assert isinstance(block, Residual)
    assert kinds(block.body) == [Affine, Activation, Upsample, Conv, Activation, Conv]
    assert kinds(block.shortcut) == [Conv, Upsample]
    convs = [(x.weight.shape, x.padding) for x in block.body + block.shortcut if isinstance(x, Conv)]
    assert convs == [((12, 20, 3, 3), 1), ((12, 12, 3, 3), 1), ((12, 20, 1, 1), 0)]


def test_num_parameters_counts_by_hand():
    assert program_of(small(model="mlp", width=8)).num_parameters == (6 * 8 + 8) + (8 * 8 + 8) + (8 * 784 + 784)
    ups = (32 * 16 * 9 + 16) + (16 * 8 * 16 + 8) + (8 * 1 * 16 + 1)
    assert program_of(small(model="dcgan", width=8)).num_parameters == (6 * 512 + 512) + ups
    tables = 2 * 3 * (32 + 16 + 8)  # a scale and a shift a class
    conditional = small(model="dcgan", width=8, conditioning="projection")
    assert program_of(conditional).num_parameters == (6 * 512 + 512) + ups + tables
    # 6 * (10, 6, 3) / 3 features; project, two blocks, the last norm, the last convolution
    blocks = [(n, m, n * m * 9 + m + m * m * 9 + m + n * m + m + 2 * n) for n, m in ((20, 12), (12, 6))]
    expected = (6 * 980 + 980) + sum(count for *_, count in blocks) + 2 * 6 + (6 * 9 + 1)
    assert program_of(small(model="sn-resnet", width=6)).num_parameters == expected


# --- weights that do not fit -----------------------------------------------------------------------------------------

KINDS_OF_CONFIG = {
    **{family: small(model=family) for family in FAMILIES},
    "mlp-concat": small(model="mlp", conditioning="concat", g_norm="batch-all"),
    "sn-conv-projection": small(model="sn-conv", conditioning="projection", g_norm="batch-all"),
    "sn-resnet-projection": small(model="sn-resnet", conditioning="projection"),
}


@pytest.fixture(params=KINDS_OF_CONFIG)
def fitting(request) -> tuple[Config, dict[str, np.ndarray]]:
    config = KINDS_OF_CONFIG[request.param]
    return config, arrays_in(random_generator(config))


def names(name: str) -> str:
    return re.escape(f"'{name}'")


def test_a_missing_array_is_named(fitting):
    config, arrays = fitting
    for name in arrays:
        with pytest.raises(WeightsError, match=names(name)):
            generator_program(config, {k: v for k, v in arrays.items() if k != name})


def test_an_unknown_array_is_named(fitting):
    config, arrays = fitting
    with pytest.raises(WeightsError, match=names("zebra.weight")):
        generator_program(config, {**arrays, "zebra.weight": np.zeros(3, np.float32)})


def test_an_array_of_another_shape_is_named(fitting):
    config, arrays = fitting
    for name, array in arrays.items():
        for wrong in (array[:-1], array[None], array.reshape(-1, 1, 1), np.zeros((), np.float32)):
            with pytest.raises(WeightsError, match=names(name)) as caught:
                generator_program(config, {**arrays, name: wrong})
            assert str(wrong.shape) in str(caught.value) and str(array.shape) in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_array_that_is_not_finite_is_named(fitting, bad):
    config, arrays = fitting
    for name, array in arrays.items():
        broken = array.copy()
        broken.flat[-1] = bad
        with pytest.raises(WeightsError, match=names(name)):
            generator_program(config, {**arrays, name: broken})


def test_a_negative_variance_is_named(fitting):
    config, arrays = fitting
    for name in (name for name in arrays if name.endswith("running_var")):
        broken = arrays[name].copy()
        broken[-1] = -1
        with pytest.raises(WeightsError, match=names(name)):
            generator_program(config, {**arrays, name: broken})


def test_weights_of_another_config_are_refused(fitting):
    config, arrays = fitting
    others: list[dict] = [{"width": 16}, {"channels": 3}, {"image_size": 32}, {"latent_dim": 8}]
    if config.num_classes:
        others += [{"classes": ("a", "b")}, {"conditioning": "none"}]
    else:
        others += [{"model": family} for family in FAMILIES if family != config.model]
    for other in others:
        with pytest.raises(WeightsError):
            generator_program(config.replace(**other), arrays)


@pytest.mark.parametrize("family", ["mlp", "dcgan", "sn-conv"])
def test_weights_with_another_norm_are_refused(family):
    configs = [small(model=family, g_norm=norm) for norm in ("none", "batch", "batch-all")]
    for config, other in permutations(configs, 2):
        with pytest.raises(WeightsError, match="norm|bias"):
            generator_program(other, arrays_in(random_generator(config)))


@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_a_condition_without_classes_is_refused(conditioning):
    config = small(conditioning=conditioning)
    arrays = arrays_in(random_generator(config))
    with pytest.raises(WeightsError, match="names no classes"):
        generator_program(config.replace(classes=()), arrays)
