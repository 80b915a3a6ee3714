"""Sliders along directions of latent space that move a large picture and samples beside it, live in the browser.

`sliders.js` says what it does. Where the browser can't draw, the server does, whenever a slider is let go.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from ganlab import export, render
from ganlab.app.components.generator import NO_SIMD, SERVER_DRAWS, content, generator
from ganlab.directions import Direction, move
from ganlab.render import Model

HERE = Path(__file__).parent
_SLIDERS = st.components.v2.component(
    "ganlab_sliders",
    html=(HERE / "sliders.html").read_text(),
    css=(HERE / "sliders.css").read_text(),
    js=(HERE / "sliders.js").read_text(),
)


@dataclass(frozen=True)
class Slider:
    """A direction, the words for it, and its group's place."""

    direction: Direction
    label: str
    about: str
    group: int


@dataclass(frozen=True)
class Heard:
    """Who hears what a person did, each called before the page is drawn anew. `moved` and `taken`: the amounts that are
    not 0, by the names of directions; `moved` also the number of the order that was the last when they moved. `sample`:
    the place of the one that was clicked. `chosen`: the name of a direction."""

    moved: Callable[[dict[str, float], int], None]
    taken: Callable[[dict[str, float]], None]
    sample: Callable[[int], None]
    chosen: Callable[[str], None]


def sliders(
    model: Model,
    z: np.ndarray,
    y: np.ndarray | None,
    shown: Sequence[Slider],
    groups: Sequence[tuple[str, str]],
    amounts: Mapping[str, float],
    order: tuple[str, int],
    key: str,
    heard: Heard,
    *,
    reach: float,
    label: str,
    names: Sequence[str],
    chosen: str | None,
) -> None:
    """Draw them for z (1 + S, latent_dim) and class weights y (1 + S, num_classes): the large picture, then samples.

    groups: titles and what they mean. amounts: where the sliders stand at first, and whenever `order`, a name and a
    number, is another than before. reach: the largest amount. label: what the large picture is; names: what each sample
    is. chosen: the name of the direction that stands out.
    """
    sent, reason = content(model.sha256, model.program)
    if sent and st.session_state.get(key, {}).get("unable"):
        sent, reason = None, NO_SIMD
    vectors = np.array([slider.direction.vector for slider in shown], np.float32)
    channels, height, width = model.program.output_shape

    def hear(event: str) -> Callable[[], None]:
        def call() -> None:
            if (values := st.session_state[key][event]) is not None:
                getattr(heard, event)(*values)

        return call

    _SLIDERS(
        key=key,
        data={
            "generator": generator(sent, f"{key}_generator") if sent else None,
            "latentDim": model.config.latent_dim,
            "numClasses": model.num_classes,
            "width": width,
            "height": height,
            "z": _base64(z),
            "y": None if y is None else _base64(y),
            "vectors": _base64(vectors),
            "sliders": [
                {"name": s.direction.name, "label": s.label, "about": s.about, "group": s.group} for s in shown
            ],
            "groups": [{"title": title, "about": about} for title, about in groups],
            "amounts": dict(amounts),
            "order": list(order),
            "range": reach,
            "label": label,
            "names": list(names),
            "chosen": chosen,
            "reason": f"{reason} {SERVER_DRAWS}" if reason else "",
            "served": None if sent else _served(model, z, y, shown, amounts),
        },
        on_moved_change=hear("moved"),
        on_taken_change=hear("taken"),
        on_sample_change=hear("sample"),
        on_chosen_change=hear("chosen"),
        on_unable_change=lambda: None,
    )


def _base64(numbers: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, "<f4").tobytes()).decode()


def _served(
    model: Model, z: np.ndarray, y: np.ndarray | None, shown: Sequence[Slider], amounts: Mapping[str, float]
) -> str:
    """The pictures side by side, moved, as a data URL."""
    steps = [(s.direction, amounts.get(s.direction.name, 0.0)) for s in shown]
    png = export.png_bytes(render.strip(model.generate(move(z, steps), y)))
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
