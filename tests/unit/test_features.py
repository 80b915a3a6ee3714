"""Feature networks: what is written is what was trained, and it knows digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import REAL

from ganlab.data import DATASETS, is_on_disk, open_dataset
from ganlab.errors import WeightsError
from ganlab.evaluate.features import FeatureNet, feature_net
from tools.train_features import Net, whiten


def test_the_written_network_is_the_trained_one_with_its_norms_folded_in() -> None:
    torch.manual_seed(0)
    net = Net(3, (4, 8, 16)).eval()
    for norm in net.norms:
        torch.nn.init.uniform_(norm.weight, -1, 1)  # also below 0, where a norm does not commute with pooling
        torch.nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), np.uint8)
    card = {"sha256": "0", "classes": list("0123456789"), "shape": [32, 32, 3]}
    written = FeatureNet("net", {name: a.astype(np.float32) for name, a in net.arrays().items()}, card, 1)
    features, logits = written.look(images)
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = net.features(floats)
        np.testing.assert_allclose(features, expected, atol=2e-2 * float(expected.abs().max()))  # fp16 weights
        np.testing.assert_allclose(logits, net(floats), atol=2e-2 * float(net(floats).abs().max()))


def test_the_first_filters_see_uncorrelated_things_of_equal_size() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.nn.functional.avg_pool2d(torch.randn((2000, 3, 32, 32), generator=random), 3, 1, 1)  # correlated
    conv = torch.nn.Conv2d(3, 64, 3, bias=False)
    before = conv.weight.detach().clone()
    whiten(conv, images * torch.tensor([3.0, 2.0, 1.0])[:, None, None])
    seen = conv(images * torch.tensor([3.0, 2.0, 1.0])[:, None, None]).detach().transpose(0, 1).flatten(1)
    covariance = torch.cov(seen[:12])  # of the largest directions; the smallest are damped
    torch.testing.assert_close(covariance, torch.eye(12), atol=0.1, rtol=0)
    assert torch.equal(conv.weight[27:54], -conv.weight[:27]) and torch.equal(conv.weight[54:], before[54:])


def test_mnistnet_reads_the_bundled_digits() -> None:
    data, net = open_dataset("mnist-5k"), feature_net("mnistnet", 1)
    features, logits = net.look(data.images[::5])
    assert features.shape == (1000, 64) and net.classes == data.classes
    assert (logits.argmax(1) == data.labels[::5]).mean() > 0.99
    assert net.card["test_accuracy"] > 0.994


@pytest.mark.parametrize(
    ("name", "data", "at_least"),
    [("mnistnet", "mnist", 0.994), ("fashionnet", "fashion-mnist", 0.93), ("cifarnet", "cifar10", 0.92)],
)
def test_networks_read_the_test_pictures_as_well_as_their_cards_say(name: str, data: str, at_least: float) -> None:
    if not is_on_disk(data, REAL):
        pytest.skip(f"{data} is not in {REAL} (set GANLAB_DATA)")
    info, net = DATASETS[data], feature_net(name, 1)
    test = open_dataset(data, image_size=info.image_size, channels=info.channels, data_root=REAL, split="test")
    share = float((net.look(test.images)[1].argmax(1) == test.labels).mean())
    assert share == pytest.approx(net.card["test_accuracy"], abs=0.002)  # fp16 weights, other sums
    assert share >= at_least


def test_pictures_that_it_can_not_look_at_are_refused() -> None:
    with pytest.raises(WeightsError, match="mnistnet looks at uint8"):
        feature_net("mnistnet", 1).look(np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(WeightsError, match="There is no file"):
        feature_net("facenet")
