"""The four suits' signs, each with many outlines, and where on a card they stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import cv2
import numpy as np

from fulldeck.data.deck.canvas import Point, arc, bezier, fixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

Decor: TypeAlias = Literal["solid", "outline", "inline", "engraved", "pixel"]

_SIZE = 168  # pixels a pip is high before it is scaled to its place


@dataclass(frozen=True)
class PipShape:
    """An outline's parameters, one set for a deck; lengths are parts of the pip's height."""

    width: float = 0.9  # of hearts, spades and clubs
    cleft: float = 0.2  # how deep a heart's notch goes
    belly: float = 0.1  # how full a heart's and a spade's sides are; 0 is straight, 0.3 is round
    shoulder: float = 0.3  # how far below the top a heart is widest
    stem: float = 0.2  # half the width of a stem's foot
    flare: float = 0.8  # how late the stem opens: 0 is a triangle, 1 a thin stalk on a foot
    leaf: float = 0.24  # radius of a club's leaves
    spread: float = 0.25  # how far a club's side leaves stand from the middle
    diamond: float = 0.78  # a diamond's width
    waist: float = 0.08  # how far a diamond's sides are drawn in
    decor: Decor = "solid"
    pen: float = 0.05  # width of an outline


@lru_cache(maxsize=256)
def pip(suit: str, shape: PipShape) -> NDArray[np.uint8]:
    """A suit's sign as a mask, ``uint8 [H, W]``, 255 on the sign, cropped to it.

    Args:
        suit: "clubs", "diamonds", "hearts" or "spades".
        shape: Its outline.
    """
    sheet = np.zeros((round(_SIZE * 1.5), round(_SIZE * 1.8)), np.uint8)
    for polygon in _outline(suit, shape):
        points = np.asarray(polygon, np.float64) + np.array([0.9, 0.75])
        cv2.fillPoly(sheet, [fixed(points, _SIZE)], 255, cv2.LINE_AA, 4)
    mask = np.asarray(_decorate(_crop(sheet), shape), np.uint8)
    mask.flags.writeable = False
    return mask


def _outline(suit: str, s: PipShape) -> list[list[Point]]:
    """Polygons that together are the sign, in a box one high around the origin."""
    match suit:
        case "hearts":
            return [_heart(s, 0.5, 0.5)]
        case "diamonds":
            x, w = s.diamond / 2, s.waist
            sides: list[Point] = []
            for a, b in (((0, -0.5), (x, 0)), ((x, 0), (0, 0.5)), ((0, 0.5), (-x, 0)), ((-x, 0), (0, -0.5))):
                middle = ((a[0] + b[0]) / 2 * (1 - 2 * w), (a[1] + b[1]) / 2 * (1 - 2 * w))
                sides += bezier(a, middle, middle, b)
            return [sides]
        case "spades":
            # a heart upside down, but slimmer and fuller, or a small blurred spade could pass for a club
            slim = replace(s, width=s.width * 0.9, belly=0.16 + 0.7 * s.belly, shoulder=s.shoulder * 0.9)
            body = [(x, -y - 0.08) for x, y in _heart(slim, 0.42, 0.42)]
            return [body, _stem(s, 0.0)]
        case _:
            r = s.leaf
            side = 0.37 - r
            leaves = [arc(0, r - 0.5, r, r), arc(-s.spread, side, r, r), arc(s.spread, side, r, r)]
            heart = (r - 0.5 + 2 * side) / 3
            return [*leaves, arc(0, heart + 0.02, 0.1, 0.1), _stem(s, heart)]


def _heart(s: PipShape, high: float, low: float) -> list[Point]:
    """A heart from -high to low; the notch is on top."""
    x = s.width / 2
    wide = -high + s.shoulder * (high + low)
    notch = (0.0, -high + s.cleft * (high + low))
    top = -high - (wide + high) / 3  # a control point that far above puts the curve's top on the box
    lobe = bezier(notch, (0.05 * x, top), (x, top), (x, wide))
    side = bezier((x, wide), (x, wide + 0.3), (s.belly * x * 2, low - 0.28), (0, low))
    right = lobe + side[1:]
    return right + [(-px, py) for px, py in reversed(right)]


def _stem(s: PipShape, top: float) -> list[Point]:
    foot = 0.5
    knee = top + (foot - top) * s.flare
    right = bezier((0.03, top), (0.03, knee), (0.06, foot - 0.04), (s.stem, foot))
    return right + [(-px, py) for px, py in reversed(right)]


def _decorate(mask: NDArray[np.uint8], shape: PipShape) -> NDArray[np.uint8]:
    if shape.decor == "solid":
        return mask
    if shape.decor == "pixel":
        cells = 17
        small = cv2.resize(
            mask, (max(1, round(cells * mask.shape[1] / mask.shape[0])), cells), interpolation=cv2.INTER_AREA
        )
        crisp = np.where(small > 120, 255, 0).astype(np.uint8)
        return np.asarray(cv2.resize(crisp, mask.shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    padded = np.pad(mask, 1)
    pen = max(3, round(shape.pen * _SIZE))
    inner = _shrunk(padded, pen)[1:-1, 1:-1]
    if shape.decor == "outline":
        return np.asarray(cv2.subtract(mask, inner), np.uint8)
    if shape.decor == "inline":
        core = _shrunk(padded, pen * 2)[1:-1, 1:-1]
        return np.asarray(cv2.subtract(mask, cv2.subtract(inner, core)), np.uint8)
    rows = (np.arange(mask.shape[0]) // max(3, pen // 2)) % 2 == 0
    lines = np.where(rows[:, None], 255, 0).astype(np.uint8)
    right = np.arange(mask.shape[1])[None, :] > mask.shape[1] // 2
    hatched = np.where(right, 255, lines).astype(np.uint8)
    edge = np.asarray(cv2.subtract(mask, inner), np.uint8)
    return np.minimum(mask, np.maximum(hatched, edge))


def _shrunk(mask: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return np.asarray(cv2.erode(mask, pen), np.uint8)


def _crop(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = np.flatnonzero(mask.max(axis=1) > 40), np.flatnonzero(mask.max(axis=0) > 40)
    return np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


# Where pips stand: x is -1 (left column), 0 or 1; y is -1 (top row) to 1 (bottom row). Those below the middle stand
# upside down. The standard English pattern.
_COLUMN3 = ((-1.0, -1.0), (-1.0, 0.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 0.0), (1.0, 1.0))
_CORNERS = ((-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0))
_COLUMN4 = tuple((x, y) for x in (-1.0, 1.0) for y in (-1.0, -1 / 3, 1 / 3, 1.0))

PLACES: dict[str, tuple[Point, ...]] = {
    "ace": ((0.0, 0.0),),
    "two": ((0.0, -1.0), (0.0, 1.0)),
    "three": ((0.0, -1.0), (0.0, 0.0), (0.0, 1.0)),
    "four": _CORNERS,
    "five": (*_CORNERS, (0.0, 0.0)),
    "six": _COLUMN3,
    "seven": (*_COLUMN3, (0.0, -0.5)),
    "eight": (*_COLUMN3, (0.0, -0.5), (0.0, 0.5)),
    "nine": (*_COLUMN4, (0.0, 0.0)),
    "ten": (*_COLUMN4, (0.0, -2 / 3), (0.0, 2 / 3)),
}
