"""A widget for every hyperparameter, made from the config's own fields."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args, get_origin

import streamlit as st

from ganlab.config import Config, hints

FIELDS = {f.name: f for f in dataclasses.fields(Config)}
LABELS = {
    "d_dropout": "D dropout",
    "d_steps": "D steps per G step",
    "ema_half_life": "EMA half-life",
    "latent_dim": "Latent dimension",
    "model": "Network",
    "prior": "Prior of z",
    "beta1": "Adam beta1",
    "beta2": "Adam beta2",
}
GROUPS = {  # tab: the fields in it; the data have widgets of their own
    group: tuple(name for name, f in FIELDS.items() if f.metadata["group"] == group)
    for group in dict.fromkeys(f.metadata["group"] for f in FIELDS.values())
    if group != "data"
}


def hyperparameter(name: str, default: Any, key: str) -> Any:
    """The widget of a field: its value, starting at `default`. Help, limits and unit come from the field."""
    meta, hint = FIELDS[name].metadata, hints()[name]
    label = LABELS.get(name, name.replace("_", " ").capitalize())
    if meta["unit"]:
        label = f"{label} ({meta['unit']})"
    options: dict[str, Any] = {"label": label, "key": key, "help": meta["help"]}
    if get_origin(hint) is Literal:
        return st.segmented_control(options=list(get_args(hint)), default=default, required=True, **options)
    if name == "seed":
        return st.number_input(min_value=meta["low"], max_value=meta["high"], value=default, step=1, **options)
    if type(None) in get_args(hint):
        choices = [None, *(c for c in scale(meta, default or meta["low"]) if c >= 10)]
        return st.select_slider(
            options=choices, value=default, format_func=lambda v: _text(v) if v else "as epochs", **options
        )
    if meta["scale"] != "linear":
        return st.select_slider(options=scale(meta, default), value=default, format_func=_text, **options)
    number = float if hint is float else int
    low, high, step = (number(meta[k]) for k in ("low", "high", "step"))
    decimals = len(f"{meta['step']:g}".partition(".")[2])
    return st.slider(
        min_value=low, max_value=high, value=number(default), step=step, format=f"%.{decimals}f", **options
    )


def scale(meta: Any, default: float) -> list[Any]:
    """The values of a slider whose field is not linear: 1, 2, 5, 10, … or 8, 16, 32, …; `default` is among them."""
    low, high = meta["low"], meta["high"]
    if meta["scale"] == "doublings":
        values = {2**i for i in range(20)}
    else:
        exponents = range(-6, 9)
        values = {float(f"{m}e{e}") if e < 0 else m * 10**e for e in exponents for m in (1, 2, 5)}
    chosen = {v for v in values if low <= v <= high} | {default} | ({0} if low == 0 else set())
    return [type(default)(v) for v in sorted(chosen)]


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
