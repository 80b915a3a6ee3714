"""The picture that one asks a model for: drawn on a pad, uploaded, or one of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import streamlit as st

from ganlab.app import widgets
from ganlab.app.components.pad import pad
from ganlab.data import Dataset, is_at_hand, open_dataset
from ganlab.data.drawing import drawn
from ganlab.data.picture import open_picture
from ganlab.data.pixels import EXTENSIONS
from ganlab.errors import GanlabError
from ganlab.render import Model

DRAW, UPLOAD, DATA = "Draw", "Upload", "From the data"
MAX_UPLOAD = 20  # MB
UPLOADED, NUMBER = "uploaded picture", "picture of the data"
ABOUT_CENTRE = (
    "Ink on plain paper is fitted into a box of 20 of the 28 pixels, and its centre of mass put in the middle, as "
    "MNIST was made (LeCun et al. 1998). A model of MNIST knows no digits but such, so it is on for these."
)


class Split(NamedTuple):
    """Pictures of the data to choose from. `is_new`: the model has not learnt from them."""

    dataset: Dataset
    is_new: bool


def ask(model: Model) -> np.ndarray | None:
    """Widgets for the picture: uint8 (H, W, C) as the model's are; None so far, or where it can't be read."""
    config = model.config
    split = split_of(config.data, config.image_size, config.channels, config.classes)
    sources: dict[str, Callable[[Model], np.ndarray | None]] = {DRAW: _draw, UPLOAD: _upload}
    if split is not None:
        sources[DATA] = lambda model: _of_the_data(split)
    about = "Draw with a finger, a pen or the mouse; or bring a picture as a file. " + (
        "Or take one of the data, to see what the model can make of it." if split is not None else ""
    )
    source = st.segmented_control(
        "The picture to look for",
        list(sources),
        default=DRAW,
        required=True,
        key="picture from",
        help=about,
        persist_state="page",
    )
    try:
        return sources.get(str(source), _draw)(model)
    except GanlabError as error:
        st.error(str(error), icon=":material/broken_image:")
        return None


def _draw(model: Model) -> np.ndarray | None:
    config = model.config
    strokes = pad("pad", colour=config.channels == 3)
    digit = _centred(model)
    return drawn(strokes, config.image_size, config.channels, digit=digit) if strokes else None


def _upload(model: Model) -> np.ndarray | None:
    def keep() -> None:  # a field that is not shown forgets its file
        file = st.session_state["upload"]
        st.session_state[UPLOADED] = file and (file.name, file.getvalue())

    st.file_uploader(
        "A picture", [ending[1:] for ending in EXTENSIONS], key="upload", on_change=keep, max_upload_size=MAX_UPLOAD,
        help="Any size: it is cropped to its centre square and scaled to what the model makes.",
    )  # fmt: skip
    digit = _centred(model)
    if not (uploaded := st.session_state.get(UPLOADED)):
        return None
    name, content = uploaded
    image = _opened(content, model.config.image_size, model.config.channels, digit)
    st.caption(f"Looked for: `{name.replace('`', ' ')}`")
    return image


def _centred(model: Model) -> bool:
    """Whether the picture is ink, to be centred like MNIST's digits."""
    if model.config.channels != 1:
        return False
    usual = model.config.data.startswith("mnist")
    label, key = "Centre it like the digits of MNIST", f"centre {usual}"
    return st.toggle(label, usual, key=key, help=ABOUT_CENTRE, persist_state="page")


@st.cache_data(max_entries=8, show_spinner=False)
def _opened(content: bytes, size: int, channels: int, digit: bool) -> np.ndarray:
    return open_picture(content, size, channels, digit=digit)


def _of_the_data(split: Split) -> np.ndarray:
    dataset, is_new = split
    last = len(dataset) - 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=150):
            about = f"0 to {last:,}"
            number = min(int(st.number_input("Number", 0, None, key=NUMBER, help=about, persist_state="page")), last)
        st.button("Another", icon=":material/casino:", on_click=_another, args=(number, last))
    image = dataset.images[number]
    told = f" of class {dataset.classes[dataset.labels[number]]}" if dataset.classes else ""
    seen = "The model has not seen it." if is_new else "The model may have learnt from it."
    widgets.show(image[None], 1, width=300, alt=f"Picture {number}{told} of {dataset.name}")
    st.caption(f"Picture {number:,}{told} of {dataset.name}. {seen}")
    return image


def _another(number: int, last: int) -> None:
    """The next picture, some way on: data sets may lie in the order of their classes."""
    st.session_state[NUMBER] = (number + 7919) % (last + 1)


@st.cache_resource(max_entries=2, show_spinner="Opening the data")
def split_of(data: str, size: int, channels: int, classes: tuple[str, ...]) -> Split | None:
    """Test pictures of the data, else those of the bundled digits for a model of digits; None where none are at hand,
    without a download and without torch."""
    for name, split in ((data, "test"), ("mnist-5k", "train")):
        if is_at_hand(name, split) and (name == data or data.startswith("mnist")):
            try:
                found = open_dataset(name, image_size=size, channels=channels, classes=classes, split=split)
            except GanlabError:
                continue
            return Split(found, split == "test")
    return None
