"""A discriminator's program against torch: the same logit from the same weights, for all that a family can be."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from scipy.special import expit
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.flop_counter import FlopCounterMode

from ganlab.checkpoint import arrays_at_rest
from ganlab.config import Config
from ganlab.discriminators import discriminator_program
from ganlab.engine import BATCH
from ganlab.errors import ConfigError, WeightsError
from ganlab.generators import generator_program
from ganlab.judge import Judge, load_judge
from ganlab.models import build_discriminator, build_generator
from ganlab.models.layers import BatchNorm
from ganlab.onnx_graph import to_onnx
from ganlab.program import (
    Activation,
    Affine,
    ClassMaps,
    Conv,
    ConvTranspose,
    Dot,
    Linear,
    MeanPool,
    Program,
    Reshape,
    Residual,
    SumPlaces,
    Upsample,
    arrays_of,
)
from ganlab.weights import DISCRIMINATOR, GENERATOR, save_arrays

FAMILIES = get_args(get_type_hints(Config)["model"])
CLASSES = ("cat", "dog", "frog")
Arrays = dict[str, np.ndarray]


def small(**changes) -> Config:
    conditional = changes.get("conditioning", "none") != "none"
    return Config(**{"width": 8, "d_width": 6, "latent_dim": 6, "classes": CLASSES if conditional else (), **changes})


def all_configs() -> Iterator[Config]:
    """Every family, size, conditioning and norm of D that go together; channels, slope, dropout, depth take turns."""
    kinds = product(FAMILIES, (28, 32), ("none", "concat", "projection"), ("none", "batch", "batch-all", "spectral"))
    for i, (family, size, conditioning, norm) in enumerate(kinds):
        turns = dict(
            channels=(1, 3)[i // 2 % 2], leaky_slope=(0.3, 0.05, 0.0)[i % 3], d_dropout=(0.0, 0.5)[i % 2],
            hidden_layers=1 + i % 3, d_width=(6, None)[i // 4 % 2],
        )  # fmt: skip
        try:
            yield small(model=family, image_size=size, conditioning=conditioning, d_norm=norm, **turns)
        except ConfigError:
            continue


ALL = list(all_configs())
every_config = pytest.mark.parametrize(
    "config", ALL, ids=lambda c: f"{c.model}-{c.image_size}px-{c.channels}ch-{c.conditioning}-{c.d_norm}"
)


def test_the_configs_meet_each_other():
    """16 of mlp (no projection), 24 of dcgan and of sn-conv, 12 of sn-resnet (no batch norm)."""
    assert {f: sum(c.model == f for c in ALL) for f in FAMILIES} == dict(zip(FAMILIES, (16, 24, 24, 12), strict=True))
    for family in FAMILIES:
        mine = [c for c in ALL if c.model == family]
        assert {(c.channels, c.leaky_slope) for c in mine} == set(product((1, 3), (0.3, 0.05, 0.0)))
        assert {bool(c.d_dropout) for c in mine} == {True, False} and {c.d_width for c in mine} == {6, None}


def random_discriminator(config: Config, seed: int = 0) -> nn.Module:
    """A discriminator in training whose every number is drawn at random, statistics of batch norm included.

    Weights under spectral norm are far from norm 1. Logits are of order one, so that a difference shows.
    """
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)  # of the first estimates of spectral norms
    module = build_discriminator(config)

    @torch.no_grad()
    def fill(tensor: torch.Tensor, values: np.ndarray) -> None:
        tensor.copy_(torch.from_numpy(values))

    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
            spectral = is_parametrized(layer, "weight")
            weight = layer.parametrizations.weight.original if spectral else layer.weight
            terms = weight.shape[1] if isinstance(layer, nn.Embedding) else weight[0].numel()
            fill(weight, random.normal(0, (4 if spectral else 1.5) / math.sqrt(terms), weight.shape))
            if getattr(layer, "bias", None) is not None:
                fill(layer.bias, random.normal(0, 0.3, layer.bias.shape))
        elif isinstance(layer, BatchNorm):
            variance = 10 ** random.uniform(-6, 0.5, layer.num_features)
            fill(layer.running_var, variance)
            fill(layer.running_mean, random.normal(0, 0.3, layer.num_features))
            signs = random.choice([-1, 1], layer.num_features)
            fill(layer.weight, signs * random.uniform(0.5, 1.5, layer.num_features) * np.sqrt(variance + 1e-5))
            fill(layer.bias, random.normal(0, 0.3, layer.num_features))
    if config.d_norm == "spectral":
        with torch.no_grad():
            for _ in range(3):  # each look in training improves the estimates of the norms
                module(*inputs_of(config, 2))
    return module


def inputs_of(config: Config, num: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    images = torch.from_numpy(draw(config, num))
    return images, torch.arange(num) % config.num_classes if config.num_classes else None


def draw(config: Config, num: int) -> np.ndarray:
    shape = (num, config.channels, config.image_size, config.image_size)
    return np.random.default_rng(7).uniform(-1, 1, shape).astype(np.float32)


@torch.no_grad()
def run_torch(module: nn.Module, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """Logits at rest, in double precision (the head gives float32)."""
    module = copy.deepcopy(module).eval().double()
    y = None if labels is None else torch.from_numpy(labels)
    return module(torch.from_numpy(images).double(), y).numpy()


def run_onnx(model: bytes, images: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["logit"], {"image": images} if y is None else {"image": images, "y": y})[0]


def one_hot(labels: np.ndarray) -> np.ndarray:
    return (labels[:, None] == np.arange(len(CLASSES))).astype(np.float32)


# --- the same logits -------------------------------------------------------------------------------------------------


@every_config
def test_onnxruntime_judges_as_torch_does(config):
    module = random_discriminator(config)
    model = to_onnx(discriminator_program(config, arrays_at_rest(module)))
    for labels in (np.array([0]), np.array([0, 1, 2, 2, 1])):
        images, y = draw(config, len(labels)), labels if config.num_classes else None
        expected = run_torch(module, images, y)
        logits = run_onnx(model, images, None if y is None else one_hot(y))
        assert logits.shape == expected.shape == (len(labels),) and logits.dtype == np.float32
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5 * scale)
    assert expected.std() > 1e-3 * scale, "all alike: compares nothing"
    if config.num_classes:
        other = run_onnx(model, draw(config, 5), one_hot((labels + 1) % 3))
        assert np.abs(other - logits).min() > 1e-3 * scale, "the class makes no difference"


def with_mixture(module: nn.Module, config: Config, weights: np.ndarray) -> nn.Module:
    """The discriminator whose class 0 is the mixture: what depends on the class does so linearly."""
    module, mixture = copy.deepcopy(module).double(), torch.from_numpy(weights).double()
    with torch.no_grad():
        if config.conditioning == "projection":
            module.head.embedding.weight[0] = mixture @ module.head.embedding.weight
        else:
            c, k = config.channels, config.num_classes
            firsts = {"mlp": ["layers.0"], "sn-resnet": ["blocks.0.conv1", "blocks.0.shortcut"]}
            for name in firsts.get(config.model, ["downs.0"]):
                weight = module.get_submodule(name).weight
                maps = weight.view(len(weight), c + k, -1)  # of the pixels of a map, or the places of a kernel
                maps[:, c] = torch.einsum("k,mkp->mp", mixture, maps[:, c:])
    return module


@pytest.mark.parametrize(
    "config",
    [c for c in ALL if c.num_classes and c.image_size == 28 and c.d_norm == "none"],
    ids=lambda c: f"{c.model}-{c.conditioning}",
)
def test_classes_can_be_mixed(config):
    module, images = random_discriminator(config), draw(config, 3)
    y = np.array([[0.5, 0.25, 0.25], [0, 0.1, 0.9], [0, 1, 0]], np.float32)
    logits = run_onnx(to_onnx(discriminator_program(config, arrays_at_rest(module))), images, y)
    for i, weights in enumerate(y):
        expected = run_torch(with_mixture(module, config, weights), images[i : i + 1], np.array([0]))
        np.testing.assert_allclose(logits[i], expected[0], rtol=1e-4, atol=1e-4)


@every_config
def test_the_file_says_what_goes_in_and_out(config):
    program = discriminator_program(config, arrays_at_rest(build_discriminator(config)))
    model = onnx.load_from_string(to_onnx(program))

    def shapes(values) -> dict[str, list[int | str]]:
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    image = ["N", config.channels, config.image_size, config.image_size]
    assert shapes(model.graph.input) == {"image": image, **({"y": ["N", 3]} if config.num_classes else {})}
    assert shapes(model.graph.output) == {"logit": ["N"]}
    assert model.graph.name == "discriminator" and "discriminator" in model.doc_string
    assert program.input_shape == tuple(image[1:]) and program.output_shape == ()
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays_of(program.layers))


def test_batch_norm_is_folded_and_dropout_is_gone():
    config = small(model="sn-conv", d_norm="batch-all", d_dropout=0.5)
    layers = discriminator_program(config, arrays_at_rest(random_discriminator(config))).layers
    assert [type(layer) for layer in layers] == [Conv, Activation] * 5 + [SumPlaces, Dot]


# --- what it costs ---------------------------------------------------------------------------------------------------


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("layers", "takes", "gives", "multiplications"),
    [
        ([Linear(zeros(7, 5), zeros(7))], (5,), (7,), 35),
        ([Linear(zeros(7, 5), zeros(3, 7))], (5,), (7,), 35),  # a class is looked up: no arithmetic
        ([Conv(zeros(4, 3, 3, 3), zeros(4))], (3, 8, 6), (4, 8, 6), 4 * 3 * 9 * 48),
        ([Conv(zeros(4, 3, 1, 1), zeros(4))], (3, 8, 6), (4, 8, 6), 4 * 3 * 48),
        ([Conv(zeros(4, 3, 4, 4), zeros(4), 2)], (3, 28, 28), (4, 14, 14), 4 * 3 * 16 * 196),
        ([Conv(zeros(4, 3, 3, 3), zeros(4), 2)], (3, 7, 7), (4, 4, 4), 4 * 3 * 9 * 16),
        ([ConvTranspose(zeros(3, 4, 4, 4), zeros(4), 2, 1)], (3, 7, 7), (4, 14, 14), 3 * 4 * 16 * 49),
        ([ConvTranspose(zeros(3, 4, 3, 3), zeros(4), 2, 1)], (3, 4, 4), (4, 7, 7), 3 * 4 * 9 * 16),
        ([Affine(zeros(3), zeros(3))], (3, 5, 5), (3, 5, 5), 75),
        ([Dot(zeros(9), zeros(1))], (9,), (), 9),
        ([Reshape((2, 3, 3)), Upsample(), Activation("tanh")], (18,), (2, 6, 6), 0),
        ([ClassMaps((10, 8, 8)), MeanPool(), SumPlaces()], (3, 8, 8), (13,), 0),
        (
            [Residual((Conv(zeros(2, 3, 3, 3), zeros(2)), MeanPool()),
                      (MeanPool(), Conv(zeros(2, 3, 1, 1), zeros(2))))],
            (3, 8, 8), (2, 4, 4), 2 * 3 * 9 * 64 + 2 * 3 * 16,
        ),
        ([Residual((Conv(zeros(3, 3, 3, 3), zeros(3)),), ())], (3, 8, 8), (3, 8, 8), 3 * 3 * 9 * 64),
    ],
)  # fmt: skip
def test_operations_are_counted_by_hand(layers, takes, gives, multiplications):
    assert Program(takes, gives, 0, tuple(layers)).flops == 2 * multiplications


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("family", FAMILIES)
def test_operations_are_those_that_torch_counts(family, size):
    config = small(model=family, image_size=size, channels=3, g_norm="none", d_norm="none")

    def counted(module: nn.Module, x: np.ndarray) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(torch.from_numpy(x))
        return counter.get_total_flops()

    G, D = build_generator(config), build_discriminator(config)
    assert generator_program(config, arrays_at_rest(G)).flops == counted(G, zeros(1, config.latent_dim))
    assert discriminator_program(config, arrays_at_rest(D)).flops == counted(D, draw(config, 1))


# --- opened files ----------------------------------------------------------------------------------------------------


def write_judge(file: Path, config: Config, dtype: type = np.float16) -> nn.Module:
    """A discriminator's file; the module has the very weights in it."""
    module = random_discriminator(config)
    arrays = {name: array.astype(dtype) for name, array in arrays_at_rest(module).items()}
    save_arrays(file, arrays, kind=DISCRIMINATOR, config=config, facts={"step": 9, "images": 90})
    same = build_discriminator(config.replace(d_norm="none") if config.d_norm == "spectral" else config)
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    tracked = {name: value for name, value in same.state_dict().items() if name.endswith("tracked")}
    same.load_state_dict({**tracked, **state})
    return same


