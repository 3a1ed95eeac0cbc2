"""Cuts cards out of a photo: each quadrilateral becomes the square that a classifier takes, by its homography."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fulldeck.inference.image import halved, resize

MARGIN = 0.08
"""The card's corners lie so far inside the square, in parts of its side, so that a little of the surroundings shows: a
corner that was found a little too far inside still leaves the index whole."""

GREY = 114
"""What lies outside the photo."""


def rectify(
    photo: NDArray[np.uint8], quads: NDArray[np.float32], size: int, margin: float = MARGIN
) -> NDArray[np.uint8]:
    """Cut cards out of a photo.

    A card that is larger in the photo than its square is taken from the photo halved as often as leaves it less than
    twice as large, at twice the square's resolution, and then halved once more, so that nothing is left out between
    two samples; the warp itself interpolates linearly.

    Args:
        photo: uint8 [H, W, 3], RGB.
        quads: float [N, 4, 2]: corners in pixels of the photo, with (0, 0) its outermost corner, in the order top left,
            top right, bottom right, bottom left of the upright card. They may lie outside the photo.
        size: Side S of the squares, in pixels.
        margin: How far inside the square the corners lie, in parts of its side.

    Returns:
        uint8 [N, S, S, 3].
    """
    levels = [photo]
    squares = np.empty((len(quads), size, size, 3), np.uint8)
    for quad, square in zip(quads, squares, strict=True):
        side = np.sqrt(cv2.contourArea(quad.astype(np.float32)))
        ratio = side / (size * (1 - 2 * margin))
        level = 0
        while ratio >= 2:
            ratio /= 2
            level += 1
            if level == len(levels):
                levels.append(halved(levels[-1]))
        shrunk = levels[level]
        scale = np.array([shrunk.shape[1] / photo.shape[1], shrunk.shape[0] / photo.shape[0]])
        square[:] = resize(_warped(shrunk, quad * scale, 2 * size if ratio > 1 else size, margin), size)
    return squares


def unit_corners(margin: float) -> NDArray[np.float32]:
    """Return where a card's corners lie in the square that is cut out, as parts of its side: float32 [4, 2]."""
    near, far = margin, 1 - margin
    return np.array([[near, near], [far, near], [far, far], [near, far]], np.float32)


def _warped(photo: NDArray[np.uint8], quad: NDArray[np.floating], size: int, margin: float) -> NDArray[np.uint8]:
    square = size * unit_corners(margin)
    # For OpenCV a pixel's centre has whole coordinates; for us its outermost corner has.
    homography = cv2.getPerspectiveTransform((quad - 0.5).astype(np.float32), square - np.float32(0.5))
    return cv2.warpPerspective(  # type: ignore[return-value]
        photo, homography, (size, size), borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY, GREY, GREY)
    )
