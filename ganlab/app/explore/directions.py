"""The view Directions: sliders along directions of latent space, what one of them does to several pictures, and how to
teach a new one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab.app import widgets
from ganlab.app.components.sliders import Heard, Slider, sliders
from ganlab.app.components.sprite import sprite
from ganlab.app.explore import known as ways
from ganlab.app.explore.hand import anchor_at, base_of, hand, points
from ganlab.app.explore.keys import told
from ganlab.app.explore.recipes import blend_of, linked, recipe, saved, share, usual
from ganlab.app.explore.teach import teach
from ganlab.app.widgets import MAX_SEED, download
from ganlab.directions import FILE, Direction, move
from ganlab.errors import GanlabError
from ganlab.measurements import measure
from ganlab.recipe import Anchor, Move, Recipe
from ganlab.render import Model
from ganlab.scene import scene

HOW = SLIDE, TEACH = ("Sliders", "Teach a direction")
SAMPLES = 8  # beside the large picture
IN_STRIP, AMOUNTS = 4, 7  # samples of a strip beside the picture in hand; pictures in each row
STRIP = 84  # width of each picture of it, in pixels of the page
FIRST = 6  # principal directions of each kind that have a slider at once
FILM_FRAMES = 60
MAX_FILE = 10  # MB, of a file of directions
ABOUT_CLASS = "Of the samples. The picture in hand has its own."


@dataclass
class Amounts:
    """Where the sliders stand, by name. `first`: the moves of the link that they began with. `order` is counted up
    whenever they move without a hand on them."""

    first: tuple[Move, ...]
    now: dict[str, float] = field(default_factory=dict)
    order: int = 0

    def put(self, amounts: dict[str, float]) -> None:
        self.now, self.order = amounts, self.order + 1

    def heard(self, amounts: dict[str, float], order: int) -> None:
        """A hand moved them, after that order; if there is a newer one, what it did is out of date."""
        if order == self.order:
            self.now = amounts


def directions(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    with controls:
        how = widgets.segments("How", HOW, SLIDE, "how", hide_label=True)
    if how == TEACH:
        teach(model, name, picture, controls)
        return
    picture.markdown(
        "**Move a slider.** Each leads along a direction in latent space, the space of the numbers that pictures are "
        "made from. The same direction does much the same to every picture."
    )
    amounts, every = amounts_of(model, name), ways.known(model, name)
    place, under = st.container(), st.columns((STRIP * AMOUNTS, 400), gap="large")
    with under[1]:
        chosen = _choose(every)
        label, samples = _samples(model)
        about = st.container()
    _slide(model, name, place, every, chosen, samples, amounts)
    with under[0]:
        strip = _strip(model, name, every[chosen], samples[:IN_STRIP])
    with about:
        _about(model, name, every[chosen], strip)


def amounts_of(model: Model, name: str) -> Amounts:
    """Where the sliders of a model stand; at first as the link says."""
    asked, place = linked(), f"amounts of {base_of(name)}"
    first = asked.moves if asked and asked.show in ("pictures", "line") else ()
    kept: Amounts | None = st.session_state.get(place)
    if kept is None or kept.first != first:
        kept = st.session_state[place] = Amounts(first, order=kept.order + 1 if kept else 0)
        try:
            found = ways.amounts_of(first, model, name)
        except GanlabError as error:
            st.warning(f"This link can't be followed in all: {error}", icon=":material/link_off:")
            return kept
        if asked and asked.show == "line":
            st.session_state["direction"] = next(iter(found))  # a strip of one direction; nothing is moved
        else:
            kept.now = found
    return kept


# --- the sliders -----------------------------------------------------------------------------------------------------


def shown_of(every: dict[str, Direction], chosen: str, amounts: dict[str, float]) -> list[Direction]:
    """Those that have a slider: the first principal ones of each kind, all others, and what is in use."""
    counts = dict.fromkeys(range(len(ways.GROUPS)), 0)
    found = []
    for name, direction in every.items():
        group = ways.group_of(direction)
        counts[group] += 1
        if group in (ways.MEASURED, ways.OWN) or counts[group] <= FIRST or name == chosen or amounts.get(name):
            found.append(direction)
    return found


def _slide(
    model: Model,
    name: str,
    place: DeltaGenerator,
    every: dict[str, Direction],
    chosen: str,
    samples: list[Anchor],
    amounts: Amounts,
) -> None:
    held = hand(name)
    anchors = [held.held, *samples]
    z, y = points(model, anchors)
    found = shown_of(every, chosen, amounts.now)
    groups = sorted({ways.group_of(d) for d in found})
    shown = [Slider(d, ways.label_of(d), ways.about(d), groups.index(ways.group_of(d))) for d in found]

    def taken(now: dict[str, float]) -> None:
        there = [(every[key], amount) for key, amount in now.items() if key in every]
        if there:
            held.take(anchor_at(model, move(z[0], there), None if y is None else y[0]))
        amounts.put({})

    heard = Heard(amounts.heard, taken, lambda i: held.take(anchors[i + 1]), partial(_put, "direction"))
    with place:
        sliders(
            model,
            z,
            y,
            shown,
            [ways.GROUPS[g] for g in groups],
            {key: amount for key, amount in amounts.now.items() if key in every},
            (name, amounts.order),
            "direction sliders",
            heard,
            reach=max([ways.reach(model), *map(abs, amounts.now.values())]),  # a link may go farther
            label=f"The picture in hand, {told(held.held)}, moved as the sliders say",
            names=[f"Take {told(a)} in hand" for a in samples],
            chosen=chosen,
        )
        with st.container(horizontal=True):
            moves = ways.moves_of(amounts.now, every, kept := saved(name, model))
            share(recipe(name, anchors=(held.held,), moves=tuple(moves)), model, "moved")
            if ways.lacks_more(kept) and not ways.own(name).more:
                st.button(
                    "Find more directions",
                    icon=":material/travel_explore:",
                    on_click=partial(setattr, ways.own(name), "more", True),
                    help="Draws 3,000 pictures and measures them; takes some seconds, once for each snapshot.",
                )
            _open_file(model, name)
        if ways.own(name).more and not any(ways.group_of(d) == ways.MEASURED for d in every.values()):
            st.caption(
                "No measurement, such as brightness, grows along a straight line in this model's latent space: there "
                "is none to name a direction after."
            )


def _open_file(model: Model, name: str) -> None:
    """A button that takes a file of directions in."""
    with st.popover("Open", icon=":material/upload_file:", help="A file of directions that you kept"):

        def opened() -> None:
            if (file := st.session_state["directions file"]) is None:
                return
            try:
                new = ways.from_file(file.getvalue(), model, name)
            except GanlabError as error:
                st.session_state["said of file"] = (st.error, str(error))
                return
            words = f"Now with a slider: {', '.join(new)}." if new else "All of its directions are here already."
            st.session_state["said of file"] = (st.success, words)
            if new:
                _put("direction", new[0])

        about = (
            "Of this model, or of another snapshot of its training: from **Directions** here, or `ganlab directions`."
        )
        st.file_uploader(
            FILE, "safetensors", key="directions file", on_change=opened, max_upload_size=MAX_FILE, help=about
        )
        if said := st.session_state.pop("said of file", None):
            say, words = said
            say(words)


def _put(key: str, value: str) -> None:
    st.session_state[key] = value


# --- one of them -----------------------------------------------------------------------------------------------------


def _choose(every: dict[str, Direction]) -> str:
    if st.session_state.get("direction") not in every:
        st.session_state["direction"] = next(iter(every))

    def called(name: str) -> str:
        title = ways.GROUPS[ways.group_of(every[name])][0]
        return f"{title}: {ways.label_of(every[name])}"

    about = "The one that the strip shows. A click on the name of a slider chooses it too."
    chosen = st.selectbox(
        "Direction", list(every), format_func=called, key="direction", help=about, persist_state="page"
    )
    return str(chosen)


def _samples(model: Model) -> tuple[str | None, list[Anchor]]:
    """The samples' class, and the samples."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=130):
            seed = widgets.seed_input("First sample", "samples", usual().get("samples", 1), "A seed; others follow.")
        label = widgets.choose_class(model, ABOUT_CLASS, usual().get("class"))
        st.button("Other samples", icon=":material/casino:", on_click=_other_samples, args=(seed,))
    blend = blend_of(label)
    return label, [Anchor(i, blend) for i in range(seed, seed + SAMPLES)]


