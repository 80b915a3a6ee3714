"""Networks: the structure that the papers describe, parameters counted by hand, first weights, classes, the prior."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from torch import nn

from ganlab.config import FAMILIES, Config
from ganlab.errors import ConfigError
from ganlab.models import build_discriminator, build_generator, num_parameters, sample_prior
from ganlab.models.layers import BatchNorm, ConditionalBatchNorm, Head
from ganlab.presets import BROKEN, PRESETS

CLASSES = ("cat", "dog", "frog")
LABELS = torch.tensor([0, 1, 2, 2, 1, 0])
each_family = pytest.mark.parametrize("model", FAMILIES)
family_and_conditioning = pytest.mark.parametrize(
    ("model", "conditioning"), [("mlp", "none"), *product(("dcgan", "sn-conv", "sn-resnet"), ("none", "projection"))]
)
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def small(**changes) -> Config:
    conditional = changes.get("conditioning", "none") != "none"
    return Config(**{"width": 8, "latent_dim": 6, "classes": CLASSES if conditional else (), **changes})


def labels_for(config: Config, num: int = 6) -> torch.Tensor | None:
    return LABELS[:num] if config.num_classes else None


CONFIGS = [
    small(model=model, image_size=size, channels=channels, conditioning=conditioning)
    for model, (size, channels), conditioning in product(
        FAMILIES, ((28, 1), (32, 3), (28, 3)), ("none", "concat", "projection")
    )
    if ("conditioning", conditioning) not in FAMILIES[model].lacks
]
every_config = pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda c: f"{c.model}-{c.image_size}px-{c.channels}ch-{c.conditioning}"
)
conditional_ones = pytest.mark.parametrize(
    "config", [c for c in CONFIGS if c.num_classes and c.channels == 3], ids=lambda c: f"{c.model}-{c.conditioning}"
)


def seen(module: nn.Module, run) -> tuple[torch.Tensor, torch.Tensor]:
    """What goes into `module` and what comes out of it, the last time that `run()` passes through it."""
    found: list[torch.Tensor] = []
    hook = module.register_forward_hook(lambda _, inputs, out: found.extend((inputs[0].clone(), out.clone())))
    with torch.no_grad():
        run()
    hook.remove()
    return found[-2], found[-1]


def layers_in_order(network: nn.Module, inputs: torch.Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """The layers that a forward pass goes through, as (class, shape of the output without the batch)."""
    passed: list[tuple[str, tuple[int, ...]]] = []
    hooks = [
        m.register_forward_hook(lambda m, _, out: passed.append((type(m).__name__, tuple(out.shape[1:]))))
        for m in network.modules()
        if not list(m.children())
    ]
    with torch.no_grad():
        network(inputs)
    for hook in hooks:
        hook.remove()
    return passed


# --- what comes out --------------------------------------------------------------------------------------------------


@every_config
def test_pictures_and_verdicts_have_their_shapes(config: Config) -> None:
    G, D, y = build_generator(config), build_discriminator(config), labels_for(config)
    images = G(sample_prior(config, 6), y)
    assert images.shape == (6, config.channels, config.image_size, config.image_size) and images.dtype == torch.float32
    logits = D(images, y)
    assert logits.shape == (6,) and logits.dtype == torch.float32
    G.eval(), D.eval()
    one = D(G(sample_prior(config, 1), labels_for(config, 1)), labels_for(config, 1))
    assert one.shape == (1,)


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
    D, images = build_discriminator(small(model=model, d_norm="none")).eval(), torch.randn(64, 1, 28, 28) * 3
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.mul_(5)
        logits = D(images)
        for parameter in D.head.parameters():
            parameter.neg_()
        torch.testing.assert_close(D(images), -logits)
    assert logits.abs().max() > 1.5


@every_config
def test_verdicts_are_full_precision_under_autocast(config: Config) -> None:
    """The loss is computed from them; bfloat16 has three digits."""
    D, images = build_discriminator(config), torch.zeros(6, config.channels, config.image_size, config.image_size)
    with torch.autocast("cpu", torch.bfloat16):
        assert D(images, labels_for(config)).dtype == torch.float32


@every_config
def test_the_layout_in_memory_does_not_matter(config: Config) -> None:
    D, y = build_discriminator(config).eval(), labels_for(config)
    images = torch.randn(6, config.channels, config.image_size, config.image_size)
    other = D(images.contiguous(memory_format=torch.channels_last), y)
    torch.testing.assert_close(D(images, y), other, rtol=1e-4, atol=1e-5)


@every_config
@pytest.mark.parametrize("slope", [0.2, 0.0])
def test_gradients_reach_every_weight_and_can_be_differentiated_again(config: Config, slope: float) -> None:
    """As R1 asks; slope 0 and in place, so that a value overwritten too early would show."""
    config = config.replace(d_norm="none", leaky_slope=slope, g_activation="leaky-relu", width=16)
    G, D, y = build_generator(config), build_discriminator(config), labels_for(config)
    images = G(sample_prior(config, 6), y)
    logits = D(images, y)
    (by_pixel,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    (logits.sum() + by_pixel.square().sum()).backward()
    for name, parameter in [*G.named_parameters(), *D.named_parameters()]:
        if parameter.dim() > 1:  # a bias before a norm has no effect
            assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


# --- DCGAN: Radford et al. 2015, section 3; Miyato et al. 2018, table 3 ----------------------------------------------


@pytest.mark.parametrize(("size", "heights"), [(28, [4, 7, 14, 28]), (32, [4, 8, 16, 32])])
def test_dcgan_generator_is_the_papers(size: int, heights: list[int]) -> None:
    """Fractionally strided convolutions, batch norm in all layers but the last, ReLU, no other hidden layer."""
    config = small(image_size=size, channels=3)
    a, b, c, d = ((h, h) for h in heights)
    assert layers_in_order(build_generator(config), sample_prior(config, 2)) == [
        ("Linear", (32 * 4 * 4,)),
        ("BatchNorm", (32, *a)), ("ReLU", (32, *a)), ("Up", (16, *b)),
        ("BatchNorm", (16, *b)), ("ReLU", (16, *b)), ("Up", (8, *c)),
        ("BatchNorm", (8, *c)), ("ReLU", (8, *c)), ("Up", (3, *d)), ("NoNorm", (3, *d)),
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "heights"), [(28, [14, 7, 4]), (32, [16, 8, 4])])
def test_dcgan_discriminator_is_the_papers(size: int, heights: list[int]) -> None:
    """Strided convolutions for pooling, LeakyReLU, batch norm in all layers but the first, one linear layer at the end.

    Dropout is ours; at its default of 0 it does nothing.
    """
    expected = []
    for features, h, norm in zip((8, 16, 32), heights, ("NoNorm", "BatchNorm", "BatchNorm"), strict=True):
        expected += [(kind, (features, h, h)) for kind in ("Down", norm, "Activation", "Dropout2d")]
    D = build_discriminator(small(image_size=size, channels=3))
    assert layers_in_order(D, torch.zeros(2, 3, size, size)) == [*expected, ("Linear", (1,))]
    kernels = [4, 4, 3] if size == 28 else [4, 4, 4]
    assert [down.kernel_size for down in D.downs] == [(k, k) for k in kernels]


@pytest.mark.parametrize(
    ("size", "shapes"),
    [
        (28, [(8, 14), (16, 14), (16, 7), (32, 7), (32, 4)]),
        (32, [(8, 32), (16, 16), (16, 16), (32, 8), (32, 8), (64, 4), (64, 4)]),
    ],
)
def test_sn_conv_discriminator_keeps_and_halves(size: int, shapes: list[tuple[int, int]]) -> None:
    D = build_discriminator(small(model="sn-conv", image_size=size, d_norm="none"))
    passed = layers_in_order(D, torch.zeros(2, 1, size, size))
    assert [shape for kind, shape in passed if kind in ("Conv2d", "Down")] == [(n, h, h) for n, h in shapes]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_mlp_has_the_depth_asked_for(depth: int) -> None:
    config = small(model="mlp", hidden_layers=depth, d_width=16)
    G = layers_in_order(build_generator(config), sample_prior(config, 2))
    assert [x for x in G if x[0] != "NoNorm"] == [("Linear", (8,)), ("ReLU", (8,))] * depth + [("Linear", (784,))]
    D = layers_in_order(build_discriminator(config), torch.zeros(2, 1, 28, 28))
    hidden = [("Linear", (16,)), ("Activation", (16,)), ("Dropout", (16,))]
    assert [x for x in D if x[0] != "NoNorm"] == hidden * depth + [("Linear", (1,))]


@each_family
def test_the_verdict_is_read_from_the_last_features(model: str) -> None:
    """All of them in dcgan (in some order) and mlp; summed over places in the others (Miyato & Koyama 2018)."""
    D, images = build_discriminator(small(model=model)).eval(), torch.randn(6, 1, 28, 28)
    features, (h, _) = seen(D.act, lambda: D(images))[1], seen(D.head, lambda: D(images))
    expected = features.sum((2, 3)) if model.startswith("sn") else features.flatten(1)
    torch.testing.assert_close(h.sort(1).values, expected.sort(1).values)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2])
@each_family
def test_leaky_rectifiers_leak_as_asked_for(model: str, slope: float) -> None:
    config = small(model=model, leaky_slope=slope)
    at = torch.tensor([-1.0, 2.0])
    assert build_discriminator(config).act(at.clone()).tolist() == pytest.approx([-slope, 2])
    assert build_generator(config).act(at.clone()).tolist() == [0, 2]
    leaky = build_generator(config.replace(g_activation="leaky-relu"))
    assert leaky.act(at.clone()).tolist() == pytest.approx([-slope, 2])


@torch.no_grad()
@pytest.mark.parametrize("which", ["up", "down", "same"])
def test_a_residual_block_without_its_body_is_its_shortcut(which: str) -> None:
    """Upsampled by nearest neighbour, or pooled by the mean; where nothing changes it is the picture itself."""
    config = small(model="sn-resnet", d_norm="none")
    blocks = build_generator(config).blocks if which == "up" else build_discriminator(config).blocks
    block = blocks[{"up": 0, "down": 1, "same": 2}[which]]
    block.conv2.weight.zero_(), block.conv2.bias.zero_()
    x = torch.randn(2, block.conv1.in_channels, 6, 6)
    got = block(x, None) if which == "up" else block(x)
    if which == "up":
        expected = block.shortcut(x).repeat_interleave(2, 2).repeat_interleave(2, 3)
    elif which == "down":
        expected = block.shortcut(x).unflatten(2, (3, 2)).unflatten(4, (3, 2)).mean((3, 5))
    else:
        expected = x
    torch.testing.assert_close(got, expected)


# --- normalisation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 5), (12, 5, 3, 4)])
@pytest.mark.parametrize("conditional", [False, True])
def test_batch_norm_by_hand(shape: tuple[int, ...], conditional: bool) -> None:
    """Ioffe & Szegedy 2015, algorithms 1 and 2; with classes scale and shift are rows of tables (Dumoulin 2017)."""
    random = np.random.default_rng(0)
    x, y = random.normal(2, 3, shape), random.integers(0, 3, 12)
    gain, shift = random.normal(1, 0.5, (3, 5)), random.normal(0, 0.5, (3, 5))
    mean, variance = random.normal(0, 1, 5), random.uniform(0.1, 2, 5)
    norm = (ConditionalBatchNorm(5, 3) if conditional else BatchNorm(5)).double()
    tables = (norm.gain.weight, norm.shift.weight) if conditional else (norm.weight, norm.bias)
    for tensor, values in zip(tables, (gain, shift), strict=True):
        tensor.data = torch.from_numpy(values if conditional else values[0])
    if not conditional:
        gain, shift = gain[[0, 0, 0]], shift[[0, 0, 0]]

    def by_hand(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        def along(rows: np.ndarray) -> np.ndarray:
            return rows.reshape(*rows.shape, *(1,) * (len(shape) - 2))

        return along(gain[y]) * (x - along(mean)) / np.sqrt(along(variance) + 1e-5) + along(shift[y])

    axes = (0, 2, 3)[: len(shape) - 1]
    got = norm(torch.from_numpy(x), torch.from_numpy(y)).detach().numpy()
    np.testing.assert_allclose(got, by_hand(x.mean(axes), x.var(axes)))
    norm.running_mean, norm.running_var = torch.from_numpy(mean), torch.from_numpy(variance)
    got = norm.eval()(torch.from_numpy(x), torch.from_numpy(y)).detach().numpy()
    np.testing.assert_allclose(got, by_hand(mean, variance))


def is_normal(x: torch.Tensor) -> bool:
    """Whether each feature of (N, F, …) has mean 0 and variance 1."""
    x = x.double().transpose(0, 1).flatten(1)
    return bool((x.mean(1).abs() < 1e-4).all() and ((x.var(1, correction=0) - 1).abs() < 0.02).all())


@pytest.mark.parametrize("norm", ["none", "batch", "batch-all"])
@pytest.mark.parametrize("model", ["mlp", "dcgan", "sn-conv"])
def test_batch_all_is_everywhere_and_batch_not_at_the_picture(model: str, norm: str) -> None:
    config = small(model=model, g_norm=norm, d_norm=norm, g_init="library", d_init="library")
    G, D, z = build_generator(config), build_discriminator(config), sample_prior(config, 64)
    if model == "mlp":
        hidden, last = G.norms[0], G.norms[-1]
    else:
        hidden, last = G.norms[1], G.last_norm
    assert is_normal(seen(hidden, lambda: G(z))[1]) == (norm != "none")
    before, after = seen(last, lambda: G(z))
    assert is_normal(after) == (norm == "batch-all") and torch.equal(before, after) == (norm != "batch-all")
    torch.testing.assert_close(G(z).detach(), torch.tanh(after).view(64, 1, 28, 28))
    images = torch.rand(64, 1, 28, 28)
    assert is_normal(seen(D.norms[1], lambda: D(images))[1]) == (norm != "none")
    assert is_normal(seen(D.norms[0], lambda: D(images))[1]) == (norm == "batch-all")


@family_and_conditioning
def test_spectral_norm_makes_every_largest_singular_value_one(model: str, conditioning: str) -> None:
    """Miyato et al. 2018, algorithm 1, against torch's SVD, however large the weights have grown."""
    D = build_discriminator(small(model=model, d_norm="spectral", d_init="normal", conditioning=conditioning))
    layers = [m for m in D.modules() if isinstance(m, (*WEIGHTED, nn.Embedding))]
    assert len(layers) >= 3 and isinstance(layers[-1], nn.Embedding) == (conditioning == "projection")
    for i, layer in enumerate(layers):
        with torch.no_grad():
            layer.parametrizations.weight.original.mul_(3 + i)
            for _ in range(200):
                weight = layer.weight  # one power iteration each time in training
        assert torch.linalg.svdvals(weight.flatten(1))[0].item() == pytest.approx(1, abs=0.01)
    D.eval()
    images, y = torch.ones(3, 1, 28, 28), labels_for(D.config, 3)
    assert torch.equal(D(images, y), D(images, y))  # at rest it stands still


