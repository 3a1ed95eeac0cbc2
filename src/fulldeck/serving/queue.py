"""Where requests wait for their turn at the workers: a bounded number of them, for a bounded time, and never alone."""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import monotonic

from starlette.requests import ClientDisconnect

from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem

FULL = "queue-full"

CROWDED_SECONDS = 2.0
"""How long a line stays short after somebody was turned away: so long that those who come back then, a second later as
they were told to, are among those who find it short."""


class Queue:
    """A number of places, and a line before them: first come, first served.

    A line that was full stays short until nobody has been turned away for a while. So a burst, or clients who each wait
    for their answers, find a long one; but where more keeps coming than can be done, all would only wait longer for it.

    Args:
        places: so many may work at once.
        max_waiting: so many may wait for that.
        short: so many may wait after the line was full.
        seconds: how long one waits at most.
        metrics: where the waiting and the turned away are counted.
        clock: tells the time in seconds.

    Attributes:
        coming: so many have been let in by whoever looks at :attr:`full` beforehand, and are not in the line yet.
    """

    def __init__(
        self,
        places: int,
        max_waiting: int,
        short: int,
        seconds: float,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.coming = 0
        self._free = places
        self._crowded_until = -math.inf
        self._clock = clock
        self._short = min(short, max_waiting)
        self._line: deque[asyncio.Future[None]] = deque()
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._metrics = metrics
        metrics.queued.set_function(lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """So many wait."""
        return len(self._line)

    @property
    def busy(self) -> bool:
        """Whether every place is taken."""
        return not self._free

    @property
    def full(self) -> bool:
        """Whether those who work, wait and come are as many as may."""
        return self.coming + self.waiting >= self._free + self._most

    @property
    def _most(self) -> int:
        """So many may wait now."""
        return self._short if self._clock() < self._crowded_until else self._max_waiting

    def came(self) -> None:
        """Those who came are in the line, or were turned away."""
        self.coming = 0

    def note_turned_away(self) -> None:
        """A request is turned away, as it finds the line full."""
        self._crowded_until = self._clock() + CROWDED_SECONDS
        self._metrics.shed(FULL)

    def check(self) -> None:
        """Turn a request away at once where it would find the line full.

        Raises:
            Problem: 503 queue-full.
        """
        if self.busy and self.waiting >= self._most:
            self.note_turned_away()
            raise full()

    def join(self) -> asyncio.Future[None] | None:
        """Take a place if one is free, else stand in the line; :meth:`leave` gives the place back.

        Returns:
            None for a place; else what is done when there is one. Whoever does not wait for it any more says so by
            :meth:`give_up`.

        Raises:
            Problem: 503 queue-full; and 503 queue-timeout by what is returned.
        """
        if not self.busy:
            self._free -= 1
            return None
        self.check()
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._line.append(turn)
        late = loop.call_later(self._seconds, self._send_away, turn)
        turn.add_done_callback(lambda _: late.cancel())
        return turn

    def give_up(self, turn: asyncio.Future[None]) -> None:
        """Stand in the line no more; a place that was given at the same moment is given back."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave()
        else:
            self._out_of_line(turn)
            turn.cancel()

    def _out_of_line(self, turn: asyncio.Future[None]) -> None:
        if turn in self._line:
            self._line.remove(turn)

    async def enter(self, gone: Callable[[], Awaitable[object]]) -> None:
        """Take a place, at once or after waiting: see :meth:`join`.

        Args:
            gone: returns when the client has left.

        Raises:
            Problem: 503 queue-full or queue-timeout.
            ClientDisconnect: the client left; nothing is to be done for it any more.
        """
        turn = self.join()
        if turn is None:
            return
        leaving = asyncio.ensure_future(gone())
        leaving.add_done_callback(lambda _: self._has_left(turn, leaving))
        try:
            await turn
        except asyncio.CancelledError:
            self.give_up(turn)
            raise
        finally:
            leaving.cancel()

    def leave(self) -> None:
        """Give the place back: to the first in the line, if there is one."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _send_away(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self._out_of_line(turn)
            self._metrics.shed("queue-timeout")
            detail = f"no turn came within {self._seconds:g} seconds: try again in a second"
            turn.set_exception(_unavailable("queue-timeout", detail))

    def _has_left(self, turn: asyncio.Future[None], leaving: asyncio.Future[object]) -> None:
        if not leaving.cancelled() and not turn.done():
            self._out_of_line(turn)
            turn.set_exception(leaving.exception() or ClientDisconnect())


def full() -> Problem:
    """What a request is told that finds the line full."""
    return _unavailable(FULL, "the service has as much to do as it can hold: try again in a second")


def _unavailable(code: str, detail: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers={"Retry-After": "1"})
