"""Small parts that pages share: sharp pictures, seed fields, facts about a model, a link to copy."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote, urlencode

import numpy as np
import streamlit as st
from PIL import Image

from ganlab import catalog
from ganlab.app.state import is_alive
from ganlab.config import Config
from ganlab.data import DATASETS
from ganlab.errors import GanlabError
from ganlab.render import Model, grid, upscale
from ganlab.rundir import RunDir

Choice = TypeVar("Choice", int, str)

MAX_SEED = 2**31 - 1
CODE = 520  # width of code, in pixels of the page
OWN_CLASS = "Each seed's own"
GAP = 2  # between pictures, in pixels of the page

FAMILIES = {
    "mlp": "A multilayer perceptron, the network of the first GAN (Goodfellow et al., 2014).",
    "dcgan": "A deep convolutional GAN: it grows a picture from coarse to fine (Radford et al., 2015).",
    "sn-conv": "A convolutional GAN that spectral norm keeps steady (Miyato et al., 2018).",
    "sn-resnet": "A GAN of residual blocks that spectral norm keeps steady (Miyato et al., 2018).",
}


def mosaic(pictures: np.ndarray, columns: int, width: int) -> np.ndarray:
    """Pictures (N, H, W, C) as one, with see-through gaps and about two pixels for each of `width`: uint8, LA or RGBA.

    Every pixel of a picture becomes a square of equal ones, so that no browser, at any zoom, has anything to blur.
    """
    factor = max(1, -(-2 * width // (columns * pictures.shape[2])))
    opaque = np.concatenate([pictures, np.full_like(pictures[..., :1], 255)], axis=-1)
    return grid(upscale(opaque, factor), columns, gap=2 * GAP, background=0)


def show(pictures: np.ndarray, columns: int, *, width: int, alt: str) -> None:
    """Draw pictures (N, H, W, C) as one image of `width` pixels, narrower where there is no room.

    `alt` says what there is to see. As a data URL the image needs no second request to the server.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(mosaic(pictures, columns, width))
    image.save(buffer, "PNG", compress_level=1)  # a third of the time, for some 30 % more bytes
    st.image(f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}", width=width, alt=alt)


def seed_input(label: str, key: str, default: int, help: str | None = None) -> int:
    """A field for a seed, bound to the URL parameter `key`.

    Its state is a float: Streamlit checks only those for infinity, and `?seed=inf` would end an integer one.
    """
    first: float | Literal["min"] = float(default) if default else "min"  # a page may set a field that has no default
    value = st.number_input(label, 0.0, float(MAX_SEED), first, 1.0, "%.0f", key=key, help=help, bind="query-params")
    return int(value + 0.5)  # as the field shows it


def choose_class(model: Model, about: str, first: str | None = None) -> str | None:
    """For a conditional model, a field for the class to draw; None: each seed's own, or an unconditional model.

    first: the class that it begins with.
    """
    if not model.num_classes:
        return None
    options = [OWN_CLASS, *model.classes]
    index = options.index(first) if first in options else 0
    chosen = st.selectbox("Class", options, index, key="class", help=about, bind="query-params")
    return None if chosen == OWN_CLASS else chosen


def segments(
    label: str,
    options: Sequence[Choice],
    default: Choice,
    key: str,
    *,
    hide_label: bool = False,
    help: str | None = None,
) -> Choice:
    """One of a few options, all in sight, bound to the URL parameter `key`."""
    chosen = st.segmented_control(
        label,
        options,
        default=default,
        required=True,
        key=key,
        bind="query-params",
        help=help,
        label_visibility="collapsed" if hide_label else "visible",
        width="stretch",
    )
    return default if chosen is None else chosen


def choose_model(names: list[str], default: str) -> str:
    """A field for the model, and the step of one with snapshots: the name to open, a released one, NAME@STEP or
    RUN@STEP."""
    with st.container(gap="xsmall"):
        with st.container(horizontal=True):
            name = st.selectbox(
                "Model",
                names,
                index=names.index(default),
                key="model",
                bind="query-params",
                help="First the models that come with ganlab, then your own runs, by their folder.",
            )
            assert name is not None  # there is an option, and it can't be cleared
            run = None if name in catalog.released() else RunDir(name)
            steps = steps_of(name)
            step, is_newest = _choose_step(steps) if run or steps else ("", True)
        if run is None:
            if title := _card_title(name):
                st.caption(title)
            return name if is_newest else f"{name}@{step}"
        if is_newest and is_alive(run):
            _follow(run, step)
        return f"{name}@{step}"


def _choose_step(steps: list[str]) -> tuple[str, bool]:
    """The step of one of the snapshots, and whether the newest was asked for."""
    step = st.selectbox(
        "Step",
        ["Newest", *steps],
        key="step",
        bind="query-params",
        width=140,
        help="Snapshots of the generator on its way: go back and see how it learnt. The view Time has all of them.",
    )
    return (steps[0], True) if step == "Newest" and steps else (str(step), False)


@st.fragment(run_every=2.0)
def _follow(run: RunDir, shown: str) -> None:
    """Look every two seconds whether a live run has a newer snapshot, and draw the page anew if so."""
    st.badge("In training: newer pictures appear by themselves", icon=":material/sync:", color="green")
    if steps_of(str(run.path))[:1] != [shown] or not is_alive(run):
        st.rerun()


