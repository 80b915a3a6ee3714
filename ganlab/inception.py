"""FID as papers report it: Inception features, through torch-fidelity, whose answer it is to the last digit.

Not to be set beside figures of other networks, and kept apart from them.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganlab.data import cache, identity, open_dataset, root_of
from ganlab.errors import ConfigError, WeightsError
from ganlab.evaluate.generate import Progress, generate
from ganlab.evaluate.reference import keep_arrays, load_arrays
from ganlab.evaluate.report import digest, protocol, subject, to_json
from ganlab.files import write_atomic
from ganlab.render import Model

NUM = 50_000  # generated pictures, as papers have it
FEATURES = "2048"  # the last pooling layer, as papers have it
BATCH = 50
PROTOCOL = 1  # raised when the same inputs would give another figure
GREY = (
    "Inception learnt on photographs in colour. Of grey pictures, digits above all, its features say little, and this "
    "figure compares with those of other papers at most: the data's own network says more."
)


def inception_distance(
    model: Model,
    data: str = "",
    *,
    num: int = NUM,
    seed: int = 0,
    data_root: Path | None = None,
    weights: Path | None = None,
    num_threads: int = 0,
    progress: Progress = lambda doing, share: None,
) -> dict[str, Any]:
    """FID of `num` generated pictures against the whole training split, or the one that is kept.

    Heusel et al. 2017 (arXiv:1706.08500), by torch-fidelity: Inception v3 with the weights of the original, pictures
    scaled as TensorFlow 1 scales them. Arguments as for `ganlab.evaluate.measure.evaluate`; weights: a file of
    Inception's weights, where torch-fidelity's own can't be fetched.

    Returns metric (fid_inception_50k_train), value, model, sha256, data, num, num_real, seed, weights (their SHA-256)
    and notes, by these names.

    Raises ConfigError where torch-fidelity is missing or a number is impossible, WeightsError where the weights can't
    be had or are none, DataError for the data.
    """
    if num < 2 or seed < 0 or not model.sha256:
        raise ConfigError(f"num is {num} and seed {seed}; at least 2 and 0, of a model that comes from a file.")
    _expect_torch_fidelity()
    weights = weights or _published_weights()
    about, weights_hash = subject(model, data), _checked(weights)
    source = [PROTOCOL, FEATURES, weights_hash, identity(about.data, **about.options)]
    result = f"inception/{digest(*source, model.sha256, num, seed)}.json"
    for folder in cache.directories(root_of(data_root)):
        if (kept := _read(folder / result)) is not None:
            return {**kept, "model": model.name}
    progress("opening the pictures", 0.0)
    train = open_dataset(about.data, data_root=data_root, **about.options)
    made = generate(model, num, seed, train, lambda doing, share: progress(doing, 0.1 * share))
    if num_threads:
        torch.set_num_threads(num_threads)
    extractor = _Extractor(weights)
    fake = extractor.statistics(_Pictures(made.images, "looking at the generated pictures", progress, 0.1, 0.5))
    file = f"inception/{digest(*source)}.npz"
    real = load_arrays(file, data_root, {"mu", "sigma"})
    if real is None:
        real = extractor.statistics(_Pictures(train.images, "looking at the training pictures", progress, 0.5, 0.9))
        keep_arrays(file, real, data_root)
    progress("comparing them with the data", 0.9)
    found = {
        "metric": f"fid_{protocol('inception', num)}_train",
        "value": extractor.distance(fake, real),
        "model": model.name,
        "sha256": model.sha256,
        "data": train.name,
        "num": num,
        "num_real": len(train),
        "seed": seed,
        "weights": weights_hash,
        "notes": [GREY] if about.channels == 1 else [],
    }
    write_atomic(cache.writable(root_of(data_root)) / result, to_json(found))
    return found


class _Extractor:
    """torch-fidelity's Inception, and its arithmetic: the steps of its `calculate_metrics(fid=True)`, one by one, so
    that the data's statistics can be kept."""

    def __init__(self, weights: Path) -> None:
        from torch_fidelity import utils

        self.on_gpu = torch.cuda.is_available()
        self.network = utils.create_feature_extractor(
            "inception-v3-compat",
            [FEATURES],
            cuda=self.on_gpu,
            feature_extractor_weights_path=str(weights),
            verbose=False,
        )

    def statistics(self, pictures: _Pictures) -> dict[str, np.ndarray]:
        """Mean `mu` and covariance `sigma` of the features."""
        from torch_fidelity import metric_fid, utils

        # save_cpu_ram: no loader processes, for the pictures are in memory
        seen = utils.get_featuresdict_from_dataset(
            pictures, self.network, batch_size=BATCH, cuda=self.on_gpu, save_cpu_ram=True, verbose=False
        )
        return metric_fid.fid_features_to_statistics(seen[FEATURES])

    def distance(self, fake: dict[str, np.ndarray], real: dict[str, np.ndarray]) -> float:
        from torch_fidelity import metric_fid

        return float(metric_fid.fid_statistics_to_metric(fake, real, verbose=False)[metric_fid.KEY_METRIC_FID])


class _Pictures(torch.utils.data.Dataset):
    """Pictures uint8 (N, H, W, C) as torch-fidelity wants them: uint8 (3, H, W), grey in all three colours. Neither
    cropped nor scaled: that is the extractor's to do."""

    def __init__(self, images: np.ndarray, doing: str, progress: Progress, begin: float, end: float) -> None:
        self.images, self.doing, self.progress, self.begin, self.end = images, doing, progress, begin, end

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        self.progress(self.doing, self.begin + (self.end - self.begin) * index / len(self))
        return torch.from_numpy(self.images[index]).permute(2, 0, 1).expand(3, -1, -1).contiguous()


def _expect_torch_fidelity() -> None:
    try:
        import torch_fidelity  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"FID with Inception needs torch-fidelity, which can't be imported ({error}). Install it: "
            "pip install torch-fidelity, or in a checkout of ganlab pip install '.[inception]'."
        ) from None


def _published_weights() -> Path:
    """Those that papers use, where torch keeps what was fetched; fetched if need be."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / os.path.basename(URL_INCEPTION_V3)
    if file.is_file():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(file), progress=False)
    except OSError as error:
        page = URL_INCEPTION_V3.replace("/download/", "/tag/").rpartition("/")[0]
        raise WeightsError(
            f"Inception's weights could not be fetched ({error}). Fetch {file.name} from torch-fidelity's release page "
            f"({page}) and put it into {folder}, or give it as --inception-weights FILE."
        ) from None
    return file


def _checked(weights: Path) -> str:
    """SHA-256 of a file of weights that no code hides in: torch-fidelity would run it."""
    try:
        torch.load(weights, map_location="cpu", weights_only=True)
        return hashlib.sha256(weights.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise WeightsError(f"There is no file {weights}. Give torch-fidelity's file of Inception's weights.") from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        brief = " ".join(str(error).split())[:200]
        raise WeightsError(f"{weights} holds no weights, or more than weights: {brief}") from None


def _read(path: Path) -> dict[str, Any] | None:
    """A result that is kept; None if it is missing or damaged."""
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found["value"], float) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
