"""Images a second of ganlab's training step against a textbook loop: `python -m benchmarks.training`.

The textbook loop is that of most tutorials: a DataLoader with transforms and two workers, float32, one `.item()` a loss
a step. Both train the same networks with the same batch and Adam, in turns, each in a process of its own that waits
while others have theirs; the median of the ratios is reported. Pictures: the bundled digits, or random colour ones (the
speed does not depend on what they show).
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from ganlab.checkpoint import save_snapshot, save_state
from ganlab.config import Config
from ganlab.data import DATASETS, open_dataset
from ganlab.loop import pick_device
from ganlab.models import build_discriminator, build_generator, sample_prior
from ganlab.models.strided import Down, Up
from ganlab.presets import preset
from ganlab.render import to_uint8
from ganlab.rundir import RunDir
from ganlab.scores import NUM, scorer_of
from ganlab.trainer import Trainer
from ganlab.worker import keep_memory

PRESETS = ("mnist-dcgan", "cifar10-dcgan", "mnist-mlp-simple")


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


def textbook(config: Config, images: np.ndarray, device: torch.device) -> Iterator[None]:
    """One step each time it is asked."""
    convolve_plainly()
    netG, netD = build_generator(config).to(device), build_discriminator(config).to(device)
    betas = (config.beta1, config.beta2)
    optimizerG = torch.optim.Adam(netG.parameters(), lr=config.learning_rate, betas=betas)
    optimizerD = torch.optim.Adam(netD.parameters(), lr=config.learning_rate, betas=betas)
    criterion = nn.BCEWithLogitsLoss()
    loader = DataLoader(Pictures(images), config.batch_size, shuffle=True, drop_last=True, num_workers=2,
                        persistent_workers=True)  # fmt: skip
    ones, zeros = torch.ones(config.batch_size, device=device), torch.zeros(config.batch_size, device=device)
    while True:
        for real in loader:
            netD.zero_grad()
            errD_real = criterion(netD(real.to(device)), ones * (1 - config.label_smoothing))
            errD_real.backward()
            fake = netG(sample_prior(config, config.batch_size, device=device))
            errD_fake = criterion(netD(fake.detach()), zeros)
            errD_fake.backward()
            optimizerD.step()
            netG.zero_grad()
            errG = criterion(netD(fake), ones)
            errG.backward()
            optimizerG.step()
            errD_real.item(), errD_fake.item(), errG.item()
            yield


def convolve_plainly() -> None:
    """By torch's own convolutions from now on, in this whole process."""
    Down.forward, Up.forward = nn.Conv2d.forward, nn.ConvTranspose2d.forward  # type: ignore[method-assign]


def ours(config: Config, images: np.ndarray, device: torch.device) -> Iterator[None]:
    """As `python -m ganlab train` does it."""
    keep_memory()
    yield from steps_of(Trainer(config, torch.from_numpy(images).to(device)))


def without_detours(config: Config, images: np.ndarray, device: torch.device) -> Iterator[None]:
    """The same on torch's own convolutions, and with memory as the C library has it."""
    convolve_plainly()
    yield from steps_of(Trainer(config, torch.from_numpy(images).to(device)))


def steps_of(trainer: Trainer) -> Iterator[None]:
    torch.set_flush_denormal(True)
    while True:
        trainer.train_step()
        yield


@contextmanager
def in_turns(
    loop: Callable[..., Iterator[None]], config: Config, device: torch.device
) -> Iterator[Callable[[float], float]]:
    """The loop in a process of its own: what lets it work for so many seconds, and gives its images a second."""
    spawn = multiprocessing.get_context("spawn")
    mine, other = spawn.Pipe()
    process = spawn.Process(target=_obey, args=(other, loop, config, device))
    process.start()
    other.close()  # so that a process that failed is noticed here

    def turn(seconds: float) -> float:
        mine.send(seconds)
        return mine.recv()

    try:
        yield turn
    finally:
        mine.close()
        process.join()


def _obey(other: Connection, loop: Callable[..., Iterator[None]], config: Config, device: torch.device) -> None:
    steps = loop(config, pictures(config), device)
    with suppress(EOFError):
        while True:
            other.send(images_per_s(steps, config.batch_size, other.recv(), device))


def images_per_s(loop: Iterator[None], batch_size: int, seconds: float, device: torch.device) -> float:
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(loop)
        steps += 1
    if device.type == "cuda":
        torch.cuda.synchronize()
    return steps * batch_size / (time.perf_counter() - start)


def pictures(config: Config) -> np.ndarray:
    if config.image_size == 28:
        return open_dataset("mnist-5k").images
    shape = (5000, config.image_size, config.image_size, config.channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def config_of(name: str) -> Config:
    """Of the preset, with names for the classes that its data would bring."""
    config = preset(name)
    return config.replace(classes=[str(i) for i in range(10)]) if config.conditioning != "none" else config


def compare(name: str, rounds: int, seconds: float, device: torch.device, compiled: bool, detours: bool) -> None:
    """Rows of one preset, at batch 128; ratios to the first."""
    config = config_of(name).replace(batch_size=128)
    loops: dict[str, tuple[Callable[..., Iterator[None]], Config]] = {"ganlab": (ours, config)}
    if detours:
        loops = {"without the detours": (without_detours, config), **loops}
    else:
        loops = {"textbook": (textbook, config), **loops}
        loops["ganlab, float32"] = ours, config.replace(precision="float32")
    if compiled:
        loops["ganlab, compiled"] = ours, config.replace(compile=True)
    speeds: dict[str, list[float]] = {key: [] for key in loops}
    with ExitStack() as stack:
        turns = {key: stack.enter_context(in_turns(loop, of, device)) for key, (loop, of) in loops.items()}
        for turn in turns.values():
            turn(2.0)  # warm-up
        for _ in range(rounds):
            for key, turn in turns.items():
                speeds[key].append(turn(seconds))
    first = speeds[next(iter(speeds))]
    for key, values in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(values, first, strict=True))
        print(f"| `{name}` | {key} | {statistics.median(values):,.0f} | {ratio:.2f}x |", flush=True)


