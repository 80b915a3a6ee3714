"""Recipes: whatever Explore shows, as one line of text that makes it again: a link's query, an argument of `render`.

    v=1&model=mnist-dcgan&show=slerp&at=1,2,40..43&num=60&truncation=0.8&move=slant*1.5
    v=1&model=runs/sn&step=2000&show=pictures&at=7@3,7@3*0.5:8*0.5

    model, step   a model by name, a run directory; the snapshot of a run: a number, or best
    show          pictures: each anchor. lerp, slerp: a walk through the anchors. classes: each anchor in every class.
                  plane: the patch between three anchors. lattice: a place on the endless plane of the first anchor, a
                  seed. through: a place on the endless plane through three anchors
    at            anchors: a seed, seeds 40..43, or z as `latent.to_text` writes it; @ and a class of its own may follow
    class         of all other anchors: a name, or a blend 3*0.7:8*0.3
    truncation    factor on the z of seeds
    num           pictures of a walk, or along a side of a plane, or of a place's map; 1: the very place
    closed        1: a walk comes back to its first anchor
    move          directions by name, or as text, with amounts
    x, y, zoom    the place

In names, whatever is no letter, digit or one of _ . - ~ is written as in links (%20).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, quote, unquote, urlencode

import numpy as np

from ganlab import latent
from ganlab.errors import ConfigError

VERSION = "1"
VIEW = "view"
SAFE = ",:@*/"  # besides letters, digits and _.-~: characters that a link's query may hold as they are
MAX_SEED = 2**63 - 1
MAX_NUM = 1000
MAX_ANCHORS = 1000
Show = Literal["pictures", "lerp", "slerp", "classes", "plane", "lattice", "through"]
PLACES: tuple[Show, ...] = ("lattice", "through")
NUM: dict[Show, int] = {"lerp": 60, "slerp": 60, "plane": 9, "lattice": 1, "through": 1}  # unless the recipe says more
Blend = tuple[tuple[str, float], ...]  # names of classes with weights above 0; what they sum to does not matter
Z = tuple[float, ...]  # float32 numbers


@dataclass(frozen=True)
class Anchor:
    """A picture to start from: a seed or z, and its class if it has its own."""

    at: int | Z
    blend: Blend = ()

    @staticmethod
    def of(z: np.ndarray, blend: Blend = ()) -> Anchor:
        """The anchor of a vector (dim,)."""
        return Anchor(tuple(np.asarray(z, np.float32).tolist()), blend)


@dataclass(frozen=True)
class Move:
    """So many times a direction, by its name or as it is."""

    direction: str | Z
    amount: float


@dataclass(frozen=True)
class Recipe:
    """What is shown; see the module. Raises ConfigError for values that go with nothing."""

    model: str
    anchors: tuple[Anchor, ...] = (Anchor(0),)
    show: Show = "pictures"
    step: int | Literal["best"] | None = None
    blend: Blend = ()
    truncation: float = 1.0
    num: int | None = None
    closed: bool = False
    moves: tuple[Move, ...] = ()
    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0

    def __post_init__(self) -> None:
        least = {"lerp": 2, "slerp": 2, "plane": 3, "through": 3}.get(self.show, 1)
        most = {"plane": 3, "lattice": 1, "through": 3}.get(self.show, MAX_ANCHORS)
        if self.show not in get_args(Show):
            raise ConfigError(f"show is {self.show!r}{_near(self.show, get_args(Show))}")
        if not self.model:
            raise ConfigError("The recipe names no model: begin it with model=mnist-dcgan, say.")
        if not least <= len(self.anchors) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise ConfigError(f"show={self.show} takes {wanted} anchors; at gives {len(self.anchors)}.")
        fewest = 1 if self.show in PLACES else 2
        if self.num is not None and (self.show not in NUM or not fewest <= self.num <= MAX_NUM):
            raise ConfigError(
                f"num is {self.num}; it is from {fewest} to {MAX_NUM}, and goes with show={', '.join(NUM)}."
            )
        if self.closed and self.show not in ("lerp", "slerp"):
            raise ConfigError(f"closed goes with show=lerp or slerp, not with {self.show}.")
        if self.show == "lattice" and not isinstance(self.anchors[0].at, int):
            raise ConfigError("The lattice is that of a seed: at is one number.")
        if self.show not in PLACES and (self.x, self.y, self.zoom) != (0, 0, 1):
            raise ConfigError(f"x, y and zoom go with show={' and '.join(PLACES)}, not with {self.show}.")
        numbers = (self.x, self.y, self.zoom, self.truncation, *(move.amount for move in self.moves))
        if not (self.zoom > 0 and all(map(math.isfinite, numbers))):
            raise ConfigError("x, y, truncation and amounts are finite numbers, and zoom is above 0.")

    @property
    def source(self) -> str:
        """The model as `ganlab.catalog` finds it: NAME, RUN, RUN@STEP or RUN@best."""
        return self.model if self.step is None else f"{self.model}@{self.step}"

    @property
    def count(self) -> int:
        """`num`, or what it is unless one says otherwise; 0 where it has no meaning."""
        return self.num or NUM.get(self.show, 0)

    def query(self) -> dict[str, str]:
        """As parameters of a link, in their order; what is usual is left out."""
        written = {
            "v": VERSION,
            "model": self.model,
            "step": "" if self.step is None else str(self.step),
            "show": self.show,
            "at": _anchors_text(self.anchors),
            "class": _blend_text(self.blend),
            "move": ",".join(f"{_direction_text(m.direction)}*{_number_text(m.amount)}" for m in self.moves),
            "closed": "1" if self.closed else "",
            "num": "" if self.num is None else str(self.num),
        }
        for name in ("truncation", "x", "y", "zoom"):
            value = getattr(self, name)
            written[name] = "" if value == _DEFAULTS[name] else _number_text(value)
        return {name: value for name, value in written.items() if value}

    def __str__(self) -> str:
        return urlencode(self.query(), quote_via=quote, safe=SAFE)


_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Recipe)}
KEYS = ("v", "model", "step", "show", "at", "class", "truncation", "num", "closed", "move", "x", "y", "zoom")


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(text: str) -> Recipe:
    """The recipe that a text or a whole link holds; the view in which a page opens it is no part of it. Raises
    ConfigError that says what of it is wrong."""
    query = text.strip().rpartition("?")[2]
    pairs = []
    for part in filter(None, query.split("&")):
        if "=" not in part:
            raise ConfigError(f"{part!r} in the recipe has no value: write key=value, and & between them.")
        pairs += parse_qsl(part.replace("+", "%2B"), keep_blank_values=True)
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ConfigError(f"{twice!r} is in the recipe more than once.")
    return from_query({key: value for key, value in pairs if key != VIEW})


def from_query(query: Mapping[str, str]) -> Recipe:
    """The recipe of a link's parameters. Raises ConfigError as `parse`."""
    for key in query:
        if key not in KEYS:
            raise ConfigError(f"The recipe has {key!r}{_near(key, KEYS)}")
    if (version := query.get("v", VERSION)) != VERSION:
        raise ConfigError(f"The recipe has version {version!r}; this ganlab reads {VERSION}. Use a newer ganlab.")
    given = {key: value for key, value in query.items() if value and key not in ("v", "model", "at", "class", "move")}
    values: dict[str, Any] = {key: _number(key, value) for key, value in given.items() if key in _FLOATS}
    if "show" in given:
        values["show"] = given["show"]
    if "step" in given:
        values["step"] = "best" if given["step"] == "best" else _whole("step", given["step"])
    if "num" in given:
        values["num"] = _whole("num", given["num"])
    if "closed" in given:
        if given["closed"] not in ("0", "1"):
            raise ConfigError(f"closed is {given['closed']!r}; it is 1 or 0.")
        values["closed"] = given["closed"] == "1"
    if query.get("at"):
        values["anchors"] = tuple(anchor for part in query["at"].split(",") for anchor in _anchors(part))
    return Recipe(
        query.get("model", ""), blend=_blend(query.get("class", "")), moves=_moves(query.get("move", "")), **values
    )


