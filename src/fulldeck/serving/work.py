"""What a worker does with some files of a request: decode them, then infer what was decoded as a batch.

It runs in a thread of the service or in a process of its own, and knows nothing of HTTP, of queues or of either.
"""

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, Protocol

import numpy as np

from fulldeck.errors import ImageError
from fulldeck.inference.picture import Picture
from fulldeck.inference.recognizer import Recognizer
from fulldeck.monitoring.observation import observe

What = Literal["classify", "locate"]


@dataclass(frozen=True, slots=True)
class Task:
    """Some files of a request.

    Attributes:
        what: whether to name one card a file, or to find all of them.
        start: the place of the first file among the request's files.
        files: each file's name and bytes.
        max_pixels: an image of more pixels is refused.
        observing: whether answers are to carry observations.
    """

    what: What
    start: int
    files: list[tuple[str, bytes]]
    max_pixels: int
    observing: bool


@dataclass(slots=True)
class Outcome:
    """What came of a task.

    Attributes:
        results: one a file, unless one is bad: a prediction and its observation or None, or what was located and the
            observations of its cards.
        bad: the files that cannot be used, by their places among the request's, and why.
        decoding: seconds that decoding took; None where it was given up.
        inferring: seconds that inference took; None where it did not come to that.
        batches: how many images were inferred at once, each time.
    """

    results: list[Any] = field(default_factory=list)
    bad: list[tuple[int, ImageError]] = field(default_factory=list)
    decoding: float | None = None
    inferring: float | None = None
    batches: list[int] = field(default_factory=list)


class Progress(Protocol):
    """How a task gets on, as those see it who wait for it."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""

    def decode(self, index: int | None) -> None:
        """Tell which file is being decoded from now on, by its place among the request's; None for none."""


def perform(recognizer: Recognizer, task: Task, progress: Progress) -> Outcome:
    """Do a task.

    Raises:
        ModelError: the locator file cannot be used.
    """
    return (_classify if task.what == "classify" else _locate)(recognizer, task, progress)


def _classify(recognizer: Recognizer, task: Task, progress: Progress) -> Outcome:
    outcome = Outcome()
    pictures, squares = [], []
    start = perf_counter()
    for index, (name, data) in enumerate(task.files, task.start):
        if progress.abandoned:
            return Outcome()
        progress.decode(index)
        try:
            pictures.append(Picture(data, name, task.max_pixels))
            # Small at once, so that a request's photos never lie in memory together.
            squares.append(pictures[-1].square(recognizer.info.size))
        except ImageError as error:
            outcome.bad.append((index, error))
    progress.decode(None)
    decoded = perf_counter()
    outcome.decoding = decoded - start
    if outcome.bad or progress.abandoned:
        return outcome
    batch = np.stack(squares)
    wholes, embeddings = recognizer.predict_and_embed(batch)
    wholes = recognizer.look_aside(batch, wholes)
    predictions = []
    for index, (picture, whole) in enumerate(zip(pictures, wholes, strict=True), task.start):
        try:
            predictions.append(recognizer.second_look(picture, whole))
        except ImageError as error:  # at another scale its decoder may see another fault
            outcome.bad.append((index, error))
    if outcome.bad:
        return outcome
    outcome.inferring = perf_counter() - decoded
    outcome.batches = [len(batch)]
    seen = map(observe, (data for _, data in task.files), batch, embeddings) if task.observing else [None] * len(batch)
    outcome.results = list(zip(predictions, seen, strict=True))
    return outcome


def _locate(recognizer: Recognizer, task: Task, progress: Progress) -> Outcome:
    outcome = Outcome()
    decoding = inferring = 0.0
    for index, (name, data) in enumerate(task.files, task.start):
        if progress.abandoned:
            return Outcome()
        start = perf_counter()
        progress.decode(index)
        try:
            square, photo = Picture(data, name, task.max_pixels).square_and_photo(recognizer.info.size)
        except ImageError as error:
            outcome.bad.append((index, error))
        progress.decode(None)
        decoded = perf_counter()
        decoding += decoded - start
        if not outcome.bad:  # one photo after the other, so that they never lie in memory together
            located, views = recognizer.locate_decoded(square, photo)
            seen = [observe(data, *view) for view in views] if task.observing else []
            outcome.results.append((located, seen))
            inferring += perf_counter() - decoded
            outcome.batches.append(1)
    outcome.decoding = decoding
    if not outcome.bad:
        outcome.inferring = inferring
    return outcome
