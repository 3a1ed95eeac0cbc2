"""A load generator that costs little: raw sockets, whole requests made beforehand, answers read no further than needed.

``closed`` keeps a number of connections busy: each asks again once it is answered. ``paced`` sends at moments that do
not depend on the answers, as many users would, and times each answer from the moment at which its request was due: so
a service that stalls is charged for all that it keeps waiting. What this costs is told with the outcome.

On Linux it waits for its turn at the processor (``SCHED_BATCH``) and interrupts nobody, as no client on another machine
does: otherwise each answer that is written wakes it up, and it takes the processor from who is writing.
"""

import asyncio
import contextlib
import os
import random
import re
import resource
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import uvloop

Answered = Callable[[int, float], None]
"""Takes an answer's status and the moment of its last byte."""

CUT_OFF = 0
"""The status of a request whose connection was closed before it was answered."""

LEAST = 8
"""A closed load goes on past its time until there are so many answers."""

CONNECTIONS = 256
"""So many paced requests can be under way; one that is due when all are waits, and is charged for that. It is far above
what a service lets in, or it would be the generator that holds the load back, and not the service."""

TICK_SECONDS = 0.001
"""Requests that are due within one go out together, so late at most, and are timed from when they were due."""

BOUNDARY = "fulldeck-bench"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
"""In an answer's head, in small letters: how long its body is."""

T = TypeVar("T")


@dataclass
class Outcome:
    """What came of one load.

    Attributes:
        seconds: how long it lasted.
        latencies: by status, the seconds that each answer took.
        processor: seconds of processor time that this generator took.
    """

    seconds: float = 0.0
    latencies: dict[int, list[float]] = field(default_factory=dict)
    processor: float = 0.0

    @property
    def statuses(self) -> Counter[int]:
        """How many answers there were of each status."""
        return Counter({status: len(times) for status, times in self.latencies.items()})

    @property
    def rate(self) -> float:
        """Answers with status 200, a second."""
        return len(self.latencies.get(200, ())) / self.seconds

    @property
    def cost(self) -> float:
        """Seconds of processor time that the generator took a request."""
        return self.processor / max(1, self.statuses.total())

    def quantile(self, share: float) -> float:
        """The seconds within which this share of the answers with status 200 came."""
        times = sorted(self.latencies.get(200, ()))
        return times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")

    def note(self, status: int, seconds: float) -> None:
        """Take an answer in."""
        self.latencies.setdefault(status, []).append(seconds)


