"""A widget for every hyperparameter, made from the config's own fields."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

import streamlit as st

from ganlab.config import WITH_TARGETS, Config, hints
from ganlab.errors import ConfigError

FIELDS = {f.name: f for f in dataclasses.fields(Config)}
GROUPS = {  # tab: the fields in it; the data have widgets of their own
    group: tuple(name for name, f in FIELDS.items() if f.metadata["group"] == group)
    for group in dict.fromkeys(f.metadata["group"] for f in FIELDS.values())
    if group != "data"
}
LIVE = sorted(  # those that people reach for first, first
    (name for name, f in FIELDS.items() if f.metadata["live"]), key=lambda name: "learning_rate" not in name
)
LABELS = {  # where the field's name alone would not do
    "beta1": "Adam beta1",
    "beta2": "Adam beta2",
    "diffaugment": "DiffAugment",
    "ema_half_life": "EMA half-life",
    "keep_states": "States kept",
    "label_flip": "Label flips",
    "latent_dim": "Latent dimension",
    "lr_decay_from": "Learning rate falls from",
    "lr_schedule": "Learning-rate schedule",
    "mirror": "Mirror half of the pictures",
    "model": "Network",
    "on_divergence": "If it diverges",
    "prior": "Prior of z",
    "warmup_steps": "Warm-up",
}
IN_USE: dict[str, Callable[[Mapping[str, Any]], bool]] = {  # fields that have an effect only beside certain others
    "hidden_layers": lambda values: values["model"] == "mlp",
    "lr_decay_from": lambda values: values["lr_schedule"] != "constant",
    "score_every": lambda values: values["score"] != "none",
}
FEW = 3  # choices that are all in sight; more are a list that opens
WIDE = 1000  # whole numbers beyond this, one by one, are typed


def hyperparameters(names: Iterable[str], base: Config, key: str) -> dict[str, Any]:
    """Widgets for some fields, two a row, starting at `base`: their values by name."""
    values: dict[str, Any] = {}
    for row in rows(names):
        has_toggle = any(hints()[name] is bool for name in row)  # which has its label beside it, not above
        places = st.columns(2, gap="medium", vertical_alignment="center" if has_toggle else "top")
        for place, name in zip(places, row, strict=False):
            with place:
                idle = name in IN_USE and not IN_USE[name](values)
                values[name] = hyperparameter(name, getattr(base, name), f"{key}_{name}", disabled=idle)
    return values


def rows(names: Iterable[str]) -> list[list[str]]:
    """Fields by twos, in their order, with twins side by side: width and d_width, r1_gamma and r2_gamma."""
    names = list(names)
    stems = Counter(map(_stem, names))
    result: list[list[str]] = []
    half_full: dict[str, list[str]] = {}  # by stem; those without a twin share rows with each other
    for name in names:
        stem = _stem(name) if stems[_stem(name)] > 1 else ""
        row = half_full.pop(stem, None)
        if row is None:
            row = half_full[stem] = []
            result.append(row)
        row.append(name)
    return result


def _stem(name: str) -> str:
    """What the names of twins have in common."""
    return re.sub(r"^[gd]_|\d|(?<=^label_).*", "", name)


def hyperparameter(name: str, default: Any, key: str, *, disabled: bool = False) -> Any:
    """The widget of a field: its value, starting at `default`. Help, limits and unit come from the field."""
    meta, hint = FIELDS[name].metadata, hints()[name]
    options: dict[str, Any] = {"label": _with_unit(name), "key": key, "help": meta["help"], "disabled": disabled}
    if hint is bool:
        return st.toggle(value=default, **options)
    if get_origin(hint) is tuple:
        choices = get_args(get_args(hint)[0])
        chosen = st.pills(options=choices, default=list(default), selection_mode="multi", **options)
        return tuple(choice for choice in choices if choice in chosen)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if len(choices) > FEW:
            return st.selectbox(options=choices, index=choices.index(default), **options)
        return st.segmented_control(options=choices, default=default, required=True, **options)
    if meta["scale"] != "linear":
        return st.select_slider(
            options=scale(name, default),
            value=default,
            format_func=lambda value: value_text(name, value),
            **options,
        )
    if meta["high"] > WIDE:
        return st.number_input(min_value=meta["low"], max_value=meta["high"], value=default, step=1, **options)
    return _slider(name, default, options)


def _slider(name: str, default: float, options: dict[str, Any]) -> float:
    """A slider whose last value is the last full step within the limits."""
    meta, number = FIELDS[name].metadata, _number(name)
    low, step = meta["low"], meta["step"]
    decimals = len(f"{step:g}".partition(".")[2])
    last = round(low + step * int((meta["high"] - low) / step + 1e-9), decimals)
    low, high, step, value = (number(v) for v in (low, max(last, default), step, default))
    return st.slider(min_value=low, max_value=high, value=value, step=step, format=f"%.{decimals}f", **options)


def scale(name: str, default: float | None) -> list[Any]:
    """The values of a slider whose field is not linear: 1, 2, 5, 10, … or 8, 16, 32, …, of six decades at most.

    `default` is among them; None, where the field may be absent, and 0, where it is a limit, come first.
    """
    meta, number = FIELDS[name].metadata, _number(name)
    low, high = meta["low"], meta["high"]
    smallest = max(low or (1 if number is int else 1e-3), high / 1e6)
    if meta["scale"] == "doublings":
        values = {2.0**i for i in range(20)}
    else:
        values = {float(f"{m}e{e}") for e in range(-6, 9) for m in (1, 2, 5)}
    chosen = {v for v in values if smallest <= v <= high} | ({0} if low == 0 else set())
    chosen |= set() if default is None else {default}
    absent = [None] if type(None) in get_args(hints()[name]) else []
    return absent + [number(v) for v in sorted(chosen)]


def live_fields(config: Config) -> list[str]:
    """Fields that may change while such a run goes on, and have an effect there."""
    with_labels = config.loss in WITH_TARGETS
    return [name for name in LIVE if with_labels or not name.startswith("label_")]


def problem_of(**values: Any) -> str | None:
    """Why no run can have these hyperparameters, in the words of this page; None if one can."""
    try:
        Config(**values)
    except ConfigError as error:
        said = re.sub(r"\w+", lambda word: f"**{label(word[0])}**" if _is_telling(word[0]) else word[0], str(error))
        return said[:1].upper() + said[1:]
    return None


def _is_telling(word: str) -> bool:
    return word in FIELDS and "_" in word  # "loss" and "width" are words of any sentence


def label(name: str) -> str:
    """What the page calls a field: "D learning rate", "R1 gamma"."""
    words = re.sub(r"^([gd])_", lambda who: f"{who[1].upper()} ", name).replace("_", " ")
    return LABELS.get(name, words[:1].upper() + words[1:])


def value_text(name: str, value: float | None) -> str:
    """A number for people; of an absent one, what the absence means: "as G"."""
    if value is None:
        return FIELDS[name].metadata["none"]
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def _with_unit(name: str) -> str:
    text, unit = label(name), FIELDS[name].metadata["unit"]
    return f"{text} ({unit})" if unit and unit not in text.lower() else text


def _number(name: str) -> type[int] | type[float]:
    hint = hints()[name]
    return float if float in (hint, *get_args(hint)) else int
