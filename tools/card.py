"""What the card of a released model says, and where each fact is taken from. See `tools.release`."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ganlab import catalog
from ganlab.errors import RunError, WeightsError
from ganlab.evaluate.report import Report
from ganlab.render import Model
from ganlab.rundir import RunDir, scored
from ganlab.weights import GENERATOR, load_arrays

FAMILIES = {
    "mlp": "Fully connected GAN (Goodfellow et al. 2014)",
    "dcgan": "DCGAN (Radford et al. 2015)",
    "sn-conv": "GAN with spectral norm (Miyato et al. 2018)",
    "sn-resnet": "Residual GAN with spectral norm (Miyato et al. 2018)",
}
DATA_SETS = {
    "mnist": "MNIST",
    "mnist-5k": "5,000 digits of MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
}
LICENCES = {
    "mnist": "MNIST: CC BY-SA 3.0, Y. LeCun, C. Cortes, C. Burges",
    "mnist-5k": "MNIST: CC BY-SA 3.0, Y. LeCun, C. Cortes, C. Burges",
    "fashion-mnist": "Fashion-MNIST: MIT, Zalando SE",
    "cifar10": "CIFAR-10: A. Krizhevsky 2009, no licence stated",
}
TIMED = 200  # pictures, one by one


def of_training(run: RunDir, step: int, command: str, hardware: str) -> dict[str, Any]:
    """What the run says of the snapshot of this step, after so many images and minutes; `chosen`: why this one.

    Raises RunError for a run on another device than the processor, where `hardware` does not say what that is.
    """
    config, status, rows = run.read_config(), run.read_status(), run.read_metrics()[0]
    if status.device not in ("", "cpu") and not hardware:
        raise RunError(f"{run.path} was trained on {status.device}: say by --hardware what that is.")
    _, _, facts = load_arrays(run.snapshot_file(step), kind=GENERATOR)
    scores = scored(rows)
    mine: Mapping[str, Any] = next((row for row in scores if row["step"] == step), {})
    newest = int(run.snapshots()[-1].stem)
    last = next((row for row in reversed(rows) if row["step"] <= step), {"seconds": 0.0})
    return {
        "title": f"{FAMILIES[config.model]} on {DATA_SETS[config.data]}",
        "data": config.data,
        "licence": LICENCES[config.data],
        "command": command,
        "seed": config.seed,
        "steps": step,
        "images": facts["images"],
        "epochs": round(facts["images"] / status.num_images, 2),
        "minutes": round(last["seconds"] / 60, 1),
        "hardware": hardware or f"{_threads(command)} of {_processor()}",
        "chosen": {
            "as": "best" if step == run.best_step() else "newest" if step == newest else "step",
            "of_steps": status.total_steps,
            "of_minutes": round(status.seconds / 60, 1),
            "of_scores": len(scores),
            "metric": mine.get("metric"),
            "score": mine.get("score"),
        },
        "last_tick": {key: round(last[key], 4) for key in ("loss_g", "loss_d", "d_real", "d_fake") if key in last},
        "samples": "samples.png: seeds 0 to 63, untruncated, not selected",
        "date": date.today().isoformat(),
    }


def of_files(name: str) -> dict[str, Any]:
    """What the files say: parameters, operations and milliseconds of a picture, and each file's size and SHA-256.

    `sha256` is the generator's: evaluations are kept by it.
    """
    model, folder = catalog.load(name), catalog.CHECKPOINTS / name
    paths = [folder / f"{kind}.safetensors" for kind in ("generator", "discriminator", "directions")]
    paths = [path for path in [*paths, folder / "samples.png", *catalog.history(name)] if path.is_file()]
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths
    }
    everything = [path for path in folder.rglob("*") if path.is_file() and path.name != "card.json"]
    return {
        "parameters": model.program.num_parameters,
        "flops": model.program.flops,
        "milliseconds": milliseconds(model),
        "timed_on": f"{_processor()}, one thread, onnxruntime {onnxruntime.__version__}",
        "bytes": sum(path.stat().st_size for path in everything),
        "sha256": files["generator.safetensors"]["sha256"],
        "files": files,
    }


def of_evaluation(report: Report) -> dict[str, Any]:
    """An evaluation's protocol and figures, each with its floor."""
    return {
        "extractor": report.extractor,
        "num": report.num,
        "seed": report.seed,
        "reference": {"data": report.data["name"], "split": report.data["split"], "num": report.data["num"]},
        "floor": report.data["floor"],
        "notes": list(report.notes),
        "metrics": {name: asdict(metric) for name, metric in report.metrics.items()},
    }


def weaknesses(name: str) -> list[str]:
    """Those that the card before names."""
    try:
        return catalog.read_card(name).get("weaknesses", [])
    except WeightsError:
        return []


def milliseconds(model: Model) -> float:
    """The median time that one picture takes, drawn alone on one thread."""
    seconds = []
    for seed in range(TIMED + 10):  # the first ones warm up
        z, y = model.z([seed]), model.labels_of([seed])
        start = time.perf_counter()
        model.generate(z, y)
        seconds.append(time.perf_counter() - start)
    return round(1000 * float(np.median(seconds[10:])), 3)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _threads(command: str) -> str:
    num = int(command.rpartition("--threads ")[2])
    return "one thread" if num == 1 else f"{num} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
