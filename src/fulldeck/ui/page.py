"""The page itself, run by Streamlit from top to bottom at every click. ``fulldeck ui`` opens it."""

import os
from html import escape
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fulldeck.cards import CARDS
from fulldeck.errors import FulldeckError, ImageError
from fulldeck.inference.image import SUFFIXES, decode, scaled
from fulldeck.inference.painting import paint
from fulldeck.inference.picture import Picture
from fulldeck.inference.quads import frame, shared
from fulldeck.inference.recognizer import FILLING, Located, LocatedCard, Prediction
from fulldeck.ui.answers import Local, Remote

_CARDS = {card.label: card for card in CARDS}
_SIDE = 480  # pictures are shown with about so many pixels a side; as a string below, Streamlit would show this line

_WIDTH = 1000  # and a painted one with so many on its longer side at most

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
.fd-hand { display: flex; flex-wrap: wrap; gap: 1.1rem; }
.fd-held { width: 118px; text-align: center; font-size: .9rem; font-variant-numeric: tabular-nums; }
.fd-held > :first-child { text-align: left; margin-bottom: .4rem; }
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


def badge(prediction: Prediction) -> str:
    """Whether a prediction is accepted, as HTML."""
    kind, word = ("fd-yes", "accepted") if prediction.accepted else ("fd-no", "not accepted")
    return f'<span class="fd-badge {kind}">{word}</span>'


def hand(file: str, cards: tuple[LocatedCard, ...]) -> str:
    """Several cards side by side, as HTML."""
    held = "".join(
        f'<div class="fd-held">{face(card.label, card.accepted)}{escape(card.label)}<br>'
        f"{card.probability:.1%} {badge(card)}</div>"
        for card in cards
    )
    return f'<div class="fd-file">{escape(file)}</div><div class="fd-hand">{held}</div>'


def one_that_fills(located: Located) -> bool:
    """Whether a picture shows one card alone, and little beside it."""
    if len(located.cards) != 1:
        return False
    outline = np.array(located.cards[0].corners, np.float32)
    whole = frame(located.width, located.height)
    return shared(outline, whole) >= FILLING * located.width * located.height


def painted(data: bytes, file: str, located: Located) -> NDArray[np.uint8]:
    """The picture as it fits the page, with the cards' outlines and names."""
    photo = Picture(data, file).photo().pixels
    height, width = photo.shape[:2]
    scale = min(1.0, _WIDTH / max(height, width))
    return paint(scaled(photo, max(1, round(width * scale)), max(1, round(height * scale))), located)


def figures(file: str, prediction: Prediction) -> str:
    """The name, whether it is accepted, and the likeliest labels as bars, as HTML."""
    shown = [(prediction.label, prediction.probability)]
    shown += [(other.label, other.probability) for other in prediction.alternatives[:3]]
    kind = "fd-best" if prediction.accepted else "fd-doubt"
    bars = "".join(
        f"<span>{mark(label)}{escape(label)}</span>"
        f'<div class="fd-bar {kind if rank == 0 else ""}"><div style="width: {probability:.1%}"></div></div>'
        f"<span>{probability:.1%}</span>"
        for rank, (label, probability) in enumerate(shown)
    )
    heading = f'<span class="fd-name">{escape(prediction.label)}</span>{badge(prediction)}'
    return f'<div>{heading}</div><div class="fd-file">{escape(file)}</div><div class="fd-bars">{bars}</div>'


def show(answers: Local | Remote, file: str, data: bytes) -> None:
    """One picture's row: the picture, the card, the figures; or the cards in it; or why there is none."""
    try:
        picture = decode(data, file, _SIDE)
        located = answers.locate(file, data)
        alone = one_that_fills(located)
        prediction = located.cards[0] if alone else None if located.cards else answers.ask(file, data)
    except ImageError as error:
        st.warning(str(error), icon=":material/block:")
        return
    with st.container(border=True):
        if prediction is None:
            st.image(painted(data, file, located), width="stretch")
            st.html(hand(file, located.cards))
            return
        left, middle, right = st.columns([1.1, 0.9, 2.4], vertical_alignment="center", gap="medium")
        left.image(picture, width="stretch")
        middle.html(face(prediction.label, prediction.accepted))
        right.html(figures(file, prediction))


st.set_page_config("fulldeck", page_icon="🃏", layout="centered")
st.html(_STYLE)
st.title("Which card is this?")
st.write("Show it a playing card, or a table full of them, from any deck, and it says which.")
try:
    answers = source(os.environ.get("FULLDECK_URL", ""), os.environ.get("FULLDECK_MODEL", ""))
    how = st.segmented_control("Pictures from", ["Files", "Camera"], default="Files", label_visibility="collapsed")
    if how == "Camera":
        taken = st.camera_input("Hold cards before the camera")
        pictures = [taken] if taken else []
    else:
        kinds = sorted(SUFFIXES)
        pictures = st.file_uploader("Pictures of one card or several", kinds, accept_multiple_files=True)
    for at in pictures:
        show(answers, at.name, at.getvalue())
    st.caption(f"Answered by {answers.name}.")
except FulldeckError as error:
    st.error(str(error))
