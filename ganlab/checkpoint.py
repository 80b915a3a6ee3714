"""Saving and finding the exact training state, and the averaged generator as a file that the app renders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganlab.errors import RunError, WeightsError
from ganlab.rundir import RunDir
from ganlab.trainer import Trainer
from ganlab.weights import GENERATOR, STATE, load_arrays, save_arrays


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


def save_generator(path: Path, trainer: Trainer) -> None:
    """Write the averaged generator's weights and statistics, as `ganlab.program` reads them.

    As fp16, half the size; a picture differs by at most a grey level or so.
    """
    arrays = {
        name: tensor.detach().cpu().numpy().astype(np.float16)
        for name, tensor in trainer.G_ema.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    facts = {"step": trainer.step, "images": trainer.images_seen}
    save_arrays(path, arrays, kind=GENERATOR, config=trainer.config, facts=facts)
