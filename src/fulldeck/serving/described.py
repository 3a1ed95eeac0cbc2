"""What there is to say of each route: bodies, answers, problems, and examples of all of them that work."""

from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from fulldeck import __version__
from fulldeck.serving import problems, routes
from fulldeck.serving.schemas import (
    Alternative,
    BadFile,
    CardInPhoto,
    Classification,
    FileCards,
    FilePrediction,
    Health,
    Location,
    ModelName,
    ProblemBody,
    Readiness,
    Service,
)

_BEARER = HTTPBearer(auto_error=False, description="A key that `fulldeck keys add` made; not asked for on loopback.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key in a header of its own.")


def _asks_for_a_key(_bearer: Annotated[Any, Depends(_BEARER)], _header: Annotated[Any, Depends(_HEADER)]) -> None:
    """Say so; it is :func:`fulldeck.serving.access.key_of` that asks."""


# The body is read by limits.read_uploads, so its forms are described here.
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
    return {
        **_REQUEST_BODY,
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
# A code and a sentence for each status that the description shows; a file's name stands before a colon.
_EXAMPLES = {
    400: ("malformed-multipart", "the multipart body ends before its closing boundary"),
    401: ("no-key", "this service asks for a key: send it as `Authorization: Bearer KEY`"),
    403: ("no-administrator", "this needs an administrator's key: make one with `fulldeck keys add NAME --admin`"),
    408: ("body-timeout", "the body did not arrive within 30 seconds"),
    409: ("model-refused", "model.onnx: there is no such model file; the old model serves on"),
    413: ("body-too-large", "the body is larger than 33,554,432 bytes: send fewer or smaller images"),
    415: (
        "not-an-image",
        "notes.txt: this is no image that fulldeck reads (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF)",
    ),
    422: ("truncated", "card.jpg: the JPEG is truncated; get the whole file"),
    429: ("rate-limit", "this key has sent too many images: try again in 3 s"),
    503: ("queue-full", "the service has as much to do as it can hold: try again in a second"),
    504: ("request-timeout", "the request was not answered within 60 seconds"),
}


_NOT_READY = ("not-ready", "the model is still loading: try again in a second")
_NO_KEYS = ("no-keys", "the service cannot read its keys: its operator finds the cause in the log")


def _documented(*statuses: int, unavailable: tuple[str, str] | None = None) -> dict[int | str, dict[str, Any]]:
    """The entries of these problem statuses, and of 503 with a code and a sentence of the route's own."""
    shown = [(status, *_EXAMPLES[status]) for status in statuses]
    if unavailable is not None:
        shown.append((503, *unavailable))
    entries: dict[int | str, dict[str, Any]] = {}
    for status, code, detail in shown:
        phrase = HTTPStatus(status).phrase
        name, _, named = detail.partition(": ") if status in {415, 422} else ("", "", "")
        files = [BadFile(file=name, index=0, status=status, code=code, detail=detail)] if named else []
        example = ProblemBody(
            title=phrase,
            status=status,
            code=code,
            detail=detail,
            request_id=_REQUEST_ID,
            errors=files,
        )
        entries[status] = {
            "description": phrase,
            "content": {
                problems.MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemBody"},
                    "example": example.model_dump(),
                }
            },
        }
    return entries


_ABOUT: list[str | Enum] = ["about"]
_CARDS: list[str | Enum] = ["cards"]
_OPERATION: list[str | Enum] = ["operation"]
_KEY = [Depends(_asks_for_a_key)]


def described() -> FastAPI:
    """An app that describes every route, and answers ``/openapi.json`` and ``/docs``."""
    # FastAPI's own documentation page is a blank one where a content delivery network cannot be reached.
    app = FastAPIOffline(
        title="fulldeck",
        version=__version__,
        summary="Show it a playing card and it says which.",
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url="/docs",
        redoc_url=None,
        static_url="/docs-files",
    )
    app.get("/", tags=_ABOUT, response_model=Service)(routes.about)
    for path, answer, model, shown in (
        ("/classify/", routes.classify, Classification, _CLASSIFICATION),
        ("/locate/", routes.locate, Location, _LOCATION),
    ):
        app.post(
            path,
            tags=_CARDS,
            response_model=model,
            dependencies=_KEY,
            openapi_extra=_described(path),
            responses=shown | _documented(400, 401, 408, 413, 415, 422, 429, 503, 504),
        )(answer)
    app.get("/health", tags=_OPERATION, response_model=Health)(routes.health)
    app.get("/ready", tags=_OPERATION, response_model=Readiness, responses=_documented(unavailable=_NOT_READY))(
        routes.ready
    )
    app.get(
        "/metrics",
        tags=_OPERATION,
        dependencies=_KEY,
        response_class=Response,
        responses=_documented(401, unavailable=_NO_KEYS) | {200: {"content": {"text/plain": {}}}},
    )(routes.prometheus)
    app.post(
        "/admin/reload",
        tags=_OPERATION,
        response_model=Readiness,
        dependencies=_KEY,
        responses=_documented(401, 403, 409, unavailable=_NO_KEYS),
    )(routes.reload)
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
