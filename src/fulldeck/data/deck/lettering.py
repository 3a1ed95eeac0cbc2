"""Typefaces for ranks and the word JOKER: skeletons of our own, drawn by a pen of any weight, contrast and serif.

One more typeface is the font that Pillow carries in itself (Aileron, public domain). No font file is read from the
machine, so that the same seed gives the same bytes everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import atan2, cos, hypot, radians, sin
from typing import TYPE_CHECKING, Literal, TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fulldeck.data.deck.canvas import Point, arc, bezier, fixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

Serif: TypeAlias = Literal["none", "slab", "hair", "wedge"]

_CAP = 112  # pixels a capital is high
_PAD = 40


@dataclass(frozen=True)
class Typeface:
    """How letters are drawn; lengths are parts of a capital's height."""

    drawn: bool = True  # False: Aileron, of which only weight, width and slant are used
    thick: float = 0.14  # downstrokes
    thin: float = 0.14  # cross strokes
    width: float = 1.0  # horizontal stretch
    slant: float = 0.0  # shear; 0.2 is a clear italic
    serif: Serif = "none"
    balls: bool = False  # round ends on 2, 3, 5, 6, 9 and J
    rounded: bool = False  # round stroke ends
    variant: int = 0  # bits that choose other forms of 1, 3, 4, 7, A and Q
    weight: int = 0  # Aileron only: pixels of fattening


@dataclass(frozen=True)
class _Skeleton:
    strokes: tuple[tuple[Point, ...], ...]
    feet: tuple[Point, ...] = ()  # ends that take a horizontal serif
    ticks: tuple[tuple[float, float, int], ...] = ()  # ends that take an upright one: x, y, +1 down or -1 up
    balls: tuple[Point, ...] = ()


def _bones(*strokes: list[Point]) -> tuple[tuple[Point, ...], ...]:
    return tuple(tuple(s) for s in strokes)


def _six() -> _Skeleton:
    stem = [*arc(0.31, 0.5, 0.31, 0.5, (318, 180)), (0.0, 0.69)]
    return _Skeleton(_bones(stem, arc(0.3, 0.69, 0.3, 0.31)), balls=(stem[0],))


def _half_turn(skeleton: _Skeleton, width: float) -> _Skeleton:
    def turn(p: Point) -> Point:
        return width - p[0], 1 - p[1]

    strokes = tuple(tuple(turn(p) for p in stroke) for stroke in skeleton.strokes)
    return _Skeleton(strokes, balls=tuple(turn(p) for p in skeleton.balls))


