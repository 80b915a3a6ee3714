"""What Explore shows, as recipes: arguments to pictures, files and code. No widgets."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ganlab import export, latent, lattice, render
from ganlab.app.components.latent_plane import Place
from ganlab.app.components.latent_plane import Plane as Ground
from ganlab.app.widgets import script
from ganlab.render import Model

FILM_FRAMES = 60  # of a GIF
WALK_FRAMES, WALK_FPS = 240, 20  # of a walk once around
MAP = 9  # tiles along a side of a map as a file
FARTHEST = 1e6  # where steps of the fourth digit still are steps
ENDLESS, THREE = "Endless", "Through three"
AROUND = (
    "Around: along the shell on which nearly all random z lie, so that every picture on the way is as typical as A and "
    "B (slerp; White 2016, arXiv:1609.04468)."
)
STRAIGHT = (
    "Straight through the inside (lerp). Halfway z is shorter than nearly any z that the network was trained on, and "
    "pictures may turn dull or mixed."
)
PATHS: dict[latent.PathKind, tuple[str, str]] = {"slerp": ("Spherical", AROUND), "lerp": ("Linear", STRAIGHT)}


@dataclass(frozen=True)
class Wall:
    """Pictures of the seeds seed, seed + 1, …; `label`: the class of all, else each has its own."""

    view: ClassVar = "Wall"
    num: int = 64
    seed: int = 0
    truncation: float = 1.0
    label: str | None = None

    @property
    def columns(self) -> int:
        return math.isqrt(self.num)

    def pictures(self, model: Model) -> np.ndarray:
        """uint8 (num, H, W, C)."""
        return model.sample(self.num, self.seed, self.truncation, self.label)

    def png(self, model: Model) -> bytes:
        return export.png_bytes(render.grid(self.pictures(model)))

    def gif(self, model: Model) -> bytes:
        """A film in which the pictures of the first row turn into each other, there and back."""
        seeds, frames = range(self.seed, self.seed + self.columns), 12 * (self.columns - 1) + 1
        z, y = latent.path(model.z(seeds, self.truncation), frames), None
        if (labels := model.labels_of(seeds, self.label)) is not None:
            y = latent.path(np.eye(model.num_classes)[labels], frames, "lerp")  # their classes too
        return export.gif_bytes(model.generate(z, y))

    def command(self, model: str) -> str:
        return (
            f"python -m ganlab sample {shlex.quote(model)} --num {self.num} --seed {self.seed} "
            f"--truncation {self.truncation:g}{_class_flag(self.label)} --out wall.png"
        )

    def python(self, model: str) -> str:
        label = "" if self.label is None else f", label={self.label!r}"
        return script(
            model,
            f"pictures = model.sample({self.num}, seed={self.seed}, truncation={self.truncation:g}{label})",
            'export.save_image(Path("wall.png"), render.grid(pictures))',
        )


@dataclass(frozen=True)
class Plane:
    """The plane through the pictures of three seeds, `size` pictures a side; all of the class `label` if there are."""

    view: ClassVar = "Plane"
    a: int = 1
    b: int = 2
    c: int = 3
    size: int = 9
    label: str | None = None

    def pictures(self, model: Model) -> np.ndarray:
        """uint8 (size * size, H, W, C), in reading order."""
        a, b, c = model.z([self.a, self.b, self.c])
        return _of_one_class(model, latent.plane(a, b, c, self.size), self.label)

    def png(self, model: Model) -> bytes:
        return export.png_bytes(render.grid(self.pictures(model)))

    def gif(self, model: Model) -> bytes:
        """A film from A to B to C and back to A."""
        z = latent.path(model.z([self.a, self.b, self.c]), FILM_FRAMES, closed=True)
        return export.gif_bytes(_of_one_class(model, z, self.label), bounce=False)

    def python(self, model: str) -> str:
        return script(
            model,
            f"a, b, c = model.z([{self.a}, {self.b}, {self.c}])",
            f"pictures = model.generate(latent.plane(a, b, c, {self.size}){_labels(self.size**2, self.label)})",
            'export.save_image(Path("plane.png"), render.grid(pictures))',
        )


@dataclass(frozen=True)
class Walk:
    """The way from one seed's picture to another's, in `frames` pictures; all of the class `label` if there are."""

    view: ClassVar = "Interpolate"
    a: int = 1
    b: int = 2
    frames: int = 11
    label: str | None = None

    def z(self, model: Model, path: latent.PathKind, frames: int) -> np.ndarray:
        """Points on the way, (frames, latent_dim)."""
        return latent.path(model.z([self.a, self.b]), frames, path)

    def pictures(self, model: Model, path: latent.PathKind) -> np.ndarray:
        """uint8 (frames, H, W, C)."""
        return _of_one_class(model, self.z(model, path, self.frames), self.label)

    def png(self, model: Model, path: latent.PathKind) -> bytes:
        return export.png_bytes(render.strip(self.pictures(model, path)))

    def gif(self, model: Model, path: latent.PathKind) -> bytes:
        """A film there and back, smoother than the strip."""
        return export.gif_bytes(_of_one_class(model, self.z(model, path, FILM_FRAMES), self.label))

    def command(self, model: str) -> str:
        head = (
            f"python -m ganlab interpolate {shlex.quote(model)} --from {self.a} --to {self.b}{_class_flag(self.label)}"
        )
        files = [(self.frames, "png"), (FILM_FRAMES, "gif")]
        return "\n".join(f"{head} --path {p} --frames {n} --out {p}.{kind}" for p in PATHS for n, kind in files)

    def python(self, model: str) -> str:
        return script(
            model,
            f'z = latent.path(model.z([{self.a}, {self.b}]), {self.frames}, "slerp")  # or "lerp"',
            f'export.save_image(Path("slerp.png"), render.strip(model.generate(z{_labels(self.frames, self.label)})))',
        )


def _of_one_class(model: Model, z: np.ndarray, label: str | None) -> np.ndarray:
    """Pictures of points (N, latent_dim), of a class if the model is conditional: uint8 (N, H, W, C)."""
    return model.generate(z, None if label is None else model.labels_of(range(len(z)), label))


def _labels(num: int, label: str | None) -> str:
    """The same as an argument, in Python."""
    return "" if label is None else f", model.labels_of(range({num}), {label!r})"


def _class_flag(label: str | None) -> str:
    return "" if label is None else f" --class {shlex.quote(label)}"


@dataclass(frozen=True)
class Spot:
    """A place of the endless plane of seed `lattice`, or of that through the seeds a, b and c; all of class `label`."""

    view: ClassVar = "Move"
    lattice: int = 0
    plane: str = ENDLESS
    a: int = 1
    b: int = 2
    c: int = 3
    at: str = "0,0,1"
    truncation: float = 1.0
    label: str | None = None

    @property
    def place(self) -> Place:
        return read_place(self.at) or Place()

    def ground(self, model: Model) -> Ground:
        """What one walks on."""
        y = None if self.label is None else np.eye(model.num_classes, dtype=np.float32)[model.index_of(self.label)]
        anchors = None if self.plane == ENDLESS else model.z([self.a, self.b, self.c])
        return Ground(self.lattice, anchors, self.truncation, y)

    def pictures(self, model: Model) -> np.ndarray:
        """The picture there: uint8 (1, H, W, C)."""
        return self.ground(model).pictures(model, np.array([self.place.x]), np.array([self.place.y]))

    def png(self, model: Model) -> bytes:
        return export.png_bytes(render.upscale(self.pictures(model)[0], 8))

    def map_png(self, model: Model) -> bytes:
        """The tiles around it."""
        return export.png_bytes(render.grid(self.ground(model).map(model, self.place, MAP)))

    def gif(self, model: Model) -> bytes:
        """A film of the walk that begins here, once around."""
        ways = lattice.along(lattice.walk(self.lattice), np.arange(WALK_FRAMES) / WALK_FRAMES) / self.place.zoom
        pictures = self.ground(model).pictures(model, self.place.x + ways[:, 0], self.place.y + ways[:, 1])
        return export.gif_bytes(pictures, fps=WALK_FPS, bounce=False)

    def python(self, model: str) -> str:
        x, y, config = self.place.x, self.place.y, "model.config.latent_dim, model.config.prior"
        if self.plane == ENDLESS:
            lines = [f"z = lattice.at({self.lattice}, [{x}], [{y}], {config})"]
        else:
            lines = [
                f"a, b, c = model.z([{self.a}, {self.b}, {self.c}])",
                f"z = lattice.through(a, b, c, [{x}], [{y}])",
            ]
        return script(
            model,
            *lines,
            f"pictures = model.generate(latent.truncate(z, {self.truncation:g}){_labels(1, self.label)})",
            'export.save_image(Path("picture.png"), render.upscale(pictures[0], 8))',
        )


def read_place(text: str) -> Place | None:
    """The place that a link writes as x,y,zoom; None if it is no such."""
    try:
        x, y, zoom = (float(word) for word in text.split(","))
    except ValueError:
        return None
    fits = abs(x) <= FARTHEST and abs(y) <= FARTHEST and 0.25 <= zoom <= 16
    return Place(x, y, zoom) if fits else None


def write_place(place: Place) -> str:
    """The same as text, with no more digits than it has."""
    return ",".join(repr(round(u, 4)).removesuffix(".0") for u in (place.x, place.y, place.zoom))
