"""Hyperparameters: each explained and bounded, every wrong value refused by name, nothing lost on the way to a file."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from ganlab.config import Config, differences, from_dict, to_dict
from ganlab.errors import ConfigError
from ganlab.presets import PRESETS, preset

FIELDS = {f.name: f for f in dataclasses.fields(Config)}
HINTS = get_type_hints(Config)
NUMBERS = [name for name in FIELDS if HINTS[name] in (int, float, int | None)]
WHOLE = [name for name in NUMBERS if HINTS[name] is not float]
CHOICES = [name for name in FIELDS if get_origin(HINTS[name]) is Literal]
each_field = pytest.mark.parametrize("name", FIELDS)
each_number = pytest.mark.parametrize("name", NUMBERS)

# A value of every field that is not its default.
OTHER: dict[str, Any] = dict(
    data="faces.zip", classes=("3", "5"), image_size=32, channels=3, model="mlp", width=96, latent_dim=7,
    prior="uniform", d_dropout=0.25, batch_size=33, learning_rate=1e-5, beta1=0.0, beta2=0.99, d_steps=3,
    label_smoothing=0.1, ema_half_life=0, precision="float32", epochs=0.3, steps=77, log_every=3, sample_every=5,
    save_every=9, seed=2**31 - 1,
)  # fmt: skip


# --- every field is explained ----------------------------------------------------------------------------------------


@each_field
def test_a_field_says_what_it_is(name: str) -> None:
    meta = FIELDS[name].metadata
    assert len(meta["help"]) > 10 and meta["help"].endswith(".")
    assert meta["group"] in ("data", "networks", "optimisation", "schedule")


@each_number
def test_a_number_has_limits_that_contain_its_default(name: str) -> None:
    meta, default = FIELDS[name].metadata, getattr(Config(), name)
    assert meta["low"] < meta["high"] and math.isfinite(meta["low"]) and math.isfinite(meta["high"])
    assert default is None or meta["low"] <= default <= meta["high"]
    for limit in (meta["low"], meta["high"]):
        assert getattr(Config(**{name: limit}), name) == limit


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


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "steps"])
def test_none_is_no_number(name: str) -> None:
    refused(name, None)


def test_only_steps_may_be_none() -> None:
    assert Config(steps=None).steps is None


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


def test_values_take_their_fields_type() -> None:
    """As YAML and sliders give them: 1 for 1.0, 28.0 for 28, a list for a tuple, 3 for a class called 3."""
    c = Config(image_size=28.0, channels=3.0, epochs=2, width=16.0, steps=5.0, classes=[3, "cat"])  # type: ignore
    assert (c.image_size, c.channels, c.epochs, c.width, c.steps, c.classes) == (28, 3, 2.0, 16, 5, ("3", "cat"))
    kinds = [type(v) for v in (c.image_size, c.channels, c.epochs, c.width, c.steps, c.classes)]
    assert kinds == [int, int, float, int, int, tuple]


def test_a_config_can_not_be_changed_unchecked() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().width = 7  # type: ignore[misc]


# --- there and back --------------------------------------------------------------------------------------------------


def test_the_other_values_are_other_values() -> None:
    assert set(OTHER) == set(FIELDS)
    assert set(differences(Config(), Config(**OTHER), ignore_free=False)) == set(FIELDS)


CONFIGS = {"default": Config(), "other": Config(**OTHER), **PRESETS}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@each_config
def test_nothing_is_lost_in_a_dict_in_yaml_or_in_json(config: Config) -> None:
    plain = to_dict(config)
    assert list(plain) == list(FIELDS)
    assert all(type(value) in (str, int, float, list, type(None)) for value in plain.values())
    for back in (plain, yaml.safe_load(yaml.safe_dump(plain)), json.loads(json.dumps(plain))):
        read = from_dict(back)
        assert read == config
        for name in FIELDS:
            assert type(getattr(read, name)) is type(getattr(config, name)), name


@pytest.mark.parametrize("name", [name for name in NUMBERS if HINTS[name] is float])
def test_every_float_survives_yaml(name: str) -> None:
    """YAML 1.1 reads 1e-05 as a string, and a short repr could drop digits."""
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    for share in (0.0, 1e-9, 1 / 3, 0.1, 0.7, 1.0):
        config = Config(**{name: low + share * (high - low)})
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
    old, new = Config(), Config(**{name: OTHER[name]})
    row = {name: (getattr(old, name), OTHER[name])}
    assert differences(old, new, ignore_free=False) == row
    assert differences(old, new) == ({} if name in ("epochs", "steps", "save_every") else row)
    assert differences(new, new) == differences(new, new, ignore_free=False) == {}


def test_what_may_change_in_a_running_run() -> None:
    live = {name for name, f in FIELDS.items() if f.metadata["live"]}
    assert live == {"learning_rate", "d_steps", "label_smoothing", "ema_half_life"}


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
    ],
)
def test_total_steps(changes: dict[str, Any], num_images: int, steps: int) -> None:
    total = Config(**changes).total_steps(num_images)
    assert total == steps and type(total) is int


# --- presets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_in_its_name_what_it_trains(name: str) -> None:
    data, _, model = name.rpartition("-")
    config = preset(name)
    assert config is PRESETS[name] and config.model == model and config.data.startswith(data)
    shapes = {"mnist": (28, 1), "mnist-5k": (28, 1), "fashion-mnist": (28, 1), "cifar10": (32, 3)}
    assert (config.image_size, config.channels) == shapes[config.data]  # as the data set comes


@pytest.mark.parametrize("name", ["mnist", "", "MNIST-DCGAN", "../x"])
def test_an_unknown_preset_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        preset(name)
    assert repr(name) in str(caught.value) and all(known in str(caught.value) for known in PRESETS)
