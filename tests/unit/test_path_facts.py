"""Facts along a path, against what they are by hand."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import write_generator
from scipy.special import softmax

from ganlab import latent
from ganlab.data import open_dataset
from ganlab.evaluate.extractors import Extractor, choose
from ganlab.path_facts import extractor_of, path_facts
from ganlab.render import load_model


@pytest.fixture
def model(tmp_path):
    return load_model(write_generator(tmp_path / "a.safetensors", num_classes=3))


def test_each_frame_by_hand(model):
    z, y = latent.path(model.z([1, 2]), 5), latent.class_path(0, 2, 3, 5)
    extractor = choose("mnist-5k", (28, 28, 1), ())
    heard = []

    def verdict(images, labels):
        heard.append((images, labels))
        return np.arange(5.0)

    facts = path_facts(model, z, y, extractor=extractor, verdict=verdict)
    images = np.concatenate([model.generate(z[i : i + 1], y[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(facts.images, images)
    np.testing.assert_allclose(facts.norms, [np.sqrt((row.astype(float) ** 2).sum()) for row in z])
    features, logits = extractor.net.look(images)
    probabilities = softmax(logits.astype(float), axis=1)
    assert facts.classes == tuple(extractor.net.classes[i] for i in probabilities.argmax(1))
    np.testing.assert_allclose(facts.confidence, probabilities.max(1), rtol=1e-5)
    for i in range(1, 5):
        a, b = images[i - 1].astype(float) / 255, images[i].astype(float) / 255
        assert facts.steps[i] == pytest.approx(np.sqrt(((a - b) ** 2).mean()))
        assert facts.feature_steps[i] == pytest.approx(np.sqrt(((features[i] - features[i - 1]) ** 2).sum()), rel=1e-4)
    assert facts.steps[0] == facts.feature_steps[0] == 0
    np.testing.assert_array_equal(facts.verdicts, np.arange(5.0))
    np.testing.assert_array_equal(heard[0][0], images)
    np.testing.assert_array_equal(heard[0][1], y)


def test_a_network_of_other_data_names_no_classes(model):
    net = choose("mnist-5k", (28, 28, 1), ()).net
    facts = path_facts(model, model.z([1, 2]), [0, 0], extractor=Extractor("mnistnet", net, own=False))
    assert facts.classes is None and facts.confidence is None and facts.feature_steps is not None
    facts = path_facts(model, model.z([1, 2]), [0, 0])
    assert facts[3:] == (None, None, None, None)


def test_the_network_of_a_model(tmp_path, model):
    assert extractor_of(model).name == "mnistnet" and extractor_of(model).own
    coloured = load_model(write_generator(tmp_path / "b.safetensors", data="mine", channels=3))
    assert extractor_of(coloured) is None  # 28 pixels in colour


def test_real_digits_are_known_for_sure():
    digits = open_dataset("mnist-5k")
    extractor = choose("mnist-5k", (28, 28, 1), ())
    _, classes, confidence = extractor.judge(digits.images[::50])
    assert (classes == digits.labels[::50]).mean() > 0.95 and np.median(confidence) > 0.85  # it learnt smoothed labels
    assert (confidence <= 1).all() and (confidence >= 0.1).all()


def test_of_stacked_digits_all_three_must_be_right():
    digits = open_dataset("mnist-5k")
    colours = np.concatenate([digits.images[:30], digits.images[30:60], digits.images[60:90]], axis=3)
    stacked = choose("stacked-mnist", (28, 28, 3), ())
    _, classes, confidence = stacked.judge(colours)
    plain = choose("mnist-5k", (28, 28, 1), ())
    single = [plain.judge(np.ascontiguousarray(colours[..., i : i + 1])) for i in range(3)]
    np.testing.assert_allclose(confidence, np.prod([s[2] for s in single], axis=0), rtol=1e-4)
    np.testing.assert_array_equal(classes, single[0][1] * 100 + single[1][1] * 10 + single[2][1])
