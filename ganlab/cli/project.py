"""Commands that look for a picture in latent space, and for directions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ganlab.cli.pictures import ClassArgument, ModelArgument
from ganlab.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from ganlab.found import Found
    from ganlab.render import Model


def project_command(argv: list[str], started: float) -> None:
    """Find a picture in latent space: the points whose pictures come nearest to it."""

    def project(
        model: tyro.conf.Positional[ModelArgument],
        image: Annotated[Path, tyro.conf.Positional],
        out: Path = Path("found"),
        digit: Literal["auto", "yes", "no"] = "auto",
        starts: int = 16,
        steps: int = 150,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        """Find a picture in latent space: the points whose pictures come nearest to it.

        Args:
            image: A picture of any size and kind.
            out: A folder. found.png shows the picture and the eight nearest, while they improve; found.npz has their z.
            digit: Whether it is ink on paper, to be centred and scaled as MNIST's digits were; auto: if the model
                learnt from these.
            starts: Points that are improved at once, the nearest of a thousand random ones.
            steps: Steps of each.
            seed: The first of the random ones.
            threads: Threads of the CPU. Another number rounds otherwise.
        """
        from ganlab import catalog, render
        from ganlab.data.picture import open_picture

        if starts < 1 or steps < 0 or seed < 0 or threads < 1:
            raise ConfigError("starts and threads are 1 at least, steps and seed 0.")
        opened = render.load_model(catalog.find(model), model, threads)
        config = opened.config
        like_mnist = config.data.startswith("mnist") if digit == "auto" else digit == "yes"
        picture = open_picture(image, config.image_size, config.channels, digit=like_mnist)
        found = _work(out, opened, picture, starts, steps, seed)
        print("\n".join([str(out / "found.png"), *_words(model, opened, found)]))

    tyro.cli(project, args=argv, prog="python -m ganlab project")


def _work(folder: Path, model: Model, picture: np.ndarray, starts: int, steps: int, seed: int) -> Found:
    """Look, and keep in the folder what was found; a signal to end ends it early, with one answer at least."""
    from ganlab.found import NUM, nearest_samples, save_found
    from ganlab.path_facts import extractor_of
    from ganlab.worker import Reporter, claimed, ends_when_told

    with claimed(folder, f"{folder} is being written"), Reporter(folder) as reporter, ends_when_told() as check:
        (folder / "found.npz").unlink(missing_ok=True)  # of another picture
        best = None
        try:
            for best in nearest_samples(model, picture, num=max(NUM, starts), seed=seed, keep=starts):
                save_found(folder, picture, best.best())
                reporter.update(doing="looking among random ones")
                check()
            nearest = best
            # torch takes seconds to import: the first answer is there
            from ganlab.projection import SHOW_EVERY, project

            check()
            answers = project(model, picture, starts=nearest, steps=steps, extractor=extractor_of(model))
            for i, best in enumerate(answers, start=1):
                save_found(folder, picture, best)
                reporter.update(doing="improving", share=min(1.0, i * SHOW_EVERY / max(steps, 1)))
                check()
        except KeyboardInterrupt:
            reporter.update(state="stopped", doing="")
    assert best is not None
    return best.best()


def _words(name: str, model: Model, found: Found) -> list[str]:
    from ganlab import catalog
    from ganlab.found import read_typical
    from ganlab.recipe import Anchor, Recipe

    errors = ", ".join(f"{error:.3f}" for error in found.errors)
    weights = [] if found.y is None else found.y[0]
    blend = tuple((label, float(weight)) for label, weight in zip(model.classes, weights, strict=True) if weight > 0)
    lines = [f"Root mean square errors, in levels from 0 to 1: {errors}."]
    if typical := read_typical(catalog.beside(name, "projection.json")):
        lines.append(typical.verdict(float(found.errors[0])))
    return [*lines, f'python -m ganlab render "{Recipe(name, (Anchor.of(found.z[0], blend),))}"']


def directions_command(argv: list[str], started: float) -> None:
    """Find directions in latent space: what changes most, and what slant, thickness or brightness follows."""

    def directions(
        model: tyro.conf.Positional[ModelArgument],
        class_: ClassArgument = None,
        out: Path | None = None,
    ) -> None:
        """Find directions in latent space: what changes most, and what slant, thickness or brightness follows.

        Args:
            out: A .safetensors to keep them in; directions.safetensors beside the model is where `render` looks.
        """
        from ganlab import catalog
        from ganlab.directions import all_directions, save_directions

        if out is not None and out.suffix != ".safetensors":
            raise ConfigError(f"{out}: directions are kept as .safetensors.")
        opened = catalog.load(model)
        found = all_directions(opened, class_)
        for direction in found:
            evidence = "  ".join(f"{name} {value:.3g}" for name, value in (direction.evidence or {}).items())
            print(f"{direction.name:<12} {evidence}")
        if out is not None:
            save_directions(out, found, opened)
            print(out)

    tyro.cli(directions, args=argv, prog="python -m ganlab directions")
