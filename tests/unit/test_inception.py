"""FID through torch-fidelity, held against that tool itself on PNG files, with one file of random weights for both."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_generator
from PIL import Image

from ganlab import inception
from ganlab.data import open_dataset
from ganlab.errors import ConfigError, WeightsError
from ganlab.inception import inception_distance
from ganlab.render import load_model

NUM = 24


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inception as it is before it has learnt anything."""
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    file = tmp_path_factory.mktemp("weights") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["64"])
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An early layer: the root of a 2048 x 2048 matrix takes half a minute, and the pictures go the same way."""
    monkeypatch.setattr(inception, "FEATURES", "64")


def colours(folder: Path, num: int, size: int) -> Path:
    """A data set of small pictures of which every corner and channel matters."""
    folder.mkdir()
    for i, image in enumerate(np.random.default_rng(1).integers(0, 256, (num, size, size, 3), np.uint8)):
        image[: i % size, :, i % 3] //= 3
        Image.fromarray(image).save(folder / f"{i:03d}.png")
    return folder


def pngs(folder: Path, images: np.ndarray) -> str:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(folder / f"{i:03d}.png")
    return str(folder)


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28)])
def test_the_answer_is_that_of_torch_fidelity(channels: int, size: int, tmp_path: Path, weights: Path) -> None:
    import torch_fidelity

    data = colours(tmp_path / "data", 30, size)
    shape = {"image_size": size, "channels": channels}
    model = load_model(write_generator(tmp_path / "tiny.safetensors", data=str(data), **shape))
    found = inception_distance(model, num=NUM, seed=5, weights=weights)
    fake, real = model.sample(NUM, 5), open_dataset(str(data), **shape).images
    expected = torch_fidelity.calculate_metrics(
        input1=pngs(tmp_path / "fake", fake), input2=pngs(tmp_path / "real", real), fid=True, feature_layer_fid="64",
        feature_extractor_weights_path=str(weights), cuda=False, cache=False, verbose=False, save_cpu_ram=True,
        batch_size=7,
    )["frechet_inception_distance"]  # fmt: skip
    assert found["value"] == pytest.approx(expected, rel=1e-3) and found["value"] > 1e-3
    assert (found["metric"], found["num"], found["num_real"]) == (f"fid_inception_{NUM}_train", NUM, 30)
    assert bool(found["notes"]) == (channels == 1)  # the warning about grey pictures
    assert all("photographs" in note for note in found["notes"])


def test_the_answer_is_kept(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = colours(tmp_path / "data", 8, 32)
    options = {"data": str(data), "image_size": 32, "channels": 3}
    model = load_model(write_generator(tmp_path / "tiny.safetensors", **options))
    shares: list[float] = []
    found = inception_distance(model, num=8, weights=weights, progress=lambda doing, share: shares.append(share))
    assert shares == sorted(shares) and len(shares) > 16
    monkeypatch.setattr(inception, "generate", None)  # whoever computes again fails
    assert inception_distance(model, num=8, weights=weights) == found
    for file in (inception.cache.writable(tmp_path) / "inception").glob("*.json"):
        file.write_text("{")
    with pytest.raises(TypeError):
        inception_distance(model, num=8, weights=weights)


def test_the_data_is_looked_at_once(tmp_path: Path, weights: Path) -> None:
    data = colours(tmp_path / "data", 8, 32)
    options = {"data": str(data), "image_size": 32, "channels": 3}
    models = [load_model(write_generator(tmp_path / f"{seed}.safetensors", seed, **options)) for seed in (0, 1)]
    heard: list[str] = []
    inception_distance(models[0], num=8, weights=weights, progress=lambda doing, share: heard.append(doing))
    assert "looking at the training pictures" in heard
    heard.clear()
    second = inception_distance(models[1], num=8, weights=weights, progress=lambda doing, share: heard.append(doing))
    assert "looking at the training pictures" not in heard and "looking at the generated pictures" in heard
    for file in (inception.cache.writable(tmp_path) / "inception").iterdir():
        file.unlink()
    assert inception_distance(models[1], num=8, weights=weights) == second  # from what was kept, as afresh


def test_50000_pictures_are_named_as_papers_name_them() -> None:
    assert inception.NUM == 50_000 and inception.protocol("inception", inception.NUM) == "inception_50k"


def test_without_torch_fidelity_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(write_generator(tmp_path / "tiny.safetensors"))
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ConfigError, match="pip install torch-fidelity"):
        inception_distance(model)


def test_without_a_network_it_says_which_file_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(write_generator(tmp_path / "tiny.safetensors"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def fails(url: str, *_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    with pytest.raises(WeightsError, match="no network") as caught:
        inception_distance(model)
    text = str(caught.value)
    assert "weights-inception-2015-12-05-6726825d.pth" in text and "--inception-weights" in text
    assert "https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0" in text
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in text


class Attack:
    def __reduce__(self) -> tuple:
        return print, ("code ran",)


def test_a_file_in_which_code_hides_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(write_generator(tmp_path / "tiny.safetensors"))
    torch.save({"fc.weight": Attack()}, tmp_path / "attack.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("attack", "text"):
        with pytest.raises(WeightsError, match=f"{name}.pth holds no weights, or more than weights"):
            inception_distance(model, weights=tmp_path / f"{name}.pth")
    assert capsys.readouterr().out == ""
