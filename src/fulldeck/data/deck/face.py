"""The face of one card in one style: stock, border, the middle, and on top of it all the indices."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.cards import LABELS, Card, CardError
from fulldeck.data.deck.canvas import Canvas, Ink, box, disc, double, line, stamp
from fulldeck.data.deck.chance import between, chance, generator, pick
from fulldeck.data.deck.figures import double_headed, emblem, jester, jester_head, standing
from fulldeck.data.deck.lettering import Typeface, glyph, word
from fulldeck.data.deck.picture import picture, rosette, scrolls, star
from fulldeck.data.deck.pips import PLACES, pip
from fulldeck.data.deck.stock import paper, textured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fulldeck.data.deck.style import DeckStyle

WIDTH, HEIGHT = 250, 350  # a card in its own units: hundredths of an inch
_SUITS = ("clubs", "diamonds", "hearts", "spades")
_COURTS = ("jack", "queen", "king")


def draw_card(label: Card | str, style: DeckStyle, size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.uint8]:
    """Draw a card's face, right to its square corners (`card_mask` rounds them).

    Args:
        label: One of the 53 labels, or a card.
        style: The deck it belongs to.
        size: Width and height in pixels; other proportions than 5 to 7 stretch the card.

    Returns:
        ``uint8 [height, width, 3]``, RGB.

    Raises:
        CardError: The label is not one of the 53.
    """
    name = label if isinstance(label, str) else label.label
    if name not in LABELS:
        msg = f"{name!r} is none of the 53 labels"
        raise CardError(msg)
    # drawn larger than asked for, then averaged down: finer edges than drawing at the size itself
    scale = max(1.0, 1.6 * max(size[0] / WIDTH, size[1] / HEIGHT))
    columns, rows = 2 * round(WIDTH * scale / 2), 2 * round(HEIGHT * scale / 2)
    canvas = Canvas(paper(style.stock, columns, rows), scale)
    rng = generator(style.number, zlib.crc32(name.encode()))
    _border(canvas, style)
    if name == "joker":
        _joker(canvas, style, rng)
    else:
        rank, _, suit = name.partition(" of ")
        _middle(canvas, style, rank, suit, rng)
        _indices(canvas, style, rank, suit)
    face = textured(style.stock, canvas.pixels)
    return np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_AREA), np.uint8)


def card_mask(style: DeckStyle, size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.uint8]:
    """The card's outline with its round corners, ``uint8 [height, width]``: 255 on the card, 0 beside it (an alpha)."""
    mask = np.zeros((HEIGHT * 2, WIDTH * 2), np.uint8)
    r = round(style.corner * 2)
    cv2.rectangle(mask, (r, 0), (WIDTH * 2 - 1 - r, HEIGHT * 2 - 1), 255, cv2.FILLED)
    cv2.rectangle(mask, (0, r), (WIDTH * 2 - 1, HEIGHT * 2 - 1 - r), 255, cv2.FILLED)
    for x in (r, WIDTH * 2 - 1 - r):
        for y in (r, HEIGHT * 2 - 1 - r):
            cv2.circle(mask, (x, y), r, 255, cv2.FILLED, cv2.LINE_AA)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)


def _ink(style: DeckStyle, suit: str) -> Ink:
    return style.inks[_SUITS.index(suit)]


def _corner(style: DeckStyle, rank: str) -> str:
    if rank == "ace":
        return style.ace_letter
    if rank in _COURTS:
        return style.courts.letters[_COURTS.index(rank)]
    return str(list(PLACES).index(rank) + 1)


def _rank_mask(face: Typeface, text: str) -> NDArray[np.uint8]:
    return glyph(face, text) if len(text) == 1 else word(face, text, 0.07)


def _border(canvas: Canvas, style: DeckStyle) -> None:
    border = style.border
    if border is None:
        return
    insets = [border.inset, border.inset + 3 * border.width + 1.5] if border.double else [border.inset]
    for inset in insets:
        _round_box(canvas, inset, max(1.0, style.corner - inset), border.width, style)
    if border.ornate:
        deep = insets[-1] + 4
        kind = style.number % 3
        for x in (deep, WIDTH - deep):
            for y in (deep, HEIGHT - deep):
                if kind == 0:
                    disc(canvas, x, y, 4, style.rule)
                else:
                    rosette(canvas, (x, y), 8, (style.rule, 0.8), generator(style.number, 5))
        if kind == 2:
            for x in (insets[0] + border.width * 1.5 + 0.75, WIDTH - insets[0] - border.width * 1.5 - 0.75):
                for i in range(20, HEIGHT - 12, 8):
                    disc(canvas, x, i, 1.1, style.rule)


