"""A fork goes on from a saved state as the parent would have, but for what was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import assert_same_run, lines, newest_state

from ganlab import Config, RunDir, cli
from ganlab.errors import ConfigError, RunError
from ganlab.fork import config_at, fork, state_at
from ganlab.loop import train


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Twelve steps, saved at 5, 10 and 12, with a score in each line of metrics."""
    config = Config(
        data="mnist-5k", model="sn-conv", width=4, d_width=4, latent_dim=4, batch_size=8, conditioning="projection",
        steps=12, log_every=3, sample_every=4, save_every=5, keep_states=10, score="pixel-moments", score_every=3,
    )  # fmt: skip
    return train(config, tmp_path_factory.mktemp("runs") / "parent", device="cpu")


def test_an_unchanged_fork_ends_as_its_parent_did(parent: RunDir, tmp_path: Path) -> None:
    new = fork(parent, tmp_path / "fork", at=5)
    assert (new.read_status().label, new.read_status().step, new.read_status().total_steps) == ("stopped", 5, 12)
    assert [row["step"] for row in new.read_metrics()[0]] == [3]
    assert [int(f.stem) for f in new.samples()] == [0, 1, 2, 4]
    assert [int(f.stem) for f in new.snapshots()] == [0, 1, 2, 3, 4, 5]
    assert [f.name for f in new.discriminators()] == [f.name for f in new.snapshots()]
    assert [int(f.stem) for f in new.pairs()] == [3] and new.best_step() == 3
    assert_same_run(train(new.read_config(), new.path, device="cpu"), parent)


def test_a_fork_with_another_learning_rate_goes_another_way_and_says_where_it_comes_from(
    parent: RunDir, tmp_path: Path
) -> None:
    before = {file: file.read_bytes() for file in parent.path.rglob("*") if file.is_file()}
    new = fork(parent, tmp_path / "fork", at=10, changes={"learning_rate": 1e-3, "d_steps": 2, "steps": 14})
    assert config_at(new) == new.read_config() == parent.read_config().replace(learning_rate=1e-3, d_steps=2, steps=14)
    event = new.read_events()[0]
    assert (event["event"], event["step"], event["parent"], event["parent_step"]) == (
        "forked", 10, str(parent.path), 10,
    )  # fmt: skip
    assert event["changes"] == {"learning_rate": [2e-4, 1e-3], "d_steps": [1, 2], "steps": [12, 14]}
    train(new.read_config(), new.path, device="cpu")
    assert new.read_status().step == 14 and lines(new)[:3] == lines(parent)[:3] and lines(new)[3] != lines(parent)[3]
    mine, theirs = newest_state(new), newest_state(parent)
    assert any(mine[name].tobytes() != theirs[name].tobytes() for name in mine if name.startswith("G."))
    assert before == {file: file.read_bytes() for file in parent.path.rglob("*") if file.is_file()}


def test_live_changes_of_the_parent_are_part_of_the_state(tmp_path: Path, tiny: Config) -> None:
    parent = RunDir(tmp_path / "parent")
    parent.path.mkdir()
    parent.request("run", changes={"learning_rate": 1e-3})
    train(tiny, parent.path, device="cpu")
    assert parent.read_config().learning_rate == tiny.learning_rate
    assert fork(parent, tmp_path / "fork").read_config() == tiny.replace(learning_rate=1e-3)


def test_what_a_fork_refuses(parent: RunDir, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no saved state of step 7. There are: 0, 5, 10, 12"):
        fork(parent, tmp_path / "a", at=7)
    with pytest.raises(ConfigError, match="can't change width, d_norm: the saved networks have another shape"):
        fork(parent, tmp_path / "a", changes={"width": 8, "d_norm": "none"})
    with pytest.raises(ConfigError, match="can't change classes"):
        fork(parent, tmp_path / "a", changes={"classes": ["1", "2"]})
    with pytest.raises(ConfigError, match="label_smoothing"):
        fork(parent, tmp_path / "a", changes={"loss": "hinge", "label_smoothing": 0.1})
    with pytest.raises(RunError, match="holds no run"):
        state_at(RunDir(tmp_path / "nothing"))
    assert not (tmp_path / "a").exists()
    fork(parent, tmp_path / "a")
    with pytest.raises(RunError, match="is a run already"):
        fork(parent, tmp_path / "a")


def test_the_command_forks_and_trains(
    parent: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    out = tmp_path / "fork"
    arguments = ["fork", str(parent.path), "--at", "10", "--out", str(out), "--lr", "5e-4", "--device", "cpu"]
    cli.main(argv=arguments)
    assert "done at step 12 of 12" in capsys.readouterr().out
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["forked", "resumed", "scoring", "done"]
    assert events[0]["changes"] == {"learning_rate": [2e-4, 5e-4]}
    with pytest.raises(SystemExit):
        cli.main(argv=arguments)
    assert "is a run already" in capsys.readouterr().err
