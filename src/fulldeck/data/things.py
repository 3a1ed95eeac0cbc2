"""Flat pictures of things that are no cards and lie where cards do: backs, business cards, dice, chips, paper, screens.

Each function draws one thing that nobody has seen, as pixels and an outline; where it lies, and in what light, is
decided elsewhere. Nothing drawn here shows a rank beside a suit.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fulldeck.data.deck.canvas import Canvas, Colour, Ink, Point, arc, blank, box, disc, fill, line, on_circle, stamp
from fulldeck.data.deck.chance import between, chance, pick
from fulldeck.data.deck.picture import rosette, scrolls
from fulldeck.data.deck.pips import PipShape, pip
from fulldeck.data.deck.stock import Stock, Texture, paper, textured
from fulldeck.data.deck.style import BLACKS, BRIGHTS, CREAMS, DARKS, GOLDS, PASTELS, REDS, WHITES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONSETS, _VOWELS, _CODAS = "bdfghklmnprstvz", "aeiou", ("", "", "n", "r", "s", "l", "st", "ng")
_HANDS = (cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)
_ROUND = 400  # pixels: the square that dice and chips are drawn in


class Thing(NamedTuple):
    """One thing: ``pixels`` uint8 [H, W, 3] RGB, and ``mask`` uint8 [H, W], 255 where it is and 0 beside it."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def back(rng: np.random.Generator) -> Thing:
    """A playing card seen from behind."""
    width, height = 320, 448
    colour = pick(rng, (*REDS, *DARKS, *BRIGHTS, (28, 58, 120), (20, 90, 70)))
    ground = pick(rng, (*WHITES, *CREAMS[:2], *GOLDS[:2])) if chance(rng, 0.8) else pick(rng, DARKS)
    sheet = blank(width, height, ground)
    inset = int(rng.integers(0, 34))
    w, h = width - 2 * inset, height - 2 * inset
    inner = Canvas(sheet, 1.0).inside(inset, inset, w, h, w)
    ink = colour
    if chance(rng, 0.75):
        inner.pixels[:] = colour
        ink = ground
    pick(rng, (_lattice, _lattice, _waves, _rings, _rosettes, _scrollwork))(inner, (w, h), ink, rng)
    if chance(rng, 0.4):
        radius = between(rng, 25, 70)
        disc(inner, w / 2, h / 2, radius, colour)
        disc(inner, w / 2, h / 2, radius * 0.92, ground)
        rosette(inner, (w / 2, h / 2), radius * 0.85, (colour, between(rng, 1, 2.5)), rng)
    for gap in (0.0, between(rng, 4, 9))[: int(rng.integers(3))]:
        box(inner, (gap + 1, gap + 1), (w - gap - 1, h - gap - 1), ink, between(rng, 1, 3))
    return Thing(sheet, rounded(width, height, int(rng.integers(8, 22))))


def business_card(rng: np.random.Generator) -> Thing:
    """A name, a few lines of address, perhaps a sign; mostly wide, now and then upright."""
    width, height = (448, 266) if chance(rng, 0.7) else (266, 448)
    colour = pick(rng, (*WHITES, *CREAMS[:2], *PASTELS, *DARKS, *BRIGHTS))
    dark = sum(colour) < 330
    stock = Stock(colour, pick(rng, (*BRIGHTS, *DARKS)) if chance(rng, 0.2) else None, *_grain(rng))
    sheet = paper(stock, width, height)
    canvas = Canvas(sheet, 1.0)
    ink = pick(rng, (*WHITES[:2], *GOLDS)) if dark else pick(rng, (*BLACKS, *REDS[:3], (28, 58, 120)))
    accent = pick(rng, BRIGHTS)
    if chance(rng, 0.4):  # a band along an edge
        deep = between(rng, 0.05, 0.4)
        x, y = pick(rng, ((width, height * deep), (width * deep, height)))
        fill(canvas, [(0, 0), (x, 0), (x, y), (0, y)], accent)
    if chance(rng, 0.7):
        _logo(canvas, (between(rng, 0.12, 0.88) * width, between(rng, 0.15, 0.5) * height), accent, rng)
    x, y = between(rng, 0.06, 0.3) * width, between(rng, 0.25, 0.55) * height
    write(sheet, (x, y), words(rng, 2).title(), ink, int(rng.integers(20, 36)))
    y += 38
    for _ in range(int(rng.integers(1, 6))):
        text = pick(rng, (words(rng, 3), _digits(rng), f"{words(rng, 1)}@{words(rng, 1)}.com"))
        size = int(rng.integers(11, 18))
        write(sheet, (x, y), text, ink, size)
        y += size * 1.5
    return Thing(textured(stock, sheet), rounded(width, height, int(rng.integers(1, 24))))


