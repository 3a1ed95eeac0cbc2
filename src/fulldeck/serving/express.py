"""Answers plain requests whose pictures are to be named, without a parser, an app or a task for each.

The app would do the same, and say it in the same words. But to make a request, a task and an answer of it as ASGI has
them takes half of what this process does for a small picture. What is not plain, or may not come in now, is left to the
app: this refuses only what it has begun.
"""

import asyncio
import logging
from collections.abc import Callable, Container, Iterable
from time import perf_counter
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from fulldeck.errors import ConfigError
from fulldeck.serving import answers, plain
from fulldeck.serving.access import Rates, check_rate, key_in
from fulldeck.serving.context import CLIENT_CLOSED, DRAINING, FAULT, USUAL_LINES, log_request, request_id
from fulldeck.serving.engine import Engine
from fulldeck.serving.limits import Memory, Upload, request_timeout, uploads_of
from fulldeck.serving.logs import REQUEST_ID
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem, render
from fulldeck.serving.record import Recorder
from fulldeck.serving.settings import Settings

if TYPE_CHECKING:
    from fulldeck.serving.assignment import Assignment
    from fulldeck.serving.keys import KeyRing

logger = logging.getLogger(__name__)

Answered = Callable[[int, bytes], None]
"""Takes an answer: its status, and all that follows the status line, of headers those that the app sets."""


