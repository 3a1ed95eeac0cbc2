"""From bytes that nobody vouches for to an upright RGB array: the one way in, for training, CLI and API alike.

JPEG goes through libjpeg-turbo by simplejpeg, which is the fastest and the only one here that tells of corrupt data:
OpenCV and Pillow fill what cannot be decoded with grey or with noise and call it an image. Every other format goes
through the one Pillow plugin that reads it. What an image would cost is read from its header before any pixel is
decoded. Nothing here knows about models.
"""

import os
import re
import stat
from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fulldeck.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

MIN_SIDE = 8
"""Images with a side under this many pixels show nothing that could be named."""

MAX_PIXELS = 100_000_000
"""Above this an image is taken for a decompression bomb: 100 megapixels are 300 MB once decoded."""

MAX_SCANS = 100
"""A progressive JPEG of more scans than this is taken for a bomb: each passes over all its pixels, even if it has but a
few bytes. Encoders write about ten."""

MAX_BYTES = 200_000_000
"""Files above this are not read at all."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)
"""Lower-case suffixes of the formats that are read; a file's content decides, its suffix only finds it in a folder."""


def load(path: str | Path, side: int | None = None) -> NDArray[np.uint8]:
    """Read an image file; see :func:`decode`.

    Returns:
        uint8 [H, W, 3], RGB, upright.

    Raises:
        ImageError: The file cannot be read, or :func:`decode` refuses it.
    """
    return decode(read_bytes(path), str(path), side)


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
                raise ImageError(
                    f"{path}: the file has {status.st_size:,} bytes, more than the {MAX_BYTES:,} allowed",
                    "too_many_bytes",
                )
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
        raise ImageError(f"{path}: it has more than the {MAX_BYTES:,} bytes allowed", "too_many_bytes")
    return data


def decode(
    data: bytes,
    name: str = "image",
    side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    *,
    longer: int | None = None,
) -> NDArray[np.uint8]:
    """Decode an encoded image: JPEG, PNG, WebP, GIF (its first frame), BMP, TIFF, HEIC or AVIF.

    EXIF turns are applied; grey, CMYK, palette and 16-bit images become 8-bit RGB; transparency is laid on white.

    Args:
        data: The file's bytes. They need not be trusted.
        name: What error messages call it.
        side: The side that the caller will :func:`resize` to, if it will. A JPEG six times as large or more is
            then decoded at a half, quarter or eighth of its scale, which is what makes photos of many megapixels
            cheap; a model sees no difference (under one grey level on average).
        max_pixels: An image of more pixels than this is refused by its header.
        longer: In place of ``side``: how many pixels the longer side must keep at least. A JPEG is decoded at the
            smallest of the scales above that keeps them; any other format as it is.

    Returns:
        uint8 [H, W, 3], RGB, upright, contiguous. :func:`reduction` tells the scale.

    Raises:
        ImageError: Empty, no image, truncated, damaged (a JPEG also where its decoder merely warns), smaller than
            :data:`MIN_SIDE`, larger than ``max_pixels``, or of a format whose decoder is not installed.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty", "empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{name}: it has {len(data):,} bytes, more than the {MAX_BYTES:,} allowed", "too_many_bytes")
    if data.startswith(b"\xff\xd8\xff"):
        return _decode_jpeg(data, name, max_pixels, side, longer)
    return _decode_with_pillow(data, name, max_pixels)


def reduction(data: bytes, name: str = "image", side: int | None = None, longer: int | None = None) -> int:
    """Tell by how much :func:`decode` would reduce an image, given the same arguments: 8, 4, 2 or, mostly, 1.

    Raises:
        ImageError: A JPEG that ends before its pixels begin.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return 1
    head = _jpeg_head(data, name)
    return 1 if head.channels == 4 else _times(head, side, longer)


def may_be_reduced(pixels: NDArray[np.uint8], side: int) -> bool:
    """Whether what :func:`decode` made, given this side, is so large that it may have been larger still."""
    height, width = pixels.shape[:2]
    return bool(min(height, width) >= _LEAST * side)


def jpeg_size(data: bytes, name: str = "image") -> tuple[int, int]:
    """Read an upright JPEG's width and height from its header.

    Raises:
        ImageError: It ends before its pixels begin.
    """
    head = _jpeg_head(data, name)
    return (head.height, head.width) if head.turn in {5, 6, 7, 8} else (head.width, head.height)


