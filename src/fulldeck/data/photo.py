"""A card's face as a picture of it: laid on some ground, a little turned, lit, and photographed badly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.data.deck.canvas import blank
from fulldeck.data.deck.chance import between, chance, pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACE = (320, 448)  # the size of face that `photograph` is made for
SIZE = 224  # of the picture, as the Kaggle dataset has it
_LARGE = 2 * SIZE  # worked at, then averaged down

_GROUNDS = (
    (255, 255, 255),
    (0, 0, 0),
    (20, 92, 52),
    (24, 40, 88),
    (110, 24, 30),
    (120, 84, 52),
    (70, 72, 76),
    (206, 200, 190),
)


def photograph(face: NDArray[np.uint8], mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Take one picture of a face; the card fills most of the square, stretched to it.

    Args:
        face: ``uint8 [H, W, 3]``, RGB, best of the size `FACE`.
        mask: The card's outline, ``uint8 [H, W]``.
        rng: Decides ground, crop, turn, light, sharpness and noise.

    Returns:
        ``uint8 [224, 224, 3]``, RGB.
    """
    height, width = mask.shape
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    corners = _corners(rng)
    matrix = cv2.getPerspectiveTransform(source, corners)
    scene = ground(rng)
    size = (_LARGE, _LARGE)
    # the face goes on beyond its edge (the outline does not), so that no dark seam shows around it
    card = np.asarray(cv2.warpPerspective(face, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    outline = np.asarray(cv2.warpPerspective(mask, matrix, size), np.uint8)
    if chance(rng, 0.3):
        scene = _shadowed(scene, outline, rng)
    alpha = cv2.merge([outline, outline, outline])
    card = np.asarray(
        cv2.add(cv2.multiply(card, alpha, scale=1 / 255), cv2.multiply(scene, 255 - alpha, scale=1 / 255)), np.uint8
    )
    small = np.asarray(cv2.resize(card, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)
    return develop(small, rng)


def jpeg(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """The picture as JPEG bytes, of good to middling quality."""
    quality = int(rng.integers(62, 97))
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _corners(rng: np.random.Generator) -> NDArray[np.float32]:
    """Where the card's corners come to lie, ``float32 [4, 2]``: mostly the picture's own corners, more or less."""
    kind = rng.random()
    margin = between(rng, -0.025, 0.03) if kind < 0.6 else between(rng, 0.0, 0.12)
    turn = between(rng, -1.2, 1.2) if kind < 0.7 else between(rng, -6, 6) if kind < 0.93 else between(rng, -24, 24)
    narrow = 1.0 if chance(rng, 0.8) else between(rng, 0.72, 0.95)  # some pictures keep the card's own proportions
    jitter = 0.008 if kind < 0.7 else 0.03
    t = np.radians(turn)
    room = 1 / (abs(np.cos(t)) + abs(np.sin(t))) if abs(turn) > 3 else 1.0
    half = (0.5 - margin) * room
    square = np.array([[-narrow, -1], [narrow, -1], [narrow, 1], [-narrow, 1]]) * half
    rotation = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    shift = (rng.random(2) - 0.5) * 0.02
    placed = square @ rotation + 0.5 + shift + (rng.random((4, 2)) - 0.5) * jitter
    return np.asarray(placed * _LARGE, np.float32)


def ground(rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a card may lie on, ``uint8 [448, 448, 3]``: twice as large as the picture."""
    kind = rng.random()
    if kind < 0.4:
        return blank(_LARGE, _LARGE, (255, 255, 255) if kind < 0.28 else (0, 0, 0))
    colour = np.array(pick(rng, _GROUNDS), np.float32)
    if kind < 0.6:
        colour = rng.integers(0, 256, 3).astype(np.float32)
    fine = rng.random((56, 8 if chance(rng, 0.3) else 56), np.float32)
    coarse = rng.random((4, 4), np.float32)
    amount = between(rng, 0.0, 0.3)
    light = np.asarray(cv2.resize(coarse, (_LARGE, _LARGE), interpolation=cv2.INTER_LINEAR), np.float32)
    grain = np.asarray(cv2.resize(fine, (_LARGE, _LARGE), interpolation=cv2.INTER_LINEAR), np.float32)
    field = 1 + amount * (light - 0.5) + amount * (grain - 0.5)
    return np.clip(colour * field[:, :, None], 0, 255).astype(np.uint8)


def _shadowed(scene: NDArray[np.uint8], outline: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The ground with the card's soft shadow on it."""
    dx, dy = (int(v) for v in rng.integers(-8, 9, 2))
    small = cv2.resize(outline, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA)
    soft = cv2.resize(cv2.blur(small, (7, 7)), (_LARGE, _LARGE), interpolation=cv2.INTER_LINEAR)
    moved = np.roll(np.asarray(soft, np.uint8), (dy, dx), (0, 1))
    light = 255 - (moved * between(rng, 0.3, 0.6)).astype(np.uint8)
    return np.asarray(cv2.multiply(scene, cv2.merge([light, light, light]), scale=1 / 255), np.uint8)


def develop(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light, focus and noise, ``uint8 [224, 224, 3]`` to the same."""
    if chance(rng, 0.3):  # once stored smaller, or out of focus
        size = int(rng.integers(72, 180))
        less = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(less, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)
    field = image.astype(np.float32)
    if chance(rng, 0.55):
        tint = 1 + (rng.random(3, np.float32) - 0.5) * pick(rng, (0.04, 0.04, 0.2))
        gain, lift = between(rng, 0.68, 1.1), between(rng, -8, 24)
        field = np.asarray(field * (gain * tint) + lift, np.float32)
    if chance(rng, 0.25):  # light from one side, or a reflection
        spots = rng.random((3, 3), np.float32) - 0.4
        light = np.asarray(cv2.resize(spots, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)
        field += light[:, :, None] * between(rng, 20, 80)
    if chance(rng, 0.2):
        noise = rng.integers(-12, 13, image.shape, np.int16)
        field += noise.astype(np.float32) * np.float32(between(rng, 0.3, 1.2))
    return np.clip(field, 0, 255).astype(np.uint8)
