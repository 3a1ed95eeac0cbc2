"""Turns requests with images away as soon as their heads have come, while the line is full.

The app would do the same, in the same words. But to make a request, a task and an answer of what is then refused takes
longer than all else that a flood brings, and what was accepted waits for it.
"""

import asyncio
from collections.abc import Container, Iterable
from http import HTTPStatus
from time import perf_counter

from fulldeck.serving import plain
from fulldeck.serving.context import USUAL_HEADERS, log_request, request_id
from fulldeck.serving.engine import Engine
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import render
from fulldeck.serving.queue import full

_FOR_THE_APP = {b"expect", b"origin", b"transfer-encoding", b"upgrade"}
"""Headers by which an answer needs more than is known here: whether a body comes, or what a browser is to be told."""

_ID = "-" * 32  # stands for a request's id in the answer that is prepared


class Shedding:
    """Where a connection asks whether a request may come in.

    Args:
        engine: whose line it is.
        metrics: where the turned away are counted.
        max_header_bytes, max_body_bytes: what is longer is not this one's to refuse.
        paths: where images are posted to.
    """

    def __init__(
        self, engine: Engine, metrics: Metrics, max_header_bytes: int, max_body_bytes: int, paths: Container[str]
    ) -> None:
        self._queue = engine.queue
        self._metrics = metrics
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        self._paths = paths
        self._prepared: tuple[bytes, bytes, bytes, int, str] | None = None

    def answer(self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """All of the answer to a request that finds the line full; None for one that may come in.

        Args:
            method: the request's.
            target: what it asks for, as it was sent.
            headers: names in small letters, and values.
        """
        start = perf_counter()
        path = target.decode("latin-1")
        if method != b"POST" or path not in self._paths:
            return None
        if not self._queue.full:
            self._let_in()
            return None
        found = dict(headers)
        length = found.get(b"content-length", b"")
        if not length.isdigit() or int(length) > self._max_body_bytes or not _FOR_THE_APP.isdisjoint(found):
            return None
        return self._refusal(path, request_id(found.get(b"x-request-id", b"").decode("latin-1")), start)

    def answer_whole(self, data: bytes) -> bytes | None:
        """The answer to a request that finds the line full, if it is plain and all of it is here; else None.

        A parser calls back for each part of a request, which is more work than to turn it away.

        Args:
            data: what has come between two requests.
        """
        if not self._queue.full:
            return None
        start = perf_counter()
        asked = plain.read(data, self._max_header_bytes)
        if asked is None or asked.path not in self._paths or asked.body_bytes > self._max_body_bytes:
            return None
        return self._refusal(asked.path, request_id(asked.identity), start)

    def _let_in(self) -> None:
        """Count a request that is not in the line before its task has begun."""
        if not self._queue.coming:
            asyncio.get_running_loop().call_soon(self._queue.came)
        self._queue.coming += 1

    def _refusal(self, path: str, identity: str, start: float) -> bytes:
        self._queue.note_turned_away()
        if self._prepared is None:
            self._prepared = self._prepare()
        head, first, last, status, code = self._prepared
        self._metrics.problem(code)
        self._metrics.answered("POST", path.rstrip("/"), status)
        log_request(identity, "POST", path, status, start=start)
        told = identity.encode()
        length = len(first) + len(told) + len(last)
        return b"%s\r\ncontent-length: %d\r\nx-request-id: %s\r\n\r\n%s%s%s" % (head, length, told, first, told, last)

    @staticmethod
    def _prepare() -> tuple[bytes, bytes, bytes, int, str]:
        """What all refusals have in common: the head, the body up to the id, what follows it; status and code."""
        problem = full()
        response = render(_ID, problem)
        first, last = bytes(response.body).split(_ID.encode())
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
        lines += [
            b"%s: %s" % header for header in (*response.raw_headers, *USUAL_HEADERS) if header[0] != b"content-length"
        ]
        return b"\r\n".join(lines), first, last, problem.status, problem.code
