"""One training step against a textbook's, and what it may and may not touch."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ganlab import trainer as trainer_module
from ganlab.config import FAMILIES, WITH_TARGETS, Config
from ganlab.ema import ema_decay
from ganlab.errors import WeightsError
from ganlab.losses import LOSSES
from ganlab.trainer import LAYERS, Draws, Trainer, seed_of

PLAIN = Config(width=4, latent_dim=4, batch_size=6, ema_half_life=50, precision="float32", steps=100)
NAMES = ("a", "b", "c")


def trainer_of(config: Config, num: int = 40, **changes: Any) -> Trainer:
    """A trainer on noise, a third of it of each class."""
    config = config.replace(**changes)
    if config.conditioning != "none":
        config = config.replace(classes=NAMES)
    random = np.random.default_rng(5)
    shape = (num, config.image_size, config.image_size, config.channels)
    images = torch.from_numpy(random.integers(0, 256, shape, dtype=np.uint8))
    return Trainer(config, images, torch.arange(num) % len(NAMES))


def parameters(network: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def same(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def assert_same_state(one: Trainer, two: Trainer) -> None:
    a, b = dict(one.tensors()), dict(two.tensors())
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


# --- against a textbook ----------------------------------------------------------------------------------------------


def textbook_step(
    G: nn.Module, D: nn.Module, adams: dict[str, torch.optim.Adam], config: Config, images: torch.Tensor, draws: Draws
) -> None:
    """Goodfellow et al. 2014, algorithm 1, with one-sided label smoothing, as one would write it by hand."""
    criterion = nn.BCEWithLogitsLoss()
    for index, z in zip(draws.real, draws.z_d, strict=True):
        real = images[index].permute(0, 3, 1, 2).float() / 127.5 - 1
        fake = G(z)
        ones, zeros = torch.full((len(real),), 1 - config.label_smoothing), torch.zeros(len(real))
        if config.d_batches == "merged":
            verdict = D(torch.cat([real, fake.detach()]))
            loss = criterion(verdict[: len(real)], ones) + criterion(verdict[len(real) :], zeros)
        else:
            loss = criterion(D(real), ones) + criterion(D(fake.detach()), zeros)
        adams["D"].zero_grad()
        loss.backward()
        adams["D"].step()
    for z in draws.z_g:
        if config.d_steps > 1 or config.g_steps > 1 or config.d_batches == "merged":
            fake = G(z)  # else G is judged by the very pictures that D has just seen
        loss = criterion(D(fake), torch.ones(len(fake)))
        adams["G"].zero_grad()
        loss.backward()
        adams["G"].step()


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
@pytest.mark.parametrize(
    "changes",
    [
        dict(),
        dict(d_steps=2, g_steps=2),
        dict(d_steps=2),
        dict(g_steps=2),
        dict(d_batches="merged"),
        dict(label_smoothing=0.2),
        dict(d_learning_rate=1e-3, beta1=0.0, beta2=0.9),
        dict(prior="uniform"),
    ],
    ids=str,
)
def test_three_steps_are_those_of_a_textbook(model: str, changes: dict[str, Any]) -> None:
    """Ours fuses, reuses pictures and judges both batches in one pass; by hand nothing of that."""
    trainer = trainer_of(PLAIN, model=model, **changes)
    config = trainer.config
    G, D = copy.deepcopy(trainer.G), copy.deepcopy(trainer.D)
    rates = {"G": config.learning_rate, "D": config.d_learning_rate or config.learning_rate}
    adams = {
        which: torch.optim.Adam(network.parameters(), rates[which], (config.beta1, config.beta2))
        for which, network in (("G", G), ("D", D))
    }
    start = parameters(trainer.G) + parameters(trainer.D)
    for _ in range(3):
        textbook_step(G, D, adams, config, trainer.images, trainer._draw())
        trainer.train_step()
    ours, by_hand = parameters(trainer.G) + parameters(trainer.D), parameters(G) + parameters(D)
    assert max((a - b).abs().max() for a, b in zip(ours, by_hand, strict=True)) < 1e-6
    assert min((a - b).abs().max() for a, b in zip(ours, start, strict=True)) > 1e-5


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the tracer looks at all
@pytest.mark.parametrize("model", ["dcgan", "sn-conv"])
def test_compiled_networks_take_the_same_steps_and_keep_their_state(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through torch.compile's tracer and autograd, without its code generator, which takes a compiler and a minute."""
    compiled = nn.Module.compile
    calls: list[str] = []

    def traced(network: nn.Module) -> None:
        calls.append(type(network).__name__)
        compiled(network, backend="aot_eager", fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", traced)
    eager, fast = trainer_of(PLAIN, model=model), trainer_of(PLAIN, model=model, compile=True)
    assert len(calls) == 2
    for _ in range(2):
        eager.train_step(), fast.train_step()
    again = trainer_of(PLAIN, model=model, compile=True)
    again.load_state(*fast.state())
    for trainer in (eager, fast, again):
        trainer.train_step()
    assert_same_state(fast, again)
    for (name, a), (_, b) in zip(eager.tensors(), fast.tensors(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)
    torch._dynamo.reset()


CASES = [
    dict(),
    dict(d_steps=2, g_steps=2),
    dict(d_batches="merged", loss="relativistic", model="sn-conv"),
    dict(loss="wasserstein", gradient_penalty=10.0, d_norm="none"),
    dict(loss="relativistic", r1_gamma=1.0, r2_gamma=1.0, d_norm="none", diffaugment=("color", "cutout")),
    dict(model="mlp", conditioning="concat"),
    dict(model="sn-resnet", conditioning="projection", loss="hinge"),
]
each_case = pytest.mark.parametrize("changes", CASES, ids=str)


@each_case
def test_each_update_moves_its_own_network_alone(changes: dict[str, Any]) -> None:
    """In D's update no gradient reaches G; in G's update D's weights and their gradients stay as they were."""
    trainer = trainer_of(PLAIN, **changes)
    honest, order = trainer._descend, []

    def spied(which: str, loss: torch.Tensor) -> None:
        other = trainer.G if which == "D" else trainer.D
        own = trainer.D if which == "D" else trainer.G
        before, old = parameters(other), parameters(own)
        gradients = [None if p.grad is None else p.grad.clone() for p in other.parameters()]
        honest(which, loss)
        assert same(before, parameters(other))
        for old_gradient, p in zip(gradients, other.parameters(), strict=True):
            assert old_gradient is p.grad is None or torch.equal(old_gradient, p.grad)  # type: ignore[arg-type]
        assert all(not torch.equal(a, b) for a, b in zip(old, parameters(own), strict=True) if a.numel() > 1)
        order.append(which)

    trainer._descend = spied  # type: ignore[method-assign]
    for _ in range(2):
        trainer.train_step()
    config = trainer.config
    assert "".join(order) == 2 * ("D" * config.d_steps + "G" * config.g_steps)
    assert all(p.requires_grad for network in (trainer.G, trainer.D) for p in network.parameters())


def test_clipping_holds_after_each_step() -> None:
    trainer = trainer_of(
        PLAIN, model="mlp", loss="wasserstein", weight_clip=0.01, learning_rate=0.01, d_steps=2, batch_size=4
    )
    for _ in range(3):
        trainer.train_step()
        largest = [p.abs().max().item() for p in trainer.D.parameters()]
        assert max(largest) == pytest.approx(0.01)  # reached, and not exceeded
        assert max(p.abs().max() for p in trainer.G.parameters()) > 0.02


def test_learning_rates_follow_the_schedule() -> None:
    """Of 10 steps, 2 to warm up, and from the half on a straight line to 0 which no step reaches."""
    trainer = trainer_of(
        PLAIN,
        model="mlp",
        steps=10,
        warmup_steps=2,
        lr_schedule="linear",
        lr_decay_from=0.5,
        learning_rate=1e-3,
        d_learning_rate=4e-3,
    )
    factors = [0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    used: dict[str, list[float]] = {"G": [], "D": []}
    for which, adam in trainer.optimisers.items():
        adam.register_step_pre_hook(lambda adam, *_, rates=used[which]: rates.append(adam.param_groups[0]["lr"]))
    for _ in range(10):
        trainer.train_step()
    assert used["G"] == pytest.approx([1e-3 * f for f in factors])
    assert used["D"] == pytest.approx([4e-3 * f for f in factors])


def test_the_length_in_epochs_counts_pictures_whatever_d_steps_were_on_the_way() -> None:
    """40 pictures, batches of 5: 16 steps for two epochs; with two D steps from the 4th on it is 4 + 6."""
    trainer = trainer_of(PLAIN, model="mlp", batch_size=5, steps=None, epochs=2)
    assert trainer.total_steps == 16
    for _ in range(4):
        trainer.train_step()
        assert trainer.total_steps == 16
    trainer.configure(trainer.config.replace(d_steps=2))
    while trainer.step < trainer.total_steps:
        assert trainer.total_steps == 10
        trainer.train_step()
    assert (trainer.step, trainer.images_seen) == (10, 80)


def test_the_average_is_a_weighted_mean_of_all_weights_and_statistics() -> None:
    trainer = trainer_of(PLAIN, batch_size=8, ema_half_life=4, g_steps=2)
    expected = {name: t.double() for name, t in trainer.G.state_dict().items() if t.is_floating_point()}
    for step in range(1, 6):
        trainer.train_step()
        decay = 0.5 ** (2 * 8 / min(4, 0.05 * 8 * step))
        for name in expected:
            expected[name] = decay * expected[name] + (1 - decay) * trainer.G.state_dict()[name].double()
    average = trainer.G_ema.state_dict()
    for name in expected:
        torch.testing.assert_close(average[name].double(), expected[name], atol=1e-6, rtol=1e-5)
    assert average["norms.0.running_mean"].abs().max() > 0 and not trainer.G_ema.training
    assert not same(parameters(trainer.G_ema), parameters(trainer.G))


def test_ema_decay_halves_after_the_half_life() -> None:
    assert ema_decay(1000, 10**9, 100) ** 10 == pytest.approx(0.5)
    assert ema_decay(1000, 200, 10) == pytest.approx(0.5)  # ramp: 5% of 200 images is one batch of 10
    assert ema_decay(0, 10**9, 100) == 0.0


# --- what a step is given --------------------------------------------------------------------------------------------


def drawn(trainer: Trainer, steps: int) -> Draws:
    """The draws of many steps, one after another, without the training."""
    all_draws = []
    for trainer.step in range(steps):
        all_draws.append(trainer._draw())
        trainer.images_seen += trainer.config.num_real * trainer.config.d_steps
    joined = (torch.cat([getattr(d, f.name).flatten(0, 1) for d in all_draws]) for f in dataclasses.fields(Draws))
    return Draws(*joined)


@pytest.mark.parametrize(
    "changes", [dict(batch_size=20), dict(batch_size=15, d_steps=3), dict(batch_size=20, d_batches="merged", d_steps=7)]
)
def test_each_epoch_shows_every_picture_once(changes: dict[str, Any]) -> None:
    """50 pictures: batches, of 20, of 3 x 15 and of 7 x 10, reach over the end of an epoch, and over a whole one."""
    trainer = trainer_of(PLAIN, num=50, model="mlp", **changes)
    num = trainer.config.num_real * trainer.config.d_steps
    seen = drawn(trainer, 450 // num).real.tolist()
    epochs = [seen[i : i + 50] for i in range(0, len(seen) - 49, 50)]
    assert len(epochs) >= 8 and all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_d_sees_the_drawn_pictures_and_the_count_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(PLAIN, num=10, model="mlp", batch_size=4, d_steps=2)
    honest, seen = Trainer.real_pictures, []

    def spied(self: Trainer, index: torch.Tensor) -> torch.Tensor:
        pictures = honest(self, index)
        assert pictures.dtype == torch.float32 and pictures.min() >= -1 and pictures.max() <= 1
        back = (pictures + 1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        assert torch.equal(back, self.images[index])
        seen.extend(index.tolist())
        return pictures

    monkeypatch.setattr(Trainer, "real_pictures", spied)
    for step in range(1, 6):
        trainer.train_step()
        assert trainer.images_seen == len(seen) == 8 * step
    assert all(sorted(seen[i : i + 10]) == list(range(10)) for i in range(0, 40, 10))


def test_labels_of_generated_pictures_are_as_frequent_as_in_the_data() -> None:
    """90% a, 10% b, no c: of 20,000 labels the share of b strays by 0.002 (one standard deviation)."""
    trainer = trainer_of(PLAIN, num=100, model="mlp", conditioning="concat", batch_size=50, g_steps=2)
    trainer.labels = (torch.arange(100) % 10 == 0).long()
    draws = drawn(trainer, 200)
    for labels in (draws.y_d, draws.y_g):
        assert labels.bincount().float().div(len(labels)).tolist() == pytest.approx([0.9, 0.1], abs=0.012)
    assert not torch.equal(draws.y_d, draws.y_g) and not torch.equal(draws.z_d, draws.z_g)
    assert abs(draws.z_d.mean()) < 0.02 and draws.z_d.std() == pytest.approx(1, abs=0.02)


def test_g_is_judged_by_the_pictures_that_d_has_just_seen() -> None:
    draws = drawn(trainer_of(PLAIN, model="mlp", conditioning="concat"), 2)
    assert torch.equal(draws.z_d, draws.z_g) and torch.equal(draws.y_d, draws.y_g)


def test_without_conditions_all_labels_are_zero() -> None:
    draws = drawn(trainer_of(PLAIN, model="mlp"), 3)
    assert not draws.y_d.any() and not draws.y_g.any()


@pytest.mark.parametrize("mirror", [True, False])
def test_half_of_the_real_pictures_are_mirrored(mirror: bool) -> None:
    trainer = trainer_of(PLAIN, num=10, mirror=mirror)
    trainer.images[:, :, :14], trainer.images[:, :, 14:] = 0, 255  # dark on the left
    pictures = trainer.real_pictures(torch.zeros(4000, dtype=torch.int64))
    dark_left = pictures[:, 0, 0, 0] == -1
    assert (pictures[:, 0, 0, 0] == -pictures[:, 0, 0, 27]).all() and pictures.abs().min() == 1
    assert dark_left.float().mean() == (pytest.approx(0.5, abs=0.04) if mirror else 1)


def test_fixed_samples_show_every_class() -> None:
    trainer = trainer_of(PLAIN, conditioning="concat")
    given: list[torch.Tensor] = []
    trainer.G_ema.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    assert trainer.fixed_samples(90).shape == (90, 1, 28, 28)
    assert torch.cat(given).tolist() == [0] * 30 + [1] * 30 + [2] * 30
    assert np.array_equal(trainer.fixed_samples(90), trainer.fixed_samples(90))


# --- arithmetic and figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "native", "bfloat16"),
    [
        (dict(precision="auto"), True, True),
        (dict(precision="auto"), False, False),
        (dict(precision="auto", model="mlp"), True, False),  # too narrow to gain from it
        (dict(precision="auto", model="mlp", d_width=256), True, True),
        (dict(precision="float32"), True, False),
        (dict(precision="bfloat16", model="mlp"), False, True),
    ],
)
def test_bfloat16_is_used_where_it_gains_or_is_asked_for(
    changes: dict[str, Any], native: bool, bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganlab.trainer.has_bfloat16", lambda _: native)
    trainer = trainer_of(PLAIN, **changes)
    kinds = set()
    layer = next(m for m in trainer.D.modules() if isinstance(m, nn.Linear | nn.Conv2d))
    layer.register_forward_hook(lambda *results: kinds.add(results[2].dtype))
    trainer.train_step()
    assert kinds == {torch.bfloat16 if bfloat16 else torch.float32}
    assert all(t.dtype == torch.float32 for _, t in trainer.tensors() if t.is_floating_point())


def test_the_statistics_are_means_over_updates_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(PLAIN, model="mlp", d_norm="none", gradient_penalty=10.0, d_steps=2, g_steps=3)
    honest, losses = trainer._descend, {"D": [], "G": []}
    verdicts: list[list[float]] = []
    objective = trainer_module.d_objective

    def seen(*args: Any) -> Any:
        verdict = objective(*args)
        numbers = verdict.real.sigmoid().mean(), verdict.fake.sigmoid().mean(), verdict.penalty
        verdicts.append([x.item() for x in numbers])
        return verdict

    monkeypatch.setattr(trainer_module, "d_objective", seen)
    trainer._descend = lambda which, loss: (losses[which].append(loss.item()), honest(which, loss))  # type: ignore
    for _ in range(3):
        trainer.train_step()
    found = trainer.statistics()
    assert (len(losses["D"]), len(losses["G"])) == (6, 9)
    assert found["loss_d"] + found["penalty"] == pytest.approx(np.mean(losses["D"]), rel=1e-5)
    assert found["loss_g"] == pytest.approx(np.mean(losses["G"]), rel=1e-5)
    three = [found[name] for name in ("d_real", "d_fake", "penalty")]
    assert three == pytest.approx(np.mean(verdicts, 0), rel=1e-5)
    trainer.reset_statistics()
    assert trainer.statistics()["loss_d"] == trainer.count == 0


def test_the_largest_weight_is_of_both_networks_in_either_direction() -> None:
    trainer = trainer_of(PLAIN, model="mlp")
    usual = max(p.abs().max().item() for network in (trainer.G, trainer.D) for p in network.parameters())
    assert trainer.largest_weight() == usual
    for network, value, largest in ((trainer.G, -7.0, 7.0), (trainer.D, 9.0, 9.0), (trainer.G, float("nan"), np.inf)):
        next(network.parameters()).data.view(-1)[-1] = value
        assert trainer.largest_weight() == largest


def test_the_norm_is_that_of_the_whole_gradient() -> None:
    trainer = trainer_of(PLAIN, model="mlp")
    assert trainer.statistics()["grad_d"] == 0  # no gradient yet
    trainer.train_step()
    for name, network in (("grad_g", trainer.G), ("grad_d", trainer.D)):
        flat = torch.cat([p.grad.flatten() for p in network.parameters()])  # type: ignore[union-attr]
        assert trainer.statistics()[name] == pytest.approx(flat.double().norm().item(), rel=1e-5)


# --- exact state -----------------------------------------------------------------------------------------------------


def test_a_state_of_other_networks_is_refused() -> None:
    trainer = trainer_of(PLAIN, model="mlp")
    trainer.train_step()
    for other, message in ((dict(width=8), "has shape"), (dict(hidden_layers=3), "first difference")):
        with pytest.raises(WeightsError, match=message):
            trainer_of(PLAIN, model="mlp", **other).load_state(*trainer.state())


@pytest.mark.parametrize("step", [0, 2])
def test_a_trainer_goes_back_to_any_state(step: int) -> None:
    """As after a divergence: even from weights and moments that are no numbers, and to before the first step."""
    trainer, fresh = (trainer_of(PLAIN, model="mlp", d_norm="spectral", d_dropout=0.3) for _ in range(2))
    for _ in range(step):
        trainer.train_step(), fresh.train_step()
    arrays, counters = trainer.state()
    arrays = {name: array.copy() for name, array in arrays.items()}
    trainer.train_step()
    with torch.no_grad():
        for _, tensor in trainer.tensors():
            tensor.fill_(float("nan") if tensor.is_floating_point() else 99)
    trainer.load_state(arrays, counters)
    for _ in range(2):
        trainer.train_step(), fresh.train_step()
    assert_same_state(trainer, fresh)
    assert trainer.statistics() == fresh.statistics()


# --- what a GPU records as a graph -----------------------------------------------------------------------------------

WAITS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2", "repeat_interleave"}
FROM_THE_HOST = {"lift_fresh", "lift"}  # torch.tensor([...]), and x[[0, 1]]


class NoWait(TorchDispatchMode):
    """Refuses what would make the CPU wait for a GPU or hand it numbers, so that no graph could record it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        assert name not in WAITS | FROM_THE_HOST, name
        if name.startswith("index"):
            flat = [x for a in args for x in (a if isinstance(a, list | tuple) else [a]) if isinstance(x, torch.Tensor)]
            assert name.startswith(("index_select", "index_fill")) or all(x.dtype != torch.bool for x in flat[1:]), name
        assert (kwargs or {}).get("generator") is None, f"{name} draws from a generator that no graph knows"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: bool(x[0] > 0),
        lambda x: x[x > 0],
        lambda x: x[[0, 1]],
        lambda x: torch.where(x > 0),
        lambda x: torch.tensor([1.0]),
        lambda x: torch.rand(3, generator=torch.Generator()),
    ],
    ids=range(8),
)
def test_a_wait_would_be_noticed(waits: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(AssertionError), NoWait():
        waits(torch.ones(3))


EVERYTHING = [
    *({"loss": loss} for loss in LOSSES),
    *({"loss": loss, "label_smoothing": 0.1, "label_flip": 0.2} for loss in WITH_TARGETS),
    *({"model": model, "d_dropout": 0.3} for model in FAMILIES),
    *({"model": model, "conditioning": "projection"} for model in FAMILIES if model != "mlp"),
    *({"model": model, "conditioning": "concat"} for model in FAMILIES),
    *({"loss": "relativistic", "d_batches": merged, "mirror": True} for merged in ("merged", "separate")),
    dict(d_norm="none", r1_gamma=1.0),
    dict(d_norm="none", r2_gamma=1.0, diffaugment=("color", "translation", "cutout")),
    dict(d_norm="spectral", gradient_penalty=10.0),
    dict(d_norm="none", weight_clip=0.01),
    dict(instance_noise=0.1, diffaugment=("color", "translation", "cutout"), channels=3, image_size=32),
    dict(g_norm="batch-all", d_norm="batch-all", g_activation="leaky-relu"),
    dict(d_steps=2, g_steps=3),
    dict(precision="bfloat16", mirror=True),
]


@pytest.mark.parametrize("changes", EVERYTHING, ids=str)
def test_an_update_waits_for_nothing_and_depends_on_its_draws_alone(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a GPU one_hot does not look at its labels, on a CPU it does, and torch says so by the device alone.
    monkeypatch.setattr(nn.functional, "one_hot", lambda y, num: torch.arange(num) == y[:, None])
    one, two = trainer_of(PLAIN, **changes), trainer_of(PLAIN, **changes)
    one.train_step(), two.train_step()  # Adam has made its tensors
    draws = one._draw()
    two.step = two.images_seen = 77  # an update knows no counter
    for trainer in (one, two):
        torch.manual_seed(seed_of(0, LAYERS, 1))
        with NoWait(), no_optimiser(trainer):
            trainer._update(draws)
    assert_same_state(one, two)


@contextlib.contextmanager
def no_optimiser(trainer: Trainer) -> Iterator[None]:
    """Adam itself is torch's, and recordable where it is told so; here it steps outside of the watch."""
    for adam in trainer.optimisers.values():
        honest = adam.step

        def unwatched(honest: Callable = honest) -> None:
            with torch.utils._python_dispatch._disable_current_modes():
                honest()

        adam.step = unwatched  # type: ignore[method-assign, assignment]
    yield


class FakeGraph:
    """As a CUDA graph: recording remembers the tensors that it is given, replaying computes on what is in them."""

    def __init__(self) -> None:
        self.made = self.replays = 0

    def record(self, update: Callable[[], None]) -> None:
        self.update, self.made = update, self.made + 1

    def replay(self) -> None:
        self.replays += 1
        self.update()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[FakeGraph]:
    """torch's CUDA graphs, played by the CPU."""
    all_graphs: list[FakeGraph] = []
    nothing = SimpleNamespace(wait_stream=lambda _: None)

    def new() -> FakeGraph:
        all_graphs.append(FakeGraph())
        return all_graphs[-1]

    @contextlib.contextmanager
    def recording(graph: FakeGraph) -> Iterator[None]:
        """What is recorded is the one update that follows."""
        honest = Trainer._update
        with monkeypatch.context() as patch:
            patch.setattr(
                Trainer, "_update", lambda self, draws: graph.record(lambda: honest(self, draws)) or honest(self, draws)
            )
            yield

    for name, fake in dict(Stream=lambda: nothing, current_stream=lambda: nothing, CUDAGraph=new, graph=recording,
                           stream=lambda _: contextlib.nullcontext()).items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, fake)
    return all_graphs


@pytest.mark.parametrize("start", [0, 3])
def test_replayed_steps_are_the_same_steps(start: int, graphs: list[FakeGraph]) -> None:
    """All draws reach the graph, what rehearsals change is put back, and a live change is recorded anew."""
    changes = dict(conditioning="projection", model="sn-conv", loss="relativistic", d_batches="merged", mirror=True,
                   d_steps=2, g_steps=2, d_dropout=0.3, instance_noise=0.1, warmup_steps=4)  # fmt: skip
    eager, replayed = trainer_of(PLAIN, **changes), trainer_of(PLAIN, **changes)
    replayed._graphed = True
    for adam in (*eager.optimisers.values(), *replayed.optimisers.values()):
        adam.param_groups[0]["lr"] = torch.tensor(0.0)  # which a graph reads anew each time
    if start:  # resumed
        for _ in range(start):
            eager.train_step()
        replayed.load_state(*eager.state())
    for step in range(6):
        if step == 3:
            for trainer in (eager, replayed):
                trainer.configure(trainer.config.replace(d_steps=1, g_steps=3, learning_rate=1e-3, instance_noise=0.3))
        eager.train_step(), replayed.train_step()
        assert_same_state(eager, replayed)
    assert [(graph.made, graph.replays) for graph in graphs] == [(1, 3), (1, 3)]