def dimensions(data: bytes) -> tuple[int, int]:
    """Read the upright width and height of an encoded image, which :func:`decode` has taken, from its header."""
    if _format(data) == "JPEG":
        return jpeg_size(data)
    with _opened(data, "image") as image:
        width, height = image.size
        return (height, width) if _turn(image) in {5, 6, 7, 8} else (width, height)


def from_pillow(image: "PillowImage", name: str = "image") -> NDArray[np.uint8]:
    """Turn a Pillow image of any mode into what :func:`decode` returns.

    Raises:
        ImageError: It is too small, too large, or cannot be decoded.
    """
    _check_size(*image.size, name)
    try:
        return _rgb(image)
    except Exception as error:  # noqa: BLE001 - a lazy image decodes here, and plugins raise anything on broken bytes
        raise _damaged(name, image.format or "image", error) from None


def checked(image: NDArray[Any], name: str = "image") -> NDArray[np.uint8]:
    """Return an array that is already an image, unchanged.

    Raises:
        ImageError: It is not uint8 [H, W, 3], or is too small.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(
            f"{name}: an array must be uint8 [H, W, 3] in RGB, not {image.dtype} {list(image.shape)}", "not_rgb"
        )
    _check_size(image.shape[1], image.shape[0], name)
    return image


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Stretch an image to a square; its aspect is not kept, as in the Kaggle images the models learn from.

    A side is halved while it has twice the wanted pixels or more, then the rest is interpolated linearly: that looks
    as INTER_AREA does (under 3 of 255 levels apart on average) at an eighth of its time or less.

    Args:
        image: uint8 [H, W, 3].
        size: Side of the result, in pixels.

    Returns:
        uint8 [size, size, 3]. The input itself where it has that size already.
    """
    return scaled(image, size, size)