def steps_of(name: str) -> list[str]:
    """Steps of which a released model or a run has a snapshot, newest first."""
    return [str(step) for step in reversed(catalog.snapshots(name))]


def _card_title(name: str) -> str:
    """What a released model's card calls it, or nothing where it has no card."""
    try:
        return str(catalog.read_card(name).get("title", ""))
    except GanlabError:
        return ""


def unusable(
    params: Mapping[str, str], limits: Mapping[str, tuple[float, float]], choices: Mapping[str, Sequence[str]]
) -> list[str]:
    """URL parameters that are no number within their limits, or none of their choices: `name=value`, as Markdown."""

    def is_fine(name: str, value: str) -> bool:
        if name not in limits:
            return name not in choices or value in choices[name]
        try:
            return limits[name][0] <= float(value) <= limits[name][1]
        except ValueError:
            return False

    return [f"`{name}={value[:40].replace('`', ' ')}`" for name, value in params.items() if not is_fine(name, value)]


def model_facts(model: Model, name: str) -> None:
    """A line of badges: data set, network, step, size; each explains itself under the pointer. And how good it is."""
    config, step, size = model.config, model.facts.get("step"), model.program.num_parameters
    facts = [
        (Path(config.data).name, "photo_library", f"What it learnt from. {_about_data(config)}"),
        (config.model.upper(), "account_tree", FAMILIES.get(config.model, "The kind of network.")),
        (f"step {step:,}", "update", "How long it has learnt: in each step it sees one batch of pictures.")
        if step is not None
        else None,
        (_short(size), "memory", f"It has {size:,} parameters: numbers set in training, and all that it knows."),
    ]
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        for label, icon, help in filter(None, facts):
            st.badge(label, icon=f":material/{icon}:", color="gray", help=help)
        link_to_measure(name)


def _about_data(config: Config) -> str:
    info = DATASETS.get(config.data)
    if info is None:
        return f"A data set of your own: {config.data}"
    colours = "in colour" if info.channels == 3 else "grey"
    only = f" Of these only: {', '.join(config.classes)}." if config.classes else ""
    return f"{info.label}: {info.num_images:,} pictures, {info.image_size} × {info.image_size} pixels, {colours}.{only}"


def download(
    label: str, data: Callable[[], bytes], file_name: str, help: str | None = None, key: str | None = None
) -> None:
    """A quiet button for a file that is made when it is asked for."""
    icon = ":material/download:"
    st.download_button(label, data, file_name, icon=icon, help=help, key=key, on_click="ignore")


def link_popover(query: Mapping[str, str]) -> None:
    """A button that offers the address of exactly this view."""
    with st.popover("Link", icon=":material/link:", help="A link to this very view"):
        st.markdown("Whoever opens this link sees these very pictures.")
        here = (st.context.url or "").partition("?")[0].rstrip("/")
        st.code(f"{here}/?{urlencode(query, quote_via=quote, safe='/')}", language=None, wrap_lines=True, width=CODE)


def code_popover(commands: Sequence[str], python: str) -> None:
    """A button that offers the commands and the Python lines that make the same picture files."""
    with st.popover("Reproduce", icon=":material/terminal:", help="The same pictures without this page"):
        st.markdown("On the command line")
        for command in filter(None, commands):
            st.code(command, language="bash", wrap_lines=True, width=CODE)
        st.markdown("In Python")
        st.code(python, language="python", wrap_lines=True, width=CODE)


def link_to_explore(name: str, step: int | None = None) -> None:
    """A link to Explore with this model: a released one, or a run at a step, else its newest."""
    from ganlab.app.pages import explore

    page = st.Page(explore.page, title="Explore", url_path="explore", default=True)
    query = {"model": name} if step is None else {"model": name, "step": str(step)}
    st.page_link(page, label="Open in Explore", icon=":material/explore:", query_params=query)


def link_to_measure(name: str) -> None:
    """A link to Measure with this model chosen: there, one that is released is what it is at its end."""
    released = name.partition("@")[0]
    name = released if released in catalog.released() else name

    def measure() -> None:  # imported when it is opened: it takes pandas and Altair
        from ganlab.app.pages import measure

        measure.page()

    page = st.Page(measure, title="Measure", url_path="measure")
    st.page_link(page, label="Open in Measure", icon=":material/straighten:", query_params={"models": name})


def link_to_train(run: RunDir) -> None:
    """A link to the page on which this run is watched."""
    from ganlab.app.pages import train

    page = st.Page(train.page, title="Train", url_path="train")
    st.page_link(page, label=f"{run.name} in Train", icon=":material/model_training:", query_params={"run": run.name})


def empty(title: str, promise: str) -> None:
    """What stands where there is no model yet: what will appear, and the way to it."""
    from ganlab.app.pages import train

    with st.container(border=True, horizontal_alignment="center"):
        st.header(title, anchor=False, text_alignment="center")
        st.markdown(promise, text_alignment="center")
        if st.button("Train a model", type="primary", icon=":material/model_training:"):
            st.switch_page(st.Page(train.page, title="Train", url_path="train"))


def _short(number: int) -> str:
    """A count for people: 1.1 M parameters."""
    for limit, unit in ((1_000_000, " M"), (1_000, " k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit} parameters"
    return f"{number} parameters"
