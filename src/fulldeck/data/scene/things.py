"""What lies among cards and is none: backs, business cards, dice, chips, papers, screens, coins, prints; and fingers.

A thing is a texture, RGBA, with its size in widths of a card.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.data.deck.chance import between, chance, pick
from fulldeck.data.scene.faces import FACE, rounded
from fulldeck.data.scene.ground import make_ground

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fulldeck.data.scene.painting import Scene

Colour = tuple[int, int, int]
_SKINS: tuple[Colour, ...] = (
    (236, 188, 160), (224, 172, 140), (198, 140, 104), (160, 108, 78), (112, 74, 54), (78, 52, 40), (246, 206, 184),
)  # fmt: skip
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)  # fmt: skip


def make_thing(
    rng: np.random.Generator, photographs: Sequence[NDArray[np.uint8]]
) -> tuple[str, NDArray[np.uint8], tuple[float, float]]:
    """Some thing: its name, texture ``uint8 [h, w, 4]``, and (width, height) on the table in widths of a card."""
    name = pick(rng, tuple(_THINGS))
    texture, size = _THINGS[name](rng, photographs)
    return name, texture, size


def make_back(rng: np.random.Generator) -> NDArray[np.uint8]:
    """The back of a card, ``uint8 [448, 320, 4]``: a border around a pattern that is the same from both ends."""
    width, height = FACE
    ink, paper = _colour(rng), pick(rng, ((255, 255, 255), (250, 246, 236), (20, 20, 24)))
    sheet = np.full((height, width, 3), paper, np.uint8)
    margin = int(between(rng, 0, 0.09) * width)
    inner = np.full((height - 2 * margin, width - 2 * margin, 3), ink, np.uint8)
    light = tuple(int(c) for c in np.clip(np.array(ink) * 0.4 + np.array(paper) * 0.6, 0, 255))
    step, pen = int(rng.integers(9, 44)), int(rng.integers(1, 5))
    pick(rng, (_lattice, _rings, _dots, _petals, _stripes))(inner, light, step, pen)
    h, w = inner.shape[:2]
    if chance(rng, 0.5):
        cv2.rectangle(inner, (step // 2, step // 2), (w - step // 2, h - step // 2), light, pen, cv2.LINE_AA)
    if chance(rng, 0.3):
        cv2.circle(inner, (w // 2, h // 2), w // 4, light, -1, cv2.LINE_AA)
        cv2.circle(inner, (w // 2, h // 2), w // 5, ink, -1, cv2.LINE_AA)
    sheet[margin : height - margin, margin : width - margin] = inner
    return np.dstack([sheet, rounded(FACE, between(rng, 12, 24))])


def _lattice(sheet: NDArray[np.uint8], ink: tuple[int, ...], step: int, pen: int) -> None:
    height, width = sheet.shape[:2]
    for at in range(-height, width + height, step):
        cv2.line(sheet, (at, 0), (at + height, height), ink, pen, cv2.LINE_AA)
        cv2.line(sheet, (at, 0), (at - height, height), ink, pen, cv2.LINE_AA)


def _rings(sheet: NDArray[np.uint8], ink: tuple[int, ...], step: int, pen: int) -> None:
    height, width = sheet.shape[:2]
    for radius in range(step, height, step):
        cv2.circle(sheet, (width // 2, height // 2), radius, ink, pen, cv2.LINE_AA)


def _dots(sheet: NDArray[np.uint8], ink: tuple[int, ...], step: int, pen: int) -> None:
    height, width = sheet.shape[:2]
    for row, y in enumerate(range(step // 2, height, step)):
        for x in range(step // 2 * (1 + row % 2), width, step):
            cv2.circle(sheet, (x, y), max(2, step // 5) + pen, ink, -1, cv2.LINE_AA)


def _petals(sheet: NDArray[np.uint8], ink: tuple[int, ...], step: int, pen: int) -> None:
    """Around the middle, and in two quarters that are a half turn apart."""
    h, w = sheet.shape[:2]
    for x, y, size in ((w // 2, h // 2, w // 3), (w // 4, h // 5, w // 6), (w - w // 4, h - h // 5, w // 6)):
        for turn in range(0, 180, step):
            cv2.ellipse(sheet, (x, y), (size, max(2, size // 5)), turn, 0, 360, ink, pen, cv2.LINE_AA)


def _stripes(sheet: NDArray[np.uint8], ink: tuple[int, ...], step: int, pen: int) -> None:
    height, width = sheet.shape[:2]
    for x in range(0, width, step):
        cv2.line(sheet, (x, 0), (x, height), ink, pen + 2, cv2.LINE_AA)


def draw_fingers(
    scene: Scene,
    at: NDArray[np.float64],
    away: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    thick: float,
    count: int,
) -> None:
    """Paint fingers on top of a scene.

    Args:
        scene: What they reach into.
        at: Where the tips lie, about, float64 [2].
        away: The direction that the hand lies in, float64 [2].
        rng: Of skin, shape and the rest.
        thick: Of a finger, in pixels.
        count: Of fingers.
    """
    height, width = scene.owner.shape
    unit = away / max(float(np.linalg.norm(away)), 1e-6)
    across = np.array([-unit[1], unit[0]])
    skin = np.asarray(pick(rng, _SKINS), np.float32) * np.float32(between(rng, 0.75, 1.1))
    mask = np.zeros((height, width), np.uint8)
    tone = np.zeros((height, width), np.float32)
    for i in range(count):
        tip = at + across * thick * 1.05 * (i - (count - 1) / 2) + unit * thick * between(rng, -0.6, 0.6)
        way = unit + across * between(rng, -0.2, 0.2)
        knuckle = tip + way * thick * between(rng, 1.6, 2.6)
        end = knuckle + (way + across * between(rng, -0.3, 0.3)) * thick * 9
        own = np.zeros_like(mask)
        points = np.array([tip, knuckle, end]).round().astype(np.int32)
        cv2.polylines(own, [points[:2]], False, 255, max(2, round(thick * 0.92)), cv2.LINE_AA)
        cv2.polylines(own, [points[1:]], False, 255, max(2, round(thick)), cv2.LINE_AA)
        depth = np.asarray(cv2.distanceTransform((own > 127).astype(np.uint8), cv2.DIST_L2, 3), np.float32)
        round_ = 0.55 + 0.45 * np.sqrt(np.clip(depth / max(thick / 2, 1), 0, 1))
        if chance(rng, 0.5):  # a nail
            nail = np.zeros_like(mask)
            turn = float(np.degrees(np.arctan2(way[1], way[0])))
            middle = tuple(int(v) for v in (tip + way * thick * 0.05).round())
            axes = (max(1, round(thick * 0.32)), max(1, round(thick * 0.24)))
            cv2.ellipse(nail, middle, axes, turn, 0, 360, 255, -1, cv2.LINE_AA)
            round_ = np.where(nail > 127, round_ * 1.12, round_)
        tone = np.where(own > 127, np.asarray(round_, np.float32), tone)
        mask = np.maximum(mask, own)
    paint = np.clip(tone[:, :, None] * skin, 0, 255).astype(np.uint8)
    scene.cover(mask, paint)
    scene.things.append("fingers")


def _colour(rng: np.random.Generator) -> Colour:
    hue = np.array([[[rng.integers(180), rng.integers(60, 256), rng.integers(50, 230)]]], np.uint8)
    red, green, blue = (int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])
    return red, green, blue


def _text(rng: np.random.Generator, letters: int) -> str:
    kinds = string.ascii_lowercase if chance(rng, 0.7) else string.ascii_uppercase + string.digits
    return "".join(pick(rng, kinds) if chance(rng, 0.85) else " " for _ in range(letters))


def _write_lines(sheet: NDArray[np.uint8], rng: np.random.Generator, ink: Colour, lines: int, size: float) -> None:
    height, width = sheet.shape[:2]
    font, y = pick(rng, _FONTS), between(rng, 0.1, 0.3) * height
    for _ in range(lines):
        scale = size * (1.6 if chance(rng, 0.2) else 1.0)
        text = _text(rng, int(rng.integers(3, max(5, int(width / (20 * scale))))))
        cv2.putText(sheet, text, (int(between(rng, 0.05, 0.2) * width), int(y)), font, scale, ink, 1, cv2.LINE_AA)
        y += 34 * scale
        if y > 0.95 * height:
            return


def _sheet(size: tuple[int, int], colour: Colour, radius: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.full((size[1], size[0], 3), colour, np.uint8), rounded(size, radius)


_Made = tuple["NDArray[np.uint8]", tuple[float, float]]


def _back(rng: np.random.Generator, _: Sequence[NDArray[np.uint8]]) -> _Made:
    return make_back(rng), (1.0, 1.4)


def _business_card(rng: np.random.Generator, _: Sequence[NDArray[np.uint8]]) -> _Made:
    light = chance(rng, 0.7)
    paper: Colour = (250, 250, 247) if light else _colour(rng)
    sheet, outline = _sheet((340, 200), paper, pick(rng, (0, 8)))
    ink: Colour = pick(rng, ((20, 20, 24), (30, 50, 110), (150, 20, 30))) if light else (245, 245, 240)
    if chance(rng, 0.6):
        centre = (int(rng.integers(40, 300)), int(rng.integers(40, 160)))
        cv2.circle(sheet, centre, int(rng.integers(12, 40)), _colour(rng), -1, cv2.LINE_AA)
    _write_lines(sheet, rng, ink, int(rng.integers(2, 6)), between(rng, 0.45, 0.9))
    return np.dstack([sheet, outline]), (1.35, 0.8)


def _paper(rng: np.random.Generator, _: Sequence[NDArray[np.uint8]]) -> _Made:
    sheet, outline = _sheet((420, 560), (252, 252, 248), 0)
    _write_lines(sheet, rng, (30, 30, 40), int(rng.integers(6, 24)), between(rng, 0.45, 0.8))
    if chance(rng, 0.3):
        cv2.rectangle(sheet, (40, 300), (380, 500), _colour(rng), 2)
    big = between(rng, 1.2, 3.4)
    return np.dstack([sheet, outline]), (big, big * 4 / 3)


def _screen(rng: np.random.Generator, photographs: Sequence[NDArray[np.uint8]]) -> _Made:
    sheet, outline = _sheet((300, 600), (14, 14, 16), 36)
    inner = make_ground((272, 540), photographs, rng)
    canvas = np.ascontiguousarray(inner)
    for _ in range(int(rng.integers(1, 9))):
        x, y = int(rng.integers(8, 200)), int(rng.integers(8, 500))
        w, h = int(rng.integers(30, 220)), int(rng.integers(12, 90))
        cv2.rectangle(canvas, (x, y), (x + w, y + h), pick(rng, ((250, 250, 250), _colour(rng))), -1)
    _write_lines(canvas, rng, pick(rng, ((20, 20, 20), (240, 240, 240))), int(rng.integers(2, 10)), 0.6)
    sheet[30:570, 14:286] = canvas
    picture = np.dstack([sheet, outline])
    return (picture, (1.15, 2.3)) if chance(rng, 0.7) else (np.rot90(picture).copy(), (2.3, 1.15))


def _chip(rng: np.random.Generator, _: Sequence[NDArray[np.uint8]]) -> _Made:
    side, ink, light = 240, _colour(rng), (244, 242, 236)
    sheet = np.full((side, side, 3), ink, np.uint8)
    for turn in range(0, 360, 60 if chance(rng, 0.6) else 45):
        cv2.ellipse(sheet, (120, 120), (118, 118), turn, 0, 24, light, -1, cv2.LINE_AA)
    cv2.circle(sheet, (120, 120), 84, ink, -1, cv2.LINE_AA)
    cv2.circle(sheet, (120, 120), 74, light, 3 if chance(rng, 0.5) else -1, cv2.LINE_AA)
    number = pick(rng, ("1", "5", "10", "25", "100", "500"))
    cv2.putText(sheet, number, (120 - 24 * len(number), 142), pick(rng, _FONTS), 2.1, _colour(rng), 4, cv2.LINE_AA)
    disc = np.zeros((side, side), np.uint8)
    cv2.circle(disc, (120, 120), 118, 255, -1, cv2.LINE_AA)
    return np.dstack([sheet, disc]), (0.65, 0.65)


def _coin(rng: np.random.Generator, _: Sequence[NDArray[np.uint8]]) -> _Made:
    metal = np.asarray(pick(rng, ((196, 160, 90), (190, 190, 194), (170, 110, 80))), np.float32)
    y, x = np.mgrid[0:160, 0:160].astype(np.float32)
    shine = 0.75 + 0.35 * np.sin((x + y * between(rng, -1, 1)) / between(rng, 18, 40))
    sheet = np.clip(shine[:, :, None] * metal, 0, 255).astype(np.uint8)
    cv2.circle(sheet, (80, 80), 70, (metal * 0.7).tolist(), 2, cv2.LINE_AA)
    cv2.ellipse(sheet, (80, 80), (26, 40), between(rng, 0, 180), 0, 360, (metal * 0.8).tolist(), -1, cv2.LINE_AA)
    disc = np.zeros((160, 160), np.uint8)
    cv2.circle(disc, (80, 80), 78, 255, -1, cv2.LINE_AA)
    return np.dstack([sheet, disc]), (0.38, 0.38)


_PIPS = {1: [(1, 1)], 2: [(0, 0), (2, 2)], 3: [(0, 0), (1, 1), (2, 2)], 4: [(0, 0), (0, 2), (2, 0), (2, 2)],
         5: [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)],
         6: [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2)]}  # fmt: skip


def _die(rng: np.random.Generator, _: Sequence[NDArray[np.uint8]]) -> _Made:
    """A die as seen from above and aside: its top and one side."""
    body = pick(rng, ((248, 246, 240), (200, 24, 36), (24, 24, 28), _colour(rng)))
    ink = (20, 20, 24) if sum(body) > 380 else (245, 245, 240)
    low = int(rng.integers(0, 90))  # how much of the side shows
    sheet = np.full((200 + low, 200, 3), [int(c * 0.7) for c in body], np.uint8)
    top, outline_top = _sheet((200, 200), body, 30)
    number = int(rng.integers(1, 7))
    for column, row in _PIPS[number]:
        cv2.circle(top, (46 + 54 * column, 46 + 54 * row), 19, ink, -1, cv2.LINE_AA)
    for column, row in _PIPS[int(rng.integers(1, 7))]:
        at, axes = (46 + 54 * column, 200 + int(low * (0.2 + 0.3 * row))), (18, max(1, low // 9))
        cv2.ellipse(sheet, at, axes, 0, 0, 360, ink, -1, cv2.LINE_AA)
    inside = outline_top[:, :, None] > 127
    sheet[:200] = np.where(inside, top, sheet[:200])
    outline = rounded((200, 200 + low), 30)
    return np.dstack([sheet, outline]), (0.32, 0.32 * (200 + low) / 200)


def _print(rng: np.random.Generator, photographs: Sequence[NDArray[np.uint8]]) -> _Made:
    """A photo print, a trading card, a flyer: a picture in a frame, with some words perhaps."""
    size = pick(rng, ((320, 448), (320, 448), (448, 320), (400, 400)))
    sheet, outline = _sheet(size, pick(rng, ((252, 252, 250), (20, 20, 22), _colour(rng))), pick(rng, (0, 14)))
    margin = int(rng.integers(0, 36))
    inner = (size[0] - 2 * margin, size[1] - 2 * margin - (70 if chance(rng, 0.4) else 0))
    sheet[margin : margin + inner[1], margin : margin + inner[0]] = make_ground(inner, photographs, rng)
    if chance(rng, 0.5):
        _write_lines(sheet, rng, pick(rng, ((20, 20, 20), (250, 250, 250))), int(rng.integers(1, 6)), 0.7)
    big = between(rng, 0.8, 1.6)
    return np.dstack([sheet, outline]), (big, big * size[1] / size[0])


def _other_game(rng: np.random.Generator, _: Sequence[NDArray[np.uint8]]) -> _Made:
    """A card of another game: one colour, a large sign in an oval, no suit."""
    width, height = FACE
    sheet, ink = np.full((height, width, 3), (250, 250, 250), np.uint8), _colour(rng)
    margin = int(rng.integers(0, 26))
    cv2.rectangle(sheet, (margin, margin), (width - margin, height - margin), ink, -1)
    turn = between(rng, -30, 30)
    cv2.ellipse(sheet, (160, 224), (110, 175), turn, 0, 360, (250, 250, 250), -1, cv2.LINE_AA)
    sign = pick(rng, string.digits + "+?!#@&%BCDEFGHLMNPRSTUVWXYZ")
    cv2.putText(sheet, sign, (90, 300), pick(rng, _FONTS), 7.0, ink, 16, cv2.LINE_AA)
    return np.dstack([sheet, rounded(FACE, between(rng, 12, 26))]), (1.0, 1.4)


def _pen(rng: np.random.Generator, _: Sequence[NDArray[np.uint8]]) -> _Made:
    sheet, outline = _sheet((40, 640), _colour(rng), 18)
    sheet[:, 12:20] = np.clip(sheet[:, 12:20].astype(np.int16) + 60, 0, 255)
    sheet[: int(rng.integers(60, 260))] = _colour(rng)
    return np.dstack([sheet, outline]), (0.16, 2.4)


_THINGS: dict[str, Callable[[np.random.Generator, Sequence[NDArray[np.uint8]]], _Made]] = {
    "back": _back,
    "business card": _business_card,
    "chip": _chip,
    "coin": _coin,
    "die": _die,
    "other game": _other_game,
    "paper": _paper,
    "pen": _pen,
    "print": _print,
    "screen": _screen,
}
