"""Plots of a run's metrics as files, drawn by matplotlib, which is imported when the first one is asked for."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ganlab.errors import ConfigError, RunError
from ganlab.files import write_atomic
from ganlab.rundir import RunDir, scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
SIZE, DPI = (10.0, 6.25), 160  # inches and pixels an inch: 1600 x 1000 pixels
SMALL = (6.0, 4.0)  # 960 x 640 pixels
GENERATOR, DISCRIMINATOR = "#5b4be0", "#d9692b"  # in the plot of one run; in others a colour means a run
COLOURS = ("#5b4be0", "#d9692b", "#1d9a8a", "#b8438d", "#8a7a1a", "#3b8fd0", "#c23b3b", "#6b6b78")
INK, PALE_INK, RULE = "#1f1d2b", "#77748a", "#e4e0d8"
Dash = Literal["-"] | tuple[float, tuple[float, ...]]  # solid, or an offset, then lengths of ink and of gaps
SOLID: Dash = "-"  # the generator's lines, and the discriminator's: told apart without colour too
DASHED: Dash = (0, (3.5, 1.6))
HALF_LIFE = 0.01  # of the smoothed lines, as a fraction of all points
NEAR = 0.016  # of the plot's width: marks nearer than this share a label
EVENTS = ("changed", "rolled back", "forked")


class Mark(NamedTuple):
    """A vertical line: something happened to a run at a step."""

    step: int
    label: str
    colour: str


def save_plot(path: Path, runs: Sequence[RunDir]) -> None:
    """Write the figure of `loss_figure` as .png (1600 x 1000 pixels), .svg or .pdf, atomically.

    Raises ConfigError for another extension, and what `loss_figure` raises.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: plots are written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    write_atomic(path, _drawn(loss_figure(runs), suffix))


def save_training(path: Path, run: RunDir, released: int) -> None:
    """Write the figure of `training_figure` as .png (960 x 640 pixels), atomically. Raises what it raises."""
    write_atomic(path, _drawn(training_figure(run, released), ".png"))


def _drawn(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A run may be named in a script that the font lacks: it is drawn as boxes, and no cause for alarm.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format=suffix[1:], dpi=DPI)
    return buffer.getvalue()


def loss_figure(runs: Sequence[RunDir]) -> Figure:
    """Losses of G and D over steps, above; D(x) and D(G(z)), below; the events of each run as vertical lines.

    Each metric is a pale line, with gaps where it is null, under its moving average. One run: a colour for each
    network. Several: a colour for each run, with a legend of their names.

    Raises ConfigError for no runs, or more than there are colours; RunError where there is no run, or no metrics yet.
    """
    if not 1 <= len(runs) <= len(COLOURS):
        raise ConfigError(f"A plot shows 1 to {len(COLOURS)} runs; got {len(runs)}.")
    metrics = [_metrics(run) for run in runs]
    figure = _new_figure()
    losses, outputs = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    marks: list[Mark] = []
    for run, rows, colour in zip(runs, metrics, COLOURS, strict=False):
        g, d = (GENERATOR, DISCRIMINATOR) if len(runs) == 1 else (colour, colour)
        pale = 0.28 / len(runs) ** 0.5
        _draw(losses, rows, "loss_g", g, SOLID, pale)
        _draw(losses, rows, "loss_d", d, DASHED, pale)
        _draw(outputs, rows, "d_fake", g, SOLID, pale)
        _draw(outputs, rows, "d_real", d, DASHED, pale)
        marks += _marks(run, PALE_INK if len(runs) == 1 else colour)
    _style(losses, "loss")
    _style(outputs, "output of D")
    _key(losses, ("G", "D"), None if len(runs) > 1 else (GENERATOR, DISCRIMINATOR))
    _key(outputs, ("D(G(z))", "D(x)"), None if len(runs) > 1 else (GENERATOR, DISCRIMINATOR))
    outputs.set_xlabel("step")
    figure.align_ylabels()
    _mark(losses, outputs, marks)
    _name(figure, losses, runs)
    return figure


def training_figure(run: RunDir, released: int) -> Figure:
    """Losses of G and D over the real pictures seen, above; the score, if there is one, below, on a logarithmic scale.

    A vertical line marks the step that is released. Raises RunError where there is no run, or no metrics yet.
    """
    rows = _metrics(run)
    scores = scored(rows)
    figure = _new_figure(SMALL)
    panels = figure.subplots(2, 1, sharex=True) if scores else [figure.subplots()]
    _draw(panels[0], rows, "loss_g", GENERATOR, SOLID, 0.28, over="images")
    _draw(panels[0], rows, "loss_d", DISCRIMINATOR, DASHED, 0.28, over="images")
    _style(panels[0], "loss")
    _key(panels[0], ("G", "D"), (GENERATOR, DISCRIMINATOR))
    if scores:
        images, values = _column(scores, "images"), _column(scores, "score")
        panels[1].plot(images, values, color=INK, linewidth=1.2, marker="o", markersize=2.5, label="_score")
        _style(panels[1], scores[-1]["metric"])
        _log_scale(panels[1])
    panels[-1].set_xlabel("real pictures seen")
    chosen = [row["images"] for row in rows if row["step"] == released]
    for axes in panels if chosen else ():
        axes.axvline(chosen[0], color=PALE_INK, linewidth=0.9, linestyle=":", label="_released")
    figure.align_ylabels()
    return figure


