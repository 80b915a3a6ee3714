"""Views of still pictures: a wall, the plane through three of them, the ways from one to another."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab import latent
from ganlab.app import widgets
from ganlab.app.explore.recipes import PATHS, Plane, Spot, Walk, Wall
from ganlab.app.widgets import MAX_SEED, download
from ganlab.render import Model

NUMBERS = (16, 36, 64, 100)  # pictures on a wall: squares
SIZES = (5, 15)  # pictures along a side of the plane
FRAMES = (3, 25)  # pictures of a strip
TRUNCATION = (0.0, 1.5)
PICTURE = 560  # width of a wall or plane: with the page's head it fits a laptop's screen
FULL = 1040  # width of the page, and of a strip
OF_A = "All pictures here are of one class. Each seed's own: that of A."
ABOUT_TRUNCATION = (
    "A factor on the random numbers. Below 1: more typical, more alike. Above 1: more daring, more broken."
)


def wall(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    with controls, st.container(border=True):
        st.markdown("A neural network makes each picture from random numbers; its **seed** says which.")
        num = widgets.segments("Pictures", NUMBERS, 64, "num")
        label = widgets.choose_class(model, "Each seed's own: they take turns, from seed to seed.")
        truncation = choose_truncation()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            with st.container(width=150):
                seed = widgets.seed_input("First seed", "seed", 0, "The same seed always gives the same picture.")
            shown = Wall(num, seed, truncation, label)
            st.button(
                "New pictures",
                icon=":material/casino:",
                type="primary",
                width="stretch",
                on_click=_next_wall,
                args=(shown,),
                help=f"Go on with the next {shown.num} seeds",
            )
    last = seed + shown.num - 1
    with controls, st.container(horizontal=True):
        download("PNG", lambda: shown.png(model), f"wall-{seed}.png")
        download("GIF", lambda: shown.gif(model), f"wall-{seed}.gif", "A film: the first row, one into the next")
        share(shown, name, shown.command(name))
    with picture:
        alt = f"{shown.num} generated pictures in {shown.columns} rows, of the seeds {seed} to {last}"
        widgets.show(shown.pictures(model), shown.columns, width=PICTURE, alt=alt)
        st.caption(f"Top left is seed {seed}; then row by row, {shown.columns} a row, to seed {last}.")


def _next_wall(wall: Wall) -> None:
    following = wall.seed + wall.num
    st.session_state["seed"] = following if following <= MAX_SEED else 0


def plane(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    with controls, st.container(border=True):
        st.markdown("Three pictures at three corners, each by its seed. Those between are a bit of each.")
        anchors = st.container()
        label = widgets.choose_class(model, OF_A)
        with anchors:
            corners = {"a": "A, top left", "b": "B, top right", "c": "C, bottom left"}
            (a, b, c), label = widgets.anchors(model, corners, 100, label)
        about = "More pictures, smaller steps between them."
        size = st.slider("Pictures a side", *SIZES, 9, key="size", help=about, bind="query-params")
    patch = Plane(a, b, c, size, label)
    with controls, st.container(horizontal=True):
        download("PNG", lambda: patch.png(model), f"plane-{a}-{b}-{c}.png")
        download("GIF", lambda: patch.gif(model), f"plane-{a}-{b}-{c}.gif", "A film: from A to B to C and back to A")
        share(patch, name)
    with picture:
        alt = f"{size} by {size} generated pictures, blends of the seeds {a}, {b} and {c} at three corners"
        widgets.show(patch.pictures(model), size, width=PICTURE, alt=alt)
        st.caption(
            "A is top left, B top right, C bottom left; bottom right is where B and C lead together: B + C − A."
            + _all_of(label)
        )


def interpolate(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    with controls, st.container(border=True):
        label = widgets.choose_class(model, OF_A)
        about = "Both ends included. More pictures, smaller steps."
        frames = st.slider("Pictures on the way", *FRAMES, 11, key="frames", help=about, bind="query-params")
    with picture:
        ends, text = st.columns(2, gap="medium", vertical_alignment="center")
        with ends:
            (a, b), label = widgets.anchors(model, {"a": "A, from seed", "b": "B, to seed"}, 126, label)
        text.markdown(
            "Behind every picture stands a point **z**, a list of random numbers. Two ways lead from A's to B's: "
            "around on a sphere, or straight through its inside." + _all_of(label)
        )
    walk = Walk(a, b, frames, label)
    with controls, st.container(horizontal=True):
        share(walk, name, walk.command(name))
    for path in PATHS:
        _strip(model, walk, path)


def _all_of(label: str | None) -> str:
    return f" All of class {label}." if label is not None else ""


def _strip(model: Model, walk: Walk, path: latent.PathKind) -> None:
    label, about = PATHS[path]
    start, middle, end = np.linalg.norm(walk.z(model, path, 3), axis=1)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{label}**", help=about, width="content")
        st.caption(f"length of z: {start:.1f} at A, {middle:.1f} halfway, {end:.1f} at B", width="stretch")
        with st.container(horizontal=True, width="content"):
            file = f"{path}-{walk.a}-{walk.b}"
            download("PNG", lambda: walk.png(model, path), f"{file}.png", key=f"{path}-png")
            download("GIF", lambda: walk.gif(model, path), f"{file}.gif", "A film, there and back", key=f"{path}-gif")
    alt = f"{walk.frames} generated pictures from seed {walk.a} to seed {walk.b}, {label.lower()} path"
    widgets.show(walk.pictures(model, path), walk.frames, width=FULL, alt=alt)


def share(recipe: Wall | Plane | Walk | Spot, name: str, command: str | None = None) -> None:
    values = asdict(recipe)
    if (label := values.pop("label")) is not None:
        values["class"] = label
    widgets.link_popover(widgets.link_query(name, recipe.view, values))
    widgets.code_popover(command, recipe.python(name))


def choose_truncation() -> float:
    """A slider for the factor on z, bound to the URL."""
    chosen = st.slider(
        "Truncation", *TRUNCATION, 1.0, 0.05, key="truncation", help=ABOUT_TRUNCATION, bind="query-params"
    )
    return round(chosen, 2)
