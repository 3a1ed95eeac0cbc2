"""What can be asked of the service."""

import asyncio
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from fulldeck import __version__
from fulldeck.inference.recognizer import Prediction
from fulldeck.serving.access import Rates, authenticated, within_rate
from fulldeck.serving.engine import Answer, Engine
from fulldeck.serving.limits import Memory, Share, Upload, read_uploads
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem, documented
from fulldeck.serving.record import Recorder
from fulldeck.serving.schemas import (
    Alternative,
    Classification,
    FilePrediction,
    Health,
    ModelName,
    Readiness,
    ServedModel,
    Service,
)
from fulldeck.serving.settings import Settings

router = APIRouter()

_LINKS = {"classify": "/classify/", "docs": "/docs", "health": "/health", "metrics": "/metrics", "ready": "/ready"}

# The body is read by limits.read_uploads, not by a FastAPI parameter, so its forms are described here.
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "One or several images: JPEG, PNG, WebP, GIF, BMP, TIFF and what else "
                            "the server can decode. The field names `file` and `image` do as well.",
                        }
                    },
                }
            },
            "image/*": {
                "schema": {"type": "string", "format": "binary", "description": "One image as the body itself."},
                "examples": {"card": {"summary": "A card to try it with", "externalValue": "/example.jpg"}},
            },
        },
    },
    "x-codeSamples": [
        {"lang": "Shell", "label": label, "source": f"curl {options} http://127.0.0.1:8000/classify/"}
        for label, options in (
            ("Several images", "-F files=@example.jpg -F files=@example.jpg"),
            ("One image as the body", "-H 'Content-Type: image/jpeg' --data-binary @example.jpg"),
        )
    ],
}


_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/json": {
                "example": Classification(
                    model=ModelName(name="tf_efficientnet_lite0", version="1"),
                    request_id="9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d",
                    predictions=[
                        FilePrediction(
                            file="example.jpg",
                            label="seven of hearts",
                            probability=0.981,
                            accepted=True,
                            alternatives=[
                                Alternative(label="eight of hearts", probability=0.012),
                                Alternative(label="six of hearts", probability=0.003),
                            ],
                        )
                    ],
                ).model_dump()
            }
        }
    }
}


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _memory(request: Request) -> Memory:
    memory: Memory = request.app.state.memory
    return memory


def _rates(request: Request) -> Rates:
    rates: Rates = request.app.state.rates
    return rates


def _recorder(request: Request) -> Recorder | None:
    recorder: Recorder | None = request.app.state.recorder
    return recorder


TheEngine = Annotated[Engine, Depends(_engine)]
TheMetrics = Annotated[Metrics, Depends(_metrics)]
TheSettings = Annotated[Settings, Depends(_settings)]
TheMemory = Annotated[Memory, Depends(_memory)]
TheRates = Annotated[Rates, Depends(_rates)]
TheRecorder = Annotated[Recorder | None, Depends(_recorder)]
TheKey = Annotated[str | None, Depends(within_rate)]


@router.get("/", tags=["about"])
async def about(engine: TheEngine) -> Service:
    """What this is, and which model serves."""
    recognizer = engine.recognizer
    model = None
    if recognizer is not None:
        info = recognizer.info
        model = ServedModel(
            name=info.name,
            version=info.version,
            labels=list(info.labels),
            size=info.size,
            threshold=recognizer.threshold,
            created=info.created,
        )
    return Service(
        service="fulldeck",
        version=__version__,
        description="Show it a playing card and it says which: POST images to /classify/.",
        ready=model is not None,
        model=model,
        links=_LINKS,
    )


@router.post(
    "/classify/",
    tags=["cards"],
    openapi_extra=_BODY,
    responses=_ANSWER | documented(400, 401, 408, 413, 415, 422, 429, 503, 504),
)
@router.post("/classify", include_in_schema=False)
async def classify(
    request: Request,
    *,
    key: TheKey,
    engine: TheEngine,
    metrics: TheMetrics,
    settings: TheSettings,
    memory: TheMemory,
    rates: TheRates,
    recorder: TheRecorder,
) -> Classification:
    """Name the card on each image: several as `multipart/form-data`, or one as the body itself.

    `curl -F files=@one.jpg -F files=@two.png http://127.0.0.1:8000/classify/`

    `curl -H 'Content-Type: image/jpeg' --data-binary @one.jpg http://127.0.0.1:8000/classify/`

    All files are answered, in their order, or none: if one cannot be used, the status is 4xx and `errors` names each
    such file. Where their faults differ, the status is 422 and each entry has its own.
    """

    async def answer() -> tuple[list[Upload], Answer]:
        with Share(memory) as share:
            with metrics.stage("read"):
                uploads = await read_uploads(request, settings, share)
            metrics.received(len(upload.data) for upload in uploads)
            if key is not None:
                rates.take(key, len(uploads))
            return uploads, await engine.classify(uploads, request.receive)

    with metrics.in_flight.track_inprogress(), metrics.stage("total"):
        # Before the body is read, as there would be no use in sending it.
        engine.ready()
        engine.queue.check()
        try:
            async with asyncio.timeout(settings.request_seconds):
                uploads, answered = await answer()
        except TimeoutError:
            metrics.shed("request-timeout")
            detail = f"the request was not answered within {settings.request_seconds:g} seconds"
            raise Problem(HTTPStatus.GATEWAY_TIMEOUT, "request-timeout", detail) from None
        if recorder is not None:
            await recorder.record(request.state.request_id, key, uploads, answered)
        return Classification(
            model=ModelName(name=answered.model.name, version=answered.model.version),
            request_id=request.state.request_id,
            predictions=[_answer(u.name, p) for u, p in zip(uploads, answered.predictions, strict=True)],
        )


@router.get("/example.jpg", include_in_schema=False)
async def example() -> Response:
    """A card to try the service with, which its description points to."""
    return Response(files("fulldeck.serving").joinpath("example.jpg").read_bytes(), media_type="image/jpeg")


@router.get("/health", tags=["operation"])
async def health() -> Health:
    """The process is alive: always 200."""
    return Health(status="ok")


@router.get("/ready", tags=["operation"], responses=documented(503))
async def ready(engine: TheEngine) -> Readiness:
    """200 from when the model is loaded and has answered a first time until the service is asked to end; 503 else."""
    if engine.draining:
        detail = "the service is about to end: ask another one"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "draining", detail, headers={"Retry-After": "1"})
    return Readiness(status="ready", model=_name(engine))


@router.get(
    "/metrics",
    tags=["operation"],
    dependencies=[Depends(authenticated)],
    response_class=Response,
    responses=documented(401) | {200: {"content": {"text/plain": {}}}},
)
async def prometheus(metrics: TheMetrics) -> Response:
    """The figures for Prometheus."""
    return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _name(engine: Engine) -> ModelName:
    info = engine.ready().info
    return ModelName(name=info.name, version=info.version)


def _answer(file: str, prediction: Prediction) -> FilePrediction:
    return FilePrediction(
        file=file,
        label=prediction.label,
        probability=prediction.probability,
        accepted=prediction.accepted,
        alternatives=[Alternative(label=a.label, probability=a.probability) for a in prediction.alternatives],
    )
