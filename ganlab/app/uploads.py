"""Choosing what to learn from: a data set by name, or one's own pictures."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import streamlit as st

from ganlab.app.state import runs_folder
from ganlab.data import DATASETS, Dataset, is_on_disk, open_dataset
from ganlab.errors import GanlabError
from ganlab.files import write_atomic

OWN = "own"
MAX_UPLOAD = 200  # MB
PREVIEW = 10  # pictures

Shape = tuple[int, int]  # (image_size, channels)


class Chosen(NamedTuple):
    """What to learn from."""

    data: str | None  # as Config.data takes it; None: nothing so far
    shape: Shape
    classes: tuple[str, ...] = ()  # only these; empty: all
    has_classes: bool = False


def choose_data() -> Chosen:
    """Widgets for data set and classes."""
    names = sorted(DATASETS, key=lambda name: not is_on_disk(name))
    name = st.selectbox(
        "Data set", [*names, OWN], format_func=_label, key="data",
        help="Pictures to learn from. Those that are not on this disk are downloaded when training starts.",
    )  # fmt: skip
    if name is None or name == OWN:
        return _own_pictures()
    info = DATASETS[name]
    classes = st.multiselect(
        "Classes", info.classes, placeholder="All", key=f"classes_{name}", help="Learn only some of them."
    )
    return Chosen(name, (info.image_size, info.channels), tuple(classes), has_classes=bool(info.classes))


def _label(name: str) -> str:
    if name == OWN:
        return "Your own pictures (a zip or a folder)"
    return DATASETS[name].label + ("" if is_on_disk(name) else ", to be downloaded")


def _own_pictures() -> Chosen:
    """A zip from the browser, or a path on the app's machine; looked into at once, so that errors show here."""
    uploaded = st.file_uploader(
        "Zip of pictures", type="zip", max_upload_size=MAX_UPLOAD, key="zip",
        help="One folder for each class, or none. Any size: they are cropped to squares and scaled.",
    )  # fmt: skip
    path = st.text_input("or a folder or zip on this computer", key="own_path", placeholder="/home/me/pictures").strip()
    size = st.segmented_control("Size (pixels)", [28, 32], default=32, required=True, key="own_size")
    colour = st.toggle("In colour", True, key="own_colour")
    shape = (int(size), 3 if colour else 1)
    source = _stored(uploaded.getvalue()) if uploaded else path
    if not source:
        return Chosen(None, shape)
    try:
        summary, names = _look_into(source, shape)
    except GanlabError as error:
        st.error(str(error), icon=":material/broken_image:")
        return Chosen(None, shape)
    st.caption(summary)
    classes = st.multiselect("Classes", names, placeholder="All", key="own_classes") if names else []
    return Chosen(source, shape, tuple(classes), has_classes=bool(names))


@st.cache_data(max_entries=32, show_spinner=False)
def preview(source: str, shape: Shape, classes: tuple[str, ...]) -> np.ndarray | None:
    """A few real pictures spread over the data set, uint8 (N, H, W, C); None while they are not on this disk."""
    if not is_on_disk(source) or source == "cifar10":  # whose reader would bring torch into this process
        return None
    images = open_dataset(source, image_size=shape[0], channels=shape[1], classes=classes).images
    return images[np.linspace(0, len(images) - 1, PREVIEW).astype(int)]


@st.cache_data(ttl=60, max_entries=32, show_spinner="Looking at the pictures")
def _look_into(source: str, shape: Shape) -> tuple[str, tuple[str, ...]]:
    """A sentence about the pictures, and their classes. Kept a minute, so that a slider does not open them again."""
    dataset = open_dataset(source, image_size=shape[0], channels=shape[1])
    return _summary(dataset), dataset.classes


def _summary(dataset: Dataset) -> str:
    kinds = f" in {len(dataset.classes)} classes" if dataset.classes else ""
    skipped = f"; {len(dataset.skipped)} files could not be read ({dataset.skipped[0]})" if dataset.skipped else ""
    few = " GANs want more: a few hundred at least." if len(dataset) < 500 else ""
    return f"{len(dataset):,} pictures{kinds}{skipped}.{few}"


def _stored(content: bytes) -> str:
    """The uploaded zip as a file that the worker can open, named by its content; written once."""
    path = runs_folder().resolve() / ".uploads" / f"{hashlib.sha256(content).hexdigest()[:16]}.zip"
    if not path.exists():
        write_atomic(path, content)
    return str(path)
