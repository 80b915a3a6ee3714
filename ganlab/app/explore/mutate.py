"""The view Mutate: twelve children of the picture in hand; one of them goes on, and the way back stays in sight."""

from __future__ import annotations

from dataclasses import dataclass, field

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab.app.components.sprite import sprite
from ganlab.app.explore.hand import Hand, anchor_at, base_of, hand, points
from ganlab.app.explore.keys import told
from ganlab.app.explore.recipes import linked, recipe, share
from ganlab.app.widgets import MAX_SEED
from ganlab.recipe import Anchor, Recipe
from ganlab.render import Model
from ganlab.scene import CHILDREN_COLUMNS, scene

ANCESTOR, IN_A_ROW = 84, 12  # width of each, in pixels of the page
FILM_FRAMES = 60
ABOUT_STRENGTH = (
    "How far children are from their parent: at 0 all are like it, at 1 they have nothing of it. However far, they are "
    "as typical as any picture: z turns on the sphere where random z lie."
)
ABOUT_WANDER = "The chance of each child to be of another class than its parent."


@dataclass
class Line:
    """The pictures that led here, the first first; and the number of the next children's noise. `first`: what the link
    said that it began with."""

    first: tuple[object, ...] = ()
    pictures: list[Anchor] = field(default_factory=list)
    litter: int = 0

    def meet(self, held: Anchor) -> int:
        """The place of the picture in hand in the line; a picture from elsewhere begins a new one."""
        if held not in self.pictures:
            self.pictures = [held]
        return self.pictures.index(held)

    def go_on(self, parent: Anchor, child: Anchor) -> None:
        """The child follows its parent; what came after that is forgotten."""
        self.pictures = [*self.pictures[: self.pictures.index(parent) + 1], child]
        self.breed()

    def breed(self) -> None:
        self.litter = self.litter + 1 if self.litter < MAX_SEED else 0


def line_of(name: str, asked: Recipe | None) -> Line:
    """The line of a model; it begins anew with another link."""
    first = (asked.anchors, asked.strength, asked.wander, asked.litter) if asked else ()
    place = f"line of {base_of(name)}"
    kept: Line | None = st.session_state.get(place)
    if kept is None or kept.first != first:
        kept = st.session_state[place] = Line(first, litter=asked.litter if asked else 0)
        if asked:
            st.session_state.update({"strength": asked.strength, "wander": asked.wander})
    return kept


def mutate(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    asked = linked()
    kept, held = line_of(name, asked if asked and asked.show == "children" else None), hand(name)
    at = kept.meet(held.held)
    with controls, st.container(border=True):
        strength = _slider("Mutation", "strength", 0.3, ABOUT_STRENGTH)
        wander = _slider("Change of class", "wander", 0.0, ABOUT_WANDER) if model.num_classes else 0.0
        st.button(
            "Other children",
            icon=":material/casino:",
            type="primary",
            width="stretch",
            on_click=kept.breed,
            help="Twelve more of the same parent",
        )
    shown = recipe(name, anchors=(held.held,), show="children", strength=strength, wander=wander, litter=kept.litter)
    with controls, st.container(horizontal=True):
        share(shown, model, "children")
    with picture:
        st.markdown("**Breed pictures.** These are children of the picture in hand. Click one, and it has the next.")
        _children(model, shown, held, kept)
    _ancestors(model, name, held, kept, at)


def _slider(label: str, key: str, first: float, about: str) -> float:
    st.session_state.setdefault(key, first)
    return round(st.slider(label, 0.0, 1.0, step=0.05, key=key, help=about, persist_state="page"), 2)


def _children(model: Model, shown: Recipe, held: Hand, kept: Line) -> None:
    parent = held.held
    z, y, _ = scene(shown, model)

    def take(i: int) -> None:
        child = anchor_at(model, z[i], None if y is None else y[i])
        kept.go_on(parent, child)
        held.take(child)

    names = [f"Child {i + 1}" for i in range(len(z))]
    if y is not None:
        names = [f"{name}, {model.classes[int(row.argmax())]}" for name, row in zip(names, y, strict=True)]
    label = f"{len(z)} children of the picture in hand"
    sprite(model.generate(z, y), CHILDREN_COLUMNS, "children", label, names=names, on_pick=take)


def _ancestors(model: Model, name: str, held: Hand, kept: Line, at: int) -> None:
    start = max(0, min(at - IN_A_ROW // 2, len(kept.pictures) - IN_A_ROW))
    row = kept.pictures[start : start + IN_A_ROW]
    with st.container(horizontal=True, vertical_alignment="center"):
        about = "From the first to the newest. Click one to go back to it, and on from there."
        st.markdown(f"**Line**, generation {at + 1} of {len(kept.pictures)}", help=about, width="stretch")
        if len(kept.pictures) > 1:
            with st.container(horizontal=True, width="content"):
                walk = recipe(name, anchors=tuple(row), show="slerp", num=FILM_FRAMES)
                share(recipe(name, anchors=tuple(row)), model, "line", film=walk)
    with st.container(width=len(row) * ANCESTOR):
        sprite(
            model.generate(*points(model, row)),
            len(row),
            "line",
            "The pictures that led here",
            names=[f"Generation {start + i + 1}, {told(a)}" for i, a in enumerate(row)],
            chosen=at - start,
            on_pick=lambda i: held.take(row[i]),
        )