def saving(name: str, device: torch.device) -> None:
    """What one save of the exact state and a snapshot costs, in steps."""
    config = preset(name).replace(batch_size=128)
    trainer = Trainer(config, torch.from_numpy(pictures(config)).to(device))
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(folder)

        def save() -> None:
            save_snapshot(run, trainer)
            save_state(run, trainer, 0.0)

        step_s, save_s = seconds_of(trainer.train_step, 20), seconds_of(save, 10)
        size = sum(file.stat().st_size for file in [*run.states(), *run.snapshots()][-2:]) / 1e6
    share = save_s / (config.save_every * step_s)
    print(f"| `{name}` | {1e3 * save_s:.0f} ms | {save_s / step_s:.1f} steps | {100 * share:.1f}% | {size:.0f} MB |")


def scoring(name: str, device: torch.device) -> None:
    """What a score costs at the preset's own batch and interval. The fastest of a few; on one thread by the processor's
    time, which others on the machine do not change."""
    config = config_of(name)
    images = pictures(config)
    scorer = scorer_of(config, images, DATASETS[config.data].classes, torch.get_num_threads())
    if scorer is None:
        print(f"| `{name}` | no feature network | | | |")
        return
    trainer = Trainer(config, torch.from_numpy(images).to(device))

    def score() -> None:
        scorer(to_uint8(trainer.fixed_samples(NUM)).transpose(0, 2, 3, 1))

    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    step_s = min(seconds_of(trainer.train_step, 3, clock) for _ in range(5))
    score_s = min(seconds_of(score, 1, clock) for _ in range(3))
    share = score_s / (config.score_every * step_s)
    print(f"| `{name}` | {1e3 * step_s:.1f} ms | {1e3 * score_s:,.0f} ms | {score_s / step_s:,.0f} steps | "
          f"{config.score_every:,} | {100 * share:.1f}% |", flush=True)  # fmt: skip


def seconds_of(act: Callable[[], None], times: int, clock: Callable[[], float] = time.perf_counter) -> float:
    act()
    start = clock()
    for _ in range(times):
        act()
    return (clock() - start) / times


def flops(name: str, device: torch.device) -> None:
    """Arithmetic achieved: matrix products and convolutions of a step, by torch's own counter, beside what one large
    matrix product of the same type achieves on this machine, which no step can do much better than."""
    config = config_of(name).replace(batch_size=128)
    trainer = Trainer(config, torch.from_numpy(pictures(config)).to(device))
    draws = trainer._draw()
    with FlopCounterMode(display=False) as counter:
        trainer._update(draws)
    loop = iter(trainer.train_step, object())
    images_per_s(loop, 1, 5.0, device)
    steps_per_s = images_per_s(loop, 1, 10.0, device)
    total, dtype = counter.get_total_flops(), torch.bfloat16 if trainer._bfloat16 else torch.float32
    achieved, most = total * steps_per_s / 1e9, product_gflops(device, dtype)
    print(f"| `{name}` | {total / 1e9:.1f} GFLOP | {steps_per_s:.2f} | {achieved:,.0f} GFLOP/s | {most:,.0f} GFLOP/s "
          f"({str(dtype).removeprefix('torch.')}) | {100 * achieved / most:.0f}% |", flush=True)  # fmt: skip


def product_gflops(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Of square matrix products."""
    a = torch.randn((size, size), device=device).to(dtype)
    for _ in range(3):
        a @ a
    return 2e-9 * size**3 * images_per_s(iter(lambda: a @ a, None), 1, 3.0, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each loop in each round")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--detours", action="store_true", help="against ganlab without its detours, instead")
    parser.add_argument("--scores", action="store_true", help="what scoring costs, instead")
    parser.add_argument("--flops", nargs="*", default=[], help="presets whose arithmetic to measure instead")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    keep_memory()
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {device} ({where}), batch 128")
    if arguments.flops:
        print("| preset | a step | steps/s | achieved | a matrix product | of that |\n|---|---|---|---|---|---|")
    for name in arguments.flops:
        flops(name, device)
    if arguments.flops:
        return
    if arguments.scores:
        print("| preset | a step | a score | as long as | every | of the training |\n|---|---|---|---|---|---|")
        for name in arguments.presets:
            scoring(name, device)
        return
    print("| preset | loop | images/s | ratio |\n|---|---|---|---|")
    for name in arguments.presets:
        compare(name, arguments.rounds, arguments.seconds, device, arguments.compile, arguments.detours)
    if arguments.detours:
        return
    print("\n| preset | a save | as long as | of the training | on disk |\n|---|---|---|---|---|")
    for name in arguments.presets:
        saving(name, device)


if __name__ == "__main__":
    assert Path("ganlab").is_dir(), "run it from the project's root"
    main()
