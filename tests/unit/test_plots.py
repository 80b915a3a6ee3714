"""Plots: the lines of a figure hold the run's metrics, and files read back by others have the size asked for."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlab import cli, plots
from ganlab.config import Config
from ganlab.errors import ConfigError, RunError
from ganlab.rundir import RunDir

REPO = Path(__file__).parents[2]
METRICS = ("loss_g", "loss_d", "d_fake", "d_real")


def row(step: int, **values: Any) -> dict[str, Any]:
    facts = {"step": step, "images": step * 64, "epoch": step / 100, "seconds": step / 10, "images_per_s": 640.0}
    return facts | {"loss_d": 1.0, "loss_g": 1.0, "d_real": 0.5, "d_fake": 0.5} | values


def make_run(path: Path, num: int = 30, seed: int = 0, every: int = 10) -> RunDir:
    run = RunDir(path)
    run.open_config(Config())
    random = np.random.default_rng(seed)
    for i in range(1, num + 1):
        run.append_metrics(row(i * every, **dict(zip(METRICS, random.random(4).tolist(), strict=True))))
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path / "digits")


def lines(axes: Any, label: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Steps and values of the lines with a label."""
    return [line.get_data() for line in axes.lines if line.get_label() == label]


def events(axes: Any) -> list[float]:
    return [line.get_xdata()[0] for line in axes.lines if line.get_label() == "_event"]


def size_of(file: Path | str) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


# --- the figure ------------------------------------------------------------------------------------------------------


def test_lines_are_the_metrics(run: RunDir) -> None:
    losses, outputs = plots.loss_figure([run]).axes
    rows, _ = run.read_metrics()
    for axes, names in ((losses, METRICS[:2]), (outputs, METRICS[2:])):
        assert len(axes.lines) == 4  # raw and smooth
        for name in names:
            ((steps, values),) = lines(axes, f"_{name}")
            assert steps.tolist() == [r["step"] for r in rows] and values.tolist() == [r[name] for r in rows]
            ((steps, values),) = lines(axes, f"_smooth {name}")
            assert steps.tolist() == [r["step"] for r in rows]
            np.testing.assert_array_equal(values, plots.smooth(np.array([r[name] for r in rows])))


def test_g_and_d_differ_in_colour_and_in_dash(run: RunDir) -> None:
    for axes in plots.loss_figure([run]).axes:
        g, d = axes.lines[1], axes.lines[3]
        assert g.get_color() != d.get_color() and g.is_dashed() != d.is_dashed()
        keys = axes.get_legend().get_lines()
        assert [(key.get_color(), key.is_dashed()) for key in keys] == [(x.get_color(), x.is_dashed()) for x in (g, d)]


def test_a_run_has_its_name_over_it(tmp_path: Path) -> None:
    name = "a_$x^$ 100%"  # no mathematics, wherever it is drawn
    figure = plots.loss_figure([make_run(tmp_path / name)])
    assert figure.axes[0].get_title(loc="left") == name and not figure.legends
    plots.save_plot(tmp_path / "x.png", [make_run(tmp_path / name), make_run(tmp_path / "_hidden")])


def test_nulls_are_gaps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", num=4)
    run.append_metrics(row(50, loss_g=float("nan"), d_real=None))
    run.append_metrics({k: v for k, v in row(60).items() if k != "d_fake"})  # a line of another version
    run.append_metrics(row(70, loss_g=3.0, d_fake=None))
    losses, outputs = plots.loss_figure([run]).axes
    for axes, name, gaps in (
        (losses, "loss_g", [4]),
        (losses, "loss_d", []),
        (outputs, "d_real", [4]),
        (outputs, "d_fake", [5, 6]),
    ):
        for label in (f"_{name}", f"_smooth {name}"):
            ((steps, values),) = lines(axes, label)
            assert steps.tolist() == [10, 20, 30, 40, 50, 60, 70]
            assert np.flatnonzero(np.isnan(values)).tolist() == gaps


def test_a_value_on_its_own_is_a_dot(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "a")
    run.open_config(Config())
    for step, loss in enumerate([1.0, None, 2.0, 3.0, None, 4.0], start=1):
        run.append_metrics(row(step, loss_g=loss))
    losses, _ = plots.loss_figure([run]).axes
    (smooth_g,) = [line for line in losses.lines if line.get_label() == "_smooth loss_g"]
    (smooth_d,) = [line for line in losses.lines if line.get_label() == "_smooth loss_d"]
    assert smooth_g.get_marker() == "o" and smooth_g.get_markevery() == [0, 5]
    assert smooth_d.get_marker() == "None"


