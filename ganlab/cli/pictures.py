"""Commands that draw what models and runs have learnt, and list them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from ganlab.errors import GanlabError, RunError, WeightsError
from ganlab.rundir import RunDir, list_runs

ModelArgument = Annotated[
    str, tyro.conf.arg(name="model", metavar="MODEL", help="A released name, a run directory, or either @STEP.")
]
ClassArgument = Annotated[
    str | None,
    tyro.conf.arg(name="class", metavar="NAME", help="A conditional model's class, by name or index; else by seed."),
]


def sample_command(argv: list[str], started: float) -> None:
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


def interpolate_command(argv: list[str], started: float) -> None:
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


def render_command(argv: list[str], started: float) -> None:
    """Draw a recipe: what the page Explore shows, as a file."""

    def render(
        recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")],
        out: Path = Path("picture.png"),
        scale: int = 1,
        fps: float = 20,
    ) -> None:
        """Draw a recipe: what the page Explore shows, as a file.

        Args:
            recipe: Such as "model=mnist-dcgan&show=slerp&at=1,2"; or the whole link.
            out: A .png, a .gif (one picture after another), or a .npy (z, N x latent_dim).
            scale: Width of a pixel.
            fps: Pictures a second of a GIF.
        """
        from ganlab import catalog
        from ganlab.directions import load_directions
        from ganlab.recipe import parse
        from ganlab.scene import save_scene, scene

        wanted = parse(recipe)
        model, kept = catalog.load(wanted.source), catalog.beside(wanted.source, "directions.safetensors")
        saved = load_directions(kept, model).directions if kept.is_file() else []
        points = scene(wanted, model, {direction.name: direction for direction in saved})
        save_scene(out, points, model, scale=scale, fps=fps, closed=wanted.closed)
        print(out)

    tyro.cli(render, args=argv, prog="python -m ganlab render")


def timelapse_command(argv: list[str], started: float) -> None:
    """Show how a run or a released model learnt: the same noise over time, as a GIF."""

    def timelapse(
        run: Annotated[Path, tyro.conf.Positional],
        out: Path = Path("progress.gif"),
        fps: float | None = None,
        scale: int = 1,
        max_frames: int = 200,
    ) -> None:
        """Show how a run or a released model learnt: the same noise over time, as a GIF.

        Args:
            run: The run directory, of which it shows the sample grids; or a released name: seeds 0 to 63 over its
                history.
            out: A .gif.
            fps: Grids a second; else 12, and 3 of a released model. The last one stays for two seconds.
            scale: Width of a pixel.
            max_frames: Of more grids than this, it shows so many, the first and the last among them.
        """
        from ganlab import catalog, export, render

        if str(run) in catalog.released():
            files = catalog.history(str(run))
            if not files:
                raise WeightsError(
                    f"{run} was released without a history: there is nothing to show but `sample {run}`."
                )
            frames = [render.grid(render.load_model(file).sample(64)) for file in files]
            export.save_film(out, frames, 3 if fps is None else fps, scale, max_frames)
            print(out)
            return
        files = RunDir(run).samples()
        if not files:
            there = "has no sample grids yet" if RunDir(run).exists else "holds no run: there is no config.yaml in it"
            raise RunError(f"{run} {there}.")
        export.save_timelapse(out, files, 12 if fps is None else fps, scale, max_frames)
        print(out)

    tyro.cli(timelapse, args=argv, prog="python -m ganlab timelapse")


def plot_command(argv: list[str], started: float) -> None:
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


def list_command(argv: list[str], started: float) -> None:
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
