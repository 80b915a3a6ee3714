"""A wall of pictures of which a person can choose one, by pointer or by keyboard; `st.image` can't be clicked."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from ganlab.app.widgets import GAP
from ganlab.render import grid

HERE = Path(__file__).parent
_SPRITE = st.components.v2.component(
    "ganlab_sprite",
    html='<div class="wall"><canvas aria-hidden="true"></canvas><div class="buttons"></div></div>'
    '<div class="under"></div>',
    css=(HERE / "sprite.css").read_text(),
    js="".join((HERE / f"{name}.js").read_text() for name in ("wall", "sprite")),
)


def sprite(
    pictures: np.ndarray,
    columns: int,
    key: str,
    label: str,
    *,
    names: Sequence[str] = (),
    captions: Sequence[str] = (),
    chosen: int | None = None,
    marks: Sequence[str] = (),
    on_pick: Callable[[int], None] | None = None,
) -> None:
    """Draw pictures uint8 (N, H, W, C) as wide as there is room, in `columns` columns.

    label: what there is to see. names: what each picture is, which makes them buttons; chosen: the one with a ring.
    marks: a sign in the corner of each, or nothing. captions: a word or two beneath each picture of a single row.
    on_pick: hears the place of the picture that was clicked, before the page or fragment is drawn anew.
    """
    num, height, width, _ = pictures.shape

    def picked() -> None:
        place = st.session_state[key].picked
        if on_pick is not None and isinstance(place, int) and 0 <= place < num:
            on_pick(place)

    _SPRITE(
        key=key,
        data={
            "sprite": as_url(pictures, columns),
            **wall_data(num, columns, (height, width), label, names),
            "captions": list(captions),
            "chosen": chosen,
            "marks": list(marks),
        },
        on_picked_change=picked,
    )


def wall_data(num: int, columns: int, size: tuple[int, int], label: str, names: Sequence[str]) -> dict[str, object]:
    """What wall.js draws a wall by. size: height and width of a picture."""
    height, width = size
    return {
        "columns": columns,
        "num": num,
        "width": width,
        "height": height,
        "gap": 2 * GAP,
        "scale": -(-2 * 360 // (columns * width)),
        "label": label,
        "names": list(names),
    }


def as_url(pictures: np.ndarray, columns: int) -> str:
    """The pictures side by side, pixel for pixel, as a data URL."""
    buffer = io.BytesIO()
    picture = grid(pictures, columns)
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