def _skeleton(char: str, variant: int) -> _Skeleton:  # noqa: C901, PLR0912 - one branch a letter
    """The centre lines of a letter in a box one high; y points down."""
    match char:
        case "0":
            return _Skeleton(_bones(arc(0.3, 0.5, 0.29, 0.5)))
        case "1" if variant & 1:
            return _Skeleton(_bones([(0.2, 0), (0.2, 1)]), feet=((0.2, 1), (0.2, 0)))
        case "1":
            return _Skeleton(_bones([(0.04, 0.2), (0.28, 0), (0.28, 1)]), feet=((0.28, 1),))
        case "2":
            bow = arc(0.3, 0.28, 0.28, 0.28, (195, 385))
            tail = bezier(bow[-1], (0.46, 0.6), (0.12, 0.72), (0.03, 1))
            return _Skeleton(_bones([*bow, *tail[1:], (0.58, 1)]), ticks=((0.58, 1, -1),), balls=(bow[0],))
        case "3" if variant & 2:
            bow = arc(0.27, 0.69, 0.3, 0.31, (285, 515))
            return _Skeleton(_bones([(0.03, 0), (0.53, 0), (0.24, 0.4), *bow]), ticks=((0.03, 0, 1),), balls=(bow[-1],))
        case "3":
            top, low = arc(0.27, 0.24, 0.25, 0.24, (195, 450)), arc(0.27, 0.74, 0.3, 0.26, (270, 520))
            return _Skeleton(_bones(top, low), balls=(top[0], low[-1]))
        case "4" if variant & 4:
            return _Skeleton(_bones([(0.16, 0), (0, 0.64), (0.6, 0.64)], [(0.42, 0.34), (0.42, 1)]), feet=((0.42, 1),))
        case "4":
            return _Skeleton(_bones([(0.45, 1), (0.45, 0), (0, 0.7), (0.62, 0.7)]), feet=((0.45, 1),))
        case "5":
            bow = arc(0.27, 0.67, 0.3, 0.33, (215, 515))
            return _Skeleton(_bones([(0.53, 0), (0.08, 0), (0.05, 0.46), *bow[1:]]), balls=(bow[-1],))
        case "6":
            return _six()
        case "7" if variant & 8:
            leg = bezier((0.56, 0), (0.34, 0.34), (0.22, 0.62), (0.2, 1))
            return _Skeleton(_bones([(0.02, 0), *leg]), ticks=((0.02, 0, 1),))
        case "7":
            return _Skeleton(_bones([(0.02, 0), (0.56, 0), (0.18, 1)]), ticks=((0.02, 0, 1),))
        case "8":
            return _Skeleton(_bones(arc(0.3, 0.24, 0.25, 0.24), arc(0.3, 0.74, 0.3, 0.26)))
        case "9":
            return _half_turn(_six(), 0.6)
        case "A" if variant & 16:
            feet = ((0.0, 1), (0.64, 1))
            strokes = _bones([(0, 1), (0.24, 0), (0.4, 0), (0.64, 1)], [(0.09, 0.64), (0.55, 0.64)])
            return _Skeleton(strokes, feet=feet)
        case "A":
            strokes = _bones([(0, 1), (0.34, 0), (0.68, 1)], [(0.12, 0.66), (0.56, 0.66)])
            return _Skeleton(strokes, feet=((0.0, 1), (0.68, 1)))
        case "B":
            top = [(0.08, 0), (0.3, 0), *arc(0.3, 0.24, 0.22, 0.24, (-90, 90)), (0.08, 0.48)]
            low = [(0.32, 0.48), *arc(0.32, 0.74, 0.24, 0.26, (-90, 90)), (0.08, 1)]
            return _Skeleton(_bones([(0.08, 0), (0.08, 1)], top, low), feet=((0.04, 0), (0.04, 1)))
        case "D":
            bow = [(0.08, 0), (0.24, 0), *arc(0.24, 0.5, 0.36, 0.5, (-90, 90)), (0.08, 1)]
            return _Skeleton(_bones([(0.08, 0), (0.08, 1)], bow), feet=((0.04, 0), (0.04, 1)))
        case "E":
            strokes = _bones([(0.5, 0), (0.08, 0), (0.08, 1), (0.52, 1)], [(0.08, 0.48), (0.42, 0.48)])
            return _Skeleton(strokes, feet=((0.04, 0), (0.04, 1)), ticks=((0.5, 0, 1), (0.52, 1, -1)))
        case "J":
            hook = [(0.4, 0), (0.4, 0.72), *arc(0.2, 0.72, 0.2, 0.28, (0, 165))]
            return _Skeleton(_bones(hook), feet=((0.36, 0),), balls=(hook[-1],))
        case "K":
            strokes = _bones([(0.08, 0), (0.08, 1)], [(0.58, 0), (0.1, 0.6)], [(0.24, 0.42), (0.62, 1)])
            return _Skeleton(strokes, feet=((0.08, 0), (0.08, 1), (0.56, 0), (0.62, 1)))
        case "O":
            return _Skeleton(_bones(arc(0.36, 0.5, 0.35, 0.5)))
        case "Q":
            stroke: list[Point] = (
                [(0.38, 0.7), (0.7, 1.06)] if variant & 32 else [(0.3, 0.76), (0.5, 0.86), (0.72, 1.1)]
            )
            return _Skeleton(_bones(arc(0.35, 0.5, 0.35, 0.5), stroke))
        case "R":
            bow = [(0.08, 0), (0.32, 0), *arc(0.32, 0.25, 0.23, 0.25, (-90, 90)), (0.08, 0.5)]
            strokes = _bones([(0.08, 0), (0.08, 1)], bow, [(0.3, 0.5), (0.6, 1)])
            return _Skeleton(strokes, feet=((0.06, 0), (0.06, 1), (0.6, 1)))
        case "V":
            return _Skeleton(_bones([(0, 0), (0.33, 1), (0.66, 0)]), feet=((0.0, 0), (0.66, 0)))
        case _:
            msg = f"no skeleton for {char!r}"
            raise ValueError(msg)


@lru_cache(maxsize=1024)
def glyph(typeface: Typeface, char: str) -> NDArray[np.uint8]:
    """A letter as a mask, ``uint8 [H, W]``, 255 on the letter, cropped to its ink, about 112 pixels high.

    Args:
        typeface: How to draw it.
        char: One of 0-9 A B D E J K O Q R V; any character where the typeface is Aileron.
    """
    return _drawn(typeface, char) if typeface.drawn else _aileron(typeface, char)


@lru_cache(maxsize=512)
def word(typeface: Typeface, text: str, spacing: float = 0.1, down: bool = False) -> NDArray[np.uint8]:
    """Letters side by side, or one below the other, as one mask.

    Args:
        typeface: How to draw them.
        text: What to write.
        spacing: Gap between letters, as a part of a letter's height.
        down: Stack the letters, each upright, as jokers have it.
    """
    letters = [glyph(typeface, char) for char in text]
    gap = round(_CAP * spacing)
    across = max(m.shape[1] for m in letters)
    high = max(m.shape[0] for m in letters)
    if down:
        sheet = np.zeros((sum(m.shape[0] + gap for m in letters) - gap, across), np.uint8)
    else:
        sheet = np.zeros((high, sum(m.shape[1] + gap for m in letters) - gap), np.uint8)
    at = 0
    for mask in letters:
        rows, columns = mask.shape
        if down:
            left = (across - columns) // 2
            sheet[at : at + rows, left : left + columns] = mask
            at += rows + gap
        else:
            sheet[:rows, at : at + columns] = mask
            at += columns + gap
    return sheet


