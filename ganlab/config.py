"""Every hyperparameter once: type, default, range, unit and help. The CLI and the app's sliders are built from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from ganlab.errors import ConfigError

SCHEMA = 1  # of config.yaml and of every file that carries a config


def _hyper(default: Any, help: str, group: str, **facts: Any) -> Any:
    """A field with what a person needs to set it.

    Facts: `low`, `high`: inclusive limits; `step`: a slider's increment, on a linear `scale`; other scales offer 1, 2,
    5, 10, … ("decades") or 8, 16, 32, … ("doublings"); `unit`; `none`: what the absence of a value means;
    `aliases`: names that tutorials use for it; `live`: may change while the run goes on;
    `free`: may differ when a run is resumed, since it changes how far or how often, not what is computed;
    `shape`: decides the networks' tensors, so that not even a fork can change it.
    """
    known = dict(low=None, high=None, step=None, scale="linear", unit="", none="", aliases=(), live=False, free=False,
                 shape=False)  # fmt: skip
    assert not facts.keys() - known.keys(), facts
    return field(default=default, metadata={**known, **facts, "help": help, "group": group})


# fmt: off
@dataclass(frozen=True)
class Config:
    """The complete description of a training run. Two runs with equal configs on one CPU are equal bit for bit."""

    # What to learn from
    data: str = _hyper(
        "mnist-5k", "Data set: a name (mnist-5k, mnist, fashion-mnist, cifar10), or a folder or zip of images.", "data")
    classes: tuple[str, ...] = _hyper(
        (), "Use only these classes. Empty: all.", "data", aliases=("class-name",))
    image_size: Literal[28, 32] = _hyper(
        28, "Height and width of the pictures; others are resized and centre-cropped.", "data", unit="pixels",
        shape=True)
    channels: Literal[1, 3] = _hyper(
        1, "1 for grey, 3 for colour.", "data", shape=True)
    mirror: bool = _hyper(
        False, "Show D half of the real pictures mirrored left to right. Not for digits.", "data")

    # Networks
    model: Literal["mlp", "dcgan", "sn-conv", "sn-resnet"] = _hyper(
        "dcgan", "Network family: mlp (Goodfellow 2014), dcgan (Radford 2015), sn-conv and sn-resnet (Miyato 2018: "
        "spectral norm in D).", "networks", shape=True)
    width: int = _hyper(
        64, "Features of each hidden layer (mlp), or of G's last one before the picture (others; those before it have "
        "more). 64 in the DCGAN paper.", "networks", low=4, high=2048, scale="doublings", unit="features", shape=True)
    d_width: int | None = _hyper(
        None, "Features of D's hidden layers (mlp), or of its first one (others), where D is not as wide as G.",
        "networks", low=4, high=2048, scale="doublings", unit="features", none="as G", shape=True)
    hidden_layers: int = _hyper(
        2, "Hidden layers of each network. Only mlp has a choice.", "networks", low=1, high=6, step=1, shape=True)
    latent_dim: int = _hyper(
        100, "Numbers in the latent vector z that the generator turns into a picture.", "networks", low=2, high=512,
        scale="doublings", aliases=("encoding-dims", "latent-vector-length"), shape=True)
    prior: Literal["normal", "uniform"] = _hyper(
        "normal", "Distribution of z: normal, or uniform in [-1, 1].", "networks")
    conditioning: Literal["none", "concat", "projection"] = _hyper(
        "none", "How both networks learn of the class. concat: beside z and the picture (Mirza 2014); projection: "
        "conditional batch norm in G, projection in D (Miyato 2018).", "networks", aliases=("conditional",), shape=True)
    g_norm: Literal["default", "none", "batch", "batch-all"] = _hyper(
        "default", "Normalisation in G. batch: everywhere but in the last layer; batch-all: there too; default: none "
        "for mlp, else batch.", "networks", shape=True)
    d_norm: Literal["default", "none", "batch", "batch-all", "spectral"] = _hyper(
        "default", "Normalisation in D. batch: everywhere but in the first layer; batch-all: there too; spectral: of "
        "the weights (Miyato 2018); default: none for mlp, batch for dcgan, spectral for sn-conv and sn-resnet.",
        "networks", shape=True)
    g_activation: Literal["relu", "leaky-relu"] = _hyper(
        "relu", "Activation in G.", "networks", shape=True)
    leaky_slope: float = _hyper(
        0.2, "Slope of LeakyReLU below zero, which D always uses. 0: plain ReLU.", "networks", low=0.0, high=0.5,
        step=0.01, shape=True)
    d_dropout: float = _hyper(
        0.0, "Share of D's features dropped in training.", "networks", low=0.0, high=0.9, step=0.05)
    g_init: Literal["default", "library", "normal", "orthogonal"] = _hyper(
        "default", "First weights of G. library: torch's own; normal: N(0, 0.02), as DCGAN; default: library for mlp, "
        "normal for dcgan, orthogonal for the others.", "networks", shape=True)
    d_init: Literal["default", "library", "normal", "orthogonal"] = _hyper(
        "default", "First weights of D; as for G.", "networks", shape=True)

    # The game
    loss: Literal["non-saturating", "minimax", "least-squares", "wasserstein", "hinge", "relativistic"] = _hyper(
        "non-saturating", "What both networks minimise: non-saturating or minimax (Goodfellow 2014), least-squares "
        "(Mao 2017), wasserstein (Arjovsky 2017), hinge (Lim 2017), relativistic (RpGAN: Jolicoeur-Martineau 2018).",
        "game")
    batch_size: int = _hyper(
        128, "Real pictures (and as many generated ones) in one update.", "game", low=2, high=2048, scale="doublings",
        unit="images")
    d_batches: Literal["separate", "merged"] = _hyper(
        "separate", "Whether D sees real and generated pictures in batches of their own, or half of each in one.",
        "game")
    d_steps: int = _hyper(
        1, "Updates of D in each step.", "game", low=1, high=1000, scale="decades", live=True)
    g_steps: int = _hyper(
        1, "Updates of G in each step, after those of D. With many of both they train by turns.", "game", low=1,
        high=1000, scale="decades", live=True)
    label_smoothing: float = _hyper(
        0.0, "One-sided: D is told 1 - this for real pictures (Salimans 2016).", "game", low=0.0, high=0.5, step=0.05,
        live=True)
    label_flip: float = _hyper(
        0.0, "Share of pictures whose label is swapped when D learns.", "game", low=0.0, high=0.5, step=0.01, live=True)

    # What keeps D in bounds
    r1_gamma: float = _hyper(
        0.0, "Weight of R1: D's squared gradient at real pictures, times this half (Mescheder 2018).", "regularisation",
        low=0.0, high=1000.0, scale="decades")
    r2_gamma: float = _hyper(
        0.0, "Weight of R2: the same at generated pictures.", "regularisation", low=0.0, high=1000.0, scale="decades")
    gradient_penalty: float = _hyper(
        0.0, "Weight of WGAN-GP's penalty: D's gradient between real and generated pictures should have norm 1 "
        "(Gulrajani 2017; 10 there).", "regularisation", low=0.0, high=1000.0, scale="decades", aliases=("gp-lambda",))
    weight_clip: float = _hyper(
        0.0, "D's weights are clipped to plus or minus this after each update (Arjovsky 2017; 0.01 there). 0: never.",
        "regularisation", low=0.0, high=1.0, scale="decades", aliases=("clip-value",))
    instance_noise: float = _hyper(
        0.0, "Standard deviation of noise on every picture that D sees (Sønderby 2017); pictures are in [-1, 1].",
        "regularisation", low=0.0, high=1.0, step=0.01, live=True)
    diffaugment: tuple[Literal["color", "translation", "cutout"], ...] = _hyper(
        (), "Random changes of every picture that D sees, through which G learns (DiffAugment: Zhao 2020).",
        "regularisation")

    # Optimisation
    learning_rate: float = _hyper(
        2e-4, "Adam's step size. Lower it if training turns unstable.", "optimisation", low=1e-6, high=0.1,
        scale="decades", aliases=("lr",), live=True)
    d_learning_rate: float | None = _hyper(
        None, "Step size for D, where it is not that of G (two time scales: Heusel 2017).", "optimisation", low=1e-6,
        high=0.1, scale="decades", none="as G", live=True)
    lr_schedule: Literal["constant", "linear", "cosine"] = _hyper(
        "constant", "How the step sizes fall to 0 by the end of training.", "optimisation")
    lr_decay_from: float = _hyper(
        0.0, "Share of the training after which they begin to fall.", "optimisation", low=0.0, high=0.95, step=0.05)
    warmup_steps: int = _hyper(
        0, "Steps over which they rise at the start.", "optimisation", low=0, high=100_000, scale="decades",
        unit="steps")
    beta1: float = _hyper(
        0.5, "Adam's memory of the gradient's direction. GANs like it low.", "optimisation", low=0.0, high=0.999,
        step=0.05, aliases=("beta-1",))
    beta2: float = _hyper(
        0.999, "Adam's memory of the gradient's size.", "optimisation", low=0.0, high=0.9999, step=0.001,
        aliases=("beta-2",))
    ema_half_life: int = _hyper(
        50_000, "The saved generator is a moving average of its weights over about this many images. 0: no averaging.",
        "optimisation", low=0, high=10_000_000, scale="decades", unit="images", live=True)
    precision: Literal["auto", "float32", "bfloat16"] = _hyper(
        "auto", "Arithmetic in training. auto: bfloat16 where the processor has it, which is faster; weights stay "
        "float32.", "optimisation")
    compile: bool = _hyper(
        False, "Compile both networks with torch.compile: half a minute at the start, then often faster. Needs a C++ "
        "compiler.", "optimisation")

    # How long, and how often to look
    epochs: float = _hyper(
        25.0, "Passes over the data set.", "schedule", low=0.01, high=10_000, scale="decades", aliases=("n-epochs",),
        free=True)
    steps: int | None = _hyper(
        None, "Steps to train for, instead of epochs.", "schedule", low=1, high=100_000_000, scale="decades",
        unit="steps", none="as epochs", free=True)
    log_every: int = _hyper(
        10, "Steps between two lines of metrics.", "schedule", low=1, high=10_000, scale="decades", unit="steps")
    sample_every: int = _hyper(
        200, "Steps between two grids of the same fixed noise.", "schedule", low=1, high=100_000, scale="decades",
        unit="steps")
    save_every: int = _hyper(
        500, "Steps between two saves of the exact training state and of a snapshot.", "schedule", low=1,
        high=1_000_000, scale="decades", unit="steps", free=True)
    keep_states: int = _hyper(
        2, "Exact states kept, the newest; a fork can start from any of them.", "schedule", low=2, high=1000,
        scale="decades", unit="states", free=True)
    score: Literal["auto", "pixel-moments", "none"] = _hyper(
        "auto", "A measure of 2,000 pictures of the averaged generator, lower is better; RUN@best is the snapshot "
        "where it was lowest. auto: the Fréchet distance by the feature network for these data, nothing where there "
        "is none; pixel-moments: distance of the pixels' means and deviations to the data's.", "schedule")
    score_every: int = _hyper(
        500, "Steps between two scores.", "schedule", low=1, high=1_000_000, scale="decades", unit="steps")
    on_divergence: Literal["stop", "rollback"] = _hyper(
        "stop", "When losses or weights explode: stop with the cause, or go back to the last save, once, with half the "
        "learning rate.", "schedule")
    seed: int = _hyper(
        0, "Seed of everything random. Same seed, same run.", "schedule", low=0, high=2**31 - 1, step=1)
# fmt: on

    def __post_init__(self) -> None:
        types = hints()
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _checked(f, types[f.name], getattr(self, f.name)))
        if problem := contradiction(self):
            raise ConfigError(problem)

    @property
    def norms(self) -> tuple[str, str]:
        """Normalisation in G and in D, "default" looked up."""
        family = FAMILIES[self.model]
        g, d = self.g_norm, self.d_norm
        return (family.g_norm if g == "default" else g), (family.d_norm if d == "default" else d)

    @property
    def inits(self) -> tuple[str, str]:
        """Initialisation of G and of D, "default" looked up."""
        own = FAMILIES[self.model].init
        g, d = self.g_init, self.d_init
        return (own if g == "default" else g), (own if d == "default" else d)

    @property
    def num_classes(self) -> int:
        """Classes that the networks are told of: 0 if unconditional."""
        return len(self.classes) if self.conditioning != "none" else 0

    @property
    def num_real(self) -> int:
        """Real pictures in one update of D, and generated ones."""
        return self.batch_size // 2 if self.d_batches == "merged" else self.batch_size

    @property
    def penalised(self) -> bool:
        """Whether a penalty on D's gradient asks for second derivatives."""
        return bool(self.r1_gamma or self.r2_gamma or self.gradient_penalty)

    def total_steps(self, num_images: int, step: int = 0, images_seen: int = 0) -> int:
        """Steps that this config asks for on a data set of `num_images` pictures, of which `step` steps have shown
        `images_seen`: maybe with another batch size or d_steps, since both can change on the way."""
        if self.steps is not None:
            return self.steps
        images = Fraction(str(self.epochs)) * num_images  # exact: 1.1 * 5000 is more than 5500 in floating point
        left = math.ceil((images - images_seen) / (self.num_real * self.d_steps))
        return max(1, step + max(0, left))

    def replace(self, **changes: Any) -> Config:
        """A copy with `changes`, checked like the original. Raises ConfigError for an unknown name."""
        return from_dict({**to_dict(self), **changes})


