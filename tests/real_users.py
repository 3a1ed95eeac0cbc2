"""Users of a service, a few at a time, who note what it answered."""

import asyncio
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

from sent_images import encoded

IMAGES = [encoded((40 * i, 250 - 40 * i, 99), "JPEG") for i in range(6)]


class Users:
    """They ask, one request after the other each, as long as the ``with`` lasts.

    Attributes:
        answered: the ids of the requests that got an answer, and of how many files.
        statuses: how often each status came; 0 for a connection that broke.
        slowest: the longest that an answer took, in seconds.
    """

    def __init__(self, url: str, users: int = 4) -> None:
        self.answered: dict[str, int] = {}
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self._url = url
        self._users = users
        self._over = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until so many more requests were answered."""
        wanted = len(self.answered) + more
        end = time.monotonic() + 30
        while len(self.answered) < wanted:
            assert time.monotonic() < end, self.statuses
            time.sleep(0.01)

    async def _ask(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=20) as client:
            await asyncio.gather(*(self._one(client, user) for user in range(self._users)))

    async def _one(self, client: httpx.AsyncClient, user: int) -> None:
        number = 0
        while not self._over:
            files = 1 + number % 3
            sent = [("files", (f"{i}.jpg", IMAGES[(user + number + i) % len(IMAGES)])) for i in range(files)]
            number += 1
            start = time.perf_counter()
            try:
                response = await client.post("/classify/", files=sent)
            except httpx.TransportError:
                self.statuses[0] += 1
                await asyncio.sleep(0.05)
                continue
            self.slowest = max(self.slowest, time.perf_counter() - start)
            self.statuses[response.status_code] += 1
            if response.status_code == 200:
                self.answered[response.json()["request_id"]] = len(response.json()["predictions"])
