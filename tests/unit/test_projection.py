"""Projection: what a model can make is found, networks in torch are those that draw, and the worker tells of itself."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import wait_for, write_generator

from ganlab import catalog, cli, found, jobs
from ganlab.config import Config
from ganlab.errors import ConfigError, RunError, WeightsError
from ganlab.export import save_image
from ganlab.found import Found, Typical, differences, load_found, nearest_samples, read_typical, save_found
from ganlab.generators import generator_program
from ganlab.models import build_generator
from ganlab.path_facts import extractor_of
from ganlab.projection import generate, look, project
from ganlab.recipe import parse
from ganlab.render import Model, load_model, to_uint8
from ganlab.scene import pictures
from ganlab.worker import Status, claimed, ends_when_told, read_status

FAMILIES = [
    {"model": "mlp", "conditioning": "concat"},
    {"model": "dcgan"},
    {"model": "sn-conv", "conditioning": "projection", "g_activation": "leaky-relu"},
    {"model": "sn-resnet", "conditioning": "projection", "image_size": 32, "channels": 3},
]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_generator(tmp_path / "a.safetensors"))


# --- networks in torch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", FAMILIES, ids=lambda c: c["model"])
def test_the_program_in_torch_draws_as_onnxruntime(changes):
    classes = ("a", "b", "c") if "conditioning" in changes else ()
    config = Config(**{"width": 12, "latent_dim": 5, "data": "mnist-5k", "classes": classes, **changes})
    torch.manual_seed(0)
    network = build_generator(config).eval()
    arrays = {k: v.numpy() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    model = Model("m", config, generator_program(config, arrays), {})
    z = model.z(range(6))
    y = np.random.default_rng(0).dirichlet([1, 1, 1], 6).astype(np.float32) if classes else None
    with torch.no_grad():
        floats = generate(model.program.layers, torch.from_numpy(z), None if y is None else torch.from_numpy(y))
    difference = to_uint8(floats.numpy()).transpose(0, 2, 3, 1).astype(int) - model.generate(z, y)
    assert np.abs(difference).max() <= 1


def test_the_feature_network_in_torch_sees_as_onnxruntime():
    extractor = extractor_of(catalog.load("mnist-mlp"))
    images = catalog.load("mnist-mlp").sample(4)
    expected, _ = extractor.net.look(images)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
    np.testing.assert_allclose(look(extractor.net.arrays, x).numpy(), expected, rtol=1e-3, atol=1e-4)


# --- random points ---------------------------------------------------------------------------------------------------


def test_the_nearest_of_random_points_are_the_nearest(model):
    image = model.sample(1, seed=90_001)[0]
    answers = list(nearest_samples(model, image, num=300, seed=5, keep=4))
    assert len(answers) == 3  # of 125, 250 and 300
    all_images = model.from_seeds(range(5, 305)).astype(float) / 255
    errors = np.sqrt(((all_images - image / 255) ** 2).mean((1, 2, 3)))
    np.testing.assert_allclose(answers[-1].errors, np.sort(errors)[:4], rtol=1e-5)
    np.testing.assert_array_equal(answers[-1].z, model.z((np.argsort(errors)[:4] + 5).tolist()))
    best = [answer.errors[0] for answer in answers]
    assert best == sorted(best, reverse=True)


def test_of_a_conditional_model_classes_go_round(tmp_path):
    conditional = load_model(write_generator(tmp_path / "c.safetensors", num_classes=3))
    wanted = conditional.from_seeds([77], label="2")[0]
    last = list(nearest_samples(conditional, wanted, num=120))[-1]
    np.testing.assert_array_equal(conditional.generate(last.z, last.y), last.images)
    seeds = [next(s for s in range(120) if np.array_equal(conditional.z([s])[0], z)) for z in last.z]
    np.testing.assert_array_equal(last.y.argmax(1), np.array(seeds) % 3)


@pytest.mark.parametrize("bad", [np.zeros((28, 28), np.uint8), np.zeros((32, 32, 1), np.uint8), np.zeros((28, 28, 1))])
def test_a_picture_of_another_shape_is_refused(model, bad):
    with pytest.raises(ConfigError, match=r"makes pictures uint8 \(28, 28, 1\)"):
        next(nearest_samples(model, bad))


# --- projection ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [0, 3])
def test_the_models_own_picture_is_found(tmp_path, num_classes):
    """Not only something like it: its very z, in the right class."""
    own = load_model(write_generator(tmp_path / "a.safetensors", num_classes=num_classes))
    z, label = own.z([90_001]), None if not num_classes else [1]
    image = own.generate(z, label)[0]
    last = list(project(own, image, num_starts=8, steps=200))[-1]
    random = min(list(nearest_samples(own, image))[-1].errors)
    assert last.errors[0] < 0.005 < random / 10
    np.testing.assert_allclose(last.z[0], z[0], atol=0.05)
    assert num_classes == 0 or last.y[0].argmax() == 1


def test_a_released_model_finds_its_own_picture_with_a_uniform_prior():
    own = catalog.load("mnist-mlp")
    image = own.sample(1, seed=90_001)[0]
    answers = list(project(own, image, num_starts=8, steps=150, extractor=extractor_of(own)))
    random = answers[7].errors[0]  # of 1,000, after which it goes on from there
    assert answers[-1].errors[0] < min(0.05, random / 4)
    assert all(np.isfinite(part).all() for answer in answers for part in (answer.z, answer.errors))
    assert np.abs(answers[-1].z).max() <= 1
    best = [answer.errors[0] for answer in answers]
    assert best == sorted(best, reverse=True) and len(answers[-1].z) == 8
    np.testing.assert_allclose(answers[-1].errors, differences(own.generate(answers[-1].z), image))


def test_it_is_the_same_each_time_and_ends_when_nobody_asks_on(model):
    image = model.sample(1, seed=90_001)[0]
    one, two = ([next(run) for _ in range(12)] for run in (project(model, image), project(model, image)))
    np.testing.assert_array_equal(one[-1].z, two[-1].z)
    other = [answer for answer, _ in zip(project(model, image, seed=1000), range(12), strict=False)]
    assert not np.array_equal(one[-1].z, other[-1].z)


@pytest.mark.parametrize("level", [0, 255])
def test_blank_pictures_give_numbers_too(model, level):
    blank = np.full((28, 28, 1), level, np.uint8)
    last = list(project(model, blank, num_starts=2, steps=20, extractor=extractor_of(model)))[-1]
    assert np.isfinite(last.z).all() and np.isfinite(last.errors).all()


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_was_found_comes_back(model, tmp_path):
    image = model.sample(1)[0]
    for y in (None, np.eye(2, dtype=np.float32)):
        kept = Found(model.z([1, 2]), y, model.sample(2), np.array([0.1, 0.2], np.float32))
        save_found(tmp_path / "f", image, kept)
        loaded, again = load_found(tmp_path / "f")
        np.testing.assert_array_equal(loaded, image)
        for a, b in zip(again, kept, strict=True):
            np.testing.assert_array_equal(a, b)
    (tmp_path / "f" / "found.npz").write_bytes(b"PK broken")
    assert load_found(tmp_path / "f") is None and load_found(tmp_path / "nowhere") is None


def test_what_is_typical_is_said(tmp_path):
    file = tmp_path / "projection.json"
    assert read_typical(file) is None
    file.write_text(json.dumps({"data": "mnist", "num": 16, "median": 0.06, "p95": 0.1}))
    typical = read_typical(file)
    assert typical == Typical("mnist", 16, 0.06, 0.1)
    assert typical.verdict(0.07).startswith("It can be reached") and typical.verdict(0.11).startswith("It can't")
    file.write_text("{}")
    with pytest.raises(WeightsError, match="Measure it again"):
        read_typical(file)


# --- the command and its worker --------------------------------------------------------------------------------------


def test_the_command_finds_a_picture_and_says_how_to_draw_it(model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = model.sample(1, seed=90_001)[0]
    save_image(tmp_path / "x.png", image)
    argv = ["project", "a.safetensors", "x.png", "--out", "f", "--digit", "no", "--starts", "4", "--steps", "60"]
    cli.main(None, argv)
    out = capsys.readouterr().out
    assert read_status(tmp_path / "f").state == "done" and (tmp_path / "f" / "found.png").is_file()
    loaded, best = load_found(tmp_path / "f")
    np.testing.assert_array_equal(loaded, image)
    recipe = parse(out.splitlines()[-1].split('"')[1])
    np.testing.assert_array_equal(pictures(recipe, model), best.images[:1])
    assert f"{best.errors[0]:.3f}" in out and best.errors[0] < 0.05


def test_a_worker_shows_its_first_answer_and_stops_when_asked(tmp_path):
    file = write_generator(tmp_path / "a.safetensors")
    image, folder = tmp_path / "x.png", tmp_path / "f"
    save_image(image, load_model(file).sample(1, seed=90_001)[0])
    worker = jobs._worker(
        ["project", str(file), str(image), "--out", str(folder), "--steps", "1000000"], tmp_path / "log"
    )
    try:
        wait_for(lambda: load_found(folder) or worker.poll() is not None, lambda: jobs.tail(tmp_path / "log"))
        assert read_status(folder).alive
        jobs.interrupt(worker.pid)
        assert worker.wait(60) == 0, jobs.tail(tmp_path / "log")
    finally:
        worker.kill()
    assert read_status(folder).state == "stopped" and load_found(folder) is not None


def test_the_app_starts_such_a_worker(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(jobs, "_worker", lambda arguments, log: started.append((arguments, log)))
    jobs.project("m", Path("x.png"), tmp_path, seed=3, digit="yes")
    (arguments, log) = started[0]
    assert arguments[:5] == ["project", "m", "x.png", "--out", str(tmp_path)] and log == tmp_path / "worker.log"
    assert arguments[5:9] == ["--seed", "3", "--digit", "yes"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["a.safetensors", "none.png"], "none.png does not exist"),
        (["a.safetensors", "text.png"], "not an image, whatever its name says"),
        (["a.safetensors", "x.png", "--starts", "0"], "starts and threads are 1 at least"),
        (["b.safetensors", "x.png"], "No model is called"),
    ],
)
def test_mistakes_are_one_line(model, tmp_path, capsys, monkeypatch, argv, says):
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "x.png", model.sample(1)[0])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(SystemExit):
        cli.main(None, ["project", *argv])
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_failure_stands_in_the_status(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "x.png", model.sample(1)[0])

    def broken(*args, **kwargs):
        raise ConfigError("no luck")

    monkeypatch.setattr(found, "nearest_samples", broken)
    with pytest.raises(SystemExit):
        cli.main(None, ["project", "a.safetensors", "x.png", "--out", "f"])
    status = read_status(tmp_path / "f")
    assert (status.state, status.error) == ("failed", "no luck")


def test_two_workers_do_not_share_a_folder(tmp_path):
    with claimed(tmp_path, "a is being made"):
        with pytest.raises(RunError, match="a is being made by another process"):
            with claimed(tmp_path, "a is being made"):
                pass


def test_signals_are_as_before_afterwards(model, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "x.png", model.sample(1)[0])
    cli.main(None, ["project", "a.safetensors", "x.png", "--out", "f", "--steps", "0"])
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_end_is_obeyed_where_the_work_may_end_and_the_second_at_once(number):
    before = signal.getsignal(number)
    with ends_when_told() as check:
        check()
        signal.raise_signal(number)  # also in the middle of an import: nothing is raised there
        assert signal.getsignal(number) is signal.SIG_DFL
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                check()
    assert signal.getsignal(number) is before


def test_a_status_without_a_fresh_sign_of_life_is_not_alive():
    assert Status(heartbeat=time.time()).alive
    assert not Status(heartbeat=time.time() - 60).alive
    assert not Status(state="stopped", heartbeat=time.time()).alive


FAULTS = """
import resource
import numpy as np
from ganlab.worker import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [np.ones(2**19) for _ in range(8)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

taken = faults()
keep_memory()
faults()
print(taken, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_that_was_freed_is_kept():
    """20 times 32 MB: up to 164,000 pages, each mapped anew; then they are there."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    taken, kept = map(int, done.stdout.split())
    assert kept < taken / 10