def die(rng: np.random.Generator) -> Thing:
    """A die from a random side: a cube turned in space, the faces that look up with one to six spots each."""
    side, middle = 210.0, _ROUND / 2
    turn = _rotation(rng, nearly_flat=chance(rng, 0.35))
    colour = np.array(pick(rng, (*WHITES, *CREAMS[:2], *REDS, *BLACKS, *BRIGHTS)), np.float64)
    spot = np.array((250, 250, 248) if colour.sum() < 420 else pick(rng, ((18, 18, 20), (170, 20, 30))), np.float64)
    sheet, mask = blank(_ROUND, _ROUND, (0, 0, 0)), np.zeros((_ROUND, _ROUND), np.uint8)
    light = np.array([between(rng, -0.6, 0.6), between(rng, -0.8, 0.2), 1.0])
    light /= np.linalg.norm(light)
    bevel = int(rng.integers(8, 30))
    radius = between(rng, 0.075, 0.105)
    faces = [
        (turn[:, axis] * sign, turn[:, (axis + 1) % 3], turn[:, (axis + 2) % 3])
        for axis in range(3)
        for sign in (-1, 1)
    ]
    numbers = rng.permutation(6) + 1
    for (normal, across, down), number in sorted(zip(faces, numbers, strict=True), key=lambda one: one[0][0][2]):
        if normal[2] <= 0.02:  # it looks away
            continue
        shade = 0.6 + 0.4 * max(0.0, float(normal @ light))
        plane = np.stack([across, down, normal / 2]) * side  # (u, v, 1) on the face to space
        half = 0.5 - bevel / side / 2
        corners = np.array([(-half, -half, 1), (half, -half, 1), (half, half, 1), (-half, half, 1)]) @ plane
        outline = np.rint(corners[:, :2] + middle).astype(np.int32)
        for target, value in ((sheet, _colour(colour * shade)), (mask, (255, 255, 255))):
            cv2.fillPoly(target, [outline], value, cv2.LINE_AA)
            cv2.polylines(target, [outline], isClosed=True, color=value, thickness=bevel, lineType=cv2.LINE_AA)
        angles = np.linspace(0, 2 * np.pi, 25)
        ring = radius * np.stack([np.cos(angles), np.sin(angles), np.zeros(25)], axis=1)
        for u, v in _spots(int(number)):
            points = (ring + np.array([u, v, 1])) @ plane
            cv2.fillPoly(sheet, [np.rint(points[:, :2] + middle).astype(np.int32)], _colour(spot * shade), cv2.LINE_AA)
    return _cut(sheet, mask)


def chip(rng: np.random.Generator) -> Thing:
    """A casino chip from above: a rim with stripes, rings, and a number or a suit's sign alone in its middle."""
    sheet, mask = blank(_ROUND, _ROUND, (0, 0, 0)), np.zeros((_ROUND, _ROUND), np.uint8)
    canvas, middle = Canvas(sheet, 1.0), _ROUND // 2
    rim, stripe = pick(rng, (*BRIGHTS, *REDS, *BLACKS)), pick(rng, (*WHITES, *BRIGHTS))
    ground = pick(rng, (*WHITES, *BRIGHTS))
    disc(canvas, middle, middle, 190, rim)
    cv2.circle(mask, (middle, middle), 190, (255,), cv2.FILLED, cv2.LINE_AA)
    count, wide, turn, deep = int(rng.integers(4, 13)), between(rng, 5, 14), between(rng, 0, 90), between(rng, 135, 155)
    for i in range(count):
        a = turn + 360 * i / count
        outer = [on_circle(middle, middle, 189, a + d) for d in (-wide, 0, wide)]
        fill(canvas, [*outer, *(on_circle(middle, middle, deep, a + d) for d in (wide, -wide))], stripe)
    for radius in sorted((between(rng, 70, 145) for _ in range(int(rng.integers(1, 4)))), reverse=True):
        disc(canvas, middle, middle, radius, pick(rng, (ground, rim, stripe)))
        ring = arc(middle, middle, radius, radius)
        line(canvas, ring, pick(rng, (stripe, *GOLDS)), between(rng, 1, 6), closed=True)
    disc(canvas, middle, middle, 66, ground)
    ink = pick(rng, (*BLACKS, *REDS)) if sum(ground) > 330 else pick(rng, WHITES)
    kind = rng.random()
    if kind < 0.45:
        suit = pick(rng, ("clubs", "diamonds", "hearts", "spades"))
        stamp(canvas, pip(suit, PipShape()), (middle, middle), between(rng, 60, 100), Ink(ink))
    elif kind < 0.9:
        text = pick(rng, ("1", "5", "25", "50", "100", "500", "1000", "$5", "$25", "$100"))
        write(sheet, (middle, middle), text, ink, int(rng.integers(40, 56)), centred=True)
    if chance(rng, 0.3):
        rosette(canvas, (middle, middle), 138, (stripe, 2), rng)
    return _cut(sheet, mask)