class Family(NamedTuple):
    """What a network family does where the config says "default", and what it can't do."""

    g_norm: str
    d_norm: str
    init: str
    lacks: tuple[tuple[str, str], ...] = ()  # hyperparameters and their values that it can't take


FAMILIES = {
    "mlp": Family("none", "none", "library", lacks=(("conditioning", "projection"),)),
    "dcgan": Family("batch", "batch", "normal"),
    "sn-conv": Family("batch", "spectral", "orthogonal"),
    "sn-resnet": Family(
        "batch",
        "spectral",
        "orthogonal",
        lacks=(("g_norm", "batch-all"), ("d_norm", "batch"), ("d_norm", "batch-all")),
    ),
}
WITH_TARGETS = ("non-saturating", "minimax", "least-squares")  # losses that tell D "real" or "generated" as a number


def contradiction(config: Config) -> str | None:
    """Why these hyperparameters can't go together, and the way out; None if they can."""
    g_norm, d_norm = config.norms
    for name, value in (("conditioning", config.conditioning), ("g_norm", g_norm), ("d_norm", d_norm)):
        if (name, value) in FAMILIES[config.model].lacks:
            return f"{name} is {value!r}, which {config.model} lacks. Choose another, or another model."
    if config.conditioning == "projection" and g_norm == "none":
        return (
            "conditioning is 'projection', which tells G the class by its batch norm, but g_norm is 'none'. Set "
            "g_norm to batch, or conditioning to concat."
        )
    if config.d_batches == "merged" and config.batch_size % 2:
        return f"d_batches is 'merged': half real, half generated; batch_size is {config.batch_size}, which is odd."
    if config.loss not in WITH_TARGETS:
        for name in ("label_smoothing", "label_flip"):
            if getattr(config, name):
                return (
                    f"{name} is {getattr(config, name):g}, but the {config.loss} loss has no labels to change. "
                    f"Set it to 0, or choose {', '.join(WITH_TARGETS[:-1])} or {WITH_TARGETS[-1]}."
                )
    if config.penalised and d_norm.startswith("batch"):
        return (
            "r1_gamma, r2_gamma and gradient_penalty ask for D's gradient at each picture, which batch norm mixes with "
            "the others'. Set d_norm to none or spectral."
        )
    if config.weight_clip and d_norm == "spectral":
        return "weight_clip has no effect under spectral norm. Set it to 0, or d_norm to none."
    if config.penalised and config.compile:
        return "compile can't take the second derivatives of r1_gamma, r2_gamma or gradient_penalty. Turn it off."
    return None


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
    if get_origin(hint) is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ConfigError(f"{f.name} is {value!r}; give a list of names.")
        names = tuple(str(name) for name in value)
        choices = get_args(get_args(hint)[0])  # none: any name may be a class
        if choices and (odd := [name for name in names if name not in choices]):
            raise ConfigError(f"{f.name} holds {odd[0]!r}; choose from {', '.join(choices)}.")
        return names
    if hint is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{f.name} is {value!r}; give true or false.")
        return value
    if hint is str:
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{f.name} is {value!r}; give a name or a path.")
        return value
    if value is None and type(None) in get_args(hint):
        return None
    number, kind = (float, "number") if float in (hint, *get_args(hint)) else (int, "whole number")
    given = isinstance(value, int | float) and not isinstance(value, bool)
    if not (given and low <= value <= high and number(value) == value):
        raise ConfigError(f"{f.name} is {value!r}; give a {kind} from {low:,} to {high:,}.")
    return number(value)


def to_dict(config: Config) -> dict[str, Any]:
    """The config as plain JSON and YAML values."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(config).items()}


def from_dict(values: Mapping[str, Any]) -> Config:
    """The inverse of `to_dict`; missing fields take their default, unknown ones raise ConfigError."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"A configuration is hyperparameters by name, not {values!r}.")
    known = [f.name for f in dataclasses.fields(Config)]
    unknown = sorted(str(name) for name in set(values) - set(known))
    if unknown:
        raise ConfigError(f"Unknown hyperparameter: {', '.join(unknown)}. Known: {', '.join(known)}.")
    return Config(**dict(values))


def changed(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Fields in which two configs differ, as {name: (old, new)}."""
    pairs = {f.name: (getattr(old, f.name), getattr(new, f.name)) for f in dataclasses.fields(Config)}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Those changed fields that a resume may not change. The length of a training is free, unless step sizes fall
    towards its end."""
    free = {f.name for f in dataclasses.fields(Config) if f.metadata["free"]}
    if old.lr_schedule != "constant":
        free -= {"epochs", "steps"}
    return {name: pair for name, pair in changed(old, new).items() if name not in free}
