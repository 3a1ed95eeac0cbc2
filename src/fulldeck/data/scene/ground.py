"""What cards lie on or are held before: photographs, and felt, wood, cloth, stone and plain ground made by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.data.deck.chance import between, chance, pick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FELT = ((20, 92, 52), (24, 70, 130), (128, 24, 34), (34, 110, 70), (18, 60, 44), (70, 30, 90), (20, 22, 26))
_WOOD = ((150, 104, 62), (96, 62, 38), (196, 158, 112), (122, 82, 54), (60, 42, 32), (214, 190, 158))


def make_ground(
    size: tuple[int, int], photographs: Sequence[NDArray[np.uint8]], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A ground of (width, height) pixels, ``uint8 [H, W, 3]``, RGB.

    Args:
        size: Of the picture.
        photographs: RGB pictures of which parts may be used; half of the grounds are, if there are any.
        rng: Of the choices.
    """
    if len(photographs) and chance(rng, 0.5):
        return _photographic(size, pick(rng, photographs), rng)
    made = pick(rng, (_felt, _wood, _cloth, _stone, _plain, _plain, _clutter))
    return np.ascontiguousarray(made(size, rng))


def _photographic(size: tuple[int, int], photograph: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    width, height = size
    rows, columns = photograph.shape[:2]
    share = between(rng, 0.35, 1.0)
    fit = min(columns / width, rows / height) * share
    w, h = max(2, int(width * fit)), max(2, int(height * fit))
    x, y = int(rng.integers(0, columns - w + 1)), int(rng.integers(0, rows - h + 1))
    part = photograph[y : y + h, x : x + w]
    if chance(rng, 0.5):
        part = part[:, ::-1]
    turned = np.rot90(part, 2) if chance(rng, 0.3) else part
    how = cv2.INTER_AREA if w > width else cv2.INTER_LINEAR
    whole = cv2.resize(np.ascontiguousarray(turned), size, interpolation=how)
    if chance(rng, 0.4):  # behind what the camera looks at
        blur = 2 * int(rng.integers(1, 1 + max(2, width // 60))) + 1
        whole = cv2.blur(cv2.blur(whole, (blur, blur)), (blur, blur))
    return np.asarray(whole, np.uint8)


def noise(size: tuple[int, int], cells: tuple[float, float], rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise in -0.5..0.5, ``float32 [H, W]``, of so many cells across and down."""
    coarse = rng.random((max(2, round(cells[1])), max(2, round(cells[0]))), np.float32) - np.float32(0.5)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _coloured(field: NDArray[np.float32], colour: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(field[:, :, None] * np.asarray(colour, np.float32), 0, 255).astype(np.uint8)


def _any_colour(rng: np.random.Generator) -> NDArray[np.float32]:
    colour = rng.integers(0, 256, 3).astype(np.float32)
    grey = np.float32(colour.mean())
    return np.asarray(grey + (colour - grey) * np.float32(rng.random() ** 1.5), np.float32)


def _felt(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    colour = np.asarray(pick(rng, _FELT), np.float32) if chance(rng, 0.7) else _any_colour(rng)
    fine = noise(size, (size[0] / between(rng, 1.2, 3), size[1] / between(rng, 1.2, 3)), rng)
    return _coloured(1 + between(rng, 0.1, 0.5) * fine + between(rng, 0.0, 0.4) * noise(size, (5, 4), rng), colour)


def _wood(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    width, height = size
    colour: NDArray[np.float32] = np.array(pick(rng, _WOOD), np.float32) * np.float32(between(rng, 0.7, 1.2))
    across = noise(size, (between(rng, 2, 6), height / between(rng, 2, 6)), rng)
    wave = noise(size, (3, between(rng, 6, 14)), rng)
    field = 1 + between(rng, 0.15, 0.5) * across + 0.3 * wave
    if chance(rng, 0.6):  # boards
        for y in np.arange(between(rng, 0, height / 4), height, height / between(rng, 2, 7)):
            field[int(y) : int(y) + max(1, height // 200)] *= 0.55
    picture = _coloured(np.asarray(field, np.float32), colour)
    return np.asarray(cv2.resize(np.rot90(picture), (width, height)), np.uint8) if chance(rng, 0.4) else picture


def _cloth(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    turn, period = np.radians(between(rng, 0, 90)), between(rng, 0.01, 0.12) * width
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    across, down = (u / period) % 1 < 0.5, (v / period) % 1 < 0.5
    kind = int(rng.integers(3))
    share = across if kind == 0 else (across ^ down) if kind == 1 else (across.astype(np.float32) + down) / 2
    first, second = _any_colour(rng), _any_colour(rng)
    mixed = first + np.asarray(share, np.float32)[:, :, None] * (second - first)
    shade = 1 + between(rng, 0.1, 0.5) * noise(size, (7, 5), rng) + 0.15 * noise(size, (width / 2, height / 2), rng)
    return np.clip(mixed * shade[:, :, None], 0, 255).astype(np.uint8)


def _stone(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    field = np.zeros((size[1], size[0]), np.float32)
    for octave in range(5):
        field += np.abs(noise(size, (3 * 2**octave, 3 * 2**octave), rng)) / np.float32(2**octave)
    return _coloured(np.asarray(between(rng, 0.7, 1.0) + between(rng, -0.9, 0.9) * field, np.float32), _any_colour(rng))


def _plain(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    kind = rng.random()
    colour = np.full(3, 255.0) if kind < 0.2 else np.full(3, between(rng, 0, 40)) if kind < 0.3 else _any_colour(rng)
    field = (
        1
        + between(rng, 0, 0.4) * noise(size, (3, 3), rng)
        + between(rng, 0, 0.06) * noise(size, (size[0] / 2, size[1] / 2), rng)
    )
    return _coloured(np.asarray(field, np.float32), np.asarray(colour, np.float32))


def _clutter(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shapes without meaning, as a desk or a room is when nobody looks at it."""
    picture = _plain(size, rng)
    width, height = size
    for _ in range(int(rng.integers(4, 26))):
        colour = tuple(_any_colour(rng).tolist())
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(v) for v in rng.integers(width // 40 + 1, width // 4, 2))
        turn = between(rng, 0, 180)
        if chance(rng, 0.5):
            corners = cv2.boxPoints((centre, axes, turn)).astype(np.int32)
            cv2.fillConvexPoly(picture, corners, colour, cv2.LINE_AA)
        elif chance(rng, 0.5):
            cv2.ellipse(picture, centre, axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
        else:
            end = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.line(picture, centre, end, colour, int(rng.integers(1, width // 40 + 2)), cv2.LINE_AA)
    if chance(rng, 0.7):
        blur = 2 * int(rng.integers(0, width // 60 + 1)) + 1
        picture = np.asarray(cv2.blur(picture, (blur, blur)), np.uint8)
    return picture