_FLOATS = ("truncation", "x", "y", "zoom")


def _anchors(text: str) -> Sequence[Anchor]:
    place, _, classes = text.partition("@")
    blend = _blend(classes)
    if "@" in text and not blend:
        raise ConfigError(f"{text!r} in at names no class after its @.")
    if place.startswith("z"):
        return [Anchor.of(latent.from_text(place), blend)]
    if found := re.fullmatch(r"([0-9]+)\.\.([0-9]+)", place):
        first, last = (_whole("a seed", number) for number in found.groups())
        if not first <= last < first + MAX_ANCHORS:
            raise ConfigError(f"{place!r} in at is no row of seeds: first..last, at most {MAX_ANCHORS}.")
        return [Anchor(seed, blend) for seed in range(first, last + 1)]
    return [Anchor(_whole("an anchor in at", place), blend)]


def _blend(text: str) -> Blend:
    found = []
    for part in filter(None, text.split(":")):
        name, star, weight = part.partition("*")
        found.append((unquote(name), _number("a weight of a class", weight) if star else 1.0))
        if not found[-1][0] or found[-1][1] <= 0:
            raise ConfigError(f"{text!r} is no blend of classes: write 3*0.7:8*0.3, with weights above 0.")
    if len({name for name, _ in found}) < len(found):
        raise ConfigError(f"{text!r} names a class twice.")
    return tuple(found)


