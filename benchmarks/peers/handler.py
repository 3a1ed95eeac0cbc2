"""An ASGI server with a handler that reads a request's body and answers, and does nothing else.

    python benchmarks/peers/handler.py PORT [SERVER]

SERVER is one of :data:`SERVERS`; without it, what fulldeck runs on.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

ANSWER = b'{"read": true}'


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read the body and answer."""
    if scope["type"] != "http":
        raise NotImplementedError  # which says that there is no lifespan
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def uvicorn(port: int, loop: str = "uvloop", http: str = "httptools") -> None:
    """What fulldeck runs on; or with another event loop, or parser."""
    import uvicorn  # noqa: PLC0415  (of several servers, one is wanted)

    uvicorn.run(app, port=port, loop=loop, http=http, access_log=False, log_level="error")


def granian(port: int) -> None:
    """A server in Rust."""
    from granian import Granian  # noqa: PLC0415
    from granian.constants import Interfaces, Loops  # noqa: PLC0415

    sys.path.insert(0, str(Path(__file__).parent))  # for its worker
    Granian("handler:app", port=port, interface=Interfaces.ASGINL, loop=Loops.uvloop, log_enabled=False).serve()


def hypercorn(port: int) -> None:
    """A server of all of HTTP, in Python."""
    import uvloop  # noqa: PLC0415
    from hypercorn.asyncio import serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(app, config))


SERVERS = {
    "uvicorn": uvicorn,
    "uvicorn, asyncio": lambda port: uvicorn(port, loop="asyncio"),
    "uvicorn, h11": lambda port: uvicorn(port, http="h11"),
    "uvicorn, asyncio, h11": lambda port: uvicorn(port, loop="asyncio", http="h11"),
    "granian": granian,
    "hypercorn": hypercorn,
}

if __name__ == "__main__":
    SERVERS[sys.argv[2] if len(sys.argv) > 2 else "uvicorn"](int(sys.argv[1]))
