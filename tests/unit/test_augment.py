"""Augmentations against a slow restatement, pixel by pixel, that replays the drawn numbers; and against invariants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ganlab.augment import POLICIES, brightness, contrast, cutout, diffaugment, flip, saturation, translation

SHAPES = [(5, 3, 16, 16), (4, 1, 28, 28), (3, 3, 12, 9), (2, 2, 5, 7)]
ORDERS = [*((name,) for name in POLICIES), POLICIES, POLICIES[::-1]]


def batch(n: int, c: int, h: int, w: int) -> torch.Tensor:
    return torch.rand(n, c, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(7)) * 2 - 1


def half_up(x: float) -> int:
    return int(np.floor(x + 0.5))


def slow(images: torch.Tensor, policy: Sequence[str]) -> np.ndarray:
    """DiffAugment as its paper's code words it (mit-han-lab/data-efficient-gans), a picture and a pixel at a time."""
    x = images.numpy().copy()
    n, c, h, w = x.shape

    def uniform() -> np.ndarray:
        return torch.rand(n, 1, 1, 1, dtype=images.dtype).flatten().numpy()

    def whole(low: int, high: int) -> list[int]:
        return torch.randint(low, high + 1, (n, 1)).flatten().tolist()

    for name in policy:
        if name == "color":
            x += uniform()[:, None, None, None] - 0.5
            if c > 1:
                for i, u in enumerate(uniform()):
                    grey = x[i].mean(0)
                    x[i] = [(channel - grey) * 2 * u + grey for channel in x[i]]
            for i, u in enumerate(uniform()):
                x[i] = (x[i] - x[i].mean()) * (u + 0.5) + x[i].mean()
            continue
        old = x.copy()
        if name == "translation":
            far = half_up(h / 8), half_up(w / 8)
            up, left = whole(-far[0], far[0]), whole(-far[1], far[1])
            for i, row, column in np.ndindex(n, h, w):
                r, s = row + up[i], column + left[i]
                x[i, :, row, column] = old[i, :, r, s] if 0 <= r < h and 0 <= s < w else 0
        if name == "cutout":
            size = half_up(h / 2), half_up(w / 2)
            middle = whole(0, h - size[0] % 2), whole(0, w - size[1] % 2)
            for i, row, column in np.ndindex(n, *size):
                r, s = row + middle[0][i] - size[0] // 2, column + middle[1][i] - size[1] // 2
                x[i, :, min(max(r, 0), h - 1), min(max(s, 0), w - 1)] = 0
    return x


@pytest.mark.parametrize("policy", ORDERS, ids="+".join)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
def test_the_slow_way_gives_the_same(
    shape: tuple[int, int, int, int], policy: tuple[str, ...], layout: torch.memory_format
) -> None:
    images = batch(*shape)
    before = images.clone()
    torch.manual_seed(3)
    found = diffaugment(images.contiguous(memory_format=layout), policy)
    torch.manual_seed(3)
    assert found.shape == images.shape and found.dtype == images.dtype
    np.testing.assert_allclose(found.numpy(), slow(images, policy), rtol=0, atol=1e-12)
    assert torch.equal(images, before)


def test_policies() -> None:
    assert POLICIES == ("color", "translation", "cutout")
    images = batch(2, 3, 8, 8)
    assert diffaugment(images, ()) is images
    with pytest.raises(KeyError, match="colour"):
        diffaugment(images, ("colour",))


def test_each_seed_its_own_draw() -> None:
    images = batch(*SHAPES[0])
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(diffaugment(images, POLICIES))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def spread(numbers: torch.Tensor, low: float, high: float) -> bool:
    """Whether these numbers fill [low, high], none outside, evenly to its middle."""
    rim = 0.02 * (high - low)
    inside = low - 1e-9 <= numbers.min() < low + rim and high - rim < numbers.max() <= high + 1e-9
    return bool(inside) and abs(numbers.mean().item() - (low + high) / 2) < rim