def smooth(values: np.ndarray) -> np.ndarray:
    """Exponential moving average of (N,), with a half-life of N / 100 points; NaN stays NaN and is left out.

    The first values count no more than others (the average is divided by the sum of its weights, as in Adam: Kingma
    and Ba 2015, section 3), so the line starts at the first value.
    """
    keep = 0.5 ** (1 / max(HALF_LIFE * len(values), 1e-3))
    average = weight = 0.0
    smoothed = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if np.isfinite(value):
            average = keep * average + (1 - keep) * value
            weight = keep * weight + (1 - keep)
            smoothed[i] = average / weight
    return smoothed


# --- what a run has ------------------------------------------------------------------------------------------------


def _metrics(run: RunDir) -> list[dict[str, Any]]:
    if not run.exists:
        raise RunError(f"{run.path} holds no run: there is no config.yaml in it.")
    rows, _ = run.read_metrics()
    if not rows:
        raise RunError(f"{run.path} has no metrics yet: the first ones come after log_every steps of training.")
    return rows


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """A metric of each line, float64 (N,), NaN where it is null or was not measured."""
    values = [row.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _marks(run: RunDir, colour: str) -> list[Mark]:
    """Each changed hyperparameter, rollback and fork of a run."""
    marks = []
    for event in run.read_events():
        if event["event"] in EVENTS:
            changes = event.get("changes") or {}
            labels = [f"{name} {_short(old)} → {_short(new)}" for name, (old, new) in changes.items()]
            marks += [Mark(event["step"], label, colour) for label in labels or [event["event"]]]
    return marks


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- drawing -------------------------------------------------------------------------------------------------------


def _new_figure(size: tuple[float, float] = SIZE) -> Figure:
    """An empty figure, without pyplot, which would keep it and look for a screen."""
    logger = logging.getLogger("matplotlib")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)  # that it builds its cache of fonts, and where, is no news to who wants a plot
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")


def _draw(
    axes: Axes, rows: Sequence[dict[str, Any]], name: str, colour: str, dash: Dash, pale: float, over: str = "step"
) -> None:
    """One metric: the values pale, their average over them. A value between two gaps is a dot."""
    steps, values = _column(rows, over), _column(rows, name)
    there = np.pad(np.isfinite(values), 1)
    alone = np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:])
    dots: Any = {"marker": "o", "markersize": 3, "markevery": alone.tolist()} if len(alone) else {}
    axes.plot(steps, values, color=colour, alpha=pale, linewidth=0.8, label=f"_{name}")
    axes.plot(steps, smooth(values), color=colour, linewidth=1.6, linestyle=dash, label=f"_smooth {name}", **dots)


def _style(axes: Axes, label: str) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_ylabel(label, color=PALE_INK)
    axes.margins(x=0.02)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=PALE_INK, labelsize=8, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.label.set_color(PALE_INK)


def _log_scale(axes: Axes) -> None:
    """A logarithmic y axis, with 1, 2, 5, 10, … as numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _key(axes: Axes, names: tuple[str, str], colours: tuple[str, str] | None) -> None:
    """Which line is which, over the right end of a panel, where no data are."""
    from matplotlib.lines import Line2D

    g, d = colours or (PALE_INK, PALE_INK)
    lines = [Line2D([], [], color=g, linestyle=SOLID), Line2D([], [], color=d, linestyle=DASHED)]
    axes.legend(
        lines, names, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9, labelcolor=INK,
        borderaxespad=0.2, handlelength=2.4,
    )  # fmt: skip


def _mark(losses: Axes, outputs: Axes, marks: Sequence[Mark]) -> None:
    """Vertical lines through both panels, named in the upper one. Of marks too near each other the first is named."""
    from matplotlib.patheffects import withStroke

    for step, colour in dict.fromkeys((mark.step, mark.colour) for mark in marks):
        for axes in (losses, outputs):
            axes.axvline(step, color=colour, linewidth=0.7, alpha=0.6, label="_event")
    left, right = losses.get_xlim()
    named: list[tuple[Mark, int]] = []  # and how many near it are not
    for mark in sorted(marks, key=lambda mark: mark.step):
        if named and mark.step - named[-1][0].step < NEAR * (right - left):
            named[-1] = (named[-1][0], named[-1][1] + 1)
        else:
            named.append((mark, 0))
    for mark, others in named:
        losses.annotate(
            f"{mark.label} (+{others})" if others else mark.label,
            (mark.step, 1), xycoords=losses.get_xaxis_transform(), xytext=(2, -2), textcoords="offset points",
            rotation=90, ha="left", va="top", fontsize=7, color=mark.colour, parse_math=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def _name(figure: Figure, axes: Axes, runs: Sequence[RunDir]) -> None:
    """The run's name as title, or a legend of several; by their paths where two have the same name."""
    from matplotlib.lines import Line2D

    names = [run.path.resolve().name for run in runs]
    if len(runs) == 1:
        axes.set_title(names[0], loc="left", color=INK, fontsize=13, fontweight="bold", parse_math=False)
        return
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    lines = [Line2D([], [], color=colour, linewidth=2.5) for colour, _ in zip(COLOURS, runs, strict=False)]
    legend = figure.legend(
        lines, names, loc="outside upper left", ncols=4, frameon=False, fontsize=10, labelcolor=INK, handlelength=1.2
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar in a name is a dollar
