"""A pad to draw on, with a finger, a pen or a mouse; `pad.js` says how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ganlab.data.drawing import Stroke, read_strokes

HERE = Path(__file__).parent
_PAD = st.components.v2.component(
    "ganlab_pad",
    html=(HERE / "pad.html").read_text(),
    css=(HERE / "pad.css").read_text(),
    js=(HERE / "pad.js").read_text(),
)


def pad(key: str, *, colour: bool) -> tuple[Stroke, ...]:
    """The strokes that a person has drawn on black; they stay while the page is open, also where the pad is not shown.

    `colour`: whether one chooses the colour of the pen; otherwise it is white. Raises DataError for strokes that no
    pad draws.
    """
    kept = f"{key} strokes"

    def keep() -> None:
        st.session_state[kept] = st.session_state[key].strokes

    strokes: Any = st.session_state.get(kept) or []
    _PAD(key=key, data={"strokes": strokes, "colour": colour}, on_strokes_change=keep)
    return read_strokes(strokes)
