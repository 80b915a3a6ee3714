"""A plane of latent space to drag across: a large picture, and a map of tiles around it, drawn in the browser.

`plane.js` says what it does. Where the browser can't draw (no SIMD, or too large a generator), it says so, and the
server draws whenever the motion rests.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from ganlab import export, latent, lattice, render
from ganlab.app.components.generator import NO_SIMD, SERVER_DRAWS, content, generator
from ganlab.render import Model

HERE = Path(__file__).parent
SERVED = 7  # tiles along a side, where the server draws

_PLANE = st.components.v2.component(
    "ganlab_latent_plane",
    html=(HERE / "plane.html").read_text(),
    css=(HERE / "plane.css").read_text(),
    js="".join((HERE / f"{name}.js").read_text() for name in ("lattice", "tiles", "gestures", "plane")),
)


@dataclass(frozen=True)
class Place:
    """A point of a plane, and how far the map is zoomed in."""

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0


@dataclass(frozen=True)
class Plane:
    """What to walk on: the endless plane of a seed, or the one through `anchors` (3, latent_dim).

    `truncation`: a factor on z. `y`: class weights (num_classes,) of a conditional model.
    """

    seed: int = 0
    anchors: np.ndarray | None = None
    truncation: float = 1.0
    y: np.ndarray | None = None

    def z(self, model: Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The points at x, y (N,), float32 (N, latent_dim)."""
        if self.anchors is not None:
            a, b, c = self.anchors
            z = lattice.through(a, b, c, x, y)
        else:
            z = lattice.at(self.seed, x, y, model.config.latent_dim, model.config.prior)
        return latent.truncate(z, self.truncation)

    def pictures(self, model: Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Their pictures, uint8 (N, H, W, C)."""
        classes = None if self.y is None else np.tile(self.y, (len(x), 1))
        return model.generate(self.z(model, x, y), classes)

    def map(self, model: Model, place: Place, side: int) -> np.ndarray:
        """The side x side tiles around a place, in reading order; places are those of the page's map."""
        return self.pictures(model, *lattice.tiles(place.x, place.y, place.zoom, side))


def latent_plane(model: Model, name: str, plane: Plane, start: Place, key: str, *, speed: float = 1.0) -> Place:
    """Draw the plane, at first at `start`; and there again when another `start` is given. Returns where motion rested
    last, rounded to 4 digits: the picture there is `plane.pictures(model, [x], [y])`.

    `name`: what people call the model.
    """
    sent, reason = content(model.sha256, model.program)
    state = st.session_state.get(key, {})
    place = Place(*(state.get("place") or (start.x, start.y, start.zoom)))
    if sent and state.get("unable"):
        sent, reason = None, NO_SIMD
    channels, height, width = model.program.output_shape
    anchors = plane.anchors
    found = _PLANE(
        key=key,
        data={
            "generator": generator(sent, f"{key}_generator") if sent else None,
            "label": f"Pictures that {name} invents",
            "latentDim": model.config.latent_dim,
            "width": width,
            "height": height,
            "plane": {
                "seed": plane.seed,
                "prior": model.config.prior,
                "anchors": None if anchors is None else anchors.tolist(),
            },
            "truncation": plane.truncation,
            "y": None if plane.y is None else plane.y.tolist(),
            "start": [start.x, start.y, start.zoom],
            "walk": lattice.walk(plane.seed).tolist(),
            "speed": speed,
            "reason": f"{reason} {SERVER_DRAWS}" if reason else "",
            "served": None if sent else _served(model, plane, place),
        },
        on_place_change=lambda: None,
        on_unable_change=lambda: None,
    )
    return Place(*(found.place or (start.x, start.y, start.zoom)))


def _served(model: Model, plane: Plane, place: Place) -> dict[str, object]:
    """A sprite of tiles around a place, and beneath them the picture there."""
    i, j, level, _ = lattice.corner(place.x, place.y, place.zoom, SERVED)
    here = plane.pictures(model, np.array([place.x]), np.array([place.y]))
    png = export.png_bytes(render.grid(np.concatenate([plane.map(model, place, SERVED), here]), SERVED))
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    where = {"level": level, "i": i, "j": j, "x": place.x, "y": place.y}
    return {"sprite": url, "columns": SERVED, "rows": SERVED, **where}
