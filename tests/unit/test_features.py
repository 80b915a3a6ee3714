"""Feature networks: what is written is what was trained, and it knows digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganlab.data import open_dataset
from ganlab.errors import WeightsError
from ganlab.evaluate.features import FeatureNet, feature_net
from tools.train_features import Net


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


def test_mnistnet_reads_the_bundled_digits() -> None:
    data, net = open_dataset("mnist-5k"), feature_net("mnistnet", 1)
    features, logits = net.look(data.images[::5])
    assert features.shape == (1000, 64) and net.classes == data.classes
    assert (logits.argmax(1) == data.labels[::5]).mean() > 0.99
    assert net.card["test_accuracy"] > 0.994


def test_pictures_that_it_can_not_look_at_are_refused() -> None:
    with pytest.raises(WeightsError, match="mnistnet looks at uint8"):
        feature_net("mnistnet", 1).look(np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(WeightsError, match="There is no file"):
        feature_net("facenet")
