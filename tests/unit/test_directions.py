"""Directions against scikit-learn, torch, and generators whose directions are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_generator
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression

from ganlab import catalog, cli, directions
from ganlab.config import Config
from ganlab.directions import (
    Direction,
    difference,
    first_features,
    load_directions,
    logistic_normal,
    move,
    named_directions,
    orthogonalised,
    principal_directions,
    save_directions,
    taught,
)
from ganlab.errors import ConfigError, WeightsError
from ganlab.generators import generator_program
from ganlab.measurements import measure
from ganlab.models import build_generator
from ganlab.models.layers import BatchNorm, NoNorm
from ganlab.program import Activation, Linear, Program, Reshape
from ganlab.render import Model, load_model

FAMILIES = [
    {"model": "mlp"},
    {"model": "mlp", "conditioning": "concat"},
    {"model": "dcgan"},
    {"model": "sn-conv", "conditioning": "projection", "g_activation": "leaky-relu"},
    {"model": "sn-resnet", "conditioning": "projection", "image_size": 32, "channels": 3},
]


def unit(*numbers: float) -> np.ndarray:
    return np.array(numbers) / np.linalg.norm(numbers)


def along(i: int, dim: int = 4, name: str = "") -> Direction:
    return Direction(name or f"e{i}", np.eye(dim, dtype=np.float32)[i])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def painter(dim: int, rows, **changes) -> Model:
    """An unconditional model whose picture is tanh of a linear map of z: `rows` gives the weight of each pixel, an
    array (28, 28, dim), and the bias -0.9."""
    config = Config(model="mlp", latent_dim=dim, data="mnist-5k", **changes)
    weight = np.asarray(rows, np.float32).reshape(28 * 28, dim)
    linear = Linear(weight, np.full(28 * 28, -0.9, np.float32))
    program = Program((dim,), (1, 28, 28), 0, (linear, Activation("tanh"), Reshape((1, 28, 28))))
    return Model("painter", config, program, {}, sha256="f" * 64)


# --- in the generator ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", FAMILIES, ids=lambda c: "-".join(map(str, c.values())))
def test_the_first_features_are_what_torch_has_after_its_first_activation(changes):
    """Of a network with random statistics, so that batch norm does something."""
    named = {"classes": ("a", "b", "c")} if "conditioning" in changes else {}
    config = Config(**{"width": 12, "latent_dim": 5, "data": "mnist-5k", **changes, **named})
    torch.manual_seed(0)
    network = build_generator(config).eval()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5 if "var" in name else torch.randn_like(tensor))
    arrays = {k: v.numpy() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    seen = []
    for module in network.modules():
        if isinstance(module, BatchNorm | NoNorm):
            module.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    z, y = torch.randn(6, 5), torch.tensor([0, 1, 2, 2, 1, 0]) if named else None
    with torch.no_grad():
        network(z, y)
    found = first_features(generator_program(config, arrays), z.numpy(), None if y is None else y.numpy())
    slope = config.leaky_slope if config.g_activation == "leaky-relu" else 0.0
    expected = torch.nn.functional.leaky_relu(seen[0], slope).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_generator(tmp_path / "a.safetensors", latent_dim=4))


def test_features_are_those_of_ganspace(model):
    """Principal components and regression of scikit-learn, of the same features."""
    z = model.z(range(400))
    x = first_features(model.program, z)
    pca = PCA(4).fit(x)
    back = LinearRegression().fit(pca.transform(x), z).coef_.T  # (components, dim)
    found = principal_directions(model, "features", num=4, samples=400)
    assert [d.name for d in found] == ["features-1", "features-2", "features-3", "features-4"]
    for direction, expected, share in zip(found, back, pca.explained_variance_ratio_, strict=True):
        assert abs(cosine(direction.vector, expected)) > 0.9999
        assert direction.evidence["share"] == pytest.approx(share, rel=1e-3)
        assert np.linalg.norm(direction.vector) == pytest.approx(1) and direction.vector.dtype == np.float32


def test_of_a_linear_picture_the_directions_are_the_singular_vectors():
    random = np.random.default_rng(1)
    axes = np.linalg.qr(random.standard_normal((6, 6)))[0]
    pixels = np.linalg.qr(random.standard_normal((784, 6)))[0] * [1.2, 0.9, 0.6, 0.4, 0.2, 0.1]
    painted = painter(6, (pixels @ axes.T).reshape(28, 28, 6))
    found = principal_directions(painted, "picture", num=3, samples=1000)
    for direction, axis in zip(found, axes.T, strict=False):
        assert abs(cosine(direction.vector, axis)) > 0.98
    shares = [d.evidence["share"] for d in found]
    assert shares == sorted(shares, reverse=True) and 0.9 < sum(shares) <= 1


@pytest.mark.parametrize("where", ["features", "picture"])
def test_signs_and_order_do_not_depend_on_chance(model, where):
    one, two = (principal_directions(model, where, num=3, samples=200) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.vector, b.vector)
        assert a.vector[np.abs(a.vector).argmax()] > 0


def test_classes_have_directions_of_their_own_or_share_them(tmp_path):
    conditional = load_model(write_generator(tmp_path / "c.safetensors", num_classes=3))
    of_all, of_one = (principal_directions(conditional, num=2, samples=600, label=x)[0] for x in (None, "1"))
    assert (of_all.label, of_one.label) == (None, "1")
    z, labels = conditional.z(range(600)), np.arange(600) % 3
    x = first_features(conditional.program, z, labels)
    for label in range(3):
        x[labels == label] -= x[labels == label].mean(0)
    expected = LinearRegression().fit(PCA(2).fit_transform(x), z).coef_[:, 0]
    assert abs(cosine(of_all.vector, expected)) > 0.999
    alone = first_features(conditional.program, z, np.ones(600, int))
    expected = LinearRegression().fit(PCA(2).fit_transform(alone), z).coef_[:, 0]
    assert abs(cosine(of_one.vector, expected)) > 0.999
    with pytest.raises(ConfigError, match="no class '7'"):
        principal_directions(conditional, num=2, label="7")


def test_the_subspace_iteration_finds_the_components():
    x = np.random.default_rng(0).standard_normal((60, 200)).astype(np.float32) * np.geomspace(5, 0.1, 200)
    x = x.astype(np.float32) - x.mean(0).astype(np.float32)
    expected = np.linalg.svd(x, full_matrices=False)[2][:4]
    found = directions._components(x, 4)
    np.testing.assert_allclose(np.abs(expected @ found), np.eye(4), atol=2e-3)


@pytest.mark.parametrize("num", [0, 5])
def test_there_are_as_many_as_z_is_long(model, num):
    with pytest.raises(ConfigError, match="1 to 4"):
        principal_directions(model, num=num)


# --- in measurements -------------------------------------------------------------------------------------------------


def test_a_measurement_that_follows_z_gives_its_direction_and_no_other_is_offered():
    """Every pixel brightens along one axis; shapes do not lean or grow, for all pixels are alike."""
    axis = unit(1, -2, 0.5, 3)
    painted = painter(4, np.broadcast_to(0.05 * axis, (28, 28, 4)))
    found = {d.name: d for d in named_directions(painted, samples=400)}
    assert cosine(found["brightness"].vector, axis) > 0.999
    assert "slant" not in found and "aspect" not in found
    evidence = found["brightness"].evidence
    assert 0.95 < evidence["r2"] <= 1
    there = (np.tanh(-0.9 + 0.05 * 0.1) - np.tanh(-0.9 - 0.05 * 0.1)) / 2 / 0.2  # the slope at z = 0, in levels 0 to 1
    assert evidence["per_unit"] == pytest.approx(there, rel=0.05)
    assert named_directions(painted, samples=400, min_r2=1.01) == []


def test_the_fit_is_judged_by_pictures_that_it_has_not_seen():
    """With nearly as many numbers in z as there are pictures, a fit explains those that it was made from: chance."""
    noise = np.random.default_rng(0).standard_normal((28, 28, 64)) * 2
    r2 = [d.evidence["r2"] for d in named_directions(painter(64, noise), samples=100, min_r2=-np.inf)]
    assert len(r2) == 5 and min(r2) < 0.1


# --- arithmetic and teaching -----------------------------------------------------------------------------------------


def test_a_difference_of_means_leads_from_those_to_these():
    these, those = np.array([[1, 2, 3], [3, 2, 1]]), np.array([[0, 0, 1]])
    found = difference("smile", these, those)
    np.testing.assert_allclose(move([0, 0, 1], [(found, found.evidence["length"])]), [2, 2, 2], rtol=1e-6)
    with pytest.raises(ConfigError, match="same mean"):
        difference("x", these, these)


def examples(dim: int, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.standard_normal((num, dim))
    return x, x @ random.standard_normal(dim) + random.standard_normal(num) > 0.3


@pytest.mark.parametrize(("dim", "num"), [(3, 60), (100, 9), (20, 300)])
@pytest.mark.parametrize("c", [0.1, 1.0, 100.0])
def test_the_normal_is_that_of_scikit_learn(dim, num, c):
    x, y = examples(dim, num, seed=dim)
    expected = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, y).coef_[0]
    np.testing.assert_allclose(logistic_normal(x, y, c), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_one_example_a_side_teaches_the_line_between_them():
    more, less = np.array([[2.0, 1, 0]]), np.array([[0.0, 1, 1]])
    np.testing.assert_allclose(taught("x", more, less).vector, unit(2, 0, -1), atol=1e-6)


def test_far_examples_do_not_break_it():
    more, less = np.full((3, 5), 1e4), np.full((2, 5), -1e4)
    np.testing.assert_allclose(taught("x", more, less).vector, unit(1, 1, 1, 1, 1), atol=1e-6)


def test_what_is_locked_stays_where_it_is():
    x, y = examples(10, 40, seed=2)
    locked = [along(2, 10), Direction("b", unit(*([0] * 5 + [1, 1, 0, 0, 1])).astype(np.float32))]
    free, found = taught("free", x[y], x[~y]), taught("x", x[y], x[~y], locked)
    assert abs(free.vector @ locked[0].vector) > 0.01
    assert max(abs(found.vector @ d.vector) for d in locked) < 1e-6
    assert np.linalg.norm(found.vector) == pytest.approx(1) and free.vector @ found.vector > 0
    # what is left is the projection on the rest: scipy's own basis of it
    from scipy.linalg import null_space

    rest = null_space(np.array([d.vector for d in locked], float))
    np.testing.assert_allclose(orthogonalised(free.vector, locked), unit(*(rest @ (rest.T @ free.vector))), atol=1e-6)


def test_locked_directions_may_be_parallel_and_may_leave_nothing():
    twice = [along(0), along(0, name="again")]
    np.testing.assert_allclose(orthogonalised(unit(3, 4, 0, 0), twice), [0, 1, 0, 0], atol=1e-7)
    with pytest.raises(ConfigError, match="beside e0, again: unlock"):
        orthogonalised([5, 1e-9, 0, 0], twice)


@pytest.mark.parametrize(("more", "less"), [([], [[1, 2]]), ([[1, 2]], np.empty((0, 2))), ([[1, 2]], [[1, 2, 3]])])
def test_both_sides_need_examples(more, less):
    for make in (difference, taught):
        with pytest.raises(ConfigError, match="either side"):
            make("x", more, less)


def test_moves_add_up():
    steps = [(along(0), 2.0), (along(3), -1.0), (along(0), 0.5)]
    np.testing.assert_allclose(move(np.zeros((2, 4)), steps), [[2.5, 0, 0, -1]] * 2)
    assert move([1, 2, 3, 4], []).dtype == np.float32


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_is_saved_comes_back(model, tmp_path):
    kept = [Direction("slant", unit(1, 2, 3, 4).astype(np.float32), None, {"r2": 0.5}), along(1, name="Zwölf, ja?")]
    save_directions(tmp_path / "d.safetensors", kept, model)
    loaded, sha256 = load_directions(tmp_path / "d.safetensors", model)
    assert [(d.name, d.label) for d in loaded] == [("slant", None), ("Zwölf, ja?", None)]
    assert sha256 == model.sha256 and loaded[0].evidence == {"r2": 0.5}
    for a, b in zip(loaded, kept, strict=True):
        np.testing.assert_array_equal(a.vector, b.vector)


def test_what_does_not_belong_together_is_refused(model, tmp_path):
    file = tmp_path / "d.safetensors"
    for bad, why in (([], "one at least"), ([along(0), along(0)], "names of their own"), ([along(0, 5)], "4 numbers")):
        with pytest.raises(ConfigError, match=why):
            save_directions(file, bad, model)
    save_directions(file, [along(0)], model)
    other = painter(6, np.zeros((28, 28, 6)))
    with pytest.raises(WeightsError, match="directions of 4 numbers, normal prior; painter has 6, normal"):
        load_directions(file, other)
    file.write_text("slant")
    with pytest.raises(WeightsError, match="no readable safetensors"):
        load_directions(file, model)
    with pytest.raises(WeightsError, match="not a ganlab-directions file"):
        load_directions(write_generator(tmp_path / "b.safetensors"), model)


def test_the_command_finds_them_and_keeps_them(tmp_path, capsys):
    file, out = write_generator(tmp_path / "generator.safetensors"), tmp_path / "directions.safetensors"
    cli.main(None, ["directions", str(file), "--out", str(out)])
    printed = capsys.readouterr().out
    kept = load_directions(out, load_model(file)).directions
    assert [line.split()[0] for line in printed.splitlines()] == [*(d.name for d in kept), str(out)]
    assert "features-1   share 0." in printed and kept[-1].name == "picture-4"
    with pytest.raises(SystemExit):
        cli.main(None, ["directions", str(file), "--out", "x.npz"])
    assert "safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("name", catalog.released())
def test_a_released_models_directions_do_what_they_are_called(name):
    """Two units along each change the measurement of fresh pictures, on average by at least half of what is said."""
    opened = catalog.load(name)
    file = catalog.beside(name, "directions.safetensors")
    kept, sha256 = load_directions(file, opened)
    assert sha256 == opened.sha256
    if opened.config.data == "mnist":
        assert kept[0].name == "slant"
    seeds = range(10**6, 10**6 + 100)
    z, labels = opened.z(seeds), opened.labels_of(seeds)
    for direction in [d for d in kept if "r2" in d.evidence]:
        low, high = (measure(opened.generate(move(z, [(direction, s)]), labels))[direction.name] for s in (-1, 1))
        assert np.nanmean(high - low) > direction.evidence["per_unit"]
