"""The view Examine: what judges make of a plane's pictures, how the picture in hand came to be, and what is near it."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from ganlab.app import widgets
from ganlab.app.explore.judged import judged
from ganlab.app.explore.layers import layers
from ganlab.app.explore.real import real
from ganlab.render import Model

PARTS = {"Judged": judged, "Layer by layer": layers, "Next to real": real}
ABOUT = (
    "Judged: what the discriminator and a classifier of real pictures say of a plane. Layer by layer: how the picture "
    "in hand came to be. Next to real: the training pictures nearest to it."
)


def examine(model: Model, name: str, intro: DeltaGenerator, controls: DeltaGenerator) -> None:
    """One of the three, chosen beneath the view."""
    with controls:
        part = widgets.segments("Look at it", list(PARTS), "Judged", "part", hide_label=True, help=ABOUT)
    PARTS[part](model, name, intro)