class Express:
    """Where a connection asks for an answer to a request that has come whole.

    Args:
        settings: the limits.
        engine: what answers.
        metrics: where requests are counted.
        memory: how much of bodies may be held.
        recorder: the prediction log, if there is one.
        keys: one of them must be brought; None where nobody is asked for one.
        rates: how much each may ask.
        paths: where pictures to be named are posted to.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        metrics: Metrics,
        *,
        memory: Memory,
        recorder: Recorder | None,
        keys: "KeyRing | None",
        rates: Rates,
        paths: Container[str],
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.metrics = metrics
        self.memory = memory
        self.recorder = recorder
        self.under_way: set[Exchange] = set()
        self._keys = keys
        self._rates = rates
        self._paths = paths

    def begin(self, data: bytes, answered: Answered) -> "Exchange | None":
        """Begin to answer a request.

        Args:
            data: what has come between two requests.
            answered: takes the answer, later.

        Returns:
            None where it is left to the app.
        """
        if self.engine.recognizer is None or self.engine.queue.full:
            return None
        start = perf_counter()
        asked = plain.read(data, self.settings.max_header_bytes)
        if (
            asked is None
            or asked.path not in self._paths
            or not 0 < asked.body_bytes <= self.settings.max_body_bytes
            or self.memory.held + asked.body_bytes > self.memory.limit
        ):
            return None
        headers = asked.headers()
        try:
            key = self._admitted(headers)
        except (Problem, ConfigError):  # which the app finds, too, and tells
            return None
        kind = _kind(headers)
        if kind is None or (uploads := uploads_of(kind, data[len(asked.head) :], self.settings.max_files)) is None:
            return None
        if key is not None:
            self._rates.take(key, len(uploads))
        exchange = Exchange(self, asked, uploads, key, answered, start=start)
        exchange.begin()
        return exchange

    def _admitted(self, headers: list[tuple[bytes, bytes]]) -> str | None:
        """The key of one who may ask now; None where nobody is asked for one."""
        if self._keys is None:
            return None
        key = key_in(self._keys, Headers(raw=headers)).id
        check_rate(self._rates, key)
        return key

    def end(self) -> None:
        """The service ends: refuse all that is under way."""
        for exchange in list(self.under_way):
            exchange.refuse(DRAINING)


class Exchange:
    """One such request and its answer."""

    def __init__(
        self,
        express: Express,
        asked: plain.Plain,
        uploads: list[Upload],
        key: str | None,
        answered: Answered,
        *,
        start: float,
    ) -> None:
        self._express = express
        self._asked = asked
        self._id = request_id(asked.identity)
        self._key = key
        self._uploads = uploads
        self._answered = answered
        self._start = start
        self._turn: asyncio.Future[None] | None = None
        self._work: Assignment | None = None
        self._late: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Take its share of the memory and a place, at once or after waiting."""
        express = self._express
        express.under_way.add(self)
        express.memory.held += self._asked.body_bytes
        express.metrics.in_flight += 1
        express.metrics.received(len(upload.data) for upload in self._uploads)
        seconds = express.settings.request_seconds
        self._late = asyncio.get_running_loop().call_later(seconds, self._too_late)
        self._came = perf_counter()
        express.metrics.timed("read", self._came - self._start)
        self._turn = express.engine.queue.join()
        if self._turn is None:
            self._go()
        else:
            self._turn.add_done_callback(self._has_turn)

    def leave(self) -> None:
        """The client has left. What is begun is done and logged all the same, as nobody can be stopped at it."""
        if self._turn is not None and self._work is None:
            self._close(CLIENT_CLOSED)

    def refuse(self, problem: Problem) -> None:
        """Answer with a problem, now."""
        if self not in self._express.under_way:
            return
        self._express.metrics.problem(problem.code)
        response = render(self._id, problem)
        self._send(problem.status, _lines(response.raw_headers, self._id, bytes(response.body)))

    def _too_late(self) -> None:
        self._express.metrics.shed("request-timeout")
        self.refuse(request_timeout(self._express.settings.request_seconds))

    def _has_turn(self, turn: asyncio.Future[None]) -> None:
        if self not in self._express.under_way:  # it is not waited for any more
            return
        problem = turn.exception()
        if isinstance(problem, Problem):
            self.refuse(problem)
        else:
            self._go()

    def _go(self) -> None:
        express = self._express
        self._has_waited()
        self._work = express.engine.begin("classify", self._uploads)
        self._work.done.add_done_callback(self._is_done)

    def _has_waited(self) -> None:
        self._express.metrics.timed("queue", perf_counter() - self._came)

    def _is_done(self, done: asyncio.Future[None]) -> None:
        if self not in self._express.under_way:
            return
        try:
            self._name(done)
        except Problem as problem:
            self.refuse(problem)
        except Exception:
            token = REQUEST_ID.set(self._id)
            logger.exception("request failed id=%s", self._id)
            REQUEST_ID.reset(token)
            self.refuse(FAULT)

    def _name(self, done: asyncio.Future[None]) -> None:
        assert self._work is not None  # noqa: S101  (it is what is done)
        done.result()
        express = self._express
        answered = express.engine.named(self._work)
        names = [upload.name for upload in self._uploads]
        body = answers.encoded(answers.classification(answered.model, self._id, names, answered.predictions))
        headers = ((b"content-length", b"%d" % len(body)), (b"content-type", b"application/json"))
        answer = _lines(headers, self._id, body)
        waiting = None
        if express.recorder is not None:
            rows = zip(self._uploads, answered.predictions, answered.observations, strict=True)
            waiting = express.recorder.put(self._id, self._key, answered.model, rows)
        if waiting is None:
            self._send(200, answer)
        else:
            waiting.add_done_callback(lambda _: self._kept(answer))

    def _kept(self, answer: bytes) -> None:
        if self in self._express.under_way:
            self._send(200, answer)

    def _send(self, status: int, answer: bytes) -> None:
        self._close(status)
        self._answered(status, answer)

    def _close(self, status: int) -> None:
        """Give back what it holds, and count it."""
        express = self._express
        express.under_way.discard(self)
        if self._late is not None:
            self._late.cancel()
        if self._work is not None:
            self._work.abandon()
        elif self._turn is not None:
            self._has_waited()
            express.engine.queue.give_up(self._turn)
        express.memory.held -= self._asked.body_bytes
        express.metrics.in_flight -= 1
        express.metrics.timed("total", perf_counter() - self._start)
        express.metrics.answered("POST", self._asked.path.rstrip("/"), status)
        log_request(self._id, "POST", self._asked.path, status, start=self._start, key=self._key)


def _kind(headers: list[tuple[bytes, bytes]]) -> str | None:
    """A body's Content-Type; None where that is not clear, or the body has a name that is to be read."""
    types = [value for name, value in headers if name == b"content-type"]
    named = any(name == b"content-disposition" for name, _ in headers)
    return types[0].decode("latin-1") if len(types) == 1 and not named else None


def _lines(headers: Iterable[tuple[bytes, bytes]], identity: str, body: bytes) -> bytes:
    """An answer's headers, those that all have among them, and its body."""
    own = b"".join([b"%s: %s\r\n" % header for header in headers])
    return b"%sx-request-id: %s\r\n%s\r\n%s" % (own, identity.encode(), USUAL_LINES, body)
