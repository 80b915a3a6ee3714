"""The picture in hand, beneath every view: back and forth, favourites, its numbers, its files."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from ganlab import latent
from ganlab.app import widgets
from ganlab.app.components.sprite import sprite
from ganlab.app.explore.hand import Hand, anchor_at, hand, held_points, points
from ganlab.app.explore.keys import told
from ganlab.app.explore.recipes import recipe, share
from ganlab.app.widgets import download
from ganlab.errors import GanlabError
from ganlab.recipe import Anchor
from ganlab.render import Model

PICTURE = 140  # width of the picture, and of a favourite, in pixels of the page
FAVOURITE = 62
IN_A_ROW = 14


def panel(model: Model, name: str) -> None:
    """The card of the picture in hand."""
    held = hand(name)
    z, y = held_points(model, held)
    with st.container(border=True):
        left, right = st.columns((PICTURE, 700), gap="medium", vertical_alignment="center")
        with left:
            widgets.show(model.generate(z, y), 1, width=PICTURE, alt=f"The picture in hand: {told(held.held)}")
        with right:
            st.markdown("**In hand**", help="Take a picture in any view: it stays here, and other views go on from it.")
            st.caption(_about(model, held.held, z[0], y))
            with st.container(horizontal=True):
                _buttons(held)
                _numbers(model, held, z[0], y)
                share(recipe(name, anchors=(held.held,)), model, "in-hand")
                about = "The generator for onnxruntime and others: z to pictures. For a model of classes, also y."
                download("ONNX", partial(_onnx, model), "generator.onnx", about)
        if held.favourites:
            _favourites(model, name, held)


def _about(model: Model, anchor: Anchor, z: np.ndarray, y: np.ndarray | None) -> str:
    low, high = latent.shell(model.config.latent_dim, model.config.prior)
    length = float(np.linalg.norm(z))
    where = "as usual" if low <= length <= high else "shorter than usual" if length < low else "longer than usual"
    words = [told(anchor).capitalize(), f"length of z {length:.2f}, {where} ({low:.1f} to {high:.1f})"]
    if y is not None:
        parts = [(model.classes[i], float(y[0][i])) for i in np.flatnonzero(y[0])]
        words.insert(1, "class " + (parts[0][0] if len(parts) == 1 else ", ".join(f"{c} {w:.0%}" for c, w in parts)))
    return " · ".join(words)


def _buttons(held: Hand) -> None:
    is_favourite = held.held in held.favourites
    for label, icon, action, off, about in (
        ("Undo", "undo", held.undo, len(held.past) < 2, "Back to the picture before"),
        ("Redo", "redo", held.redo, not held.undone, "Forth again"),
        (
            "Favourite",
            "heart_minus" if is_favourite else "favorite",
            held.toggle_favourite,
            False,
            "One no more" if is_favourite else "Keep this picture at hand",
        ),
    ):
        st.button(label, icon=f":material/{icon}:", key=f"hand {label}", on_click=action, disabled=off, help=about)


def _numbers(model: Model, held: Hand, z: np.ndarray, y: np.ndarray | None) -> None:
    """z as text, to copy and to paste."""
    with st.popover("z", icon=":material/data_array:", help="The numbers behind the picture, to copy and to paste"):
        st.markdown(f"The {len(z)} numbers that this picture is made from, as text to copy:")
        st.code(latent.to_text(z), language=None, wrap_lines=True, width=widgets.CODE)
        text = st.text_input("Paste such a text, or numbers", key="pasted z", placeholder="z16:… or 0.1, -0.7, …")
        if st.button("Take it in hand", disabled=not text):
            try:
                found = latent.from_text(text)
                anchor = anchor_at(model, found, None if y is None else y[0])
                points(model, [anchor])
            except GanlabError as error:
                st.error(str(error), icon=":material/error:")
                return
            held.take(anchor)
            st.rerun()


def _favourites(model: Model, name: str, held: Hand) -> None:
    shown = held.favourites[-4 * IN_A_ROW :]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Favourites**", help="They last as long as this page is open; their link lasts.", width="stretch")
        with st.container(horizontal=True, width="content"):
            share(recipe(name, anchors=tuple(shown)), model, "favourites")
    columns = min(len(shown), IN_A_ROW)
    names = [f"Favourite {i + 1}, {told(anchor)}" for i, anchor in enumerate(shown)]
    chosen = shown.index(held.held) if held.held in shown else None
    with st.container(width=columns * FAVOURITE):
        sprite(
            model.generate(*points(model, shown)),
            columns,
            "favourites",
            "Favourites",
            names=names,
            chosen=chosen,
            on_pick=lambda i: held.take(shown[i]),
        )


def _onnx(model: Model) -> bytes:
    from ganlab.onnx_graph import to_onnx  # here: onnx is large, and few ask for the file

    return to_onnx(model.program)
