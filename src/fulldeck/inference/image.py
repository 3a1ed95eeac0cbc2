"""From bytes that nobody vouches for to an upright RGB array: the one way in, for training, CLI and API alike.

JPEG goes through OpenCV, which is the fastest; every other format through the one Pillow plugin that reads it. What an
image would cost is read from its header before any pixel is decoded. Nothing here knows about models.
"""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fulldeck.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

MIN_SIDE = 8
"""Images with a side under this many pixels show nothing that could be named."""

MAX_PIXELS = 100_000_000
"""Above this an image is taken for a decompression bomb: 100 megapixels are 300 MB once decoded."""

MAX_BYTES = 200_000_000
"""Files above this are not read at all."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)
"""Lower-case suffixes of the formats that are read; a file's content decides, its suffix only finds it in a folder."""


def load(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file.

    Returns:
        uint8 [H, W, 3], RGB, upright.

    Raises:
        ImageError: The file cannot be read, or :func:`decode` refuses it.
    """
    return decode(read_bytes(path), str(path))


def read_bytes(path: str | Path) -> bytes:
    """Read a file of at most :data:`MAX_BYTES`.

    Raises:
        ImageError: It is not there, no file, not permitted, or too large.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - takes str and Path alike
            status = os.fstat(file.fileno())
            regular = stat.S_ISREG(status.st_mode)
            if regular and status.st_size > MAX_BYTES:
                raise ImageError(f"{path}: the file has {status.st_size:,} bytes, more than the {MAX_BYTES:,} allowed")
            # A pipe or device has no size to look at first, and may never end.
            data = file.read() if regular else file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: this is a folder, not an image") from None
    except PermissionError:
        raise ImageError(f"{path}: no permission to read it") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"{path}: it cannot be read ({reason})") from None
    if len(data) > MAX_BYTES:
        raise ImageError(f"{path}: it has more than the {MAX_BYTES:,} bytes allowed")
    return data


def decode(data: bytes, name: str = "image") -> NDArray[np.uint8]:
    """Decode an encoded image: JPEG, PNG, WebP, GIF (its first frame), BMP, TIFF, HEIC or AVIF.

    EXIF turns are applied; grey, CMYK, palette and 16-bit images become 8-bit RGB; transparency is laid on white.

    Args:
        data: The file's bytes. They need not be trusted.
        name: What error messages call it.

    Returns:
        uint8 [H, W, 3], RGB, upright, contiguous.

    Raises:
        ImageError: Empty, no image, truncated, smaller than :data:`MIN_SIDE` or larger than :data:`MAX_PIXELS`, or of
            a format whose decoder is not installed.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{name}: it has {len(data):,} bytes, more than the {MAX_BYTES:,} allowed")
    if data.startswith(b"\xff\xd8\xff"):
        return _decode_jpeg(data, name)
    return _decode_other(data, name)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Stretch an image to a square; its aspect is not kept, as in the Kaggle images the models learn from.

    Args:
        image: uint8 [H, W, 3].
        size: Side of the result, in pixels.

    Returns:
        uint8 [size, size, 3]. The input itself where it has that size already.
    """
    height, width = image.shape[:2]
    if height == size and width == size:
        return image
    # INTER_AREA is right only where both sides shrink: one that shrinks while the other grows goes first, alone.
    if (height > size) != (width > size):
        image = _resize(image, min(height, size), min(width, size), cv2.INTER_AREA)
    return _resize(image, size, size, cv2.INTER_AREA if height > size and width > size else cv2.INTER_LINEAR)


def _resize(image: NDArray[np.uint8], height: int, width: int, interpolation: int) -> NDArray[np.uint8]:
    return cv2.resize(image, (width, height), interpolation=interpolation)  # type: ignore[return-value]


def _check_size(width: int, height: int, name: str) -> None:
    if width < MIN_SIDE or height < MIN_SIDE:
        raise ImageError(f"{name}: {width}x{height} pixels are too few to see anything; it needs {MIN_SIDE} a side")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width}x{height} pixels are more than the {MAX_PIXELS // 1_000_000} megapixels allowed"
        )


def _decode_jpeg(data: bytes, name: str) -> NDArray[np.uint8]:
    width, height, channels, scan = _jpeg_header(data, name)
    _check_size(width, height, name)
    # In a scan 0xFF is always followed by 0x00 or a restart marker, so this finds the end and nothing else. libjpeg
    # itself would fill what is missing with grey and say nothing.
    if data.find(b"\xff\xd9", scan) < 0:
        raise ImageError(f"{name}: the JPEG is truncated; get the whole file")
    if channels == 4:  # OpenCV's CMYK is only nearly right
        return _decode_other(data, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(f"{name}: the JPEG is damaged")
    return image  # type: ignore[return-value]


def _jpeg_header(data: bytes, name: str) -> tuple[int, int, int, int]:
    """Walk the segments before the first scan; return width, height, number of channels, and where the scan starts."""
    frame = None
    position = 2
    end = len(data)
    while position + 4 <= end:
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA and frame is not None:
            return (*frame, position + 2 + length)
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC} and position + 10 <= end:
            rows = int.from_bytes(data[position + 5 : position + 7], "big")
            columns = int.from_bytes(data[position + 7 : position + 9], "big")
            frame = (columns, rows, data[position + 9])
        position += 2 + length
    raise ImageError(f"{name}: the JPEG is truncated or damaged: it ends before its pixels begin")


def _decode_other(data: bytes, name: str) -> NDArray[np.uint8]:
    image = _open(data, name)
    if image is None:
        raise ImageError(f"{name}: this is no image that fulldeck reads (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF)")
    _check_size(*image.size, name)
    try:
        return np.ascontiguousarray(_upright(_to_rgb(image), image))
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise anything on bytes made to break them
        raise ImageError(f"{name}: the {image.format} is truncated or damaged ({error})") from None


def _open(data: bytes, name: str) -> "Image.Image | None":
    from io import BytesIO  # noqa: PLC0415 - JPEG never needs it

    from PIL import Image  # noqa: PLC0415

    del name
    try:
        return Image.open(BytesIO(data))
    except Exception:  # noqa: BLE001
        return None


def _to_rgb(image: "Image.Image") -> NDArray[np.uint8]:
    image.load()
    return np.asarray(image.convert("RGB"))


def _upright(pixels: NDArray[np.uint8], image: "Image.Image") -> NDArray[np.uint8]:
    turn: Any = image.getexif().get(0x0112, 1)
    del turn
    return pixels
