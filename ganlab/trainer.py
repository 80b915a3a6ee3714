"""Both networks, their optimisers and the averaged generator: one training step, and its exact state."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from ganlab.config import Config
from ganlab.ema import ema_decay, ema_update
from ganlab.errors import WeightsError
from ganlab.losses import non_saturating_d, non_saturating_g
from ganlab.models import build_discriminator, build_generator, sample_prior

INIT, DATA, NOISE, DROPOUT, FIXED = range(5)  # streams of randomness
STATISTICS = ("loss_d", "loss_g", "d_real", "d_fake")


def seed_of(seed: int, stream: int, index: int) -> int:
    """The seed of one draw: every random number of step `index` comes from (seed, stream, index) alone."""
    return int(np.random.SeedSequence([seed, stream, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(seed: int, stream: int, index: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_of(seed, stream, index))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 natively, so that it is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


class Trainer:
    """G, D, the averaged G, two Adams, and the counters. Everything that the next step depends on."""

    def __init__(self, config: Config, images: torch.Tensor) -> None:
        """`images`: the whole data set, uint8 (N, H, W, C), on the device to train on."""
        self.images, self.device = images, images.device
        self.step = 0  # generator steps taken
        self.images_seen = 0  # real pictures shown to D
        self.sums = torch.zeros(len(STATISTICS), device=self.device)  # since the last line of metrics
        self.count = 0  # steps in those sums
        torch.manual_seed(seed_of(config.seed, INIT, 0))
        self.G = self._placed(build_generator(config))
        self.D = self._placed(build_discriminator(config))
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        self.optimisers = {
            "G": torch.optim.Adam(self.G.parameters(), fused=True),
            "D": torch.optim.Adam(self.D.parameters(), fused=True),
        }
        self._bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and has_bfloat16(self.device))
        self._order: dict[int, torch.Tensor] = {}
        self.configure(config)

    def _placed(self, network: nn.Module) -> nn.Module:
        return network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def configure(self, config: Config) -> None:
        """Take hyperparameters; of a running training only the live ones may differ."""
        self.config = config
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"], group["betas"] = config.learning_rate, (config.beta1, config.beta2)

    def train_step(self) -> None:
        """D `d_steps` times, then G once, then the average (Goodfellow et al. 2014, algorithm 1)."""
        config = self.config
        noise = generator_of(config.seed, NOISE, self.step, self.device)
        torch.manual_seed(seed_of(config.seed, DROPOUT, self.step))
        for _ in range(config.d_steps):
            self.sums[[0, 2, 3]] += self._d_step(noise) / config.d_steps
            self.images_seen += config.batch_size
        self.sums[1] += self._g_step(noise)
        ema_update(self.G_ema, self.G, ema_decay(config.ema_half_life, self.images_seen, config.batch_size))
        self.count += 1
        self.step += 1

    def _d_step(self, noise: torch.Generator) -> torch.Tensor:
        """One step of D on real and generated pictures, in separate batches. Returns (loss, D(x), D(G(z)))."""
        z = sample_prior(self.config, self.config.batch_size, noise, self.device)
        with self._autocast():
            with torch.no_grad():
                fake_images = self.G(z)
            real, fake = self.D(self.next_batch()), self.D(fake_images)
        loss = non_saturating_d(real, fake, self.config.label_smoothing).mean()
        self._descend("D", loss)
        return torch.stack([loss.detach(), real.detach().sigmoid().mean(), fake.detach().sigmoid().mean()])

    def _g_step(self, noise: torch.Generator) -> torch.Tensor:
        """One step of G. D's weights get no gradient, which saves a third of its backward pass."""
        z = sample_prior(self.config, self.config.batch_size, noise, self.device)
        self.D.requires_grad_(False)
        with self._autocast():
            fake = self.D(self.G(z))
        loss = non_saturating_g(fake).mean()
        self._descend("G", loss)
        self.D.requires_grad_(True)
        return loss.detach()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16)

    def _descend(self, which: str, loss: torch.Tensor) -> None:
        self.optimisers[which].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[which].step()

    def next_batch(self) -> torch.Tensor:
        """The real pictures that follow the `images_seen` so far, as floats (B, C, H, W) in [-1, 1].

        Each epoch is a permutation drawn from (seed, epoch); a batch may reach over the end of one.
        """
        size, start = len(self.images), self.images_seen
        epochs = range(start // size, (start + self.config.batch_size - 1) // size + 1)
        self._order = {e: self._order[e] if e in self._order else self._permutation(e) for e in epochs}
        order = torch.cat([self._order[e] for e in epochs])
        first = start - epochs[0] * size
        batch = self.images[order[first : first + self.config.batch_size]]
        return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    def _permutation(self, epoch: int) -> torch.Tensor:
        generator = generator_of(self.config.seed, DATA, epoch, torch.device("cpu"))
        return torch.randperm(len(self.images), generator=generator).to(self.device)

    @torch.no_grad()
    def fixed_samples(self, num: int = 64) -> np.ndarray:
        """The averaged generator's pictures of always the same noise, float32 (num, C, H, W) in [-1, 1]."""
        z = sample_prior(self.config, num, generator_of(self.config.seed, FIXED, 0, self.device), self.device)
        return self.G_ema(z).cpu().numpy()

    def statistics(self) -> dict[str, float]:
        """Means of losses and of D's verdicts since the last `reset_statistics`. Waits for the device."""
        return dict(zip(STATISTICS, (self.sums / max(self.count, 1)).tolist(), strict=True))

    def reset_statistics(self) -> None:
        self.sums.zero_()
        self.count = 0

    def weights_finite(self) -> bool:
        """Whether every weight of both networks is a number. Waits for the device."""
        parameters = [*self.G.parameters(), *self.D.parameters()]
        return bool(torch.stack([p.isfinite().all() for p in parameters]).all())

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
        """Let Adam make its tensors, through a step of size zero, so that they can be filled."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = 0.0
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.configure(self.config)
