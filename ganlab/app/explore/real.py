"""The training pictures nearest to the picture in hand: has it learnt, or does it copy?"""

from __future__ import annotations

import threading

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ganlab.app import widgets
from ganlab.app.explore.hand import hand, held_points
from ganlab.app.measure.gallery import SPACES
from ganlab.app.measure.words import number, plain, title
from ganlab.data import identity
from ganlab.errors import GanlabError
from ganlab.evaluate.closest import Near, RealPictures, at_hand
from ganlab.evaluate.report import Subject, subject
from ganlab.render import Model

SHOWN = 8  # pictures, the nearest ones
TILE = 84  # width of each, in pixels of the page
PICTURE = 150
COPY, UNLIKE = 0.01, 0.95  # fewer training pictures, or more, are nearer to another one
SOON, LOOK = 1.0, 0.5  # seconds to wait for pictures that are there at once; between two looks at a search


def real(model: Model, name: str, intro: DeltaGenerator) -> None:
    intro.markdown(
        "**Has it learnt, or does it copy?** The picture in hand, and the training pictures nearest to it. Alike is "
        "good, the same is not."
    )
    about = at_hand(asked := subject(model))
    if about is None:
        _absent(asked, name)
        return
    if about != asked:
        intro.caption(
            f"It learnt from more: {plain(title(asked.data))}, which is not on this disk. These are "
            f"{plain(title(about.data))}."
        )
    search = _search(about, identity(about.data, **about.options), model.num_threads)
    search.opened.wait(SOON)
    if search.error:
        _search.clear()  # the next look tries again
        raise search.error
    pictures = search.pictures
    if not search.done:
        st.fragment(_progress, run_every=LOOK)(search, pictures is not None)
    if pictures is None:
        return
    z, y = held_points(model, hand(name))
    image = model.generate(z, y)[0]
    found = _nearest(model.sha256, image.tobytes(), search.done, image, pictures)
    left, right = st.columns((PICTURE, 800), gap="medium")
    with left:
        st.markdown("**In hand**")
        widgets.show(image[None], 1, width=PICTURE, alt="The picture in hand")
    with right:
        for space, near in found.items():
            _row(pictures, space, near)


def _absent(about: Subject, name: str) -> None:
    st.info(
        f"The pictures that it learnt from, {plain(title(about.data))}, are not on this disk. Measuring the model "
        "fetches them; then they are shown here.",
        icon=":material/photo_library:",
    )
    widgets.link_to_measure(name)


class Search:
    """Training pictures that are opened, and looked at, in a thread of their own: the page goes on meanwhile.

    `pictures`: None until they are `opened`. `error`: why they can't be.
    """

    def __init__(self, about: Subject, num_threads: int) -> None:
        self.about, self.num_threads = about, num_threads
        self.opened = threading.Event()
        self.pictures: RealPictures | None = None
        self.error: GanlabError | None = None
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def done(self) -> bool:
        return self.pictures is not None and self.pictures.share == 1

    def _run(self) -> None:
        try:
            self.pictures = pictures = RealPictures(self.about, num_threads=self.num_threads)
            self.opened.set()
            while pictures.share < 1:
                pictures.advance()
        except GanlabError as error:
            self.error = error
            self.opened.set()


@st.cache_resource(max_entries=1, ttl=1800, show_spinner=False)
def _search(about: Subject, identity: str, num_threads: int) -> Search:
    return Search(about, num_threads)


@st.cache_resource(max_entries=32, show_spinner="Comparing …")
def _nearest(sha256: str, pixels: bytes, done: bool, _image: np.ndarray, _pictures: RealPictures) -> dict[str, Near]:
    return _pictures.nearest(_image, SHOWN)


def _progress(search: Search, opened: bool) -> None:
    """A bar, once for a data set; the page is drawn anew once there is more to show. opened: what it shows now."""
    pictures = search.pictures
    if search.done or search.error or (pictures is not None) != opened:
        st.rerun()
    if pictures is None:
        st.progress(0.0, "Opening the training pictures")
    else:
        doing = f"Looking once at all {len(pictures.train):,} training pictures; it is kept for the next time"
        st.progress(pictures.share, doing)


def _row(pictures: RealPictures, space: str, near: Near) -> None:
    label, about = SPACES[space]
    train = pictures.train
    seen = [train.classes[i] for i in train.labels[near.indices]] if train.classes else []
    with st.container(gap="xsmall"):
        st.markdown(f"**{label}**", help=about)
        alt = f"The {len(near.images)} nearest training pictures {label.lower()}"
        widgets.show(near.images, len(near.images), width=TILE * len(near.images), alt=alt + _of(seen))
        st.caption(
            f"Distances {', '.join(number(float(d)) for d in near.distances)}{_of(seen)}. The nearest is training "
            f"picture {near.indices[0]:,}."
        )
        if (others := pictures.others.get(space)) is not None:
            said, suspect = verdict(float(near.distances[0]), others)
            st.markdown(f"{':orange[:material/content_copy:]' if suspect else ':green[:material/check:]'} {said}")


def _of(classes: list[str]) -> str:
    return f"; they are of {', '.join(map(plain, dict.fromkeys(classes)))}" if classes else ""


def verdict(distance: float, others: np.ndarray) -> tuple[str, bool]:
    """What it means that a picture is so far from its nearest training picture, where training pictures are `others`
    (n,) from their nearest other one; and whether it may be a copy."""
    share, typical = float(np.mean(others <= distance)), float(np.median(others))
    far = f"{distance / typical:.2f} times as far as training pictures typically are from their nearest other one"
    if share < COPY:
        return f"Perhaps a copy: {far}, and hardly any comes as near. Compare the two.", True
    if share > UNLIKE:
        return f"No copy, and like none of them: {far}.", False
    return f"Not a copy: {far}; {round(100 * share)} of 100 come nearer to theirs.", False
