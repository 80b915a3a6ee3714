"""Who may import whom. Data flows one way, only the app knows Streamlit, and what the app imports has no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPO = Path(__file__).parents[2]
PACKAGE = REPO / "ganlab"
PUBLIC = "ganlab"  # the package itself: names re-exported for people, which no room uses

# A room is a module of ganlab/, or a package with all that is in it.
LAW = {
    "errors": [],
    "files": [],
    "config": ["errors"],
    "presets": ["config", "errors"],
    "worker": ["errors", "files"],
    "rundir": ["config", "errors", "files", "worker"],
    "jobs": ["config", "errors", "rundir"],
    "weights": ["config", "errors", "files"],
    "program": ["config", "errors"],
    "browser_program": ["errors", "program"],
    "latent": ["errors"],
    "generators": ["config", "program"],
    "discriminators": ["config", "program"],
    "lattice": ["errors", "latent"],
    "onnx_graph": ["program"],
    "engine": ["config", "errors", "onnx_graph", "program", "weights"],
    "render": ["engine", "errors", "generators", "latent", "weights"],
    "layer_values": ["engine", "onnx_graph", "program", "render"],
    "regions": [],
    "judge": ["discriminators", "engine", "errors", "weights"],
    "measurements": ["errors"],
    "directions": ["errors", "measurements", "program", "render", "weights"],
    "recipe": ["errors", "latent"],
    "scene": ["directions", "errors", "export", "files", "latent", "lattice", "recipe", "render"],
    "timelapse": ["catalog", "directions", "errors", "export", "recipe", "render", "scene"],
    "path_facts": ["errors", "evaluate", "render"],
    "found": ["errors", "export", "files", "render"],
    "projection": ["evaluate", "found", "program", "render"],
    "export": ["errors", "files", "render"],
    "plots": ["errors", "files", "rundir"],
    "catalog": ["errors", "judge", "render", "rundir"],
    "data": ["config", "errors"],
    "fork": ["config", "errors", "files", "rundir", "weights"],
    "scores": ["config", "errors", "evaluate"],
    "models": ["config", "errors"],
    "losses": [],
    "augment": [],
    "schedules": [],
    "evaluate": ["catalog", "data", "errors", "files", "render", "rundir", "weights", "worker"],
    "inception": ["data", "errors", "evaluate", "files", "render"],
    "ema": [],
    "distributed": [],
    "objective": ["augment", "config", "losses"],
    "trainer": [
        *["augment", "config", "distributed", "ema", "errors", "losses", "models", "objective", "schedules"],
    ],
    "checkpoint": ["config", "errors", "rundir", "trainer", "weights"],
    "requests": ["config", "distributed", "errors", "rundir"],
    "advice": ["config", "scores"],
    "alarm": ["advice", "config", "errors", "rundir"],
    "recorder": ["checkpoint", "data", "errors", "export", "render", "rundir", "scores", "trainer"],
    "loop": [
        *["checkpoint", "config", "data", "distributed", "errors", "recorder", "requests", "rundir", "trainer"],
    ],
    "app": [
        *["alarm", "browser_program", "catalog", "config", "data", "directions", "errors", "evaluate", "export"],
        *["files", "fork", "found", "jobs", "judge", "latent", "lattice", "layer_values", "measurements", "onnx_graph"],
        *["path_facts", "presets", "program", "recipe", "regions", "render", "rundir", "scene", "timelapse", "weights"],
        "worker",
    ],
    "cli": ["config", "errors", "presets", "rundir"],  # at once; whatever a command needs, when it needs it
    "__main__": ["cli"],
    PUBLIC: ["catalog", "config", "data", "errors", "presets", "rundir", "loop"],
}
TORCH = {  # rooms that import torch, or another that does
    *["models", "losses", "augment", "ema", "objective", "distributed", "trainer", "checkpoint", "requests"],
    *["recorder", "loop", "inception", "projection"],
}

MODULES = sorted(str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py"))
each_module = pytest.mark.parametrize("module", MODULES)


class Import(NamedTuple):
    name: str  # as dotted as can be: `from a import b` is a.b
    at_once: bool  # when the module is imported, not when a function runs or a type checker reads


def imports_of(source: str, package: str) -> Iterator[Import]:
    """Every import of a module of `package`, wherever in it, through statements and importlib."""

    def walk(node: ast.AST, at_once: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(f"{base}.{alias.name}", at_once) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            argument = node.args[0] if node.args else None
            literal = isinstance(argument, ast.Constant)
            yield Import(str(argument.value) if literal else "ganlab.<computed>", at_once)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            at_once = False
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            at_once = False
        for child in ast.iter_child_nodes(node):
            yield from walk(child, at_once)

    return walk(ast.parse(source), True)


def imports_in(module: str) -> list[Import]:
    return list(imports_of((PACKAGE / module).read_text(), ".".join(["ganlab", *Path(module).parts[:-1]])))


def room_of(module: str) -> str:
    """The room of a file of the package: data/cache.py -> data."""
    first = Path(module).parts[0].removesuffix(".py")
    return PUBLIC if first == "__init__" else first


def room_imported(name: str) -> str | None:
    """The room that an import reaches; None outside ganlab."""
    top, _, rest = name.partition(".")
    room = rest.split(".")[0]
    if top != "ganlab":
        return None
    is_room = (PACKAGE / f"{room}.py").is_file() or (PACKAGE / room).is_dir() or room == "<computed>"
    return room if room and is_room else PUBLIC


# --- the law, line by line -------------------------------------------------------------------------------------------


def test_the_table_and_the_package_have_the_same_rooms():
    assert {room_of(module) for module in MODULES} == set(LAW), "a new module: say in LAW what it may import"


@each_module
def test_a_module_imports_only_what_its_room_may(module):
    room = room_of(module)
    reached = {
        room_imported(name)
        for name, at_once in imports_in(module)
        if at_once or room != "cli"  # the command line may import anything, but late
    }
    assert reached - {None, room} <= set(LAW[room])


@each_module
def test_only_the_rooms_of_the_training_import_torch(module):
    if room_of(module) in TORCH:
        return
    torch = [name for name, _ in imports_in(module) if "torch" in name.split(".")]  # safetensors.torch too
    assert torch == []
    vision = [name for name, at_once in imports_in(module) if name.split(".")[0] == "torchvision" and at_once]
    assert vision == [], "torchvision imports torch; import it in the function that downloads"


@each_module
def test_only_the_app_imports_streamlit(module):
    if room_of(module) != "app":
        assert [name for name, _ in imports_in(module) if name.split(".")[0] == "streamlit"] == []


def test_the_rooms_that_import_torch_are_those_that_say_so():
    """A room that no longer needs torch should leave the list, so that it stays without."""
    using = {room_of(module) for module in MODULES if any(n.split(".")[0] == "torch" for n, _ in imports_in(module))}
    through = {room for room in TORCH if set(LAW[room]) & TORCH}
    assert using | through == TORCH


def test_rooms_without_torch_reach_none_with_torch():
    """The command line and the public names reach the training, but only late: the fresh process below sees to it."""
    for room in LAW.keys() - TORCH - {"cli", PUBLIC}:
        assert not set(LAW[room]) & TORCH, room


def test_no_room_reaches_itself_through_others():
    def reached(room: str, seen: frozenset[str]) -> None:
        for other in LAW[room]:
            assert other not in seen, f"{room} imports {other}, which imports {room}"
            reached(other, seen | {other})

    for room in LAW:
        reached(room, frozenset([room]))


# --- a fresh process -------------------------------------------------------------------------------------------------


def dotted(module: str) -> str:
    return ".".join(["ganlab", *Path(module).with_suffix("").parts]).removesuffix(".__init__")


def first_with_torch(modules: list[str]) -> str:
    """Import modules one after another in a new process: the first after which torch is there, or `none`."""
    program = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if {"torch", "torchvision"} & set(sys.modules):
        sys.exit(print(name))
print("none")
"""
    command = [sys.executable, "-c", program, *modules]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_the_command_line_and_the_app_import_no_torch():
    rest = sorted(dotted(module) for module in MODULES if room_of(module) not in TORCH)
    assert "ganlab.app" in rest
    assert first_with_torch(["ganlab", "ganlab.cli", *rest]) == "none"


