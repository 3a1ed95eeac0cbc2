"""Puts the service together: settings in, an ASGI app out. It opens no port and reads no environment."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from fulldeck import __version__
from fulldeck.inference.recognizer import Recognizer
from fulldeck.serving import admin, problems
from fulldeck.serving.access import Rates
from fulldeck.serving.context import RequestContext
from fulldeck.serving.direct import DirectRoutes
from fulldeck.serving.engine import Engine
from fulldeck.serving.keys import KeyRing
from fulldeck.serving.limits import Memory
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.record import open_recorder
from fulldeck.serving.routes import images, router
from fulldeck.serving.schemas import BadFile, ProblemBody
from fulldeck.serving.settings import Settings


def create_app(settings: Settings, keys: KeyRing | None = None, loading: Future[Recognizer] | None = None) -> FastAPI:
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
        metrics.follow(recorder.log)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(start())
        yield
        await loading
        engine.stop()
        if recorder is not None:
            await asyncio.to_thread(recorder.log.stop, settings.drain_seconds)

    async def start() -> None:
        await engine.start(loading)
        if recorder is not None:  # not before, as its database would take time from the model, and from telling of it
            await asyncio.sleep(0)
            recorder.log.start()

    # FastAPI's own documentation page is a blank one where a content delivery network cannot be reached.
    app = FastAPIOffline(
        title="fulldeck",
        version=__version__,
        summary="Show it a playing card and it says which.",
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url="/docs",
        redoc_url=None,
        static_url="/docs-files",
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.engine = engine
    app.state.recorder = recorder
    app.state.memory = Memory(settings.max_pending_bytes, metrics)
    app.state.keys = keys
    app.state.rates = Rates(settings.rate_per_second, settings.rate_burst)
    app.include_router(router)
    app.include_router(images)
    app.include_router(admin.router)
    app.add_middleware(DirectRoutes, routes=images.routes)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-API-Key", "X-Request-ID"),
            expose_headers=("Retry-After", "X-Request-ID"),
        )
    app.add_middleware(RequestContext, metrics=metrics, max_body_bytes=settings.max_body_bytes)
    problems.install(app)
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Add the problem bodies, which no route returns by type, to the OpenAPI description."""
    describe = app.openapi

    def openapi() -> dict[str, object]:
        described = describe()
        schemas = described.setdefault("components", {}).setdefault("schemas", {})
        for model in (BadFile, ProblemBody):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schema.pop("$defs", None)
            schemas[model.__name__] = schema
        return described

    app.openapi = openapi  # type: ignore[method-assign]
