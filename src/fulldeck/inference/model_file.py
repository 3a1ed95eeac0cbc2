"""What a model file says of itself: one JSON object in the ONNX metadata, and where the shipped champion lies.

This module reads and writes text only; it knows nothing of ONNX Runtime.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from fulldeck.errors import ModelError

SCHEMA = 1
"""Version of the metadata object. A file with another one was written for another fulldeck and is refused."""

METADATA_KEY = "fulldeck"
"""Key of the JSON object in the ONNX file's ``metadata_props``."""

INPUT = "images"
PROBABILITIES = "probabilities"
EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What one model file carries beside its graph.

    Attributes:
        name: The backbone's name.
        version: The model's version.
        labels: Class names, in the order of the probabilities.
        size: Side S of the square input, in pixels.
        mean: Mean a channel (of values 0 to 1) that the graph subtracts.
        std: Standard deviation a channel that the graph divides by.
        temperature: What the graph divides the logits by before the softmax.
        threshold: A prediction is accepted from this top probability on, 0 to 1.
        data_hash: Content hash of the training data.
        commit: Commit of the code that trained it.
        created: ISO-8601 time in UTC.
        config: The training's configuration.
        metrics: What it scored.
        reference: Statistics of the training data, for drift: ``embedding_mean``, ``embedding_std`` (D numbers each),
            ``brightness_mean``, ``brightness_std``.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float
    threshold: float
    data_hash: str
    commit: str
    created: str
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> Self:
        """Read the metadata object of the model file ``source``.

        Raises:
            ModelError: The text is no such object, or is one of another schema version.
        """
        return cls(**_read(text, source, "classifier", _FIELDS))

    def to_json(self) -> str:
        """Return the metadata object, to be stored under :data:`METADATA_KEY`."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class LocatorInfo:
    """What a locator's file carries beside its graph.

    Attributes:
        name: The network's name.
        version: The locator's version.
        size: The longer side of the pictures that it looks at, in pixels.
        stride: Pixels a cell of its outputs, each way.
        threshold: A peak of the score counts as a card from this height on, 0 to 1.
        data_hash: Content hash of the training data.
        commit: Commit of the code that trained it.
        created: ISO-8601 time in UTC.
        config: The training's configuration.
        metrics: What it scored.
    """

    name: str
    version: str
    size: int
    stride: int
    threshold: float
    data_hash: str
    commit: str
    created: str
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> Self:
        """Read the metadata object of the locator file ``source``.

        Raises:
            ModelError: It is no such object, or of another schema version.
        """
        return cls(**_read(text, source, "locator", _LOCATOR_FIELDS))

    def to_json(self) -> str:
        """Return the metadata object, to be stored under :data:`METADATA_KEY`."""
        return json.dumps({"schema": SCHEMA, "kind": "locator", **asdict(self)}, ensure_ascii=False)


def champion_path() -> Path:
    """Return where the shipped champion lies: inside the package."""
    return Path(__file__).parent.parent / "weights" / "champion.onnx"


def locator_beside(model: Path) -> Path:
    """Return where a model's locator lies: beside it, as the shipped one lies beside the champion."""
    return model.with_name("locator.onnx")


def _read(text: str, source: str | Path, kind: str, fields: "dict[str, _Check]") -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise ModelError(f"{source}: its fulldeck metadata is no JSON object; export the model again")
    schema = raw.pop("schema", None)
    if schema != SCHEMA or isinstance(schema, bool):
        raise ModelError(
            f"{source}: it has model schema {schema!r}, and this fulldeck reads schema {SCHEMA}; "
            "export the model again, or install the fulldeck that wrote it"
        )
    found = raw.get("kind", "classifier")  # which says nothing of itself
    if found != kind:
        raise ModelError(f"{source}: this model is a {found}, and a {kind} is wanted here; name another file")
    values = {}
    for key, (accepts, wanted, convert) in fields.items():
        if key not in raw and key in _OPTIONAL:
            continue
        value = raw.get(key)
        if not accepts(value):
            raise ModelError(f"{source}: its metadata field {key!r} is not {wanted}; export the model again")
        values[key] = convert(value)
    return values


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_labels(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(label, str) for label in value)
        and len(set(value)) == len(value)
    )


def _is_channels(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))


_Check = tuple[Callable[[object], bool], str, Callable[[Any], Any]]
_TEXT: _Check = (_is_text, "a text", str)
_OBJECT: _Check = (_is_object, "an object", dict)
_CHANNELS: _Check = (_is_channels, "a list of three numbers", tuple)
_PIXELS: _Check = (_is_size, "a whole number of pixels", int)
_FRACTION: _Check = (_is_fraction, "a number from 0 to 1", float)
_FIELDS: dict[str, _Check] = {
    "name": _TEXT,
    "version": _TEXT,
    "labels": (_is_labels, "a list of different texts", tuple),
    "size": _PIXELS,
    "mean": _CHANNELS,
    "std": _CHANNELS,
    "temperature": (_is_positive, "a number above 0", float),
    "threshold": _FRACTION,
    "data_hash": _TEXT,
    "commit": _TEXT,
    "created": _TEXT,
    "config": _OBJECT,
    "metrics": _OBJECT,
    "reference": _OBJECT,
}
_LOCATOR_FIELDS: dict[str, _Check] = {
    "name": _TEXT,
    "version": _TEXT,
    "size": _PIXELS,
    "stride": _PIXELS,
    "threshold": _FRACTION,
    "data_hash": _TEXT,
    "commit": _TEXT,
    "created": _TEXT,
    "config": _OBJECT,
    "metrics": _OBJECT,
}
_OPTIONAL = {"config", "metrics", "reference"}
