"""Takes requests straight to their functions, past FastAPI, which is left to describe these routes.

To find a route, to solve its dependencies and to check what it returns takes FastAPI longer than all that is left of a
request, but for its images.
"""

from collections.abc import Awaitable, Callable, Iterable

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from fulldeck.serving.problems import Problem, refusal

Endpoint = Callable[[Request], Awaitable[Response]]


class DirectRoutes:
    """ASGI middleware that answers what is posted to some routes, and passes all else on.

    Args:
        app: what is passed on goes there.
        routes: routes whose functions take the request, and nothing else, and return the response.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._routes = {route.path: route for route in routes if isinstance(route, APIRoute)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route  # as a router says it
        request = Request(scope, receive, send)
        answer: Endpoint = route.endpoint
        try:
            response = await answer(request)
        except Problem as problem:
            response = refusal(request, problem)
        await response(scope, receive, send)
