"""Which status a file deserves that could not be decoded: it looks at its header, and only once decoding has failed."""

import warnings
from http import HTTPStatus
from io import BytesIO

from fulldeck.inference.image import MAX_PIXELS

# How the formats that fulldeck reads begin; a file that begins so and goes wrong later is an image, a broken one.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*")


def fault(data: bytes) -> tuple[int, str]:
    """The HTTP status and the code for a file that is no usable image.

    Returns:
        415 not-an-image; 413 too-many-pixels; 422 empty-file; 422 unreadable-image, which is truncated, damaged or too
        small.
    """
    from PIL import Image  # noqa: PLC0415  (a server whose clients send images never needs it)

    if not data:
        return HTTPStatus.UNPROCESSABLE_ENTITY, "empty-file"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that we are about to refuse
            with Image.open(BytesIO(data)) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-many-pixels"
    except Exception:  # noqa: BLE001  (Pillow's plugins raise anything on bytes made to break them)
        if data.startswith(_BEGINNINGS) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
            return HTTPStatus.UNPROCESSABLE_ENTITY, "unreadable-image"
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-an-image"
    if width * height > MAX_PIXELS:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-many-pixels"
    return HTTPStatus.UNPROCESSABLE_ENTITY, "unreadable-image"