def written_paper(rng: np.random.Generator) -> Thing:
    """A sheet with print or handwriting on it: a letter, a receipt, a page in columns, a note on squared paper."""
    width, height = pick(rng, ((320, 448), (320, 448), (448, 320), (190, 448)))
    stock = Stock(pick(rng, (*WHITES, *CREAMS, *PASTELS)), None, *_grain(rng))
    sheet = paper(stock, width, height)
    canvas = Canvas(sheet, 1.0)
    ink = pick(rng, (*BLACKS, (40, 50, 130), (90, 90, 96)))
    margin = between(rng, 0.03, 0.12) * width
    if chance(rng, 0.3):  # ruled or squared
        step = int(rng.integers(12, 28))
        sheet[step::step] = (190, 205, 225)
        if chance(rng, 0.4):
            sheet[:, step::step] = (190, 205, 225)
    y = margin
    if chance(rng, 0.6):
        size = int(rng.integers(18, 60))
        write(sheet, (margin, y), words(rng, int(rng.integers(1, 4))).title(), pick(rng, (ink, *BRIGHTS)), size)
        y += size * 1.5
    columns = int(rng.integers(1, 4)) if width > 250 else 1
    size, hand = int(rng.integers(8, 20)), chance(rng, 0.25)
    room = (width - 2 * margin) / columns
    for column in range(columns):
        left = margin + column * room
        _lines(sheet, ((left, y), (left + room - 8, height - margin)), ink, size, rng, hand=hand)
    if chance(rng, 0.25):
        _logo(canvas, (between(rng, 0.2, 0.8) * width, between(rng, 0.2, 0.9) * height), pick(rng, BRIGHTS), rng)
    return Thing(textured(stock, sheet), rounded(width, height, int(rng.integers(1, 6))))


def screen(rng: np.random.Generator) -> Thing:
    """A display that is switched on: a terminal, a chat, a chart, tiles or a table, below a bar, in its frame."""
    width, height = pick(rng, ((448, 280), (448, 252), (448, 336), (230, 448), (336, 448)))
    dark = chance(rng, 0.45)
    grounds = ((30, 30, 34), (18, 22, 30), (40, 44, 52)) if dark else ((255, 255, 255), (244, 245, 247))
    ground, ink = pick(rng, grounds), (214, 218, 224) if dark else (40, 44, 52)
    sheet = blank(width, height, ground)
    canvas = Canvas(sheet, 1.0)
    pick(rng, (_terminal, _chat, _chart, _tiles, _table))(canvas, (width, height), ink, rng)
    bar = int(rng.integers(14, 30))
    fill(canvas, [(0, 0), (width, 0), (width, bar), (0, bar)], pick(rng, (*BRIGHTS, ground)))
    for i in range(3):
        disc(canvas, 14 + 14 * i, bar / 2, 4, pick(rng, BRIGHTS))
    write(sheet, (width * 0.3, bar * 0.15), words(rng, 2), ink, round(bar * 0.6))
    if chance(rng, 0.3):  # the raster that a camera catches
        step = int(rng.integers(2, 4))
        sheet[::step] = (sheet[::step] * 0.86).astype(np.uint8)
    edge = int(rng.integers(4, 16))
    frame = pick(rng, ((12, 12, 14), (30, 30, 32), (200, 202, 206)))
    pixels = np.asarray(cv2.copyMakeBorder(sheet, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=frame), np.uint8)
    return Thing(pixels, rounded(pixels.shape[1], pixels.shape[0], int(rng.integers(2, 30))))