def _other_samples(seed: int) -> None:
    st.session_state["samples"] = float(seed + SAMPLES if seed + SAMPLES <= MAX_SEED else 0)


def _strip(model: Model, name: str, direction: Direction, samples: list[Anchor]) -> np.ndarray:
    """Rows of samples, from far back to far on along a direction: their pictures (rows * AMOUNTS, H, W, C)."""
    held, far = hand(name), ways.reach(model)
    shown = line(model, name, direction, (held.held, *samples))
    every = {direction.name: direction}
    z, y, columns = scene(shown, model, every)
    images = model.generate(z, y)
    amounts = np.linspace(-far, far, AMOUNTS)
    with st.container(horizontal=True, vertical_alignment="center"):
        title = f"**{ways.GROUPS[ways.group_of(direction)][0]}: {ways.label_of(direction)}**"
        st.markdown(title, help="The first row is the picture in hand; then the samples. In the middle: unmoved.",
                    width="stretch")  # fmt: skip
        with st.container(horizontal=True, width="content"):
            film = replace(shown, anchors=shown.anchors[:1], num=FILM_FRAMES)
            share(shown, model, "direction", film=film)
    rows = ["the picture in hand", *[told(a) for a in samples]]
    names = [f"Take {row} at {amount:+.2f} in hand" for row in rows for amount in amounts]
    with st.container(width=STRIP * AMOUNTS):
        sprite(
            images,
            AMOUNTS,
            "direction strip",
            f"{len(rows)} pictures along {direction.name}, a row each",
            names=names,
            captions=[f"{a:+.2f}".rstrip("0").rstrip(".").replace("-", "−") if a else "0" for a in amounts],
            on_pick=lambda i: held.take(anchor_at(model, z[i], None if y is None else y[i])),
        )
    return images


