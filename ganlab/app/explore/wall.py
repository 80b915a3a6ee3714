"""The view Wall: many pictures at once, of which one takes one in hand."""

from __future__ import annotations

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab.app import widgets
from ganlab.app.components.sprite import sprite
from ganlab.app.explore.hand import anchor_at, hand, points
from ganlab.app.explore.recipes import NUMBERS, blend_of, recipe, share, usual
from ganlab.app.widgets import MAX_SEED
from ganlab.recipe import Anchor
from ganlab.render import Model

TRUNCATION = (0.0, 1.5)
ABOUT_TRUNCATION = (
    "A factor on the random numbers. Below 1: more typical, more alike. Above 1: more daring, more broken."
)


def wall(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    first = usual()
    with controls, st.container(border=True):
        st.markdown("A neural network makes each picture from random numbers; its **seed** says which.")
        num = widgets.segments("Pictures", NUMBERS, first.get("num", 64), "pictures")
        label = widgets.choose_class(model, "Each seed's own: they take turns, from seed to seed.", first.get("class"))
        truncation = choose_truncation()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            with st.container(width=150):
                about = "The same seed always gives the same picture."
                seed = widgets.seed_input("First seed", "seed", first.get("seed", 0), about)
            st.button(
                "New pictures",
                icon=":material/casino:",
                type="primary",
                width="stretch",
                on_click=_go_on,
                args=(seed + num,),
                help=f"Go on with the next {num} seeds",
            )
    columns, last = math.isqrt(num), seed + num - 1
    blend = blend_of(label)
    anchors = tuple(Anchor(i) for i in range(seed, seed + num))
    shown = recipe(name, anchors=anchors, blend=blend, truncation=truncation)
    row = recipe(
        name, anchors=anchors[:columns], blend=blend, truncation=truncation, show="slerp", num=12 * (columns - 1) + 1
    )
    with controls, st.container(horizontal=True):
        share(shown, model, "wall", film=row)
    with picture:
        st.caption(f"Top left is seed {seed}; then row by row, {columns} a row, to seed {last}. Click one to take it.")
        z, y = model.z(range(seed, seed + num), truncation), model.labels_of(range(seed, seed + num), label)

        def take(i: int) -> None:
            anchor = Anchor(seed + i, blend)
            if truncation != 1:  # a place of its own then, not the seed's
                anchor = anchor_at(model, z[i], None if (w := points(model, [anchor])[1]) is None else w[0])
            hand(name).take(anchor)

        sprite(
            model.generate(z, y),
            columns,
            "wall",
            f"{num} generated pictures in {columns} rows, of the seeds {seed} to {last}",
            names=[f"Seed {seed + i}" for i in range(num)],
            on_pick=take,
        )


def _go_on(following: int) -> None:
    st.session_state["seed"] = following if following <= MAX_SEED else 0


def choose_truncation() -> float:
    """A slider for the factor on z, bound to the URL."""
    chosen = st.slider(
        "Truncation", *TRUNCATION, 1.0, 0.05, key="truncation", help=ABOUT_TRUNCATION, bind="query-params"
    )
    return round(chosen, 2)
