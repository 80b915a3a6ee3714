"""Generators in the browser, for the components that draw with them.

Weights travel in a component of their own, so that a view which changes its class or its truncation sends a few bytes
and not a megabyte. In the browser, `globalThis.ganlab.generator(id)` is a promise of the generator (`engine.js`).
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import streamlit as st

from ganlab.browser_program import BUDGET, multiply_adds, to_browser
from ganlab.errors import WeightsError
from ganlab.program import Program

HERE = Path(__file__).parent
NO_SIMD = "This browser lacks WebAssembly with SIMD."
SERVER_DRAWS = "The server draws the pictures here, whenever you let go."


def engine_source() -> str:
    """`engine.js` with the kernel in it."""
    kernel = base64.b64encode((HERE / "kernel.wasm").read_bytes()).decode()
    head = f'const KERNEL = Uint8Array.from(atob("{kernel}"), (c) => c.charCodeAt(0));\n'
    return head + (HERE / "engine.js").read_text()


_GENERATOR = st.components.v2.component(
    "ganlab_generator", js=engine_source() + (HERE / "generator.js").read_text(), html="<i hidden></i>"
)


def generator(content: bytes, key: str) -> str:
    """Send a generator, as `to_browser` makes it, to the browser: its id there."""
    _GENERATOR(data=content, key=key, height=1)
    return str(json.loads(content[4 : 4 + int.from_bytes(content[:4], "little")])["id"])


@st.cache_resource(max_entries=8, show_spinner=False)
def content(sha256: str, _program: Program) -> tuple[bytes | None, str]:
    """A generator for the browser by the SHA-256 of its file, or why there is none."""
    reason = why_not(_program)
    return (None, reason) if reason else (to_browser(_program), "")


def why_not(program: Program) -> str:
    """Why no browser should draw with it, in words; empty if one can."""
    try:
        to_browser(program)
    except WeightsError as error:
        return str(error)
    if (work := multiply_adds(program)) > BUDGET:
        return (
            f"It takes {work / 1e6:,.0f} million multiplications a picture; the browser draws up to {BUDGET / 1e6:.0f}."
        )
    return ""
