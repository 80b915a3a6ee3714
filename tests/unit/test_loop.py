"""The training loop: exact resume above all, then requests, failures and refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlab import jobs
from ganlab.config import Config
from ganlab.data import open_dataset
from ganlab.ema import ema_decay
from ganlab.errors import ConfigError, Diverged, RunError
from ganlab.loop import is_due, resume, train
from ganlab.models import build_generator, sample_prior
from ganlab.render import load_model
from ganlab.rundir import RunDir
from ganlab.trainer import FIXED, Trainer, generator_of
from ganlab.weights import STATE, load_arrays

WALL_CLOCK = ("seconds", "images_per_s")


def newest_state(run: RunDir) -> dict[str, np.ndarray]:
    return load_arrays(run.states()[-1], kind=STATE)[0]


def lines(run: RunDir) -> list[dict]:
    """All metrics, but for those that measure time."""
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in run.read_metrics()[0]]


def assert_same_run(a: RunDir, b: RunDir) -> None:
    """Weights of G, D and the average, both optimisers, every line of metrics, every sample: bit for bit."""
    one, two = newest_state(a), newest_state(b)
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].tobytes() == two[name].tobytes(), name
    assert lines(a) == lines(b)
    assert {f.name: f.read_bytes() for f in a.samples()} == {f.name: f.read_bytes() for f in b.samples()}


def wait_for_step(run: RunDir, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not (run.states() and int(run.states()[-1].stem) >= step):
        assert process.poll() is None, jobs.log_tail(run)
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "changes",
    [
        dict(),
        dict(model="mlp", d_dropout=0.4, prior="uniform", d_steps=2),
        dict(data="mnist-5k", classes=("3",), batch_size=300, d_dropout=0.2, precision="bfloat16"),
    ],
    ids=["dcgan", "mlp with dropout and two D steps", "batches across epochs in bfloat16"],
)
def test_killed_and_resumed_equals_uninterrupted(tiny: Config, tmp_path: Path, changes: dict) -> None:
    config = tiny.replace(steps=300 if not changes else 60, save_every=7, **changes)
    whole = train(config, tmp_path / "whole")
    killed = RunDir(tmp_path / "killed")
    process = jobs.start(killed, config, device="cpu")
    wait_for_step(killed, 14, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 14 <= int(killed.states()[-1].stem) < config.steps
    train(config, killed.path)
    assert killed.read_status().state == "done"
    assert_same_run(whole, killed)


def test_two_halves_equal_the_whole(tiny: Config, tmp_path: Path) -> None:
    """Train N, then the same with 2N: the length of a run may grow, and nothing else differs. N is no tick."""
    whole = train(tiny.replace(steps=14), tmp_path / "whole")
    train(tiny.replace(steps=7), tmp_path / "halves")
    halves = train(tiny.replace(steps=14), tmp_path / "halves")
    extra = halves.sample_file(7)
    assert extra.exists()  # the end of the first half
    extra.unlink()
    assert_same_run(whole, halves)


def test_another_seed_is_another_run(tiny: Config, tmp_path: Path) -> None:
    """What the tests above compare does depend on the randomness."""
    one, two = train(tiny, tmp_path / "a"), train(tiny.replace(seed=1), tmp_path / "b")
    assert lines(one) != lines(two)


def test_pause_step_resume_stop_leave_no_trace_in_the_result(tiny: Config, tmp_path: Path) -> None:
    config = tiny.replace(steps=40)
    whole = train(config, tmp_path / "whole")
    run = RunDir(tmp_path / "paused")
    process = jobs.start(run, config, until=4, device="cpu")
    status = jobs.wait(run, "paused")
    assert status.step == 4
    assert (
        status.partial is not None and status.partial["step"] == 4
    )  # one step past the last line, already there to see
    assert {"loss_g", "loss_d", "d_real", "d_fake", "epoch"} <= status.partial.keys()
    jobs.step(run, 3)
    deadline = time.monotonic() + 30
    while run.read_status().step != 7 or run.read_status().state != "paused":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    jobs.stop(run)
    assert jobs.wait(run).state == "stopped"
    process.wait()
    second = jobs.resume(run, device="cpu")
    assert second is not None and jobs.wait(run).state == "done"
    second.wait()
    for step in (7,):  # where it paused and nothing else was due
        run.sample_file(step).unlink()
    assert_same_run(whole, run)
    assert [e["event"] for e in run.read_events()] == ["started", "paused", "paused", "stopped", "resumed", "done"]


def test_live_changes_are_recorded_and_made_again_at_their_step(tiny: Config, tmp_path: Path) -> None:
    config = tiny.replace(steps=30, save_every=10)
    run = RunDir(tmp_path / "run")
    process = jobs.start(run, config, until=13, device="cpu")
    jobs.wait(run, "paused")
    before = run.state_file(10).read_bytes()
    jobs.change(run, {"learning_rate": 1e-3, "label_smoothing": 0.1})
    deadline = time.monotonic() + 30
    while not any(e["event"] == "changed" for e in run.read_events()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    jobs.resume(run)
    assert jobs.wait(run).state == "done"
    process.wait()
    first, first_lines = newest_state(run), lines(run)
    changed = next(e for e in run.read_events() if e["event"] == "changed")
    assert changed["step"] == 13 and changed["changes"]["learning_rate"] == [config.learning_rate, 1e-3]
    for file in run.states():
        file.unlink()
    run.state_file(10).write_bytes(before)  # as if killed before the first save after the change
    again = jobs.resume(run, device="cpu")  # as the app does: with a new request, which carries the old changes
    assert again is not None and again.wait(timeout=60) == 0
    again = newest_state(run)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert lines(run) == first_lines
    plain = train(config, tmp_path / "plain")
    assert lines(plain)[-1] != first_lines[-1]

    for file in run.states():
        file.unlink()
    run.state_file(10).write_bytes(before)
    jobs.change(run, {"learning_rate": 5e-4})  # a newer wish, made at step 10, overrules that of step 13
    last = jobs.resume(run, device="cpu")
    assert last is not None and last.wait(timeout=60) == 0
    config = load_arrays(run.states()[-1], kind=STATE)[1]
    assert (config.learning_rate, config.label_smoothing) == (5e-4, 0.1)


def test_a_change_that_is_not_live_is_refused(tiny: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.request("run", changes={"width": 16})
    run.request("run", changes={"learning_rate": 1e-3})  # the good one is made all the same
    train(tiny, run.path)
    assert load_arrays(run.states()[-1], kind=STATE)[1] == tiny.replace(learning_rate=1e-3)
    refused = [e for e in run.read_events() if e["event"] == "change refused"]
    assert len(refused) == 1 and "width" in refused[0]["error"]
    assert run.read_status().state == "done"


def test_damaged_newest_state_falls_back_to_the_one_before(tiny: Config, tmp_path: Path) -> None:
    whole = train(tiny, tmp_path / "whole")
    run = train(tiny, tmp_path / "damaged")
    newest = run.states()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resume(run.path)
    assert_same_run(whole, run)
    assert any("damaged" in e["event"] for e in run.read_events())
    for file in run.states():
        file.write_bytes(b"nonsense")
    with pytest.raises(RunError, match="No saved state"):
        resume(run.path)


def test_changed_config_is_refused_with_the_differences(tiny: Config, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run")
    with pytest.raises(RunError, match=r"(?s)width: 8 .* 16 asked.*learning_rate: 0.0002 in the run, 0.001 asked for"):
        train(tiny.replace(width=16, learning_rate=1e-3), tmp_path / "run")
    assert RunDir(tmp_path / "run").read_config() == tiny
    assert RunDir(tmp_path / "run").read_status().state == "done"


def test_second_worker_is_refused(tiny: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    process = jobs.start(run, tiny.replace(steps=100_000), device="cpu")
    wait_for_step(run, 5, process)
    with pytest.raises(RunError, match=f"another process .*{process.pid}"):
        resume(run.path)
    with pytest.raises(RunError, match="already being trained"):
        jobs.start(run)
    jobs.stop(run)
    assert jobs.wait(run).state == "stopped"
    process.wait()


def test_divergence_fails_with_a_cause_and_keeps_the_last_good_state(tiny: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(Diverged, match="learning rate"):
        train(tiny.replace(learning_rate=0.1, model="mlp", width=256, steps=5000, log_every=1), run.path)
    status = run.read_status()
    assert status.state == "failed" and "diverged at step" in status.error
    for file in run.states():
        arrays, _, facts = load_arrays(file, kind=STATE)
        assert facts["step"] < status.step + 1
        assert all(np.isfinite(a).all() for a in arrays.values())


def test_nan_weights_are_never_saved(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Trainer.train_step

    def poisoned(self: Trainer) -> None:
        honest(self)
        if self.step == 9:
            with torch.no_grad():
                next(self.G.parameters()).view(-1)[0] = float("nan")

    monkeypatch.setattr(Trainer, "train_step", poisoned)
    with pytest.raises(Diverged, match="no longer a number"):
        train(tiny.replace(log_every=100), tmp_path / "run")
    run = RunDir(tmp_path / "run")
    assert [int(f.stem) for f in run.states()] == [0, 5]
    assert "no longer a number" in run.read_status().error


def test_full_disk_is_named_and_nothing_saved_is_lost(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ganlab.checkpoint

    honest = ganlab.checkpoint.save_arrays

    def full(path: Path, *args: object, **kwargs: object) -> None:
        if path.stem == "000010":
            raise OSError(28, "No space left on device", str(path))
        honest(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ganlab.checkpoint, "save_arrays", full)
        with pytest.raises(OSError, match="No space left"):
            train(tiny, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    assert run.read_status().state == "failed" and "Free some space" in run.read_status().error
    resume(run.path)
    assert_same_run(train(tiny, tmp_path / "whole"), run)


def test_batch_larger_than_the_data_is_refused_before_anything_is_written(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size is 600.* 500 pictures"):
        train(tiny.replace(batch_size=600, classes=("3",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_device_is_refused(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device"):
        train(tiny, tmp_path / "run", device="warp-drive")


def test_sigterm_saves_and_stops(tiny: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    process = jobs.start(run, tiny.replace(steps=100_000, save_every=100_000), device="cpu")
    deadline = time.monotonic() + 60
    while run.read_status().step < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    status = run.read_status()
    assert status.state == "stopped" and int(run.states()[-1].stem) == status.step


def test_run_directory_holds_what_was_promised(tiny: Config, tmp_path: Path) -> None:
    run = train(tiny, tmp_path / "run")
    assert [row["step"] for row in run.read_metrics()[0]] == [3, 6, 9, 12]
    assert [int(f.stem) for f in run.samples()] == [0, 1, 2, 4, 8, 12]
    assert [int(f.stem) for f in run.snapshots()] == [0, 5, 10, 12]
    assert [int(f.stem) for f in run.states()] == [10, 12]
    wanted = {"step", "images", "images_per_s", "loss_g", "loss_d", "d_real", "d_fake"}
    assert all(wanted <= row.keys() for row in run.read_metrics()[0])
    assert run.read_metrics()[0][-1]["images"] == 12 * 16
    status = run.read_status()
    assert (status.state, status.step, status.total_steps, status.images) == ("done", 12, 12, 192)
    assert json.loads((run.path / "status.json").read_text())["num_images"] == 5000


def test_snapshot_draws_what_the_averaged_generator_draws(tiny: Config, tmp_path: Path) -> None:
    """torch's averaged generator and the onnxruntime program from its fp16 snapshot agree to one grey level."""
    run = train(tiny, tmp_path / "run")
    arrays = newest_state(run)
    network = build_generator(tiny).eval()
    network.load_state_dict({k[6:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("G_ema.")})
    z = sample_prior(tiny, 64, generator_of(tiny.seed, FIXED, 0, torch.device("cpu")))
    with torch.no_grad():
        expected = network(z).add(1).mul(127.5).permute(0, 2, 3, 1).numpy()
    drawn = load_model(run.snapshots()[-1]).generate(z.numpy())
    assert np.abs(drawn - expected).max() <= 1.0


def test_each_epoch_shows_every_picture_once(tiny: Config) -> None:
    pictures = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1)
    trainer = Trainer.__new__(Trainer)  # the data order needs no networks
    trainer.images, trainer.device, trainer.config = pictures, pictures.device, tiny.replace(batch_size=20)
    trainer._order, seen = {}, []
    for start in range(0, 200, 20):
        trainer.images_seen = start
        seen += ((trainer.next_batch().flatten() + 1) * 127.5).round().int().tolist()
    epochs = [seen[i : i + 50] for i in range(0, 200, 50)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_real_batches_are_the_data_in_minus_one_to_one(tiny: Config) -> None:
    images = torch.from_numpy(open_dataset("mnist-5k").images)
    batch = Trainer(tiny, images).next_batch()
    assert batch.shape == (16, 1, 28, 28) and batch.min() == -1 and batch.max() == 1
    bytes_of = {bytes(picture.numpy().tobytes()) for picture in images}
    back = ((batch + 1) * 127.5).round().to(torch.uint8)
    assert all(bytes(picture.numpy().tobytes()) in bytes_of for picture in back)


def test_ema_is_the_weighted_mean_of_all_weights(tiny: Config) -> None:
    """After n steps the average is sum of w_i (1-d_i) prod d_j, computed here from the recorded weights."""
    images = torch.from_numpy(open_dataset("mnist-5k").images)
    trainer = Trainer(tiny.replace(ema_half_life=4), images)
    name = "ups.0.weight"
    expected = trainer.G.state_dict()[name].double().clone()
    for step in range(1, 6):
        trainer.train_step()
        decay = 0.5 ** (16 / min(4, 0.05 * 16 * step))
        expected = decay * expected + (1 - decay) * trainer.G.state_dict()[name].double()
    torch.testing.assert_close(trainer.G_ema.state_dict()[name].double(), expected, atol=1e-6, rtol=1e-5)
    running = trainer.G_ema.state_dict()["norms.0.running_mean"]
    assert not torch.equal(running, torch.zeros_like(running))


def test_ema_decay_halves_after_the_half_life() -> None:
    assert ema_decay(1000, 10**9, 100) ** 10 == pytest.approx(0.5)
    assert ema_decay(1000, 200, 10) == pytest.approx(0.5)  # ramp: 5% of 200 images is one batch of 10
    assert ema_decay(0, 10**9, 100) == 0.0


def test_is_due() -> None:
    assert [n for n in range(1, 41) if is_due(n, 16)] == [1, 2, 4, 8, 16, 32]


def test_no_gradient_of_g_in_the_d_step_and_none_of_d_in_the_g_step(tiny: Config) -> None:
    trainer = Trainer(tiny, torch.from_numpy(open_dataset("mnist-5k").images))
    noise = generator_of(0, 1, 0, torch.device("cpu"))
    before = [p.clone() for p in trainer.G.parameters()]
    trainer._d_step(noise)
    assert all(p.grad is None for p in trainer.G.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.G.parameters(), strict=True))
    after_d = [p.clone() for p in trainer.D.parameters()]
    gradients = [p.grad.clone() for p in trainer.D.parameters()]
    trainer._g_step(noise)
    assert all(torch.equal(a, b) for a, b in zip(after_d, trainer.D.parameters(), strict=True))
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, trainer.D.parameters(), strict=True))
    assert all(p.requires_grad for p in trainer.D.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.G.parameters(), strict=True))


def test_worker_that_cannot_start_leaves_a_reason(tiny: Config, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    process = jobs.start(run, tiny.replace(data="no-such-data"), device="cpu")
    process.wait(timeout=60)
    assert "no-such-data" in jobs.log_tail(run)
    assert run.read_status().state == "failed" and "no-such-data" in run.read_status().error


def test_python_m_ganlab_train_is_the_same_training(tiny: Config, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ganlab", "train", "--out", str(tmp_path / "cli"), "--data", "mnist-5k",
               "--width", "8", "--latent_dim", "8", "--batch_size", "16", "--steps", "12", "--log_every", "3",
               "--sample-every", "4", "--save-every", "5", "--device", "cpu"]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "step 12/12" in result.stdout and "images/s" in result.stdout
    assert_same_run(train(tiny, tmp_path / "api"), RunDir(tmp_path / "cli"))
