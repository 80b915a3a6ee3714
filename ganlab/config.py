"""Every hyperparameter once: type, default, range, unit and help. The CLI and the app's sliders are built from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ganlab.errors import ConfigError

SCHEMA = 1  # of config.yaml and of every file that carries a config


def _hyper(
    default: Any,
    help: str,
    *,
    group: str,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    unit: str = "",
    scale: Literal["linear", "decades", "doublings"] = "linear",
    aliases: tuple[str, ...] = (),
    live: bool = False,
    free: bool = False,
) -> Any:
    """A field with what a person needs to set it.

    `low`, `high`: inclusive limits; `step`: a slider's increment, on a linear `scale`;
    others offer 1, 2, 5, 10, … (decades) or 8, 16, 32, … (doublings);
    `aliases`: names that tutorials use for it; `live`: may change while the run goes on;
    `free`: may differ when a run is resumed, since it changes how far or how often, not what is computed.
    """
    return field(
        default=default,
        metadata=dict(
            help=help,
            group=group,
            low=low,
            high=high,
            step=step,
            unit=unit,
            scale=scale,
            aliases=aliases,
            live=live,
            free=free,
        ),
    )


@dataclass(frozen=True)
class Config:
    """The complete description of a training run. Two runs with equal configs on one CPU are equal bit for bit."""

    # What to learn from
    data: str = _hyper(
        "mnist-5k",
        "Data set: a name (mnist-5k, mnist, fashion-mnist, cifar10), or a folder or zip of images.",
        group="data",
    )
    classes: tuple[str, ...] = _hyper((), "Use only these classes. Empty: all.", group="data", aliases=("class-name",))
    image_size: Literal[28, 32] = _hyper(
        28, "Height and width of the pictures; others are resized and centre-cropped.", group="data", unit="pixels"
    )
    channels: Literal[1, 3] = _hyper(1, "1 for grey, 3 for colour.", group="data")

    # Networks
    model: Literal["mlp", "dcgan"] = _hyper(
        "dcgan", "Network family: mlp (Goodfellow 2014), dcgan (Radford 2015).", group="networks"
    )
    width: int = _hyper(
        64,
        "Features of each hidden layer (mlp), or of the last one before the picture (dcgan; those before have 2 and 4 "
        "times as many). 64 in the DCGAN paper.",
        group="networks",
        low=8,
        high=1024,
        scale="doublings",
        unit="features",
    )
    latent_dim: int = _hyper(
        100,
        "Numbers in the latent vector z that the generator turns into a picture.",
        group="networks",
        low=2,
        high=512,
        scale="doublings",
        aliases=("encoding-dims", "latent-vector-length"),
    )
    prior: Literal["normal", "uniform"] = _hyper(
        "normal", "Distribution of z: normal, or uniform in [-1, 1].", group="networks"
    )
    d_dropout: float = _hyper(
        0.0,
        "Share of the discriminator's features dropped in training.",
        group="networks",
        low=0.0,
        high=0.9,
        step=0.05,
    )

    # Optimisation
    batch_size: int = _hyper(
        128,
        "Real pictures (and as many generated ones) in one step.",
        group="optimisation",
        low=2,
        high=2048,
        scale="doublings",
        unit="images",
    )
    learning_rate: float = _hyper(
        2e-4,
        "Adam's step size, for both networks. Lower it if training turns unstable.",
        group="optimisation",
        low=1e-6,
        high=0.1,
        scale="decades",
        live=True,
    )
    beta1: float = _hyper(
        0.5,
        "Adam's memory of the gradient's direction. GANs like it low.",
        group="optimisation",
        low=0.0,
        high=0.999,
        step=0.05,
        aliases=("beta-1",),
    )
    beta2: float = _hyper(
        0.999,
        "Adam's memory of the gradient's size.",
        group="optimisation",
        low=0.0,
        high=0.9999,
        step=0.001,
        aliases=("beta-2",),
    )
    d_steps: int = _hyper(
        1, "Discriminator steps for each generator step.", group="optimisation", low=1, high=10, step=1, live=True
    )
    label_smoothing: float = _hyper(
        0.0,
        "One-sided: the discriminator is told 1 - this for real pictures.",
        group="optimisation",
        low=0.0,
        high=0.5,
        step=0.05,
        live=True,
    )
    ema_half_life: int = _hyper(
        50_000,
        "The saved generator is a moving average of its weights over about this many images. 0: no averaging.",
        group="optimisation",
        low=0,
        high=1_000_000,
        scale="decades",
        unit="images",
        live=True,
    )
    precision: Literal["auto", "float32", "bfloat16"] = _hyper(
        "auto",
        "Arithmetic in training. auto: bfloat16 where the processor has it, which is faster; weights stay float32.",
        group="optimisation",
    )

    # How long, and how often to look
    epochs: float = _hyper(
        25.0,
        "Passes over the data set.",
        group="schedule",
        low=0.01,
        high=10_000,
        scale="decades",
        aliases=("n-epochs",),
        free=True,
    )
    steps: int | None = _hyper(
        None,
        "Generator steps to train for, instead of epochs.",
        group="schedule",
        low=1,
        high=100_000_000,
        scale="decades",
        unit="steps",
        free=True,
    )
    log_every: int = _hyper(
        10, "Steps between two lines of metrics.", group="schedule", low=1, high=10_000, scale="decades", unit="steps"
    )
    sample_every: int = _hyper(
        200,
        "Steps between two grids of the same fixed noise.",
        group="schedule",
        low=1,
        high=100_000,
        scale="decades",
        unit="steps",
    )
    save_every: int = _hyper(
        500,
        "Steps between two saves of the exact training state and of a snapshot.",
        group="schedule",
        low=1,
        high=1_000_000,
        scale="decades",
        unit="steps",
        free=True,
    )
    seed: int = _hyper(
        0, "Seed of everything random. Same seed, same run.", group="schedule", low=0, high=2**31 - 1, step=1
    )

    def __post_init__(self) -> None:
        types = hints()
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _checked(f, types[f.name], getattr(self, f.name)))

    def total_steps(self, num_images: int) -> int:
        """Generator steps that this config asks for on a data set of `num_images` pictures."""
        if self.steps is not None:
            return self.steps
        images = Fraction(str(self.epochs)) * num_images  # exact: 1.1 * 5000 is more than 5500 in floating point
        return max(1, math.ceil(images / (self.batch_size * self.d_steps)))

    def replace(self, **changes: Any) -> Config:
        """A copy with `changes`, checked like the original. Raises ConfigError for an unknown name."""
        return from_dict({**to_dict(self), **changes})


@cache
def hints() -> dict[str, Any]:
    """The type of every field, by name."""
    return get_type_hints(Config)


def _checked(f: dataclasses.Field, hint: Any, value: Any) -> Any:
    """`value` as the field's type, or a ConfigError that names the field, the value and what is allowed."""
    low, high = f.metadata["low"], f.metadata["high"]
    if get_origin(hint) is Literal:
        for choice in get_args(hint):
            if value == choice and not isinstance(value, bool):
                return choice
        raise ConfigError(f"{f.name} is {value!r}; choose one of {', '.join(map(str, get_args(hint)))}.")
    if f.name == "classes":
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ConfigError(f"classes is {value!r}; give a list of class names.")
        return tuple(str(name) for name in value)
    if hint is str:
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{f.name} is {value!r}; give a name or a path.")
        return value
    if value is None and type(None) in get_args(hint):
        return None
    number, kind = (float, "number") if hint is float else (int, "whole number")
    given = isinstance(value, int | float) and not isinstance(value, bool)
    if not (given and low <= value <= high and number(value) == value):
        raise ConfigError(f"{f.name} is {value!r}; give a {kind} from {low:,} to {high:,}.")
    return number(value)


def to_dict(config: Config) -> dict[str, Any]:
    """The config as plain JSON and YAML values."""
    values = dataclasses.asdict(config)
    values["classes"] = list(values["classes"])
    return values


def from_dict(values: Mapping[str, Any]) -> Config:
    """The inverse of `to_dict`; missing fields take their default, unknown ones raise ConfigError."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"A configuration is hyperparameters by name, not {values!r}.")
    known = [f.name for f in dataclasses.fields(Config)]
    unknown = sorted(str(name) for name in set(values) - set(known))
    if unknown:
        raise ConfigError(f"Unknown hyperparameter: {', '.join(unknown)}. Known: {', '.join(known)}.")
    return Config(**dict(values))


def differences(old: Config, new: Config, *, ignore_free: bool = True) -> dict[str, tuple[Any, Any]]:
    """Fields in which two configs differ, as {name: (old, new)}; by default only those that a resume may not change."""
    return {
        f.name: (getattr(old, f.name), getattr(new, f.name))
        for f in dataclasses.fields(Config)
        if getattr(old, f.name) != getattr(new, f.name) and not (ignore_free and f.metadata["free"])
    }
