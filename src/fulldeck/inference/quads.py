"""Geometry of quadrilaterals: which can be a card's outline, how much two overlap, and in what order one reads them.

A quad is float [4, 2]: x to the right and y downward, in pixels, clockwise.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Quad = NDArray[np.float32]

MIN_SIDE = 6.0
"""A side of fewer pixels, of those that the locator sees, leaves nothing to read."""

MAX_STRETCH = 12.0
"""A card is 1.4 times as long as wide; one that looks longer than this is seen from so low that it shows nothing."""


def plausible(quad: Quad, width: int, height: int) -> bool:
    """Whether a quad can be a card's outline: finite, convex, not mirrored, not tiny, narrow or far outside.

    Args:
        quad: In pixels of the picture that the locator saw.
        width: Of that picture.
        height: Of that picture.
    """
    if not np.isfinite(quad).all():
        return False
    size = np.array([width, height])
    if (quad < -size).any() or (quad > 2 * size).any():
        return False
    sides = np.roll(quad, -1, axis=0) - quad
    after = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0]
    if (turns <= 0).any():  # at a corner it does not turn right: not convex, or mirrored
        return False
    lengths = np.linalg.norm(sides, axis=1)
    along, across = lengths[[0, 2]].mean(), lengths[[1, 3]].mean()
    stretched = max(along, across) > MAX_STRETCH * min(along, across)
    return bool(lengths.min() >= MIN_SIDE and not stretched and shared(quad, frame(width, height)) > 0)


def frame(width: float, height: float) -> Quad:
    """Return the outline of a picture itself."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)


def area(quad: Quad) -> float:
    """Return the area in square pixels."""
    return float(cv2.contourArea(quad))


def shared(one: Quad, other: Quad) -> float:
    """Return the area that two convex quads have in common, in square pixels."""
    if (one.min(axis=0) >= other.max(axis=0)).any() or (other.min(axis=0) >= one.max(axis=0)).any():
        return 0.0
    return float(cv2.intersectConvexConvex(one, other)[0])


def overlap(one: Quad, other: Quad) -> float:
    """Return the intersection over the union of two convex quads, 0 to 1."""
    common = shared(one, other)
    return common / (area(one) + area(other) - common) if common else 0.0


def reading_order(quads: list[Quad]) -> list[int]:
    """Return the places of quads in the order in which one reads them: row by row, and each from left to right.

    A row is what lies, by its centre, within half the height of the row's uppermost quad below that one's centre.
    """
    centres = [quad.mean(axis=0) for quad in quads]
    order: list[int] = []
    row: list[int] = []
    for at in sorted(range(len(quads)), key=lambda at: float(centres[at][1])):
        if row and centres[at][1] - centres[row[0]][1] > np.ptp(quads[row[0]][:, 1]) / 2:
            order += sorted(row, key=lambda at: float(centres[at][0]))
            row = []
        row.append(at)
    return order + sorted(row, key=lambda at: float(centres[at][0]))
