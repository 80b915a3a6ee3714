"""The view Project: a picture from outside, and the pictures of the model that come nearest to it, ever nearer."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab import catalog
from ganlab.app import widgets
from ganlab.app.components.sprite import sprite
from ganlab.app.explore.asked import ask
from ganlab.app.explore.hand import Hand, anchor_at, hand
from ganlab.app.explore.move import corners
from ganlab.app.explore.recipes import THREE, recipe, share
from ganlab.app.explore.search import BUSY, Search, search_for
from ganlab.errors import GanlabError
from ganlab.found import Typical, read_typical
from ganlab.recipe import Anchor
from ganlab.render import Model

LOOK = 0.5  # seconds between two looks at a worker
IN_A_ROW = 4
ASKED = 92  # width of the picture that is looked for, in pixels of the page
PLACES = ("The nearest", "The second", "The third", *(f"The {i}th" for i in range(4, 13)))
TAKEN = "taken of the nearest"
ABOUT_ERROR = (
    "Root mean square difference of all pixels, as a share of the way from black to white: 0 is the very same picture."
)


def project(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    with picture:
        things = "a digit" if model.config.data.startswith("mnist") else "something"
        st.markdown(f"**Draw {things}.** The model looks for it among all that it can make, and comes ever nearer.")
        image = ask(model)
    with controls, st.container(border=True):
        search = search_for(model, name, image)
        if search is None:
            st.markdown("**The eight nearest**")
            st.caption("They appear here as soon as there is a picture, and improve while you look.")
            return
        busy = search.state in BUSY
        found = st.fragment(_found, run_every=LOOK) if busy else _found
        found(model, name, search, busy)


def _found(model: Model, name: str, search: Search, busy: bool) -> None:
    search.look()
    taken = st.session_state.pop(TAKEN, False)
    if busy and (taken or search.state not in BUSY):
        st.rerun()  # the picture in hand has changed, or there is nothing to wait for any more
    held, found = hand(name), search.found
    anchors = [anchor_at(model, z, None if found.y is None else found.y[i]) for i, z in enumerate(found.z)]
    _asked(search)
    for row in range(0, len(anchors), IN_A_ROW):
        _row(held, anchors, search, row)
    st.caption("Best first, each with its error. Click one to take it in hand.")
    if busy:
        return
    _verdict(name, search)
    chosen = anchors[anchors.index(held.held) if held.held in anchors else 0]
    with st.container(horizontal=True):
        _onward(model, held, chosen)
        share(recipe(name, anchors=(chosen,)), model, "found")


def _onward(model: Model, held: Hand, anchor: Anchor) -> None:
    """Buttons that take a picture in hand and go on from it in other views."""

    def to(view: str) -> None:
        held.take(anchor)
        st.session_state["view"] = view

    def to_the_plane() -> None:
        to("Move")
        st.session_state["plane"] = THREE
        kept = corners(model)
        kept.chosen = 0
        kept.put(anchor)

    about = "Take it in hand, and change its slant, its thickness and more with sliders"
    st.button("Change it", icon=":material/tune:", type="primary", help=about, on_click=to, args=("Directions",))
    about = "Take it in hand, and walk on the plane through it and two others"
    st.button("Move on from it", icon=":material/open_with:", help=about, on_click=to_the_plane)


def _asked(search: Search) -> None:
    """The picture, how near the best comes, and how far the worker is."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        with st.container(width=ASKED):
            widgets.show(search.image[None], 1, width=ASKED, alt="The picture that is looked for")
        with st.container(width="stretch", gap="xsmall"):
            st.markdown(f"**Error of the nearest: {search.found.errors[0]:.3f}**", help=ABOUT_ERROR)
            if search.state in BUSY:
                st.progress(search.share, search.doing[:1].upper() + search.doing[1:])
                about = "Ends the search; what was found stays"
                st.button("Stop", icon=":material/stop:", key="stop the search", help=about, on_click=search.stop)
            elif search.state == "failed":
                st.error(f"The search ended early. {search.error}", icon=":material/error:")
            else:
                st.caption("Stopped; it may have come nearer." if search.state == "stopped" else "As near as it comes.")


def _row(held: Hand, anchors: list[Anchor], search: Search, row: int) -> None:
    places = range(row, min(row + IN_A_ROW, len(anchors)))
    errors = search.found.errors

    def take(i: int) -> None:
        held.take(anchors[row + i])
        st.session_state[TAKEN] = True

    sprite(
        search.found.images[row : row + IN_A_ROW],
        IN_A_ROW,
        f"found {row}",
        f"The nearest pictures, {row + 1} to {places[-1] + 1}",
        names=[f"{PLACES[i]}, error {errors[i]:.3f}" for i in places],
        captions=[f"{errors[i]:.3f}" for i in places],
        chosen=next((i - row for i in places if anchors[i] == held.held), None),
        on_pick=take,
    )


def _verdict(name: str, search: Search) -> None:
    typical, error = typical_of(name), float(search.found.errors[0])
    if typical is None:
        st.caption("Nobody has measured how near this model usually comes, so the error must speak for itself.")
    elif error <= typical.p95:
        st.badge("Within reach", icon=":material/check:", color="green")
        st.caption(typical.verdict(error))
    elif search.state == "done":
        st.badge("Out of reach", icon=":material/block:", color="orange")
        st.caption(typical.verdict(error))
    else:
        st.caption("Whether it can be reached shows only when the search has gone on to its end.")


def typical_of(name: str) -> Typical | None:
    """What is typical of a released model; None of others, and where nobody has measured it."""
    try:
        return read_typical(catalog.beside(name, "projection.json")) if name in catalog.released() else None
    except GanlabError:
        return None
