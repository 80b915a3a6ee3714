"""A row of key pictures: one chooses each, by a seed, or takes the picture in hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from ganlab.app.components.sprite import sprite
from ganlab.app.explore.hand import Hand, points
from ganlab.app.widgets import MAX_SEED, OWN_CLASS
from ganlab.recipe import Anchor, Blend
from ganlab.render import Model

LETTERS = "ABCDEFGHIJKL"  # so many at most
BLEND = "A blend"
PICTURE = 104  # width of each, in pixels of the page


@dataclass
class Keys:
    """What was chosen: the pictures, and the place of the one that the fields beneath are about. `first`: what they
    were at the beginning, which another link changes."""

    first: tuple[Anchor, ...]
    anchors: list[Anchor]
    chosen: int = 0

    @property
    def anchor(self) -> Anchor:
        return self.anchors[self.chosen]

    def put(self, anchor: Anchor) -> None:
        self.anchors[self.chosen] = anchor

    def insert(self, anchor: Anchor) -> None:
        self.chosen += 1
        self.anchors.insert(self.chosen, anchor)

    def remove(self) -> None:
        del self.anchors[self.chosen]
        self.chosen = min(self.chosen, len(self.anchors) - 1)


def keys_of(model: Model, name: str, first: Sequence[Anchor]) -> Keys:
    """The key pictures that a view `name` has for a model, at first these."""
    kept: Keys | None = st.session_state.get(place := f"{name} of {model.config.latent_dim} {model.classes}")
    if kept is None or kept.first != tuple(first):
        kept = st.session_state[place] = Keys(tuple(first), list(first))
    return kept


def choose(
    model: Model, held: Hand, kept: Keys, key: str, *, least: int = 2, most: int = 12, blend: Blend = ()
) -> None:
    """The row, and beneath it the fields for the chosen one. `blend`: the class of all, where there is one for all."""
    num = len(kept.anchors)
    images = model.generate(*points(model, [replace(a, blend=blend or a.blend) for a in kept.anchors]))
    names = [f"{letter}, {told(a)}" for letter, a in zip(LETTERS, kept.anchors, strict=False)]

    def pick(i: int) -> None:
        kept.chosen = i

    with st.container(width=num * PICTURE):
        sprite(images, num, f"{key} row", "Key pictures", names=names, chosen=kept.chosen, on_pick=pick)
    letter = LETTERS[kept.chosen]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _seed(kept, letter, key)
        if model.num_classes and not blend:
            _class(kept, model, letter, key)
        st.button(
            "Picture in hand",
            icon=":material/pan_tool_alt:",
            key=f"{key} put",
            help=f"Put the picture in hand in the place of {letter}",
            on_click=lambda: kept.put(held.held),
        )
        if most > least:
            st.button(
                "Add",
                icon=":material/add:",
                key=f"{key} add",
                help=f"Put the picture in hand behind {letter}",
                disabled=num >= most,
                on_click=lambda: kept.insert(held.held),
            )
            st.button(
                "Remove", icon=":material/remove:", key=f"{key} remove", disabled=num <= least, on_click=kept.remove
            )


def told(anchor: Anchor) -> str:
    """An anchor in words."""
    return f"seed {anchor.at}" if isinstance(anchor.at, int) else "a place of its own"


def _seed(kept: Keys, letter: str, key: str) -> None:
    field, at = f"{key} seed", kept.anchor.at
    # a float: Streamlit checks only those for infinity
    st.session_state[field] = float(at) if isinstance(at, int) and at <= MAX_SEED else None

    def put() -> None:
        if (value := st.session_state[field]) is not None:
            kept.put(replace(kept.anchor, at=int(value + 0.5)))

    with st.container(width=130):
        about = "The number that the picture is made from. Empty: it was found, not drawn by a seed."
        st.number_input(
            f"Seed of {letter}", 0.0, float(MAX_SEED), None, 1.0, "%.0f", key=field, help=about, on_change=put
        )


def _class(kept: Keys, model: Model, letter: str, key: str) -> None:
    field, blend = f"{key} class", kept.anchor.blend
    free = isinstance(kept.anchor.at, int)  # a seed has a class of its own
    options = [*([OWN_CLASS] if free else []), *model.classes, *([BLEND] if len(blend) > 1 else [])]
    st.session_state[field] = BLEND if len(blend) > 1 else blend[0][0] if blend else OWN_CLASS

    def put() -> None:
        value = st.session_state[field]
        if value != BLEND:
            kept.put(replace(kept.anchor, blend=() if value == OWN_CLASS else ((value, 1.0),)))

    with st.container(width=150):
        st.selectbox(f"Class of {letter}", options, key=field, on_change=put)
