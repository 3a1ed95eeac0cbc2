"""What can be asked of the service."""

from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from fulldeck import __version__
from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.recognizer import Prediction
from fulldeck.serving.access import authenticated
from fulldeck.serving.asking import Asking, sent
from fulldeck.serving.engine import Engine
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem, documented
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

router = APIRouter()
images = APIRouter()
"""What :class:`fulldeck.serving.direct.DirectRoutes` answers."""

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


# As FastAPI derives it for /metrics from its dependency on a key.
_ASKS_FOR_A_KEY: dict[str, Any] = {"security": [{"HTTPBearer": []}, {"APIKeyHeader": []}]}


def _described(path: str) -> dict[str, Any]:
    """The body's forms, and commands that send one to a path."""
    samples = (
        ("Several images", "-F files=@example.jpg -F files=@example.jpg"),
        ("One image as the body", "-H 'Content-Type: image/jpeg' --data-binary @example.jpg"),
    )
    return {
        **_REQUEST_BODY,
        **_ASKS_FOR_A_KEY,
        "x-codeSamples": [
            {"lang": "Shell", "label": label, "source": f"curl {options} http://127.0.0.1:8000{path}"}
            for label, options in samples
        ],
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


async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


# Not plain functions, which FastAPI would each call in a thread.
TheEngine = Annotated[Engine, Depends(_engine)]
TheMetrics = Annotated[Metrics, Depends(_metrics)]


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


@images.post(
    "/classify/",
    tags=["cards"],
    response_model=Classification,
    openapi_extra=_described("/classify/"),
    responses=_CLASSIFICATION | _PROBLEMS,
)
@images.post("/classify", include_in_schema=False)
async def classify(request: Request) -> Response:
    """Name the card on each image: several as `multipart/form-data`, or one as the body itself.

    `curl -F files=@one.jpg -F files=@two.png http://127.0.0.1:8000/classify/`

    `curl -H 'Content-Type: image/jpeg' --data-binary @one.jpg http://127.0.0.1:8000/classify/`

    Where no single card fills the image, the one in it that shows most is named; `/locate/` gives all of them.

    All files are answered, in their order, or none: if one cannot be used, the status is 4xx and `errors` names each
    such file. Where their faults differ, the status is 422 and each entry has its own.
    """
    asking = Asking(request)
    uploads, answered = await asking.answered(asking.engine.classify)
    if asking.recorder is not None:
        rows = zip(uploads, answered.predictions, answered.observations, strict=True)
        await asking.recorder.record(asking.id, asking.key, answered.model, rows)
    return sent(
        Classification(
            model=_name(answered.model),
            request_id=asking.id,
            predictions=[
                FilePrediction(file=upload.name, **_fields(prediction))
                for upload, prediction in zip(uploads, answered.predictions, strict=True)
            ],
        )
    )


@images.post(
    "/locate/",
    tags=["cards"],
    response_model=Location,
    openapi_extra=_described("/locate/"),
    responses=_LOCATION | _PROBLEMS,
)
@images.post("/locate", include_in_schema=False)
async def locate(request: Request) -> Response:
    """Find and name every card on each image: several as `multipart/form-data`, or one as the body itself.

    `curl -F files=@table.jpg http://127.0.0.1:8000/locate/`

    Corners are in pixels of the upright image: the card's own top left, top right, bottom right, bottom left. An image
    without a card has an empty list.

    All files are answered, in their order, or none, as with `/classify/`.
    """
    asking = Asking(request)
    uploads, answered = await asking.answered(asking.engine.locate)
    if asking.recorder is not None:
        rows = (
            (upload, *seen)
            for upload, photo, observations in zip(uploads, answered.photos, answered.observations, strict=True)
            for seen in zip(photo, observations, strict=True)
        )
        await asking.recorder.record(asking.id, asking.key, answered.model, rows)
    return sent(
        Location(
            model=_name(answered.model),
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
                for upload, photo in zip(uploads, answered.photos, strict=True)
            ],
        )
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