class _Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._received = b""
        self._answered: Answered | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def ask(self, request: bytes, answered: Answered) -> None:
        self._answered = answered
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        end = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data[:end].lower()) if end > 0 else None
        if length is None or len(data) < end + len(b"\r\n\r\n") + int(length[1]):
            self._received = data
            return
        self._received = b""
        self._tell(int(data[len(b"HTTP/1.1 ") :][:3]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        self.open = False
        self._tell(CUT_OFF)

    def _tell(self, status: int) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(status, perf_counter())

    def close(self) -> None:
        self._answered = None
        self._transport.close()


async def _connect(url: str) -> _Connection:
    address = urlsplit(url)
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, address.hostname, address.port)
    return connection


def closed(url: str, request: bytes, connections: int, seconds: float) -> Outcome:
    """Keep a service busy with this many requests at a time, and report what it answered after a second's run-up.

    It lasts these seconds, or longer where there would be too few answers to tell a rate.
    """
    return _run(_closed(url, request, connections, seconds))


async def _closed(url: str, request: bytes, connections: int, seconds: float) -> Outcome:
    outcome = Outcome()
    everyone = [await _connect(url) for _ in range(connections)]
    begin = perf_counter() + min(1.0, seconds / 4)
    end = begin + seconds
    over = asyncio.get_running_loop().create_future()
    busy = connections
    first = last = 0.0  # answers: from one to another, so that a long one counts no more nor less than it lasts

    def start(connection: _Connection) -> None:
        sent = perf_counter()

        def answered(status: int, now: float) -> None:
            nonlocal busy, first, last
            going_on = now < end or len(outcome.latencies.get(200, ())) < LEAST
            if begin <= now and going_on:
                if first:
                    outcome.note(status, now - sent)
                first, last = first or now, now
            if going_on and connection.open:
                start(connection)
                return
            busy -= 1
            if not busy:
                over.set_result(None)

        connection.ask(request, answered)

    for connection in everyone:
        start(connection)
    await asyncio.sleep(begin - perf_counter())
    before = _processor()
    await over
    outcome.processor = _processor() - before
    outcome.seconds = last - first
    for connection in everyone:
        connection.close()
    return outcome


def counted(url: str, requests: Sequence[bytes], count: int, connections: int) -> Counter[int]:
    """Send so many requests, these in turn, over this many connections; the statuses of the answers."""
    return _run(_counted(url, requests, count, connections))


async def _counted(url: str, requests: Sequence[bytes], count: int, connections: int) -> Counter[int]:
    statuses: Counter[int] = Counter()
    numbers = iter(range(count))
    over = asyncio.get_running_loop().create_future()

    def send(connection: _Connection) -> None:
        number = next(numbers, None)
        if number is not None:
            connection.ask(requests[number % len(requests)], partial(answered, connection))

    def answered(connection: _Connection, status: int, _: float) -> None:
        statuses[status] += 1
        if statuses.total() == count:
            over.set_result(None)
        elif connection.open:
            send(connection)
        else:
            over.set_exception(ConnectionError(f"{url} closed a connection after {statuses}"))

    everyone = [await _connect(url) for _ in range(connections)]
    for connection in everyone:
        send(connection)
    await over
    for connection in everyone:
        connection.close()
    return statuses


def paced(url: str, request: bytes, rate: float, seconds: float, seed: int = 0) -> Outcome:
    """Send requests at random moments (a Poisson process), this many a second on average, whatever comes of them.

    Args:
        url: the service.
        request: the bytes to send.
        rate: requests a second.
        seconds: for how long.
        seed: of the moments.
    """
    return _run(_Paced(url, request, rate, seconds).sent(random.Random(seed)))


class _Paced:
    """Requests at moments that do not depend on their answers."""

    def __init__(self, url: str, request: bytes, rate: float, seconds: float) -> None:
        self._url = url
        self._request = request
        self._rate = rate
        self._outcome = Outcome(seconds=seconds)
        self._free: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._under_way = 0
        self._opening: set[asyncio.Task[None]] = set()

    async def sent(self, chance: random.Random) -> Outcome:
        """Send them all, and wait for every answer."""
        for _ in range(CONNECTIONS):
            await self._open()
        before = _processor()
        loop = asyncio.get_running_loop()
        begin = moment = perf_counter()
        end = begin + self._outcome.seconds
        over = loop.create_future()

        def send() -> None:
            nonlocal moment
            self._send(moment)
            wait_for_next()

        def wait_for_next() -> None:
            nonlocal moment
            while (moment := moment + chance.expovariate(self._rate)) < end:
                if (wait := moment - perf_counter()) > 0:
                    loop.call_later(max(wait, TICK_SECONDS), send)
                    return
                self._send(moment)
            loop.call_later(max(0.0, end - perf_counter()), over.set_result, None)

        wait_for_next()
        await over
        self._outcome.processor = _processor() - before
        while self._due or self._under_way:
            await asyncio.sleep(0.01)
        for connection in self._free:
            connection.close()
        return self._outcome

    def _send(self, moment: float) -> None:
        """Send what is due since a moment, or let it wait for a connection."""
        while self._free and not self._free[0].open:
            self._free.popleft()
        if not self._free:
            self._due.append(moment)
            return
        connection = self._free.popleft()  # which no service has had the time to close, as all are used in turn
        self._under_way += 1

        def answered(status: int, now: float) -> None:
            self._under_way -= 1
            self._outcome.note(status, now - moment)
            if connection.open:
                self._use(connection)
            else:
                task = asyncio.create_task(self._open())
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)

        connection.ask(self._request, answered)

    async def _open(self) -> None:
        self._use(await _connect(self._url))

    def _use(self, connection: _Connection) -> None:
        self._free.append(connection)
        if self._due:
            self._send(self._due.popleft())


def _run(load: Coroutine[Any, Any, T]) -> T:
    with _in_turn(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load)


@contextlib.contextmanager
def _in_turn() -> Iterator[None]:
    """Interrupt nobody meanwhile, on Linux. It ends with the load, as whom this process starts would inherit it."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    before = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def image_request(path: str, image: bytes, kind: str = "image/jpeg") -> bytes:
    """A request whose body is one image."""
    return _request(path, kind, image)


def form_request(path: str, images: list[bytes], name: str = "files") -> bytes:
    """A request with several images as a form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{number}.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + image
        + b"\r\n"
        for number, image in enumerate(images)
    ]
    return _request(path, f"multipart/form-data; boundary={BOUNDARY}", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode())


def _request(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
