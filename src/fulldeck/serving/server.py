"""Runs the app in this process: starts, says where it listens, reloads and drains at a signal."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import FrameType

import click
import uvicorn
from starlette.applications import Starlette

from fulldeck.errors import ConfigError, FulldeckError, ModelError
from fulldeck.garbage import look_for_garbage
from fulldeck.inference.recognizer import Recognizer
from fulldeck.serving import logs
from fulldeck.serving.app import create_app
from fulldeck.serving.engine import Engine
from fulldeck.serving.keys import KeyRing
from fulldeck.serving.model_source import is_loading
from fulldeck.serving.protocol import bounded
from fulldeck.serving.record import Recorder, check_folder
from fulldeck.serving.settings import Access, LogFormat, Settings, read_settings
from fulldeck.serving.supervisor import Life

logger = logging.getLogger(__name__)


def run(
    listener: socket.socket,
    loading: Future[Recognizer] | None = None,
    *,
    life: Life | None = None,
    model: str | None = None,
    access: Access | None = None,
    keys_file: Path | None = None,
    log_format: LogFormat | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end and return.

    Args:
        listener: what to listen on; the line at the start says where that is.
        loading: the model, where it is being loaded already.
        life: what is known of this process, where it is a child.
        model: where the model comes from; without it ``FULLDECK_MODEL``, and without that the shipped champion.
        access: who may ask, in place of ``FULLDECK_ACCESS``.
        keys_file: the file of keys, in place of ``FULLDECK_KEYS_FILE``.
        log_format: how log lines look, in place of ``FULLDECK_LOG_FORMAT``.

    Raises:
        ConfigError: a setting cannot be used, there is no key on a public address, or no folder for the prediction log.
        ModelError: the model cannot be used.
    """
    settings = read_settings(model=model, access=access, keys_file=keys_file, log_format=log_format)
    logs.leave_out_clients_faults()
    if settings.log_format == "json":
        logs.write_json()
    keys = _keys(settings, listener.getsockname()[0])
    if life is None or not life.number:  # one that comes back is to answer, whatever has become of the folder
        check_folder(settings)
    app = create_app(settings, keys, loading)
    if life is not None:
        app.state.metrics.restarts.inc(life.number)
    _run(app, settings, listener, life.line if life else None)
    error = app.state.engine.error
    if isinstance(error, FulldeckError):
        raise error
    if error is not None:
        raise ModelError(f"the model cannot be loaded: {error}") from error


def _keys(settings: Settings, address: str) -> KeyRing | None:
    """The keys to ask for on this address; None where everybody may come.

    Raises:
        ConfigError: keys are to be asked for, and there is none.
    """
    if settings.access == "open" or (settings.access == "auto" and ipaddress.ip_address(address).is_loopback):
        return None
    if settings.keys_file is None:
        why = f"others can reach {address}" if settings.access == "auto" else "everybody is to be asked for a key"
        raise ConfigError(
            f"{why}, and there are no keys: make one with `fulldeck keys add NAME --file FILE` "
            "and serve with --keys FILE; or let everybody in with --open"
        )
    ring = KeyRing(settings.keys_file)
    if not ring.in_use():
        raise ConfigError(f"{settings.keys_file}: no key in it is in use: make one with `fulldeck keys add NAME`")
    return ring


def _run(app: Starlette, settings: Settings, listener: socket.socket, lifeline: int | None) -> None:
    config = uvicorn.Config(
        app,
        http=bounded(settings, app.state.metrics, app.state.shedding, app.state.express),
        access_log=False,  # RequestContext has a line a request, with its id
        log_config=None,  # the command line has set logging up
        server_header=False,
        proxy_headers=False,  # where a client is tells its address, and not its word
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    server = uvicorn.Server(config)

    def end(_signal: int | None = None, _frame: FrameType | None = None) -> None:
        app.state.engine.drain()
        server.should_exit = True
        server.force_exit = not app.state.engine.settled.is_set()  # nobody was answered, so nothing is to be waited for

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    # uvicorn's own knows nothing of /ready, raises the signal once more, though who was asked to end has not failed,
    # and drops what runs at a second SIGINT: a terminal sends one to the parent, which passes it on, and one to us.
    server.handle_exit = end  # type: ignore[assignment]

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        if lifeline is not None:
            _at_end_of(lifeline, runner.get_loop(), end)
        runner.run(_serve(server, listener, app.state.engine, app.state.recorder))


def _at_end_of(lifeline: int, loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    def ended() -> None:
        loop.remove_reader(lifeline)
        end()

    loop.add_reader(lifeline, ended)


async def _serve(server: uvicorn.Server, listener: socket.socket, engine: Engine, recorder: Recorder | None) -> None:
    announcing = asyncio.create_task(_announce(server, listener, engine, recorder))
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        reloads.add(task := asyncio.create_task(_reload(engine)))
        task.add_done_callback(reloads.discard)

    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    await server.serve(sockets=[listener])
    announcing.cancel()
    if is_loading():  # from where nothing comes, maybe: its thread would be waited for
        logging.shutdown()
        os._exit(0)


async def _reload(engine: Engine) -> None:
    """Load the model again, as a signal has no answer: the log has what came of it."""
    try:
        info = await engine.reload()
    except FulldeckError as error:
        logger.error("the model was not reloaded, and the old one serves on: %s", error)  # noqa: TRY400  (it says all)
    except Exception:
        logger.exception("the model was not reloaded, and the old one serves on")
    else:
        logger.warning("reloaded the model: %s (version %s) serves now", info.name, info.version)


async def _announce(server: uvicorn.Server, listener: socket.socket, engine: Engine, recorder: Recorder | None) -> None:
    """Say where the service is once its model answers, or end the server where it never will."""
    await engine.settled.wait()
    if engine.recognizer is None:
        server.should_exit = True
        return
    look_for_garbage()
    info = engine.recognizer.info
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    with contextlib.suppress(OSError):  # nobody reads it, or there is no room for it
        click.echo(
            f"fulldeck serves {info.name} (version {info.version}) at http://{shown}:{port} (try /docs; Ctrl+C ends it)"
        )
    engine.hire()
    if recorder is not None:
        recorder.log.hire()
