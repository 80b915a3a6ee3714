"""The picture in hand: taken in one view of Explore, there in every other. With undo and redo, and favourites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import streamlit as st

from ganlab.recipe import Anchor, Recipe
from ganlab.render import Model
from ganlab.scene import scene

MOST = 200  # pictures that can be taken back


@dataclass
class Hand:
    """`past`: the pictures taken, the one in hand last; `undone`: those taken back, the next to come again last."""

    past: list[Anchor]
    undone: list[Anchor] = field(default_factory=list)
    favourites: list[Anchor] = field(default_factory=list)

    @property
    def held(self) -> Anchor:
        return self.past[-1]

    def take(self, anchor: Anchor) -> None:
        if anchor != self.held:
            self.past = [*self.past, anchor][-MOST:]
            self.undone = []

    def undo(self) -> None:
        if len(self.past) > 1:
            self.undone.append(self.past.pop())

    def redo(self) -> None:
        if self.undone:
            self.past.append(self.undone.pop())

    def toggle_favourite(self) -> None:
        if self.held in self.favourites:
            self.favourites.remove(self.held)
        else:
            self.favourites.append(self.held)


def hand(name: str) -> Hand:
    """The hand of a model, as `catalog` names it. All snapshots of it share one: the same z at every step."""
    return st.session_state.setdefault(f"hand of {base_of(name)}", Hand([Anchor(0)]))


def base_of(name: str) -> str:
    """A model's name without the step of a snapshot."""
    base, _, step = name.rpartition("@")
    return base if base and step.isdigit() else name


def points(model: Model, anchors: Sequence[Anchor]) -> tuple[np.ndarray, np.ndarray | None]:
    """z float32 (N, latent_dim), and class weights float32 (N, num_classes) of a conditional model."""
    return scene(Recipe(model.name, tuple(anchors)), model)[:2]


def anchor_at(model: Model, z: np.ndarray, weights: np.ndarray | None = None) -> Anchor:
    """The anchor of z (latent_dim,) and class weights (num_classes,)."""
    if weights is None:
        return Anchor.of(z)
    return Anchor.of(z, tuple((model.classes[i], float(weights[i])) for i in np.flatnonzero(weights)))