def _round_box(canvas: Canvas, inset: float, radius: float, width: float, style: DeckStyle) -> None:
    left, top, right, bottom = inset, inset, WIDTH - inset, HEIGHT - inset
    points = []
    for cx, cy, start in (
        (right - radius, top + radius, -90),
        (right - radius, bottom - radius, 0),
        (left + radius, bottom - radius, 90),
        (left + radius, top + radius, 180),
    ):
        turn = np.radians(np.linspace(start, start + 90, 7))
        points += [(cx + radius * float(np.cos(t)), cy + radius * float(np.sin(t))) for t in turn]
    line(canvas, points, style.rule, width, closed=True)


def _indices(canvas: Canvas, style: DeckStyle, rank: str, suit: str) -> None:
    index, ink = style.index, _ink(style, suit)
    mask = _rank_mask(style.typeface, _corner(style, rank))
    sign = pip(suit, style.small)
    stretch = index.stretch
    if rank == "ten":  # two digits share a little more than one's room
        room = max(2 * (index.x - 3), index.height * 0.8)
        stretch = min(stretch, room / (index.height * mask.shape[1] / mask.shape[0]))
    wide = index.height * mask.shape[1] / mask.shape[0] * stretch
    edge = style.border.inset + (8 if style.border.double else 4) if style.border else 7
    x = max(index.x, wide / 2 + max(7, edge))
    middle = index.top + index.height / 2
    if index.across:
        wide = index.pip * sign.shape[1] / sign.shape[0]
        at = (WIDTH - max(index.x, wide / 2 + 8), middle)
    elif index.beside:
        at = (x + wide / 2 + index.gap + index.pip / 2, middle)
    else:
        at = (x, index.top + index.height + index.gap + index.pip / 2)
    every = [(False, False), (True, True), (True, False), (False, True)]
    for right, down in every[: index.corners]:
        for sheet, (px, py), height, wider in ((mask, (x, middle), index.height, stretch), (sign, at, index.pip, 1.0)):
            if height:
                stamp(
                    canvas,
                    sheet,
                    (WIDTH - px if right else px, HEIGHT - py if down else py),
                    height,
                    ink,
                    turned=down,
                    stretch=wider,
                )


def _middle(canvas: Canvas, style: DeckStyle, rank: str, suit: str, rng: np.random.Generator) -> None:
    if rank == "ace" and style.courts.kind != "cut":
        _ace(canvas, style, suit, rng)
    elif rank in _COURTS:
        _court(canvas, style, rank, suit, rng)
    else:
        _number(canvas, style, rank, suit, rng)


def _number(canvas: Canvas, style: DeckStyle, rank: str, suit: str, rng: np.random.Generator) -> None:
    field, ink = style.field, _ink(style, suit)
    match field.kind:
        case "pips":
            for x, y in PLACES[rank]:
                at = WIDTH / 2 + x * field.x, HEIGHT / 2 + y * field.y
                stamp(canvas, pip(suit, style.pips), at, field.pip, ink, turned=y > 0)
        case "single":
            at = WIDTH / 2 + field.aside, HEIGHT / 2 + field.low
            stamp(canvas, pip(suit, style.pips), at, field.pip, ink)
        case "numeral":
            mask = _rank_mask(style.typeface, _corner(style, rank))
            stamp(canvas, mask, (WIDTH / 2, HEIGHT / 2 + field.low), field.pip * 1.5, ink)
        case "picture":
            picture(canvas.inside(53, 74, 144, 202, 100), style.courts.palette, rng)
    if field.frame:
        half = (field.x + field.pip * 0.62, field.y + field.pip * 0.62) if field.kind == "pips" else (76.0, 108.0)
        box(
            canvas,
            (WIDTH / 2 - half[0], HEIGHT / 2 - half[1]),
            (WIDTH / 2 + half[0], HEIGHT / 2 + half[1]),
            style.rule,
            field.frame,
        )


def _ace(canvas: Canvas, style: DeckStyle, suit: str, rng: np.random.Generator) -> None:
    ink, x, y = _ink(style, suit), WIDTH / 2, HEIGHT / 2
    sign = pip(suit, style.pips)
    if style.ace == "plain":
        stamp(canvas, sign, (x, y), max(style.field.pip, 40) if style.field.kind == "pips" else 60, ink)
        return
    high = between(rng, 90, 150) if style.ace == "large" else between(rng, 110, 140)
    if style.index.height > 64:  # large indices leave less room
        high *= 0.72
    if style.ace == "ornate":
        decor = pick(rng, (rosette, scrolls))
        decor(
            canvas,
            (x, y),
            between(rng, 78, 96),
            (ink.colour if chance(rng, 0.6) else style.rule, between(rng, 0.8, 1.6)),
            rng,
        )
        stamp(canvas, sign, (x, y), high * 1.12, Ink(style.stock.colour))
    stamp(canvas, sign, (x, y), high, ink)
    if style.ace == "ornate":
        light = Ink(style.stock.colour)
        stamp(canvas, sign, (x, y - high * 0.04), high * 0.5, light)
        if chance(rng, 0.6):
            stamp(canvas, sign, (x, y - high * 0.04), high * 0.34, ink)


