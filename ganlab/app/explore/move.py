"""The view Move: a plane of pictures that one drags across, drawn in the browser."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab import export, lattice, render
from ganlab.app import widgets
from ganlab.app.components.latent_plane import Place, latent_plane
from ganlab.app.components.latent_plane import Plane as Ground
from ganlab.app.explore.hand import Hand, anchor_at, hand, points
from ganlab.app.explore.keys import Keys, choose, keys_of
from ganlab.app.explore.recipes import ENDLESS, THREE, blend_of, linked, read_place, recipe, share, usual, write_place
from ganlab.app.explore.save import Film
from ganlab.app.explore.wall import choose_truncation
from ganlab.app.widgets import MAX_SEED, download
from ganlab.recipe import Anchor, Recipe
from ganlab.render import Model
from ganlab.scene import scene

KEY, STARTS = "latent_plane", "latent_plane_starts"
WALK_FRAMES = 240  # of a walk once around
MAP = 9  # tiles along a side of a map as a file
ABOUT_PLANE = (
    "Endless: noise at every crossing of a lattice, blended smoothly in between, as typical at every point. "
    "Through three: the plane on which three pictures of your choice lie: A, B to its right, C below it."
)
ABOUT_SEED = "Another number, another endless plane."
ABOUT_CLASS = "All of a plane is of one class."
MIDDLE = Place(0.5, 0.5)  # of three pictures


def move(model: Model, name: str, intro: DeltaGenerator, choice: DeltaGenerator) -> None:
    """The plane first; beneath it what kind of plane, and what leads here again."""
    intro.markdown("**Drag anywhere.** Every point of this endless plane is a picture, made while you look.")
    held, plane_place, controls = hand(name), st.container(), st.columns((5, 6), gap="large")
    shown = choose_plane(model, name, *controls)
    with controls[1]:
        files = st.container(horizontal=True)
    ground, start = ground_of(shown, model), _start(middle_of(shown))
    with plane_place:
        plane = ENDLESS if shown.show == "lattice" else THREE
        place = latent_plane(model, name.partition("@")[0], ground, start, f"{KEY}_{plane}")
    if place != start or "x" in st.query_params:
        st.query_params.update(write_place(place))
    here = replace(shown, x=place.x, y=place.y, zoom=place.zoom)
    with files:
        st.button(
            "Take this picture",
            icon=":material/pan_tool_alt:",
            type="primary",
            help="Take the large picture in hand: other views go on from it",
            on_click=_take,
            args=(here, model, held),
        )
        share(here, model, "picture", film=_walk(here, model))
        download("Map", lambda: export.png_bytes(_map(here, model)), "map.png", "The tiles around it")


def choose_plane(model: Model, name: str, left: DeltaGenerator, right: DeltaGenerator) -> Recipe:
    """Fields for a plane: on the left what kind, on the right which. Its recipe, at no place yet."""
    with left:
        plane = widgets.segments("Plane", [ENDLESS, THREE], usual().get("plane", ENDLESS), "plane", help=ABOUT_PLANE)
        truncation = choose_truncation() if plane == ENDLESS else 1.0
        label = widgets.choose_class(model, ABOUT_CLASS, usual().get("class"))
    with right:
        if plane == ENDLESS:
            return _endless(model, name, label, truncation)
        return _through(model, name, label, hand(name))


def middle_of(shown: Recipe) -> Place:
    """Where a plane opens."""
    return Place() if shown.show == "lattice" else MIDDLE


def _endless(model: Model, name: str, label: str | None, truncation: float) -> Recipe:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=150):
            seed = widgets.seed_input("Seed of the plane", "lattice", usual().get("lattice", 0), ABOUT_SEED)
        st.button("Another plane", icon=":material/casino:", on_click=_next_plane, args=(seed,))
    return recipe(name, anchors=(Anchor(seed),), show="lattice", blend=blend_of(label), truncation=truncation)


def _through(model: Model, name: str, label: str | None, held: Hand) -> Recipe:
    kept, blend = corners(model), blend_of(label)
    if model.num_classes and not blend:
        y = points(model, kept.anchors[:1])[1]
        assert y is not None
        blend = anchor_at(model, np.zeros(1), y[0]).blend
    choose(model, held, kept, "corners", least=3, most=3, blend=blend)
    return recipe(name, anchors=tuple(replace(a, blend=()) for a in kept.anchors), show="through", blend=blend)


def corners(model: Model) -> Keys:
    """The three pictures of the plane through three."""
    asked = linked()
    first = asked.anchors if asked and asked.show in ("through", "plane") else (Anchor(1), Anchor(2), Anchor(3))
    return keys_of(model, "corners", first)


def ground_of(shown: Recipe, model: Model) -> Ground:
    """The plane of a recipe that shows a place, for the component that draws it."""
    y = scene(replace(shown, num=None), model).y
    weights = None if y is None else y[0]
    if shown.show == "lattice":
        seed = shown.anchors[0].at
        assert isinstance(seed, int)
        return Ground(seed, None, shown.truncation, weights)
    return Ground(0, points(model, [replace(a, blend=shown.blend) for a in shown.anchors])[0], 1.0, weights)


def _take(here: Recipe, model: Model, held: Hand) -> None:
    z, y, _ = scene(here, model)
    held.take(anchor_at(model, z[0], None if y is None else y[0]))


def _map(here: Recipe, model: Model) -> np.ndarray:
    z, y, columns = scene(replace(here, num=MAP), model)
    return render.grid(model.generate(z, y), columns)


def _walk(here: Recipe, model: Model) -> Film:
    """A film of the walk that begins here, once around, as the page plays it."""

    def draw(progress: export.Progress) -> np.ndarray:
        ground = ground_of(here, model)
        ways = lattice.along(lattice.walk(ground.seed), np.arange(WALK_FRAMES) / WALK_FRAMES) / here.zoom
        return ground.pictures(model, here.x + ways[:, 0], here.y + ways[:, 1])

    return Film(f"walk {here}", draw, "A film of the walk that begins here, once around", bounce=False)


def _next_plane(seed: int) -> None:
    st.session_state["lattice"] = seed + 1 if seed < MAX_SEED else 0


def _start(usual: Place) -> Place:
    """Where the plane opens: where the address says, else as usual. It stays while one moves: a new one is an order to
    go there."""
    starts = st.session_state.setdefault(STARTS, {})
    if usual not in starts:
        params = st.query_params.to_dict()
        starts[usual] = (None if starts or "x" not in params else read_place(params)) or usual
    return starts[usual]


def leave() -> None:
    """Another view is shown: when one comes back, it opens where the address says."""
    st.session_state.pop(STARTS, None)
