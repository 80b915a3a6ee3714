"""Augmentations on the device, of whole batches: pictures (N, C, H, W) in [-1, 1], differentiable, one draw a picture.

DiffAugment: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv:2006.10738. Both the
real and the generated pictures are changed before D sees them, and G learns through the change. Random numbers come
from torch's global generator on the pictures' device. Results may leave [-1, 1], as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


def diffaugment(images: torch.Tensor, policy: Sequence[str]) -> torch.Tensor:
    """Change each picture at random, by the named policies in the order given.

    Arguments:
        images: (N, C, H, W), floating point.
        policy: any of `POLICIES`; none leaves the pictures as they are.

    Returns:
        Pictures of the same shape and type.
    """
    for name in policy:
        for change in CHANGES[name]:
            images = change(images)
    return images


def flip(images: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Mirror left and right those pictures (N, C, H, W) for which the bool `which` (N,) is true."""
    return torch.where(which[:, None, None, None], images.flip(3), images)


def brightness(images: torch.Tensor) -> torch.Tensor:
    """Add a number in [-0.5, 0.5) to each picture."""
    return images + (_uniform(images) - 0.5)


def saturation(images: torch.Tensor) -> torch.Tensor:
    """Scale each pixel's distance from its own grey by a factor in [0, 2). Grey pictures (C = 1) stay as they are."""
    if images.shape[1] == 1:
        return images
    grey = images.mean(1, keepdim=True)
    return (images - grey) * (_uniform(images) * 2) + grey


def contrast(images: torch.Tensor) -> torch.Tensor:
    """Scale each pixel's distance from its picture's mean by a factor in [0.5, 1.5)."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (_uniform(images) + 0.5) + mean


def translation(images: torch.Tensor) -> torch.Tensor:
    """Move each picture by whole pixels, at most an eighth of its size (rounded) each way; zeros move in."""
    n, c, h, w = images.shape
    rows = torch.arange(h, device=images.device) + _integers(images, -_part(h, 8), _part(h, 8))  # (N, H): taken from
    columns = torch.arange(w, device=images.device) + _integers(images, -_part(w, 8), _part(w, 8))  # (N, W)
    inside = _box((rows >= 0) & (rows < h), (columns >= 0) & (columns < w))
    # Moved round in a circle first: so no pixel is read twice, and its gradient is no sum in an order left to chance.
    pixels = (rows % h)[:, :, None] * w + (columns % w)[:, None, :]  # (N, H, W)
    flat = images.permute(0, 2, 3, 1).reshape(n, h * w, c)  # a view, where the pictures are channels_last
    moved = flat.gather(1, pixels.view(n, h * w, 1).expand(-1, -1, c)).view(n, h, w, c).permute(0, 3, 1, 2)
    return moved.masked_fill(~inside, 0)


def cutout(images: torch.Tensor) -> torch.Tensor:
    """Zero a box of half the height and width (rounded) in each picture. Its centre is inside, a part may not be."""
    h, w = images.shape[2:]
    inside = []
    for size in (h, w):
        length = _part(size, 2)
        start = _integers(images, 0, size - length % 2) - length // 2  # (N, 1)
        place = torch.arange(size, device=images.device)
        inside.append((place >= start) & (place < start + length))
    return images.masked_fill(_box(*inside), 0)


def _uniform(images: torch.Tensor) -> torch.Tensor:
    """A number in [0, 1) a picture: (N, 1, 1, 1)."""
    return torch.rand(images.shape[0], 1, 1, 1, dtype=images.dtype, device=images.device)


def _integers(images: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """A whole number in [low, high] a picture: (N, 1)."""
    return torch.randint(low, high + 1, (images.shape[0], 1), device=images.device)


def _part(size: int, divisor: int) -> int:
    """size / divisor, rounded, halves up."""
    return (2 * size + divisor) // (2 * divisor)


def _box(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The pixels in both the marked rows (N, H) and the marked columns (N, W): (N, 1, H, W)."""
    return (rows[:, :, None] & columns[:, None, :])[:, None]


CHANGES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], ...]] = {
    "color": (brightness, saturation, contrast),
    "translation": (translation,),
    "cutout": (cutout,),
}
POLICIES = tuple(CHANGES)
