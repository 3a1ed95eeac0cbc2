"""Many files and the cards in each, as :mod:`fulldeck.inference.answers` has it for one card a file.

A file's error is its answer; it never stops the others.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fulldeck.errors import ImageError
from fulldeck.inference.answers import in_order, standard_input
from fulldeck.inference.files import STANDARD_INPUT, Source
from fulldeck.inference.image import read_bytes
from fulldeck.inference.recognizer import Located


class Locates(Protocol):
    """What can be asked: a :class:`~fulldeck.Recognizer` in this process, or a client of a service elsewhere."""

    def locate(self, image: bytes, name: str, /) -> Located:
        """Find and name the cards that one image shows.

        Raises:
            ImageError: it cannot be read; the error names it by ``name``.
        """


@dataclass(frozen=True, slots=True)
class Location:
    """What became of one file: the cards in it or an error, never both.

    Attributes:
        file: The path as given or found; "-" is standard input.
        located: The cards that it shows; None if it could not be read.
        error: Why it could not be read, or its painted copy not written, as a sentence; None if all went well.
    """

    file: str
    located: Located | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``fulldeck locate --json`` prints."""
        if self.located is None:
            return {"file": self.file, "error": self.error}
        return {
            "file": self.file,
            "cards": [
                {
                    "label": card.label,
                    "probability": card.probability,
                    "accepted": card.accepted,
                    "corners": [list(corner) for corner in card.corners],
                    "visible": card.visible,
                    "alternatives": [
                        {"label": other.label, "probability": other.probability} for other in card.alternatives
                    ],
                }
                for card in self.located.cards
            ],
        }


def location(source: Source, recognizer: Locates, copies: Mapping[str, Path]) -> Location:
    """Read one source and find the cards in it; paint a copy of it where ``copies`` has a path under its name."""
    if source.error is not None:
        return Location(source.name, error=str(source.error))
    try:
        piped = source.name == STANDARD_INPUT
        data = standard_input() if piped else read_bytes(source.name)
        located = recognizer.locate(data, "standard input" if piped else source.name)
        if source.name in copies:
            from fulldeck.inference.painting import write  # noqa: PLC0415 - Pillow, which only this needs

            write(copies[source.name], data, located)
    except ImageError as error:
        return Location(source.name, error=str(error))
    return Location(source.name, located)


def locations(
    sources: Iterable[Source], recognizer: Locates, workers: int, copies: Mapping[str, Path] | None = None
) -> Iterator[Location]:
    """Find the cards in many sources, in their order.

    Args:
        sources: What to read; they are drawn as they are needed.
        recognizer: One with ``threads=1`` if there are several workers.
        workers: How many images are read and searched at the same time.
        copies: Where painted copies go, by the sources' names.

    Yields:
        A location a source, as soon as it and all before it are there.
    """
    return in_order(sources, partial(location, recognizer=recognizer, copies=copies or {}), workers)
