"""Images a second of ganlab's training step against a textbook loop: `python -m benchmarks.training`.

The textbook loop is that of most tutorials: a DataLoader with transforms, float32, one `.item()` a loss a step. Both
train the same networks with the same batch and Adam, in turns, in one process; the median of the ratios is reported.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ganlab.config import Config
from ganlab.data import open_dataset
from ganlab.models import build_discriminator, build_generator
from ganlab.presets import preset
from ganlab.trainer import Trainer


class Pictures(Dataset):
    """As torchvision's data sets with ToTensor and Normalize(0.5, 0.5)."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        picture = np.asarray(Image.fromarray(self.images[index].squeeze()))
        tensor = torch.from_numpy(picture.reshape(self.images.shape[1:]).transpose(2, 0, 1).copy()).float().div(255)
        return tensor.sub_(0.5).div_(0.5)


def textbook(config: Config, images: np.ndarray) -> Iterator[None]:
    """One step each time it is asked."""
    netG, netD = build_generator(config), build_discriminator(config)
    betas = (config.beta1, config.beta2)
    optimizerG = torch.optim.Adam(netG.parameters(), lr=config.learning_rate, betas=betas)
    optimizerD = torch.optim.Adam(netD.parameters(), lr=config.learning_rate, betas=betas)
    criterion = nn.BCEWithLogitsLoss()
    loader = DataLoader(Pictures(images), config.batch_size, shuffle=True, drop_last=True, num_workers=2,
                        persistent_workers=True)  # fmt: skip
    ones, zeros = torch.ones(config.batch_size), torch.zeros(config.batch_size)
    while True:
        for real in loader:
            netD.zero_grad()
            errD_real = criterion(netD(real), ones)
            errD_real.backward()
            fake = netG(torch.randn(config.batch_size, config.latent_dim))
            errD_fake = criterion(netD(fake.detach()), zeros)
            errD_fake.backward()
            optimizerD.step()
            netG.zero_grad()
            errG = criterion(netD(fake), ones)
            errG.backward()
            optimizerG.step()
            errD_real.item(), errD_fake.item(), errG.item()
            yield


def ours(config: Config, images: np.ndarray) -> Iterator[None]:
    trainer = Trainer(config, torch.from_numpy(images))
    torch.set_flush_denormal(True)
    while True:
        trainer.train_step()
        yield


def images_per_s(step: Callable[[], None], batch_size: int, seconds: float) -> float:
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        steps += 1
    return steps * batch_size / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each loop in each round")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, on the bundled digits")
    for name in ("mnist-dcgan", "mnist-mlp"):
        config = preset(name).replace(data="mnist-5k")
        images = open_dataset("mnist-5k").images
        loops = {"textbook": textbook(config, images), "ganlab": ours(config, images)}
        for precision in ("float32",):
            loops[f"ganlab {precision}"] = ours(config.replace(precision=precision), images)
        for loop in loops.values():
            images_per_s(lambda loop=loop: next(loop), config.batch_size, 2.0)  # warm-up
        speeds: dict[str, list[float]] = {key: [] for key in loops}
        for _ in range(arguments.rounds):
            for key, loop in loops.items():
                speeds[key].append(images_per_s(lambda loop=loop: next(loop), config.batch_size, arguments.seconds))
        for key, values in speeds.items():
            ratio = statistics.median(a / b for a, b in zip(values, speeds["textbook"], strict=True))
            print(f"{name:<12} {key:<16} {statistics.median(values):8.0f} images/s   {ratio:5.2f}x")


if __name__ == "__main__":
    main()