@each_family
def test_without_spectral_norm_weights_are_free(model: str) -> None:
    D = build_discriminator(small(model=model, d_norm="none"))
    assert not any(hasattr(m, "parametrizations") for m in D.modules())
    assert not any(hasattr(m, "parametrizations") for m in build_generator(small(model=model)).modules())


def test_default_norms_are_the_papers() -> None:
    expected = {"mlp": (False, False, False), "dcgan": (True, True, False)} | dict.fromkeys(
        ("sn-conv", "sn-resnet"), (True, False, True)
    )
    for model in FAMILIES:
        G, D = build_generator(small(model=model)), build_discriminator(small(model=model))
        batch = [any(isinstance(m, BatchNorm) for m in network.modules()) for network in (G, D)]
        assert (*batch, any(hasattr(m, "parametrizations") for m in D.modules())) == expected[model], model


# --- classes ---------------------------------------------------------------------------------------------------------


def first_layer(network: nn.Module) -> nn.Module:
    return next(m for m in network.modules() if isinstance(m, WEIGHTED))


@each_family
def test_concat_puts_one_hot_beside_z_and_maps_beside_the_picture(model: str) -> None:
    config = small(model=model, conditioning="concat", channels=3)
    G, D, z, images = (
        build_generator(config),
        build_discriminator(config),
        sample_prior(config, 6),
        torch.randn(6, 3, 28, 28),
    )
    one_hot = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0], [1, 0, 0]]).float()
    assert torch.equal(seen(first_layer(G), lambda: G(z, LABELS))[0], torch.cat([z, one_hot], 1))
    came = seen(first_layer(D), lambda: D(images, LABELS))[0].view(6, 6, 28, 28)
    assert torch.equal(came[:, :3], images)
    assert torch.equal(came[:, 3:], one_hot[:, :, None, None].expand(-1, -1, 28, 28))