def _court(canvas: Canvas, style: DeckStyle, rank: str, suit: str, rng: np.random.Generator) -> None:
    courts, ink = style.courts, _ink(style, suit)
    x, y = WIDTH / 2, HEIGHT / 2
    left, top = x - courts.width / 2, y - courts.height / 2
    sign = pip(suit, style.pips)
    match courts.kind:
        case "double" | "line":
            double_headed(canvas.inside(left, top, courts.width, courts.height, 100), rank, courts.palette, rng)
        case "standing":
            standing(canvas.inside(x - 85, y - 119, 170, 238, 100), rank, courts.palette, rng)
        case "cut":
            standing(_cut(canvas, style), rank, courts.palette, rng)
            return
        case "emblem":
            emblem(canvas.inside(x - 60, y - 88, 120, 106, 100), rank, courts.palette, rng)
            stamp(canvas, sign, (x, y + 52), 66, ink)
            return
        case "letter":
            stamp(canvas, _rank_mask(style.typeface, _corner(style, rank)), (x, y), 120, ink)
            return
        case "pip":
            stamp(canvas, sign, (x, y), max(110, style.field.pip), ink)
            return
    if courts.frame:
        box(canvas, (left, top), (left + courts.width, top + courts.height), style.rule, courts.frame)
    if courts.pip:
        side = 1 if style.number % 5 else -1
        px, py = courts.width / 2 - courts.pip * 0.62, courts.height / 2 - courts.pip * 0.68
        stamp(canvas, sign, (x - side * px, y - py), courts.pip, ink)
        stamp(canvas, sign, (x + side * px, y + py), courts.pip, ink, turned=True)


def _cut(canvas: Canvas, style: DeckStyle) -> Canvas:
    """Room below the indices for a figure that is too large for the card."""
    width, top = style.courts.width, style.index.top + style.index.height
    left = max(0.0, WIDTH / 2 + style.field.aside - width / 2)
    return canvas.inside(left, top, width, HEIGHT - top, 100)


def _joker(canvas: Canvas, style: DeckStyle, rng: np.random.Generator) -> None:
    x, y = WIDTH / 2, HEIGHT / 2
    palette = style.courts.palette
    match style.joker:
        case "jester" | "head" if style.courts.kind == "cut":
            jester(_cut(canvas, style), palette, rng)
        case "jester":
            jester(canvas.inside(x - 85, y - 125, 170, 250, 100), palette, rng)
        case "head":
            jester_head(canvas, (x, y + 5), between(rng, 2.2, 2.9), palette, rng)
        case "double":
            width, height = style.courts.width, style.courts.height
            part = canvas.inside(x - width / 2, y - height / 2, width, height, 100)
            bare = part.pixels.copy()
            jester_head(part, (50, height / width * 30), between(rng, 1.3, 1.6), palette, rng)
            double(part, bare)
            box(
                canvas,
                (x - width / 2, y - height / 2),
                (x + width / 2, y + height / 2),
                style.rule,
                style.courts.frame or 1,
            )
        case "star":
            star(canvas, (x, y), between(rng, 60, 88), int(rng.integers(5, 9)), palette)
            if chance(rng, 0.6):
                stamp(canvas, glyph(style.typeface, "J"), (x, y + 4), 54, Ink(palette.outline))
    ink = pick(rng, style.inks)
    if style.courts.kind == "cut":  # where the others have their indices
        text = word(style.typeface, "JOKER", 0.2)
        stamp(canvas, text, (x, style.index.top + style.index.height / 2), min(style.index.height, 44), ink)
        return
    down = chance(rng, 0.75)
    text = word(style.typeface, "JOKER", 0.14 if down else 0.1, down)
    length = between(rng, 90, 150)
    if not down:  # one line, turned to run down the side
        text = np.asarray(cv2.rotate(text, cv2.ROTATE_90_CLOCKWISE), np.uint8)
    aspect = text.shape[1] / text.shape[0]
    stretch = min(1.4, max(0.8, 17 / (length * aspect)))
    inset = max(12.0, style.border.inset + 12 if style.border else 12.0) + 4
    at = inset + length * aspect * stretch / 2 - 4, inset + length / 2
    stamp(canvas, text, at, length, ink, stretch=stretch)
    stamp(canvas, text, (WIDTH - at[0], HEIGHT - at[1]), length, ink, turned=True, stretch=stretch)
    if style.index.corners == 4:
        stamp(canvas, text, (WIDTH - at[0], at[1]), length, ink, stretch=stretch)
        stamp(canvas, text, (at[0], HEIGHT - at[1]), length, ink, turned=True, stretch=stretch)
