"""Explore: drag across an endless plane of pictures; a wall of them, ways from one to another, and to one from outside.

Widgets make a recipe; a recipe makes pictures, files, and the command and the link that make them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from ganlab.app import card, widgets
from ganlab.app.explore.directions import HOW, directions
from ganlab.app.explore.examine import PARTS, examine
from ganlab.app.explore.hand import base_of, hand
from ganlab.app.explore.interpolate import FRAMES, interpolate
from ganlab.app.explore.move import leave, move
from ganlab.app.explore.mutate import mutate
from ganlab.app.explore.panel import panel
from ganlab.app.explore.project import project
from ganlab.app.explore.recipes import ENDLESS, NUMBERS, THREE, into_hand, read_link, read_place, usual
from ganlab.app.explore.time import TIME, over_time
from ganlab.app.explore.wall import TRUNCATION, wall
from ganlab.app.state import model_names, open_model, runs
from ganlab.app.widgets import MAX_SEED
from ganlab.errors import GanlabError
from ganlab.render import Model

FULL = 1040  # width of the page
SPLIT = (14, 11)  # picture, controls
OPENS_WITH = "mnist-sn"
VIEWS = {
    "Move": move,
    "Wall": wall,
    "Interpolate": interpolate,
    "Directions": directions,
    "Mutate": mutate,
    "Project": project,
    TIME: over_time,
    "Examine": examine,
}


def page() -> None:
    """The page: choose a model, then look at it."""
    with st.container(horizontal_alignment="center"), st.container(width=FULL):
        names = model_names()
        if not names:
            widgets.empty("No pictures yet", "They appear here as soon as a model has been in training for a moment.")
            return
        default = OPENS_WITH if OPENS_WITH in names else names[0]
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
        card.show(base_of(name))


@st.fragment
def _look(model: Model, name: str) -> None:
    """The chosen view. A fragment: a slider draws nothing anew but this."""
    view = widgets.segments("View", list(VIEWS), usual().get("view", "Move"), "view", hide_label=True)
    picture, controls = st.columns(SPLIT, gap="medium")
    if view != "Move":
        leave()
    try:
        into_hand(model, hand(name))
        VIEWS[view](model, name, picture, controls)
        panel(model, name)
    except GanlabError as error:
        st.error(f"**These pictures can't be drawn.** {error}", icon=":material/error:")


def _complain(params: Mapping[str, str], names: Sequence[str], classes: Sequence[str]) -> None:
    if complaint := _complaint(params, names, classes):
        st.warning(complaint, icon=":material/link_off:")


def _complaint(params: Mapping[str, str], names: Sequence[str], classes: Sequence[str]) -> str:
    """What of a link can't be shown, in words; empty if all can."""
    model = params["model"]
    if model not in names and model in [str(run.path) for run in runs()]:
        return f"`{model}` has no snapshot yet; the first comes soon. Reload the page then, and choose it."
    limits = {**dict.fromkeys(("lattice", "seed", "samples", "taught"), (0, MAX_SEED)), "frames": FRAMES}
    choices = {
        "model": names,
        "view": list(VIEWS),
        "pictures": [str(n) for n in NUMBERS],
        "plane": [ENDLESS, THREE],
        "how": list(HOW),
        "part": list(PARTS),
    }
    try:
        read_link(params)
    except GanlabError as error:
        return f"This link can't be followed: {error} Here you see the usual instead."
    if read_place(params) is None:
        choices |= {key: [] for key in ("x", "y", "zoom") if key in params}
    if model in names and (steps := widgets.steps_of(model)):
        choices["step"] = ["Newest", *steps]
    if classes and "show" not in params:
        choices["class"] = [widgets.OWN_CLASS, *classes]
    bad = widgets.unusable(params, {**limits, "truncation": TRUNCATION}, choices)
    return f"This link can't be followed in all: {', '.join(bad)}. There you see the usual instead." if bad else ""
