"""Networks: the structure that the papers describe, parameters counted by hand, starting weights, and the prior."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ganlab.config import Config
from ganlab.models import build_discriminator, build_generator, num_parameters, sample_prior
from ganlab.presets import PRESETS

each_family = pytest.mark.parametrize("model", ["mlp", "dcgan"])
each_size = pytest.mark.parametrize("size", [28, 32])
each_depth = pytest.mark.parametrize("channels", [1, 3])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def small(**changes) -> Config:
    return Config(**{"width": 8, "latent_dim": 6, **changes})


def layers_in_order(network: nn.Module, inputs: torch.Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """The layers that a forward pass goes through, as (class, shape of the output without the batch)."""
    passed: list[tuple[str, tuple[int, ...]]] = []

    def note(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        passed.append((type(layer).__name__, tuple(output.shape[1:])))

    hooks = [m.register_forward_hook(note) for m in network.modules() if not list(m.children())]
    with torch.no_grad():
        network(inputs)
    for hook in hooks:
        hook.remove()
    return passed


# --- what comes out --------------------------------------------------------------------------------------------------


@each_family
@each_size
@each_depth
def test_pictures_and_verdicts_have_their_shapes(model: str, size: int, channels: int) -> None:
    config = small(model=model, image_size=size, channels=channels)
    G, D = build_generator(config), build_discriminator(config)
    images = G(sample_prior(config, 5))
    assert images.shape == (5, channels, size, size) and images.dtype == torch.float32
    logits = D(images)
    assert logits.shape == (5,) and logits.dtype == torch.float32
    assert D.eval()(images[:1]).shape == (1,)


@each_family
def test_generated_pictures_fill_minus_one_to_one_and_never_leave_it(model: str) -> None:
    config = small(model=model)
    G = build_generator(config)
    with torch.no_grad():
        for parameter in G.parameters():
            parameter.mul_(30)  # far from the gentle start, so that the limits are reached
        images = G(sample_prior(config, 16))
    assert images.min() == -1 and images.max() == 1


@each_family
def test_verdicts_are_logits_not_probabilities(model: str) -> None:
    D = build_discriminator(small(model=model)).eval()
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.mul_(5)
        logits = D(torch.randn(64, 1, 28, 28) * 3)
    assert logits.min() < -0.5 and logits.max() > 1.5


@each_family
def test_verdicts_are_full_precision_under_autocast(model: str) -> None:
    """The loss is computed from them; bfloat16 has three digits."""
    D = build_discriminator(small(model=model))
    with torch.autocast("cpu", torch.bfloat16):
        assert D(torch.zeros(2, 1, 28, 28)).dtype == torch.float32


# --- DCGAN: Radford et al. 2015, section 3 ---------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "heights"), [(28, [4, 7, 14, 28]), (32, [4, 8, 16, 32])])
def test_dcgan_generator_is_the_papers(size: int, heights: list[int]) -> None:
    """Fractionally strided convolutions, batch norm in all layers but the last, no other hidden layer."""
    config = small(image_size=size, channels=3)
    a, b, c, d = ((h, h) for h in heights)
    assert layers_in_order(build_generator(config), sample_prior(config, 2)) == [
        ("Linear", (32 * 4 * 4,)),
        ("BatchNorm2d", (32, *a)), ("ConvTranspose2d", (16, *b)),
        ("BatchNorm2d", (16, *b)), ("ConvTranspose2d", (8, *c)),
        ("BatchNorm2d", (8, *c)), ("ConvTranspose2d", (3, *d)),
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "heights"), [(28, [4, 7, 14]), (32, [4, 8, 16])])
def test_dcgan_discriminator_is_the_papers(size: int, heights: list[int]) -> None:
    """Strided convolutions for pooling, LeakyReLU, batch norm in all layers but the first, one linear layer at the end.

    Dropout is ours; at its default of 0 it does nothing.
    """
    config = small(image_size=size, channels=3)
    a, b, c = ((h, h) for h in heights)
    assert layers_in_order(build_discriminator(config), torch.zeros(2, 3, size, size)) == [
        ("Conv2d", (8, *c)), ("LeakyReLU", (8, *c)), ("Dropout2d", (8, *c)),
        ("Conv2d", (16, *b)), ("BatchNorm2d", (16, *b)), ("LeakyReLU", (16, *b)), ("Dropout2d", (16, *b)),
        ("Conv2d", (32, *a)), ("BatchNorm2d", (32, *a)), ("LeakyReLU", (32, *a)), ("Dropout2d", (32, *a)),
        ("Flatten", (32 * 4 * 4,)), ("Linear", (1,)),
    ]  # fmt: skip


def test_mlp_has_two_hidden_layers_and_no_batch_norm() -> None:
    config = small(model="mlp")
    assert layers_in_order(build_generator(config), sample_prior(config, 2)) == [
        ("Linear", (8,)), ("ReLU", (8,)), ("Linear", (8,)), ("ReLU", (8,)), ("Linear", (784,)), ("Tanh", (784,)),
    ]  # fmt: skip
    assert [name for name, _ in layers_in_order(build_discriminator(config), torch.zeros(2, 1, 28, 28))] == [
        "Flatten", "Linear", "LeakyReLU", "Dropout", "Linear", "LeakyReLU", "Dropout", "Linear",
    ]  # fmt: skip


@each_family
def test_leaky_rectifiers_leak_a_fifth(model: str) -> None:
    leaky = [m for m in build_discriminator(small(model=model)).modules() if isinstance(m, nn.LeakyReLU)]
    assert [m(torch.tensor(-1.0)).item() for m in leaky] == pytest.approx([-0.2] * (3 if model == "dcgan" else 2))


def test_dcgan_starts_from_small_normal_weights() -> None:
    """N(0, 0.02) for weights (the paper), N(1, 0.02) for batch norm's scales (its code), biases 0."""
    config = Config(image_size=32, channels=3)
    for network in (build_generator(config), build_discriminator(config)):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d):
                weights, centre = layer.weight.detach(), 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0
                error = 0.02 / math.sqrt(weights.numel())  # standard error of a mean
                assert abs(weights.mean().item() - centre) < 5 * error, name
                assert abs(weights.std().item() - 0.02) < 5 * error, name
                assert layer.bias is None or not layer.bias.any(), name


