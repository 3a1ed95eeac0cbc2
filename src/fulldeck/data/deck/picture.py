"""Pictures for the middle of illustrated cards, and ornaments around aces. They say nothing about the card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fulldeck.data.deck.canvas import Canvas, Colour, Point, arc, bezier, disc, fill, line, on_circle, smooth
from fulldeck.data.deck.chance import between, chance, pick
from fulldeck.data.deck.figures import Palette, emblem, head, jester, shape, standing

if TYPE_CHECKING:
    import numpy as np


def picture(canvas: Canvas, palette: Palette, rng: np.random.Generator) -> None:
    """Some picture on a canvas 100 wide and about 140 high."""
    pick(rng, (_serpent, _mandala, _hills, _flower, _character, _bird, _shapes, _crown_and_star, _dancer))(
        canvas, palette, rng
    )


def rosette(canvas: Canvas, at: Point, radius: float, ink: tuple[Colour, float], rng: np.random.Generator) -> None:
    """Rings of petals, loops or rays around a point; ink is a colour and a line width."""
    (x, y), (colour, pen) = at, ink
    for _ in range(int(rng.integers(1, 4))):
        count = int(rng.integers(8, 25))
        inner, outer = radius * between(rng, 0.4, 0.7), radius * between(rng, 0.75, 1.0)
        kind = int(rng.integers(4))
        for i in range(count):
            a = 360 * i / count
            near, far = on_circle(x, y, inner, a), on_circle(x, y, outer, a)
            if kind == 0:
                line(canvas, [near, far], colour, pen)
            elif kind == 1:
                line(
                    canvas,
                    arc((near[0] + far[0]) / 2, (near[1] + far[1]) / 2, radius * 0.15, radius * 0.15),
                    colour,
                    pen,
                    closed=True,
                )
            elif kind == 2:
                side = 180 / count
                left, right = (
                    on_circle(x, y, inner, a - side),
                    on_circle(x, y, inner, a + side),
                )
                line(canvas, bezier(left, far, far, right, 8), colour, pen)
            else:
                disc(canvas, *far, radius * 0.05, colour)
    if chance(rng, 0.5):
        line(canvas, arc(x, y, radius, radius), colour, pen, closed=True)


def scrolls(canvas: Canvas, at: Point, size: float, ink: tuple[Colour, float], rng: np.random.Generator) -> None:
    """Curls mirrored left and right, and above and below, of a point; ink is a colour and a line width."""
    (x, y), (colour, pen) = at, ink
    curl = between(rng, 0.3, 0.6)
    for sx in (-1, 1):
        for sy in (-1, 1):
            stem = bezier(
                (x, y + sy * size * 0.2),
                (x + sx * size * curl, y + sy * size),
                (x + sx * size * 1.1, y + sy * size * 0.7),
                (x + sx * size * 0.8, y + sy * size * 0.3),
            )
            line(canvas, stem, colour, pen)
            line(
                canvas, arc(x + sx * size * 0.72, y + sy * size * 0.38, size * 0.12, size * 0.12, (0, 300)), colour, pen
            )
            disc(canvas, x + sx * size * curl, y + sy * size * 0.8, pen * 1.6, colour)


def _serpent(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    knots = [(50 + pick(rng, (-1, 1)) * between(rng, 8, 32), 14 + 16.0 * i) for i in range(8)]
    body = smooth(knots, 8)
    wide = between(rng, 7, 13)
    line(canvas, body, p.outline, wide + 2)
    line(canvas, body, p.cloth[0], wide)
    line(canvas, body, p.cloth[2], wide * 0.3)
    shape(canvas, arc(*knots[0], wide * 0.9, wide * 0.7), p.cloth[0], p)
    disc(canvas, knots[0][0] + 2, knots[0][1] - 1, 1.4, p.outline)


def _mandala(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    for radius in (44.0, 30.0, 18.0):
        rosette(canvas, (50, 70), radius, (pick(rng, (p.outline, *p.cloth)), between(rng, 0.7, 1.6)), rng)
    shape(canvas, arc(50, 70, 8, 8), p.cloth[0], p)


def _hills(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    fill(canvas, [(6, 14), (94, 14), (94, 126), (6, 126)], p.cloth[3])
    disc(canvas, between(rng, 25, 75), between(rng, 30, 50), between(rng, 8, 15), p.cloth[2])
    for i, colour in enumerate((p.cloth[1], p.cloth[0], p.outline)):
        ridge = (
            [(6.0, 70.0 + 14 * i)]
            + [(6 + 88 * j / 5, between(rng, 55, 80) + 14 * i) for j in range(1, 5)]
            + [(94.0, 72.0 + 14 * i)]
        )
        fill(canvas, [*(smooth(ridge) if chance(rng, 0.5) else ridge), (94, 126), (6, 126)], colour)
    line(canvas, [(6, 14), (94, 14), (94, 126), (6, 126)], p.outline, p.pen, closed=True)


def _flower(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, y, size = between(rng, 28, 72), between(rng, 28, 70), between(rng, 9, 17)
        line(canvas, smooth([(50, 132), (between(rng, 40, 60), 104), (x, y)]), (40, 110, 60), 2.2)
        for s in (-1, 1):
            shape(
                canvas,
                smooth([(50, 118), (50 + s * 16, 104), (50 + s * 26, 108), (50 + s * 14, 116)], closed=True),
                (60, 140, 70),
                p,
            )
        petals = int(rng.integers(5, 9))
        for i in range(petals):
            cx, cy = on_circle(x, y, size, 360 * i / petals)
            shape(canvas, arc(cx, cy, size * 0.55, size * 0.55), p.cloth[0], p)
        shape(canvas, arc(x, y, size * 0.5, size * 0.5), p.cloth[2], p)


def _character(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    if chance(rng, 0.5):
        disc(canvas, 50, 66, 44, p.cloth[3])
    shape(canvas, smooth([(50, 66), (20, 84), (12, 130), (88, 130), (80, 84)], closed=True), p.cloth[0], p)
    shape(canvas, [(42, 74), (58, 74), (54, 126), (46, 126)], p.cloth[1], p)
    head(
        canvas,
        pick(rng, ("king", "queen", "jack")),
        (50, 46),
        p,
        rng,
        size=between(rng, 1.5, 2.0),
        turn=between(rng, -1, 1),
    )


def _bird(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    s = 1 if chance(rng, 0.5) else -1

    def x(v: float) -> float:
        return 50 + s * v

    shape(
        canvas, smooth([(x(-34), 96), (x(-14), 62), (x(10), 52), (x(24), 66), (x(10), 92)], closed=True), p.cloth[0], p
    )
    for i in range(4):
        lift = between(rng, 10, 40)
        wing = smooth(
            [(x(-4 + 4 * i), 66), (x(-26 + 6 * i), lift), (x(-12 + 8 * i), lift + 6), (x(6 + 3 * i), 74)], closed=True
        )
        shape(canvas, wing, p.cloth[(i + 1) % 4], p)
    shape(canvas, arc(x(22), 54, 9, 9), p.cloth[0], p)
    shape(canvas, [(x(29), 51), (x(41), 55), (x(29), 58)], p.cloth[2], p)
    disc(canvas, x(24), 52, 1.6, p.outline)
    for i in range(3):
        line(canvas, smooth([(x(-28), 94), (x(-40), 104 + 8 * i), (x(-44 + 6 * i), 120 + 3 * i)]), p.cloth[i], 4)
    line(canvas, smooth([(4, 118), (50, 108), (96, 122)]), p.outline, 3)


def _shapes(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(4, 9))):
        x, y, r = between(rng, 18, 82), between(rng, 24, 116), between(rng, 6, 24)
        count = pick(rng, (3, 4, 5, 36))
        tilt = between(rng, 0, 360)
        shape(
            canvas,
            [on_circle(x, y, r, tilt + 360 * i / count) for i in range(count)],
            pick(rng, p.cloth),
            p,
        )


def star(canvas: Canvas, at: Point, radius: float, points: int, palette: Palette) -> None:
    """A golden star that stands on its feet."""
    x, y = at
    corners: list[Point] = []
    for i in range(2 * points):
        r = radius if i % 2 == 0 else radius * 0.42
        corners.append(on_circle(x, y, r, -90 + 180 * i / points))
    shape(canvas, corners, palette.cloth[2], palette)


def _crown_and_star(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    star(canvas, (50, 80), between(rng, 30, 42), int(rng.integers(5, 9)), p)
    emblem(canvas, pick(rng, ("king", "queen", "jack")), p, rng)


def _dancer(canvas: Canvas, p: Palette, rng: np.random.Generator) -> None:
    if chance(rng, 0.5):
        standing(canvas, pick(rng, ("king", "queen", "jack")), p, rng)
    else:
        jester(canvas, p, rng)
