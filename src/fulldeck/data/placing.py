"""A flat picture of a card, laid into a frame at a size, a turn and a place that are known, or partly covered.

What is measured by turn, size and covered part comes from here; `photograph` and scenes draw all of that by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.data import surfaces
from fulldeck.data.deck.chance import chance, pick
from fulldeck.data.photo import ground

if TYPE_CHECKING:
    from numpy.typing import NDArray

ASPECT = 5 / 7  # of a card, which square pictures have been stretched from


def placed(
    picture: NDArray[np.uint8],
    frame: tuple[int, int],
    height: float,
    degrees: float,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Lay a card on some ground, wholly inside the frame where it fits.

    Args:
        picture: uint8 [H, W, 3], RGB, filled by the card; a square one is narrowed to a card's proportions.
        frame: Width and height of the result.
        height: Of the card in the result, in pixels.
        degrees: Its turn, anticlockwise.
        rng: Decides the ground, and the place if there is room.

    Returns:
        uint8 [h, w, 3], RGB.
    """
    rows, columns = picture.shape[:2]
    width = height * (ASPECT if rows == columns else columns / rows)
    turn = np.radians(degrees)
    cos, sin = np.cos(turn), np.sin(turn)
    half = np.array([abs(cos) * width + abs(sin) * height, abs(sin) * width + abs(cos) * height]) / 2
    room = np.maximum(np.array(frame) / 2 - half, 0)
    centre = np.array(frame) / 2 + rng.uniform(-1, 1, 2) * room
    if height < rows:  # a warp samples four points, so what shrinks is averaged first
        small = (max(1, round(width)), max(1, round(height)))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
        rows, columns = picture.shape[:2]
    scale = np.array([width / columns, height / rows])
    matrix = np.array([[cos, sin], [-sin, cos]]) * scale
    shift = centre - matrix @ (np.array([columns, rows]) / 2) - 0.5 + matrix @ np.array([0.5, 0.5])
    affine = np.column_stack([matrix, shift])
    scene = np.asarray(cv2.resize(_ground(rng), frame, interpolation=cv2.INTER_LINEAR), np.float32)
    outline = cv2.warpAffine(np.ones((rows, columns), np.float32), affine, frame)
    laid = cv2.warpAffine(picture, affine, frame, borderMode=cv2.BORDER_REPLICATE)
    alpha = np.asarray(outline, np.float32)[:, :, None]
    return np.asarray(np.rint(scene + (laid - scene) * alpha), np.uint8)


def covered(picture: NDArray[np.uint8], part: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cover a part of a picture from one of its four sides, as another thing that lies over it does.

    Args:
        picture: uint8 [H, W, 3], RGB; it is not changed.
        part: How much of its area, 0 to 1.
        rng: Decides the side, and what lies there.
    """
    rows, columns = picture.shape[:2]
    cover = cv2.resize(_ground(rng), (columns, rows), interpolation=cv2.INTER_LINEAR)
    turned = int(rng.integers(4))
    under, over = np.rot90(picture, turned).copy(), np.rot90(np.asarray(cover, np.uint8), turned)
    under[: round(part * len(under))] = over[: round(part * len(under))]
    return np.ascontiguousarray(np.rot90(under, -turned))


def within(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The picture, shrunk where its longer side is more than ``side`` pixels."""
    rows, columns = picture.shape[:2]
    scale = side / max(rows, columns)
    if scale >= 1:
        return picture
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _ground(rng: np.random.Generator) -> NDArray[np.uint8]:
    if chance(rng, 0.5):
        return ground(rng)
    return pick(rng, (surfaces.texture, surfaces.noise, surfaces.gradient))(rng, 224)