def domino(rng: np.random.Generator) -> Thing:
    """A domino: two fields of spots with a line between them."""
    colour, spot = pick(
        rng, (((250, 246, 232), (20, 20, 22)), ((24, 24, 26), (245, 245, 245)), ((120, 70, 40), (240, 220, 180)))
    )
    sheet = blank(224, 448, colour)
    canvas = Canvas(sheet, 1.0)
    for top in (0, 224):
        for u, v in _spots(int(rng.integers(0, 7))):
            disc(canvas, 112 + u * 224, top + 112 + v * 224, 20, spot)
    line(canvas, [(20, 224), (204, 224)], spot, 4)
    return Thing(sheet, rounded(224, 448, int(rng.integers(10, 40))))


def game_card(rng: np.random.Generator) -> Thing:
    """A card of another game: coloured, a number or a word in an oval, a small one in two corners, and no suit."""
    sheet = blank(300, 448, pick(rng, WHITES))
    canvas, colour = Canvas(sheet, 1.0), pick(rng, BRIGHTS)
    edge = int(rng.integers(0, 24))
    sheet[edge : 448 - edge, edge : 300 - edge] = colour
    text = pick(rng, (*"0123456789", "+2", "+4", "X", "?", "10", "12", words(rng, 1)))
    points = np.array(arc(0, 0, 95, 165), np.float64)
    tilt = np.radians(between(rng, 0, 35))
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    light = pick(rng, WHITES)
    fill(canvas, points @ turn + (150, 224), light)
    write(
        sheet,
        (150, 224),
        text,
        colour if sum(colour) < 660 else (20, 20, 20),
        110 if len(text) < 3 else 40,
        centred=True,
    )
    if chance(rng, 0.8):
        for half in (sheet, sheet[::-1, ::-1]):
            corner = np.ascontiguousarray(half[:70, :90])
            write(corner, (edge + 10, edge + 6), text[:2], light, 34)
            half[:70, :90] = corner
    return Thing(sheet, rounded(300, 448, int(rng.integers(8, 26))))


def rounded(width: int, height: int, radius: int) -> NDArray[np.uint8]:
    """The outline of a rectangle with round corners, ``uint8 [height, width]``: 255 inside."""
    mask = np.zeros((height, width), np.uint8)
    cv2.rectangle(mask, (radius, 0), (width - 1 - radius, height - 1), (255,), cv2.FILLED)
    cv2.rectangle(mask, (0, radius), (width - 1, height - 1 - radius), (255,), cv2.FILLED)
    for x in (radius, width - 1 - radius):
        for y in (radius, height - 1 - radius):
            cv2.circle(mask, (x, y), radius, (255,), cv2.FILLED, cv2.LINE_AA)
    return mask


def words(rng: np.random.Generator, count: int) -> str:
    """As many made-up words, with a number among them now and then."""
    made = []
    for _ in range(count):
        syllables = range(int(rng.integers(1, 4)))
        word = "".join(pick(rng, _ONSETS) + pick(rng, _VOWELS) + pick(rng, _CODAS) for _ in syllables)
        made.append(str(int(rng.integers(0, 3000))) if chance(rng, 0.08) else word)
    return " ".join(made)


def write(pixels: NDArray[np.uint8], at: Point, text: str, colour: Colour, size: int, *, centred: bool = False) -> None:
    """Write a line of text on pixels, in place, in the font that Pillow carries.

    Args:
        pixels: uint8 [H, W, 3], contiguous; what does not fit is cut off.
        at: The text's left top, or its middle.
        text: What to write.
        colour: Its colour.
        size: Its height in pixels.
        centred: Whether ``at`` is the middle.
    """
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text(at, text, fill=colour, font=_font(size), anchor="mm" if centred else "la")
    pixels[:] = np.asarray(image)


@lru_cache(maxsize=128)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _colour(values: NDArray[np.float64]) -> Colour:
    red, green, blue = np.clip(values, 0, 255).astype(int).tolist()
    return red, green, blue


def _digits(rng: np.random.Generator) -> str:
    return " ".join(str(int(rng.integers(100, 1000))) for _ in range(int(rng.integers(2, 5))))


def _grain(rng: np.random.Generator) -> tuple[Texture, float, int]:
    """A stock's texture, its strength and its seed."""
    textures: tuple[Texture, ...] = ("plain", "plain", "grain", "linen")
    return pick(rng, textures), between(rng, 0.2, 0.7), int(rng.integers(2**31))


