"""The alarm: each failure is noticed, in made-up histories that show it and in short real runs; others are quiet."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.alarm import EXPECTED, run_of
from ganlab import cli
from ganlab.advice import pictures, remedy
from ganlab.alarm import Alarm, alarms, alarms_of, loss_bounds, ongoing
from ganlab.cli import training
from ganlab.config import Config
from ganlab.errors import RunError
from ganlab.losses import LOSSES
from ganlab.presets import BROKEN, PRESETS, preset
from ganlab.rundir import RunDir, Status

CALM = dict(loss_d=0.6, loss_g=2.4, d_real=0.8, d_fake=0.2, d_order=0.96, penalty=0.0, grad_g=4.0, grad_d=6.0)
VARIED = dict(metric="m", score=40.0, spread=0.7, duplicates=20, classes=[0.1] * 10, class_kl=0.1)


def history(num: int = 100, every: int = 10, **changes: Any) -> list[dict[str, Any]]:
    """Lines of a calm run; a change is a value, or a function of the step."""
    rows = []
    for step in range(every, num * every + 1, every):
        values = {**CALM, **changes}
        rows.append({"step": step, **{k: v(step) if callable(v) else v for k, v in values.items()}})
    return rows


def scores(*found: dict[str, Any], every: int = 200) -> list[dict[str, Any]]:
    """A calm run with these scores, one after another."""
    rows = history(len(found) * every // 10)
    for i, score in enumerate(found):
        rows[(i + 1) * every // 10 - 1] |= {**VARIED, **score}
    return rows


def kinds(rows: list[dict[str, Any]], events: list[dict[str, Any]] | tuple = (), **config: Any) -> list[str]:
    return [alarm.kind for alarm in alarms(rows, Config(**config), events)]


def test_a_calm_run_is_quiet() -> None:
    assert kinds(history()) == kinds(scores(*[{}] * 6)) == kinds([]) == []
    assert kinds(history(3)) == kinds(history(1)) == []
    assert kinds([{"step": 10}, {"step": 20, "loss_d": None}]) == kinds([{"step": 10}] * 50) == []


# --- made-up histories -----------------------------------------------------------------------------------------------

D_WINS = dict(loss_d=0.001, d_real=0.9995, d_fake=0.0005, d_order=1.0, grad_g=1e-6)


def test_d_wins_where_nothing_is_left_of_its_loss() -> None:
    (alarm,) = alarms(history(**D_WINS), Config())
    assert (alarm.kind, alarm.since, alarm.until, alarm.curve) == ("d-wins", 210, None, "verdicts")
    assert "D(x) is 1.000" in alarm.why or "D(x) is 0.999" in alarm.why
    assert kinds(history(**{**D_WINS, "loss_d": 0.06})) == []  # 4% of log 4: an mlp that begins
    assert kinds(history(**{**D_WINS, "d_order": 0.99})) == []


def test_an_alarm_ends_when_the_run_recovers() -> None:
    rows = history(200)
    for row in rows[60:120]:
        row |= D_WINS
    (alarm,) = alarms(rows, Config())
    assert alarm.until is not None and 600 < alarm.since < 650 and 1150 < alarm.until < 1300
    assert ongoing([alarm]) == [] and ongoing(alarms(rows[:110], Config())) != []


@pytest.mark.parametrize("loss", ["non-saturating", "minimax", "least-squares", "hinge", "relativistic"])
@pytest.mark.parametrize(("smoothing", "flip"), [(0.0, 0.0), (0.1, 0.0), (0.1, 0.05)])
def test_the_bounds_of_ds_loss_are_those_that_it_takes(loss: str, smoothing: float, flip: float) -> None:
    """The least mean loss over a grid of logits, real and generated ones each alike, of labels as often flipped."""
    if not LOSSES[loss].has_targets and (smoothing or flip):
        return
    lost, draw = loss_bounds(Config(loss=loss, label_smoothing=smoothing, label_flip=flip))  # type: ignore[arg-type, misc]
    grid = torch.linspace(-25, 25, 2001)
    grid = torch.cat([grid, torch.linspace(0, 1, 1001)])

    def d(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        if not LOSSES[loss].has_targets:
            return LOSSES[loss].d(real, fake)
        one, total = 1 - smoothing, torch.zeros(())
        for a, p in ((one, 1 - flip), (0.0, flip)):
            for b, q in ((0.0, 1 - flip), (one, flip)):
                total = total + p * q * LOSSES[loss].d(real, fake, a, b)
        return total

    assert lost == pytest.approx(float(d(grid[:, None], grid[None]).min()), abs=2e-3)
    if not smoothing and not flip:
        assert draw == pytest.approx(float(d(grid, grid).min()), abs=1e-6)


def test_a_critic_without_bounds_wins_only_where_gs_gradient_vanishes() -> None:
    critic = dict(loss="wasserstein", weight_clip=0.01)
    assert kinds(history(d_order=1.0, loss_d=-40.0), **critic) == []
    vanishing = history(d_order=1.0, loss_d=-40.0, grad_g=lambda s: 4.0 if s < 700 else 0.001)
    assert kinds(vanishing, **critic) == ["d-wins"]


@pytest.mark.parametrize("loss", LOSSES)
def test_g_wins_where_d_puts_its_pictures_first(loss: str) -> None:
    assert kinds(history(d_order=0.2), loss=loss) == ["g-wins"]
    assert kinds(history(d_order=0.5), loss=loss) == []  # a draw: what one hopes for
    assert kinds(history(d_order=lambda s: 0.1 if s in (500, 510) else 0.9), loss=loss) == []


def test_swings_there_and_back_again_are_an_oscillation() -> None:
    assert kinds(history(d_order=lambda s: 0.05 if s // 100 % 2 else 0.95)) == ["oscillation"]
    assert kinds(history(d_order=lambda s: 0.3 if s // 100 % 2 else 0.95)) == []
    assert kinds(history(d_order=lambda s: 0.05 if s == 500 else 0.95)) == []  # down once and up again


@pytest.mark.parametrize("value", [250.0, -250.0, None, math.nan])
def test_a_loss_that_explodes(value: float | None) -> None:
    (alarm,) = alarms(history(loss_g=lambda s: value if s > 900 else 2.0), Config())
    assert (alarm.kind, alarm.curve, alarm.since, alarm.until) == ("divergence", "losses", 910, None)
    assert kinds(history(loss_g=lambda s: value if s == 30 else 2.0)) == ["divergence"]  # also in the first steps


def test_a_loss_without_a_scale_may_be_large_from_the_start() -> None:
    assert kinds(history(loss_g=900.0, loss_d=-900.0), loss="wasserstein", weight_clip=0.01) == []
    rows = history(loss_g=lambda s: 9e5 if s > 900 else 900.0)
    assert kinds(rows, loss="wasserstein", weight_clip=0.01) == ["divergence"]


def test_what_the_loop_gave_up_on_is_a_divergence() -> None:
    failed = {"event": "failed", "step": 55, "diverged": True, "error": "Training diverged at step 55: …"}
    assert [a.until for a in alarms(history(5), Config(), [failed])] == [None]
    assert [a.until for a in alarms([], Config(), [failed, {"event": "resumed", "step": 50}])] == [55]
    exploding = history(5, loss_g=lambda s: 300.0 if s > 20 else 2.0)
    assert [(a.since, a.until, a.why) for a in alarms(exploding, Config(), [failed])] == [(30, None, failed["error"])]
    assert kinds(history(5), [{**failed, "diverged": False, "error": "The disk is full."}]) == []
    back = {"event": "rolled back", "step": 50, "lost_step": 55, "error": "…"}
    assert [(a.kind, a.since, a.until) for a in alarms([], Config(), [back])] == [("divergence", 55, 55)]


def test_one_picture_again_and_again_is_a_collapse() -> None:
    same = dict(spread=0.001, duplicates=1_999_000, classes=[1.0] + [0.0] * 9)
    (alarm,) = alarms(scores(*[same] * 3, every=1000), Config())
    assert (alarm.kind, alarm.since, alarm.until, alarm.curve) == ("collapse", 1000, None, "score")
    assert "1,999,000 pairs" in alarm.why and "some 1 different" in alarm.why and "1.0 equal ones" in alarm.why
    assert kinds(scores(same, same, every=1000)) == kinds(scores(same, same, {}, same, every=1000)) == []
    assert kinds(scores(*[same] * 6)) == []  # all begin with one blur
    for look in (dict(spread=0.001), dict(duplicates=1_999_000)):  # one of both is enough
        assert kinds(scores(*[{**VARIED, "spread": 0.2, **look}] * 3, every=1000)) == ["collapse"]
    few = dict(spread=0.04, duplicates=40_000, classes=[0.9, 0.1] + [0.0] * 8)  # 50 pictures: an mlp that begins
    assert kinds(scores(few, few, few, few, {}, {}, every=1000)) == []


@pytest.mark.parametrize("lost", [dict(spread=0.1), dict(classes=[0.9, 0.1] + [0.0] * 8)])
def test_variety_that_is_lost_is_a_collapse(lost: dict[str, Any]) -> None:
    assert kinds(scores({}, {}, lost, lost, lost)) == ["collapse"]
    assert kinds(scores({}, {}, lost, {}, lost, lost)) == []
    assert kinds(scores(*[lost] * 3, {}, {}, {})) == []


def test_scores_by_pixels_have_no_classes() -> None:
    assert kinds(scores(*[dict(classes=None, duplicates=0)] * 4, every=1000)) == []
    assert kinds(scores(*[dict(classes=None, duplicates=1_500_000)] * 4, every=1000)) == ["collapse"]


def test_few_lines_a_window_where_lines_are_far_apart() -> None:
    assert kinds(history(20, every=1000, **D_WINS), log_every=1000) == ["d-wins"]
    assert kinds(history(4, every=1000, **D_WINS), log_every=1000) == []
    assert kinds(history(210, every=1, **D_WINS), log_every=1) == []


def test_the_newest_lines_say_what_all_of_them_say_of_now() -> None:
    rows = history(2000, d_order=lambda s: 0.2 if s > 15_000 else 0.9)
    assert [a.kind for a in ongoing(alarms(rows[-100:], Config()))] == ["g-wins"] == kinds(rows)


def test_many_different_pictures() -> None:
    """Of 50 equally likely pictures, 2,000 samples: as many equal pairs as this finds 50 pictures from."""
    drawn = np.random.default_rng(0).integers(0, 50, 2000)
    counts = np.bincount(drawn)
    assert pictures((counts * (counts - 1) // 2).sum()) == pytest.approx(50, rel=0.05)
    assert pictures(0) > 1e9


# --- one thing to try ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["d-wins", "g-wins", "collapse", "oscillation", "divergence"])
@pytest.mark.parametrize("name", PRESETS)
def test_what_it_advises_may_change_in_a_running_run_and_does_change_something(name: str, kind: Any) -> None:
    config = preset(name)
    advice, changes = remedy(kind, config)
    live = {n for n, f in Config.__dataclass_fields__.items() if f.metadata["live"]}
    assert advice.endswith(".") and changes and set(changes) <= live
    assert config.replace(**changes) != config


def test_advice_follows_what_has_been_changed_on_the_way() -> None:
    event = {"event": "changed", "step": 5, "changes": {"d_steps": [1, 5]}}
    assert alarms(history(**D_WINS), Config(), [event])[0].changes == {"d_steps": 1}
    assert alarms(history(**D_WINS), Config())[0].changes == {"d_learning_rate": 5e-5}


# --- real runs -------------------------------------------------------------------------------------------------------

SHORT: dict[str, dict[str, Any]] = {  # as far as it takes
    "broken-learning-rate": dict(steps=250, score="none"),
    "broken-strong-d": dict(steps=500, score="none"),
    "broken-weak-d": dict(steps=420, score="none"),
    "broken-collapse": dict(steps=1200, score_every=100),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDir]:
    """The presets made to fail, as far as it takes to fail."""
    folder = tmp_path_factory.mktemp("broken")
    return {name: run_of(preset(name).replace(**SHORT.get(name, {})), folder / name, None) for name in BROKEN}


def test_every_preset_made_to_fail_raises_its_alarm(broken: dict[str, RunDir]) -> None:
    assert set(EXPECTED) == set(BROKEN)
    found = {name: {alarm.kind for alarm in alarms_of(run)} for name, run in broken.items()}
    assert [name for name, kind in EXPECTED.items() if kind not in found[name]] == [], found


QUIET: dict[str, dict[str, Any]] = {  # healthy presets, narrower where they would take minutes
    "mnist-mlp": dict(),
    "mnist-mlp3": dict(),
    "mnist-mlp-simple": dict(),
    "mnist-5k-dcgan": dict(width=32),  # at a quarter of the width D does win
    "mnist-dcgan-dropout": dict(width=16, batch_size=32),
    "mnist-wgan-gp": dict(width=8, batch_size=16, d_steps=2),
    "mnist-sn": dict(width=8, d_width=8, batch_size=16),
    "mnist-rpgan": dict(width=8, d_width=8, batch_size=16),
}


@pytest.mark.parametrize("name", QUIET)
def test_a_healthy_preset_raises_none(name: str, tmp_path: Path) -> None:
    """From its first steps to where every check that looks at lines has had its say, and with two scores."""
    run = run_of(
        preset(name).replace(data="mnist-5k", steps=400, score_every=200, **QUIET[name]), tmp_path / name, None
    )
    assert run.read_status().state == "done" and alarms_of(run) == []
    assert sum("score" in row for row in run.read_metrics()[0]) == 2


def test_every_preset_of_the_digits_is_among_them() -> None:
    named = {name for name, p in PRESETS.items() if p.data.startswith("mnist") and name not in BROKEN}
    assert named - set(QUIET) == {"mnist-dcgan"}  # mnist-5k-dcgan with larger batches


def test_check_tells_and_exits(broken: dict[str, RunDir], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = broken["broken-collapse"]
    with pytest.raises(SystemExit) as code:
        cli.main(argv=["check", str(run.path)])
    said = " ".join(capsys.readouterr().out.split())  # as long a path as this goes to the next line
    assert (
        code.value.code == 1 and f"The closest pairs: {run.pairs()[-1]}" in said and "Let G learn no more often" in said
    )
    calm = RunDir(tmp_path / "calm")
    calm.open_config(Config())
    with pytest.raises(RunError, match="no metrics yet"):
        alarms_of(calm)
    for row in history():
        calm.append_metrics(row)
    cli.main(argv=["check", str(calm.path)])
    assert "no alarms at step 1,000" in capsys.readouterr().out


def test_a_training_says_once_when_an_alarm_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    run.open_config(Config())
    monkeypatch.setattr(training._Progress, "LINE_EVERY", 0.0)
    progress = training._Progress(run)
    for row in history(20) + history(60, **D_WINS)[20:]:
        run.append_metrics(row)
        progress(Status(total_steps=1000), row | {"images_per_s": 1.0})
    said = [line for line in capsys.readouterr().out.splitlines() if "alarm" in line]
    assert len(said) == 1 and said[0].startswith("alarm: The discriminator wins outright, since step 210")
    assert f"python -m ganlab check {run.path}" in said[0]


def test_the_readme_says_what_one_will_see() -> None:
    words = " ".join((Path(__file__).parents[2] / "README.md").read_text().split())
    assert [name for name, text in BROKEN.items() if f"| `{name}` | {text} |" not in words] == []


def test_alarms_are_plain_facts() -> None:
    alarm = alarms(history(**D_WINS), Config())[0]
    assert isinstance(alarm, Alarm) and alarm.title == "The discriminator wins outright"