# --- parameters, counted by hand -------------------------------------------------------------------------------------


def linear(n: int, m: int, bias: bool = True) -> int:
    return n * m + m * bias


def conv(n: int, m: int, kernel: int, bias: bool) -> int:
    return n * m * kernel**2 + m * bias


def mlp_counts(c: Config) -> tuple[int, int]:
    pixels = c.channels * c.image_size**2
    return (
        linear(c.latent_dim, c.width) + linear(c.width, c.width) + linear(c.width, pixels),
        linear(pixels, c.width) + linear(c.width, c.width) + linear(c.width, 1),
    )


def dcgan_counts(c: Config) -> tuple[int, int]:
    """Widths w, 2w, 4w from the picture inwards; the innermost kernel is 3 for 28 pixels; a bias only without norm."""
    w, k = c.width, 3 if c.image_size == 28 else 4
    kernels = conv(4 * w, 2 * w, k, False) + conv(2 * w, w, 4, False)
    norms_g, norms_d = 2 * (4 * w + 2 * w + w), 2 * (2 * w + 4 * w)  # a scale and a shift a feature
    return (
        linear(c.latent_dim, 4 * w * 16, False) + norms_g + kernels + conv(w, c.channels, 4, True),
        conv(c.channels, w, 4, True) + norms_d + kernels + linear(4 * w * 16, 1),
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_parameters_of_its_layers(name: str) -> None:
    config = PRESETS[name]
    expected = {"mlp": mlp_counts, "dcgan": dcgan_counts}[config.model](config)
    assert (num_parameters(build_generator(config)), num_parameters(build_discriminator(config))) == expected


def test_counts_in_figures() -> None:
    """Worked out on paper, so that the formulas above are checked too: one of each family at its smallest."""
    # G: 2*8+8 + 8*8+8 + 8*784+784; D: 784*8+8 + 8*8+8 + 8+1
    assert mlp_counts(Config(model="mlp", width=8, latent_dim=2)) == (24 + 72 + 7056, 6280 + 72 + 9)
    # G: 2*512 + 2*56 + 32*16*9 + 16*8*16 + 8*16+1; D: 16*8+8 + 2*48 + 4608 + 2048 + 512+1
    assert dcgan_counts(Config(width=8, latent_dim=2)) == (1024 + 112 + 4608 + 2048 + 129, 136 + 96 + 6656 + 513)


# --- dropout ---------------------------------------------------------------------------------------------------------


@each_family
def test_dropout_is_there_when_asked_for_and_in_training_only(model: str) -> None:
    images = torch.randn(8, 1, 28, 28)
    D = build_discriminator(small(model=model, d_dropout=0.5))
    assert not torch.equal(D(images), D(images))
    D.eval()
    assert torch.equal(D(images), D(images))
    without = build_discriminator(small(model=model, d_dropout=0.0))
    assert torch.equal(without(images), without(images))


@each_family
def test_dropout_drops_the_share_asked_for(model: str) -> None:
    config = small(model=model, width=64, d_dropout=0.3)
    D, shares = build_discriminator(config), []
    for layer in D.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.register_forward_hook(lambda _, __, output: shares.append((output == 0).float().mean().item()))
    D(torch.randn(64, 1, 28, 28))
    assert len(shares) == (3 if model == "dcgan" else 2)
    assert shares == pytest.approx([0.3] * len(shares), abs=0.04)  # of 64 x 64 features or more: 5 sigma


@each_family
def test_the_generator_has_no_dropout(model: str) -> None:
    config = small(model=model, d_dropout=0.9)
    G, z = build_generator(config), sample_prior(config, 4)
    assert torch.equal(G(z), G(z))


# --- the prior -------------------------------------------------------------------------------------------------------

NUM, DIM = 4000, 25  # 100,000 numbers


@pytest.mark.parametrize(
    ("prior", "variance", "fourth"), [("normal", 1.0, 3.0), ("uniform", 1 / 3, 1 / 5)], ids=["normal", "uniform"]
)
def test_the_prior_has_the_moments_of_its_distribution(prior: str, variance: float, fourth: float) -> None:
    z = sample_prior(Config(prior=prior, latent_dim=DIM), NUM).double()
    assert z.shape == (NUM, DIM)
    error = 1 / math.sqrt(NUM * DIM)
    assert abs(z.mean().item()) < 5 * math.sqrt(variance) * error
    assert abs((z**2).mean().item() - variance) < 5 * math.sqrt(fourth - variance**2) * error
    assert (z**4).mean().item() == pytest.approx(fourth, rel=0.1)
    assert (z[:, 0] * z[:, 1]).mean().abs() < 5 * variance / math.sqrt(NUM)  # its numbers are independent


def test_the_uniform_prior_reaches_its_limits_and_not_beyond() -> None:
    z = sample_prior(Config(prior="uniform", latent_dim=DIM), NUM)
    assert -1 <= z.min() < -0.999 and 0.999 < z.max() <= 1
    assert sample_prior(Config(prior="normal", latent_dim=DIM), NUM).abs().max() > 3


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_noise_comes_from_the_generator_that_is_given(prior: str) -> None:
    config = Config(prior=prior)
    draws = [sample_prior(config, 3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@each_family
def test_weights_come_from_torchs_own_seed(model: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(build_generator(small(model=model)).parameters())

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))
