"""Train the feature networks that the metrics use: `python -m tools.train_features mnist|fashion-mnist|cifar10`.

A plain convolutional classifier: blocks of two 3x3 convolutions with batch norm, global max pooling, a linear layer.
Nesterov SGD with a triangular learning rate after David Page ("How to train your ResNet", 2018), label smoothing,
random shifts and, for clothes and CIFAR-10, mirrors by turns (Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024); the
first filters of CIFAR-10's whiten its patches. Batch norm is folded into the convolutions before the weights are
written, so that whoever reads them needs no torch. Whoever is interrupted types the same command.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ganlab.data import DATASETS, open_dataset
from ganlab.evaluate.features import FEATURES, FOLDER
from ganlab.files import write_atomic
from ganlab.trainer import has_bfloat16
from ganlab.weights import save_arrays

RECIPES: dict[str, dict] = {
    "mnist":         dict(name="mnistnet", widths=(16, 32, 64), epochs=12, batch=500, rate=0.3, flip=False, shift=2),
    "fashion-mnist": dict(name="fashionnet", widths=(32, 64, 128), epochs=14, batch=500, rate=0.3, flip=True, shift=2),
    "cifar10":       dict(name="cifarnet", widths=(64, 128, 256), epochs=24, batch=100, rate=0.1, flip=True, shift=2),
}  # fmt: skip
MOMENTUM, DECAY, SMOOTHING = 0.9, 5e-4, 0.1


class Net(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] -> logits (N, 10); `features` (N, widths[-1]) before the last layer."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        sizes = list(zip((channels, *widths), widths, strict=False))
        self.convs = nn.ModuleList(nn.Conv2d(k, m, 3, padding=1, bias=False) for n, m in sizes for k in (n, m))
        self.norms = nn.ModuleList(nn.BatchNorm2d(m) for _, m in sizes for _ in range(2))
        self.last = nn.Linear(widths[-1], 10, bias=False)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            x = F.max_pool2d(x, 2) if i % 2 == 0 else x
        return x.amax((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.features(x)).float() / 8  # a cooler start

    @torch.no_grad()
    def arrays(self) -> dict[str, np.ndarray]:
        """The weights as `ganlab.evaluate.features` reads them, in fp16, each norm at rest in the layer before it."""
        out = {"last.weight": self.last.weight / 8}
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            out[f"blocks.{i // 2}.{i % 2}.weight"] = conv.weight * scale[:, None, None, None]
            out[f"blocks.{i // 2}.{i % 2}.bias"] = norm.bias - norm.running_mean * scale
        return {name: tensor.numpy().astype(np.float16) for name, tensor in out.items()}


@torch.no_grad()
def whiten(conv: nn.Conv2d, images: torch.Tensor) -> None:
    """Begin with filters whose outputs are uncorrelated and of equal size on these pictures, each with both signs, as
    far as there are filters (Page 2018, patch whitening). They learn like the others."""
    patches = F.unfold(images[::25], 3)[:, :, ::16].transpose(1, 2).reshape(-1, conv.weight[0].numel())
    variances, directions = torch.linalg.eigh(torch.cov(patches.T.double()))
    filters = (directions / (variances + 1e-2).sqrt()).T.flip(0).float().reshape(-1, *conv.weight.shape[1:])
    filters = torch.cat([filters, -filters])[: len(conv.weight)]
    conv.weight[: len(filters)] = filters


def tensors(dataset: object) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).float().div(127.5).sub(1)  # type: ignore[attr-defined]
    return images.contiguous(memory_format=torch.channels_last), torch.from_numpy(dataset.labels)  # type: ignore[attr-defined]


def shifted(images: torch.Tensor, shift: int, random: torch.Generator) -> torch.Tensor:
    """Each picture moved by up to `shift` pixels each way; the border is mirrored."""
    n, _, h, w = images.shape
    padded = F.pad(images, (shift,) * 4, "reflect")
    dy, dx = torch.randint(2 * shift + 1, (2, n), generator=random)
    moved = torch.empty_like(images)
    for y in range(2 * shift + 1):
        for x in range(2 * shift + 1):
            which = (dy == y) & (dx == x)
            moved[which] = padded[which, :, y : y + h, x : x + w]
    return moved


def accuracy(net: Net, images: torch.Tensor, labels: torch.Tensor) -> float:
    net.eval()
    with torch.no_grad():
        hits = [(net(x).argmax(1) == y).sum() for x, y in zip(images.split(500), labels.split(500), strict=True)]
    return float(sum(hits)) / len(labels)  # type: ignore[arg-type]


def keep(
    file: Path, net: Net, optimiser: torch.optim.Optimizer, random: torch.Generator, epochs: int, minutes: float
) -> None:
    """What it takes to go on after so many epochs."""
    parts = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "random": random.get_state()}
    buffer = io.BytesIO()
    torch.save({**parts, "epochs": epochs, "minutes": minutes}, buffer)
    write_atomic(file, buffer.getvalue())


def load(file: Path, net: Net, optimiser: torch.optim.Optimizer, random: torch.Generator) -> tuple[int, float]:
    """Go back to what `keep` wrote: (epochs done, minutes so far)."""
    kept = torch.load(file, weights_only=True)
    net.load_state_dict(kept["net"])
    optimiser.load_state_dict(kept["optimiser"])
    random.set_state(kept["random"])
    return kept["epochs"], kept["minutes"]


def save(net: Net, data: str, accuracy: float, minutes: float, seed: int) -> None:
    recipe, arrays = RECIPES[data], net.arrays()
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    info = DATASETS[data]
    card = {
        "data": data,
        "classes": list(info.classes),
        "shape": [info.image_size, info.image_size, info.channels],
        "command": f"python -m tools.train_features {data} --seed {seed}",
        "epochs": recipe["epochs"],
        "minutes": round(minutes, 1),
        "test_accuracy": round(accuracy, 4),
        "parameters": sum(a.size for a in arrays.values()),
        "sha256": digest.hexdigest(),
    }
    FOLDER.mkdir(exist_ok=True)
    save_arrays(FOLDER / f"{recipe['name']}.safetensors", arrays, kind=FEATURES, facts=card)


def train(data: str, root: Path | None, seed: int) -> None:
    recipe = RECIPES[data]
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    shape = {"image_size": 32, "channels": 3} if data == "cifar10" else {}
    images, labels = tensors(open_dataset(data, data_root=root, **shape))
    test_images, test_labels = tensors(open_dataset(data, data_root=root, split="test", **shape))
    net = Net(images.shape[1], recipe["widths"])
    if images.shape[1] == 3:
        whiten(net.convs[0], images)  # type: ignore[arg-type]
    net = net.to(memory_format=torch.channels_last)
    steps = recipe["epochs"] * (len(images) // recipe["batch"])
    optimiser = torch.optim.SGD(
        net.parameters(), lr=recipe["rate"], momentum=MOMENTUM, nesterov=True, weight_decay=DECAY
    )
    mirrored = torch.rand(len(images), 1, 1, 1, generator=random) < 0.5
    state = Path(f"runs/{recipe['name']}-{seed}.pt")
    first, minutes = load(state, net, optimiser, random) if state.exists() else (0, 0.0)
    step, fast = first * (len(images) // recipe["batch"]), has_bfloat16(torch.device("cpu"))
    start = time.time() - 60 * minutes
    for epoch in range(first, recipe["epochs"]):
        net.train()
        moved = shifted(images, recipe["shift"], random)
        if recipe["flip"]:
            moved = torch.where(mirrored ^ bool(epoch % 2), moved.flip(3), moved)
        for index in torch.randperm(len(images), generator=random).split(recipe["batch"]):
            optimiser.param_groups[0]["lr"] = recipe["rate"] * float(np.interp(step / steps, [0, 0.25, 1], [0, 1, 0]))
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                logits = net(moved[index])
            loss = F.cross_entropy(logits, labels[index], label_smoothing=SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
        minutes, share = (time.time() - start) / 60, accuracy(net, test_images, test_labels)
        print(f"epoch {epoch + 1}: {100 * share:.2f}% of the test pictures, {minutes:.1f} minutes", flush=True)
        keep(state, net, optimiser, random, epoch + 1, minutes)
    save(net, data, share, minutes, seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=RECIPES)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(arguments.data, arguments.data_root, arguments.seed)
