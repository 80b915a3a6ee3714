"""The set-up of a new run: choose data and a preset, move sliders, start."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ganlab import jobs
from ganlab.app.controls import GROUPS, hyperparameter, hyperparameters, problem_of
from ganlab.app.state import free_name, keep, problem_with_name, runs_folder, stem_of
from ganlab.app.uploads import Chosen, choose_data, preview
from ganlab.app.widgets import FAMILIES, show
from ganlab.config import Config
from ganlab.errors import GanlabError
from ganlab.presets import BROKEN, PRESETS
from ganlab.rundir import RunDir

FIRST = ("dcgan", "sn-conv", "sn-resnet", "mlp")  # the order in which networks are offered
OWN = {preset.classes for preset in PRESETS.values() if preset.classes}  # classes that a preset asks for


def set_up() -> None:
    """Data, preset and the button on the left, every hyperparameter on the right."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        chosen = choose_data()
        name = str(
            st.selectbox(
                "Preset",
                offered(chosen),
                key=f"preset_{chosen.data}",
                on_change=_take_classes,
                args=(chosen,),
                format_func=_called,
                help="Networks and hyperparameters that work, then some that are made to fail; change any of them.",
            )
        )
        base = _without_classes(PRESETS[name]) if chosen.data and not chosen.has_classes else PRESETS[name]
        if name in BROKEN:
            st.caption(f"Made to fail. {BROKEN[name]}")
        _about(PRESETS[name], base)
        mirror = hyperparameter("mirror", base.mirror, f"{name}_mirror")
        start_here = st.container()
    with right:
        values = {"mirror": mirror, **_tabs(base, name, chosen.has_classes)}
    with start_here:
        _start(name, chosen, values)
        if chosen.data and (pictures := preview(chosen.data, chosen.shape, chosen.classes)) is not None:
            st.caption("What it will learn from")
            show(pictures, len(pictures), width=460, alt="Pictures of the data set")


def offered(chosen: Chosen) -> list[str]:
    """Presets for pictures of this shape, those for these very data first and those made to fail last; of equal ones
    only the first."""
    fitting = [name for name, p in PRESETS.items() if (p.image_size, p.channels) == chosen.shape] or list(PRESETS)
    fitting.sort(key=lambda name: (name in BROKEN, PRESETS[name].data != chosen.data, FIRST.index(PRESETS[name].model)))
    alike = {PRESETS[name].replace(data="any"): name for name in reversed(fitting)}
    return [name for name in fitting if name in alike.values()]


def _called(name: str) -> str:
    return f"Made to fail: {name.removeprefix('broken-').replace('-', ' ')}" if name in BROKEN else name


def _take_classes(chosen: Chosen) -> None:
    """Choose the classes that the new preset asks for, and let go of those that the one before asked for."""
    preset = PRESETS[st.session_state[f"preset_{chosen.data}"]]
    if preset.data == chosen.data and (preset.classes or chosen.classes in OWN):
        st.session_state[f"classes_{chosen.data}"] = list(preset.classes)


def _without_classes(preset: Config) -> Config:
    return preset.replace(conditioning="none")


def _about(preset: Config, base: Config) -> None:
    told = " Both networks are told the class of each picture." if base.conditioning != "none" else ""
    st.caption(FAMILIES[preset.model] + told)
    if base.conditioning != preset.conditioning:
        st.caption(
            "It is meant to be told the class of each picture, but these pictures have none (they lie in no "
            "sub-folders), so it learns without."
        )


def _tabs(base: Config, preset: str, has_classes: bool) -> dict[str, Any]:
    """Widgets for everything, one group a tab."""
    values: dict[str, Any] = {}
    for tab, (group, names) in zip(st.tabs([g.capitalize() for g in GROUPS]), GROUPS.items(), strict=True):
        with tab:
            offer = [name for name in names if has_classes or name != "conditioning"]
            values |= hyperparameters(offer, base, f"{preset}_{group}")
    return {"conditioning": "none", **values}


def _start(preset: str, chosen: Chosen, values: dict[str, Any]) -> None:
    """The new run's name and the button, or why it can't be pressed."""
    at_home = chosen.data is None or PRESETS[preset].data == chosen.data
    stem = preset if at_home else f"{stem_of(str(chosen.data))}-{values['model']}"
    name = st.text_input("Name", free_name(stem), help="The folder of the run.", max_chars=60)
    size, channels = chosen.shape
    values = {**values, "data": chosen.data or "none", "classes": chosen.classes}
    values |= {"image_size": size, "channels": channels}
    impossible = problem_of(**values)
    missing = "Choose pictures first." if chosen.data is None else problem_with_name(name)
    if st.button(
        "Start training",
        icon=":material/play_arrow:",
        type="primary",
        disabled=bool(impossible or missing),
        width="stretch",
    ):
        try:
            keep(jobs.start(RunDir(runs_folder() / name), Config(**values)))
        except (GanlabError, OSError) as error:
            st.error(str(error))
            return
        st.session_state.open_run = name
        st.rerun()
    if impossible:
        st.warning(impossible, icon=":material/block:")
    else:
        st.caption(missing or "It runs in a process of its own: this page stays quick, and may be closed.")
