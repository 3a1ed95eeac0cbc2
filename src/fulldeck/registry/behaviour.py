"""Changes to a picture of a card after which it is still that card, so that the answer must stay.

They are the invariance tests of Ribeiro et al., "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList"
(2020): they need no label, and ask not whether a model is right but whether it is steady.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def turned(image: Image, degrees: float) -> Image:
    """Turn a picture about its middle, uint8 [H, W, 3]; what comes in at the corners is its edge gone on."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def upside_down(image: Image) -> Image:
    """Turn a picture by 180 degrees, as a card lies for the player opposite."""
    return np.ascontiguousarray(image[::-1, ::-1])


def lit(image: Image, gain: float) -> Image:
    """Multiply the light, uint8 [H, W, 3]; what is too bright is white."""
    return np.asarray(cv2.convertScaleAbs(image, alpha=gain), np.uint8)


def recompressed(image: Image, quality: int) -> Image:
    """Store a picture as a JPEG of a quality, 1 to 100, and read it again."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


BEHAVIOURS: dict[str, Callable[[Image], Image]] = {
    "turned 5° left": lambda image: turned(image, 5),
    "turned 5° right": lambda image: turned(image, -5),
    "upside down": upside_down,
    "darker": lambda image: lit(image, 0.6),
    "brighter": lambda image: lit(image, 1.3),
    "JPEG of quality 40": lambda image: recompressed(image, 40),
}
"""Every change by its name on the gate's page."""
