"""What can be asked of the service."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.types import Receive

from fulldeck import __version__
from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.recognizer import Prediction
from fulldeck.serving.access import Rates, authenticated, within_rate
from fulldeck.serving.engine import Engine
from fulldeck.serving.limits import Memory, Share, Upload, read_uploads
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem, documented
from fulldeck.serving.record import Recorder
from fulldeck.serving.schemas import (
    Alternative,
    CardInPhoto,
    Classification,
    FileCards,
    FilePrediction,
    Health,
    Location,
    ModelName,
    Readiness,
    ServedModel,
    Service,
)
from fulldeck.serving.settings import Settings

router = APIRouter()

_LINKS = {
    "classify": "/classify/",
    "locate": "/locate/",
    "docs": "/docs",
    "health": "/health",
    "metrics": "/metrics",
    "ready": "/ready",
}

# The body is read by limits.read_uploads, not by a FastAPI parameter, so its forms are described here.
_REQUEST_BODY: dict[str, Any] = {
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
}


def _described(path: str) -> dict[str, Any]:
    """The body's forms, and commands that send one to a path."""
    samples = (
        ("Several images", "-F files=@example.jpg -F files=@example.jpg"),
        ("One image as the body", "-H 'Content-Type: image/jpeg' --data-binary @example.jpg"),
    )
    return _REQUEST_BODY | {
        "x-codeSamples": [
            {"lang": "Shell", "label": label, "source": f"curl {options} http://127.0.0.1:8000{path}"}
            for label, options in samples
        ]
    }


_ANSWERED_BY = ModelName(name="tf_efficientnet_lite0", version="1")
_REQUEST_ID = "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"
_SEVEN: dict[str, Any] = {
    "label": "seven of hearts",
    "probability": 0.981,
    "accepted": True,
    "alternatives": [
        Alternative(label="eight of hearts", probability=0.012),
        Alternative(label="six of hearts", probability=0.003),
    ],
}


def _example(answer: BaseModel) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": answer.model_dump()}}}}


_CLASSIFICATION = _example(
    Classification(
        model=_ANSWERED_BY, request_id=_REQUEST_ID, predictions=[FilePrediction(file="example.jpg", **_SEVEN)]
    )
)
_LOCATION = _example(
    Location(
        model=_ANSWERED_BY,
        request_id=_REQUEST_ID,
        images=[
            FileCards(
                file="example.jpg",
                width=224,
                height=224,
                cards=[CardInPhoto(corners=[(8, 5), (216, 5), (216, 219), (8, 219)], visible=1.0, **_SEVEN)],
            )
        ],
    )
)
_PROBLEMS = documented(400, 401, 408, 413, 415, 422, 429, 503, 504)


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
        description="Show it a playing card and it says which: POST images to /classify/ or /locate/.",
        ready=model is not None,
        model=model,
        links=_LINKS,
    )


_T = TypeVar("_T")


class _Asking:
    """What a request with images needs, whatever it asks: its body is read and it is answered under the same limits."""

    def __init__(
        self,
        request: Request,
        *,
        key: TheKey,
        engine: TheEngine,
        metrics: TheMetrics,
        settings: TheSettings,
        memory: TheMemory,
        rates: TheRates,
    ) -> None:
        self.key = key
        self.engine = engine
        self.id: str = request.state.request_id
        self._request = request
        self._metrics = metrics
        self._settings = settings
        self._memory = memory
        self._rates = rates

    async def answered(self, ask: Callable[[list[Upload], Receive], Awaitable[_T]]) -> tuple[list[Upload], _T]:
        """Read the images and ask the engine; the files, and its answer.

        Raises:
            Problem: a file or the request cannot be used, or there is no room or time for it.
        """
        with self._metrics.in_flight.track_inprogress(), self._metrics.stage("total"):
            # Before the body is read, as there would be no use in sending it.
            self.engine.ready()
            self.engine.queue.check()
            try:
                async with asyncio.timeout(self._settings.request_seconds):
                    with Share(self._memory) as share:
                        with self._metrics.stage("read"):
                            uploads = await read_uploads(self._request, self._settings, share)
                        self._metrics.received(len(upload.data) for upload in uploads)
                        if self.key is not None:
                            self._rates.take(self.key, len(uploads))
                        return uploads, await ask(uploads, self._request.receive)
            except TimeoutError:
                self._metrics.shed("request-timeout")
                detail = f"the request was not answered within {self._settings.request_seconds:g} seconds"
                raise Problem(HTTPStatus.GATEWAY_TIMEOUT, "request-timeout", detail) from None


@router.post(
    "/classify/", tags=["cards"], openapi_extra=_described("/classify/"), responses=_CLASSIFICATION | _PROBLEMS
)
@router.post("/classify", include_in_schema=False)
async def classify(asking: Annotated[_Asking, Depends()], recorder: TheRecorder) -> Classification:
    """Name the card on each image: several as `multipart/form-data`, or one as the body itself.

    `curl -F files=@one.jpg -F files=@two.png http://127.0.0.1:8000/classify/`

    `curl -H 'Content-Type: image/jpeg' --data-binary @one.jpg http://127.0.0.1:8000/classify/`

    Where no single card fills the image, the one in it that shows most is named; `/locate/` gives all of them.

    All files are answered, in their order, or none: if one cannot be used, the status is 4xx and `errors` names each
    such file. Where their faults differ, the status is 422 and each entry has its own.
    """
    uploads, answered = await asking.answered(asking.engine.classify)
    if recorder is not None:
        await recorder.record(asking.id, asking.key, uploads, answered)
    return Classification(
        model=_name(answered.model),
        request_id=asking.id,
        predictions=[
            FilePrediction(file=upload.name, **_fields(prediction))
            for upload, prediction in zip(uploads, answered.predictions, strict=True)
        ],
    )


@router.post("/locate/", tags=["cards"], openapi_extra=_described("/locate/"), responses=_LOCATION | _PROBLEMS)
@router.post("/locate", include_in_schema=False)
async def locate(asking: Annotated[_Asking, Depends()]) -> Location:
    """Find and name every card on each image: several as `multipart/form-data`, or one as the body itself.

    `curl -F files=@table.jpg http://127.0.0.1:8000/locate/`

    Corners are in pixels of the upright image: the card's own top left, top right, bottom right, bottom left. An image
    without a card has an empty list.

    All files are answered, in their order, or none, as with `/classify/`.
    """
    uploads, (model, located) = await asking.answered(asking.engine.locate)
    return Location(
        model=_name(model),
        request_id=asking.id,
        images=[
            FileCards(
                file=upload.name,
                width=photo.width,
                height=photo.height,
                cards=[
                    CardInPhoto(corners=list(card.corners), visible=card.visible, **_fields(card)) for card in photo
                ],
            )
            for upload, photo in zip(uploads, located, strict=True)
        ],
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
    return Readiness(status="ready", model=_name(engine.ready().info))


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


def _name(info: ModelInfo) -> ModelName:
    return ModelName(name=info.name, version=info.version)


def _fields(prediction: Prediction) -> dict[str, Any]:
    """What every prediction's body has."""
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "accepted": prediction.accepted,
        "alternatives": [Alternative(label=a.label, probability=a.probability) for a in prediction.alternatives],
    }