@conditional_ones
def test_each_picture_has_the_class_asked_for(config: Config) -> None:
    """In another batch it is the same; with another class it is not."""
    config = config.replace(g_init="library", d_init="library")
    G, D = build_generator(config).eval(), build_discriminator(config).eval()
    with torch.no_grad():
        for module in G.modules():
            if isinstance(module, nn.Embedding):
                module.weight.add_(torch.randn_like(module.weight))
        z = sample_prior(config, 1).expand(6, -1)
        images = G(z, LABELS)
        torch.testing.assert_close(images.flip(0), images)  # LABELS read the same backwards
        assert (images[0] - images[1]).abs().max() > 1e-3 and (images[1] - images[2]).abs().max() > 1e-3
        logits = D(images[:1].expand(6, -1, -1, -1), LABELS)
        torch.testing.assert_close(logits.flip(0), logits)
        assert len(set(logits[:3].tolist())) == 3


@pytest.mark.parametrize("d_norm", ["none", "spectral"])
@pytest.mark.parametrize("model", ["dcgan", "sn-conv", "sn-resnet"])
def test_projection_is_an_inner_product_with_the_class(model: str, d_norm: str) -> None:
    """Miyato & Koyama 2018, eq. 3: what two classes differ by is <e1 - e2, h>; the rest knows no class."""
    D = build_discriminator(small(model=model, conditioning="projection", d_norm=d_norm, d_init="library")).eval()
    images, ones = torch.randn(6, 1, 28, 28), torch.ones(6, dtype=torch.int64)
    with torch.no_grad():
        h, _ = seen(D.head, lambda: D(images, LABELS))
        difference = D(images, LABELS) - D(images, ones)
        e = D.head.embedding.weight
        torch.testing.assert_close(difference, ((e[LABELS] - e[1]) * h).sum(1), rtol=1e-3, atol=1e-4)
        assert difference.abs().max() > 0.05
        rest = D(images, LABELS) - (e[LABELS] * h).sum(1)
        torch.testing.assert_close(rest, D.head.linear(h)[:, 0], rtol=1e-3, atol=1e-4)


