"""Puts the service together: settings in, an ASGI app out. It opens no port and reads no environment."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from fulldeck.inference.recognizer import Recognizer
from fulldeck.serving import description, problems, routes
from fulldeck.serving.access import Rates
from fulldeck.serving.context import RequestContext
from fulldeck.serving.description import Description
from fulldeck.serving.direct import DirectRoutes
from fulldeck.serving.engine import Engine
from fulldeck.serving.express import Express
from fulldeck.serving.keys import KeyRing
from fulldeck.serving.limits import Memory
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.record import open_recorder
from fulldeck.serving.settings import Settings
from fulldeck.serving.shedding import Shedding

IMAGES = {
    "/classify/": routes.classify,
    "/classify": routes.classify,
    "/locate/": routes.locate,
    "/locate": routes.locate,
}
OTHERS = {
    "/": routes.about,
    "/example.jpg": routes.example,
    "/health": routes.health,
    "/ready": routes.ready,
    "/metrics": routes.prometheus,
}


def create_app(settings: Settings, keys: KeyRing | None = None, loading: Future[Recognizer] | None = None) -> Starlette:
    """The service as an ASGI app.

    Args:
        settings: its settings; ``access`` is not looked at, as that depends on the address.
        keys: the keys one of which a request must bring; None to ask for none.
        loading: the model, where it is being loaded already; None to load it when the app starts.

    The model loads in the background once the app starts, so that ``/health`` answers from the first moment and
    ``/ready`` tells when the model does. ``app.state.engine`` holds it.
    """
    metrics = Metrics()
    recorder = open_recorder(settings)
    engine = Engine(settings, metrics, observing=recorder is not None)
    if recorder is not None:
        log = recorder.log
        metrics.follow(log.figures, lambda: log.process)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(start())
        yield
        await loading
        app.state.express.end()
        engine.stop()
        await engine.stopped()
        if recorder is not None:
            await recorder.log.stop(settings.drain_seconds)

    async def start() -> None:
        await engine.start(loading)
        if recorder is not None:  # not before, as its database would take time from the model, and from telling of it
            await asyncio.sleep(0)
            recorder.log.start()

    described = Description()
    app = Starlette(
        routes=[
            *(Route(path, answer, methods=["POST"]) for path, answer in IMAGES.items()),
            *(Route(path, answer, methods=["GET"]) for path, answer in OTHERS.items()),
            Route("/admin/reload", routes.reload, methods=["POST"]),
            *(Route(path, described, methods=["GET"]) for path in description.PATHS),
        ],
        middleware=[
            Middleware(
                RequestContext,
                metrics=metrics,
                max_body_bytes=settings.max_body_bytes,
                routes={*IMAGES, *OTHERS, "/admin/reload", "/openapi.json", "/docs"},
            ),
            *_cors(settings),
            Middleware(DirectRoutes, routes=IMAGES),
        ],
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.engine = engine
    app.state.recorder = recorder
    app.state.shedding = Shedding(engine, metrics, settings.max_header_bytes, settings.max_body_bytes, IMAGES)
    app.state.memory = Memory(settings.max_pending_bytes, metrics)
    app.state.keys = keys
    app.state.rates = Rates(settings.rate_per_second, settings.rate_burst)
    app.state.express = Express(
        settings,
        engine,
        metrics,
        memory=app.state.memory,
        recorder=recorder,
        keys=keys,
        rates=app.state.rates,
        paths=[path for path, answer in IMAGES.items() if answer is routes.classify],
    )
    problems.install(app)
    return app


def _cors(settings: Settings) -> list[Middleware]:
    """What lets pages of other origins ask, if any may."""
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-API-Key", "X-Request-ID"),
            expose_headers=("Retry-After", "X-Request-ID"),
        )
    ]
