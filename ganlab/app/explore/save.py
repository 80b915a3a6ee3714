"""Files of what a view shows: pictures, a film, the points themselves. A film is made when it is asked for."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import streamlit as st

from ganlab import export
from ganlab.app.widgets import download
from ganlab.errors import GanlabError
from ganlab.recipe import Recipe
from ganlab.render import Model
from ganlab.scene import Scene, scene_bytes

SCALES = (1, 32)
AT_ONCE = 64  # pictures between two words on how far it is
MADE = "film that was made"  # the newest one alone is kept
NO_MP4 = "MP4 needs one package more, where this page is served from: `pip install av`."


@dataclass(frozen=True)
class Film:
    """What of a view moves. `what` tells it from others; `draw` makes the frames, uint8 (N, H, W, C), and says how far
    it is. `command`: makes the same on the command line."""

    what: str
    draw: Callable[[export.Progress], np.ndarray]
    about: str = "A film"
    fps: int = 20
    bounce: bool = True
    hold: float | None = None
    command: str = ""


def film_of(recipe: Recipe, points: Scene, model: Model, file: str) -> Film:
    """The pictures of a recipe one after another; there and back, unless they come round by themselves."""

    def draw(progress: export.Progress) -> np.ndarray:
        z, y, _ = points
        drawn = []
        for i in range(0, len(z), AT_ONCE):
            drawn.append(model.generate(z[i : i + AT_ONCE], None if y is None else y[i : i + AT_ONCE]))
            progress(min((i + AT_ONCE) / len(z), 1))
        return np.concatenate(drawn)

    command = f"python -m ganlab render {shlex.quote(str(recipe))} --out {file}.gif"
    return Film(str(recipe), draw, bounce=not recipe.closed, command=command)


def save(points: Scene, model: Model, file: str, film: Film | None = None) -> None:
    """A button that offers files of these points, and a film."""
    with st.popover("Save", icon=":material/download:", help="Pictures, a film, or the numbers behind them"):
        about = "Every pixel becomes a square of so many."
        scale = int(st.number_input("Size of a pixel", *SCALES, 4, key=f"scale of {file}", help=about))

        def content(kind: str) -> Callable[[], bytes]:
            return lambda: scene_bytes(kind, points, model, scale=scale)

        with st.container(horizontal=True):
            download("PNG", content(".png"), f"{file}.png", key=f"png of {file}")
            about = "The points in latent space, for numpy: float32, a row for each picture"
            download("z", content(".npy"), f"{file}.npy", about, key=f"z of {file}")
        if film:
            _save_film(film, file, scale)


def _save_film(film: Film, file: str, scale: int) -> None:
    kinds = [kind[1:].upper() for kind in export.FILMS if kind != ".mp4" or export.has_mp4()]
    st.markdown("**Film**", help=film.about)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control("As", kinds, default=kinds[0], required=True, key=f"kind of {file}")
        fps = int(st.number_input("Pictures a second", *export.FPS, film.fps, key=f"fps of {file}", width=150))
    if len(kinds) == 1:
        st.caption(NO_MP4)
    wanted = (film.what, kind, fps, scale)
    if st.button("Make the film", icon=":material/movie:", key=f"film of {file}"):
        try:
            st.session_state[MADE] = (wanted, _made(film, f".{str(kind).lower()}", fps, scale))
        except GanlabError as error:
            st.error(str(error), icon=":material/error:")
    made, content = st.session_state.get(MADE, (None, b""))
    if made == wanted:
        name = f"{file}.{str(kind).lower()}"
        st.download_button(
            f"{name}, {_size(content)}",
            content,
            name,
            icon=":material/download:",
            type="primary",
            key=f"made of {file}",
            on_click="ignore",
        )


def _made(film: Film, kind: str, fps: int, scale: int) -> bytes:
    """The film as a file, with a bar that fills meanwhile: half of it drawing, half of it writing."""
    bar = st.progress(0.0, "Drawing the pictures")
    try:
        frames = film.draw(lambda share: bar.progress(share / 2, "Drawing the pictures"))
        return export.film_bytes(
            kind,
            frames,
            fps,
            scale=scale,
            bounce=film.bounce,
            hold=film.hold,
            progress=lambda share: bar.progress(0.5 + share / 2, "Writing the film"),
        )
    finally:
        bar.empty()


def _size(content: bytes) -> str:
    return f"{len(content) / 1e6:.1f} MB" if len(content) >= 1e5 else f"{max(len(content) // 1000, 1)} kB"
