"""The command line: `python -m ganlab COMMAND`. Thin: each command imports what it needs when it runs."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganlab.config import Config, hints
from ganlab.errors import GanlabError, RunError
from ganlab.presets import PRESETS, preset
from ganlab.rundir import RunDir, Status, list_runs

if TYPE_CHECKING:
    from tqdm import tqdm

ModelArgument = Annotated[
    str, tyro.conf.arg(name="model", metavar="MODEL", help="A released name, a run directory, or RUN@STEP.")
]
ClassArgument = Annotated[
    str | None,
    tyro.conf.arg(name="class", metavar="NAME", help="A conditional model's class, by name or index; else by seed."),
]


def main(started: float | None = None, argv: Sequence[str] | None = None) -> None:
    """Run a command; translate the library's errors into one line and exit code 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"ganlab: there is no command {name!r}.\n\n{_overview()}", file=sys.stderr)
        sys.exit(2)
    try:
        COMMANDS[name](rest, started or time.time())
    except GanlabError as error:
        print(f"ganlab: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)  # whoever read the output has seen enough
    except OSError as error:
        print(f"ganlab: {error.strerror or error}: {error.filename or 'is the disk full?'}", file=sys.stderr)
        sys.exit(1)


# --- training ------------------------------------------------------------------------------------------------------


def _train(argv: list[str], started: float) -> None:
    """Train a GAN, or resume the run in --out. All hyperparameters can be set; --preset gives their defaults."""
    name = _early_flag(argv, "--preset")
    base = preset(name) if name else Config()
    where = name or f"{Path(base.data).stem}-{base.model}"
    own = [
        _flag("preset", str | None, name, f"Defaults from one of: {', '.join(PRESETS)}."),
        _flag("out", Path, Path("runs") / where, "The run directory.", aliases=["--outdir"]),
        *_where_to_work(),
    ]
    values = _parsed("train", _train, [*own, *_hyperparameters(base)], argv)
    values.pop("preset")
    work = {name: values.pop(name) for name in ("out", "device", "data_root", "threads")}
    _work(RunDir(work.pop("out")), Config(**values), None, **work)


def _fork(argv: list[str], started: float) -> None:
    """Go on from a saved state of a run, as a new run, with other hyperparameters."""
    from ganlab.fork import config_at, fork

    parent = RunDir(argv[0]) if argv and not argv[0].startswith("-") else None
    at = _early_flag(argv, "--at")
    base = config_at(parent, int(at) if at and at.isdecimal() else None) if parent else Config()
    own = [
        _flag("run", tyro.conf.Positional[Path], dataclasses.MISSING, "The run to go on from; the first argument."),
        _flag("out", Path, dataclasses.MISSING, "The new run's directory.", aliases=["--outdir"]),
        _flag("at", int | None, None, "Step of the saved state; else the newest."),
        *_where_to_work(),
    ]
    values = _parsed("fork", _fork, [*own, *_hyperparameters(base)], argv)
    run, out, at_step = (values.pop(name) for name in ("run", "out", "at"))
    work = {name: values.pop(name) for name in ("device", "data_root", "threads")}
    changes = {name: value for name, value in values.items() if value != getattr(base, name)}
    new = fork(RunDir(run), out, at=at_step, changes=changes)
    _work(new, new.read_config(), None, **work)


def _resume(argv: list[str], started: float) -> None:
    """Go on with a run, with the configuration that it has."""
    own = [_flag("run", tyro.conf.Positional[Path], dataclasses.MISSING, "The run directory."), *_where_to_work()]
    values = _parsed("resume", _resume, own, argv)
    run = RunDir(values.pop("run"))
    _work(run, run.read_config(), started, **values)


def _work(
    run: RunDir, config: Config, started: float | None, device: str, data_root: Path | None, threads: int | None
) -> None:
    """Train in this process, with a progress bar. Ctrl-C (or SIGTERM) saves and stops; a second one ends it at once.

    Of the processes that torchrun starts, the first one speaks and obeys for all.
    """
    leads = os.environ.get("RANK", "0") == "0"

    def ask_to_stop(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        if leads:
            run.request("stop")

    if leads and run.exists and started is None:
        run.request("run")  # a person typed the command: whatever was asked before is over
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    from ganlab.loop import train

    if not leads:
        train(config, run.path, data_root=data_root, device=device, threads=threads, started=started)
        return
    print(f"{run.path}: {config.model} on {config.data}", flush=True)
    with _Progress() as progress:
        train(config, run.path, data_root=data_root, device=device, threads=threads, progress=progress, started=started)
    status = run.read_status()
    print(
        f"{run.path}: {status.label} at step {status.step:,} of {status.total_steps:,}"
        f" ({status.images:,} images, {status.seconds / 60:.1f} minutes)"
    )


class _Progress:
    """A bar on a terminal; a line every ten seconds where the output is a pipe or a file."""

    LINE_EVERY = 10.0

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.next_line = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, status: Status, row: dict[str, Any]) -> None:
        losses = (
            f"loss_g {row['loss_g']:.3f}  loss_d {row['loss_d']:.3f}  D(x) {row['d_real']:.2f}  "
            f"D(G(z)) {row['d_fake']:.2f}"
        )
        if sys.stdout.isatty():
            self._draw(status, losses)
        elif time.monotonic() >= self.next_line or row["step"] >= status.total_steps:
            self.next_line = time.monotonic() + self.LINE_EVERY
            eta = f"  ETA {status.eta_s / 60:.1f} min" if status.eta_s else ""
            print(
                f"step {row['step']:,}/{status.total_steps:,}  {status.steps_per_s:.1f} steps/s  "
                f"{row['images_per_s']:.0f} images/s{eta}  {losses}",
                flush=True,
            )

    def _draw(self, status: Status, losses: str) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=status.total_steps, initial=status.step, unit=" steps", dynamic_ncols=True)
        self.bar.set_postfix_str(f"{status.images_per_s:.0f} images/s  {losses}", refresh=False)
        self.bar.update(status.step - self.bar.n)