def _rotation(rng: np.random.Generator, *, nearly_flat: bool) -> NDArray[np.float64]:
    """A random turn in space, [3, 3]; nearly flat, one axis looks at the camera."""
    tilt = between(rng, 0, 14) if nearly_flat else between(rng, 20, 55)
    matrix = np.eye(3)
    for axis, degrees in ((2, between(rng, 0, 360)), (0, tilt), (2, between(rng, 0, 360))):
        vector = np.zeros(3)
        vector[axis] = np.radians(degrees)
        matrix = np.asarray(cv2.Rodrigues(vector)[0], np.float64) @ matrix
    return matrix


def _spots(number: int) -> list[Point]:
    """Where a die's spots stand on a face whose sides run from -0.5 to 0.5."""
    a = 0.26
    pairs = [[(-a, -a), (a, a)], [(a, -a), (-a, a)], [(-a, 0.0), (a, 0.0)]]
    spots = [spot for pair in pairs[: number // 2] for spot in pair]
    return [*spots, (0.0, 0.0)] if number % 2 else spots


def _cut(sheet: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Thing:
    """The thing without the empty room around it."""
    x, y, width, height = cv2.boundingRect(mask)
    part = slice(y, y + height), slice(x, x + width)
    return Thing(np.ascontiguousarray(sheet[part]), np.ascontiguousarray(mask[part]))


def _logo(canvas: Canvas, at: Point, colour: Colour, rng: np.random.Generator) -> None:
    size = between(rng, 14, 50)
    kind = int(rng.integers(4))
    if kind == 0:
        disc(canvas, *at, size, colour)
        disc(canvas, at[0] + size * 0.4, at[1], size * 0.5, pick(rng, BRIGHTS))
    elif kind == 1:
        fill(
            canvas,
            [on_circle(*at, size, a) for a in range(int(rng.integers(90)), 360, pick(rng, (60, 90, 120)))],
            colour,
        )
    elif kind == 2:
        rosette(canvas, at, size, (colour, 2), rng)
    else:
        scrolls(canvas, at, size, (colour, 2), rng)


def _lines(
    sheet: NDArray[np.uint8],
    room: tuple[Point, Point],
    ink: Colour,
    size: int,
    rng: np.random.Generator,
    *,
    hand: bool = False,
) -> None:
    """Fill a box (left top, right bottom) with lines of words."""
    (left, top), (right, bottom) = room
    column = np.ascontiguousarray(sheet[:, : max(1, int(right))])
    y = top
    while y < bottom - size:
        text = words(rng, max(1, round((right - left) / size / 3)))
        if chance(rng, 0.12):
            text = text[: len(text) // 2]
        if hand:
            cv2.putText(column, text, (int(left), int(y + size)), pick(rng, _HANDS), size / 28, ink, 1, cv2.LINE_AA)
        else:
            write(column, (left, y), text, ink, size)
        y += size * 1.45
    sheet[:, : column.shape[1]] = column


def _lattice(canvas: Canvas, size: Point, ink: Colour, rng: np.random.Generator) -> None:
    """Crossing diagonals, with a dot or a gem in each cell."""
    width, height = size
    step, pen, lean = between(rng, 10, 44), between(rng, 1, 5), pick(rng, (0.6, 1.0, 1.0, 1.6))
    for x in np.arange(-height / lean - step, width + step, step):
        line(canvas, [(x, 0), (x + height / lean, height)], ink, pen)
        line(canvas, [(x, height), (x + height / lean, 0)], ink, pen)
    if chance(rng, 0.5):
        for row, y in enumerate(np.arange(0, height + step, step * lean / 2)):
            for x in np.arange(step / 2 * (row % 2), width + step, step):
                disc(canvas, float(x), float(y), step * 0.14, ink)


def _waves(canvas: Canvas, size: Point, ink: Colour, rng: np.random.Generator) -> None:
    width, height = size
    step, deep, length, pen = between(rng, 6, 24), between(rng, 2, 20), between(rng, 30, 120), between(rng, 1, 5)
    xs = np.arange(0, width + 6, 6.0)
    for y in np.arange(-deep, height + deep, step):
        line(canvas, np.stack([xs, y + deep * np.sin(xs * 2 * np.pi / length)], axis=1), ink, pen)


def _rings(canvas: Canvas, size: Point, ink: Colour, rng: np.random.Generator) -> None:
    """Overlapping rings on a grid, as guilloche has them."""
    width, height = size
    step, pen = between(rng, 16, 50), between(rng, 1, 3)
    radius = step * between(rng, 0.4, 1.1)
    for y in np.arange(0, height + step, step):
        for x in np.arange(0, width + step, step):
            line(canvas, arc(float(x), float(y), radius, radius), ink, pen, closed=True)


def _rosettes(canvas: Canvas, size: Point, ink: Colour, rng: np.random.Generator) -> None:
    width, height = size
    for share in (0.24, 0.76) if chance(rng, 0.7) else (0.5,):
        rosette(canvas, (width / 2, height * share), min(width, height) * between(rng, 0.3, 0.5), (ink, 2), rng)
    for corner in ((0.0, 0.0), (width, 0.0), (0.0, height), (width, height)):
        rosette(canvas, corner, width * 0.25, (ink, 1.5), rng)


def _scrollwork(canvas: Canvas, size: Point, ink: Colour, rng: np.random.Generator) -> None:
    width, height = size
    for share in (0.2, 0.5, 0.8):
        scrolls(canvas, (width / 2, height * share), width * between(rng, 0.2, 0.45), (ink, between(rng, 1.5, 4)), rng)


def _terminal(canvas: Canvas, size: Point, _ink: Colour, rng: np.random.Generator) -> None:
    canvas.pixels[:] = pick(rng, ((0, 0, 0), (18, 18, 24), (0, 20, 36)))
    paint = pick(rng, ((90, 220, 120), (230, 230, 230), (240, 200, 90)))
    _lines(
        canvas.pixels, ((8, 34), (size[0] * between(rng, 0.5, 1), size[1] - 4)), paint, int(rng.integers(8, 14)), rng
    )


def _chat(canvas: Canvas, size: Point, _ink: Colour, rng: np.random.Generator) -> None:
    width, height = size
    y = 40.0
    while y < height - 40:
        wide, tall = between(rng, 0.3, 0.7) * width, between(rng, 22, 60)
        x = 10.0 if chance(rng, 0.5) else width - wide - 10
        fill(
            canvas, [(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall)], pick(rng, (*PASTELS, (90, 170, 220)))
        )
        _lines(canvas.pixels, ((x + 8, y + 4), (x + wide - 6, y + tall)), (30, 34, 40), 12, rng)
        y += tall + between(rng, 6, 18)


def _chart(canvas: Canvas, size: Point, ink: Colour, rng: np.random.Generator) -> None:
    width, height = size
    count = int(rng.integers(5, 18))
    values = np.clip(np.cumsum(rng.normal(0, 0.15, count)) + 0.5, 0.05, 1)
    xs = np.linspace(width * 0.12, width * 0.94, count)
    ys = height * 0.9 - values * height * 0.7
    colour = pick(rng, BRIGHTS)
    if chance(rng, 0.5):
        half = width * 0.3 / count
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            fill(canvas, [(x - half, y), (x + half, y), (x + half, height * 0.9), (x - half, height * 0.9)], colour)
    else:
        for a, b in pairwise(zip(xs.tolist(), ys.tolist(), strict=True)):
            line(canvas, [a, b], colour, 3)
    line(canvas, [(width * 0.1, height * 0.15), (width * 0.1, height * 0.9), (width * 0.96, height * 0.9)], ink, 1.5)
    for i in range(6):
        write(canvas.pixels, (4, height * (0.15 + 0.14 * i)), str(int(rng.integers(0, 500))), ink, 11)


def _tiles(canvas: Canvas, size: Point, ink: Colour, rng: np.random.Generator) -> None:
    width, height = size
    across = int(rng.integers(2, 5))
    step = width / across
    for y in np.arange(36, height, step).tolist():
        for x in np.arange(0, width - 1, step).tolist():
            corner, end = (x + step * 0.08, y + step * 0.06), (x + step * 0.92, y + step * 0.8)
            fill(canvas, [corner, (end[0], corner[1]), end, (corner[0], end[1])], pick(rng, (*BRIGHTS, *PASTELS)))
            if chance(rng, 0.6):
                _logo(canvas, (x + step / 2, y + step * 0.42), pick(rng, BRIGHTS), rng)
            write(canvas.pixels, (corner[0], y + step * 0.82), words(rng, 1), ink, max(9, round(step * 0.11)))


def _table(canvas: Canvas, size: Point, ink: Colour, rng: np.random.Generator) -> None:
    width, height = size
    step, columns = int(rng.integers(16, 30)), int(rng.integers(3, 7))
    for y in range(36, int(height), step):
        canvas.pixels[y] = (160, 164, 170)
        for column in range(columns):
            text = words(rng, 1) if column == 0 else str(int(rng.integers(0, 10000)))
            write(canvas.pixels, (6 + column * width / columns, y + 3), text, ink, step // 2)
