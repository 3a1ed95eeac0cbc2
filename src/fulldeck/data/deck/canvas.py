"""A sheet to draw on: flat shapes, lines and stamped masks, in units of the thing drawn and not in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import TYPE_CHECKING, TypeAlias, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]

_SHIFT = 4  # OpenCV's fixed point: coordinates in sixteenths of a pixel


@dataclass(frozen=True)
class Ink:
    """What a shape is printed in: one colour, or two that run into each other."""

    colour: Colour
    shade: Colour | None = None  # the second colour; None prints flat
    across: bool = False  # the two colours meet in a sharp line left and right, as in a cut gem


@dataclass(frozen=True)
class Canvas:
    """Pixels (``uint8 [H, W, 3]``, RGB, drawn on in place) and how many of them one unit is."""

    pixels: NDArray[np.uint8]
    scale: float

    def inside(self, left: float, top: float, width: float, height: float, units: float) -> Canvas:
        """The part of this canvas in a box, as a canvas that is ``units`` wide and shares the pixels."""
        x, y = round(left * self.scale), round(top * self.scale)
        w, h = round(width * self.scale), round(height * self.scale)
        return Canvas(self.pixels[y : y + h, x : x + w], w / units)


def blank(width: int, height: int, colour: Colour) -> NDArray[np.uint8]:
    """Pixels of one colour, ``[height, width, 3]``."""
    return np.full((height, width, 3), colour, np.uint8)


def fixed(points: Sequence[Point] | NDArray[np.float64], scale: float) -> NDArray[np.int32]:
    """Points in units as OpenCV's fixed-point pixels (pair with ``shift=4``)."""
    pixels = np.asarray(points, np.float64) * scale - 0.5
    return np.rint(pixels * (1 << _SHIFT)).astype(np.int32)


def fill(canvas: Canvas, points: Sequence[Point] | NDArray[np.float64], colour: Colour) -> None:
    """Fill a polygon."""
    cv2.fillPoly(canvas.pixels, [fixed(points, canvas.scale)], colour, cv2.LINE_AA, _SHIFT)


def line(
    canvas: Canvas,
    points: Sequence[Point] | NDArray[np.float64],
    colour: Colour,
    width: float,
    closed: bool = False,
) -> None:
    """Draw along points with a round pen, never thinner than a pixel."""
    thickness = max(1, round(width * canvas.scale))
    cv2.polylines(canvas.pixels, [fixed(points, canvas.scale)], closed, colour, thickness, cv2.LINE_AA, _SHIFT)


