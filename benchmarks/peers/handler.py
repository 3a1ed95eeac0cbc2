"""The server that fulldeck runs on, with a handler that reads a request's body and answers, and does nothing else.

python benchmarks/peers/handler.py PORT
"""

import sys
from typing import Any

import uvicorn

ANSWER = b'{"bytes": true}'


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read the body and answer."""
    assert scope["type"] == "http"
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="error")
