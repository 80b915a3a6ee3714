"""Real beside generated pictures; of any that one clicks, the nearest training pictures; and the closest pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from ganlab.app.components.sprite import sprite
from ganlab.app.measure.words import KEY, figure, metric, nearness, number, plain
from ganlab.app.measure.work import Evaluation
from ganlab.app.widgets import link_to_explore, show
from ganlab.catalog import released
from ganlab.errors import DataError
from ganlab.evaluate.report import Report, read_report

SETS = {"At random": "wall", "Best": "best", "Strangest": "strangest"}
ABOUT = (
    "At random: the first 64, nothing chosen. Best and strangest: of all its pictures, those that lie deepest among "
    "real ones, and those that lie farthest outside (realism; Kynkäänniemi 2019, eq. 3)."
)
SPACES = {
    "pixels": ("By pixels", "Euclidean distance between pixels in [0, 1]: finds copies of the very strokes."),
    "features": ("By features", "Distance between what the network sees: finds the same thing drawn otherwise."),
}
IN_A_ROW = 4  # walls
TILE, PAIR = 60, 56  # width of a neighbour and of a pair's picture, in pixels of the page
PAIRS = 6

Arrays = dict[str, np.ndarray]


class Wall(NamedTuple):
    """One model's pictures; its name as it was chosen, and as the page calls it."""

    name: str
    label: str
    report: Report
    arrays: Arrays


def pictures_of(evaluations: Sequence[Evaluation]) -> list[Wall]:
    """Those that have pictures. A damaged file is said so, and left out."""
    walls = []
    for one in evaluations:
        if one.report and one.report.has_pictures:
            file = one.report.folder / "pictures.npz"
            try:
                arrays = _opened(str(file), file.stat().st_mtime_ns)
            except (DataError, OSError) as error:
                st.error(f"{error} Delete the folder, and measure again.", icon=":material/broken_image:")
                continue
            walls.append(Wall(one.name, one.label, one.report, arrays))
    return walls


@st.cache_resource(max_entries=8, show_spinner=False)
def _opened(file: str, changed: int) -> Arrays:
    from pathlib import Path

    report = read_report(Path(file).parent)
    assert report is not None
    return report.pictures()