def _drawn(face: Typeface, char: str) -> NDArray[np.uint8]:
    skeleton = _skeleton(char, face.variant)
    sheet = np.zeros((_CAP + 2 * _PAD, round(_CAP * face.width) + 3 * _PAD), np.uint8)
    inset = face.thin / 2
    for stroke in skeleton.strokes:
        _ribbon(sheet, face, [_place(face, p, inset) for p in stroke])
    if face.balls:
        for p in skeleton.balls:
            _dot(sheet, _place(face, p, inset), max(face.thick * 0.72, face.thin))
    if face.serif != "none":
        for x, y in skeleton.feet:
            _foot(sheet, face, _place(face, (x, y), inset), 1 if y > 0.5 else -1)
        for x, y, way in skeleton.ticks:
            px, py = _place(face, (x, y), inset)
            _ribbon(sheet, face, [(px, py - way * inset), (px, py + way * 0.17)], width=max(face.thin, 0.06))
    return _crop(sheet)


def _place(face: Typeface, p: Point, inset: float) -> Point:
    """A skeleton's point in the typeface's proportions, so that strokes end on the cap line and not beyond it."""
    y = inset + p[1] * (1 - 2 * inset)
    return p[0] * face.width + face.slant * (1 - y), y


def _ribbon(sheet: NDArray[np.uint8], face: Typeface, points: list[Point], width: float | None = None) -> None:
    """Draw a stroke whose width follows its direction, as a broad pen's does."""
    nib = radians(-12)  # tips the pen so that down-right strokes are the heavier ones, as in A and V
    widths = []
    for a, b in pairwise(points):
        angle = atan2(b[1] - a[1], b[0] - a[0])
        swing = abs(sin(angle + nib)) if face.thick != face.thin else 1.0
        widths.append(width or face.thin + (face.thick - face.thin) * swing)
    for i, (a, b) in enumerate(pairwise(points)):
        length = hypot(b[0] - a[0], b[1] - a[1])
        if length == 0:
            continue
        half = widths[i] / 2
        nx, ny = -(b[1] - a[1]) / length * half, (b[0] - a[0]) / length * half
        quad = [(a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny), (b[0] - nx, b[1] - ny), (a[0] - nx, a[1] - ny)]
        _polygon(sheet, quad)
        if i:
            _dot(sheet, a, min(widths[i - 1], widths[i]) / 2)
    if face.rounded:
        _dot(sheet, points[0], widths[0] / 2)
        _dot(sheet, points[-1], widths[-1] / 2)


def _foot(sheet: NDArray[np.uint8], face: Typeface, at: Point, way: int) -> None:
    x, y = at
    half, deep = face.thick * 0.5 + 0.1 * face.width, max(face.thin, 0.05)
    edge = y + way * face.thin / 2
    if face.serif == "wedge":
        root = face.thick * 0.45
        _polygon(
            sheet, [(x - half, edge), (x + half, edge), (x + root, edge - way * 0.16), (x - root, edge - way * 0.16)]
        )
    else:
        deep = deep if face.serif == "slab" else 0.045
        _polygon(
            sheet, [(x - half, edge), (x + half, edge), (x + half, edge - way * deep), (x - half, edge - way * deep)]
        )


def _polygon(sheet: NDArray[np.uint8], points: list[Point]) -> None:
    shifted = [(x + _PAD / _CAP, y + _PAD / _CAP) for x, y in points]
    cv2.fillPoly(sheet, [fixed(shifted, _CAP)], 255, cv2.LINE_AA, 4)


def _dot(sheet: NDArray[np.uint8], at: Point, radius: float) -> None:
    turn = [radians(15 * i) for i in range(24)]
    _polygon(sheet, [(at[0] + radius * cos(t), at[1] + radius * sin(t)) for t in turn])


def _aileron(face: Typeface, char: str) -> NDArray[np.uint8]:
    image = Image.new("L", (_CAP * 3, _CAP * 3))
    font = ImageFont.load_default(size=150)
    ImageDraw.Draw(image).text((_CAP, _CAP // 2), char, fill=255, font=font)
    mask = _crop(np.asarray(image))
    if face.weight:
        size = 2 * face.weight + 1
        pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        padded = cv2.copyMakeBorder(mask, size, size, size, size, cv2.BORDER_CONSTANT, value=(0,))
        mask = _crop(np.asarray(cv2.dilate(padded, pen), np.uint8))
    rows, columns = mask.shape
    shear = np.array([[face.width, -face.slant, face.slant * rows], [0, 1, 0]], np.float64)
    sheared = cv2.warpAffine(mask, shear, (round(columns * face.width + face.slant * rows) + 1, rows))
    return _crop(np.asarray(sheared, np.uint8))


def _crop(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = np.flatnonzero(mask.max(axis=1) > 40), np.flatnonzero(mask.max(axis=0) > 40)
    cropped = np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    cropped.flags.writeable = False
    return cropped
