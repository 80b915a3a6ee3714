"""What a view shows, as a recipe: the link, command and files that make it again. And from a link to the view."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from ganlab import catalog
from ganlab.app import widgets
from ganlab.app.components.latent_plane import Place
from ganlab.app.explore.hand import Hand, anchor_at
from ganlab.app.explore.save import Film, film_of, save
from ganlab.app.widgets import MAX_SEED
from ganlab.directions import FILE, Direction, Saved, load_directions
from ganlab.errors import ConfigError, GanlabError
from ganlab.recipe import KEYS, Anchor, Blend, Recipe, from_query
from ganlab.render import Model
from ganlab.scene import scene

ENDLESS, THREE = "Endless", "Through three"
NUMBERS = (16, 36, 64, 100)  # pictures on a wall: squares
FARTHEST = 1e6  # of a plane, where steps of the fourth digit still are steps
ZOOMS = (0.25, 16.0)  # of a plane


def recipe(name: str, **values: Any) -> Recipe:
    """The recipe of a model by the name that the page has for it: NAME, or RUN@STEP."""
    model, _, step = name.rpartition("@")
    return Recipe(model, step=int(step), **values) if model and step.isdigit() else Recipe(name, **values)


def blend_of(label: str | None) -> Blend:
    """One class for all, as a field for it says; nothing where each has its own."""
    return () if label is None else ((label, 1.0),)


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
            if len(asked.anchors) == 1 and asked.moves:
                return {"view": "Directions"}
            return {"view": "Interpolate"} if len(asked.anchors) > 1 else {}
        case "line":
            samples = asked.anchors[1] if len(asked.anchors) > 1 and isinstance(asked.anchors[1].at, int) else None
            label = samples.blend[0][0] if samples and len(samples.blend) == 1 else None
            return {"view": "Directions", **({"samples": samples.at, "class": label} if samples else {})}
        case "children":
            return {"view": "Mutate"}
    return {"view": "Interpolate"}


ONE = ("pictures", "line", "children")  # what shows a picture that can be taken, and others made from it


def into_hand(model: Model, held: Hand) -> None:
    """Once a link: the picture that it is about is taken in hand; what moves it further is for the view Directions."""
    asked = linked()
    if asked is None or asked.show not in ONE or (asked.show == "pictures" and len(asked.anchors) > 1):
        return
    if st.session_state.get("followed") == (link := (asked.source, asked.show, asked.anchors, asked.moves)):
        return
    st.session_state["followed"] = link
    anchor = Anchor(asked.anchors[0].at, asked.anchors[0].blend or asked.blend)
    try:
        z, y, _ = scene(Recipe(asked.model, (anchor,), truncation=asked.truncation), model)
    except GanlabError as error:  # of another model
        st.warning(f"This link can't be followed in all: {error}", icon=":material/link_off:")
        return
    held.take(anchor if asked.truncation == 1 else anchor_at(model, z[0], None if y is None else y[0]))


def read_place(params: Mapping[str, str]) -> Place | None:
    """The place that a link writes as x, y and zoom; None if it is none."""
    try:
        x, y, zoom = (float(params.get(key, default)) for key, default in (("x", "0"), ("y", "0"), ("zoom", "1")))
    except ValueError:
        return None
    fits = abs(x) <= FARTHEST and abs(y) <= FARTHEST and ZOOMS[0] <= zoom <= ZOOMS[1]
    return Place(x, y, zoom) if fits else None


def write_place(place: Place) -> dict[str, str]:
    """The same as parameters, with no more digits than it has."""
    return {key: repr(round(u, 4)).removesuffix(".0") for key, u in vars(place).items()}


def saved(name: str, model: Model) -> dict[str, Direction]:
    """The directions that lie beside a model, by name; none where there are none, or they are damaged."""
    kept = kept_directions(name, model)
    return {} if kept is None else {found.name: found for found in kept.directions}


def kept_directions(name: str, model: Model) -> Saved | None:
    """What the file of directions beside a model holds; None where there is none, or it is damaged."""
    try:
        file = catalog.beside(name, FILE)
        return _read_directions(str(file), file.stat().st_mtime_ns, model.sha256, model)
    except (GanlabError, OSError):
        return None


@st.cache_resource(max_entries=8, show_spinner=False)
def _read_directions(file: str, changed: int, sha256: str, _model: Model) -> Saved:
    return load_directions(Path(file), _model)


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