def test_classes_count_only_where_networks_are_told_of_them() -> None:
    some = small(classes=CLASSES)  # of a data set, without conditioning
    assert some.num_classes == 0 and num_parameters(build_generator(some)) == num_parameters(build_generator(small()))
    for conditioning in ("concat", "projection"):
        for build in (build_generator, build_discriminator):
            with pytest.raises(ConfigError, match=f"conditioning is '{conditioning}', but no classes"):
                build(small(conditioning=conditioning, classes=()))


# --- first weights ---------------------------------------------------------------------------------------------------


def weights(network: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Every weight matrix (out, in) as it was filled, before spectral norm, and the classes' embedding."""
    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, WEIGHTED)]
    layers += [(n, m.embedding) for n, m in network.named_modules() if isinstance(m, Head) and m.embedding is not None]
    found = []
    for name, layer in layers:
        weight = layer.parametrizations.weight.original if hasattr(layer, "parametrizations") else layer.weight
        found.append((name, weight.detach().flatten(1)))
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            found.append((f"{name}.bias", layer.bias.detach()[None]))
    return found


@family_and_conditioning
@pytest.mark.parametrize("init", ["default", "library", "normal", "orthogonal"])
def test_first_weights_are_as_asked_for(model: str, init: str, conditioning: str) -> None:
    """N(0, 0.02): Radford 2015; orthogonal rows or columns: Saxe 2014; torch's own: uniform up to 1/sqrt(fan-in)."""
    config = small(model=model, width=32, conditioning=conditioning, g_init=init, d_init=init)
    init = {"mlp": "library", "dcgan": "normal"}.get(model, "orthogonal") if init == "default" else init
    for network in (build_generator(config), build_discriminator(config)):
        for name, w in weights(network):
            if name.endswith("bias"):
                assert w.any() == (init == "library"), name
            elif init == "normal":
                error = 0.02 / math.sqrt(w.numel())  # standard error of a mean
                assert abs(w.mean().item()) < 5 * error and abs(w.std().item() - 0.02) < 5 * error, name
                assert w.abs().max() > 0.02 * math.sqrt(3), name  # not uniform
            elif init == "orthogonal":
                product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
                torch.testing.assert_close(product, torch.eye(len(product)), rtol=0, atol=1e-5)
            elif not name.endswith("embedding") and "ups" not in name and name != "head":
                limit = 1 / math.sqrt(w.shape[1])
                assert w.abs().max() <= limit and w.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.15), name


