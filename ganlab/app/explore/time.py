"""The view Time: the same z, the same walk, the same plane at every snapshot of a training, also while it goes on."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab import catalog, export, render, timelapse
from ganlab.app import widgets
from ganlab.app.components.sprite import as_url
from ganlab.app.components.time_machine import Moment, time_machine
from ganlab.app.explore.hand import Hand, anchor_at, base_of, hand
from ganlab.app.explore.interpolate import comes_back, walk_keys
from ganlab.app.explore.move import choose_plane, middle_of
from ganlab.app.explore.recipes import blend_of, linked, read_place, recipe, share, usual
from ganlab.app.explore.save import Film
from ganlab.app.explore.wall import choose_truncation
from ganlab.app.state import is_alive, model_names, open_model
from ganlab.app.widgets import MAX_SEED, download
from ganlab.errors import GanlabError
from ganlab.recipe import Anchor, Recipe
from ganlab.render import Model, load_model
from ganlab.rundir import RunDir, scored
from ganlab.scene import Scene

TIME = "Time"
HAND, WALL, WALK, PLANE = "In hand", "Wall", "Walk", "Plane"
ABOUT = {
    HAND: "The picture in hand.",
    WALL: "Sixteen seeds in a row.",
    WALK: "The way through the key pictures of Interpolate.",
    PLANE: "The map around the place where Move is.",
}
MOST = 48  # snapshots on the slider
FILM_MOST, FILM_FPS = 200, 3  # as the command has it
NUM, SIDE, LEAST_WALK = 16, 5, 8  # pictures of the wall; along a side of the map; of the walk at least
ABOUT_CLASS = "One class for all of them, or each its own."


def over_time(model: Model, name: str, picture: DeltaGenerator, controls: DeltaGenerator) -> None:
    base = base_of(name)
    files = catalog.snapshots(base)
    if len(files) < 2:
        _lonely(base, picture)
        return
    with controls, st.container(border=True):
        st.markdown("The same random numbers, drawn by the network as it was at each stage of its training.")
        over = widgets.segments("Over time", list(ABOUT), _first_of(linked()), "over", help=_bullets())
        shown = _CHOSEN[over](model, base)
    with picture:
        points = timelapse.points_of(shown, model)
        step = _slider(model, base, shown, points, files)
        _leads(model, replace(shown, step=step), points, files)
        _watch(base, max(files))


# --- what is looked at -----------------------------------------------------------------------------------------------


def _of_hand(model: Model, base: str) -> Recipe:
    return recipe(base, anchors=(hand(base).held,))


def _of_wall(model: Model, base: str) -> Recipe:
    label = widgets.choose_class(model, ABOUT_CLASS, usual().get("class"))
    truncation = choose_truncation()
    seed = widgets.seed_input("First seed", "seed", usual().get("seed", 0), "The same seed always gives the same z.")
    anchors = tuple(Anchor(i) for i in range(seed, min(seed + NUM, MAX_SEED + 1)))
    return recipe(base, anchors=anchors, blend=blend_of(label), truncation=truncation)


def _of_walk(model: Model, base: str) -> Recipe:
    label = widgets.choose_class(model, ABOUT_CLASS, usual().get("class"))
    anchors = tuple(replace(a, blend=()) if label else a for a in walk_keys(model).anchors)
    closed = comes_back()
    legs, ends = (len(anchors), 0) if closed else (len(anchors) - 1, 1)
    num = -(-(LEAST_WALK - ends) // legs) * legs + ends  # so that each key picture is on the way
    st.caption("Its key pictures are those of Interpolate: choose others there.")
    return recipe(base, anchors=anchors, blend=blend_of(label), show="slerp", num=num, closed=closed)


def _of_plane(model: Model, base: str) -> Recipe:
    shown = choose_plane(model, base, st.container(), st.container())
    place = (read_place(st.query_params.to_dict()) if "x" in st.query_params else None) or middle_of(shown)
    st.caption("The place is that of Move: drag there to see another.")
    return replace(shown, x=place.x, y=place.y, zoom=place.zoom, num=SIDE)


_CHOSEN = {HAND: _of_hand, WALL: _of_wall, WALK: _of_walk, PLANE: _of_plane}


def _first_of(asked: Recipe | None) -> str:
    """What a link shows over time."""
    if asked is None:
        return WALL
    return {"pictures": HAND if len(asked.anchors) == 1 else WALL, "slerp": WALK, "lerp": WALK}.get(asked.show, PLANE)


def _bullets() -> str:
    return "\n".join(f"- {name}: {about}" for name, about in ABOUT.items())


# --- the slider ------------------------------------------------------------------------------------------------------


def _slider(model: Model, base: str, shown: Recipe, points: Scene, files: dict[int, Path]) -> int:
    """The pictures at each snapshot, and the step of the one that a person chose."""
    here = _step_of(model, files)
    steps = sorted({*timelapse.spread(list(files), MOST), here})
    scores, last = _scores(base), max(files)
    what = str(replace(shown, step=None))
    moments = []
    with st.spinner("Drawing every snapshot once", show_time=True):
        for step in steps:
            file = files[step]
            url, images = _drawn(str(file), file.stat().st_mtime_ns, what, points)
            moments.append(Moment(step, url, f"Step {step:,}", _words(step, images, last, scores.get(step))))
    held, (_, height, width) = hand(base), model.program.output_shape
    return time_machine(
        moments,
        f"time of {base}",
        f"The same {len(points.z)} pictures at {len(steps)} stages of the training",
        num=len(points.z),
        columns=points.columns or round(len(points.z) ** 0.5),
        size=(height, width),
        start=here,
        names=[f"Take picture {i + 1} of {len(points.z)} in hand" for i in range(len(points.z))],
        on_pick=lambda i: _take(held, shown, points, model, i),
    )


@st.cache_resource(max_entries=512, show_spinner=False)
def _drawn(file: str, changed: int, what: str, _points: Scene) -> tuple[str, int | None]:
    """What a snapshot draws, as a PNG in a data URL, and how many pictures it had seen. `what`: tells the points."""
    model = load_model(Path(file))
    pictures = model.generate(_points.z, _points.y)
    return as_url(pictures, _points.columns or round(len(pictures) ** 0.5)), model.facts.get("images")


def _step_of(model: Model, files: dict[int, Path]) -> int:
    """Where the slider begins: the snapshot that the page has chosen, the last of a released model."""
    step = model.facts.get("step")
    return step if step in files else max(files)


def _scores(base: str) -> dict[int, float]:
    """Scores by step, lower is better: all of a run; of a released model that of the step that was chosen."""
    try:
        if base not in catalog.released():
            return {row["step"]: row["score"] for row in scored(RunDir(base).read_metrics()[0])}
        card = catalog.read_card(base)
        return {card["steps"]: card["chosen"]["score"]}
    except (GanlabError, KeyError, TypeError):
        return {}


def _words(step: int, images: int | None, last: int, score: float | None) -> str:
    parts = [f"of {last:,}"]
    if images is not None:
        parts.append(f"{images:,} real pictures seen" if step else "no real picture seen yet")
    if score is not None:
        parts.append(f"score {score:.3g}, lower is better")
    return " · ".join(parts)


def _take(held: Hand, shown: Recipe, points: Scene, model: Model, i: int) -> None:
    if shown.show == "pictures" and shown.truncation == 1:
        held.take(replace(shown.anchors[i], blend=shown.anchors[i].blend or shown.blend))
    else:
        held.take(anchor_at(model, points.z[i], None if points.y is None else points.y[i]))


# --- where it leads --------------------------------------------------------------------------------------------------


def _leads(model: Model, shown: Recipe, points: Scene, files: dict[int, Path]) -> None:
    """Beneath the slider: this snapshot in the other views, files, a film of the training."""
    assert isinstance(shown.step, int)
    filmed = export.thinned(list(files.values()), FILM_MOST)
    command = f"python -m ganlab timelapse {shlex.quote(str(replace(shown, step=None)))} --out training.gif"
    film = Film(
        f"training {replace(shown, step=None)} {len(filmed)} {max(files)}",
        lambda progress: timelapse.frames(points, filmed, progress),
        f"The training as a film of what is shown: {len(filmed)} snapshots, the last one for two seconds",
        fps=FILM_FPS,
        bounce=False,
        hold=export.HOLD,
        command=command,
    )
    with st.container(horizontal=True):
        if st.button(
            "Use this snapshot",
            icon=":material/history:",
            disabled=shown.step == _step_of(model, files),
            help="The other views, and the picture in hand, are then drawn by the network as it was at this step. "
            "The field Step above leads back.",
            on_click=_use,
            args=(shown.step,),
        ):
            st.rerun()
        share(shown, open_model(shown.source), "training", film=film, view=TIME)
        strip = lambda: export.png_bytes(render.strip(timelapse.frames(points, filmed)))  # noqa: E731
        download("Strip", strip, "strip.png", "All snapshots side by side, as one picture")


def _use(step: int) -> None:
    st.session_state["step"] = str(step)


@st.fragment(run_every=2.0)
def _follow(base: str, newest: int) -> None:
    """Look every two seconds whether a live run has a newer snapshot, and draw the page anew if so."""
    if not is_alive(RunDir(base)) or max(catalog.snapshots(base), default=newest) != newest:
        st.rerun()


def _watch(base: str, newest: int) -> None:
    if base not in catalog.released() and is_alive(RunDir(base)):
        st.caption(":material/sync: In training: new snapshots join by themselves.")
        _follow(base, newest)


def _lonely(base: str, picture: DeltaGenerator) -> None:
    """What is said of a model with no history."""
    others = [name for name in model_names() if len(catalog.snapshots(name)) > 1]
    with picture, st.container(border=True):
        if base in catalog.released():
            st.markdown(f"**{base} has no past here.** It was released as it was at the end of its training.")
        else:
            st.markdown("**Only one snapshot yet.** The next one joins by itself, if the training goes on.")
        st.markdown(
            "With snapshots along a training, this view shows the same pictures at each of them: how noise turns into "
            "shapes. " + ("These have some:" if others else "Train a model: it keeps them from its first step on.")
        )
        with st.container(horizontal=True):
            for name in others[:4]:
                if st.button(name, icon=":material/history:", key=f"past of {name}", on_click=_open, args=(name,)):
                    st.rerun()
    if base not in catalog.released():
        with picture:
            _watch(base, max(catalog.snapshots(base), default=0))


def _open(name: str) -> None:
    st.session_state["model"] = name
