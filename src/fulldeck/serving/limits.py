"""Reads the files out of a request's body, and stops at the first byte past a limit.

The parts are gathered in memory: a body is at most ``max_body_bytes``, all together are at most ``max_pending_bytes``,
and an image must be whole to be decoded.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from types import TracebackType
from typing import Self

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from fulldeck.serving.context import header_of
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import BadFile, Problem, bad_files
from fulldeck.serving.settings import Settings

FIELDS = ("files", "file", "image")
"""The multipart fields that may carry images; ``files`` is the documented one."""

FORM = "multipart/form-data"

ACCEPTED = f"{FORM}, image/*"

UNNAMED = "image"
"""What a picture is called that is a body without a name."""

_PICTURE = re.compile(r"image/[a-z0-9.+-]+")
"""A picture's type as programs write it."""


@dataclass(frozen=True)
class Upload:
    """One file as it was sent."""

    name: str
    data: bytes


class Memory:
    """How many bytes of bodies lie in memory, over all requests.

    Args:
        limit: so many may.
        metrics: where they are shown.
    """

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self.held = 0
        self.limit = limit
        self.metrics = metrics
        metrics.pending_bytes.set_function(lambda: self.held)


class Share:
    """One request's part of the memory; it is given back on leaving the ``with``."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._held = 0

    def take(self, count: int) -> None:
        """Claim so many bytes more.

        Raises:
            Problem: 503 out-of-memory; all bodies together are too large now.
        """
        if self._memory.held + count > self._memory.limit:
            self._memory.metrics.shed("out-of-memory")
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "out-of-memory",
                "the service holds as many bodies as it has memory for: try again in a second",
                headers={"Retry-After": "1"},
            )
        self._hold(count)

    def _hold(self, count: int) -> None:
        self._held += count
        self._memory.held += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._hold(-self._held)


@dataclass
class _Part:
    field: str
    filename: str | None
    chunks: list[bytes]


class _Form:
    """Collects the parts of one multipart body as its bytes come; where that is no form, it raises MultipartError."""

    def __init__(self, boundary: bytes, max_files: int) -> None:
        self.parts: list[_Part] = []
        self._max_files = max_files
        self._parser = PushMultipartParser(boundary, header_charset="latin-1")  # whatever it is: see _text

    def write(self, chunk: bytes) -> None:
        for event in self._parser.parse(chunk):
            if isinstance(event, MultipartSegment):
                self._begin(event)
            elif event is not None:  # which is a part's end
                self.parts[-1].chunks.append(event)

    def end(self) -> None:
        """There is no more."""
        self._parser.close()

    def reading(self) -> str:
        """What the part that is being read is called; "" before the first."""
        return _name(self.parts[-1], len(self.parts) - 1) if self.parts else ""

    def _begin(self, segment: MultipartSegment) -> None:
        filename = segment.filename
        self.parts.append(_Part(_text(segment.name or ""), None if filename is None else _text(filename), []))
        # Text fields count too: they cost as much to hold, and nobody sends more of them than images.
        if len(self.parts) > self._max_files:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too-many-files",
                f"a request may bring at most {self._max_files} files, and {self.reading()} is one more: "
                "send the others in another one",
            )


def _text(text: str) -> str:
    """A header's text that was read as Latin-1: as UTF-8, where it is that."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _shown(text: str) -> str:
    """What of a text can go into logs and answers: no control characters, and at most 200 characters."""
    return "".join(c for c in text if c.isprintable())[:200]


def _display_name(filename: str | None) -> str:
    """A file's name without its folders, as it can be shown."""
    return _shown((filename or "").replace("\\", "/").rpartition("/")[2])


def _name(part: _Part, index: int) -> str:
    """A file's name as it can be shown, or its place where it has none."""
    return _display_name(part.filename) or f"{_shown(part.field)}[{index}]"


async def bounded_body(request: Request, max_bytes: int, reading: Callable[[], str]) -> AsyncIterator[bytes]:
    """The body's chunks, as they come.

    Args:
        request: the request, of which nothing has been read.
        max_bytes: so many may come.
        reading: what the file is called that is being read, as far as that is known.

    Raises:
        Problem: 413 as soon as the body is larger than ``max_bytes``, whether it says so beforehand or not.
    """
    stated = header_of(request.scope, b"content-length")
    if stated.isdigit() and int(stated) > max_bytes:
        raise _too_large(max_bytes, reading())
    received = 0
    more = True
    while more:
        message = await request.receive()  # and not request.stream(), a second generator for each chunk to pass through
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes, reading())
        if chunk:
            yield chunk