@pytest.mark.parametrize("init", ["library", "normal", "orthogonal"])
def test_norms_begin_with_scale_one_and_shift_zero(init: str) -> None:
    """But N(1, 0.02) in DCGAN's own way (its code); those of classes exactly one, so that all begin alike."""
    for config in (small(width=64, g_init=init), small(width=64, g_init=init, conditioning="projection")):
        for norm in (m for m in build_generator(config).modules() if isinstance(m, BatchNorm)):
            conditional = isinstance(norm, ConditionalBatchNorm)
            gain, shift = (norm.gain.weight, norm.shift.weight) if conditional else (norm.weight, norm.bias)
            assert not shift.any()
            if init == "normal" and not conditional:
                error = 0.02 / math.sqrt(gain.numel())
                assert abs(gain.mean().item() - 1) < 5 * error and abs(gain.std().item() - 0.02) < 5 * error
            else:
                assert (gain == 1).all()


@each_family
def test_weights_come_from_torchs_own_seed(model: str) -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(build_generator(small(model=model)).parameters())

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


# --- parameters, counted by hand -------------------------------------------------------------------------------------


def linear(n: int, m: int, bias: bool = True) -> int:
    return n * m + m * bias


def conv(n: int, m: int, kernel: int, bias: bool = True) -> int:
    return n * m * kernel**2 + m * bias


