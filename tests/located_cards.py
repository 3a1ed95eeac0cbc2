"""Photos in which the tiny locator finds cards that the tiny model names: colours on a grey table."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)

SIDES = np.float32([(-20, -28), (20, -28), (20, 28), (-20, 28)])
"""The corners of a card, seen from its middle, in pixels of a photo whose longer side has 320."""


def table(
    cards: Mapping[tuple[int, int], tuple[int, int, int]], size: tuple[int, int] = (320, 192), times: float = 1
) -> NDArray[np.uint8]:
    """A grey table with upright cards.

    Args:
        cards: Their colours by their middles, x and y (four times a number and two: the middles of cells); one that
            comes later lies above.
        size: Width and height.
        times: The photo has so many pixels for each of these.
    """
    width, height = (round(side * times) for side in size)
    photo = np.full((height, width, 3), 128, np.uint8)
    for middle, colour in cards.items():
        left, top, right, bottom = np.rint(((middle + SIDES[[0, 2]]) * times).ravel()).astype(int)
        cv2.rectangle(photo, (left, top), (right - 1, bottom - 1), colour, -1)
    return photo