@pytest.mark.parametrize("family", FAMILIES)
def test_a_judge_sees_uint8_pictures(family, tmp_path):
    config = small(model=family, conditioning="concat", d_norm="spectral", channels=3)
    module = write_judge(tmp_path / "7.safetensors", config)
    judge, num = load_judge(tmp_path / "7.safetensors"), BATCH + 3
    assert (judge.name, judge.facts, judge.classes) == ("7", {"step": 9, "images": 90}, CLASSES)
    pictures = np.random.default_rng(1).integers(0, 256, (num, 28, 28, 3), np.uint8)
    y = np.arange(num) % 3
    expected = run_torch(module, pictures.transpose(0, 3, 1, 2) / 127.5 - 1, y)
    logits = judge.logits(pictures, y)
    assert logits.shape == (num,) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))
    np.testing.assert_array_equal(judge.logits(pictures, np.eye(3)[y]), logits)
    np.testing.assert_allclose(judge.verdicts(pictures, y), expit(logits), rtol=1e-5)


def test_verdicts_of_extreme_logits_are_finite():
    class Sure(Judge):
        def logits(self, images, y=None):
            return np.array([-1e30, -200.0, -1.0, 0.0, 200.0, 1e30], np.float32)

    verdicts = Sure("sure", Config(), Program((1, 28, 28), (), 0, ()), {}).verdicts(np.zeros(0, np.uint8))
    assert verdicts.dtype == np.float32
    np.testing.assert_allclose(verdicts, [0, 0, expit(-1.0), 0.5, 1, 1], rtol=1e-6, atol=1e-30)


