"""A plane, judged: how real D finds its pictures, what a classifier takes them for, where one class meets another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab import lattice
from ganlab.app import widgets
from ganlab.app.components.latent_plane import Place
from ganlab.app.components.sprite import sprite
from ganlab.app.explore.hand import anchor_at, hand
from ganlab.app.explore.move import choose_plane
from ganlab.app.explore.recipes import ZOOMS, read_place, share, write_place
from ganlab.app.measure.words import plain
from ganlab.app.state import open_extractor, open_judge
from ganlab.catalog import released
from ganlab.path_facts import PathFacts, path_facts
from ganlab.recipe import Recipe
from ganlab.regions import borders, regions
from ganlab.render import Model
from ganlab.scene import scene

SIDE = 24  # tiles along a side
NAMED = 6  # tiles of a region that bears its name
CHART, PICKED, BEFORE = "judged map", "judged place", "judged plane"
USUAL = {"lattice": Place(), "through": Place(0.5, 0.5, 4.0)}
VERDICT, CERTAINTY = "D's verdict", "Certainty"
ABOUT_SHADE = (
    "D's verdict: how real the discriminator that trained with this generator finds each picture, from 0 (invented) to "
    "1 (real). Certainty: how sure a classifier of real pictures is of what it sees; low between classes, and where "
    "nothing can be recognised."
)
DARK, HALO = "#1f1d2b", "#ffffff"  # lines and names
ORANGE, PALE, BLUE = "#d9793f", "#efece6", "#5b4be0"
SEAM = 0.03  # of a tile, by which it covers the gap that a browser leaves before the next


class Judgement(NamedTuple):
    """The points and pictures of a map's tiles in reading order, and what is said of them."""

    z: np.ndarray
    y: np.ndarray | None
    facts: PathFacts


def judged(model: Model, name: str, intro: DeltaGenerator) -> None:
    intro.markdown(
        f"**What do others make of it?** {SIDE} × {SIDE} points of a plane twice: as pictures, and as a map of "
        "how they are judged. Lines run where a classifier of real pictures begins to see another class. Click a "
        "point to take it in hand."
    )
    pictures, chart = st.columns(2, gap="large")
    fields = st.columns((5, 6), gap="large")
    plane = choose_plane(model, name, *fields)
    here = _here(plane)
    found = _judge(model.sha256, name, str(here), model, here)
    with pictures:
        _wall(model, name, here, found)
    with chart:
        _map(model, name, here, found)
    with fields[1]:
        _move(here)
        with st.container(horizontal=True):
            share(here, model, "map", view="Examine")


# --- the place -------------------------------------------------------------------------------------------------------


def _here(plane: Recipe) -> Recipe:
    """The place that the address says, which Move shows as well; on another plane than before the usual one."""
    place = read_place(st.query_params.to_dict()) if "x" in st.query_params else None
    if st.session_state.get(BEFORE, plane.show) != plane.show or place is None:
        place = USUAL[plane.show]
        st.query_params.update(write_place(place))
        st.session_state.pop(PICKED, None)
    st.session_state[BEFORE] = plane.show
    return replace(plane, x=place.x, y=place.y, zoom=place.zoom, num=SIDE)


def _move(here: Recipe) -> None:
    """Buttons that zoom, and that go where one has clicked."""
    picked: tuple[float, float] | None = st.session_state.get(PICKED)
    place = Place(here.x, here.y, here.zoom)

    def go(to: Place) -> None:
        st.query_params.update(write_place(to))

    with st.container(horizontal=True):
        for label, icon, to, off, about in (
            ("Closer", "zoom_in", replace(place, zoom=2 * place.zoom), 2 * place.zoom > ZOOMS[1], "Half as wide"),
            ("Farther", "zoom_out", replace(place, zoom=place.zoom / 2), place.zoom / 2 < ZOOMS[0], "Twice as wide"),
            (
                "Go there",
                "center_focus_strong",
                place if picked is None else replace(place, x=picked[0], y=picked[1]),
                picked is None or picked == (here.x, here.y),
                "Make the point that you clicked the middle",
            ),
        ):
            st.button(
                label,
                icon=f":material/{icon}:",
                key=f"judged {label}",
                on_click=go,
                args=(to,),
                disabled=off,
                help=about,
            )