def test_the_process_would_notice_torch():
    assert first_with_torch(["ganlab", "ganlab.ema", "ganlab.cli"]) == "ganlab.ema"


# --- the reader of imports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "name", "at_once"),
    [
        ("import torch", "torch", True),
        ("import torch.nn as nn", "torch.nn", True),
        ("from torch import nn", "torch.nn", True),
        ("from ganlab import render", "ganlab.render", True),
        ("from ganlab.render import grid", "ganlab.render.grid", True),
        ("from . import state", "ganlab.app.state", True),
        ("from .state import runs", "ganlab.app.state.runs", True),
        ("from ..loop import train", "ganlab.loop.train", True),
        ("from .. import loop", "ganlab.loop", True),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", "torch", True),
        ("class A:\n    import torch", "torch", True),
        ("def f():\n    from ganlab.loop import train", "ganlab.loop.train", False),
        ("async def f():\n    if x:\n        import torch", "torch", False),
        ("if TYPE_CHECKING:\n    import torch", "torch", False),
        ("x = importlib.import_module('ganlab.loop')", "ganlab.loop", True),
        ("f = lambda: import_module('torch')", "torch", False),
        ("__import__('torch')", "torch", True),
        ("import_module(name)", "ganlab.<computed>", True),
    ],
)
def test_no_import_goes_unseen(source, name, at_once):
    assert list(imports_of(source, "ganlab.app")) == [Import(name, at_once)]


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("numpy.linalg", None),
        ("ganlabel.train", None),
        ("ganlab", PUBLIC),
        ("ganlab.Config", PUBLIC),
        ("ganlab.loop", "loop"),
        ("ganlab.data.cache.keep", "data"),
        ("ganlab.<computed>", "<computed>"),
    ],
)
def test_an_import_reaches_its_room(name, room):
    assert room_imported(name) == room
