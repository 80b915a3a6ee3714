"""Commands that draw what models and runs have learnt, and list them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ganlab.errors import GanlabError, RunError
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
    """Walk from one picture to another: a GIF, an MP4, or a strip as PNG."""

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
        """Walk from one picture to another: a GIF, an MP4, or a strip as PNG.

        Args:
            from_: Seed of the first picture.
            to: Seed of the last picture.
            path: Along the sphere (slerp) or straight through (lerp).
            frames: Pictures on the way, both ends included.
            fps: Frames a second of the film.
            out: A .gif, a .mp4 (with the package av), or a .png (a strip).
        """
        from ganlab import catalog, export, latent, render
        from ganlab.files import write_atomic

        export.check_mp4(out.suffix)
        opened = catalog.load(model)
        label = opened.labels_of([from_], class_)  # one class all the way
        z = latent.path(opened.z([from_, to]), frames, path)
        pictures = opened.generate(z, None if label is None else label.repeat(frames))
        if (kind := out.suffix.lower()) in export.FILMS:
            with _progress("Encoding") as progress:
                film = export.film_bytes(kind, pictures, fps, progress=progress)
            write_atomic(out, film)
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
            out: A .png, a .gif or a .mp4 (one picture after another; .mp4 with the package av), or a .npy (z, N x
                latent_dim).
            scale: Width of a pixel.
            fps: Pictures a second of a film.
        """
        from ganlab import catalog, export
        from ganlab.recipe import parse
        from ganlab.scene import save_scene
        from ganlab.timelapse import points_of

        export.check_mp4(out.suffix)
        wanted = parse(recipe)
        model = catalog.load(wanted.source)
        points = points_of(wanted, model)
        with _progress("Encoding") as progress:
            save_scene(out, points, model, scale=scale, fps=fps, closed=wanted.closed, progress=progress)
        print(out)

    tyro.cli(render, args=argv, prog="python -m ganlab render")


def timelapse_command(argv: list[str], started: float) -> None:
    """Show how a run or a released model learnt: the same noise over time, as a film."""

    def timelapse(
        what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|RECIPE")],
        out: Path = Path("progress.gif"),
        fps: float | None = None,
        scale: int = 1,
        max_frames: int = 200,
    ) -> None:
        """Show how a run or a released model learnt: the same noise over time, as a film.

        Args:
            what: The run directory, of which it shows the sample grids; a released name: seeds 0 to 63 over its
                history; or a recipe such as "model=runs/a&show=slerp&at=1,2&num=8", or a whole link: what it shows,
                drawn by each snapshot of its model.
            out: A .gif, a .mp4 (with the package av), or a .png (side by side).
            fps: Frames a second; else 12 of sample grids, and 3 of snapshots. The last one stays for two seconds.
            scale: Width of a pixel.
            max_frames: Of more frames than this, it shows so many, the first and the last among them.
        """
        from ganlab import catalog, export

        if what in catalog.released() or ("model=" in what and not RunDir(what).exists):
            _film_of_snapshots(what, out, 3 if fps is None else fps, scale, max_frames)
            print(out)
            return
        files = RunDir(what).samples()
        if not files:
            there = "has no sample grids yet" if RunDir(what).exists else "holds no run: there is no config.yaml in it"
            raise RunError(f"{what} {there}.")
        with _progress("Encoding") as progress:
            export.save_timelapse(out, files, 12 if fps is None else fps, scale, max_frames, progress)
        print(out)

    tyro.cli(timelapse, args=argv, prog="python -m ganlab timelapse")


def _film_of_snapshots(what: str, out: Path, fps: float, scale: int, max_frames: int) -> None:
    """A released name or a recipe over the training of its model."""
    from ganlab import export
    from ganlab.recipe import Anchor, Recipe, parse
    from ganlab.timelapse import frames, points_of, snapshots_of

    export.check_mp4(out.suffix)
    shown = parse(what) if "model=" in what else Recipe(what, tuple(Anchor(seed) for seed in range(64)))
    files = export.thinned(list(snapshots_of(shown).values()), max_frames)
    with _progress("Drawing") as progress:
        drawn = frames(points_of(shown), files, progress)
    with _progress("Encoding") as progress:
        export.save_film(out, list(drawn), fps, scale, max_frames, progress)


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal, for what takes longer than a second; nothing elsewhere."""
    from tqdm import tqdm

    line = "{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, desc=doing, disable=None, leave=False, delay=1, bar_format=line) as bar:
        yield lambda share: bar.update(share - bar.n)


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
