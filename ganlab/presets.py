"""Named starting points. A released model bears the name of its preset."""

from __future__ import annotations

from ganlab.config import Config
from ganlab.errors import ConfigError

_MNIST: dict = dict(data="mnist", image_size=28, channels=1)
_FASHION: dict = dict(data="fashion-mnist", image_size=28, channels=1)
_CIFAR: dict = dict(data="cifar10", image_size=32, channels=3)
_SN: dict = dict(model="sn-conv", d_width=32, latent_dim=64, conditioning="projection", loss="hinge", batch_size=64,
           beta1=0.0, beta2=0.9, leaky_slope=0.1)  # fmt: skip
# large steps, the last half of them shorter and shorter: on digits a fifth of the distance that 0.0005 and 0.001 leave
_FAST: dict = dict(width=24, d_width=16, learning_rate=0.001, d_learning_rate=0.002, lr_schedule="linear",
             lr_decay_from=0.5)  # fmt: skip

# half the usual width: a third of the parameters, twice as fast, and small enough to be released with its history
_DCGAN: dict = dict(model="dcgan", width=32)

_BROKEN: dict = dict(data="mnist-5k", model="mlp", width=128, latent_dim=64, batch_size=64, steps=4000,
               sample_every=100, score_every=200)  # fmt: skip

_ROWS: dict[str, dict] = {
    # as published: Goodfellow 2014; the three-layer and the one-layer GAN of many tutorials
    "mnist-mlp":           _MNIST | dict(model="mlp", width=384, d_width=192, prior="uniform", d_dropout=0.5,
                                d_batches="merged", epochs=50, score_every=1000),
    "mnist-mlp3":          _MNIST | dict(model="mlp", width=256, latent_dim=64, batch_size=100, beta1=0.9, epochs=100,
                                score_every=2000),
    "mnist-mlp-simple":    _MNIST | dict(model="mlp", width=128, hidden_layers=1, g_activation="leaky-relu",
                                leaky_slope=0.01, prior="uniform", label_smoothing=0.1, batch_size=100,
                                learning_rate=0.001, beta1=0.9, epochs=100, score_every=2000),
    # Radford 2015, and what tutorials made of it
    "mnist-5k-dcgan":      dict(data="mnist-5k", model="dcgan", batch_size=64, epochs=60, sample_every=100,
                                score_every=250),
    "mnist-dcgan":         _MNIST | _DCGAN | dict(epochs=30),
    "mnist-dcgan-dropout": _MNIST | _DCGAN | dict(d_dropout=0.3, epochs=30),
    "fashion-dcgan":       _FASHION | _DCGAN | dict(epochs=30),
    "cifar10-dcgan":       _CIFAR | _DCGAN | dict(epochs=40),
    "cifar10-dcgan-class": _CIFAR | _DCGAN | dict(classes=("cat",), batch_size=32, epochs=100, score_every=2000),
    # Wasserstein with gradient penalty: Gulrajani 2017; relativistic pairs with R1 and R2: Huang 2024
    "mnist-wgan-gp":       _MNIST | dict(model="dcgan", d_norm="none", loss="wasserstein", gradient_penalty=10.0,
                                d_steps=5, batch_size=64, learning_rate=1e-4, beta1=0.0, beta2=0.9, epochs=50),
    "mnist-rpgan":         _MNIST | _SN | dict(width=24, d_width=16, loss="relativistic", d_norm="none", r1_gamma=1.0,
                                r2_gamma=1.0, leaky_slope=0.2, beta2=0.99, epochs=30),
    # Miyato 2018: spectral norm and projection
    "mnist-sn":            _MNIST | _SN | _FAST | dict(epochs=12),
    "fashion-sn":          _FASHION | _SN | _FAST | dict(epochs=20),
    "cifar10-sn":          _CIFAR | _SN | _FAST | dict(mirror=True, ema_half_life=50_000, epochs=30),
    "cifar10-resnet":      _CIFAR | _SN | dict(model="sn-resnet", width=96, d_width=96, latent_dim=128, leaky_slope=0.0,
                                batch_size=128, d_steps=2, mirror=True, lr_schedule="linear", lr_decay_from=0.6,
                                ema_half_life=500_000, epochs=200, save_every=2000, score_every=5000),
    # made to fail: see BROKEN
    "broken-learning-rate": _BROKEN | dict(learning_rate=0.05),
    "broken-strong-d":     _BROKEN | dict(loss="minimax", d_steps=5, d_learning_rate=0.001),
    "broken-weak-d":       _BROKEN | dict(learning_rate=0.001, d_learning_rate=1e-6),
    "broken-collapse":     _BROKEN | dict(g_steps=5, learning_rate=0.001, beta1=0.9),
}  # fmt: skip

BROKEN: dict[str, str] = {  # presets that fail on purpose, each in about a minute, and what one will see
    "broken-learning-rate": "Steps far too large: within seconds the losses explode, and the training ends itself.",
    "broken-strong-d": "D learns five times as often: it tells every picture within seconds, its loss falls to 0, G's "
    "gradient with it, and the pictures stay noise.",
    "broken-weak-d": "D hardly learns: G fools it at once, D(G(z)) rises above D(x), and nothing asks for better "
    "pictures.",
    "broken-collapse": "G learns five times as often as D, and flees to what D likes at the moment: always one and the "
    "same picture.",
}

PRESETS: dict[str, Config] = {name: Config(**row) for name, row in _ROWS.items()}


def preset(name: str) -> Config:
    """The config of a preset. Raises ConfigError that lists the known names."""
    if name not in PRESETS:
        raise ConfigError(f"No preset is called {name!r}. Known: {', '.join(PRESETS)}.")
    return PRESETS[name]