Flag = tuple[str, Any, Any]  # name, annotated type, dataclass field


def _flag(name: str, kind: Any, default: Any, help: str, aliases: Sequence[str] = ()) -> Flag:
    argument = tyro.conf.arg(help=help.replace("%", "%%"), aliases=list(aliases))
    return name, Annotated[kind, argument], dataclasses.field(default=default)


def _where_to_work() -> list[Flag]:
    return [
        _flag("device", str, "auto", "auto, cpu, cuda, cuda:1 or mps."),
        _flag("data_root", Path | None, None, "Folder of downloaded data sets (else $GANLAB_DATA, else ./data)."),
        _flag("threads", int | None, None, "Threads of the CPU; else torch's choice. Another number rounds otherwise."),
    ]


def _hyperparameters(base: Config) -> list[Flag]:
    """A flag for every field of the config, with the defaults of `base`."""
    flags = []
    for f in dataclasses.fields(Config):
        meta = f.metadata
        limits = f" [{meta['low']:,} to {meta['high']:,}]" if meta["low"] is not None else ""
        aliases = [f"--{alias}" for alias in meta["aliases"]]
        flags.append(_flag(f.name, hints()[f.name], getattr(base, f.name), meta["help"] + limits, aliases))
    return flags


def _parsed(name: str, command: Callable, flags: Sequence[Flag], argv: Sequence[str]) -> dict[str, Any]:
    """The values of the flags, by name."""
    made = dataclasses.make_dataclass(name.capitalize(), list(flags), kw_only=True)
    arguments: Any = tyro.cli(made, args=argv, prog=f"python -m ganlab {name}", description=command.__doc__)
    return {f.name: getattr(arguments, f.name) for f in dataclasses.fields(arguments)}


def _early_flag(argv: Sequence[str], flag: str) -> str | None:
    """The value of a flag that must be known before the others can be explained; as for those, the last one counts."""
    value = None
    for i, argument in enumerate(argv):
        if argument.startswith(flag + "="):
            value = argument.partition("=")[2]
        elif argument == flag and i + 1 < len(argv):
            value = argv[i + 1]
    return value


def _control(argv: list[str], started: float) -> None:
    """Ask a running worker to pause, go on, or stop."""

    def control(
        run: Annotated[Path, tyro.conf.Positional],
        command: Annotated[Literal["run", "pause", "stop"], tyro.conf.Positional],
        until: int | None = None,
    ) -> None:
        """Ask a running worker to pause, go on, or stop (it saves first).

        Args:
            run: The run directory.
            command: What to ask for.
            until: With `run`: pause at this step.
        """
        RunDir(run).read_config()
        RunDir(run).request(command, until=until)
        if not RunDir(run).read_status().alive:
            print(f"No worker is alive in {run}; start one with: python -m ganlab resume {run}")

    tyro.cli(control, args=argv, prog="python -m ganlab control")


# --- pictures ------------------------------------------------------------------------------------------------------


def _sample(argv: list[str], started: float) -> None:
    """Generate pictures: a grid as PNG, or an array as NPZ."""

    def sample(
        model: tyro.conf.Positional[ModelArgument],
        num: int = 64,
        seed: int = 0,
        truncation: float = 1.0,
        class_: ClassArgument = None,
        out: Path = Path("samples.png"),
    ) -> None:
        """Generate pictures: a grid as PNG, or an array as NPZ.

        Args:
            num: How many pictures.
            seed: Picture i comes from seed + i.
            truncation: Factor on z; below 1: more typical, less varied.
            out: A .png (a grid), or a .npz (`images`: uint8, N x H x W x C; of a conditional model also `labels`).
        """
        from ganlab import catalog, export, render

        opened = catalog.load(model)
        pictures = opened.sample(num, seed, truncation, class_)
        if out.suffix.lower() == ".npz":
            export.save_npz(out, pictures, opened.labels_of(range(seed, seed + num), class_))
        else:
            export.save_image(out, render.grid(pictures))
        print(out)

    tyro.cli(sample, args=argv, prog="python -m ganlab sample")


