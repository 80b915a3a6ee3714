"""The same pictures at each snapshot of a training, and a slider over time: the browser has them all, so that it shows
another at once, or all of them as a film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from ganlab.app.components.sprite import HERE as SPRITE
from ganlab.app.components.sprite import wall_data

HERE = Path(__file__).parent
_TIME = st.components.v2.component(
    "ganlab_time_machine",
    html=(HERE / "time.html").read_text(),
    css=(SPRITE / "sprite.css").read_text() + (HERE / "time.css").read_text(),
    js=(SPRITE / "wall.js").read_text() + (HERE / "time.js").read_text(),
)


@dataclass(frozen=True)
class Moment:
    """What a snapshot draws, a PNG as a data URL: pictures side by side, pixel for pixel. And what is told of it."""

    step: int
    url: str
    title: str
    words: str


def time_machine(
    moments: Sequence[Moment],
    key: str,
    label: str,
    *,
    num: int,
    columns: int,
    size: tuple[int, int],
    start: int,
    names: Sequence[str],
    on_pick: Callable[[int], None],
) -> int:
    """Draw the moments, at first that of the step `start`. Returns the step that a person chose last.

    num, columns, size (height, width): of the pictures of a moment. label: what there is to see. names: what each
    picture is; on_pick: hears the place of the one that was clicked, before the page or fragment is drawn anew.
    """

    def picked() -> None:
        place = st.session_state[key].picked
        if isinstance(place, int) and 0 <= place < num:
            on_pick(place)

    found = _TIME(
        key=key,
        data={
            "frames": [moment.url for moment in moments],
            "steps": [moment.step for moment in moments],
            "titles": [moment.title for moment in moments],
            "words": [moment.words for moment in moments],
            "ends": [moments[0].title, moments[-1].title],
            "start": start,
            **wall_data(num, columns, size, label, names),
        },
        on_picked_change=picked,
        on_step_change=lambda: None,
    )
    return found.step if found.step in [moment.step for moment in moments] else start
