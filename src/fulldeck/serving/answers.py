"""The bodies of answers, as plain data: :mod:`fulldeck.serving.schemas` describes them, and tests compare the two.

They are not made by way of those models, whose library takes as long to import as the model to load.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response

from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.recognizer import LocatedCard, Prediction


def encoded(body: dict[str, Any]) -> bytes:
    """A body as JSON."""
    return orjson.dumps(body)


def sent(body: dict[str, Any]) -> Response:
    """The response that carries an answer."""
    return Response(encoded(body), media_type="application/json")


def name(info: ModelInfo) -> dict[str, Any]:
    """Which model answered."""
    return {"name": info.name, "version": info.version}


def prediction(named: Prediction) -> dict[str, Any]:
    """What every prediction has."""
    return {
        "label": named.label,
        "probability": named.probability,
        "accepted": named.accepted,
        "alternatives": [{"label": other.label, "probability": other.probability} for other in named.alternatives],
    }


def classification(
    info: ModelInfo, request_id: str, names: Sequence[str], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """What each file of a request shows."""
    return {
        "model": name(info),
        "request_id": request_id,
        "predictions": [{"file": file, **prediction(named)} for file, named in zip(names, predictions, strict=True)],
    }


def card(located: LocatedCard) -> dict[str, Any]:
    """A prediction and its place in a photo."""
    return {**prediction(located), "corners": located.corners, "visible": located.visible}