def mlp(c: Config) -> tuple[int, int]:
    pixels = c.channels * c.image_size**2
    w, v, more = c.width, c.d_width or c.width, c.hidden_layers - 1
    return (
        linear(c.latent_dim, w) + linear(w, w) * more + linear(w, pixels),
        linear(pixels, v) + linear(v, v) * more + linear(v, 1),
    )


def dcgan(c: Config) -> tuple[int, int]:
    """Widths w, 2w, 4w from the picture inwards; the innermost kernel is 3 for 28 pixels; a bias only without norm."""
    w, k, plain = c.width, 3 if c.image_size == 28 else 4, c.d_norm == "none"
    norms_g, norms_d = 2 * (4 * w + 2 * w + w), 2 * (2 * w + 4 * w) * (not plain)  # a scale and a shift a feature
    ups = conv(4 * w, 2 * w, k, False) + conv(2 * w, w, 4, False) + conv(w, c.channels, 4)
    downs = conv(c.channels, w, 4) + conv(w, 2 * w, 4, plain) + conv(2 * w, 4 * w, k, plain)
    return linear(c.latent_dim, 4 * w * 16, False) + norms_g + ups, downs + norms_d + linear(4 * w * 16, 1)


def sn_conv(c: Config) -> tuple[int, int]:
    """With projection: in G a scale and a shift a class and feature, in D a number a class and feature."""
    w, v, k = c.width, c.d_width or c.width, len(c.classes)
    features, start = ([4 * w, 2 * w, w], 7) if c.image_size == 28 else ([6 * w, 4 * w, 2 * w, w], 4)
    ups = sum(conv(n, m, 4, False) for n, m in pairwise(features)) + conv(w, c.channels, 3)
    downs = conv(c.channels, v, 4) + conv(v, 2 * v, 3) + conv(2 * v, 2 * v, 4)
    downs += conv(2 * v, 4 * v, 3) + conv(4 * v, 4 * v, 3)
    if c.image_size == 32:
        halving = conv(v, 2 * v, 4) + conv(2 * v, 4 * v, 4) + conv(4 * v, 8 * v, 4)
        downs = conv(c.channels, v, 3) + halving + sum(conv(n * v, n * v, 3) for n in (2, 4, 8))
    last = 4 * v if c.image_size == 28 else 8 * v
    project = linear(c.latent_dim, features[0] * start**2, False)
    return project + 2 * k * sum(features) + ups, downs + linear(last, 1) + k * last