def scaled(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Bring an image to a size, in the way that :func:`resize` describes.

    Args:
        image: uint8 [H, W, 3].
        width: Of the result, in pixels.
        height: Of the result, in pixels.

    Returns:
        uint8 [height, width, 3]. The input itself where it has that size already.
    """
    rows, columns = image.shape[:2]
    while rows >= 2 * height or columns >= 2 * width:
        rows = rows // 2 if rows >= 2 * height else rows
        columns = columns // 2 if columns >= 2 * width else columns
        image = _linear(image, rows, columns)
    return image if rows == height and columns == width else _linear(image, height, width)


def stacked(squares: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Make a batch, uint8 [N, S, S, 3], of N images of one size; a single one is not copied."""
    return squares[0][np.newaxis] if len(squares) == 1 else np.stack(squares)


def halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halve both sides of an image of 2 pixels a side or more; each pixel becomes the mean of 2x2."""
    return _linear(image, image.shape[0] // 2, image.shape[1] // 2)


def _linear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    # At a factor of two, linear interpolation is the mean of 2x2 pixels.
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _check_size(width: int, height: int, name: str, max_pixels: int = MAX_PIXELS) -> None:
    if width < MIN_SIDE or height < MIN_SIDE:
        raise ImageError(
            f"{name}: {width}x{height} pixels are too few to see anything; it needs {MIN_SIDE} a side", "too_small"
        )
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width}x{height} pixels are more than the {max_pixels / 1e6:g} megapixels allowed",
            "too_many_pixels",
        )


class _JpegHead(NamedTuple):
    """What stands before the first scan.

    ``turn`` is the EXIF orientation, ``scan`` where that scan starts, and ``whole`` whether it has all of the image.
    """

    width: int
    height: int
    channels: int
    turn: int
    scan: int
    whole: bool


def _decode_jpeg(data: bytes, name: str, max_pixels: int, side: int | None, longer: int | None) -> NDArray[np.uint8]:
    head = _jpeg_head(data, name)
    width, height = head.width, head.height
    _check_size(width, height, name, max_pixels)
    _check_scans(data, head, name)
    if head.channels == 4:  # CMYK or YCCK, inverted or not: Pillow knows the difference
        return _decode_with_pillow(data, name, max_pixels)
    times = _times(head, side, longer)
    wanted = {"min_height": -(-height // times), "min_width": -(-width // times)}
    try:
        return _turned(simplejpeg.decode_jpeg(data, "RGB", **wanted), head.turn)
    except ValueError as error:
        reason = _reason(error)
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", **wanted, strict=False)
    except ValueError:  # broken, or of a kind that TurboJPEG does not know (sampling 3x1, say) and libjpeg does
        return _decode_with_pillow(data, name, max_pixels)
    if _PADDED.search(reason):
        return _turned(pixels, head.turn)
    raise ImageError(f"{name}: the JPEG is damaged ({reason}); get the file again", "damaged")


def _check_scans(data: bytes, head: _JpegHead, name: str) -> None:
    """Refuse a JPEG that does not end, or that has too many scans; of most the first has all, and no other is read.

    In a scan 0xFF is always followed by 0x00 or a restart marker, so this finds these markers and nothing else. libjpeg
    itself would fill what is missing with grey and call it an image.
    """
    if data.rfind(b"\xff\xd9", head.scan) < 0:  # from the back, where it mostly is: a photo has millions of bytes
        raise ImageError(f"{name}: the JPEG is truncated; get the whole file", "truncated")
    # An expression looks through megabytes in a fraction of the time of bytes.count, and can stop early.
    if not head.whole and any(True for _ in islice(_SCAN.finditer(data, head.scan), MAX_SCANS, None)):
        raise ImageError(
            f"{name}: the JPEG has more than {MAX_SCANS} scans of its pixels; save it anew", "too_many_pixels"
        )


_SCAN = re.compile(rb"\xff\xda")
"""The marker (SOS) that a scan starts with."""

_PADDED = re.compile(r"\b\d{1,2} extraneous bytes before marker 0xd9")
"""Some cameras write a few bytes between the last pixel and the end of the image (marker 0xD9), and nothing is lost by
them; a scan that lost its way leaves more."""


def _jpeg_head(data: bytes, name: str) -> _JpegHead:
    """Walk the segments before the first scan."""
    frame = None
    sequential = False
    turn = 1
    position = 2
    for _ in range(10_000):  # a real file has some dozens
        position = data.find(b"\xff", position)  # libjpeg, too, skips what lies between segments
        head = data[position : position + 10]
        if position < 0 or len(head) < 4:
            break
        marker = head[1]
        length = int.from_bytes(head[2:4], "big")
        if marker in {0x00, 0xFF}:  # fill bytes
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
        elif marker == 0xDA and frame is not None:
            whole = sequential and head[4:5] == bytes((frame[2],))
            return _JpegHead(*frame, turn, position + 2 + length, whole)
        elif marker == 0xD9:
            break
        else:
            if marker in _FRAMES and len(head) == 10:
                frame = (int.from_bytes(head[7:9], "big"), int.from_bytes(head[5:7], "big"), head[9])
                sequential = marker in _SEQUENTIAL
            elif marker == 0xE1 and head[4:10] == b"Exif\0\0":
                turn = _exif_turn(data[position + 10 : position + 2 + length])
            position += 2 + length
    raise ImageError(f"{name}: the JPEG is truncated or damaged: it ends before its pixels begin", "truncated")


_LEAST = 3
"""So many times the wanted side must be left where an image is reduced, so that the resize that follows, and not the
decoder's coarser filter, decides what the model sees."""


def _times(head: _JpegHead, side: int | None, longer: int | None) -> int:
    """By how much libjpeg is to reduce an image while it decodes it."""
    if longer is not None:
        return next((times for times in (8, 4, 2) if max(head.width, head.height) >= times * longer), 1)
    if side is not None:
        return next((times for times in (8, 4, 2) if min(head.width, head.height) >= _LEAST * times * side), 1)
    return 1


def _exif_turn(tiff: bytes) -> int:
    """Read the orientation, 1 to 8, from an EXIF segment (EXIF 2.32, 4.6.4); 1 where there is none."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    first = int.from_bytes(tiff[4:8], order)
    for entry in range(int.from_bytes(tiff[first : first + 2], order)):
        at = first + 2 + 12 * entry
        if len(tiff) < at + 12:
            break
        if int.from_bytes(tiff[at : at + 2], order) == 0x0112:
            return int.from_bytes(tiff[at + 8 : at + 10], order)
    return 1


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers SOF0 to SOF15, which give the size; the three left out are tables."""

_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
"""Those of them whose scans have each all that there is of their channels."""


# The class a format needs, by its module. Pillow's Image.open would try every plugin there is, Ghostscript's among
# them, and look at a process-wide pixel limit; this opens the one that the first bytes call for.
_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def _format(data: bytes) -> str | None:
    """Tell a format from a file's first bytes; None for what is none of ours."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
        return "AVIF" if brands & _AVIF_BRANDS else "HEIC" if brands & _HEIC_BRANDS else None
    return None


def _decode_with_pillow(data: bytes, name: str, max_pixels: int) -> NDArray[np.uint8]:
    if _format(data) == "WebP" and (size := _webp_size(data)):
        _check_size(size[0], size[1], name, max_pixels)  # its decoder takes its memory on opening
    try:
        with _opened(data, name) as image:
            width, height = image.size
            _check_size(width, height, name, max_pixels)
            image.load()
            return _rgb(image)
    except ImageError:
        raise
    except Exception as error:  # noqa: BLE001 - the plugins raise anything on bytes that were made to break them
        raise _damaged(name, _format(data) or "image", error) from None


def _opened(data: bytes, name: str) -> "PillowImage":
    """Open an image by the plugin that its first bytes call for; what that raises comes as it is."""
    kind = _format(data)
    if kind is None:
        raise ImageError(
            f"{name}: this is no image that fulldeck reads (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF)",
            "not_an_image",
        )
    module, plugin = _PLUGINS[kind]
    try:
        opener: Any = getattr(import_module(module), plugin)
    except ImportError:
        raise ImageError(
            f"{name}: {kind} needs a decoder that is not installed: pip install pillow-heif", "unsupported"
        ) from None
    if not getattr(import_module(module), "SUPPORTED", True):
        raise ImageError(
            f"{name}: the installed Pillow cannot read {kind}: pip install --upgrade pillow", "unsupported"
        )
    image: PillowImage = opener(BytesIO(data))
    return image


def _damaged(name: str, kind: str, error: Exception) -> ImageError:
    return ImageError(f"{name}: the {kind} is truncated or damaged ({_reason(error)})", "damaged")


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Read the canvas' width and height from a WebP file's first chunk (RFC 9649)."""
    head = data[12:30].ljust(18, b"\0")
    if head[:4] == b"VP8X":
        return int.from_bytes(head[12:15], "little") + 1, int.from_bytes(head[15:18], "little") + 1
    if head[:4] == b"VP8L":
        bits = int.from_bytes(head[9:13], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if head[:4] == b"VP8 ":
        return int.from_bytes(head[14:16], "little") & 0x3FFF, int.from_bytes(head[16:18], "little") & 0x3FFF
    return None


def _rgb(image: "PillowImage") -> NDArray[np.uint8]:
    """Turn a Pillow image of any mode into pixels, upright by its EXIF turn and with transparency laid on white."""
    from PIL import Image  # noqa: PLC0415 - whoever calls this has loaded it already

    turn = _turn(image)
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(258, (16,))[0]  # a TIFF's BitsPerSample; 12 comes in this mode, too
        grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        pixels = np.repeat(grey[:, :, None], 3, axis=2)
    elif image.mode in {"I", "F"}:
        pixels = np.repeat(_grey(np.asarray(image))[:, :, None], 3, axis=2)
    elif image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        pixels = np.asarray(white.convert("RGB"))
    else:
        pixels = np.asarray(image.convert("RGB"))
    return _turned(pixels, turn)


def _grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale numbers whose white is not written down, [H, W], to 8 bits by the range that they fill."""
    numbers = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0).clip(min=0)
    brightest = numbers.max()
    fraction = values.dtype.kind == "f" and brightest <= 1
    white = 1.0 if fraction else 255.0 if brightest <= 255 else 65535.0 if brightest <= 65535 else brightest
    return np.rint(numbers * (255 / white)).astype(np.uint8)


def _turn(image: "PillowImage") -> int:
    """Read the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        turn = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF beside good pixels is common
        return 1
    return turn if isinstance(turn, int) else 1


def _turned(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation on [H, W, 3]; an unknown one changes nothing. The result is contiguous."""
    if turn in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if turn in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if turn in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
