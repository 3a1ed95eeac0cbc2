"""From bytes that nobody vouches for to an upright RGB array: the one way in, for training, CLI and API alike.

JPEG goes through OpenCV, which is the fastest; every other format through the one Pillow plugin that reads it. What an
image would cost is read from its header before any pixel is decoded. Nothing here knows about models.
"""

import os
import stat
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fulldeck.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

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


def decode(data: bytes, name: str = "image", side: int | None = None) -> NDArray[np.uint8]:
    """Decode an encoded image: JPEG, PNG, WebP, GIF (its first frame), BMP, TIFF, HEIC or AVIF.

    EXIF turns are applied; grey, CMYK, palette and 16-bit images become 8-bit RGB; transparency is laid on white.

    Args:
        data: The file's bytes. They need not be trusted.
        name: What error messages call it.
        side: The side that the caller will :func:`resize` to, if it will. A JPEG six times as large or more is
            then decoded at a half, quarter or eighth of its scale, which is what makes photos of many megapixels
            cheap; a model sees no difference (under one grey level on average).

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
        return _decode_jpeg(data, name, side)
    return _decode_with_pillow(data, name)


def from_pillow(image: "PillowImage", name: str = "image") -> NDArray[np.uint8]:
    """Turn a Pillow image of any mode into what :func:`decode` returns.

    Raises:
        ImageError: It is too small, too large, or cannot be decoded.
    """
    _check_size(*image.size, name)
    try:
        return _rgb(image)
    except Exception as error:  # noqa: BLE001 - a lazy image decodes here, and plugins raise anything on broken bytes
        raise ImageError(f"{name}: the {image.format or 'image'} is truncated or damaged ({_reason(error)})") from None


def checked(image: NDArray[Any], name: str = "image") -> NDArray[np.uint8]:
    """Return an array that is already an image, unchanged.

    Raises:
        ImageError: It is not uint8 [H, W, 3], or is too small.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"{name}: an array must be uint8 [H, W, 3] in RGB, not {image.dtype} {list(image.shape)}")
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
    height, width = image.shape[:2]
    while height >= 2 * size or width >= 2 * size:
        height = height // 2 if height >= 2 * size else height
        width = width // 2 if width >= 2 * size else width
        image = _linear(image, height, width)
    return image if height == size and width == size else _linear(image, size, size)


def _linear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    # At a factor of two, linear interpolation is the mean of 2x2 pixels.
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _check_size(width: int, height: int, name: str) -> None:
    if width < MIN_SIDE or height < MIN_SIDE:
        raise ImageError(f"{name}: {width}x{height} pixels are too few to see anything; it needs {MIN_SIDE} a side")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {width}x{height} pixels are more than the {MAX_PIXELS // 10**6} megapixels allowed")


def _decode_jpeg(data: bytes, name: str, side: int | None) -> NDArray[np.uint8]:
    width, height, channels, scan = _jpeg_header(data, name)
    _check_size(width, height, name)
    # In a scan 0xFF is always followed by 0x00 or a restart marker, so this finds the end and nothing else. libjpeg
    # itself would fill what is missing with grey and call it an image.
    if data.find(b"\xff\xd9", scan) < 0:
        raise ImageError(f"{name}: the JPEG is truncated; get the whole file")
    if channels == 4:  # CMYK or YCCK, inverted or not: Pillow knows the difference
        return _decode_with_pillow(data, name)
    shorter = min(width, height)
    reduced = 0 if side is None else next((flag for times, flag in _REDUCED if shorter >= 3 * times * side), 0)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | reduced)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(f"{name}: the JPEG is damaged")
    return image  # type: ignore[return-value]


# libjpeg scales while it decodes. Three times the wanted side must be left, so that the resize that follows, not the
# decoder's coarser filter, decides what the model sees. (IMREAD_REDUCED_COLOR_* holds the BGR flag; these hold none.)
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)


def _jpeg_header(data: bytes, name: str) -> tuple[int, int, int, int]:
    """Walk the segments before the first scan; return width, height, number of channels, and where the scan starts."""
    frame = None
    position = 2
    for _ in range(10_000):  # a real file has some dozens
        position = data.find(b"\xff", position)  # libjpeg, too, skips what lies between segments
        head = data[position : position + 10]
        if position < 0 or len(head) < 4:
            break
        marker = head[1]
        if marker in {0x00, 0xFF}:  # fill bytes
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
        elif marker == 0xDA and frame is not None:
            return (*frame, position + 2 + int.from_bytes(head[2:4], "big"))
        elif marker == 0xD9:
            break
        else:
            if marker in _FRAMES and len(head) == 10:
                frame = (int.from_bytes(head[7:9], "big"), int.from_bytes(head[5:7], "big"), head[9])
            position += 2 + int.from_bytes(head[2:4], "big")
    raise ImageError(f"{name}: the JPEG is truncated or damaged: it ends before its pixels begin")


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers SOF0 to SOF15, which give the size; the three left out are tables."""


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


def _decode_with_pillow(data: bytes, name: str) -> NDArray[np.uint8]:
    kind = _format(data)
    if kind is None:
        raise ImageError(f"{name}: this is no image that fulldeck reads (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF)")
    if kind == "WebP" and (size := _webp_size(data)):
        _check_size(size[0], size[1], name)  # its decoder takes its memory on opening
    module, plugin = _PLUGINS[kind]
    try:
        opener: Any = getattr(import_module(module), plugin)
    except ImportError:
        raise ImageError(f"{name}: {kind} needs a decoder that is not installed: pip install pillow-heif") from None
    if not getattr(import_module(module), "SUPPORTED", True):
        raise ImageError(f"{name}: the installed Pillow cannot read {kind}: pip install --upgrade pillow")
    try:
        with opener(BytesIO(data)) as image:
            width, height = image.size
            _check_size(width, height, name)
            image.load()
            return _rgb(image)
    except ImageError:
        raise
    except Exception as error:  # noqa: BLE001 - the plugins raise anything on bytes that were made to break them
        raise ImageError(f"{name}: the {kind} is truncated or damaged ({_reason(error)})") from None


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
    return np.ascontiguousarray(_turned(pixels, turn))


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
    """Undo an EXIF orientation on [H, W, 3]; an unknown one changes nothing."""
    if turn in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if turn in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if turn in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return pixels
