"""Runs the app in a process of its own: takes the port, starts, says where it listens, and drains at a signal."""

import asyncio
import logging
import signal
import socket
from pathlib import Path
from types import FrameType

import click
import uvicorn

from fulldeck.errors import ConfigError, FulldeckError, ModelError
from fulldeck.serving.app import create_app
from fulldeck.serving.engine import Engine
from fulldeck.serving.settings import read_settings

logger = logging.getLogger(__name__)


def run(host: str, port: int, model: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end and return.

    Args:
        host: the address to listen on.
        port: the port; 0 for any free one, which the line at the start names.
        model: a model file; without it ``FULLDECK_MODEL``, and without that the shipped champion.

    Raises:
        ConfigError: the port is taken, or a setting cannot be used.
        ModelError: the model cannot be used.
    """
    settings = read_settings(model)
    listener = _listen(host, port)
    app = create_app(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            access_log=False,  # RequestContext has a line a request, with its id
            log_config=None,  # the command line has set logging up
            server_header=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=settings.drain_seconds,
        )
    )

    # uvicorn drains at these, and then raises them once more: a service that was asked to end has not failed.
    def end(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)

    asyncio.run(_serve(server, listener, app.state.engine))
    error = app.state.engine.error
    if isinstance(error, FulldeckError):
        raise error
    if error is not None:
        raise ModelError(f"the model cannot be loaded: {error}") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {host} port {port} ({reason}): stop what uses it, or choose another with --port"
        ) from error
    return listener


async def _serve(server: uvicorn.Server, listener: socket.socket, engine: Engine) -> None:
    announcing = asyncio.create_task(_announce(server, listener, engine))
    await server.serve(sockets=[listener])
    announcing.cancel()


async def _announce(server: uvicorn.Server, listener: socket.socket, engine: Engine) -> None:
    """Say where the service is once its model answers, or end the server where it never will."""
    await engine.settled.wait()
    if engine.recognizer is None:
        server.should_exit = True
        return
    info = engine.recognizer.info
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    click.echo(
        f"fulldeck serves {info.name} (version {info.version}) at http://{shown}:{port} (try /docs; Ctrl+C ends it)"
    )