# --- what is said ----------------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=6, show_spinner="Drawing and judging the pictures …")
def _judge(sha256: str, name: str, text: str, _model: Model, _here: Recipe) -> Judgement:
    """Cached by the model's file and the recipe's text."""
    z, y, _ = scene(_here, _model)
    judge = open_judge(name)
    extractor = open_extractor(sha256, _model)
    return Judgement(z, y, path_facts(_model, z, y, extractor=extractor, verdict=judge.verdicts if judge else None))


def _take(model: Model, name: str, here: Recipe, found: Judgement, i: int) -> None:
    hand(name).take(anchor_at(model, found.z[i], None if found.y is None else found.y[i]))
    x, y = lattice.tiles(here.x, here.y, here.zoom, SIDE)
    st.session_state[PICKED] = (float(x[i]), float(y[i]))


def _chosen(here: Recipe) -> int | None:
    """The tile that was clicked last, if it is on this map."""
    x, y = lattice.tiles(here.x, here.y, here.zoom, SIDE)
    picked = st.session_state.get(PICKED, (np.nan, np.nan))
    return next(iter(np.flatnonzero((x == picked[0]) & (y == picked[1])).tolist()), None)


def _wall(model: Model, name: str, here: Recipe, found: Judgement) -> None:
    st.markdown("**Its pictures**", help="Neighbours lie close together on the plane; in the middle is the place.")
    sprite(
        found.facts.images,
        SIDE,
        "judged wall",
        f"{SIDE} rows of {SIDE} pictures of a plane",
        names=[_told(found.facts, i) for i in range(SIDE**2)],
        chosen=_chosen(here),
        on_pick=lambda i: _take(model, name, here, found, i),
    )


def _told(facts: PathFacts, i: int) -> str:
    """A tile in words."""
    words = [f"Row {i // SIDE + 1}, column {i % SIDE + 1}"]
    if facts.classes and facts.confidence is not None:
        words.append(f"seen as {facts.classes[i]}, {facts.confidence[i]:.0%} sure")
    if facts.verdicts is not None:
        words.append(f"verdict {facts.verdicts[i]:.2f}")
    return ", ".join(words)


# --- the map ---------------------------------------------------------------------------------------------------------


