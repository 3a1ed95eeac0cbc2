"""Many files, one answer each, in their order: decoded and recognised side by side, a bounded number at a time.

A file's error is its answer; it never stops the others. How answers look is not decided here.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from fulldeck.errors import ImageError
from fulldeck.inference.files import STANDARD_INPUT, Source
from fulldeck.inference.image import MAX_BYTES
from fulldeck.inference.recognizer import Prediction


class Names(Protocol):
    """What can be asked: a :class:`~fulldeck.Recognizer` in this process, or a client of a service elsewhere."""

    def classify(self, image: str | bytes, name: str, /) -> Prediction:
        """Name what one image shows.

        Raises:
            ImageError: it cannot be read; the error names it, by ``name`` where it is not a path.
        """


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one file: a prediction or an error, never both.

    Attributes:
        file: The path as given or found; "-" is standard input.
        prediction: What it shows; None if it could not be read.
        error: Why it could not be read, as a sentence that names it; None if it could.
    """

    file: str
    prediction: Prediction | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``fulldeck classify --json`` prints."""
        if self.prediction is None:
            return {"file": self.file, "error": self.error}
        return {
            "file": self.file,
            "label": self.prediction.label,
            "probability": self.prediction.probability,
            "accepted": self.prediction.accepted,
            "alternatives": [
                {"label": other.label, "probability": other.probability} for other in self.prediction.alternatives
            ],
        }


def answer(source: Source, recognizer: Names) -> Answer:
    """Read one source and name what it shows."""
    if source.error is not None:
        return Answer(source.name, error=str(source.error))
    try:
        if source.name == STANDARD_INPUT:
            return Answer(source.name, recognizer.classify(standard_input(), "standard input"))
        return Answer(source.name, recognizer.classify(source.name, source.name))
    except ImageError as error:
        return Answer(source.name, error=str(error))


def standard_input() -> bytes:
    """Read standard input, as far as an image may be long, and a byte more."""
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def answers(sources: Iterable[Source], recognizer: Names, workers: int) -> Iterator[Answer]:
    """Answer many sources, in their order.

    Args:
        sources: What to read; they are drawn as they are needed.
        recognizer: One with ``threads=1`` if there are several workers: images side by side are faster than the
            parts of one image side by side.
        workers: How many images are read and recognised at the same time.

    Yields:
        An answer a source, as soon as it and all before it are there.
    """
    return in_order(sources, partial(answer, recognizer=recognizer), workers)


_A = TypeVar("_A")


def in_order(sources: Iterable[Source], answer: Callable[[Source], _A], workers: int) -> Iterator[_A]:
    """Answer many sources, in their order, by a function that may run in several threads: see :func:`answers`."""
    if workers == 1:
        for source in sources:
            yield answer(source)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415 - one image needs no pool

    pending: deque[Future[_A]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for source in sources:
                if source.name == STANDARD_INPUT:  # a thread that waits for it could not be interrupted
                    while pending:
                        yield pending.popleft().result()
                    yield answer(source)
                    continue
                pending.append(pool.submit(answer, source))
                if len(pending) > 2 * workers:  # keeps all busy behind a slow one, and bounds what waits
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # the reader has gone away
            pool.shutdown(wait=False, cancel_futures=True)
