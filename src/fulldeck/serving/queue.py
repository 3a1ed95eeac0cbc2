"""Where requests wait for their turn at the threads: a bounded number of them, for a bounded time, and never alone."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import ClientDisconnect

from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem


class Queue:
    """A number of places, and a line before them: first come, first served.

    Args:
        places: so many may work at once.
        max_waiting: so many may wait for that.
        seconds: how long one waits at most.
        metrics: where the waiting and the turned away are counted.
    """

    def __init__(self, places: int, max_waiting: int, seconds: float, metrics: Metrics) -> None:
        self.waiting = 0
        self._places = asyncio.Semaphore(places)
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._metrics = metrics

    @property
    def busy(self) -> bool:
        """Whether every place is taken."""
        return self._places.locked()

    def check(self) -> None:
        """Turn a request away at once where it would find the line full.

        Raises:
            Problem: 503 queue-full.
        """
        if self.busy and self.waiting >= self._max_waiting:
            raise self._shed("queue-full", "the service has as much to do as it can hold: try again in a second")

    async def enter(self, gone: Callable[[], Awaitable[object]]) -> None:
        """Take a place, at once or after waiting; :meth:`leave` gives it back.

        Args:
            gone: returns when the client has left.

        Raises:
            Problem: 503 queue-full or queue-timeout.
            ClientDisconnect: the client left; nothing is to be done for it any more.
        """
        if not self.busy:
            await self._places.acquire()
            return
        self.check()
        self.waiting += 1
        self._metrics.queued.set(self.waiting)
        turn = asyncio.ensure_future(self._places.acquire())
        leaving = asyncio.ensure_future(gone())
        try:
            done, _ = await asyncio.wait({turn, leaving}, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not turn.cancel():
                self.leave()
            raise
        finally:
            self.waiting -= 1
            self._metrics.queued.set(self.waiting)
            leaving.cancel()
        if turn in done:
            return
        turn.cancel()
        if leaving in done:
            raise ClientDisconnect
        raise self._shed("queue-timeout", f"no turn came within {self._seconds:g} seconds: try again in a second")

    def leave(self) -> None:
        """Give the place back."""
        self._places.release()

    def _shed(self, code: str, detail: str) -> Problem:
        self._metrics.shed(code)
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers={"Retry-After": "1"})
