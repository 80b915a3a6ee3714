"""What a view shows, as a recipe: the link, command and files that make it again. And from a link to the view."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import streamlit as st

from ganlab import catalog
from ganlab.app import widgets
from ganlab.app.components.latent_plane import Place
from ganlab.app.explore.hand import Hand, anchor_at
from ganlab.app.explore.save import Film, film_of, save
from ganlab.app.widgets import MAX_SEED
from ganlab.directions import Direction, load_directions
from ganlab.errors import ConfigError, GanlabError
from ganlab.recipe import KEYS, Anchor, Recipe, from_query
from ganlab.render import Model
from ganlab.scene import scene

ENDLESS, THREE = "Endless", "Through three"
NUMBERS = (16, 36, 64, 100)  # pictures on a wall: squares
FARTHEST = 1e6  # of a plane, where steps of the fourth digit still are steps
DIRECTIONS = "directions.safetensors"


def recipe(name: str, **values: Any) -> Recipe:
    """The recipe of a model by the name that the page has for it: NAME, or RUN@STEP."""
    model, _, step = name.rpartition("@")
    return Recipe(model, step=int(step), **values) if model and step.isdigit() else Recipe(name, **values)


# --- from a link -----------------------------------------------------------------------------------------------------


def linked() -> Recipe | None:
    """The recipe that the page's address holds; None if there is none that can be read. The address does not name the
    model with which the page opens."""
    try:
        return read_link({"model": st.session_state.get("model", ""), **st.query_params.to_dict()})
    except ConfigError:
        return None


def read_link(params: Mapping[str, str]) -> Recipe | None:
    """The recipe among parameters of an address; None if there is none. Raises ConfigError where it can't be read."""
    return from_query({key: params[key] for key in KEYS if key in params}) if "show" in params else None


def usual() -> dict[str, Any]:
    """What fields begin with, by their keys, where a link asks for something; the others have their own beginning."""
    if (asked := linked()) is None:
        return {}
    return {"class": asked.blend[0][0] if len(asked.blend) == 1 else None, **_fields(asked)}


def _fields(asked: Recipe) -> dict[str, Any]:
    seeds = [anchor.at for anchor in asked.anchors if isinstance(anchor.at, int) and anchor.at <= MAX_SEED]
    match asked.show:
        case "lattice":
            return {"view": "Move", "plane": ENDLESS, "lattice": seeds[0] if seeds else 0}
        case "through" | "plane":
            return {"view": "Move", "plane": THREE}
        case "pictures":
            if len(seeds) == len(asked.anchors) in NUMBERS and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
                return {"view": "Wall", "seed": seeds[0], "num": len(seeds)}
            return {"view": "Interpolate"} if len(asked.anchors) > 1 else {}
    return {"view": "Interpolate"}


def into_hand(model: Model, held: Hand) -> None:
    """Once a link: a single picture is taken in hand, moved as the recipe says. Raises ConfigError as `scene`."""
    asked = linked()
    if asked is None or asked.show != "pictures" or len(asked.anchors) > 1 or st.session_state.get("followed") == asked:
        return
    st.session_state["followed"] = asked
    if asked.moves or asked.truncation != 1:
        z, y, _ = scene(asked, model, saved(asked.source, model))
        held.take(anchor_at(model, z[0], None if y is None else y[0]))
    else:
        held.take(Anchor(asked.anchors[0].at, asked.anchors[0].blend or asked.blend))


def read_place(params: Mapping[str, str]) -> Place | None:
    """The place that a link writes as x, y and zoom; None if it is none."""
    try:
        x, y, zoom = (float(params.get(key, default)) for key, default in (("x", "0"), ("y", "0"), ("zoom", "1")))
    except ValueError:
        return None
    fits = abs(x) <= FARTHEST and abs(y) <= FARTHEST and 0.25 <= zoom <= 16
    return Place(x, y, zoom) if fits else None


def write_place(place: Place) -> dict[str, str]:
    """The same as parameters, with no more digits than it has."""
    return {key: repr(round(u, 4)).removesuffix(".0") for key, u in vars(place).items()}


def saved(name: str, model: Model) -> dict[str, Direction]:
    """The directions that lie beside a model, by name; none where there are none, or they are damaged."""
    try:
        return {found.name: found for found in load_directions(catalog.beside(name, DIRECTIONS), model).directions}
    except GanlabError:
        return {}


# --- to files and links ----------------------------------------------------------------------------------------------


def share(shown: Recipe, model: Model, file: str, *, film: Recipe | Film | None = None, view: str = "") -> None:
    """Buttons for what is shown: as files called `file`, as a link, as a command. `film`: what of it may move. `view`:
    the one that the link opens, where the recipe alone does not say it."""
    directions = saved(shown.source, model)
    if isinstance(film, Recipe):
        film = film_of(film, scene(film, model, directions), model, file)
    save(scene(shown, model, directions), model, file, film)
    query = {**({"view": view} if view else {}), **shown.query()}
    widgets.link_popover(query)
    link_text = str(shown)
    widgets.code_popover(
        [f"python -m ganlab render {shlex.quote(link_text)} --out {file}.png", *([film.command] if film else [])],
        "import ganlab\nfrom ganlab.recipe import parse\nfrom ganlab.scene import pictures\n\n"
        f"recipe = parse({link_text!r})\n"
        "images = pictures(recipe, ganlab.load(recipe.source))  # uint8 (N, height, width, channels)",
    )
