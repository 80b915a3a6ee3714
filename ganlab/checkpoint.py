"""Saving and finding the exact training state, and both networks as files that run without torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from ganlab.errors import RunError, WeightsError
from ganlab.rundir import RunDir
from ganlab.trainer import Trainer
from ganlab.weights import DISCRIMINATOR, GENERATOR, STATE, load_arrays, save_arrays


def save_state(run: RunDir, trainer: Trainer, seconds: float) -> None:
    """Write the exact state of this step, then drop all but the newest few: should one be damaged, an older one
    serves. A later one is there only if it is damaged."""
    arrays, counters = trainer.state()
    file = run.state_file(trainer.step)
    save_arrays(file, arrays, kind=STATE, config=trainer.config, facts={**counters, "seconds": seconds})
    kept = [f for f in run.states() if int(f.stem) <= trainer.step][-trainer.config.keep_states :]
    for other in set(run.states()) - set(kept):
        other.unlink()


def load_newest_state(run: RunDir, trainer: Trainer) -> float | None:
    """Bring `trainer` to the newest whole state of the run.

    Returns the seconds trained until then, or None if nothing was saved yet. A damaged file is passed over and noted
    in the run's events; if no saved state is whole, RunError.
    """
    errors = []
    for file in reversed(run.states()):
        try:
            arrays, _, facts = load_arrays(file, kind=STATE)
            trainer.load_state(arrays, facts)
        except WeightsError as error:
            errors.append(str(error))
            continue
        for message in errors if trainer.world.leads else ():
            run.append_event("damaged state skipped", trainer.step, error=message)
        return float(facts["seconds"])
    if errors:
        raise RunError(f"No saved state of {run.path} is whole. Start a new run. " + " ".join(errors))
    return None


def save_snapshot(run: RunDir, trainer: Trainer) -> None:
    """Write the averaged generator, and D as it is, as `ganlab.program` reads them.

    As fp16, half the size; a picture differs by at most a grey level or so.
    """
    for file, kind, arrays in (
        (run.discriminator_file(trainer.step), DISCRIMINATOR, arrays_at_rest(trainer.D)),
        (run.snapshot_file(trainer.step), GENERATOR, arrays_at_rest(trainer.G_ema)),
    ):
        halves = {name: array.astype(np.float16) for name, array in arrays.items()}
        facts = {"step": trainer.step, "images": trainer.images_seen}
        save_arrays(file, halves, kind=kind, config=trainer.config, facts=facts)


@torch.no_grad()
def arrays_at_rest(network: nn.Module) -> dict[str, np.ndarray]:
    """Weights and statistics by name, each weight divided by its spectral norm where it has one."""
    training = network.training
    network.eval()  # in training a look at such a weight would improve the estimate of its norm
    tensors = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked") and ".parametrizations." not in name
    }
    for name, module in network.named_modules():
        if is_parametrized(module, "weight"):
            tensors[f"{name}.weight"] = module.weight  # type: ignore[assignment]
    network.train(training)
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
