"""What every request has, whatever its route: an id, a line in the log, a place in the metrics, safe headers.

And a fitting end: a connection whose request was refused before its body was read may only go on if what is still to
come is known and bounded, or it would be taken for the next request, or come for ever.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import Container, Mapping
from http import HTTPStatus
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fulldeck.serving.logs import REQUEST_ID
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem, render

logger = logging.getLogger("fulldeck.serving.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

CLIENT_CLOSED = 499
"""What is logged and counted where the client left before its answer; nginx's number, as HTTP has none."""

_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
USUAL_HEADERS = (
    *_SAFE,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""What every answer has but those of the documentation page."""

USUAL_LINES = b"".join(b"%s: %s\r\n" % header for header in USUAL_HEADERS)
"""Those as they stand in an answer's head."""

# The documentation page runs the scripts that this server sends, and the few lines inside it; no other's.
_OWN = b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
_DOCS = (*_SAFE, (b"content-security-policy", _OWN))

# Labels of metrics are known words, not what was asked for: a stranger must not make up new series.
_METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


def _series(scope: Scope, routes: Container[str]) -> tuple[str, str]:
    """The request's method and its route, with and without its last slash being one route."""
    method, path = scope["method"], scope["path"]
    return method if method in _METHODS else "other", (path.rstrip("/") or "/") if path in routes else "other"


def header_of(scope: Scope, name: bytes) -> bytes:
    """The first value of a header, whose name is given in small letters; nothing where there is none.

    Starlette's own way takes several times as long, as it decodes every name for each that it looks for.
    """
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return b""


def _endless(headers: Mapping[bytes, bytes], max_body_bytes: int) -> bool:
    """Whether a body that nobody reads has no known end, one that is too far, or may never come."""
    stated = headers.get(b"content-length", b"")
    return (
        b"transfer-encoding" in headers or b"expect" in headers or (stated.isdigit() and int(stated) > max_body_bytes)
    )


def request_id(given: str) -> str:
    """The id that a request was given, or another one if that is none."""
    if _REQUEST_ID.fullmatch(given):
        return given
    # Ids tell requests apart and are no secret, so they need not come from the system, which takes its time. They begin
    # with the millisecond, as UUIDs of version 7 do (RFC 9562), so that those of a span lie together in an index.
    return f"{time.time_ns() // 1_000_000:012x}{random.getrandbits(80):020x}"


def log_request(identity: str, method: str, path: str, status: int, *, start: float, key: str | None = None) -> None:
    """Write a request's line, if anybody reads it.

    Args:
        identity: its id.
        method: its method.
        path: what it asked for, without the query, which may hold a secret.
        status: of its answer.
        start: when it began, by ``perf_counter``.
        key: the id of the key that it came with.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    fields = {
        "method": method,
        "path": path.encode("unicode_escape").decode(),
        "status": status,
        "ms": round((perf_counter() - start) * 1000, 1),
        "key": key,
    }
    line = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    logger.info("%s id=%s", line, identity, extra={"fields": {"request_id": identity, **fields}})


class _Exchange:
    """One request and its answer, as they pass.

    Attributes:
        id: the request's id.
        scope: the request's scope.
        status: the answer's status, from the moment at which it goes out; 0 before.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        headers = dict(scope["headers"])
        self.id = request_id(headers.get(b"x-request-id", b"").decode("latin-1"))
        self.status = 0
        self._start = perf_counter()
        self.scope = scope
        self._receive = receive
        self._send = send
        self._close = _endless(headers, max_body_bytes)
        scope.setdefault("state", {})["request_id"] = self.id

    async def receive(self) -> Message:
        """Pass the body on, and note its end."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._close = False
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            docs = self.scope["path"].startswith("/docs")
            headers = [*message["headers"], (b"x-request-id", self.id.encode()), *(_DOCS if docs else USUAL_HEADERS)]
            if self._close:
                headers.append((b"connection", b"close"))
            message["headers"] = headers
        await self._send(message)

    def log(self) -> None:
        """Write its line, if anybody reads it."""
        key = self.scope["state"].get("key_id")
        log_request(self.id, self.scope["method"], self.scope["path"], self.status, start=self._start, key=key)


FAULT = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal-error",
    "the service failed at this request; its log has the cause under this request id",
)
DRAINING = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "draining",
    "the service ended before it could answer: ask another one",
    headers={"Retry-After": "1"},
)


class RequestContext:
    """ASGI middleware around the whole app.

    Args:
        app: the app.
        metrics: where requests are counted.
        max_body_bytes: a body that is longer is not waited for.
        routes: the paths that are counted by their names.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int, routes: Container[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.max_body_bytes = max_body_bytes
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, under its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self.max_body_bytes)
        token = REQUEST_ID.set(exchange.id)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_CLOSED
        except asyncio.CancelledError:  # by the server, which ends: there is nobody else to tell the client
            if exchange.status:
                raise
            await self._refuse(exchange, DRAINING)
        except Exception:
            logger.exception("request failed id=%s", exchange.id)
            if exchange.status:  # half an answer is out already: only the server can end it
                raise
            await self._refuse(exchange, FAULT)
        finally:
            self.metrics.answered(*_series(scope, self.routes), exchange.status)
            exchange.log()
            REQUEST_ID.reset(token)

    async def _refuse(self, exchange: _Exchange, problem: Problem) -> None:
        self.metrics.problem(problem.code)
        await render(exchange.id, problem)(exchange.scope, exchange.receive, exchange.send)
