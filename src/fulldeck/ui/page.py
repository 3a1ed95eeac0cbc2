"""The page itself, run by Streamlit from top to bottom at every click. ``fulldeck ui`` opens it."""

import os
from html import escape
from pathlib import Path

import streamlit as st

from fulldeck.cards import CARDS
from fulldeck.errors import FulldeckError, ImageError
from fulldeck.inference.image import SUFFIXES, decode
from fulldeck.inference.recognizer import Prediction
from fulldeck.ui.answers import Local, Remote

_CARDS = {card.label: card for card in CARDS}
_SIDE = 480  # pictures are shown with about so many pixels a side; as a string below, Streamlit would show this line

_STYLE = """<style>
.fd-face { position: relative; width: 118px; aspect-ratio: 5 / 7; border-radius: 10px; background: #fff;
  border: 1px solid #d6d3cd; box-shadow: 0 2px 8px #0003; font-family: Georgia, serif; color: #1d1d1f; }
.fd-red { color: #c8102e; }
.fd-corner { position: absolute; top: 6px; left: 9px; font-size: 21px; line-height: 1.05; text-align: center; }
.fd-corner.fd-turned { top: auto; left: auto; bottom: 6px; right: 9px; transform: rotate(180deg); }
.fd-middle { position: absolute; inset: 0; display: grid; place-items: center; font-size: 54px; }
.fd-mark { display: inline-block; min-width: 2.1em; font-weight: 600; }
.fd-unsure { opacity: .45; filter: grayscale(1); }
.fd-name { font-size: 1.35rem; font-weight: 650; margin: 0 .6rem 0 0; }
.fd-badge { padding: .15rem .6rem; border-radius: 99px; font-size: .8rem; font-weight: 600; white-space: nowrap; }
.fd-yes { background: #2da44e22; color: #238a3f; } .fd-no { background: #d98a0022; color: #bf7600; }
.fd-file { opacity: .6; font-size: .85rem; margin: .1rem 0 .7rem; overflow-wrap: anywhere; }
.fd-bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .3rem .7rem; align-items: center;
  font-size: .9rem; font-variant-numeric: tabular-nums; }
.fd-bar { height: .55rem; border-radius: 99px; background: #8883; overflow: hidden; }
.fd-bar > div { height: 100%; border-radius: 99px; background: #8889; }
.fd-bar.fd-best > div { background: #1a7f37; } .fd-bar.fd-doubt > div { background: #d98a00; }
</style>"""


@st.cache_resource(show_spinner="Loading the model …")
def source(url: str, model: str) -> Local | Remote:
    """What answers; one for all visitors."""
    return Remote(url, os.environ.get("FULLDECK_KEY")) if url else Local(Path(model) if model else None)


def face(label: str, sure: bool) -> str:
    """A small card as HTML."""
    card = _CARDS.get(label)
    corner, middle, tone = "?", "?", ""
    if card is not None:
        corner = "★" if card.rank is None else card.rank.corner
        middle = card.short if card.suit is None else card.suit.symbol
        tone = "fd-red" if card.colour == "red" else ""
    corner += f"<br>{middle}" if card is not None and card.suit is not None else ""
    corners = f'<div class="fd-corner">{corner}</div><div class="fd-corner fd-turned">{corner}</div>'
    unsure = "" if sure else "fd-unsure"
    return f'<div class="fd-face {tone} {unsure}">{corners}<div class="fd-middle">{middle}</div></div>'


def mark(label: str) -> str:
    """The card's short name in its colour, as HTML; nothing for what is no card."""
    card = _CARDS.get(label)
    tone = "fd-red" if card is not None and card.colour == "red" else ""
    return "" if card is None else f'<span class="fd-mark {tone}">{card.short}</span>'


def figures(file: str, prediction: Prediction) -> str:
    """The name, whether it is accepted, and the likeliest labels as bars, as HTML."""
    badge, word = ("fd-yes", "accepted") if prediction.accepted else ("fd-no", "not accepted")
    shown = [(prediction.label, prediction.probability)]
    shown += [(other.label, other.probability) for other in prediction.alternatives[:3]]
    kind = "fd-best" if prediction.accepted else "fd-doubt"
    bars = "".join(
        f"<span>{mark(label)}{escape(label)}</span>"
        f'<div class="fd-bar {kind if rank == 0 else ""}"><div style="width: {probability:.1%}"></div></div>'
        f"<span>{probability:.1%}</span>"
        for rank, (label, probability) in enumerate(shown)
    )
    heading = f'<span class="fd-name">{escape(prediction.label)}</span><span class="fd-badge {badge}">{word}</span>'
    return f'<div>{heading}</div><div class="fd-file">{escape(file)}</div><div class="fd-bars">{bars}</div>'


def show(answers: Local | Remote, file: str, data: bytes) -> None:
    """One picture's row: the picture, the card, the figures; or why there is none."""
    try:
        picture = decode(data, file, _SIDE)
        prediction = answers.ask(file, data)
    except ImageError as error:
        st.warning(str(error), icon=":material/block:")
        return
    with st.container(border=True):
        left, middle, right = st.columns([1.1, 0.9, 2.4], vertical_alignment="center", gap="medium")
        left.image(picture, width="stretch")
        middle.html(face(prediction.label, prediction.accepted))
        right.html(figures(file, prediction))


st.set_page_config("fulldeck", page_icon="🃏", layout="centered")
st.html(_STYLE)
st.title("Which card is this?")
st.write("Show it a playing card, from any deck, and it says which.")
try:
    answers = source(os.environ.get("FULLDECK_URL", ""), os.environ.get("FULLDECK_MODEL", ""))
    how = st.segmented_control("Pictures from", ["Files", "Camera"], default="Files", label_visibility="collapsed")
    if how == "Camera":
        taken = st.camera_input("Hold a card before the camera")
        pictures = [taken] if taken else []
    else:
        kinds = sorted(SUFFIXES)
        pictures = st.file_uploader("Pictures, one card each", kinds, accept_multiple_files=True)
    for at in pictures:
        show(answers, at.name, at.getvalue())
    st.caption(f"Answered by {answers.name}.")
except FulldeckError as error:
    st.error(str(error))