def sn_resnet(c: Config) -> tuple[int, int]:
    """32 pixels. A block: two 3x3 convolutions, a 1x1 shortcut where anything changes, and in G two norms."""
    w, v, k = c.width // 3, c.d_width, len(c.classes)
    body = [(n, m, conv(n, m, 3) + conv(m, m, 3)) for n, m in pairwise([10 * w, 10 * w, 6 * w, 3 * w])]
    blocks_g = sum(count + conv(n, m, 1) + 2 * k * (n + m) for n, m, count in body)
    blocks_d = (conv(3, v, 3) + conv(v, v, 3) + conv(3, v, 1)) + (conv(v, 2 * v, 3) + conv(v, 2 * v, 1))
    blocks_d += conv(2 * v, 2 * v, 3) * 5
    return (
        linear(c.latent_dim, 10 * w * 16) + blocks_g + 2 * k * 3 * w + conv(3 * w, 3, 3),
        blocks_d + linear(2 * v, 1) + k * 2 * v,
    )


COUNTS = {
    "mnist-mlp": (mlp, 488_464, 187_969),
    "mnist-mlp3": (mlp, 283_920, 267_009),
    "mnist-mlp-simple": (mlp, 114_064, 100_609),
    "mnist-5k-dcgan": (dcgan, 837_505, 431_937),
    "mnist-dcgan": (dcgan, 312_257, 109_473),
    "mnist-dcgan-dropout": (dcgan, 312_257, 109_473),
    "fashion-dcgan": (dcgan, 312_257, 109_473),
    "cifar10-dcgan": (dcgan, 370_627, 167_841),
    "cifar10-dcgan-class": (dcgan, 370_627, 167_841),
    "mnist-wgan-gp": (dcgan, 837_505, 431_553),
    "mnist-rpgan": (sn_conv, 396_793, 77_457),
    "mnist-sn": (sn_conv, 396_793, 77_457),
    "fashion-sn": (sn_conv, 396_793, 77_457),
    "cifar10-sn": (sn_conv, 467_691, 367_873),
    "cifar10-resnet": (sn_resnet, 3_854_659, 1_932_769),
}


def test_every_published_preset_is_counted() -> None:
    assert set(COUNTS) == set(PRESETS) - set(BROKEN)


@pytest.mark.parametrize("name", COUNTS)
def test_every_preset_has_the_parameters_of_its_layers(name: str) -> None:
    by_hand, *figures = COUNTS[name]
    config = PRESETS[name]
    if config.conditioning != "none":
        config = config.replace(classes=tuple("0123456789"))
    assert by_hand(config) == tuple(figures)
    assert [num_parameters(build_generator(config)), num_parameters(build_discriminator(config))] == figures