@pytest.mark.parametrize("values", [[], [None], [None, None, None]])
def test_a_metric_that_was_never_measured_is_no_obstacle(values: list[None], tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", num=1)
    for i, value in enumerate(values):
        run.append_metrics(row(20 + i, loss_g=value, loss_d=value, d_real=value, d_fake=value))
    plots.save_plot(tmp_path / "a.png", [run])
    assert size_of(tmp_path / "a.png") == (1600, 1000)


# --- events ----------------------------------------------------------------------------------------------------------


def test_events_are_vertical_lines_in_both_panels(run: RunDir) -> None:
    run.append_event("started", 0, device="cpu")
    run.append_event("changed", 0, version=1, changes={"learning_rate": [2e-4, 1e-4]})
    run.append_event("paused", 70)
    run.append_event("changed", 80, version=2, changes={"label_smoothing": [0.0, 0.1], "d_steps": [1, 2]})
    run.append_event("change refused", 85, version=3, error="no")
    run.append_event("rolled back", 150)
    run.append_event("forked", 290)
    for axes in plots.loss_figure([run]).axes:
        assert events(axes) == [0, 80, 150, 290]
    assert texts(plots.loss_figure([run]).axes[0]) == [
        "learning_rate 0.0002 → 0.0001",
        "label_smoothing 0 → 0.1 (+1)",  # and one more at the same step
        "rolled back",
        "forked",
    ]


def test_events_beyond_the_last_metrics_are_seen(run: RunDir) -> None:
    run.append_event("changed", 400, changes={"beta1": [0.5, 0.0]})
    losses, outputs = plots.loss_figure([run]).axes
    assert events(losses) == [400] and losses.get_xlim()[1] > 400 and outputs.get_xlim() == losses.get_xlim()


def test_labels_that_would_overlap_are_counted_instead(run: RunDir) -> None:
    for step in (100, 101, 102, 200):
        run.append_event("changed", step, changes={"d_steps": [step, step + 1]})
    losses, _ = plots.loss_figure([run]).axes
    assert events(losses) == [100, 101, 102, 200]
    assert texts(losses) == ["d_steps 100 → 101 (+2)", "d_steps 200 → 201"]


def test_labels_stay_inside_the_picture(run: RunDir) -> None:
    for step in (0, 300):
        run.append_event("changed", step, changes={"learning_rate": [2e-4, 1e-4]})
    figure = plots.loss_figure([run])
    figure.savefig(io.BytesIO(), format="png", dpi=plots.DPI)
    for text in figure.axes[0].texts:
        box, page = text.get_window_extent(), figure.bbox
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1


# --- several runs ----------------------------------------------------------------------------------------------------


def test_several_runs_have_a_colour_each(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"run{i}", num=10 + i, seed=i) for i in range(3)]
    runs[1].append_event("forked", 50)
    figure = plots.loss_figure(runs)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["run0", "run1", "run2"]
    colours = [line.get_color() for line in legend.get_lines()]
    assert len(set(colours)) == 3
    for axes, names in zip(figure.axes, (METRICS[:2], METRICS[2:]), strict=True):
        for name in names:
            drawn = [line for line in axes.lines if line.get_label() == f"_{name}"]
            assert [line.get_color() for line in drawn] == colours
            for line, run in zip(drawn, runs, strict=True):
                assert line.get_ydata().tolist() == [r[name] for r in run.read_metrics()[0]]
        (event,) = [line for line in axes.lines if line.get_label() == "_event"]
        assert event.get_xdata()[0] == 50 and event.get_color() == colours[1]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    figure = plots.loss_figure([make_run(Path("one/a")), make_run(Path("two/a"))])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one/a", "two/a"]


def test_as_many_runs_as_colours(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"a-run-with-a-long-name-{i}", num=2) for i in range(len(plots.COLOURS) + 1)]
    plots.save_plot(tmp_path / "x.png", runs[:-1])
    for wrong in (runs, []):
        with pytest.raises(ConfigError, match=f"1 to {len(plots.COLOURS)} runs; got {len(wrong)}"):
            plots.save_plot(tmp_path / "y.png", wrong)


# --- smoothing -------------------------------------------------------------------------------------------------------


def test_smoothing_is_the_weighted_mean_of_what_came_before() -> None:
    values = np.random.default_rng(0).normal(size=250)
    values[[0, 40, 41, 200]] = np.nan
    expected = []
    for i in range(len(values)):
        weights = np.where(np.isfinite(values[: i + 1]), 1.0, 0.0)
        ages = weights[::-1].cumsum()[::-1]  # a gap does not age what was before it
        weights *= 0.5 ** (ages / 2.5)  # half as much after 250 / 100 values
        expected.append(np.nansum(weights * values[: i + 1]) / weights.sum() if np.isfinite(values[i]) else np.nan)
    np.testing.assert_allclose(plots.smooth(values), expected)


def test_few_points_are_hardly_smoothed() -> None:
    values = np.array([1.0, 5.0, 2.0])
    np.testing.assert_allclose(plots.smooth(values), values, atol=1e-6)
    assert plots.smooth(np.array([])).shape == (0,)
    np.testing.assert_array_equal(plots.smooth(np.full(4, np.nan)), np.full(4, np.nan))


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_plot_as_png(run: RunDir, tmp_path: Path) -> None:
    plots.save_plot(tmp_path / "new" / "loss.PNG", [run])
    with Image.open(tmp_path / "new" / "loss.PNG") as image:
        assert (image.format, image.size) == ("PNG", (1600, 1000))
        assert np.asarray(image.convert("L")).min() < 60  # something is drawn
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["loss.PNG"]


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_a_plot_as_vectors(suffix: str, start: bytes, run: RunDir, tmp_path: Path) -> None:
    plots.save_plot(tmp_path / f"loss.{suffix}", [run])
    assert (tmp_path / f"loss.{suffix}").read_bytes().startswith(start)