@st.fragment
def walls(shown: Sequence[Wall], group: str) -> None:
    """Real and generated walls side by side, and beneath them the neighbours of the picture that was clicked."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Real beside generated**", help=ABOUT, width="content")
        st.space("stretch")
        label = st.segmented_control(
            "Which", list(SETS), default="At random", required=True, key=f"set_{group}", label_visibility="collapsed"
        )
    kind = SETS[str(label)]
    place = _chosen(shown, group, kind)
    columns = _columns(len(shown) + 1)
    with columns[0]:
        _real(shown[0], kind)
    for i, wall in enumerate(shown):
        with columns[i + 1]:
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.markdown(f"**{plain(wall.label)}**", width="content")
                _explore(wall)
            sprite(
                wall.arrays[kind],
                _side(wall.arrays[kind]),
                f"sprite_{group}_{i}",
                f"{len(wall.arrays[kind])} pictures of {wall.label}",
                names=_names(wall, kind),
                chosen=place[1] if place[0] == i else None,
                on_pick=partial(_pick, group, wall.name, kind),
            )
            st.caption(_key_figures(wall.report, "value"))
    _neighbours(shown[place[0]], kind, place[1])


def _explore(wall: Wall) -> None:
    if wall.name in released():
        link_to_explore(wall.name)
    else:
        link_to_explore(wall.name.rpartition("@")[0] or wall.name, wall.report.model["step"])


def _columns(num: int) -> list[Any]:
    """As many columns as walls, in rows that leave each wall wide enough to click a picture."""
    if num <= IN_A_ROW:
        return list(st.columns(num, gap="medium"))
    return [column for _ in range(-(-num // 3)) for column in st.columns(3, gap="medium")]


def _pick(group: str, name: str, kind: str, place: int) -> None:
    st.session_state[f"picked_{group}"] = (name, kind, place)


def _chosen(shown: Sequence[Wall], group: str, kind: str) -> tuple[int, int]:
    """Which wall and which of its pictures was clicked last; at first the first."""
    name, of, place = st.session_state.get(f"picked_{group}", ("", kind, 0))
    wall = next((i for i, one in enumerate(shown) if one.name == name), None)
    if wall is None:
        return 0, 0
    return wall, place if of == kind and place < len(shown[wall].arrays[kind]) else 0


def _real(first: Wall, kind: str) -> None:
    st.markdown("**Real**", help="Training pictures, drawn at random. Beneath: how real pictures that no model saw do.")
    real = first.arrays["real"][: len(first.arrays[kind])]
    sprite(real, _side(real), f"sprite_real_{first.report.data['name']}", f"{len(real)} real pictures")
    st.caption(_key_figures(first.report, "floor"))


def _side(pictures: np.ndarray) -> int:
    return int(np.ceil(len(pictures) ** 0.5))


def _key_figures(report: Report, what: str) -> str:
    """The figures under a wall: of the model, or of real pictures."""
    parts = []
    for family, words in KEY.items():
        if one := metric(report, family):
            value = number(one.floor, family) if what == "floor" else number(one.value, family)
            parts.append(f"{words} **{value}**" if family == "fd" else f"**{value}** {words}")
    text = ", ".join(parts)
    return f"Unseen real ones: {text}" if what == "floor" else text[:1].upper() + text[1:]


def _names(wall: Wall, kind: str) -> list[str]:
    """What each picture is, for whoever hears the page: its seed, and what the network takes it for."""
    seeds, classes = wall.arrays[f"{kind}_seeds"], wall.arrays[f"{kind}_classes"]
    return [f"Seed {seed}{_seen(wall.report, c)}" for seed, c in zip(seeds, classes, strict=True)]


def _seen(report: Report, index: int) -> str:
    return f", looks like {report.classes[index]}" if 0 <= index < len(report.classes) else ""


# --- neighbours ------------------------------------------------------------------------------------------------------


def _neighbours(wall: Wall, kind: str, place: int) -> None:
    """One picture, and the training pictures nearest to it in two senses."""
    arrays, seed = wall.arrays, wall.arrays[f"{kind}_seeds"][place]
    with st.container(border=True):
        what = _seen(wall.report, arrays[f"{kind}_classes"][place])
        st.markdown(
            f"**Has it learnt, or does it copy?** Seed {seed} of {plain(wall.label)}{plain(what)}, beside the nearest "
            "of all training pictures. Click any generated picture above to see its own."
        )
        left, right = st.columns([1, 5], gap="medium")
        with left:
            show(arrays[kind][place : place + 1], 1, width=130, alt=f"The picture of seed {seed}")
            st.caption(f"Realism {number(float(arrays[f'{kind}_realism'][place]))}", help=REALISM)
        with right, st.container(horizontal=True, gap="large"):
            for space, (label, about) in SPACES.items():
                with st.container(width=5 * TILE, gap="xsmall"):
                    _row(wall.report, arrays, kind, place, space, label, about)


REALISM = "Above 1 it lies within what the data's densest half covers; far below 1, outside (Kynkäänniemi 2019, eq. 3)."


def _row(report: Report, arrays: Arrays, kind: str, place: int, space: str, label: str, about: str) -> None:
    near = arrays[f"{kind}_{space}"][place]
    distances = arrays[f"{kind}_{space}_distances"][place]
    indices = arrays[f"{kind}_{space}_indices"][place]
    st.markdown(f"**{label}**", help=about)
    alone = len(near) == 1  # in what comes with a released model
    alt = f"The {len(near)} nearest training pictures {label.lower()}, at distances from {number(float(distances[0]))}"
    show(near, len(near), width=130 if alone else TILE * len(near), alt=alt)
    st.caption(
        f"Distance{'' if alone else 's'} {', '.join(number(float(d)) for d in distances)}. The nearest is training "
        f"picture {indices[0]:,}."
    )
    if (held_out := arrays.get(f"test_{space}_distances")) is not None and len(held_out):
        said, suspect = nearness(float(distances[0]), held_out.tolist())
        icon = ":orange[:material/content_copy:]" if suspect else ":green[:material/check:]"
        st.markdown(f"{icon} {said}")


# --- near-copies -----------------------------------------------------------------------------------------------------


def near_copies(shown: Sequence[Wall]) -> None:
    """The closest pairs among each model's pictures, one above the other."""
    st.markdown(
        "**Does it repeat itself?** The closest pairs among all its pictures, one above the other.",
        help="Different seeds that give the same picture: where a generator collapses, there are many.",
    )
    for wall, column in zip(shown, _columns(len(shown)), strict=False):
        pairs = wall.arrays["duplicates"][:PAIRS]
        distances = wall.arrays["duplicates_distances"][: len(pairs)]
        with column:
            st.markdown(f"**{plain(wall.label)}**")
            if not len(pairs):
                continue
            stacked = np.concatenate([pairs[:, 0], pairs[:, 1]])
            alt = f"The {len(pairs)} closest pairs, at distances from {distances[0]:.3g} to {distances[-1]:.3g}"
            show(stacked, len(pairs), width=PAIR * len(pairs), alt=alt)
            st.caption(_pairs_said(wall, distances))


def _pairs_said(wall: Wall, distances: np.ndarray) -> str:
    said = f"Distances {number(float(distances[0]))} to {number(float(distances[-1]))}"
    if (typical := wall.arrays.get("real_features_distances")) is not None and len(typical):
        said += f"; real pictures are typically {number(float(np.median(typical)))} from their nearest"
    if count := metric(wall.report, "duplicates"):
        real = number(count.floor, "duplicates")
        said += f". Near-copies in {wall.report.num:,}: {figure(count, 'duplicates')}; among real pictures {real}"
    return f"{said}."
