"""The view Move: a plane of pictures that one drags across, drawn in the browser."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab.app import widgets
from ganlab.app.components.latent_plane import Place, latent_plane
from ganlab.app.explore.recipes import ENDLESS, THREE, Spot, read_place, write_place
from ganlab.app.explore.stills import OF_A, choose_truncation, share
from ganlab.app.widgets import MAX_SEED, download
from ganlab.render import Model

KEY, STARTS = "latent_plane", "latent_plane_starts"
ABOUT_PLANE = (
    "Endless: noise at every crossing of a lattice, blended smoothly in between, as typical at every point. "
    "Through three: the plane on which three pictures of your choice lie."
)
ABOUT_SEED = "Another number, another endless plane."
CORNERS = {"a": "A", "b": "B, right of A", "c": "C, below A"}
MIDDLE = Place(0.5, 0.5)  # of three pictures


def move(model: Model, name: str, intro: DeltaGenerator, choice: DeltaGenerator) -> None:
    """The plane first; beneath it what kind of plane, and what leads here again."""
    intro.markdown("**Drag anywhere.** Every point of this endless plane is a picture, made while you look.")
    plane_place, controls = st.container(), st.columns((5, 6), gap="large")
    with controls[0]:
        plane = widgets.segments("Plane", [ENDLESS, THREE], ENDLESS, "plane", help=ABOUT_PLANE)
        truncation = choose_truncation()
    with controls[1]:
        label = widgets.choose_class(model, OF_A if plane == THREE else "Each seed's own: that of the plane's seed.")
        if plane == THREE:
            (a, b, c), label = widgets.anchors(model, CORNERS, 120, label)
            spot = Spot(plane=plane, a=a, b=b, c=c, truncation=truncation, label=label)
        else:
            seed = _choose_seed()
            if label is None and (own := model.labels_of([seed])) is not None:
                label = model.classes[own[0]]
            spot = Spot(lattice=seed, truncation=truncation, label=label)
        files = st.container(horizontal=True)
    start = _start(Place() if plane == ENDLESS else MIDDLE)
    with plane_place:
        place = latent_plane(model, name.partition("@")[0], spot.ground(model), start, f"{KEY}_{plane}")
    if place != start or "at" in st.query_params:
        st.query_params["at"] = write_place(place)
    here = replace(spot, at=write_place(place))
    with files:
        download("PNG", lambda: here.png(model), "picture.png", "The large picture, each pixel as 8 × 8")
        download("Map", lambda: here.map_png(model), "map.png", "The tiles around it")
        download("GIF", lambda: here.gif(model), "walk.gif", "A film of the walk that begins here")
        share(here, name)


def _choose_seed() -> int:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=150):
            seed = widgets.seed_input("Seed of the plane", "lattice", 0, ABOUT_SEED)
        st.button("Another plane", icon=":material/casino:", width="stretch", on_click=_next_plane, args=(seed,))
    return seed


def _next_plane(seed: int) -> None:
    st.session_state["lattice"] = seed + 1 if seed < MAX_SEED else 0


def _start(usual: Place) -> Place:
    """Where the plane opens: where the address says, else as usual. It stays while one moves: a new one is an order to
    go there."""
    starts = st.session_state.setdefault(STARTS, {})
    if usual not in starts:
        linked = None if starts else read_place(st.query_params.get("at", ""))
        starts[usual] = linked or usual
    return starts[usual]


def leave() -> None:
    """Another view is shown: when one comes back, it opens where the address says."""
    st.session_state.pop(STARTS, None)