def disc(canvas: Canvas, x: float, y: float, radius: float, colour: Colour) -> None:
    """Fill a circle."""
    centre = fixed([(x, y)], canvas.scale)[0]
    size = max(1, round(radius * canvas.scale * (1 << _SHIFT)))
    cv2.circle(canvas.pixels, (int(centre[0]), int(centre[1])), size, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def box(canvas: Canvas, first: Point, opposite: Point, colour: Colour, width: float) -> None:
    """Draw the outline of a rectangle between two corners."""
    (left, top), (right, bottom) = first, opposite
    line(canvas, [(left, top), (right, top), (right, bottom), (left, bottom)], colour, width, closed=True)


def on_circle(cx: float, cy: float, radius: float, degrees: float) -> Point:
    """The point of a circle at an angle, clockwise from the right, as y points down."""
    return cx + radius * cos(radians(degrees)), cy + radius * sin(radians(degrees))


def arc(cx: float, cy: float, rx: float, ry: float, turn: tuple[float, float] = (0, 360)) -> list[Point]:
    """Points on an ellipse from one angle to another, in degrees clockwise from the right."""
    start, stop = turn
    steps = max(3, round(abs(stop - start) / 10))
    angles = (radians(start + (stop - start) * i / steps) for i in range(steps + 1))
    return [(cx + rx * cos(a), cy + ry * sin(a)) for a in angles]


def bezier(a: Point, b: Point, c: Point, d: Point, steps: int = 14) -> list[Point]:
    """Points on a cubic Bézier curve from a to d."""
    points = []
    for i in range(steps + 1):
        t = i / steps
        u = 1 - t
        k = (u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t)
        points.append(
            (
                k[0] * a[0] + k[1] * b[0] + k[2] * c[0] + k[3] * d[0],
                k[0] * a[1] + k[1] * b[1] + k[2] * c[1] + k[3] * d[1],
            )
        )
    return points


def smooth(points: Sequence[Point], steps: int = 6, closed: bool = False) -> list[Point]:
    """A Catmull-Rom curve through the points."""
    knots = list(points)
    n = len(knots)
    out: list[Point] = []
    for i in range(n if closed else n - 1):
        p1, p2 = knots[i], knots[(i + 1) % n]
        p0 = knots[(i - 1) % n] if closed or i > 0 else p1
        p3 = knots[(i + 2) % n] if closed or i + 2 < n else p2
        b = (p1[0] + (p2[0] - p0[0]) / 6, p1[1] + (p2[1] - p0[1]) / 6)
        c = (p2[0] - (p3[0] - p1[0]) / 6, p2[1] - (p3[1] - p1[1]) / 6)
        out += bezier(p1, b, c, p2, steps)[:-1]
    return out if closed else [*out, knots[-1]]


def blend(pixels: NDArray[np.uint8], mask: NDArray[np.uint8], paint: NDArray[np.uint8]) -> None:
    """Lay ``paint`` (``[H, W, 3]`` or one colour ``[3]``) over pixels, in place, as far as mask (0-255) says."""
    amount = mask.astype(np.int32)[:, :, None]
    under = pixels.astype(np.int32)
    pixels[:] = (under + ((paint.astype(np.int32) - under) * amount + 127) // 255).astype(np.uint8)


def double(canvas: Canvas, bare: NDArray[np.uint8], slope: float = 0.0) -> None:
    """Repeat what is drawn in the upper half upside down in the lower one, as on cards without a right way up.

    Args:
        canvas: Drawn on; its middle is the point of symmetry.
        bare: Its pixels before that, which stay as they are where nothing was drawn.
        slope: How far the line between the halves rises to the right; 0 is level.
    """
    pixels = canvas.pixels
    rows, columns = pixels.shape[:2]
    inked = (pixels != bare).any(axis=2)
    y, x = np.arange(rows)[:, None] - (rows - 1) / 2, np.arange(columns)[None, :] - (columns - 1) / 2
    upper = (y + slope * x < 0)[:, :, None]
    lower = np.where(inked[::-1, ::-1, None], pixels[::-1, ::-1], bare)
    pixels[:] = np.where(upper, pixels, lower)


def stamp(
    canvas: Canvas,
    mask: NDArray[np.uint8],
    at: Point,
    height: float,
    ink: Ink,
    *,
    turned: bool = False,
    stretch: float = 1.0,
) -> None:
    """Print a mask (``uint8 [H, W]``, 255 where ink goes) centred on a point.

    Args:
        canvas: Where to print.
        mask: The shape; it is scaled to ``height`` units.
        at: The centre, in units.
        height: How high the whole mask is, in units.
        ink: What to print it in.
        turned: Upside down.
        stretch: How much wider than the mask's own proportions.
    """
    rows = max(2, round(height * canvas.scale))
    columns = max(2, round(rows * mask.shape[1] / mask.shape[0] * stretch))
    small = cv2.resize(
        mask, (columns, rows), interpolation=cv2.INTER_AREA if rows < mask.shape[0] else cv2.INTER_LINEAR
    )
    paint = _paint(ink, rows, columns)
    if turned:
        small, paint = small[::-1, ::-1], paint[::-1, ::-1]
    left, top = round(at[0] * canvas.scale - columns / 2), round(at[1] * canvas.scale - rows / 2)
    full_height, full_width = canvas.pixels.shape[:2]
    x0, x1 = max(0, left), min(full_width, left + columns)
    y0, y1 = max(0, top), min(full_height, top + rows)
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    blend(canvas.pixels[y0:y1, x0:x1], cast("NDArray[np.uint8]", small)[part], paint[part])


def _paint(ink: Ink, rows: int, columns: int) -> NDArray[np.uint8]:
    """The ink's colours over a shape, ``[rows, columns, 3]``."""
    paint = blank(columns, rows, ink.colour)
    if ink.shade is None:
        return paint
    if ink.across:
        paint[:, columns // 2 :] = ink.shade
        return paint
    first, second = np.array(ink.colour, np.int32), np.array(ink.shade, np.int32)
    steps = np.arange(rows, dtype=np.int32)[:, None]
    paint[:] = (first + (second - first) * steps // max(1, rows - 1)).astype(np.uint8)[:, None, :]
    return paint