def _interpolate(argv: list[str], started: float) -> None:
    """Walk from one picture to another: a GIF, or a strip as PNG."""

    def interpolate(
        model: tyro.conf.Positional[ModelArgument],
        from_: Annotated[int, tyro.conf.arg(name="from")] = 1,
        to: int = 2,
        path: Literal["slerp", "lerp"] = "slerp",
        class_: ClassArgument = None,
        frames: int = 60,
        fps: int = 20,
        out: Path = Path("walk.gif"),
    ) -> None:
        """Walk from one picture to another: a GIF, or a strip as PNG.

        Args:
            from_: Seed of the first picture.
            to: Seed of the last picture.
            path: Along the sphere (slerp) or straight through (lerp).
            frames: Pictures on the way, both ends included.
            fps: Frames a second of the GIF.
            out: A .gif, or a .png (a strip).
        """
        from ganlab import catalog, export, latent, render
        from ganlab.files import write_atomic

        opened = catalog.load(model)
        label = opened.labels_of([from_], class_)  # one class all the way
        z = latent.path(opened.z([from_, to]), frames, path)
        pictures = opened.generate(z, None if label is None else label.repeat(frames))
        if out.suffix.lower() == ".gif":
            write_atomic(out, export.gif_bytes(pictures, fps=fps))
        else:
            export.save_image(out, render.strip(pictures))
        print(out)

    tyro.cli(interpolate, args=argv, prog="python -m ganlab interpolate")


def _timelapse(argv: list[str], started: float) -> None:
    """Show how a run learnt: its sample grids, in order, as a GIF."""

    def timelapse(
        run: Annotated[Path, tyro.conf.Positional],
        out: Path = Path("progress.gif"),
        fps: float = 12,
        scale: int = 1,
        max_frames: int = 200,
    ) -> None:
        """Show how a run learnt: its sample grids, in order, as a GIF.

        Args:
            run: The run directory.
            out: A .gif.
            fps: Grids a second; the last one stays for two.
            scale: Width of a pixel.
            max_frames: Of more grids than this, it shows so many, the first and the last among them.
        """
        from ganlab import export

        files = RunDir(run).samples()
        if not files:
            there = "has no sample grids yet" if RunDir(run).exists else "holds no run: there is no config.yaml in it"
            raise RunError(f"{run} {there}.")
        export.save_timelapse(out, files, fps, scale, max_frames)
        print(out)

    tyro.cli(timelapse, args=argv, prog="python -m ganlab timelapse")


def _plot(argv: list[str], started: float) -> None:
    """Plot losses and the discriminator's outputs of one run or several."""

    def plot(runs: Annotated[tuple[Path, ...], tyro.conf.Positional], out: Path = Path("loss.png")) -> None:
        """Plot losses and the discriminator's outputs of one run or several.

        Args:
            runs: Run directories.
            out: A .png (1600 x 1000 pixels), .svg or .pdf.
        """
        from ganlab import plots

        plots.save_plot(out, [RunDir(run) for run in runs])
        print(out)

    tyro.cli(plot, args=argv, prog="python -m ganlab plot")


def _list(argv: list[str], started: float) -> None:
    """Show released models and runs."""

    def list_models(runs: Path = Path("runs")) -> None:
        """Show released models and runs.

        Args:
            runs: Folder of runs.
        """
        from ganlab import catalog

        print("Released models")
        for name in catalog.released():
            try:
                title = catalog.read_card(name).get("title", "")
            except GanlabError:
                title = "(no readable card)"
            print(f"  {name:<20} {title}")
        print(f"Runs in {runs}/")
        for run in list_runs(runs):
            try:
                status = run.read_status()
            except GanlabError as error:
                print(f"  {run.name:<20} {error}")
                continue
            print(f"  {run.name:<20} {status.label:<12} step {status.step:,} of {status.total_steps:,}")

    tyro.cli(list_models, args=argv, prog="python -m ganlab list")


COMMANDS: dict[str, Callable[[list[str], float], None]] = {
    "train": _train,
    "resume": _resume,
    "fork": _fork,
    "control": _control,
    "sample": _sample,
    "interpolate": _interpolate,
    "timelapse": _timelapse,
    "plot": _plot,
    "list": _list,
}


def _overview() -> str:
    rows = "\n".join(f"  {name:<12} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items())
    return f"usage: python -m ganlab COMMAND [--help]\n\n{rows}"
