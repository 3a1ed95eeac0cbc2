"""What every request has, whatever its route: an id, a line in the log, a place in the metrics, safe headers."""

import logging
import re
import uuid
from http import HTTPStatus
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem, render

logger = logging.getLogger("fulldeck.serving.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

CLIENT_CLOSED = 499
"""What is logged and counted where the client left before its answer; nginx's number, as HTTP has none."""

_NOTHING = "default-src 'none'; frame-ancestors 'none'"
# The documentation page runs the scripts that this server sends, and the few lines inside it; no other's.
_OWN = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


# Labels of metrics are patterns and known words, not what was asked for: a stranger must not make up new series.
_METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


def _series(scope: Scope) -> tuple[str, str]:
    """The request's method and its route's pattern, with and without its last slash being one route."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = getattr(scope.get("route"), "path", None)
    return method, "other" if route is None else route.rstrip("/") or "/"


class RequestContext:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, under its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Content-Security-Policy"] = _OWN if scope["path"].startswith("/docs") else _NOTHING
                if not scope["path"].startswith("/docs"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = CLIENT_CLOSED
        except Exception:
            logger.exception("request failed id=%s", request_id)
            if status:  # half an answer is out already: only the server can end it
                raise
            detail = "the service failed at this request; its log has the cause under this request id"
            problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", detail)
            await render(request_id, problem)(scope, receive, send_with_headers)
        finally:
            self.metrics.answered(*_series(scope), status)
            logger.info(
                "method=%s path=%s status=%d ms=%.1f id=%s",
                scope["method"],
                scope["path"].encode("unicode_escape").decode(),
                status,
                (perf_counter() - start) * 1000,
                request_id,
            )
