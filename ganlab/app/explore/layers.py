"""How the picture in hand comes to be: what each layer of the generator makes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab.app import widgets
from ganlab.app.explore.hand import hand, held_points
from ganlab.layer_values import Inside, Stage, strongest
from ganlab.program import Affine, Conv, ConvTranspose, Layer, Linear, Residual, flattened
from ganlab.render import Model

SHOWN = 12  # channels of a layer, in one row
TILE = 86  # width of each, in pixels of the page
ROWS = 8  # of the block in which numbers without a place are drawn
BELOW, ZERO, ABOVE = (np.array(c, np.float64) for c in ((217, 121, 63), (239, 236, 230), (91, 75, 224)))
COUNT = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
KINDS = {
    ConvTranspose: ("transposed convolution", "Every point of the maps before paints a small patch: twice as fine."),
    Conv: ("convolution", "Every point is a weighted sum of what lies around it in the maps before."),
    Residual: ("residual block", "Two convolutions add their detail to what came before, made twice as fine."),
    Linear: ("layer", "Every number is a weighted sum of all numbers before it."),
}


def layers(model: Model, name: str, intro: DeltaGenerator) -> None:
    intro.markdown(
        "**How does the picture in hand come to be?** From top to bottom, what the network has after each of its "
        "layers. It works with many maps at once, its **channels**; here are those that speak up most."
    )
    intro.caption("Pale is zero, blue above, orange below; the deeper, the stronger. Each layer has its own scale.")
    z, y = held_points(model, hand(name))
    stages = _inside(model.sha256, model).stages(z[0], None if y is None else y[0])
    *before, (end, about_end) = described(stages, model)
    for stage, (title, about) in zip(stages[:-1], before, strict=True):
        _stage(stage, title, about)
    st.markdown(f"**{end}** is the one in hand, beneath.", help=about_end)


@st.cache_resource(max_entries=2, show_spinner=False)
def _inside(sha256: str, _model: Model) -> Inside:
    return Inside(_model)


def _stage(stage: Stage, title: str, about: str) -> None:
    with st.container(gap="xsmall"):
        st.markdown(f"**{title}**", help=about)
        values = stage.values
        if values.ndim == 1:
            block = _block(values)
            widgets.show(shaded(block[None]), 1, width=SHOWN * TILE, alt=f"{title}: {len(values)} numbers as squares")
            st.caption(f"Each square is one of {len(values)} numbers; {_silent(values[:, None, None])}.")
            return
        channels = strongest(values, SHOWN)
        alt = f"{title}: the {len(channels)} strongest channels, {', '.join(map(str, channels))}"
        widgets.show(shaded(values[channels]), len(channels), width=len(channels) * TILE, alt=alt)
        st.caption(f"The {len(channels)} strongest of {len(values)} channels; {_silent(values)}.")


def _silent(values: np.ndarray) -> str:
    """How many channels (C, H, W) are zero everywhere."""
    silent = int((values == 0).all((1, 2)).sum())
    return f"{silent or 'none'} {'is' if silent in (0, 1) else 'are'} silent for this picture"


def _block(values: np.ndarray) -> np.ndarray:
    """Numbers (F,) in rows, (ROWS, columns), as far as they go."""
    padded = np.pad(values, (0, -len(values) % ROWS))
    return padded.reshape(ROWS, -1)


def shaded(maps: np.ndarray) -> np.ndarray:
    """Maps (N, H, W) in shades, uint8 (N, H, W, 3): pale at zero, deepest where an absolute value is among
    the largest hundredth of all."""
    scale = float(np.quantile(np.abs(maps), 0.99)) or float(np.abs(maps).max()) or 1.0
    share = (maps / scale).clip(-1, 1)[..., None]
    return np.rint(ZERO + np.where(share > 0, ABOVE - ZERO, BELOW - ZERO) * abs(share)).astype(np.uint8)


def described(stages: Sequence[Stage], model: Model) -> list[tuple[str, str]]:
    """What each stage is, in a title and a sentence."""
    found: list[tuple[str, str]] = []
    count: dict[type, int] = {}
    for i, stage in enumerate(stages):
        kind = _kind(stage.layers)
        if i == len(stages) - 1:
            found.append(("The picture", f"{_how(kind)} Its values, from -1 to 1, are the grey levels or colours."))
            continue
        size = f"{len(stage.values)} numbers" if stage.values.ndim == 1 else _size(stage.values)
        if i == 0 and stage.values.ndim > 1:
            beside = " and the class" if model.config.conditioning == "concat" else ""
            about = f"The {model.config.latent_dim} random numbers{beside}, spread out over coarse maps."
            found.append((f"{size}, where it begins", about + _classes(stage)))
            continue
        if kind is None:
            found.append((f"{size}, cut off below zero", "What goes into the picture." + _classes(stage)))
            continue
        count[kind] = count.get(kind, 0) + 1
        found.append((f"{size}, after the {COUNT[count[kind] - 1]} {KINDS[kind][0]}", KINDS[kind][1] + _classes(stage)))
    return found


def _classes(stage: Stage) -> str:
    """That the class has a say here, if it has."""
    told = any(isinstance(layer, Affine) and layer.scale.ndim > 1 for layer in flattened(stage.layers))
    return " The class says how strong each channel is." if told else ""


def _size(values: np.ndarray) -> str:
    channels, height, width = values.shape
    return f"{height} × {width}, {channels} channels"


def _kind(layers: Sequence[Layer]) -> type | None:
    """What a stage is called after: its first layer with weights that mix."""
    return next((kind for layer in layers for kind in KINDS if isinstance(layer, kind)), None)


def _how(kind: type | None) -> str:
    return KINDS[kind][1] if kind else ""
