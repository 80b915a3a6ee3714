"""The model card of a released model: what its card.json says, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ganlab import catalog
from ganlab.app.measure.words import METRICS, figure, number, plain
from ganlab.errors import GanlabError
from ganlab.evaluate.report import Metric, protocol


def show(name: str) -> None:
    """The card, folded; nothing for a model that is not released."""
    if name not in catalog.released():
        return
    with st.expander("Model card", icon=":material/description:"):
        try:
            card = catalog.read_card(name)
        except GanlabError as error:
            st.caption(f"There is no card to show. {error}")
            return
        left, right = st.columns(2, gap="medium")
        with left:
            st.markdown(_training(card))
            if command := card.get("command"):
                st.markdown("The command that trains it again:")
                st.code(command, language="bash", wrap_lines=True)
            _weaknesses(card)
            st.markdown(_cost(card))
            _hashes(card)
        with right:
            _figures(card)


def _training(card: Mapping[str, Any]) -> str:
    """What it learnt from, how long, on what, and why this snapshot."""
    lines = [
        f"**{plain(card.get('title', ''))}**",
        f"Data: {plain(card.get('licence', 'licence unknown'))}",
        f"Training: {card.get('images', 0):,} images in {card.get('steps', 0):,} steps, "
        f"{card.get('minutes', 0):g} minutes on {plain(card.get('hardware', '?'))}; seed {card.get('seed', '?')}",
    ]
    if chosen := card.get("chosen"):
        whole = f"of {chosen['of_steps']:,} steps ({chosen['of_minutes']:g} minutes)"
        lines.append(f"Released: step {card['steps']:,} {whole}, {why(chosen)}")
    lines.append(f"Samples: {plain(card.get('samples', ''))}")
    return "\n\n".join(lines)


def why(chosen: Mapping[str, Any]) -> str:
    """Why this snapshot was released, of all."""
    score = "none" if chosen["score"] is None else f"`{chosen['metric']}` {number(chosen['score'])}"
    return {
        "best": f"the best of {chosen['of_scores']} by its score, {score}",
        "newest": f"the newest; its score: {score}",
        "step": f"chosen by hand; its score: {score}",
    }[chosen["as"]]


def _weaknesses(card: Mapping[str, Any]) -> None:
    if said := card.get("weaknesses"):
        st.markdown("**Known weaknesses**\n" + "\n".join(f"- {plain(sentence)}" for sentence in said))


def _cost(card: Mapping[str, Any]) -> str:
    parts = [f"{card.get('parameters', 0):,} parameters"]
    if "flops" in card:
        parts += [
            f"{card['flops'] / 1e6:,.3g} million operations and {card['milliseconds']:.2g} ms a picture "
            f"({plain(card['timed_on'])})",
            f"{card['bytes'] / 1e6:.1f} MB on disk",
        ]
    return "**Cost**: " + "; ".join(parts)


def _figures(card: Mapping[str, Any]) -> None:
    """A row a metric: its value, and what real pictures that the reference does not hold score in its place."""
    found = card.get("evaluation")
    if not found:
        st.caption("It has not been measured yet.")
        return
    suffix = "_" + protocol(found["extractor"]["name"], found["num"])
    rows = ["| | this model | real pictures |", "|:--|--:|--:|"]
    for name, values in found["metrics"].items():
        family, one = name.removesuffix(suffix), Metric(**values)
        title = METRICS[family].title if family in METRICS else family
        rows.append(f"| {title} `{name}` | {figure(one, family)} | {number(one.floor, family)} |")
    st.markdown("\n".join(rows))
    last = found["seed"] + found["num"] - 1
    st.caption(f"{found['num']:,} generated pictures, seeds {found['seed']} to {last:,}, untruncated.")
    for note in found["notes"]:
        st.caption(plain(note))


def _hashes(card: Mapping[str, Any]) -> None:
    files = {name: facts["sha256"] for name, facts in card.get("files", {}).items()}
    if files:
        with st.popover("SHA-256 of the files", icon=":material/fingerprint:"):
            text = "\n".join(f"{digest}  {file}" for file, digest in files.items())
            st.code(text, language=None)
