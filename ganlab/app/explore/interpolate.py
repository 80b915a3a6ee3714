"""The view Interpolate: ways from picture to picture, and what happens on them, so that one sees where they leave the
data."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab import latent
from ganlab.app import widgets
from ganlab.app.components.sprite import sprite
from ganlab.app.explore.hand import Hand, anchor_at, hand, points
from ganlab.app.explore.keys import LETTERS, Keys, choose, keys_of, told
from ganlab.app.explore.recipes import blend_of, linked, recipe, share, usual
from ganlab.app.state import open_extractor, open_judge
from ganlab.path_facts import PathFacts, path_facts
from ganlab.recipe import Anchor, Recipe
from ganlab.render import Model
from ganlab.scene import scene

FRAMES = (3, 25)  # of a path that is shown
FILM_FRAMES = 60
AROUND = (
    "Around: along the shell on which nearly all random z lie, so that every picture on the way is as typical as its "
    "ends (slerp; White 2016, arXiv:1609.04468)."
)
STRAIGHT = (
    "Straight through the inside (lerp). Halfway z is shorter than nearly any z that the network was trained on, and "
    "pictures may turn dull or mixed."
)
PATHS: dict[latent.PathKind, tuple[str, str]] = {"slerp": ("Spherical", AROUND), "lerp": ("Linear", STRAIGHT)}
FACTS = {
    "norm": ("Length of z", "The shade is where 95% of random z lie. A path that leaves it asks for what was never "
             "practised."),
    "verdict": ("D's verdict", "How real the discriminator that trained with this model finds each picture, from 0 to "
                "1."),
    "confidence": ("Certainty of the class", "How sure a classifier of the real pictures is of what it sees. Low: "
                   "the picture is between classes, or no such thing."),
    "step": ("Change from the frame before", "Distance of the features that a classifier of real pictures sees; "
             "of pixels where there is none. A peak is a leap from one thing to another."),
}  # fmt: skip


def interpolate(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    asked = linked()
    kept, held = walk_keys(model), hand(name)
    with controls, st.container(border=True):
        about = "All pictures of one class, or each its own: then the class changes on the way too."
        label = widgets.choose_class(model, about, usual().get("class"))
        frames = min(max(asked.count, FRAMES[0]), FRAMES[1]) if asked and asked.show in PATHS else 11
        about = "Both ends included. More pictures, smaller steps."
        frames = st.slider("Pictures on the way", *FRAMES, frames, key="frames", help=about, bind="query-params")
        closed = st.toggle("Back to A at the end", comes_back(), key="closed", persist_state="page")
    blend = blend_of(label)
    with picture:
        st.markdown(
            "Behind every picture stands a point **z**, a list of random numbers. From each key picture to the next "
            "lead two ways: around on a sphere, or straight through its inside."
        )
        choose(model, held, kept, "keys", blend=blend)
    anchors = tuple(replace(a, blend=()) for a in kept.anchors) if blend else tuple(kept.anchors)
    walk = recipe(name, anchors=anchors, show="slerp", num=frames, closed=closed, blend=blend)
    facts = {path: _strip(model, name, replace(walk, show=path), held) for path in PATHS}
    _charts(model, facts)
    if model.num_classes and not blend:
        _classes(model, name, kept)


def walk_keys(model: Model) -> Keys:
    """The key pictures of the walk, at first those of a link."""
    asked = linked()
    first = asked.anchors[: len(LETTERS)] if asked and len(asked.anchors) > 1 else (Anchor(1), Anchor(2))
    return keys_of(model, "keys", first)


def comes_back() -> bool:
    """Whether the walk ends where it began; at first as a link says."""
    return st.session_state.get("closed", (asked := linked()) is not None and asked.closed)


def _strip(model: Model, name: str, walk: Recipe, held: Hand) -> PathFacts:
    z, y, _ = scene(walk, model)
    judge = open_judge(name)
    facts = path_facts(
        model, z, y, extractor=open_extractor(model.sha256, model), verdict=judge.verdicts if judge else None
    )
    label, about = PATHS[walk.show]  # type: ignore[index]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{label}**", help=about, width="stretch")
        with st.container(horizontal=True, width="content"):
            share(walk, model, walk.show, film=replace(walk, num=FILM_FRAMES))

    def take(i: int) -> None:
        held.take(anchor_at(model, z[i], None if y is None else y[i]))

    names = [f"Take picture {i + 1} of {len(z)}, {label.lower()} path, in hand" for i in range(len(z))]
    captions: list[str] = []
    if facts.classes and facts.confidence is not None:
        captions = list(facts.classes)
    sprite(facts.images, len(z), f"{walk.show} strip", f"{label} path", names=names, captions=captions, on_pick=take)
    return facts


def _classes(model: Model, name: str, kept: Keys) -> None:
    """The chosen key picture in every class: one of them takes its place."""
    letter = LETTERS[kept.chosen]
    with st.container(horizontal=True, vertical_alignment="center"):
        about = "The same z told another class: the hand stays, what it draws changes. Choose one for the key picture."
        st.markdown(f"**{letter} in every class**", help=about, width="stretch")
        shown = recipe(name, anchors=(replace(kept.anchor, blend=()),), show="classes")
        with st.container(horizontal=True, width="content"):
            share(shown, model, "classes")
    every = [replace(kept.anchor, blend=((c, 1.0),)) for c in model.classes]
    images = model.generate(*points(model, every))
    names = [f"{letter} as {c}" for c in model.classes]
    chosen = every.index(kept.anchor) if kept.anchor in every else None
    sprite(
        images,
        len(every),
        "classes row",
        f"{told(kept.anchor)} in every class",
        names=names,
        captions=model.classes,
        chosen=chosen,
        on_pick=lambda i: kept.put(every[i]),
    )


def _charts(model: Model, facts: dict[latent.PathKind, PathFacts]) -> None:
    shown = [key for key in FACTS if all(_values(f, key) is not None for f in facts.values())]
    for row in range(0, len(shown), 2):
        for place, key in zip(st.columns(2, gap="large"), shown[row : row + 2], strict=False):
            with place:
                _chart(model, key, facts)


def _chart(model: Model, key: str, facts: dict[latent.PathKind, PathFacts]) -> None:
    title, about = FACTS[key]
    rows: list[dict[str, Any]] = []
    for path, found in facts.items():
        values = _values(found, key)
        assert values is not None
        seen = found.classes or ("",) * len(values)
        rows += [
            {"frame": i + 1, "value": float(v), "path": PATHS[path][0], "class": c}
            for i, (v, c) in enumerate(zip(values, seen, strict=True))
        ]
    band = latent.shell(model.config.latent_dim, model.config.prior) if key == "norm" else None
    domain = (0.0, 1.0) if key in ("verdict", "confidence") else None
    st.markdown(f"**{title}**", help=about)
    datasets = {"rows": pd.DataFrame(rows), "band": pd.DataFrame([band or (0, 0)], columns=["low", "high"])}
    least = {label: min(r["value"] for r in rows if r["path"] == label) for label, _ in PATHS.values()}
    alt_text = f"{title} along both paths; the least is " + ", ".join(f"{v:.2f} ({k})" for k, v in least.items())
    st.vega_lite_chart(None, {**_spec(band is not None, domain), "datasets": datasets}, height=170, alt=alt_text)


def _values(facts: PathFacts, key: str) -> np.ndarray | None:
    steps = facts.steps if facts.feature_steps is None else facts.feature_steps
    return {"norm": facts.norms, "verdict": facts.verdicts, "confidence": facts.confidence, "step": steps}[key]


@lru_cache
def _spec(band: bool, domain: tuple[float, float] | None) -> dict[str, Any]:
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    labels = [label for label, _ in PATHS.values()]
    base = alt.Chart(alt.NamedData("rows")).encode(
        x=alt.X("frame:Q", title=None, axis=alt.Axis(tickMinStep=1, grid=False)),
        y=alt.Y("value:Q", title=None, scale=scale),
        color=alt.Color("path:N", title=None, sort=labels, legend=alt.Legend(orient="top", symbolType="stroke")),
        strokeDash=alt.StrokeDash("path:N", sort=labels, legend=None),
        tooltip=["frame:Q", "path:N", alt.Tooltip("value:Q", format=".3f"), alt.Tooltip("class:N", title="seen as")],
    )
    layers: list[alt.Chart] = [base.mark_line(strokeWidth=1.75, point=True)]
    if band:
        shade = alt.Chart(alt.NamedData("band")).mark_rect(opacity=0.12, color="#85828f")
        layers = [shade.encode(y="low:Q", y2="high:Q"), *layers]
    spec = alt.layer(*layers).to_dict(validate=False)
    spec["padding"] = {"left": 0, "top": 0, "right": 8, "bottom": 0}
    return spec