def test_what_can_not_be_plotted(run: RunDir, tmp_path: Path) -> None:
    empty = RunDir(tmp_path / "empty")
    empty.open_config(Config())
    for name in ("x.jpg", "x", "png", "x.gif"):
        with pytest.raises(ConfigError, match=r"\.png, \.svg or \.pdf"):
            plots.save_plot(tmp_path / name, [run])
    with pytest.raises(RunError, match="empty has no metrics yet"):
        plots.save_plot(tmp_path / "x.png", [run, empty])
    with pytest.raises(RunError, match="none holds no run"):
        plots.save_plot(tmp_path / "x.png", [RunDir(tmp_path / "none")])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["digits", "empty"]


def test_a_name_the_font_lacks_is_no_warning(tmp_path: Path) -> None:
    plots.save_plot(tmp_path / "x.png", [make_run(tmp_path / "数字", num=3)])  # warnings are errors here


# --- the command line ------------------------------------------------------------------------------------------------


def command(*argv: object) -> None:
    cli.main(None, [str(argument) for argument in argv])


def test_plot_by_command(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "other", seed=1)
    command("plot", "digits")
    command("plot", "digits", "other", "--out", "two.svg")
    assert capsys.readouterr() == ("loss.png\ntwo.svg\n", "")
    assert size_of("loss.png") == (1600, 1000)
    assert Path("two.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["none"], "none holds no run"),
        (["digits", "--out", "x.jpg"], "x.jpg: plots are written as .png, .svg or .pdf."),
        (["digits", "empty"], "empty has no metrics yet"),
        ([], "got 0"),
    ],
)
def test_plot_explains_what_it_can_not(
    argv: list[str], reason: str, run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    RunDir("empty").open_config(Config())
    with pytest.raises(SystemExit) as caught:
        command("plot", *argv)
    err = capsys.readouterr().err
    assert caught.value.code == 1
    assert err.startswith("ganlab: ") and reason in err and err.count("\n") == 1


def test_without_a_home_it_plots_and_keeps_quiet(run: RunDir, tmp_path: Path) -> None:
    """Matplotlib would say where it keeps its fonts instead. A fresh process; nothing of the user's is read."""
    nowhere = "/dev/null/home"  # can't be made, not even by root
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MPL", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-m", "ganlab", "plot", run.path, "--out", tmp_path / "x.png"],
        env=kept | {"HOME": nowhere, "MPLCONFIGDIR": nowhere, "PYTHONPATH": str(REPO)},
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'x.png'}\n", "")
    assert size_of(tmp_path / "x.png") == (1600, 1000)


def test_matplotlib_waits_until_it_is_needed_and_pyplot_for_ever(run: RunDir, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from ganlab import cli, plots
from ganlab.rundir import RunDir
assert "matplotlib" not in sys.modules
plots.save_plot(Path(sys.argv[2]), [RunDir(sys.argv[1])])
assert "matplotlib" in sys.modules and not {"torch", "matplotlib.pyplot"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, run.path, tmp_path / "x.png"],
        cwd=REPO, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


# --- the training of a released model ------------------------------------------------------------------------------


def test_a_training_shows_losses_and_scores_over_the_images_seen(tmp_path):
    run = make_run(tmp_path / "digits")
    for step, score in ((400, 30.0), (500, 3.0), (600, 0.5)):
        run.append_metrics(row(step, metric="fd_mnistnet_2k", score=score))
    losses, scores = plots.training_figure(run, released=500).axes
    for name in ("loss_g", "loss_d"):
        ((x, y),) = lines(losses, f"_{name}")
        rows, _ = run.read_metrics()
        assert x.tolist() == [r["images"] for r in rows] and y.tolist() == [r[name] for r in rows]
    ((x, y),) = lines(scores, "_score")
    assert x.tolist() == [64 * 400, 64 * 500, 64 * 600] and y.tolist() == [30.0, 3.0, 0.5]
    assert scores.get_ylabel() == "fd_mnistnet_2k" and scores.get_yscale() == "log"
    for axes in (losses, scores):
        assert [line.get_xdata()[0] for line in axes.lines if line.get_label() == "_released"] == [64 * 500]
    scores.figure.canvas.draw()
    assert {"1", "2", "5", "10", "20"} <= {label.get_text() for label in scores.get_yticklabels()}


def test_a_training_without_scores_has_one_panel(run, tmp_path):
    assert len(plots.training_figure(run, released=7).axes) == 1
    plots.save_training(tmp_path / "x.png", run, 7)
    assert size_of(tmp_path / "x.png") == (960, 640)
    with pytest.raises(RunError, match="no run"):
        plots.training_figure(RunDir(tmp_path / "nowhere"), 7)
