"""Kings, queens, jacks and jesters, drawn by code: double-headed in a frame, standing, as emblems or as line art."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.data.deck.canvas import (
    Canvas,
    Colour,
    Point,
    arc,
    bezier,
    blend,
    disc,
    double,
    fill,
    fixed,
    line,
    on_circle,
    smooth,
)
from fulldeck.data.deck.chance import between, chance, pick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Placer = Callable[[Sequence[Point]], list[Point]]

PATTERNS = ("bands", "bars", "slant", "dots", "checks", "chevrons", "gems", "plain")


@dataclass(frozen=True)
class Palette:
    """The colours of a deck's figures."""

    outline: Colour
    skin: Colour
    hair: Colour
    cloth: tuple[Colour, Colour, Colour, Colour]  # garment, trimming, gold, second garment
    pen: float = 1.0  # line width; a figure is 100 wide


def shape(canvas: Canvas, points: Sequence[Point], colour: Colour, palette: Palette) -> None:
    """A filled and outlined polygon."""
    fill(canvas, points, colour)
    line(canvas, points, palette.outline, palette.pen, closed=True)


def patterned(
    canvas: Canvas, points: Sequence[Point], colours: tuple[Colour, Colour], weave: tuple[str, float], palette: Palette
) -> None:
    """A polygon filled with two colours in a weave (one of `PATTERNS`, half a repeat in units), and outlined."""
    corners = np.asarray(points, np.float64)
    low, high = corners.min(axis=0) - 1, corners.max(axis=0) + 1
    rows, columns = canvas.pixels.shape[:2]
    x0, y0 = max(0, int(low[0] * canvas.scale)), max(0, int(low[1] * canvas.scale))
    x1, y1 = min(columns, int(high[0] * canvas.scale) + 1), min(rows, int(high[1] * canvas.scale) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    shifted = fixed(corners, canvas.scale) - (np.array([x0, y0], np.int32) << 4)
    cv2.fillPoly(mask, [shifted], 255, cv2.LINE_AA, 4)
    second = _woven(weave[0], max(2, round(weave[1] * canvas.scale)), (x0, x1), (y0, y1))
    paint = np.where(second[:, :, None], np.array(colours[1], np.uint8), np.array(colours[0], np.uint8))
    blend(canvas.pixels[y0:y1, x0:x1], mask, paint)
    line(canvas, points, palette.outline, palette.pen, closed=True)


def _woven(pattern: str, step: int, across: tuple[int, int], down: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the second colour shows, ``bool [rows, columns]``; a repeat is two steps."""
    y, x = np.arange(*down)[:, None], np.arange(*across)[None, :]
    period = 2 * step
    match pattern:
        case "bands":
            return np.broadcast_to(y % period < step, (y.size, x.size))
        case "bars":
            return np.broadcast_to(x % period < step, (y.size, x.size))
        case "slant":
            return np.asarray((x + y) % period < step)
        case "dots":
            dx, dy = x % period - step, y % period - step
            return np.asarray(dx * dx + dy * dy < step * step * 0.36)
        case "checks":
            return np.asarray((x // step + y // step) % 2 == 0)
        case "chevrons":
            return np.asarray((y + np.abs(x % (2 * period) - period)) % period < step)
        case "gems":
            return np.asarray(np.abs(x % period - step) + np.abs(y % period - step) < step * 0.7)
        case _:
            return np.zeros((y.size, x.size), np.bool_)


def double_headed(canvas: Canvas, rank: str, palette: Palette, rng: np.random.Generator) -> None:
    """Draw a court on the whole canvas (100 units wide): a bust above, and the same upside down below."""
    units_high = canvas.pixels.shape[0] / canvas.scale
    bare = canvas.pixels.copy()
    bust(canvas, rank, palette, rng, middle=units_high / 2)
    # the two halves meet in a level or a slanting line through the middle
    slope = pick(rng, (0.0, 0.0, 0.35, -0.35, 0.6))
    double(canvas, bare, slope)

    def seam(px: float, above: float) -> Point:
        return px, units_high / 2 - slope * (px - 50) - above

    near = pick(rng, (12.0, 12.0, 0.0))
    band = between(rng, 1.5, 4) if chance(rng, 0.6) else 0
    if band:
        strip = [seam(near, band), seam(100 - near, band), seam(100 - near, -band), seam(near, -band)]
        shape(canvas, strip, palette.cloth[2], palette)
    else:
        line(canvas, [seam(near, 0), seam(100 - near, 0)], palette.outline, palette.pen)


def bust(canvas: Canvas, rank: str, palette: Palette, rng: np.random.Generator, middle: float) -> None:
    """Head, shoulders and what the hand holds, down to and beyond the middle line."""
    cloth = palette.cloth
    low = middle + 36  # beyond the middle, for slanting cuts
    neck = middle - between(rng, 30, 36)
    size = min(1.3, middle / 67)  # of the head: crown and all reach the top of the frame
    lean = between(rng, -4, 6)
    x = 50 + lean
    wide = between(rng, 38, 48)
    side = 1 if chance(rng, 0.5) else -1
    pattern = pick(rng, PATTERNS)
    step = between(rng, 2.0, 4.5)
    if rank != "queen" or chance(rng, 0.5):
        _held(canvas, rank, (x - side * between(rng, 30, 38), middle), palette, rng, behind=True)
    # cloak, then sleeves, then the panel down the front
    shoulder = neck + between(rng, 4, 9)
    cloak = smooth([(x - 9, neck - 2), (x - wide * 0.7, shoulder), (50 - wide, middle - 8), (50 - wide - 3, low)], 6)
    cloak += smooth([(50 + wide + 3, low), (50 + wide, middle - 8), (x + wide * 0.7, shoulder), (x + 9, neck - 2)], 6)
    patterned(canvas, cloak, (cloth[0], pick(rng, (cloth[1], cloth[2], cloth[0]))), (pattern, step), palette)
    for s in (-1, 1):
        for i in range(int(rng.integers(2, 5))):
            inset = 5 + i * between(rng, 4.0, 6.0)
            strip = smooth(
                [
                    (x + s * (8 + inset * 0.3), neck + inset * 0.5),
                    (x + s * (wide * 0.68 - inset), shoulder + inset),
                    (50 + s * (wide - inset), low),
                ]
            )
            line(canvas, strip, pick(rng, (cloth[1], cloth[2], cloth[3], palette.outline)), between(rng, 1.2, 3.4))
    panel = [(x - 8, neck), (x + 8, neck), (50 + between(rng, 12, 20), low), (50 - between(rng, 12, 20), low)]
    patterned(canvas, panel, (cloth[3], pick(rng, (cloth[1], cloth[2]))), (pick(rng, PATTERNS), step), palette)
    for s in (-1, 1):  # lapels
        lapel = [
            (x + s * 6, neck - 3),
            (x + s * between(rng, 18, 26), shoulder + 2),
            (x + s * between(rng, 10, 16), low),
            (x + s * 5, low),
        ]
        if chance(rng, 0.55):
            patterned(
                canvas,
                lapel,
                (cloth[2], pick(rng, (cloth[0], cloth[1], palette.outline))),
                (pick(rng, PATTERNS), step),
                palette,
            )
    _collar(canvas, x, neck, palette, rng)
    head(canvas, rank, (x, neck - 15 * size), palette, rng, size=size, turn=between(rng, -1, 1))
    grip = x + side * between(rng, 24, 36)
    arm = smooth([(x + side * wide * 0.55, shoulder + 5), (50 + side * (wide - 2), middle - 9), (grip, middle - 14)])
    sleeve = between(rng, 9, 13)
    line(canvas, arm, palette.outline, sleeve + 2 * palette.pen)
    line(canvas, arm, pick(rng, cloth), sleeve)
    line(canvas, arm, pick(rng, cloth), sleeve * between(rng, 0.2, 0.6))
    _held(canvas, rank, (grip, middle), palette, rng, behind=False)


def _collar(canvas: Canvas, x: float, y: float, palette: Palette, rng: np.random.Generator) -> None:
    kind = int(rng.integers(3))
    if kind == 0:
        for s in (-1, 1):
            shape(canvas, [(x, y + 8), (x + s * 16, y + 5), (x + s * 10, y - 3), (x, y - 2)], palette.cloth[1], palette)
    elif kind == 1:
        for i in range(-3, 4):
            shape(canvas, arc(x + i * 4.4, y + 3 - abs(i) * 0.8, 3, 3), palette.cloth[2], palette)
    else:
        bow = smooth([(x - 15, y - 2), (x, y + 6), (x + 15, y - 2)])
        back = smooth([(x + 17, y + 4), (x, y + 13), (x - 17, y + 4)])
        patterned(
            canvas,
            bow + back,
            (palette.cloth[1], palette.outline),
            (pick(rng, ("dots", "bars", "plain")), 2.2),
            palette,
        )


def head(
    canvas: Canvas,
    rank: str,
    centre: Point,
    palette: Palette,
    rng: np.random.Generator,
    *,
    size: float,
    turn: float,
) -> None:
    """A face with hair and headgear around a point, about 22 wide at size 1; turn is -1 (looks left) to 1 (right)."""

    def at(points: Sequence[Point]) -> list[Point]:
        return [(centre[0] + px * size, centre[1] + py * size) for px, py in points]

    p = palette
    t = turn * 3
    long = rank == "queen" or chance(rng, 0.5)
    hair = p.hair
    wave = between(rng, 10, 15)
    fall = between(rng, 12, 20) if long else between(rng, 5, 10)
    back = [
        (-11, -8),
        (-wave, 2),
        (-wave - 2, fall),
        (-6, fall - 3),
        (6, fall - 3),
        (wave + 2, fall),
        (wave, 2),
        (11, -8),
        (0, -14),
    ]
    shape(canvas, at(smooth(back, closed=True)), hair, p)
    if chance(rng, 0.6):  # curls at the ends
        for s in (-1, 1):
            shape(canvas, at(arc(s * (wave + 1), fall - 2, 3.4, 3.4)), hair, p)
            line(canvas, at(arc(s * (wave + 1), fall - 2, 1.6, 1.6, (0, 250))), p.outline, p.pen * 0.7)
    shape(canvas, at([(-4, 8), (4, 8), (5, 16), (-5, 16)]), p.skin, p)  # neck
    chin = between(rng, 12, 14)
    face = [(-9, -7), (-9, 3), (-5, 10), (t * 0.3, chin), (5, 10), (9, 3), (9, -7), (0, -12)]
    shape(canvas, at(smooth(face, closed=True)), p.skin, p)
    for s in (-1, 1):
        line(
            canvas, at(smooth([(s * 4 + t - 2.2, -4.2), (s * 4 + t, -5.2), (s * 4 + t + 2.2, -4.2)])), p.outline, p.pen
        )
        fill(canvas, at(arc(s * 4 + t, -2, 1.5, 1.0)), p.outline)
    line(canvas, at([(t * 1.2, -3), (t * 1.8 + 0.6, 3), (t * 1.1 - 0.8, 3.4)]), p.outline, p.pen * 0.8)
    line(
        canvas,
        at(smooth([(t - 2.6, 6.6), (t, 7.2), (t + 2.6, 6.6)])),
        p.cloth[0] if rank == "queen" else p.outline,
        p.pen,
    )
    if rank == "king":
        _beard(canvas, at, t, p, rng)
    elif rank == "jack" and chance(rng, 0.4):
        line(canvas, at(smooth([(t - 4.5, 6), (t - 2, 4.8), (t, 5.4), (t + 2, 4.8), (t + 4.5, 6)])), hair, 1.4 * size)
    if rank == "king":
        _crown(canvas, at, p, rng, points=pick(rng, (3, 5, 5)), high=between(rng, 9, 14), wide=between(rng, 10, 13))
    elif rank == "queen":
        _crown(canvas, at, p, rng, points=pick(rng, (3, 5, 7)), high=between(rng, 4, 8), wide=between(rng, 8, 11))
        if chance(rng, 0.4):
            shape(canvas, at(arc(0, -11, 11.5, 3, (180, 360))), p.cloth[1], p)
    else:
        _cap(canvas, at, p, rng)


def _beard(canvas: Canvas, at: Placer, t: float, p: Palette, rng: np.random.Generator) -> None:
    drop = between(rng, 14, 24)
    fork = between(rng, 0, 5)
    beard = [
        (-9, 0),
        (-9.5, 8),
        (-5, drop - 2),
        (-2, drop),
        (0, drop - fork),
        (2, drop),
        (5, drop - 2),
        (9.5, 8),
        (9, 0),
        (5, 5),
        (t, 4.2),
        (-5, 5),
    ]
    shape(canvas, at(smooth(beard, closed=True)), p.hair, p)
    fill(canvas, at(arc(t, 7, 2.6, 1)), p.cloth[0])
    for i in (-2, -1, 1, 2):
        line(canvas, at(smooth([(i * 2.4, 9), (i * 2.0, 12), (i * 1.2, drop - 3)])), p.outline, p.pen * 0.6)


def _crown(
    canvas: Canvas, at: Placer, p: Palette, rng: np.random.Generator, *, points: int, high: float, wide: float
) -> None:
    base, top = -9.0, -13.0
    gold = p.cloth[2]
    spikes: list[Point] = [(-wide, top)]
    for i in range(points):
        at_x = -wide - 2 + (2 * wide + 4) * i / (points - 1)
        spikes.append((at_x, top - high * (1 if i % 2 == 0 or points < 5 else 0.7)))
        if i < points - 1:
            spikes.append((-wide + 2 * wide * (i + 0.5) / (points - 1), top - high * 0.25))
    outline = [(-wide + 1, base), *spikes, (wide, top), (wide - 1, base)]
    shape(canvas, at(outline), gold, p)
    patterned(
        canvas,
        at([(-wide, top), (wide, top), (wide - 1, base), (-wide + 1, base)]),
        (p.cloth[0], gold),
        (pick(rng, ("dots", "gems", "bars")), 1.6),
        p,
    )
    for i, (px, py) in enumerate(spikes[1::2]):
        if i % 2 == 0 or chance(rng, 0.5):
            shape(canvas, at(arc(px, py - 1, 1.7, 1.7)), p.cloth[1], p)


def _cap(canvas: Canvas, at: Placer, p: Palette, rng: np.random.Generator) -> None:
    side = 1 if chance(rng, 0.5) else -1
    puff = [(-12, -8), (-14, -13), (-8, -18 - between(rng, 0, 4)), (2, -19), (11, -17), (14, -12), (12, -8)]
    shape(canvas, at(smooth(puff, closed=True)), p.cloth[0], p)
    patterned(
        canvas,
        at([(-12.5, -11), (12.5, -11), (12, -7), (-12, -7)]),
        (p.cloth[1], p.cloth[2]),
        (pick(rng, PATTERNS), 1.8),
        p,
    )
    if chance(rng, 0.7):
        feather = smooth([(side * 9, -10), (side * 17, -20), (side * 24, -18), (side * 18, -12)], closed=True)
        shape(canvas, at(feather), p.cloth[2], p)
        line(canvas, at([(side * 9, -10), (side * 21, -17)]), p.outline, p.pen * 0.7)


def _held(canvas: Canvas, rank: str, at: Point, p: Palette, rng: np.random.Generator, *, behind: bool) -> None:
    """A sword, sceptre, axe, staff or flower, and the hand on it; `at` is where it crosses the figure's middle."""
    x, middle = at
    top = middle - between(rng, 50, 74)
    foot = middle + 30
    hand = middle - between(rng, 12, 20)
    things = {
        "king": ("sword", "sceptre", "axe"),
        "queen": ("flower", "flower", "sceptre"),
        "jack": ("staff", "axe", "leaf"),
    }
    thing = pick(rng, things[rank])
    if behind and chance(rng, 0.45):
        return
    wide = 1.5 if thing != "sword" else 2.4
    shape(
        canvas,
        [(x - wide, top + 8), (x + wide, top + 8), (x + wide, foot), (x - wide, foot)],
        p.cloth[2 if thing != "flower" else 3],
        p,
    )
    match thing:
        case "sword":
            fill(canvas, [(x - wide, top + 9), (x, top), (x + wide, top + 9)], p.cloth[2])
            line(canvas, [(x - wide, top + 9), (x, top), (x + wide, top + 9)], p.outline, p.pen)
            line(canvas, [(x, top + 6), (x, foot)], p.outline, p.pen * 0.7)
            shape(canvas, [(x - 8, hand - 7), (x + 8, hand - 7), (x + 8, hand - 4), (x - 8, hand - 4)], p.cloth[1], p)
        case "sceptre":
            shape(canvas, arc(x, top + 5, 5, 5), p.cloth[1], p)
            shape(canvas, [(x - 1, top + 1), (x - 3, top - 5), (x + 3, top - 5), (x + 1, top + 1)], p.cloth[2], p)
        case "axe":
            shape(
                canvas,
                smooth([(x, top + 6), (x + 11, top), (x + 13, top + 10), (x + 11, top + 20), (x, top + 14)]),
                p.cloth[1],
                p,
            )
        case "staff":
            shape(canvas, [(x, top - 4), (x + 4, top + 6), (x, top + 12), (x - 4, top + 6)], p.cloth[0], p)
        case _:
            for i in range(5):
                cx, cy = on_circle(x, top + 5, 4.6, i * 72)
                shape(canvas, arc(cx, cy, 3.2, 3.2), p.cloth[0 if thing == "flower" else 3], p)
            shape(canvas, arc(x, top + 5, 2.2, 2.2), p.cloth[2], p)
    shape(canvas, arc(x, hand, 5.2, 4.2), p.skin, p)
    for finger in (-1.4, 0.4, 2.0):
        line(canvas, [(x - 3.6, hand + finger), (x + 2.4, hand + finger)], p.outline, p.pen * 0.6)


def standing(canvas: Canvas, rank: str, palette: Palette, rng: np.random.Generator) -> None:
    """One whole figure on a canvas 100 wide and about 140 high, as picture-book decks have it."""
    p = palette
    x = 50.0
    hem = between(rng, 24, 36)
    _held(canvas, rank, (x + pick(rng, (-30.0, 30.0)), 92), p, rng, behind=False)
    for s in (-1, 1):
        shape(canvas, arc(x + s * 9, 134, 7, 4), p.outline, p)
        sleeve = smooth([(x + s * 10, 58), (x + s * 26, 74), (x + s * 30, 80)])
        line(canvas, sleeve, p.outline, 10.5)
        line(canvas, sleeve, p.cloth[3], 9.0)
        shape(canvas, arc(x + s * 30, 81, 4.4, 4.4), p.skin, p)
    robe = [(x - 13, 56), (x + 13, 56), (x + hem, 132), (x - hem, 132)]
    patterned(
        canvas,
        robe,
        (p.cloth[0], pick(rng, (p.cloth[1], p.cloth[0], p.cloth[2]))),
        (pick(rng, PATTERNS), between(rng, 3, 6)),
        p,
    )
    patterned(
        canvas,
        [(x - 6, 56), (x + 6, 56), (x + 10, 132), (x - 10, 132)],
        (p.cloth[1], p.cloth[2]),
        (pick(rng, PATTERNS), between(rng, 2, 4)),
        p,
    )
    _collar(canvas, x, 56, p, rng)
    head(canvas, rank, (x, 36), p, rng, size=1.25, turn=between(rng, -1, 1))


def emblem(canvas: Canvas, rank: str, palette: Palette, rng: np.random.Generator) -> None:
    """A court's head, or its crown, tiara or feathered cap alone, on a canvas 100 wide and about 90 high."""
    if rank == "jack" or chance(rng, 0.4):
        head(canvas, rank, (50, 56), palette, rng, size=1.7, turn=between(rng, -1, 1))
        return

    def at(points: Sequence[Point]) -> list[Point]:
        return [(50 + px * 3.2, 86 + py * 3.2) for px, py in points]

    tall = between(rng, 8, 11) if rank == "king" else between(rng, 4, 6)
    _crown(canvas, at, palette, rng, points=5 if rank == "king" else 7, high=tall, wide=12)


def jester_head(canvas: Canvas, centre: Point, size: float, palette: Palette, rng: np.random.Generator) -> None:
    """A jester's grinning face in a horned cap with bells and a ruff, about 60 wide at size 1."""

    def at(points: Sequence[Point]) -> list[Point]:
        return [(centre[0] + px * size, centre[1] + py * size) for px, py in points]

    p = palette
    spikes = int(rng.integers(5, 9))
    ruff: list[Point] = []
    for i in range(2 * spikes + 1):
        tip = 24 if i % 2 else 13
        px, py = on_circle(0, 0, tip, 180 - i * 90 / spikes)
        ruff.append((px, 8 + py * 0.8))
    shape(canvas, at(ruff), p.cloth[1], p)
    for i, (px, py) in enumerate(ruff[1::2]):
        shape(canvas, at(arc(px, py, 1.8, 1.8)), p.cloth[2 if i % 2 else 0], p)
    face = [(-9, -7), (-9, 4), (-4, 12), (0, 14), (4, 12), (9, 4), (9, -7), (0, -12)]
    shape(canvas, at(smooth(face, closed=True)), p.skin, p)
    for s in (-1, 1):
        shape(canvas, at(arc(s * 4, -2, 2, 1.7)), (255, 255, 255), p)
        fill(canvas, at(arc(s * 4 + between(rng, -0.6, 0.6), -2, 0.9, 1.1)), p.outline)
        line(canvas, at([(s * 1.6, -6), (s * 6.5, -6 - between(rng, 0, 2))]), p.outline, p.pen)
    shape(canvas, at([(-1, -1), (1, -1), (2, 4), (-2, 4)]), p.skin, p)
    grin = smooth([(-6, 5), (0, 9.5), (6, 5)]) + smooth([(6, 5), (0, 7.5), (-6, 5)])
    shape(canvas, at(grin), p.cloth[0], p)
    reach, lift = between(rng, 22, 30), between(rng, -4, 8)
    colours = (p.cloth[0], p.cloth[3], p.cloth[1])
    for i, s in enumerate((-1, 1)):
        horn = bezier((0, -22), (s * 14, -24), (s * reach, -20), (s * reach, lift))
        horn += bezier((s * reach, lift), (s * (reach - 8), -8), (s * 14, -6), (s * 9.5, -5))
        patterned(
            canvas,
            at([*horn, (0, -9)]),
            (colours[i], p.cloth[2]),
            (pick(rng, ("plain", "plain", "bands", "gems")), 3 * size),
            p,
        )
        shape(canvas, at(arc(s * reach, lift + 2.5, 3, 3)), p.cloth[2], p)
    sway = between(rng, -8, 8)
    middle = bezier((-8, -8), (-8, -20), (sway - 3, -26), (sway, -34))
    middle += bezier((sway, -34), (sway + 5, -26), (8, -20), (8, -8))
    shape(canvas, at(middle), colours[2], p)
    shape(canvas, at(arc(sway, -35.5, 3, 3)), p.cloth[2], p)


def jester(canvas: Canvas, palette: Palette, rng: np.random.Generator) -> None:
    """A whole jester in some dance, on a canvas 100 wide and about 140 high."""
    p = palette
    sides = (p.cloth[0], p.cloth[3])
    hips = (50 + between(rng, -5, 5), between(rng, 84, 92))
    for i, s in enumerate((-1, 1)):
        knee = (hips[0] + s * between(rng, 6, 22), hips[1] + between(rng, 12, 22))
        foot = (knee[0] + s * between(rng, -14, 10), min(132, knee[1] + between(rng, 14, 26)))
        limb = smooth([(hips[0] + s * 5, hips[1]), knee, foot])
        line(canvas, limb, p.outline, 11)
        line(canvas, limb, sides[i], 9)
        shoe = smooth(
            [
                (foot[0] - 4, foot[1] + 3),
                (foot[0] + s * 6, foot[1] + 5),
                (foot[0] + s * 14, foot[1] - 4),
                (foot[0] + s * 6, foot[1] - 1),
                (foot[0], foot[1] - 4),
            ],
            closed=True,
        )
        shape(canvas, shoe, p.cloth[2], p)
        elbow = (50 + s * between(rng, 18, 28), between(rng, 52, 72))
        hand = (elbow[0] + s * between(rng, -6, 14), elbow[1] + between(rng, -22, 12))
        arm = smooth([(50 + s * 9, 54), elbow, hand])
        if i == 0 and chance(rng, 0.6):
            line(canvas, [(hand[0] - 4, hand[1] + 14), (hand[0] + 5, hand[1] - 20)], p.outline, 1.8)
            shape(canvas, arc(hand[0] + 5, hand[1] - 22, 5, 5), p.cloth[1], p)
        line(canvas, arm, p.outline, 9.5)
        line(canvas, arm, sides[1 - i], 7.5)
        disc(canvas, *hand, 4.4, p.outline)
        disc(canvas, *hand, 3.6, p.skin)
    body = [(39.0, 50.0), (61.0, 50.0), (hips[0] + 11, hips[1] + 4), (hips[0] - 11, hips[1] + 4)]
    patterned(canvas, body, (sides[0], pick(rng, (p.cloth[1], sides[1]))), (pick(rng, PATTERNS), between(rng, 3, 5)), p)
    patterned(
        canvas,
        [(50.0, 50.0), (61.0, 50.0), (hips[0] + 11, hips[1] + 4), (hips[0], hips[1] + 4)],
        (sides[1], p.cloth[2]),
        (pick(rng, ("plain", "gems", "dots")), 3),
        p,
    )
    for i in range(3):
        disc(canvas, 50 + (hips[0] - 50) * i / 3, 60 + i * 9, 1.8, p.cloth[2])
    jester_head(canvas, (50, 37), 0.85, p, rng)