def _map(model: Model, name: str, here: Recipe, found: Judgement) -> None:
    facts = found.facts
    shades = {VERDICT: facts.verdicts, CERTAINTY: facts.confidence}
    options = [shade for shade, values in shades.items() if values is not None]
    if not options:
        st.markdown("**No judge**")
        st.caption(f"{_no_verdict(name)} And no classifier knows the classes of these data.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        shade = options[0]
        if len(options) > 1:
            shade = widgets.segments("Shade", options, VERDICT, "shade", hide_label=True, help=ABOUT_SHADE)
        else:
            st.markdown(f"**{shade}**", help=ABOUT_SHADE)
    values = shades[shade]
    assert values is not None
    table = pd.DataFrame({"x": np.arange(SIDE**2) % SIDE, "y": np.arange(SIDE**2) // SIDE, "value": values})
    table["i"], table["seen"] = table.index, list(facts.classes or [""] * SIDE**2)
    table["verdict"] = "" if facts.verdicts is None else [f"{v:.2f}" for v in facts.verdicts]
    table["sure"] = "" if facts.confidence is None else [f"{v:.0%}" for v in facts.confidence]
    lines, names = _contours(facts.classes)
    chosen = table[table["i"] == _chosen(here)]

    def take() -> None:
        if picked := st.session_state[CHART].selection.get("pick"):
            _take(model, name, here, found, int(picked[0]["i"]))

    st.vega_lite_chart(
        None,
        {**_spec(shade), "datasets": {"tiles": table, "lines": lines, "names": names, "chosen": chosen}},
        height=556,
        key=CHART,
        on_select=take,
        selection_mode="pick",
        alt=_takeaway(shade, values, facts.classes),
    )
    st.caption(_how_to_read(name, facts))


def _contours(classes: Sequence[str] | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where classes meet, and their names where there is room."""
    known = sorted(set(classes or ()))
    labels = np.array([known.index(c) for c in classes]).reshape(SIDE, SIDE) if classes else np.zeros((SIDE, SIDE), int)
    lines = pd.DataFrame(borders(labels), columns=["x", "y", "x2", "y2"])
    rows = [(r.column + 0.5, r.row + 0.5, known[r.label]) for r in regions(labels) if r.size >= NAMED] if known else []
    return lines, pd.DataFrame(rows, columns=["x", "y", "name"])


def _takeaway(shade: str, values: np.ndarray, classes: Sequence[str] | None) -> str:
    said = f"{shade} over the plane: from {values.min():.2f} to {values.max():.2f}, half of it above "
    said += f"{np.median(values):.2f}"
    if classes:
        shares = Counter(classes).most_common(3)
        said += "; most of it is seen as " + ", ".join(f"{c} ({n / len(classes):.0%})" for c, n in shares)
    return said


def _how_to_read(name: str, facts: PathFacts) -> str:
    words = []
    if facts.verdicts is None:
        words.append(_no_verdict(name))
    else:
        words.append(
            f"D finds {np.mean(facts.verdicts > 0.5):.0%} of these pictures rather real than invented. Blue: it takes "
            "them for real. Orange: it is not deceived."
        )
    if facts.classes and len(set(facts.classes)) == 1:
        words.append(f"The classifier sees {plain(facts.classes[0])} everywhere, so there are no lines.")
    elif facts.classes:
        words.append("Lines: the classifier sees another class. The more orange in the shade Certainty, the less sure.")
    else:
        words.append("No classifier knows the classes of these data: no lines.")
    return " ".join(words)


def _no_verdict(name: str) -> str:
    run = name not in released()
    return (
        "The verdict of D is not at hand: this run is of an older ganlab, which kept no D."
        if run
        else f"The verdict of D is not at hand: {plain(name)} was released without its discriminator."
    )


@lru_cache
def _spec(shade: str) -> dict[str, Any]:
    """Colours are the same in light and dark: lines and names are drawn on them."""
    colours = [ORANGE, PALE, BLUE] if shade == VERDICT else [ORANGE, PALE]
    scale = alt.Scale(domain=[0, SIDE], nice=False)
    tiles = (
        alt.Chart(alt.NamedData("tiles"))
        .transform_calculate(x2=f"datum.x + {1 + SEAM}", y2=f"datum.y + {1 + SEAM}")
        .mark_rect(cursor="pointer")
        .encode(
            x=alt.X("x:Q", axis=None, scale=scale),
            x2="x2:Q",
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[SIDE, 0], nice=False)),
            y2="y2:Q",
            color=alt.Color(
                "value:Q",
                scale=alt.Scale(domain=[0, 0.5, 1] if shade == VERDICT else [0, 1], range=colours, interpolate="rgb"),
                legend=alt.Legend(
                    title=None, orient="bottom", gradientLength=180, gradientThickness=8, tickCount=2, offset=8
                ),
            ),
            tooltip=[
                alt.Tooltip("verdict:N", title="D's verdict"),
                alt.Tooltip("seen:N", title="seen as"),
                alt.Tooltip("sure:N", title="sure"),
            ],
        )
        .add_params(alt.selection_point(name="pick", fields=["i"], on="click"))
    )
    lines = (
        alt.Chart(alt.NamedData("lines"))
        .mark_rule(color=DARK, strokeWidth=1.5, strokeCap="round")
        .encode(x="x:Q", y="y:Q", x2="x2:Q", y2="y2:Q")
    )
    names = alt.Chart(alt.NamedData("names")).encode(x="x:Q", y="y:Q", text="name:N")
    style = {"fontSize": 14, "fontWeight": "bold"}
    halo = names.mark_text(**style, color=HALO, stroke=HALO, strokeWidth=4, strokeJoin="round", opacity=0.85)
    ring = (
        alt.Chart(alt.NamedData("chosen"))
        .transform_calculate(x2="datum.x + 1", y2="datum.y + 1")
        .mark_rect(filled=False, stroke=DARK, strokeWidth=3)
        .encode(x="x:Q", x2="x2:Q", y="y:Q", y2="y2:Q")
    )
    spec = alt.layer(tiles, lines, halo, names.mark_text(**style, color=DARK), ring).to_dict(validate=False)
    spec["padding"] = 0
    return spec