def test_brightness_adds_one_number_a_picture() -> None:
    images = batch(2000, 3, 2, 2)
    torch.manual_seed(0)
    added = brightness(images) - images
    torch.testing.assert_close(added, added[:, :1, :1, :1].expand_as(added))
    assert spread(added[:, 0, 0, 0], -0.5, 0.5)


def test_contrast_keeps_the_mean_of_a_picture() -> None:
    images = batch(2000, 3, 2, 2)
    torch.manual_seed(0)
    found = contrast(images)
    torch.testing.assert_close(found.mean((1, 2, 3)), images.mean((1, 2, 3)))
    assert spread(found.flatten(1).std(1) / images.flatten(1).std(1), 0.5, 1.5)


def test_saturation_keeps_the_grey_of_a_pixel() -> None:
    images = batch(2000, 3, 2, 2)
    torch.manual_seed(0)
    found = saturation(images)
    torch.testing.assert_close(found.mean(1), images.mean(1))
    assert spread((found.std(1) / images.std(1)).amax((1, 2)), 0, 2)
    grey = batch(5, 1, 4, 4)
    assert torch.equal(saturation(grey), grey)


@pytest.mark.parametrize(("h", "w", "down", "right"), [(16, 16, 2, 2), (28, 32, 4, 4), (8, 40, 1, 5), (3, 12, 0, 2)])
def test_translation_moves_an_eighth_at_most(h: int, w: int, down: int, right: int) -> None:
    """A dot in the middle is found again at every offset in range, and the way out is filled with zeros."""
    images = torch.zeros(3000, 1, h, w)
    images[:, 0, h // 2, w // 2] = 1
    torch.manual_seed(0)
    _, _, rows, columns = translation(images).nonzero(as_tuple=True)
    assert len(rows) == 3000
    assert sorted(set((rows - h // 2).tolist())) == list(range(-down, down + 1))
    assert sorted(set((columns - w // 2).tolist())) == list(range(-right, right + 1))
    kept = translation(torch.ones(500, 1, h, w)).sum((1, 2, 3))
    assert kept.min() == (h - down) * (w - right) and kept.max() == h * w


def test_cutout_zeroes_half_the_size() -> None:
    torch.manual_seed(0)
    zeroed = cutout(torch.ones(3000, 3, 16, 12)) == 0
    assert torch.equal(zeroed.any(1), zeroed.all(1))
    rows, columns = zeroed[:, 0].any(2).sum(1), zeroed[:, 0].any(1).sum(1)
    assert torch.equal(zeroed[:, 0].sum((1, 2)), rows * columns)  # a box
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 8, 3, 6)  # half of it may lie outside
    assert zeroed[:, 0].any(0).all()


@pytest.mark.parametrize("policy", ORDERS, ids="+".join)
def test_gradients_flow(policy: tuple[str, ...]) -> None:
    """First derivatives for G's loss, second ones for penalties on D's slope."""

    def changed(images: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(11)
        return diffaugment(images, policy).sin()  # so that the second derivative is none of zero

    images = batch(2, 3, 4, 5).requires_grad_()
    assert torch.autograd.grad(changed(images).sum(), images)[0].abs().sum() > 1
    assert torch.autograd.gradcheck(changed, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(changed, images, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_type_stays(dtype: torch.dtype) -> None:
    images = batch(2, 3, 8, 8).to(dtype)
    assert diffaugment(images, POLICIES).dtype == dtype


def test_flip_mirrors_the_chosen() -> None:
    images = batch(3, 2, 4, 5)
    found = flip(images, torch.tensor([True, False, True]))
    expected = np.stack([images[0].numpy()[:, :, ::-1], images[1].numpy(), images[2].numpy()[:, :, ::-1]])
    np.testing.assert_array_equal(found.numpy(), expected)
    leaf = images.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: flip(x, torch.tensor([True, False, True])), leaf)
