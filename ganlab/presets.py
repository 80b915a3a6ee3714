"""Named starting points. A released model bears the name of its preset."""

from __future__ import annotations

from ganlab.config import Config
from ganlab.errors import ConfigError

_ROWS: dict[str, dict] = {
    # 28x28 grey
    "mnist-5k-dcgan": dict(data="mnist-5k",     model="dcgan", width=64,  prior="normal",  epochs=60,
                           batch_size=64, sample_every=100),
    "mnist-mlp":      dict(data="mnist",         model="mlp",   width=512, prior="uniform", d_dropout=0.3, epochs=50),
    "mnist-dcgan":    dict(data="mnist",         model="dcgan", width=64,  prior="normal",  epochs=20),
    "fashion-dcgan":  dict(data="fashion-mnist", model="dcgan", width=64,  prior="normal",  epochs=20),
    # 32x32 colour
    "cifar10-dcgan":  dict(data="cifar10",       model="dcgan", width=64,  prior="normal",  epochs=50,
                           image_size=32, channels=3),
}  # fmt: skip

PRESETS: dict[str, Config] = {name: Config(**row) for name, row in _ROWS.items()}


def preset(name: str) -> Config:
    """The config of a preset. Raises ConfigError that lists the known names."""
    if name not in PRESETS:
        raise ConfigError(f"No preset is called {name!r}. Known: {', '.join(PRESETS)}.")
    return PRESETS[name]
