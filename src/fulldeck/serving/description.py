"""The service's OpenAPI description, and the page to read and try it: by FastAPI, which answers nothing else.

To import FastAPI takes longer than all that a service needs before it can answer. So that waits until somebody asks.
"""

import asyncio
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from fastapi import FastAPI

PATHS = ("/openapi.json", "/docs", "/docs-files/{file:path}")
"""What it answers."""


class Description:
    """An ASGI app that is made, in a thread, when it is first asked."""

    def __init__(self) -> None:
        self._app: FastAPI | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        async with self._making:
            if self._app is None:
                self._app = await asyncio.to_thread(_made)
                self._app.state = scope["app"].state  # for its refusals, which are counted with the others
        # A router of ours lets HEAD pass with GET, and FastAPI's does not; the server sends no body then.
        await self._app({**scope, "method": "GET"}, receive, send)


def _made() -> "FastAPI":
    from fulldeck.serving.described import described  # noqa: PLC0415  (slow: see above)

    return described()
