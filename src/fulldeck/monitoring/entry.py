"""One prediction as it is logged, and the bytes as which it lies in a spill file."""

import json
import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import orjson

from fulldeck.monitoring.observation import Observation

HEAD = struct.Struct("<II")
"""A record's head: the length of what follows, and its CRC-32."""

_PARTS = struct.Struct("<II")  # of what follows, the lengths of the JSON and of the embedding; the rest is the image
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One prediction of one answer. ``time``, ``request_id`` and ``position`` together tell it from every other.

    Attributes:
        time: when it was answered; aware, to the microsecond.
        request_id: the request's id, at most 128 characters.
        position: its place among the answer's predictions, from 0.
        key_id: the id of the API key that asked; None where none was asked for.
        model: the model's name.
        model_version: its version.
        label: the likeliest label.
        probability: its probability, 0 to 1.
        accepted: whether that reached the threshold.
        observation: what the image looked like.
        image: the image as it was sent; None where images are not kept.
    """

    time: datetime
    request_id: str
    position: int
    key_id: str | None
    model: str
    model_version: str
    label: str
    probability: float
    accepted: bool
    observation: Observation
    image: bytes | None = None

    def to_row(self) -> dict[str, Any]:
        """The entry as the columns of the table ``predictions``."""
        row = {name: getattr(self, name) for name in self.__slots__ if name != "observation"}
        return row | {name: getattr(self.observation, name) for name in self.observation.__slots__}

    def to_plain(self) -> tuple[Any, ...]:
        """The entry as nothing but strings, numbers and bytes, which is soon pickled."""
        time, *rest, observation, image = _FIELDS(self)
        return ((time - _EPOCH) // _MICROSECOND, *rest, observation.to_plain(), image)

    @classmethod
    def from_plain(cls, plain: tuple[Any, ...]) -> "Entry":
        """The entry that :meth:`to_plain` was asked of."""
        microseconds, *rest, seen, image = plain
        values: tuple[Any, ...] = (_EPOCH + timedelta(microseconds=microseconds), *rest, Observation(*seen), image)
        return cls(*values)

    def to_record(self) -> bytes:
        """The entry as a record: head, lengths, JSON, embedding, image."""
        fields = dict(zip(_NAMES, _IN_JSON(self), strict=True))
        fields["microseconds"] = (self.time - _EPOCH) // _MICROSECOND
        fields["has_image"] = self.image is not None
        text = _encoded(fields)
        embedding = self.observation.embedding
        body = b"".join((_PARTS.pack(len(text), len(embedding)), text, embedding, self.image or b""))
        return HEAD.pack(len(body), zlib.crc32(body)) + body

    @classmethod
    def from_body(cls, body: bytes) -> "Entry":
        """The entry of a record, which comes without its head.

        Raises:
            ValueError: it is none that this version wrote.
        """
        try:
            return cls._from_body(body)
        except (AttributeError, KeyError, OverflowError, TypeError, struct.error) as error:
            raise ValueError(f"no record of this version ({error})") from error

    @classmethod
    def _from_body(cls, body: bytes) -> "Entry":
        text_length, embedding_length = _PARTS.unpack_from(body)
        text_end = _PARTS.size + text_length
        fields = _decoded(body[_PARTS.size : text_end])
        time = _EPOCH + timedelta(microseconds=fields.pop("microseconds"))
        image_start = text_end + embedding_length
        image = body[image_start:] if fields.pop("has_image") else None
        embedding = body[text_end:image_start]
        seen = {name: fields.pop(name) for name in Observation.__slots__ if name != "embedding"}
        return cls(time=time, observation=Observation(**seen, embedding=embedding), image=image, **fields)


_FIELDS = attrgetter(*Entry.__slots__)

_NAMES = (
    *(name for name in Entry.__slots__ if name not in {"time", "observation", "image"}),
    *(name for name in Observation.__slots__ if name != "embedding"),
)
_IN_JSON = attrgetter(*(f"observation.{name}" if name in Observation.__slots__ else name for name in _NAMES))


def _encoded(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError:  # half a surrogate pair, which no database takes, but whose loss is to be told
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        fields = json.loads(text.decode("utf-8", "surrogatepass"))
    return fields