# --- dropout ---------------------------------------------------------------------------------------------------------


@each_family
def test_dropout_is_there_when_asked_for_and_in_training_only(model: str) -> None:
    images = torch.randn(8, 1, 28, 28)
    D = build_discriminator(small(model=model, d_dropout=0.5, d_norm="none"))
    assert not torch.equal(D(images), D(images))
    D.eval()
    assert torch.equal(D(images), D(images))
    without = build_discriminator(small(model=model, d_dropout=0.0, d_norm="none"))
    assert torch.equal(without(images), without(images))


@each_family
def test_dropout_drops_the_share_asked_for(model: str) -> None:
    """Single features of the mlp, whole maps of the others: after each layer or block."""
    D, shares = build_discriminator(small(model=model, width=64, d_dropout=0.3)), []
    for layer in D.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.register_forward_hook(
                lambda _, __, out: shares.append((out.reshape(64, out.shape[1], -1) == 0).all(2))
            )
    with torch.no_grad():
        D(torch.randn(64, 1, 28, 28))
    assert len(shares) == {"mlp": 2, "dcgan": 3, "sn-conv": 5, "sn-resnet": 4}[model]
    shares = [share.float().mean().item() for share in shares]
    assert shares == pytest.approx([0.3] * len(shares), abs=0.04)  # of 64 x 64 features or more: 5 sigma


@each_family
def test_the_generator_has_no_dropout(model: str) -> None:
    config = small(model=model, d_dropout=0.9)
    G, z = build_generator(config), sample_prior(config, 4)
    assert torch.equal(G(z), G(z))


# --- what can't go together ------------------------------------------------------------------------------------------

TELLS = dict(conditioning="projection", classes=CLASSES)
NOT_TOGETHER: list[tuple[dict, dict, str]] = [  # each, what sets it right, and the field that is named
    (dict(model="mlp", **TELLS), dict(conditioning="concat"), "conditioning"),
    (dict(model="sn-resnet", g_norm="batch-all"), dict(g_norm="batch"), "g_norm"),
    (dict(model="sn-resnet", d_norm="batch"), dict(d_norm="spectral"), "d_norm"),
    (dict(model="sn-resnet", d_norm="batch-all"), dict(model="dcgan"), "d_norm"),
    (dict(model="dcgan", g_norm="none", **TELLS), dict(conditioning="concat"), "conditioning"),
    (dict(model="sn-conv", g_norm="none", **TELLS), dict(g_norm="batch"), "g_norm"),
    (dict(d_batches="merged", batch_size=9), dict(batch_size=8), "batch_size"),
    *[(dict(loss=loss, label_smoothing=0.1), dict(label_smoothing=0.0), "label_smoothing") for loss in
      ("wasserstein", "hinge", "relativistic")],
    (dict(loss="hinge", label_flip=0.1), dict(loss="least-squares"), "label_flip"),
    *[(dict(model="dcgan", **{name: 1.0}), dict(d_norm="none"), name) for name in
      ("r1_gamma", "r2_gamma", "gradient_penalty")],
    (dict(model="mlp", d_norm="batch-all", r1_gamma=1.0), dict(d_norm="spectral"), "r1_gamma"),
    (dict(model="sn-conv", weight_clip=0.01), dict(d_norm="none"), "weight_clip"),
    (dict(model="mlp", compile=True, r1_gamma=1.0), dict(compile=False), "compile"),
]  # fmt: skip


@pytest.mark.parametrize(("together", "right", "field"), NOT_TOGETHER)
def test_what_can_not_go_together_is_refused_and_named(together: dict, right: dict, field: str) -> None:
    with pytest.raises(ConfigError, match=rf"\b{field}\b"):
        Config(**together)
    config = Config(**{**together, **right}).replace(width=8)
    assert build_generator(config) and build_discriminator(config)


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
