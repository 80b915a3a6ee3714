"""Both networks, their optimisers and the averaged generator: one training step, and its exact state."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import nn

from ganlab.augment import flip
from ganlab.config import Config
from ganlab.distributed import World
from ganlab.ema import ema_decay, ema_update
from ganlab.errors import WeightsError
from ganlab.losses import LOSSES, clip_weights_
from ganlab.models import build_discriminator, build_generator, sample_prior
from ganlab.objective import d_objective, g_objective
from ganlab.schedules import learning_rate

INIT, DATA, NOISE, LAYERS, FIXED = range(5)  # streams of randomness
STATISTICS = ("loss_d", "loss_g", "d_real", "d_fake", "penalty", "d_order")
ALONE = World()


def seed_of(seed: int, stream: int, index: int) -> int:
    """The seed of one draw: every random number of step `index` comes from (seed, stream, index) alone."""
    return int(np.random.SeedSequence([seed, stream, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(seed: int, stream: int, index: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_of(seed, stream, index))


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the global generator of one device. `torch.manual_seed` seeds all there could be, and takes 0.3 ms."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.get_device_module(device).manual_seed(seed)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 natively, so that it is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def gains(config: Config, device: torch.device) -> bool:
    """Whether bfloat16 makes this training faster: matrices of a narrow mlp take less time than their conversion."""
    narrow = config.model == "mlp" and max(config.width, config.d_width or 0) < 256
    return has_bfloat16(device) and not narrow


@dataclass
class Draws:
    """What one step needs from outside: which real pictures, latent vectors and labels. First axis: updates.

    Where G is judged by the pictures that D has just seen, both have the same z and y.
    """

    real: torch.Tensor  # int64 (d_steps, num_real): indices into the data set
    z_d: torch.Tensor  # (d_steps, num_real, latent_dim)
    z_g: torch.Tensor  # (g_steps, batch_size, latent_dim)
    y_d: torch.Tensor  # int64 (d_steps, num_real): labels of the generated pictures
    y_g: torch.Tensor  # int64 (g_steps, batch_size)


class Trainer:
    """G, D, the averaged G, two Adams, and the counters. Everything that the next step depends on."""

    def __init__(
        self, config: Config, images: torch.Tensor, labels: torch.Tensor | None = None, world: World = ALONE
    ) -> None:
        """`images`: the whole data set, uint8 (N, H, W, C), on the device to train on; `labels`: int64 (N,), there too,
        of which only conditional networks hear."""
        self.images, self.device, self.world = images, images.device, world
        self.labels = torch.zeros(len(images), dtype=torch.int64, device=self.device) if labels is None else labels
        self.step = 0  # steps taken
        self.images_seen = 0  # real pictures shown to D
        self.sums = torch.zeros(len(STATISTICS), device=self.device)  # since the last line of metrics
        self.count = 0  # steps in those sums
        torch.manual_seed(seed_of(config.seed, INIT, 0))
        self.G = self._placed(build_generator(config))
        self.D = self._placed(build_discriminator(config))
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        self._graphed = self.device.type == "cuda" and not config.penalised and world.size == 1
        options = {"fused": True, "capturable": self._graphed}
        self.optimisers = {
            which: torch.optim.Adam(network.parameters(), lr=self._number(config.learning_rate), **options)  # type: ignore[arg-type]
            for which, network in (("G", self.G), ("D", self.D))
        }
        self._bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and gains(config, self.device))
        if config.compile:
            self.G.compile()
            self.D.compile()
        self._order: dict[int, torch.Tensor] = {}
        self.configure(config)

    def _placed(self, network: nn.Module) -> nn.Module:
        return network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _number(self, value: float) -> float | torch.Tensor:
        """A number that a captured graph reads anew each time."""
        return torch.tensor(value, device=self.device) if self._graphed else value

    def configure(self, config: Config) -> None:
        """Take hyperparameters; of a running training only the live ones may differ."""
        self.config = config
        self._graph: tuple[Draws, torch.cuda.CUDAGraph] | None = None
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["betas"] = (config.beta1, config.beta2)

    @property
    def total_steps(self) -> int:
        """Steps that the config asks for, those taken included."""
        return self.config.total_steps(len(self.images), self.step, self.images_seen)

    @property
    def _shares_pictures(self) -> bool:
        """Whether G is judged by the very pictures that D has just seen: where each takes one update of equal size."""
        return self.config.d_steps == self.config.g_steps == 1 and self.config.d_batches == "separate"

    def train_step(self) -> None:
        """D `d_steps` times, then G `g_steps` times, then the average (Goodfellow et al. 2014, algorithm 1)."""
        config = self.config
        self._seed_layers()
        self._set_learning_rates()
        draws = self._draw()
        if self._graphed:
            self._replay(draws)
        else:
            self._update(draws)
        self.images_seen += config.num_real * config.d_steps
        images = config.batch_size * config.g_steps
        ema_update(self.G_ema, self.G, ema_decay(config.ema_half_life, self.images_seen, images))
        self.count += 1
        self.step += 1

    def _seed_layers(self) -> None:
        """What dropout, augmentation and noise of this step draw, in this process."""
        seed_device(self.device, seed_of(self.config.seed, LAYERS, self.step) + self.world.rank)

    # --- what a step is given ----------------------------------------------------------------------------------------

    def _set_learning_rates(self) -> None:
        config = self.config
        base = {"G": config.learning_rate, "D": config.d_learning_rate or config.learning_rate}
        for which, optimiser in self.optimisers.items():
            rate = learning_rate(
                base[which],
                config.lr_schedule,
                self.step,
                max(self.total_steps, self.step + 1),
                config.lr_decay_from,
                config.warmup_steps,
            )
            for group in optimiser.param_groups:
                if isinstance(group["lr"], torch.Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def _draw(self) -> Draws:
        """This process's share of the step's real pictures, latent vectors and labels."""
        config = self.config
        random = generator_of(config.seed, NOISE, self.step, self.device)

        def latents(updates: int, num: int) -> tuple[torch.Tensor, torch.Tensor]:
            z = sample_prior(config, updates * num, random, self.device).unflatten(0, (updates, num))
            if not config.num_classes:
                return z, torch.zeros((updates, num), dtype=torch.int64, device=self.device)
            # labels as often as in the data
            index = torch.randint(len(self.labels), (updates, num), generator=random, device=self.device)
            return z, self.labels[index]

        z_d, y_d = latents(config.d_steps, config.num_real)
        z_g, y_g = (z_d, y_d) if self._shares_pictures else latents(config.g_steps, config.batch_size)
        real = self._next_indices(config.d_steps * config.num_real).unflatten(0, (config.d_steps, -1))
        draws = Draws(real, z_d, z_g, y_d, y_g)
        return Draws(*(self.world.share(getattr(draws, f.name), 1) for f in fields(Draws)))

    def _next_indices(self, num: int) -> torch.Tensor:
        """Indices (num,) of the real pictures that follow the `images_seen` so far.

        Each epoch is a permutation drawn from (seed, epoch); a batch may reach over the end of one.
        """
        size, start = len(self.images), self.images_seen
        epochs = range(start // size, (start + num - 1) // size + 1)
        self._order = {e: self._order[e] if e in self._order else self._permutation(e) for e in epochs}
        order = torch.cat([self._order[e] for e in epochs]) if len(epochs) > 1 else self._order[epochs[0]]
        first = start - epochs[0] * size
        return order[first : first + num]

    def _permutation(self, epoch: int) -> torch.Tensor:
        generator = generator_of(self.config.seed, DATA, epoch, torch.device("cpu"))
        return torch.randperm(len(self.images), generator=generator).to(self.device)

    def real_pictures(self, index: torch.Tensor) -> torch.Tensor:
        """Pictures of the data set as floats (N, C, H, W) in [-1, 1], mirrored at random if the config says so."""
        pictures = self.images[index].permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        if self.config.mirror:
            pictures = flip(pictures, torch.rand(len(pictures), device=self.device) < 0.5)
        return pictures

    # --- the step itself: no random number from outside, no wait for the device --------------------------------------

    def _update(self, draws: Draws) -> None:
        """All updates of one step. Where both networks take one, G is judged by the pictures that D has just seen."""
        fake, reuse = torch.empty(0), self._shares_pictures
        for index, z, y in zip(draws.real, draws.z_d, draws.y_d, strict=True):
            with torch.set_grad_enabled(reuse), self._autocast():
                fake = self.G(z, y)
            self._d_step(index, fake.detach(), y)
        for z, y in zip(draws.z_g, draws.y_g, strict=True):
            if not reuse:
                with self._autocast():
                    fake = self.G(z, y)
            self._g_step(fake, y, draws.real[-1])

    def _d_step(self, index: torch.Tensor, fake: torch.Tensor, y_fake: torch.Tensor) -> None:
        """One update of D on the real pictures of `index` and as many generated ones."""
        config = self.config
        real, y_real = self.real_pictures(index), self.labels[index]
        with self._autocast(not config.penalised):  # second derivatives are taken in full precision
            verdict = d_objective(self.D, config, real, y_real, fake.to(real), y_fake)
        self._descend("D", verdict.loss + verdict.penalty)
        if config.weight_clip:
            clip_weights_(self.D.parameters(), config.weight_clip)
        loss, penalty, logits_real, logits_fake = (x.detach() for x in verdict)
        nothing = torch.zeros_like(loss)
        # the share of pairs that D puts in the right order, ties half: the area under its ROC curve, for every loss
        order = (logits_real - logits_fake).sign().mean() / 2 + 0.5
        means = [loss, nothing, logits_real.sigmoid().mean(), logits_fake.sigmoid().mean(), penalty, order]
        self.sums += torch.stack(means) / config.d_steps

    def _g_step(self, fake: torch.Tensor, y_fake: torch.Tensor, index: torch.Tensor) -> None:
        """One update of G, whose pictures are `fake`. D's weights get no gradient, which saves a third of its backward
        pass."""
        real = y_real = None
        if LOSSES[self.config.loss].paired:
            if len(index) < len(fake):
                index = index.repeat_interleave(2)  # merged batches hold half as many real ones
            real, y_real = self.real_pictures(index), self.labels[index]
        self.D.requires_grad_(False)
        with self._autocast():
            loss = g_objective(self.D, self.config, fake, y_fake, real, y_real)
        self._descend("G", loss)
        self.D.requires_grad_(True)
        self.sums[1] += loss.detach() / self.config.g_steps

    def _autocast(self, enabled: bool = True) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16 and enabled)

    def _descend(self, which: str, loss: torch.Tensor) -> None:
        optimiser = self.optimisers[which]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.world.average_gradients(p for group in optimiser.param_groups for p in group["params"])
        optimiser.step()

    # --- CUDA graph --------------------------------------------------------------------------------------------------

    def _replay(self, draws: Draws) -> None:
        """The step as one CUDA graph, captured when it is first needed: no launch but one, and no wait."""
        if self._graph is None:
            self._graph = self._capture(draws)
        inputs, graph = self._graph
        for f in fields(Draws):
            getattr(inputs, f.name).copy_(getattr(draws, f.name))
        graph.replay()

    def _capture(self, draws: Draws) -> tuple[Draws, torch.cuda.CUDAGraph]:
        """Record the step. What the rehearsals change is put back."""
        inputs = Draws(*(getattr(draws, f.name).clone() for f in fields(Draws)))
        if not self.step:
            self._create_adam_state()
        before = [tensor.clone() for _, tensor in self.tensors()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._update(inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._update(inputs)
        for (_, tensor), old in zip(self.tensors(), before, strict=True):
            tensor.copy_(old)
        self._seed_layers()
        return inputs, graph

    # --- what others read --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fixed_samples(self, num: int = 64) -> np.ndarray:
        """The averaged generator's pictures of always the same noise, float32 (num, C, H, W) in [-1, 1].

        Of a conditional one: as many of each class, class after class.
        """
        z = sample_prior(self.config, num, generator_of(self.config.seed, FIXED, 0, self.device), self.device)
        y = torch.arange(num, device=self.device) * self.config.num_classes // num
        batches = [self.G_ema(part, label) for part, label in zip(z.split(64), y.split(64), strict=True)]
        return torch.cat(batches).cpu().numpy()

    def statistics(self) -> dict[str, float]:
        """Means of losses and of D's verdicts since the last `reset_statistics`, and the norms of the last gradients.
        Waits for the device."""
        means = self.world.average(self.sums / max(self.count, 1)).tolist()
        norms = {"grad_g": _gradient_norm(self.G), "grad_d": _gradient_norm(self.D)}
        return dict(zip(STATISTICS, means, strict=True)) | norms

    def reset_statistics(self) -> None:
        self.sums.zero_()
        self.count = 0

    def largest_weight(self) -> float:
        """The largest weight of both networks, infinite if one is no number. Waits for the device."""
        parameters = [p.detach() for p in (*self.G.parameters(), *self.D.parameters())]
        largest = torch.stack(torch._foreach_norm(parameters, float("inf"))).max().item()
        return largest if largest == largest else float("inf")

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor of the exact state, by a name that stays the same from run to run."""
        for which, module in (("G", self.G), ("D", self.D), ("G_ema", self.G_ema)):
            for name, tensor in module.state_dict().items():
                yield f"{which}.{name}", tensor
        for which, module in (("G", self.G), ("D", self.D)):
            state = self.optimisers[which].state
            for name, parameter in module.named_parameters():
                for key, value in state.get(parameter, {}).items():
                    yield f"adam_{which}.{name}.{key}", value
        yield "sums", self.sums

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """The exact state as arrays and counters."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self.tensors()}
        return arrays, {"step": self.step, "images": self.images_seen, "count": self.count}

    def load_state(self, arrays: dict[str, np.ndarray], counters: dict[str, int]) -> None:
        """Go on from what `state` returned. Raises WeightsError if the arrays do not fit these networks."""
        self._create_adam_state()
        mine = dict(self.tensors())
        if not counters["step"]:
            mine = {name: tensor for name, tensor in mine.items() if not name.startswith("adam_")}
        if odd := sorted(mine.keys() ^ arrays.keys()):
            raise WeightsError(f"The saved state does not fit these networks; first difference: {odd[0]}.")
        with torch.no_grad():
            for name, tensor in mine.items():
                if tuple(tensor.shape) != arrays[name].shape:
                    raise WeightsError(
                        f"{name} has shape {arrays[name].shape} in the saved state, "
                        f"{tuple(tensor.shape)} in these networks."
                    )
                tensor.copy_(torch.from_numpy(arrays[name]))
        self.step, self.images_seen, self.count = counters["step"], counters["images"], counters["count"]

    def _create_adam_state(self) -> None:
        """Let Adam make its tensors, through a step of size zero, so that they can be filled; then count from 0."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                rate, group["lr"] = group["lr"], self._number(0.0)
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)
                optimiser.step()
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
            for state in optimiser.state.values():
                for value in state.values():
                    value.zero_()


def _gradient_norm(network: nn.Module) -> float:
    """The length of the gradient that the last update followed; 0 before the first one."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if not gradients:
        return 0.0
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).item()