def request_timeout(seconds: float) -> Problem:
    """What a request is told that was not answered in time."""
    detail = f"the request was not answered within {seconds:g} seconds"
    return Problem(HTTPStatus.GATEWAY_TIMEOUT, "request-timeout", detail)


def _too_large(max_bytes: int, file: str) -> Problem:
    where = f", with {file} in it" if file else ""
    detail = f"the body is larger than {max_bytes:,} bytes{where}: send fewer or smaller images"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", detail)


async def read_uploads(request: Request, settings: Settings, share: Share) -> list[Upload]:
    """The images of a request, in the order in which they were sent; at least one.

    Args:
        request: its body is one image (Content-Type image/*), or multipart/form-data.
        settings: the limits.
        share: what claims the memory that the body takes.

    Raises:
        Problem: 400 for a malformed body, 408 for one that does not come in time, 413 for one too large or with too
            many files, 415 for another content type, 422 where there is no image field, 503 where memory is short.
    """
    kind, options = parse_options_header(header_of(request.scope, b"content-type").decode("latin-1"))
    try:
        async with asyncio.timeout(settings.body_seconds):
            if kind.startswith("image/"):
                return [await _read_image(request, settings, share)]
            if kind == FORM and options.get("boundary"):
                return await _read_form(request, options["boundary"], settings, share)
    except TimeoutError:
        detail = f"the body did not arrive within {settings.body_seconds:g} seconds"
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "body-timeout", detail) from None
    raise Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported-type",
        "send one image as the body, with its own Content-Type (image/jpeg), or several as multipart/form-data in the "
        "field 'files'",
        headers={"Accept-Post": ACCEPTED},
    )


async def _read_image(request: Request, settings: Settings, share: Share) -> Upload:
    name = _stated_name(header_of(request.scope, b"content-disposition"))
    chunks = []
    async for chunk in bounded_body(request, settings.max_body_bytes, lambda: name):
        share.take(len(chunk))
        chunks.append(chunk)
    return Upload(name or UNNAMED, b"".join(chunks))  # the chunk itself, where there is but one


def _stated_name(disposition: bytes) -> str:
    """The file's name by a request's Content-Disposition, as it can be shown; "" where there is none.

    Unlike a part's of a form it may be encoded (RFC 6266).
    """
    if not disposition:
        return ""
    header = Message()
    header["Content-Disposition"] = disposition.decode("latin-1")
    return _display_name(_text(header.get_filename("")))


def uploads_of(kind: str, body: bytes, max_files: int) -> list[Upload] | None:
    """The images of a request all of whose body is there: see :func:`read_uploads`.

    Args:
        kind: its Content-Type.
        body: its body, no longer than it may be.
        max_files: so many it may bring.

    Returns:
        None where it has none that can be used, or too many: :func:`read_uploads` tells why.
    """
    if _PICTURE.fullmatch(kind):
        return [Upload(UNNAMED, body)]
    kind, options = parse_options_header(kind)
    if kind != FORM or not options.get("boundary"):
        return None
    form = _Form(options["boundary"].encode("latin-1"), max_files)
    try:
        form.write(body)
        form.end()
        return _images(form.parts)
    except (MultipartError, Problem):
        return None


async def _read_form(request: Request, boundary: str, settings: Settings, share: Share) -> list[Upload]:
    form = _Form(boundary.encode("latin-1"), settings.max_files)
    try:
        async for chunk in bounded_body(request, settings.max_body_bytes, form.reading):
            share.take(len(chunk))
            form.write(chunk)
        form.end()
    except MultipartError as error:
        where = f", from {name} on" if (name := form.reading()) else ""
        detail = f"the body is no multipart form{where} ({error})"
        raise Problem(HTTPStatus.BAD_REQUEST, "malformed-multipart", detail) from None
    return _images(form.parts)


def _images(parts: list[_Part]) -> list[Upload]:
    """The parts that carry images. A form's file input that was left empty is no part at all."""
    sent = [part for part in parts if part.filename or (part.field in FIELDS and part.chunks)]
    named = [(_name(part, index), part) for index, part in enumerate(sent)]
    elsewhere = [
        BadFile(
            file=name,
            index=index,
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            code="unknown-field",
            detail=f"{name} came in the field {_shown(part.field)!r}: send images in the field 'files'",
        )
        for index, (name, part) in enumerate(named)
        if part.field not in FIELDS
    ]
    if elsewhere:
        raise bad_files(elsewhere)
    if not sent:
        detail = "no image came: send one or several in the field 'files'"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "no-files", detail)
    return [Upload(name, b"".join(part.chunks)) for name, part in named]