def test_pictures_that_do_not_fit_are_refused(tmp_path):
    write_judge(tmp_path / "discriminator.safetensors", small(model="dcgan"))
    judge = load_judge(tmp_path / "discriminator.safetensors", "mine")
    good = np.zeros((2, 28, 28, 1), np.uint8)
    for bad in (good[0], good[:, :27], good.repeat(3, 3), good.astype(np.float32), good.transpose(0, 3, 1, 2)):
        with pytest.raises(ConfigError, match=r"mine takes uint8 \(N, 28, 28, 1\)"):
            judge.logits(bad)
    with pytest.raises(ConfigError, match="knows no classes"):
        judge.logits(good, [0, 1])
    assert judge.logits(good[:0]).shape == (0,)


def test_a_conditional_judge_wants_the_class(tmp_path):
    write_judge(tmp_path / "a.safetensors", small(conditioning="projection"))
    judge = load_judge(tmp_path / "a.safetensors")
    for y, wrong in ((None, "y is missing"), ([0, 3], "0 to 2"), ([[1, 1, 0]] * 2, "sum to 1"), ([0], "shape")):
        with pytest.raises(ConfigError, match=wrong):
            judge.logits(np.zeros((2, 28, 28, 1), np.uint8), y)


def test_a_generator_is_no_judge_and_a_damaged_file_none(tmp_path):
    config, file = small(), tmp_path / "x.safetensors"
    save_arrays(file, arrays_at_rest(build_generator(config)), kind=GENERATOR, config=config)
    with pytest.raises(WeightsError, match="x.safetensors holds 'ganlab-generator', not a ganlab-discriminator"):
        load_judge(file)
    save_arrays(file, arrays_at_rest(build_generator(config)), kind=DISCRIMINATOR, config=config)
    with pytest.raises(WeightsError, match="x.safetensors: The weights lack 'downs.0.weight'"):
        load_judge(file)
    write_judge(file, config)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="x.safetensors"):
        load_judge(file)


