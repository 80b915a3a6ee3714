"""Which alarms are raised by which runs: `python -m benchmarks.alarm`.

Trains presets, those made to fail among them, for some thousand steps and several seeds, and prints what `check` says
of each. MNIST's presets learn from the 5,000 bundled digits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from ganlab.alarm import alarms_of
from ganlab.config import Config
from ganlab.errors import Diverged
from ganlab.loop import train
from ganlab.presets import PRESETS, preset
from ganlab.rundir import RunDir, best_of

EXPECTED = {  # the alarm that each preset is made for
    "broken-learning-rate": "divergence",
    "broken-strong-d": "d-wins",
    "broken-weak-d": "g-wins",
    "broken-collapse": "collapse",
}


def config_of(name: str, seed: int, steps: int) -> Config:
    """A preset of so many steps, with ten scores at least; on the bundled digits where it is one of MNIST."""
    config = preset(name).replace(seed=seed, steps=steps)
    config = config.replace(data="mnist-5k") if config.data == "mnist" else config
    return config.replace(score_every=min(config.score_every, max(steps // 10, 10)))


def run_of(config: Config, folder: Path, threads: int | None) -> RunDir:
    """The run, to its end or to its divergence."""
    try:
        return train(config, folder, device="cpu", threads=threads)
    except Diverged:
        return RunDir(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=[*EXPECTED, *(n for n in PRESETS if n.startswith("mnist"))])
    parser.add_argument("--steps", type=int, default=2000, help="of each run")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    print("| preset | steps | seed | best score | alarms, each from its first step to its last | right |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in arguments.presets:
        for seed in arguments.seeds:
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                run = run_of(config_of(name, seed, arguments.steps), Path(folder) / "run", arguments.threads)
                found, best = alarms_of(run), best_of(run.read_metrics()[0])
                step = run.read_status().step
            raised = ", ".join(f"{a.kind} {a.since}–{a.until or ''}" for a in found) or "none"
            right = EXPECTED[name] in {a.kind for a in found} if name in EXPECTED else not found
            score = f"{best['score']:.0f}" if best else "–"
            took = f"{step:,} in {time.perf_counter() - start:.0f} s"
            print(f"| `{name}` | {took} | {seed} | {score} | {raised} | {'yes' if right else 'NO'} |", flush=True)


if __name__ == "__main__":
    main()
