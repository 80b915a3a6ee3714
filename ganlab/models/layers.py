"""What the families share: normalisation that may know the class, first weights, and D's last layer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ganlab.config import Config

WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm (Ioffe & Szegedy 2015) of vectors (N, F) or pictures (N, F, H, W); labels are ignored."""

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(x)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        assert input.dim() in (2, 4)


class ConditionalBatchNorm(BatchNorm):
    """Batch norm whose scale and shift are looked up by class (Dumoulin et al. 2017, eq. 5; Miyato & Koyama 2018)."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__(features, affine=False)
        self.gain = nn.Embedding(num_classes, features)
        self.shift = nn.Embedding(num_classes, features)

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        assert y is not None
        ones = (1,) * (x.dim() - 2)
        gain, shift = (table(y).unflatten(1, (-1, *ones)) for table in (self.gain, self.shift))
        return torch.addcmul(shift, gain, super().forward(x))


class NoNorm(nn.Identity):
    """In the place of a norm, where there is none."""

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return x


def feature_norm(kind: str, features: int, num_classes: int = 0) -> nn.Module:
    """A norm (x, y) -> x of `kind` "batch" or none at all; with classes its scale and shift depend on the label."""
    if kind not in ("batch", "batch-all"):
        return NoNorm()
    return ConditionalBatchNorm(features, num_classes) if num_classes else BatchNorm(features)


def g_norm(config: Config, features: int, last: bool = False) -> nn.Module:
    """G's norm after a layer of `features`; in the last layer only if the config says "batch-all"."""
    kind = config.norms[0]
    if last and kind != "batch-all":
        return NoNorm()
    return feature_norm(kind, features, config.num_classes if config.conditioning == "projection" else 0)


def d_norm(config: Config, features: int, first: bool = False) -> nn.Module:
    """D's norm after a layer of `features`; in the first layer only if the config says "batch-all"."""
    return NoNorm() if first and config.norms[1] != "batch-all" else feature_norm(config.norms[1], features)


class Activation(nn.LeakyReLU):
    """LeakyReLU(slope), which is ReLU at slope 0. In place: nothing else reads what comes in."""

    def __init__(self, slope: float) -> None:
        super().__init__(slope, inplace=True)


def g_activation(config: Config) -> nn.Module:
    """ReLU or LeakyReLU, as configured for G."""
    return Activation(config.leaky_slope) if config.g_activation == "leaky-relu" else nn.ReLU(inplace=True)


def with_class(config: Config, z: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
    """z (N, latent_dim), followed by the class as a one-hot vector if the config concatenates it (Mirza 2014)."""
    if config.conditioning != "concat":
        return z
    assert y is not None
    return torch.cat([z, F.one_hot(y, config.num_classes).to(z)], 1)


def with_class_maps(config: Config, images: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
    """Pictures (N, C, H, W), followed by one constant map a class if the config concatenates it."""
    if config.conditioning != "concat":
        return images
    assert y is not None
    maps = F.one_hot(y, config.num_classes).to(images)[:, :, None, None].expand(-1, -1, *images.shape[2:])
    return torch.cat([images, maps], 1)


def laid_out_for(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """x (N, C, H, W) in the memory layout of a convolution's weight, so that no layer on the way meets two layouts."""
    last = layer.get_parameter("weight").is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def num_concatenated(config: Config) -> int:
    """Numbers that `with_class` and channels that `with_class_maps` add."""
    return config.num_classes if config.conditioning == "concat" else 0


class Head(nn.Module):
    """D's logit of features (N, F): linear, plus <embedding of the class, features> (Miyato & Koyama 2018, eq. 3)."""

    def __init__(self, config: Config, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.embedding = nn.Embedding(config.num_classes, features) if config.conditioning == "projection" else None

    def forward(self, features: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        logits = self.linear(features).squeeze(1).float()  # the loss in full precision, under autocast too
        if self.embedding is not None:
            assert y is not None
            logits = logits + (self.embedding(y) * features.float()).sum(1)
        return logits


def prepare(network: nn.Module, init: str, spectral: bool = False) -> None:
    """First weights, then spectral norm of every weight matrix if asked for (Miyato et al. 2018, algorithm 1).

    `init`: "library" keeps torch's own; "normal" is N(0, 0.02), and N(1, 0.02) for batch norm's scales (Radford et al.
    2015); "orthogonal": Saxe et al. 2014.
    """
    embeddings = []
    for module in network.modules():
        if isinstance(module, ConditionalBatchNorm):
            nn.init.ones_(module.gain.weight)
            nn.init.zeros_(module.shift.weight)
        elif isinstance(module, Head) and module.embedding is not None:
            embeddings.append(module.embedding)
    weighted = [m for m in network.modules() if isinstance(m, WEIGHTED)]
    if init != "library":
        fill = nn.init.orthogonal_ if init == "orthogonal" else lambda weight: nn.init.normal_(weight, 0.0, 0.02)
        for layer in [*weighted, *embeddings]:
            fill(layer.weight)
            if getattr(layer, "bias", None) is not None:
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    if init == "normal":
        for module in network.modules():
            if isinstance(module, BatchNorm) and module.affine:
                nn.init.normal_(module.weight, 1.0, 0.02)
    if spectral:
        for layer in [*weighted, *embeddings]:
            spectral_norm(layer)
