"""HTTP/1.1 over one connection, as uvicorn speaks it, with the limits that lie before a request is one.

uvicorn waits without end for a request's head, of any length, and for a client that does not read its answer; and it
closes a connection in the face of a client that is still sending its body, which then never reads why.
"""

import asyncio
import json
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from fulldeck.serving.context import USUAL_LINES
from fulldeck.serving.express import Exchange, Express
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.settings import Settings
from fulldeck.serving.shedding import Shedding

LINGER_SECONDS = 2.0
"""How long a client that was refused in the middle of its body may go on sending before the connection is cut."""


MOST_PIPELINED = 64
"""So many requests of one connection may wait for the one before them; thousands fit in what is read at once."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol; :func:`bounded` gives it its settings."""

    settings: Settings
    metrics: Metrics
    shedding: Shedding | None
    express: Express | None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it at once where there are too many."""
        super().connection_made(transport)
        self._around = 0  # bytes of heads, of trailers, and of what frames chunks so far as it outweighs them
        self._around_at_most = 0
        self._between = True  # two requests, or before the first
        self._answered_at = -math.inf  # when a request was last answered without having been parsed
        self._exchange: Exchange | None = None  # one that is being answered in that way
        self._held: list[bytes] = []  # what has come meanwhile
        self._ending = False  # the server ends, and so does this when that is answered
        self._body: list[bytes] = []  # what of it has come with the bytes that are being parsed
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.lingering = False
        self._socket = transport
        self.transport = _Guarded(transport, self)  # type: ignore[assignment]
        if len(self.connections) > self.settings.max_connections:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too-many-connections", "the service has no connection left")
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        if self._exchange is not None:
            self._exchange.leave()
        self._stop_waiting()
        self._resume()

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless nothing is to be said to it any more."""
        if self.lingering or self.transport.is_closing():
            return
        if self._exchange is not None:
            self._hold(data)
            return
        if self._between and self._in_turn and self._answered_at_once(data):
            return
        self._around += len(data)
        self._around_at_most = self._around
        super().data_received(data)
        self._pass_body_on()
        if self._around > self.settings.max_header_bytes and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """The first byte of a head has come."""
        self._between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head has come in time."""
        most = self.settings.max_header_bytes
        if self._around_at_most > most and self._head_bytes() > most:
            self._refuse_head()
            raise ValueError("the head is too long")  # which stops the parser
        if len(self.pipeline) >= MOST_PIPELINED:
            self._cut_off()
            raise ValueError("too many requests at once")
        self._around = 0
        self._stop_waiting()
        if self.shedding is None or not self._turned_away(self.shedding):
            super().on_headers_complete()

    @property
    def _in_turn(self) -> bool:
        """Whether all requests before the one that comes are answered."""
        return (self.cycle is None or self.cycle.response_complete) and not self.pipeline

    def _turned_away(self, shedding: Shedding) -> bool:
        """Answer a request at once that may not come in, if it is this connection's turn and more may follow."""
        if not self._in_turn or self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive():
            return False
        answer = shedding.answer(self.parser.get_method(), self.url, self.headers)
        if answer is None:
            return False
        self.cycle = _Answered()  # type: ignore[assignment]
        self._socket.write(answer)
        self.on_response_complete()
        return True

    def _answered_at_once(self, data: bytes) -> bool:
        """Answer a request that is all here, or see to it that it will be, without having it parsed."""
        if self.shedding is not None and (answer := self.shedding.answer_whole(data)) is not None:
            self._socket.write(answer)
            self._answered_at = self.loop.time()
            return True
        if self.express is not None and not self.flow.write_paused:
            self._exchange = self.express.begin(data, self._answer)
        return self._exchange is not None

    def _answer(self, status: int, rest: bytes) -> None:
        """Send the answer of an exchange, and go on with what has come meanwhile."""
        self._exchange = None
        self._answered_at = self.loop.time()
        if self.transport.is_closing():
            return
        headers = b"".join([b"%s: %s\r\n" % header for header in self.server_state.default_headers])
        if self._ending:
            headers += b"connection: close\r\n"
        self._socket.write(STATUS_LINE[status] + headers + rest)
        held, self._held = b"".join(self._held), []
        if self._ending:
            self.transport.close()
        elif held:
            self.flow.resume_reading()
            self.data_received(held)

    def _hold(self, data: bytes) -> None:
        """Keep what comes before the last request is answered; more is not read than a little."""
        self._held.append(data)
        self.flow.pause_reading()

    def shutdown(self) -> None:
        """Close the connection, as soon as what was asked is answered."""
        if self._exchange is not None:
            self._ending = True
        else:
            super().shutdown()

    def on_body(self, body: bytes) -> None:
        """Some of the body has come."""
        self._body.append(body)

    def _pass_body_on(self) -> None:
        """In one piece: uvicorn would copy all that waits for each chunk, of which many may have a single byte."""
        if self._body:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body.clear()
            self._around = max(0, self._around - 2 * len(body))  # itself, and as much to frame it
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The body has come; the next head may."""
        self._pass_body_on()
        self._around = 0
        self._between = True
        super().on_message_complete()
        self.cycle.more_body = False  # uvicorn leaves it where the answer went out before

    def on_response_complete(self) -> None:
        """Give the rest of the body, and the next head, as much time as a first head has."""
        super().on_response_complete()
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self._wait_for_head()

    def close(self) -> None:
        """Close the connection; where a client was answered in the middle of its body, once it has read that."""
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body and not self.lingering:
            self._linger()
        else:
            self._socket.close()
            self._end_after(self.settings.body_seconds)  # what of an answer is still to be sent

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, unless an answer is on its way already, and close."""
        if self.lingering:  # another reason was given
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self._tell(HTTPStatus.BAD_REQUEST, "malformed-request", msg)
        self.transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered; if it does not read at all, it is cut off."""
        super().pause_writing()
        self._resume()
        self._stalled = self.loop.call_later(self.settings.body_seconds, self._socket.abort)

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        self._resume()

    def _resume(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _linger(self) -> None:
        """Close for writing, and hear out for a while a client that still sends: cut off, it would read nothing."""
        self.lingering = True
        self._socket.write_eof()
        self._socket.resume_reading()
        self._end_after(LINGER_SECONDS)

    def _end_after(self, seconds: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, self._socket.abort)

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self.settings.header_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._deadline = self._again_after(self.settings.header_seconds, self._head_is_late)
        if self._deadline is None:
            self.close()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing has come for a while."""
        self.timeout_keep_alive_task = self._again_after(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if self.timeout_keep_alive_task is None:
            super().timeout_keep_alive_handler()

    def _again_after(self, seconds: float, late: Callable[[], None]) -> asyncio.TimerHandle | None:
        """Wait on, if somebody was answered meanwhile: to start timers anew each time would cost more than that."""
        rest = seconds if self._exchange is not None else self._answered_at + seconds - self.loop.time()
        return self.loop.call_later(rest, late) if rest > 0 else None

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_bytes(self) -> int:
        """The length of the head that has just come, without spaces around values."""
        request_line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n")
        return request_line + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers) + len("\r\n")

    def _refuse_head(self) -> None:
        detail = f"a request's head, or what is around its body, may have {self.settings.max_header_bytes:,} bytes"
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", detail)

    def _cut_off(self) -> None:
        """End a connection at once: a refusal would be taken for the answer to another of its requests."""
        self.lingering = True
        self.pipeline.clear()
        self._socket.abort()

    def _refuse(self, status: HTTPStatus, code: str, detail: str) -> None:
        """Answer what never became a request, and close; a request whose answer is not out goes without one."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self._tell(status, code, detail)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._linger()

    def _tell(self, status: HTTPStatus, code: str, detail: str) -> None:
        self.metrics.problem(code)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.metrics.shed(code)
        body = {"type": "about:blank", "title": status.phrase, "status": status, "code": code, "detail": detail}
        content = json.dumps(body | {"request_id": "", "errors": []}).encode()
        retry = "Retry-After: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n{retry}"
        )
        self._socket.write(head.encode() + USUAL_LINES + b"\r\n" + content)


class _Answered:
    """What uvicorn wants to know of a request that never was one: it is answered, though its body may still come."""

    response_started = response_complete = keep_alive = True
    disconnected = False
    message_event = asyncio.Event()  # for nobody

    def __init__(self) -> None:
        self.more_body = True


class _Guarded:
    """A connection's transport as uvicorn sees it: when it closes is the protocol's to decide.

    And an answer's head waits for its body, which mostly comes at once, so that both leave together: two writes cost
    both sides two system calls, and the client wakes up twice.
    """

    def __init__(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._protocol.loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        self._flush()
        self._protocol.close()

    def is_closing(self) -> bool:
        return self._protocol.lingering or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def bounded(
    settings: Settings, metrics: Metrics, shedding: Shedding | None = None, express: Express | None = None
) -> type[BoundedProtocol]:
    """The protocol with these settings, which counts what it refuses in these metrics, and asks who may come in."""
    values = {"settings": settings, "metrics": metrics, "shedding": shedding, "express": express}
    return type("BoundedProtocol", (BoundedProtocol,), values)
