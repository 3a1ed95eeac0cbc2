"""A load generator that costs little: raw sockets, whole requests made beforehand, answers read no further than needed.

``closed`` keeps a number of connections busy: each asks again once it is answered. ``paced`` sends at moments that do
not depend on the answers, as many users would, and times each answer from the moment at which its request was due: so
a service that stalls is charged for all that it keeps waiting. What this costs is told with the outcome.
"""

import asyncio
import random
import resource
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import uvloop

Answered = Callable[[int, float], None]
"""Takes an answer's status and the moment of its last byte."""

CUT_OFF = 0
"""The status of a request whose connection was closed before it was answered."""

BOUNDARY = "fulldeck-bench"
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
        self._received = bytearray()
        self._end = 0
        self._answered: Answered | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def ask(self, request: bytes, answered: Answered) -> None:
        self._answered = answered
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._end:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            lower = bytes(self._received[:head]).lower()
            at = lower.find(b"content-length:")
            self._end = head + 4 + int(lower[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._received) >= self._end:
            status = int(self._received[9:12])
            self._received.clear()
            self._end = 0
            self._tell(status)

    def connection_lost(self, exc: Exception | None) -> None:
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
    """Keep a service busy with this many requests at a time, and report what it answered after a second's run-up."""
    return _run(_closed(url, request, connections, seconds))


async def _closed(url: str, request: bytes, connections: int, seconds: float) -> Outcome:
    outcome = Outcome()
    everyone = [await _connect(url) for _ in range(connections)]
    begin = perf_counter() + min(1.0, seconds / 4)
    end = begin + seconds
    over = asyncio.get_running_loop().create_future()
    busy = connections

    def start(connection: _Connection) -> None:
        sent = perf_counter()

        def answered(status: int, now: float) -> None:
            nonlocal busy
            if begin <= now < end:
                outcome.note(status, now - sent)
            if now < end and connection.open:
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
    await asyncio.sleep(max(0.0, end - perf_counter()))
    outcome.processor = _processor() - before
    outcome.seconds = seconds
    await over
    for connection in everyone:
        connection.close()
    return outcome


def paced(url: str, request: bytes, rate: float, seconds: float, connections: int = 64, seed: int = 0) -> Outcome:
    """Send requests at random moments (a Poisson process), this many a second on average, whatever comes of them.

    Args:
        url: the service.
        request: the bytes to send.
        rate: requests a second.
        seconds: for how long.
        connections: so many requests can be under way; one that is due when all are waits for one of them.
        seed: of the moments.
    """
    return _run(_paced(url, request, rate, seconds, connections, seed))


async def _paced(url: str, request: bytes, rate: float, seconds: float, connections: int, seed: int) -> Outcome:
    loop = asyncio.get_running_loop()
    outcome = Outcome(seconds=seconds)
    chance = random.Random(seed)
    free = [await _connect(url) for _ in range(connections)]
    due: deque[float] = deque()
    under_way = 0
    opening: set[asyncio.Task[None]] = set()
    over = loop.create_future()
    begin = perf_counter()
    end = begin + seconds
    before = _processor()

    def send(connection: _Connection, moment: float) -> None:
        nonlocal under_way
        under_way += 1

        def answered(status: int, now: float) -> None:
            nonlocal under_way
            under_way -= 1
            outcome.note(status, now - moment)
            if connection.open:
                use(connection)
            else:
                task = asyncio.create_task(reopen())
                opening.add(task)
                task.add_done_callback(opening.discard)
            if not due and not under_way and now >= end and not over.done():
                over.set_result(None)

        connection.ask(request, answered)

    async def reopen() -> None:
        use(await _connect(url))

    def use(connection: _Connection) -> None:
        if due:
            send(connection, due.popleft())
        else:
            free.append(connection)

    moment = begin
    while (moment := moment + chance.expovariate(rate)) < end:
        if (wait := moment - perf_counter()) > 0:
            await asyncio.sleep(wait)
        while free and not free[-1].open:
            free.pop()
        if free:
            send(free.pop(), moment)
        else:
            due.append(moment)
    await asyncio.sleep(max(0.0, end - perf_counter()))
    outcome.processor = _processor() - before
    if due or under_way:
        await over
    for connection in free:
        connection.close()
    return outcome


def _run(load: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load)


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
