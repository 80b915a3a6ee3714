"""Teach a direction: mark pictures as more and as less, see what comes of it, name it, keep it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab.app import widgets
from ganlab.app.components.sprite import sprite
from ganlab.app.explore import known as ways
from ganlab.app.explore.hand import anchor_at, base_of, hand, points
from ganlab.app.explore.keys import told
from ganlab.app.explore.recipes import blend_of
from ganlab.app.widgets import MAX_SEED
from ganlab.directions import Direction, difference, move, orthogonalised, taught
from ganlab.errors import GanlabError
from ganlab.recipe import Anchor
from ganlab.render import Model

NUM, COLUMNS = 40, 8  # pictures to mark
LEAST = 2  # marks on either side
TRIED = 9
MOST_TRIED = 40  # marks, of which each is left out once
SIGNS = {True: "+", False: "−", None: ""}
MORE, LESS = "More", "Less"
NORMAL, MEANS = "Logistic regression", "Difference of means"
ABOUT_METHOD = (
    "Logistic regression: square to the border that tells more from less (Shen et al. 2020, arXiv:1907.10786). "
    "Difference of means: mean of the more minus mean of the less (Radford et al. 2015, arXiv:1511.06434)."
)
ABOUT_RIGHT = (
    "Each mark is left out once, and the direction that the others teach must put it on its side. Half of them would "
    "be right by chance: then mark more, or something that these pictures differ in more clearly."
)
ABOUT_LOCK = "The new direction stands at right angles to these, so that it changes them as little as it can."
ABOUT_CLASS = "Mark within one class, and the direction is about what differs in it, not about the class."


@dataclass
class Marks:
    """What was marked: true for more, false for less."""

    of: dict[Anchor, bool] = field(default_factory=dict)

    def toggle(self, anchor: Anchor, more: bool) -> None:
        if self.of.get(anchor) is more:
            del self.of[anchor]
        else:
            self.of[anchor] = more

    def side(self, more: bool) -> list[Anchor]:
        return [anchor for anchor, is_more in self.of.items() if is_more is more]

    @property
    def is_enough(self) -> bool:
        return min(len(self.side(True)), len(self.side(False))) >= LEAST


def marks_of(model: Model, name: str) -> Marks:
    place = f"marks of {base_of(name)} {model.config.latent_dim} {model.classes}"
    return st.session_state.setdefault(place, Marks())


def teach(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    marks, every = marks_of(model, name), ways.known(model, name)
    with controls, st.container(border=True):
        about = "What a click on a picture says of it; another click takes it back."
        side = widgets.segments("A click marks", [MORE, LESS], MORE, "mark", help=about)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            label = widgets.choose_class(model, ABOUT_CLASS, None)
            with st.container(width=130):
                seed = widgets.seed_input("First seed", "taught", 0, "The same seed always gives the same picture.")
            st.button("New pictures", icon=":material/casino:", on_click=_go_on, args=(seed,), help="Marks stay")
        method = st.selectbox("Method", [NORMAL, MEANS], key="method", help=ABOUT_METHOD, persist_state="page")
        locked = st.multiselect("Keep unchanged", list(every), key="locked", help=ABOUT_LOCK, persist_state="page")
        more, less = len(marks.side(True)), len(marks.side(False))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{more} more, {less} less**", width="stretch")
            st.button("Clear marks", icon=":material/backspace:", on_click=marks.of.clear, disabled=not marks.of)
        if not marks.is_enough:
            st.info(
                f"Mark {LEAST} pictures or more as more, and {LEAST} or more as less: of whatever you like, and the "
                "direction from the one to the other appears below. Ten of each make a good one.",
                icon=":material/touch_app:",
            )
    with picture:
        st.markdown("**Teach by example.** Mark pictures that have more of something, and some that have less.")
        blend = blend_of(label)
        _wall(model, [Anchor(i, blend) for i in range(seed, seed + NUM)], marks, side == MORE)
    if marks.is_enough:
        _result(model, name, marks, str(method), [every[key] for key in locked if key in every])


def _wall(model: Model, anchors: list[Anchor], marks: Marks, more: bool) -> None:
    words = {True: ", more", False: ", less", None: ""}
    sprite(
        model.generate(*points(model, anchors)),
        COLUMNS,
        "teaching wall",
        f"{NUM} pictures to mark",
        names=[f"{told(a).capitalize()}{words[marks.of.get(a)]}" for a in anchors],
        marks=[SIGNS[marks.of.get(a)] for a in anchors],
        on_pick=lambda i: marks.toggle(anchors[i], more),
    )


def _go_on(seed: int) -> None:
    st.session_state["taught"] = float(seed + NUM if seed + NUM <= MAX_SEED else 0)


def found(model: Model, marks: Marks, method: str, locked: list[Direction]) -> Direction:
    """The direction from what was marked less to more, at right angles to `locked` ones. Raises ConfigError where they
    leave nothing."""
    more, less = (points(model, marks.side(is_more))[0] for is_more in (True, False))
    direction = learnt(more, less, method, locked)
    figures = {"more": float(len(more)), "less": float(len(less)), **(direction.evidence or {})}
    if min(len(more), len(less)) > LEAST and len(marks.of) <= MOST_TRIED:
        figures["right"] = float(told_right(more, less, method, locked))
    return replace(direction, evidence=figures)


def learnt(more: np.ndarray, less: np.ndarray, method: str, locked: list[Direction]) -> Direction:
    """From z (M, latent_dim) that are less to z (N, latent_dim) that are more."""
    if method == NORMAL:
        return taught("taught", more, less, locked)
    return Direction("taught", orthogonalised(difference("taught", more, less).vector, locked))


def told_right(more: np.ndarray, less: np.ndarray, method: str, locked: list[Direction]) -> int:
    """How many of the marked z fall on their side of the middle between both sides' means, along what is learnt from
    the others."""
    right = 0
    for of, other, sign in ((more, less, 1), (less, more, -1)):
        for i in range(len(of)):
            rest = np.delete(of, i, 0)
            sides = (rest, other) if sign > 0 else (other, rest)
            vector = learnt(*sides, method, locked).vector
            middle = (rest.mean(0) + other.mean(0)) / 2
            right += bool(sign * ((of[i] - middle) @ vector) > 0)
    return right


def _result(model: Model, name: str, marks: Marks, method: str, locked: list[Direction]) -> None:
    try:
        direction = found(model, marks, method, locked)
    except GanlabError as error:
        st.warning(str(error), icon=":material/warning:")
        return
    left, right = st.columns((7, 4), gap="large")
    most = ways.reach(model)
    with right:
        st.markdown(ways.about(direction), help=ABOUT_RIGHT)
        about = "How many times the direction is added to the numbers of each picture, and taken away from them."
        far = st.slider("How far", 0.25, most, min(2.0, most), 0.25, key="how far", help=about, persist_state="page")
        _keep(model, name, direction)
    with left:
        st.markdown("**On nine others.** Top: with less. Middle: as they are. Bottom: with more.")
        _try(model, name, direction, float(far), marks)


def _try(model: Model, name: str, direction: Direction, far: float, marks: Marks) -> None:
    """Nine samples with less, as they are, and with more."""
    blends = {anchor.blend for anchor in marks.of}
    blend = blends.pop() if len(blends) == 1 else ()
    anchors = [Anchor(MAX_SEED - i, blend) for i in range(TRIED)]
    z, y = points(model, anchors)
    rows = np.concatenate([move(z, [(direction, amount)]) for amount in (-far, 0, far)])
    weights = None if y is None else np.tile(y, (3, 1))
    words = ("with less", "as it is", "with more")
    sprite(
        model.generate(rows, weights),
        TRIED,
        "tried",
        "Nine pictures with less, as they are, and with more",
        names=[f"Take picture {i + 1} {word} in hand" for word in words for i in range(TRIED)],
        on_pick=lambda i: hand(name).take(anchor_at(model, rows[i], None if weights is None else weights[i])),
    )


# --- keeping ---------------------------------------------------------------------------------------------------------


def _keep(model: Model, name: str, direction: Direction) -> None:
    run, mine = ways.run_of(name), ways.own(name)
    called = st.text_input("Its name", key="name of direction", placeholder="smile", persist_state="page").strip()
    problem = ways.problem_with(called, ways.known(model, name)) if called else ""
    into_run = False
    if run is not None:
        can = os.access(run.path, os.W_OK)
        about = "As directions.safetensors in the run's folder, where `python -m ganlab render` finds it by name."
        into_run = st.toggle(
            "Also in the run's folder",
            can,
            key="keep in run",
            disabled=not can,
            help=about if can else "This app may not write there.",
        )

    def keep() -> None:
        named = replace(direction, name=called)
        try:
            if run is not None and into_run:
                ways.keep_in(run, named, model)
        except (GanlabError, OSError) as error:
            st.session_state["not kept"] = str(error)
            return
        mine.directions.append(named)
        st.session_state.update({"direction": called, "name of direction": ""})
        st.session_state["kept direction"] = called

    st.button(
        "Keep this direction",
        icon=":material/add:",
        type="primary",
        disabled=not called or bool(problem),
        on_click=keep,
        help="It gets a slider. It lasts as long as this page is open, or download it there.",
    )
    if problem:
        st.warning(problem, icon=":material/warning:")
    if reason := st.session_state.pop("not kept", ""):
        st.error(f"**It can't be kept in the run's folder.** {reason}", icon=":material/error:")
    if kept := st.session_state.pop("kept direction", ""):
        st.success(f"**{kept}** has a slider now, in the part Sliders.", icon=":material/check:")
