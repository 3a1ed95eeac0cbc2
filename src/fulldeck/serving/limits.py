"""Reads the files out of a request's body, and stops at the first byte past a limit.

The parts are gathered in memory: a body is at most ``max_body_bytes``, and an image must be whole to be decoded.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fulldeck.serving.problems import Problem
from fulldeck.serving.settings import Settings

FIELDS = ("files", "file", "image")
"""The multipart fields that may carry images; ``files`` is the documented one."""

_CLOSE = {"Connection": "close"}
"""Sent where the body was not read to its end: what is still coming must not be taken for the next request."""


@dataclass(frozen=True)
class Upload:
    """One file as it was sent."""

    name: str
    data: bytes


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    field: str = ""
    filename: str | None = None


class _Form:
    """Collects the parts of one multipart body; the parser calls its methods as the bytes come."""

    def __init__(self, boundary: bytes, max_files: int) -> None:
        self.parts: list[_Part] = []
        self.complete = False
        self._max_files = max_files
        self._header_name = b""
        self._header_value = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": lambda: self.parts.append(_Part()),
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_end": self._on_end,
            },
        )

    def write(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self.parts[-1].headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        part = self.parts[-1]
        _, options = parse_options_header(part.headers.get(b"content-disposition"))
        part.field = _text(options.get(b"name", b""))
        if b"filename" in options:
            part.filename = _text(options[b"filename"])
        # Text fields count too: they cost as much to hold, and nobody sends more of them than images.
        if len(self.parts) > self._max_files:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too-many-files",
                f"a request may bring at most {self._max_files} files: send the others in another one",
                headers=_CLOSE,
            )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += memoryview(data)[start:end]

    def _on_end(self) -> None:
        self.complete = True


def _text(raw: bytes) -> str:
    """A header's text as UTF-8, or as Latin-1 where it is not."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _display_name(part: _Part, index: int) -> str:
    """A name that can go into logs and answers: no folders, no control characters, at most 200 characters."""
    base = (part.filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in base if c.isprintable())[:200] or f"{part.field}[{index}]"


async def bounded_body(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body's chunks, as they come.

    Raises:
        Problem: 413 as soon as the body is larger than ``max_bytes``, whether it says so beforehand or not.
    """
    problem = Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body-too-large",
        f"the body is larger than {max_bytes:,} bytes: send fewer or smaller images",
        headers=_CLOSE,
    )
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > max_bytes:
        raise problem
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise problem
        yield chunk


async def read_uploads(request: Request, settings: Settings) -> list[Upload]:
    """The images of a multipart request, in the order in which they were sent; at least one.

    Raises:
        Problem: 400 for a malformed body, 408 for one that does not come in time, 413 for one too large or with too
            many files, 415 for another content type than multipart/form-data, 422 where there is no image field.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "not-multipart",
            "send the images as multipart/form-data in the field 'files': curl -F files=@card.jpg",
            headers={"Accept-Post": "multipart/form-data"} | _CLOSE,
        )
    try:
        form = _Form(options[b"boundary"], settings.max_files)
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in bounded_body(request, settings.max_body_bytes):
                form.write(chunk)
    except TimeoutError:
        detail = f"the body did not arrive within {settings.body_seconds:g} seconds"
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "body-timeout", detail, headers=_CLOSE) from None
    except FormParserError:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "malformed-multipart", "the body is no multipart form", headers=_CLOSE
        ) from None
    if not form.complete:
        detail = "the multipart body ends before its closing boundary"
        raise Problem(HTTPStatus.BAD_REQUEST, "malformed-multipart", detail)
    return _images(form.parts)


def _images(parts: list[_Part]) -> list[Upload]:
    """The parts that carry images. A form's file input that was left empty is no part at all."""
    sent = [part for part in parts if part.filename or (part.field in FIELDS and part.data)]
    stray = [part for part in sent if part.field not in FIELDS]
    if stray:
        name = _display_name(stray[0], 0)
        detail = f"{name} came in the field {stray[0].field!r}: send images in the field 'files'"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unknown-field", detail)
    if not sent:
        detail = "no image came: send one or several in the field 'files'"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "no-files", detail)
    return [Upload(_display_name(part, index), bytes(part.data)) for index, part in enumerate(sent)]
