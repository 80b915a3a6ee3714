"""Make a released model of a finished run: `python -m tools.release RUN --name NAME`.

Writes checkpoints/NAME: generator.safetensors (the averaged generator, fp16), config.json, card.json, samples.png, and
evaluations/: how good it is, for those who have not the data. Without RUN only the evaluation is made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import re
import shutil
from datetime import date
from pathlib import Path

import numpy as np

from ganlab import catalog, export, render
from ganlab.config import to_dict
from ganlab.evaluate.measure import evaluate
from ganlab.files import write_atomic
from ganlab.rundir import RunDir

FAMILIES = {
    "mlp": "Fully connected GAN (Goodfellow et al. 2014)",
    "dcgan": "DCGAN (Radford et al. 2015)",
    "sn-conv": "GAN with spectral norm (Miyato et al. 2018)",
    "sn-resnet": "Residual GAN with spectral norm (Miyato et al. 2018)",
}
DATA_SETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
LICENCES = {
    "mnist": "MNIST: CC BY-SA 3.0, Y. LeCun, C. Cortes, C. Burges",
    "fashion-mnist": "Fashion-MNIST: MIT, Zalando SE",
    "cifar10": "CIFAR-10: A. Krizhevsky 2009, no licence stated",
}


def release(run: RunDir, name: str) -> Path:
    """Write checkpoints/NAME from the newest snapshot of `run`."""
    status, config, last = run.read_status(), run.read_config(), run.read_metrics()[0][-1]
    threads = run.read_events()[0]["threads"]
    folder = catalog.CHECKPOINTS / name
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "generator.safetensors"
    shutil.copyfile(catalog.find(run.path), weights)
    model = render.load_model(weights, name)
    card = {
        "title": f"{FAMILIES[config.model]} on {DATA_SETS[config.data]}",
        "data": config.data,
        "licence": LICENCES[config.data],
        "command": f"python -m ganlab train --preset {name} --seed {config.seed} --threads {threads}",
        "seed": config.seed,
        "steps": model.facts["step"],
        "images": model.facts["images"],
        "epochs": round(model.facts["images"] / status.num_images, 2),
        "minutes": round(status.seconds / 60, 1),
        "hardware": f"2 cores of {_processor()}, other work beside it",
        "parameters": model.program.num_parameters,
        "last_tick": {key: round(last[key], 4) for key in ("loss_g", "loss_d", "d_real", "d_fake")},
        "samples": "samples.png: seeds 0 to 63, untruncated, not selected",
        "date": date.today().isoformat(),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    write_atomic(folder / "config.json", (json.dumps(to_dict(config), indent=2) + "\n").encode())
    write_atomic(folder / "card.json", (json.dumps(card, indent=2) + "\n").encode())
    export.save_image(folder / "samples.png", render.grid(model.sample(64)))
    return folder


def measure(name: str) -> Path:
    """Write checkpoints/NAME/evaluations, in place of what is there; takes the data, and a minute or two."""
    kept = catalog.CHECKPOINTS / name / "evaluations"
    shutil.rmtree(kept, ignore_errors=True)
    report = evaluate(catalog.load(name))
    write_atomic(kept / report.folder.name / "result.json", (report.folder / "result.json").read_bytes())
    write_atomic(kept / report.folder.name / "pictures.npz", with_one_neighbour(report.pictures()))
    return kept


def with_one_neighbour(pictures: dict[str, np.ndarray]) -> bytes:
    """The pictures of an evaluation with the nearest training picture of each alone: a few, not a part of the data."""
    kept = {
        name: array[:, :1] if re.match("(wall|best|strangest)_(pixels|features)", name) else array
        for name, array in pictures.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **kept)  # type: ignore[arg-type]
    return buffer.getvalue()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    if arguments.run is not None:
        print(release(RunDir(arguments.run), arguments.name))
    print(measure(arguments.name))
