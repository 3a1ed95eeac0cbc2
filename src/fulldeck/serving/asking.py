"""What every request with images goes through, whatever it asks: its key, its limits, its body, its turn, its time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from fulldeck.serving.access import Rates, within_rate
from fulldeck.serving.limits import Memory, Share, Upload, read_uploads, request_timeout

if TYPE_CHECKING:
    from fulldeck.serving.engine import Engine
    from fulldeck.serving.metrics import Metrics
    from fulldeck.serving.record import Recorder
    from fulldeck.serving.settings import Settings

T = TypeVar("T")


class Asking:
    """A request with images, of somebody who may ask.

    Args:
        request: the request, of which nothing has been read.

    Raises:
        Problem: 401 or 429; whoever it is may not ask, or not now.
    """

    def __init__(self, request: Request) -> None:
        state = request.app.state
        self.key = within_rate(request)
        self.engine: Engine = state.engine
        self.recorder: Recorder | None = state.recorder
        self.id: str = request.state.request_id
        self._request = request
        self._metrics: Metrics = state.metrics
        self._settings: Settings = state.settings
        self._memory: Memory = state.memory
        self._rates: Rates = state.rates

    async def answered(self, ask: Callable[[list[Upload], Receive], Awaitable[T]]) -> tuple[list[Upload], T]:
        """Read the images and ask the engine; the files, and its answer.

        Raises:
            Problem: a file or the request cannot be used, or there is no room or time for it.
        """
        # Before the body is read, as there would be no use in sending it, and before anything else that takes time.
        self.engine.ready()
        self.engine.queue.check()
        if self.key is not None:  # now, or many at once would all find the same tokens, and what is no image none taken
            self._rates.take(self.key, 1)
        self._metrics.in_flight += 1
        with self._metrics.stage("total"):
            try:
                async with asyncio.timeout(self._settings.request_seconds):
                    with Share(self._memory) as share:
                        with self._metrics.stage("read"):
                            uploads = await read_uploads(self._request, self._settings, share)
                        self._metrics.received(len(upload.data) for upload in uploads)
                        if self.key is not None and len(uploads) > 1:
                            self._rates.take(self.key, len(uploads) - 1)
                        return uploads, await ask(uploads, self._request.receive)
            except TimeoutError:
                self._metrics.shed("request-timeout")
                raise request_timeout(self._settings.request_seconds) from None
            finally:
                self._metrics.in_flight -= 1
