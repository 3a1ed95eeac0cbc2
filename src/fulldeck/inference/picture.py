"""One picture as it was given: read once, decoded small to be named, and larger to be searched.

It knows nothing about models.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fulldeck.errors import ImageError
from fulldeck.inference import image as images

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    Given = str | Path | bytes | NDArray[np.uint8] | PillowImage

LONGER = 2000
"""A photo keeps so many pixels on its longer side, at least, when it is reduced to be searched: a card of a tenth of
that is still as large as what the classifier looks at."""


class Photo(NamedTuple):
    """An upright photo to be searched.

    Attributes:
        pixels: uint8 [H, W, 3], RGB. The longer side has less than twice :data:`LONGER` pixels.
        size: Width and height of the full image, in its pixels.
        scale: Pixels of the full image a pixel of this one, in x and in y; 1 or more.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    scale: tuple[float, float]


class Picture:
    """One picture as it was given.

    Args:
        given: A path, the bytes of an image file, an array (uint8 [H, W, 3], RGB) or a Pillow image.
        name: What error messages call it, where it is not a path.
        max_pixels: Encoded bytes of more pixels than this are refused by their header.

    Raises:
        ImageError: The file cannot be read, or this is none of these.
    """

    def __init__(self, given: "Given", name: str = "image", max_pixels: int = images.MAX_PIXELS) -> None:
        self.name = name
        self._max_pixels = max_pixels
        self._data: bytes | None = None
        self._size: tuple[int, int] | None = None
        self._image: Any = given
        if isinstance(given, str | Path):  # which may be a pipe, to be read only once
            self.name = str(given)
            self._data = images.read_bytes(given)
        elif isinstance(given, bytes | bytearray | memoryview):
            self._data = bytes(given)
        elif not isinstance(given, np.ndarray) and not _is_pillow(given):
            raise ImageError(f"{name}: a {type(given).__name__} is no path, bytes, array or Pillow image")

    def square(self, side: int) -> NDArray[np.uint8]:
        """Decode and stretch it to uint8 [side, side, 3].

        Raises:
            ImageError: It cannot be decoded.
        """
        pixels = self._decoded(side=side)
        if not images.may_be_reduced(pixels, side):
            self._size = pixels.shape[1], pixels.shape[0]
        return images.resize(pixels, side)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture that has been decoded, upright, in its own pixels."""
        if self._size is None and self._data is not None:
            self._size = images.dimensions(self._data)
        elif self._size is None:
            height, width = self._decoded().shape[:2]
            self._size = width, height
        return self._size

    def photo(self) -> Photo:
        """Decode it so large that cards in it can be found and read.

        Raises:
            ImageError: It cannot be decoded.
        """
        return self._photo(self._decoded(longer=LONGER))

    def square_and_photo(self, side: int) -> tuple[NDArray[np.uint8], Photo]:
        """Do both, and decode only once where that makes no difference to either.

        Raises:
            ImageError: It cannot be decoded.
        """
        pixels = self._decoded(longer=LONGER)
        alike = self._reduction(side=side) == self._reduction(longer=LONGER)
        return images.resize(pixels, side) if alike else self.square(side), self._photo(pixels)

    def _decoded(self, **wanted: int) -> NDArray[np.uint8]:
        if self._data is not None:
            return images.decode(self._data, self.name, max_pixels=self._max_pixels, **wanted)
        if isinstance(self._image, np.ndarray):
            return images.checked(self._image, self.name)
        return images.from_pillow(self._image, self.name)

    def _reduction(self, **wanted: int) -> int:
        return 1 if self._data is None else images.reduction(self._data, self.name, **wanted)

    def _photo(self, pixels: NDArray[np.uint8]) -> Photo:
        times = self._reduction(longer=LONGER)
        if self._data is not None and times > 1:
            # The last pixels of a reduced JPEG may stand for fewer than the others, which do not grow by that.
            return Photo(pixels, images.jpeg_size(self._data, self.name), (times, times))
        height, width = pixels.shape[:2]
        while max(pixels.shape) >= 2 * LONGER and min(pixels.shape[:2]) >= 2:
            pixels = images.halved(pixels)
        return Photo(pixels, (width, height), (width / pixels.shape[1], height / pixels.shape[0]))


def _is_pillow(given: object) -> bool:
    pillow = sys.modules.get("PIL.Image")  # who passes a Pillow image has loaded Pillow
    return pillow is not None and isinstance(given, pillow.Image)
