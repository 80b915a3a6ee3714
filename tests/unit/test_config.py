"""Hyperparameters: each explained and bounded, every wrong value refused by name, nothing lost on the way to a file."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from ganlab import config as config_module
from ganlab.config import FAMILIES, WITH_TARGETS, Config, contradiction, differences, from_dict, to_dict
from ganlab.errors import ConfigError
from ganlab.presets import BROKEN, PRESETS, preset

FIELDS = {f.name: f for f in dataclasses.fields(Config)}
HINTS = get_type_hints(Config)
NUMBERS = [name for name in FIELDS if HINTS[name] in (int, float, int | None, float | None)]
WHOLE = [name for name in NUMBERS if HINTS[name] in (int, int | None)]
OPTIONAL = [name for name in NUMBERS if HINTS[name] in (int | None, float | None)]
CHOICES = [name for name in FIELDS if get_origin(HINTS[name]) is Literal]
SWITCHES = [name for name in FIELDS if HINTS[name] is bool]
each_field = pytest.mark.parametrize("name", FIELDS)
each_number = pytest.mark.parametrize("name", NUMBERS)

# A value of every field that is not its default, and that goes together with the others.
OTHER: dict[str, Any] = dict(
    data="faces.zip", classes=("3", "5"), image_size=32, channels=3, mirror=True, model="mlp", width=96, d_width=48,
    hidden_layers=3, latent_dim=7, prior="uniform", conditioning="concat", g_norm="batch-all", d_norm="none",
    g_activation="leaky-relu", leaky_slope=0.05, d_dropout=0.25, g_init="normal", d_init="orthogonal",
    loss="least-squares", batch_size=34, d_batches="merged", d_steps=3, g_steps=2, label_smoothing=0.1, label_flip=0.05,
    r1_gamma=1.0, r2_gamma=0.5, gradient_penalty=10.0, weight_clip=0.01, instance_noise=0.2,
    diffaugment=("color", "cutout"), learning_rate=1e-5, d_learning_rate=4e-5, lr_schedule="cosine", lr_decay_from=0.5,
    warmup_steps=100, beta1=0.0, beta2=0.99, ema_half_life=0, precision="float32", compile=False, epochs=0.3, steps=77,
    log_every=3, sample_every=5, save_every=9, keep_states=5, score="pixel-moments", score_every=50,
    on_divergence="rollback", seed=2**31 - 1,
)  # fmt: skip
# Where another value of a field needs other neighbours than the defaults.
NEEDS: dict[str, dict[str, Any]] = dict(
    r1_gamma=dict(d_norm="none"), r2_gamma=dict(d_norm="none"), gradient_penalty=dict(d_norm="none"),
)  # fmt: skip


def with_other(name: str) -> tuple[Config, Config]:
    """Two configs that differ in one field."""
    base = NEEDS.get(name, {})
    return Config(**base), Config(**{**base, name: True if name == "compile" else OTHER[name]})


# --- every field is explained ----------------------------------------------------------------------------------------


@each_field
def test_a_field_says_what_it_is(name: str) -> None:
    meta = FIELDS[name].metadata
    assert len(meta["help"]) > 10 and meta["help"].endswith(".")
    assert meta["group"] in ("data", "networks", "game", "regularisation", "optimisation", "schedule")
    known = {"low", "high", "step", "scale", "unit", "none", "aliases", "live", "free", "shape", "help", "group"}
    assert meta.keys() == known
    assert not (meta["live"] and (meta["free"] or meta["shape"]))  # what decides the tensors stays as it is
    assert bool(meta["none"]) == (name in OPTIONAL)  # what it means if there is none


def test_a_fact_that_nobody_reads_is_an_error() -> None:
    with pytest.raises(AssertionError, match="hihg"):
        config_module._hyper(1, "A number.", "data", low=0, hihg=3)


@each_number
def test_a_number_has_limits_that_contain_its_default(name: str) -> None:
    meta, default = FIELDS[name].metadata, getattr(Config(), name)
    assert meta["low"] < meta["high"] and math.isfinite(meta["low"]) and math.isfinite(meta["high"])
    assert default is None or meta["low"] <= default <= meta["high"]
    for limit in (meta["low"], meta["high"]):
        assert getattr(Config(**{**NEEDS.get(name, {}), name: limit}), name) == limit


@each_number
def test_a_number_has_a_slider(name: str) -> None:
    """A step on a linear scale, which it needs, and none on another, which has its own."""
    meta = FIELDS[name].metadata
    assert meta["scale"] in ("linear", "decades", "doublings")
    assert (meta["step"] is not None and meta["step"] > 0) == (meta["scale"] == "linear")


def test_names_and_aliases_are_all_different() -> None:
    names = [name.replace("_", "-") for name in FIELDS]
    names += [alias for f in FIELDS.values() for alias in f.metadata["aliases"]]
    assert len(set(names)) == len(names)


def test_the_defaults_are_those_of_the_dcgan_paper() -> None:
    """Radford et al. 2015, section 4: batches of 128, Adam at 0.0002 with beta1 0.5, z of 100 numbers."""
    c = Config()
    assert (c.model, c.batch_size, c.learning_rate, c.beta1, c.latent_dim) == ("dcgan", 128, 2e-4, 0.5, 100)


# --- wrong values ----------------------------------------------------------------------------------------------------


def refused(name: str, value: Any) -> str:
    """The message with which a value is refused, which names the field and shows the value."""
    with pytest.raises(ConfigError) as caught:
        Config(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} is {value!r};")
    return message


def just_outside(name: str) -> list[float]:
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    if name in WHOLE:
        return [low - 1, high + 1, -(10**400), 10**400]
    return [math.nextafter(low, -math.inf), math.nextafter(high, math.inf), -math.inf, math.inf, 10**400]


@each_number
def test_a_number_outside_its_limits_is_refused_with_them(name: str) -> None:
    meta = FIELDS[name].metadata
    for value in just_outside(name):
        assert f"from {meta['low']:,} to {meta['high']:,}" in refused(name, value)


@each_number
def test_what_is_no_number_is_refused_with_the_limits(name: str) -> None:
    for value in ("12", "", [1], {}, True, False, math.nan, 1j, b"1"):
        assert f"to {FIELDS[name].metadata['high']:,}" in refused(name, value)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_number_has_no_fraction(name: str) -> None:
    assert "a whole number from" in refused(name, FIELDS[name].metadata["low"] + 0.5)
    for endless in (math.inf, -math.inf):
        refused(name, endless)


@each_number
def test_only_where_it_has_a_meaning_a_number_may_be_none(name: str) -> None:
    if name in OPTIONAL:
        assert getattr(Config(**{name: None}), name) is None
    else:
        refused(name, None)


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_true_or_false(name: str) -> None:
    assert [getattr(Config(**{name: value}), name) for value in (True, False)] == [True, False]
    for value in (0, 1, 1.0, "true", "", None, [], math.nan):
        assert "give true or false" in refused(name, value)


@pytest.mark.parametrize("name", CHOICES)
def test_another_choice_is_refused_with_those_there_are(name: str) -> None:
    for value in ("vae", "", None, True, False, 0, math.nan, [], {}):
        message = refused(name, value)
        assert all(str(choice) in message for choice in get_args(HINTS[name]))


def test_data_is_a_name() -> None:
    for value in (None, "", 3, True, ["mnist"]):
        refused("data", value)


def test_classes_are_a_list() -> None:
    """A string is refused too: "35" would quietly be the classes 3 and 5."""
    for value in (None, "3", 3, True):
        refused("classes", value)


def test_a_list_of_choices_holds_those_there_are() -> None:
    assert Config(diffaugment=["cutout", "color"]).diffaugment == ("cutout", "color")  # type: ignore[arg-type]
    for value in (None, "color", 3, True):
        refused("diffaugment", value)
    with pytest.raises(ConfigError, match="diffaugment holds 'blur'; choose from color, translation, cutout."):
        Config(diffaugment=("color", "blur", "x"))  # type: ignore[arg-type]


def test_values_take_their_fields_type() -> None:
    """As YAML and sliders give them: 1 for 1.0, 28.0 for 28, a list for a tuple, 3 for a class called 3."""
    c = Config(image_size=28.0, channels=3.0, epochs=2, width=16.0, steps=5.0, classes=[3, "cat"])  # type: ignore
    assert (c.image_size, c.channels, c.epochs, c.width, c.steps, c.classes) == (28, 3, 2.0, 16, 5, ("3", "cat"))
    kinds = [type(v) for v in (c.image_size, c.channels, c.epochs, c.width, c.steps, c.classes)]
    assert kinds == [int, int, float, int, int, tuple]


def test_a_config_can_not_be_changed_unchecked() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().width = 7  # type: ignore[misc]


# --- what does not go together ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (dict(model="mlp", conditioning="projection"), "conditioning is 'projection', which mlp lacks"),
        (dict(model="sn-resnet", g_norm="batch-all"), "g_norm is 'batch-all', which sn-resnet lacks"),
        (dict(model="sn-resnet", d_norm="batch"), "d_norm is 'batch', which sn-resnet lacks"),
        (dict(conditioning="projection", g_norm="none"), "Set g_norm to batch, or conditioning to concat"),
        (dict(d_batches="merged", batch_size=33), "batch_size is 33, which is odd"),
        (dict(loss="hinge", label_smoothing=0.1), "label_smoothing is 0.1, but the hinge loss has no labels"),
        (dict(loss="relativistic", label_flip=0.1), "Set it to 0, or choose non-saturating, minimax or least-squares."),
        (dict(r1_gamma=1.0), "which batch norm mixes"),
        (dict(model="mlp", gradient_penalty=1.0, d_norm="batch-all"), "which batch norm mixes"),
        (dict(model="sn-conv", weight_clip=0.01), "weight_clip has no effect under spectral norm"),
        (dict(d_norm="none", r2_gamma=1.0, compile=True), "compile can't take the second derivatives"),
    ],
)
def test_a_contradiction_is_refused_with_the_way_out(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**changes)
    assert reason in str(caught.value)
    for name in changes:  # any of them alone, or one put back, is no contradiction
        rest = {k: v for k, v in changes.items() if k != name}
        if len(changes) > 1 and name != "model" and name != "d_norm":
            assert contradiction(Config(**rest)) is None


def test_what_each_family_does_by_default() -> None:
    found = {name: (Config(model=name).norms, Config(model=name).inits) for name in FAMILIES}  # type: ignore[arg-type]
    assert found == {
        "mlp": (("none", "none"), ("library", "library")),
        "dcgan": (("batch", "batch"), ("normal", "normal")),
        "sn-conv": (("batch", "spectral"), ("orthogonal", "orthogonal")),
        "sn-resnet": (("batch", "spectral"), ("orthogonal", "orthogonal")),
    }
    own = Config(g_norm="none", d_norm="spectral", g_init="library", d_init="orthogonal")
    assert (own.norms, own.inits) == (("none", "spectral"), ("library", "orthogonal"))


def test_the_losses_with_labels_are_those_that_say_so() -> None:
    from ganlab.losses import LOSSES

    assert tuple(name for name, loss in LOSSES.items() if loss.has_targets) == WITH_TARGETS
    assert set(LOSSES) == set(get_args(HINTS["loss"]))


def test_what_follows_from_the_hyperparameters() -> None:
    assert (Config(classes=("a", "b")).num_classes, Config(classes=("a", "b"), conditioning="concat").num_classes) == (
        0,
        2,
    )
    assert (Config(batch_size=10).num_real, Config(batch_size=10, d_batches="merged").num_real) == (10, 5)
    penalties = [Config(d_norm="none", **{n: 1.0}).penalised for n in ("r1_gamma", "r2_gamma", "gradient_penalty")]
    assert penalties == [True] * 3 and not Config(d_norm="none", weight_clip=0.1).penalised


# --- there and back --------------------------------------------------------------------------------------------------


def test_the_other_values_are_other_values() -> None:
    assert set(OTHER) == set(FIELDS)
    default, other = to_dict(Config()), to_dict(Config(**OTHER))
    assert {name for name in FIELDS if default[name] == other[name]} == {"compile"}  # which bears no penalties


CONFIGS = {"default": Config(), "other": Config(**OTHER), **PRESETS}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@each_config
def test_nothing_is_lost_in_a_dict_in_yaml_or_in_json(config: Config) -> None:
    plain = to_dict(config)
    assert list(plain) == list(FIELDS)
    assert all(type(value) in (str, int, float, bool, list, type(None)) for value in plain.values())
    for back in (plain, yaml.safe_load(yaml.safe_dump(plain)), json.loads(json.dumps(plain))):
        read = from_dict(back)
        assert read == config
        for name in FIELDS:
            assert type(getattr(read, name)) is type(getattr(config, name)), name


@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in WHOLE])
def test_every_float_survives_yaml(name: str) -> None:
    """YAML 1.1 reads 1e-05 as a string, and a short repr could drop digits."""
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    for share in (0.0, 1e-9, 1 / 3, 0.1, 0.7, 1.0):
        config = Config(**{**NEEDS.get(name, {}), name: low + share * (high - low)})
        assert from_dict(yaml.safe_load(yaml.safe_dump(to_dict(config)))) == config


def test_names_that_yaml_could_take_for_something_else() -> None:
    for text in ("no", "3", "null", "~", "1e3", "2020-01-01", "a: b", "#x", "grün"):
        config = Config(data=text, classes=(text, "x"))
        assert from_dict(yaml.safe_load(yaml.safe_dump(to_dict(config)))) == config


def test_fields_left_out_take_their_default() -> None:
    assert from_dict({}) == Config()
    assert from_dict({"width": 32}) == Config(width=32)


def test_what_is_no_mapping_is_refused() -> None:
    nonsense: list[Any] = [[], ["width"], "", "width", None, 3, True, [("width", 8)]]
    for values in nonsense:
        with pytest.raises(ConfigError, match="by name"):
            from_dict(values)


def test_unknown_names_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError, match=r"Unknown hyperparameter: 1, depth, lr\. Known: data, .*seed\."):
        from_dict({"lr": 0.1, "width": 8, 1: 2, "depth": 5})
    with pytest.raises(ConfigError, match="lr"):
        Config().replace(lr=0.1)


def test_a_wrong_value_in_a_dict_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="width is 'wide'"):
        from_dict({"width": "wide"})


def test_replace_changes_what_it_is_told_and_checks_it() -> None:
    config = Config(**OTHER)
    changed = config.replace(width=8, classes=["7"])
    assert differences(config, changed) == {"width": (96, 8), "classes": (("3", "5"), ("7",))}
    assert config.width == 96
    with pytest.raises(ConfigError, match="width is 0"):
        config.replace(width=0)


@each_field
def test_differences_ignore_what_a_resume_may_change(name: str) -> None:
    """How far a run goes and how often it is saved do not change what is computed; everything else does."""
    old, new = with_other(name)
    row = {name: (getattr(old, name), getattr(new, name))}
    assert differences(old, new) == ({} if name in ("epochs", "steps", "save_every", "keep_states") else row)
    assert differences(new, new) == differences(old, old) == {}


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_where_step_sizes_fall_towards_the_end_its_place_is_fixed(schedule: str) -> None:
    old = Config(lr_schedule=schedule)  # type: ignore[arg-type]
    assert differences(old, old.replace(epochs=3, save_every=9)) == {"epochs": (25.0, 3.0)}
    assert differences(old, old.replace(steps=70, keep_states=9)) == {"steps": (None, 70)}


def test_what_may_change_in_a_running_run_and_what_decides_the_tensors() -> None:
    def having(fact: str) -> set[str]:
        return {name for name, f in FIELDS.items() if f.metadata[fact]}

    assert having("live") == {
        "learning_rate", "d_learning_rate", "d_steps", "g_steps", "label_smoothing", "label_flip", "instance_noise",
        "ema_half_life",
    }  # fmt: skip
    assert having("free") == {"epochs", "steps", "save_every", "keep_states"}
    assert having("shape") == {
        "image_size", "channels", "model", "width", "d_width", "hidden_layers", "latent_dim", "conditioning", "g_norm",
        "d_norm", "g_activation", "leaky_slope", "g_init", "d_init",
    }  # fmt: skip


# --- how long --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "num_images", "steps"),
    [
        (dict(epochs=25, batch_size=128), 60_000, 11_719),  # 11718.75
        (dict(epochs=1, batch_size=100), 5000, 50),
        (dict(epochs=1, batch_size=100), 5001, 51),
        (dict(epochs=1, batch_size=100, d_steps=5), 5000, 10),
        (dict(epochs=3, batch_size=64, d_steps=2), 1000, 24),  # 23.4
        (dict(epochs=0.01, batch_size=2048), 10, 1),  # 0.00005: one at least
        (dict(epochs=1.1, batch_size=50), 5000, 110),  # in floating point 1.1 * 5000 is 5500.000000000001
        (dict(epochs=0.07, batch_size=2), 200, 7),
        (dict(epochs=0.3, batch_size=10), 100, 3),
        (dict(epochs=25, steps=7), 60_000, 7),
        (dict(epochs=0.01, steps=100_000, d_steps=3), 10, 100_000),
        (dict(epochs=1, batch_size=100, d_batches="merged"), 5000, 100),  # half of each batch is generated
        (dict(epochs=1, batch_size=100, d_batches="merged", d_steps=2), 5000, 50),
        (dict(epochs=1, batch_size=100, g_steps=7), 5000, 50),
    ],
)
def test_total_steps(changes: dict[str, Any], num_images: int, steps: int) -> None:
    total = Config(**changes).total_steps(num_images)
    assert total == steps and type(total) is int
    if steps > 1 and "steps" not in changes:  # half-way there, nothing has changed
        config, half = Config(**changes), steps // 2
        assert config.total_steps(num_images, half, half * config.num_real * config.d_steps) == steps


def test_what_is_left_of_the_epochs_is_shared_by_the_steps_to_come() -> None:
    config = Config(epochs=1, batch_size=100, d_steps=2)
    assert config.total_steps(5000, step=20, images_seen=2000) == 35  # so far each step has shown 100
    assert config.total_steps(5000, step=60, images_seen=6000) == 60  # more than enough
    assert config.replace(steps=70).total_steps(5000, step=20, images_seen=2000) == 70


# --- presets ---------------------------------------------------------------------------------------------------------


MODELS = {"mlp": "mlp", "dcgan": "dcgan", "wgan": "dcgan", "rpgan": "sn-conv", "sn": "sn-conv", "resnet": "sn-resnet"}


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in BROKEN])
def test_a_preset_says_in_its_name_what_it_trains(name: str) -> None:
    config = preset(name)
    rest = name.removeprefix(config.data).removeprefix(config.data.partition("-")[0])
    model = rest.split("-")[1].rstrip("3")
    assert config is PRESETS[name] and config.model == MODELS[model]
    shapes = {"mnist": (28, 1), "mnist-5k": (28, 1), "fashion-mnist": (28, 1), "cifar10": (32, 3)}
    assert (config.image_size, config.channels) == shapes[config.data]  # as the data set comes
    assert not (config.mirror and "mnist" in config.data)  # a mirrored 3 is none


def test_presets_made_to_fail_are_small_and_say_what_one_will_see() -> None:
    assert {name for name in PRESETS if name.startswith("broken-")} == set(BROKEN)
    for name, words in BROKEN.items():
        config = PRESETS[name]
        assert config.data == "mnist-5k" and config.score == "auto"  # bundled, and seen by a feature network
        assert (config.steps or 0) >= 5 * config.score_every and words.endswith(".") and len(words) < 160


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains(name: str) -> None:
    """One step, of narrow networks on few pictures: every network moves, and no number is lost."""
    import torch

    from ganlab.trainer import Trainer

    config = preset(name).replace(width=8, d_width=8, batch_size=8, latent_dim=8, warmup_steps=0)
    if config.conditioning != "none":
        config = config.replace(classes=tuple("0123456789"))
    shape = (40, config.image_size, config.image_size, config.channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    training = Trainer(config, images, torch.arange(40) % 10)
    before = {name: array.copy() for name, array in training.state()[0].items()}
    training.train_step()
    after = training.state()[0]
    for which in ("G", "D", "G_ema"):
        names = [name for name in before if name.startswith(f"{which}.")]
        assert any((before[name] != after[name]).any() for name in names), which
    assert all(math.isfinite(value) for value in training.statistics().values())
    assert training.images_seen == config.num_real * config.d_steps and training.largest_weight() < 100


@pytest.mark.parametrize("name", ["mnist", "", "MNIST-DCGAN", "../x"])
def test_an_unknown_preset_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        preset(name)
    assert repr(name) in str(caught.value) and all(known in str(caught.value) for known in PRESETS)
