"""Explore: a wall of pictures, the plane through three of them, the way from one to another.

Widgets make a recipe; a recipe makes pictures, files, and the command and the link that make them again.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab import catalog, export, latent, render
from ganlab.app import card, widgets
from ganlab.app.state import model_names, open_model, runs
from ganlab.app.widgets import MAX_SEED, download, script
from ganlab.errors import GanlabError
from ganlab.render import Model
from ganlab.rundir import RunDir

NUMBERS = (16, 36, 64, 100)  # pictures on a wall: squares
SIZES = (5, 15)  # pictures along a side of the plane
FRAMES = (3, 25)  # pictures of a strip
TRUNCATION = (0.0, 1.5)
FILM_FRAMES = 60  # of a GIF
PICTURE = 560  # width of a wall or plane: with the page's head it fits a laptop's screen
FULL = 1040  # width of the page, and of a strip
SPLIT = (14, 11)  # picture, controls
AROUND = (
    "Around: along the shell on which nearly all random z lie, so that every picture on the way is as typical as A and "
    "B (slerp; White 2016, arXiv:1609.04468)."
)
STRAIGHT = (
    "Straight through the inside (lerp). Halfway z is shorter than nearly any z that the network was trained on, and "
    "pictures may turn dull or mixed."
)
OF_A = "All pictures here are of one class. Each seed's own: that of A."
PATHS: dict[latent.PathKind, tuple[str, str]] = {"slerp": ("Spherical", AROUND), "lerp": ("Linear", STRAIGHT)}


# --- recipes: arguments to pictures, files and code; no widgets ----------------------------------------------------


@dataclass(frozen=True)
class Wall:
    """Pictures of the seeds seed, seed + 1, …; `label`: the class of all, else each has its own."""

    view: ClassVar = "Wall"
    num: int = 64
    seed: int = 0
    truncation: float = 1.0
    label: str | None = None

    @property
    def columns(self) -> int:
        return math.isqrt(self.num)

    def pictures(self, model: Model) -> np.ndarray:
        """uint8 (num, H, W, C)."""
        return model.sample(self.num, self.seed, self.truncation, self.label)

    def png(self, model: Model) -> bytes:
        return export.png_bytes(render.grid(self.pictures(model)))

    def gif(self, model: Model) -> bytes:
        """A film in which the pictures of the first row turn into each other, there and back."""
        seeds, frames = range(self.seed, self.seed + self.columns), 12 * (self.columns - 1) + 1
        z, y = latent.path(model.z(seeds, self.truncation), frames), None
        if (labels := model.labels_of(seeds, self.label)) is not None:
            y = latent.path(np.eye(model.num_classes)[labels], frames, "lerp")  # their classes too
        return export.gif_bytes(model.generate(z, y))

    def command(self, model: str) -> str:
        return (
            f"python -m ganlab sample {shlex.quote(model)} --num {self.num} --seed {self.seed} "
            f"--truncation {self.truncation:g}{_class_flag(self.label)} --out wall.png"
        )

    def python(self, model: str) -> str:
        label = "" if self.label is None else f", label={self.label!r}"
        return script(
            model,
            f"pictures = model.sample({self.num}, seed={self.seed}, truncation={self.truncation:g}{label})",
            'export.save_image(Path("wall.png"), render.grid(pictures))',
        )


@dataclass(frozen=True)
class Plane:
    """The plane through the pictures of three seeds, `size` pictures a side; all of the class `label` if there are."""

    view: ClassVar = "Plane"
    a: int = 1
    b: int = 2
    c: int = 3
    size: int = 9
    label: str | None = None

    def pictures(self, model: Model) -> np.ndarray:
        """uint8 (size * size, H, W, C), in reading order."""
        a, b, c = model.z([self.a, self.b, self.c])
        return _of_one_class(model, latent.plane(a, b, c, self.size), self.label)

    def png(self, model: Model) -> bytes:
        return export.png_bytes(render.grid(self.pictures(model)))

    def gif(self, model: Model) -> bytes:
        """A film from A to B to C and back to A."""
        z = latent.path(model.z([self.a, self.b, self.c]), FILM_FRAMES, closed=True)
        return export.gif_bytes(_of_one_class(model, z, self.label), bounce=False)

    def python(self, model: str) -> str:
        return script(
            model,
            f"a, b, c = model.z([{self.a}, {self.b}, {self.c}])",
            f"pictures = model.generate(latent.plane(a, b, c, {self.size}){_labels(self.size**2, self.label)})",
            'export.save_image(Path("plane.png"), render.grid(pictures))',
        )


@dataclass(frozen=True)
class Walk:
    """The way from one seed's picture to another's, in `frames` pictures; all of the class `label` if there are."""

    view: ClassVar = "Interpolate"
    a: int = 1
    b: int = 2
    frames: int = 11
    label: str | None = None

    def z(self, model: Model, path: latent.PathKind, frames: int) -> np.ndarray:
        """Points on the way, (frames, latent_dim)."""
        return latent.path(model.z([self.a, self.b]), frames, path)

    def pictures(self, model: Model, path: latent.PathKind) -> np.ndarray:
        """uint8 (frames, H, W, C)."""
        return _of_one_class(model, self.z(model, path, self.frames), self.label)

    def png(self, model: Model, path: latent.PathKind) -> bytes:
        return export.png_bytes(render.strip(self.pictures(model, path)))

    def gif(self, model: Model, path: latent.PathKind) -> bytes:
        """A film there and back, smoother than the strip."""
        return export.gif_bytes(_of_one_class(model, self.z(model, path, FILM_FRAMES), self.label))

    def command(self, model: str) -> str:
        head = (
            f"python -m ganlab interpolate {shlex.quote(model)} --from {self.a} --to {self.b}{_class_flag(self.label)}"
        )
        files = [(self.frames, "png"), (FILM_FRAMES, "gif")]
        return "\n".join(f"{head} --path {p} --frames {n} --out {p}.{kind}" for p in PATHS for n, kind in files)

    def python(self, model: str) -> str:
        return script(
            model,
            f'z = latent.path(model.z([{self.a}, {self.b}]), {self.frames}, "slerp")  # or "lerp"',
            f'export.save_image(Path("slerp.png"), render.strip(model.generate(z{_labels(self.frames, self.label)})))',
        )


def _of_one_class(model: Model, z: np.ndarray, label: str | None) -> np.ndarray:
    """Pictures of points (N, latent_dim), of a class if the model is conditional: uint8 (N, H, W, C)."""
    return model.generate(z, None if label is None else model.labels_of(range(len(z)), label))


def _labels(num: int, label: str | None) -> str:
    """The same as an argument, in Python."""
    return "" if label is None else f", model.labels_of(range({num}), {label!r})"


def _class_flag(label: str | None) -> str:
    return "" if label is None else f" --class {shlex.quote(label)}"


# --- the page ------------------------------------------------------------------------------------------------------


def page() -> None:
    """The page: choose a model, then look at it."""
    with st.container(horizontal_alignment="center"), st.container(width=FULL):
        names = model_names()
        if not names:
            widgets.empty("No pictures yet", "They appear here as soon as a model has been in training for a moment.")
            return
        default = "mnist-dcgan" if "mnist-dcgan" in names else names[0]
        asked = {"model": default, **st.query_params.to_dict()}
        if "class" in st.session_state:
            asked.pop("class", None)  # chosen on this page, perhaps for another model: no word of a link
        head, choice = st.columns(SPLIT, gap="medium")
        with choice:
            name = widgets.choose_model(names, default)
        head.header("Every picture here is invented", anchor=False)
        try:
            model = open_model(name)
        except GanlabError as error:
            _complain(asked, names, ())
            st.error(f"**This model can't be opened.** {error} Choose another one above.", icon=":material/error:")
            return
        _complain(asked, names, model.classes)
        with head:
            widgets.model_facts(model, name)
        _look(model, name)
        card.show(name)


@st.fragment
def _look(model: Model, name: str) -> None:
    """The chosen view. A fragment: a slider draws nothing anew but this."""
    picture, controls = st.columns(SPLIT, gap="medium")
    with controls:
        view = widgets.segments("View", list(VIEWS), "Wall", "view", hide_label=True)
    try:
        VIEWS[view](model, name, picture, controls)
    except GanlabError as error:
        st.error(f"**These pictures can't be drawn.** {error}", icon=":material/error:")


def _wall(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    with controls, st.container(border=True):
        st.markdown("A neural network makes each picture from random numbers; its **seed** says which.")
        num = widgets.segments("Pictures", NUMBERS, 64, "num")
        label = widgets.choose_class(model, "Each seed's own: they take turns, from seed to seed.")
        about = "A factor on the random numbers. Below 1: more typical, more alike. Above 1: more daring, more broken."
        truncation = st.slider("Truncation", *TRUNCATION, 1.0, 0.05, key="truncation", help=about, bind="query-params")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            with st.container(width=150):
                seed = widgets.seed_input("First seed", "seed", 0, "The same seed always gives the same picture.")
            wall = Wall(num, seed, round(truncation, 2), label)
            st.button(
                "New pictures",
                icon=":material/casino:",
                type="primary",
                width="stretch",
                on_click=_next_wall,
                args=(wall,),
                help=f"Go on with the next {wall.num} seeds",
            )
    last = seed + wall.num - 1
    with controls, st.container(horizontal=True):
        download("PNG", lambda: wall.png(model), f"wall-{seed}.png")
        download("GIF", lambda: wall.gif(model), f"wall-{seed}.gif", "A film: the first row, one into the next")
        _share(wall, name, wall.command(name))
    with picture:
        alt = f"{wall.num} generated pictures in {wall.columns} rows, of the seeds {seed} to {last}"
        widgets.show(wall.pictures(model), wall.columns, width=PICTURE, alt=alt)
        st.caption(f"Top left is seed {seed}; then row by row, {wall.columns} a row, to seed {last}.")


def _next_wall(wall: Wall) -> None:
    following = wall.seed + wall.num
    st.session_state["seed"] = following if following <= MAX_SEED else 0


def _plane(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    with controls, st.container(border=True):
        st.markdown("Three pictures at three corners, each by its seed. Those between are a bit of each.")
        anchors = st.container()
        label = widgets.choose_class(model, OF_A)
        with anchors:
            corners = {"a": "A, top left", "b": "B, top right", "c": "C, bottom left"}
            (a, b, c), label = widgets.anchors(model, corners, 100, label)
        about = "More pictures, smaller steps between them."
        size = st.slider("Pictures a side", *SIZES, 9, key="size", help=about, bind="query-params")
    plane = Plane(a, b, c, size, label)
    with controls, st.container(horizontal=True):
        download("PNG", lambda: plane.png(model), f"plane-{a}-{b}-{c}.png")
        download("GIF", lambda: plane.gif(model), f"plane-{a}-{b}-{c}.gif", "A film: from A to B to C and back to A")
        _share(plane, name)
    with picture:
        alt = f"{size} by {size} generated pictures, blends of the seeds {a}, {b} and {c} at three corners"
        widgets.show(plane.pictures(model), size, width=PICTURE, alt=alt)
        st.caption(
            "A is top left, B top right, C bottom left; bottom right is where B and C lead together: B + C − A."
            + _all_of(label)
        )


def _interpolate(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
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
        _share(walk, name, walk.command(name))
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


VIEWS = {"Wall": _wall, "Plane": _plane, "Interpolate": _interpolate}


def _share(recipe: Wall | Plane | Walk, name: str, command: str | None = None) -> None:
    values = asdict(recipe)
    if (label := values.pop("label")) is not None:
        values["class"] = label
    widgets.link_popover(widgets.link_query(name, recipe.view, values))
    widgets.code_popover(command, recipe.python(name))


def _complain(params: Mapping[str, str], names: Sequence[str], classes: Sequence[str]) -> None:
    if complaint := _complaint(params, names, classes):
        st.warning(complaint, icon=":material/link_off:")


def _complaint(params: Mapping[str, str], names: Sequence[str], classes: Sequence[str]) -> str:
    """What of a link can't be shown, in words; empty if all can."""
    model = params["model"]
    if model not in names and model in [str(run.path) for run in runs()]:
        return f"`{model}` has no snapshot yet; the first comes soon. Reload the page then, and choose it."
    limits = {**dict.fromkeys(("seed", "a", "b", "c"), (0, MAX_SEED)), "size": SIZES, "frames": FRAMES}
    choices = {"model": names, "view": list(VIEWS), "num": [str(n) for n in NUMBERS]}
    if model in names and model not in catalog.released():
        choices["step"] = ["Newest", *widgets.steps_of(RunDir(model))]
    if classes:
        choices["class"] = [widgets.OWN_CLASS, *classes]
    bad = widgets.unusable(params, {**limits, "truncation": TRUNCATION}, choices)
    return f"This link can't be followed in all: {', '.join(bad)}. There you see the usual instead." if bad else ""