def _moves(text: str) -> tuple[Move, ...]:
    found = []
    for part in filter(None, text.split(",")):
        name, star, amount = part.rpartition("*")
        if not star or not name:
            raise ConfigError(f"{part!r} in move is no direction with an amount: write slant*1.5.")
        direction = tuple(latent.from_text(name).tolist()) if name.startswith(("z16:", "z32:")) else unquote(name)
        found.append(Move(direction, _number(f"the amount of {unquote(name)!r}", amount)))
    return tuple(found)


def _number(what: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{what} is {text!r} in the recipe; it is a number.")
    return value


def _whole(what: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) > MAX_SEED:
        raise ConfigError(f"{what} is {text!r} in the recipe; it is a whole number from 0 on.")
    return int(text)


def _near(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f". Did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}."


# --- writing ---------------------------------------------------------------------------------------------------------


def _anchors_text(anchors: Sequence[Anchor]) -> str:
    """Three seeds or more in a row as first..last."""
    parts: list[str] = []
    i = 0
    while i < len(anchors):
        anchor, j = anchors[i], i + 1
        while j < len(anchors) and isinstance(anchor.at, int) and anchors[j] == replace(anchor, at=anchor.at + j - i):
            j += 1
        if isinstance(anchor.at, int) and j - i > 2:
            place, i = f"{anchor.at}..{anchor.at + j - i - 1}", j
        else:
            place, i = _place_text(anchor.at), i + 1
        parts.append(place + (f"@{_blend_text(anchor.blend)}" if anchor.blend else ""))
    return ",".join(parts)


def _place_text(at: int | Z) -> str:
    return str(at) if isinstance(at, int) else latent.to_text(np.array(at, np.float32))


def _direction_text(direction: str | Z) -> str:
    return quote(direction, safe="") if isinstance(direction, str) else _place_text(direction)


def _blend_text(blend: Blend) -> str:
    return ":".join(quote(name, safe="") + ("" if w == 1 else f"*{_number_text(w)}") for name, w in blend)


def _number_text(value: float) -> str:
    """The shortest text that is read as the same number."""
    return repr(float(value)).removesuffix(".0")
