"""A service in this process, asked byte by byte."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from fulldeck.serving.protocol import bounded


def parsed(answer: bytes) -> tuple[bytes, dict[bytes, bytes], dict[str, Any]]:
    """An answer's first line, its headers and its body, which is JSON."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert int(headers[b"content-length"]) == len(body)
    return first, headers, json.loads(body)


@asynccontextmanager
async def listening(app: Starlette) -> AsyncIterator[tuple[tuple[str, int], ServerState]]:
    """An address at which the service's own protocol listens, and what uvicorn's server knows of its connections."""
    state = app.state
    http = bounded(state.settings, state.metrics, state.shedding, state.express)
    config = uvicorn.Config(app, http=http, log_config=None)
    config.load()
    shared = ServerState()
    shared.default_headers = [(b"date", b"Sat, 28 Nov 2026 12:00:00 GMT")]

    def protocol() -> asyncio.Protocol:
        return config.http_protocol_class(config=config, server_state=shared, app_state={})

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    yield server.sockets[0].getsockname(), shared
    server.close()


@asynccontextmanager
async def connected(app: Starlette) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the service's own protocol, in this process."""
    async with listening(app) as (address, _):
        reader, writer = await asyncio.open_connection(*address)
        yield reader, writer
        writer.close()


async def answered(reader: asyncio.StreamReader) -> tuple[bytes, dict[bytes, bytes], dict[str, Any]]:
    """The next answer: see :func:`parsed`."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return parsed(head + await reader.readexactly(length))