def line(model: Model, name: str, direction: Direction, anchors: tuple[Anchor, ...]) -> Recipe:
    """The recipe of a strip: each anchor along a direction, as far as a slider reaches."""
    moves = ways.moves_of({direction.name: ways.reach(model)}, {direction.name: direction}, saved(name, model))
    return recipe(name, anchors=anchors, show="line", num=AMOUNTS, moves=tuple(moves))


def _about(model: Model, name: str, direction: Direction, strip: np.ndarray) -> None:
    st.markdown(ways.about(direction), help=ways.GROUPS[ways.group_of(direction)][1])
    st.caption(changes(strip), help="Measured on the pictures of the strip, its last column less its first.")
    if ways.is_older(name, model):
        st.caption("The directions beside this model were found in another snapshot of it.")
    mine = ways.own(name).directions
    if not mine:
        return
    with st.container(horizontal=True):
        about = "A file, with your own. Beside the model `render` finds them in it by name"
        everything = list({d.name: d for d in [*saved(name, model).values(), *mine]}.values())
        download("Directions", partial(ways.as_file, everything, model), FILE, about)
        if any(d.name == direction.name for d in mine):
            st.button(
                f"Forget {direction.name}",
                icon=":material/delete:",
                on_click=lambda: mine.remove(next(d for d in mine if d.name == direction.name)),
            )


def changes(strip: np.ndarray) -> str:
    """What measurements change from the first column to the last, on average over rows, in words."""
    found = measure(strip)
    parts = []
    for what, values in found.items():
        ends = values.reshape(-1, AMOUNTS)[:, [0, -1]]
        ends = ends[np.isfinite(ends).all(1)]
        if len(ends):
            parts.append(f"{what} {np.diff(ends).mean():+.2f}".replace("-", "−"))
    return f"From left to right, on average: {', '.join(parts)}." if parts else "There is nothing here to measure."