# --- weights that do not fit -----------------------------------------------------------------------------------------

KINDS = {
    "mlp": small(model="mlp", conditioning="concat", d_norm="batch"),
    "dcgan": small(model="dcgan", conditioning="projection", d_norm="batch-all"),
    "sn-conv": small(model="sn-conv", conditioning="projection"),
    "sn-resnet": small(model="sn-resnet", conditioning="concat"),
}


@pytest.fixture(params=KINDS)
def fitting(request) -> tuple[Config, Arrays]:
    config = KINDS[request.param]
    return config, arrays_at_rest(random_discriminator(config))


def names(name: str) -> str:
    return re.escape(f"'{name}'")


def test_an_array_that_is_missing_odd_or_too_many_is_named(fitting):
    config, arrays = fitting
    with pytest.raises(WeightsError, match=names("zebra.weight")):
        discriminator_program(config, {**arrays, "zebra.weight": zeros(3)})
    for name, array in arrays.items():
        nan = array.copy()
        nan.flat[-1] = np.nan
        without = {k: v for k, v in arrays.items() if k != name}
        for broken in (without, {**arrays, name: array[:-1]}, {**arrays, name: array[None]}, {**arrays, name: nan}):
            with pytest.raises(WeightsError, match=names(name)):
                discriminator_program(config, broken)
        if name.endswith("running_var"):
            with pytest.raises(WeightsError, match="negative variance"):
                discriminator_program(config, {**arrays, name: -array})


def test_weights_of_another_config_are_refused(fitting):
    config, arrays = fitting
    others: list[dict] = [{"d_width": 16}, {"channels": 3}, {"classes": ("a", "b")}, {"conditioning": "none"}]
    if config.model in ("mlp", "dcgan", "sn-conv"):
        others.append({"image_size": 32})
    others += [{"model": family, "d_norm": "none"} for family in ("mlp", "dcgan") if family != config.model]
    for other in others:
        if config.conditioning == "projection" and other.get("model") == "mlp":
            other |= {"conditioning": "concat"}
        with pytest.raises(WeightsError):
            discriminator_program(config.replace(**other), arrays)


@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_a_condition_without_classes_is_refused(conditioning):
    config = small(conditioning=conditioning)
    arrays = arrays_at_rest(build_discriminator(config))
    with pytest.raises(WeightsError, match="names no classes"):
        discriminator_program(config.replace(classes=()), arrays)
