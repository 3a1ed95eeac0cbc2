"""What can be asked of the service. :mod:`fulldeck.serving.description` says more about each."""

from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from fulldeck import __version__
from fulldeck.errors import FulldeckError
from fulldeck.serving import answers
from fulldeck.serving.access import administrator, key_of
from fulldeck.serving.answers import sent
from fulldeck.serving.asking import Asking
from fulldeck.serving.engine import Engine
from fulldeck.serving.model_source import EXAMPLE
from fulldeck.serving.problems import Problem

_LINKS = {
    "classify": "/classify/",
    "locate": "/locate/",
    "docs": "/docs",
    "health": "/health",
    "metrics": "/metrics",
    "ready": "/ready",
}


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def about(request: Request) -> Response:
    """What this is, and which model serves."""
    recognizer = _engine(request).recognizer
    model = None
    if recognizer is not None:
        info = recognizer.info
        model = {
            **answers.name(info),
            "labels": info.labels,
            "size": info.size,
            "threshold": recognizer.threshold,
            "created": info.created,
        }
    return sent(
        {
            "service": "fulldeck",
            "version": __version__,
            "description": "Show it a playing card and it says which: POST images to /classify/ or /locate/.",
            "ready": model is not None,
            "model": model,
            "links": _LINKS,
        }
    )


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
    names = [upload.name for upload in uploads]
    return sent(answers.classification(answered.model, asking.id, names, answered.predictions))


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
        {
            "model": answers.name(answered.model),
            "request_id": asking.id,
            "images": [
                {
                    "file": upload.name,
                    "width": photo.width,
                    "height": photo.height,
                    "cards": [answers.card(card) for card in photo],
                }
                for upload, photo in zip(uploads, answered.photos, strict=True)
            ],
        }
    )


async def example(_: Request) -> Response:
    """A card to try the service with, which its description points to."""
    return Response(EXAMPLE.read_bytes(), media_type="image/jpeg")


async def health(_: Request) -> Response:
    """The process is alive: always 200."""
    return sent({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 from when the model is loaded and has answered a first time until the service is asked to end; 503 else."""
    engine = _engine(request)
    if engine.draining:
        detail = "the service is about to end: ask another one"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "draining", detail, headers={"Retry-After": "1"})
    return sent({"status": "ready", "model": answers.name(engine.ready().info)})


async def prometheus(request: Request) -> Response:
    """The figures for Prometheus."""
    key_of(request)
    return Response(generate_latest(request.app.state.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def reload(request: Request) -> Response:
    """Load the model from where it comes from again, and let it take over; no request is dropped.

    Where it cannot be used the status is 409, and the old one serves on. It asks for an administrator's key where the
    service asks for keys, and else to come from this machine.
    """
    administrator(request)
    try:
        info = await _engine(request).reload()
    except FulldeckError as error:
        raise Problem(HTTPStatus.CONFLICT, "model-refused", f"{error}; the old model serves on") from error
    return sent({"status": "ready", "model": answers.name(info)})
