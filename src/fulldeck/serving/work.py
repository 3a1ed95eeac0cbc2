"""What a worker does with some files of a request: decode them, then infer what was decoded as a batch.

It runs in a thread of the service or in a process of its own, and knows nothing of HTTP, of queues or of either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, Protocol

from fulldeck.errors import ImageError
from fulldeck.inference.image import stacked
from fulldeck.inference.picture import Picture
from fulldeck.inference.recognizer import Alternative, Prediction, Recognizer
from fulldeck.monitoring.observation import KEPT, Observation, observe

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

    def to_plain(self) -> tuple[Any, ...]:
        """The task as nothing but strings, numbers and bytes, which is soon pickled; ``Task(*plain)`` is it again."""
        return self.what, self.start, self.files, self.max_pixels, self.observing


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


def to_plain(outcome: Outcome) -> Outcome | tuple[Any, ...]:
    """An outcome as tuples and numbers, which are soon pickled, where cards were named; else as it is."""
    if outcome.bad or not all(type(named) is Prediction for named, _ in outcome.results):
        return outcome
    results = [
        (named.label, named.probability, named.accepted, [(o.label, o.probability) for o in named.alternatives], seen)
        for named, seen in ((named, None if seen is None else seen.to_plain()) for named, seen in outcome.results)
    ]
    return results, outcome.decoding, outcome.inferring, outcome.batches


def from_plain(plain: Outcome | tuple[Any, ...]) -> Outcome:
    """The outcome that :func:`to_plain` was given."""
    if isinstance(plain, Outcome):
        return plain
    results, decoding, inferring, batches = plain
    named = [
        (
            Prediction(label, probability, accepted, tuple(Alternative(*other) for other in others)),
            None if seen is None else Observation(*seen),
        )
        for label, probability, accepted, others, seen in results
    ]
    return Outcome(named, [], decoding, inferring, batches)


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
    if task.what == "locate":
        return _locate(recognizer, task, progress)
    [outcome] = classify_together(recognizer, [(task, progress)])
    return outcome


def classify_together(recognizer: Recognizer, work: Sequence[tuple[Task, Progress]]) -> list[Outcome]:
    """Do some tasks of one picture or more that are to be classified, and infer all of them at once.

    Returns:
        One a task; the time that inference took is that of all until the task was done.

    Raises:
        ModelError: the locator file cannot be used.
    """
    decoded = [_decode(recognizer, task, progress) for task, progress in work]
    ready = [one for one in decoded if one.squares and not one.outcome.bad and not one.progress.abandoned]
    if not ready:
        return [one.outcome for one in decoded]
    start = perf_counter()
    batch = stacked([square for one in ready for square in one.squares])
    wholes, embeddings = recognizer.predict_and_embed(batch)
    wholes = recognizer.look_aside(batch, wholes)
    ready[0].outcome.batches = [len(batch)]
    kept = embeddings.astype(KEPT)
    first = 0
    for one in ready:
        part = slice(first, first := first + len(one.squares))
        _name(recognizer, one, batch[part], wholes[part], kept[part])
        if not one.outcome.bad:
            one.outcome.inferring = perf_counter() - start
    return [one.outcome for one in decoded]


@dataclass(slots=True)
class _Decoded:
    """A task's files as pictures, and each as the square that the classifier looks at."""

    task: Task
    progress: Progress
    outcome: Outcome = field(default_factory=Outcome)
    pictures: list[Picture] = field(default_factory=list)
    squares: list[Any] = field(default_factory=list)


def _decode(recognizer: Recognizer, task: Task, progress: Progress) -> _Decoded:
    found = _Decoded(task, progress)
    start = perf_counter()
    for index, (name, data) in enumerate(task.files, task.start):
        if progress.abandoned:
            return _Decoded(task, progress)
        progress.decode(index)
        try:
            found.pictures.append(Picture(data, name, task.max_pixels))
            # Small at once, so that a request's photos never lie in memory together.
            found.squares.append(found.pictures[-1].square(recognizer.info.size))
        except ImageError as error:
            found.outcome.bad.append((index, error))
    progress.decode(None)
    found.outcome.decoding = perf_counter() - start
    return found


def _name(recognizer: Recognizer, one: _Decoded, squares: Any, wholes: Sequence[Any], embeddings: Any) -> None:
    """Put into a task's outcome what its pictures show, of which the whole has been looked at."""
    predictions = []
    for index, (picture, whole) in enumerate(zip(one.pictures, wholes, strict=True), one.task.start):
        try:
            predictions.append(recognizer.second_look(picture, whole))
        except ImageError as error:  # at another scale its decoder may see another fault
            one.outcome.bad.append((index, error))
    if one.outcome.bad:
        return
    seen: list[Observation | None] = [None] * len(squares)
    if one.task.observing:
        seen = [
            observe(picture.size, len(data), square, embedding)
            for picture, (_, data), square, embedding in zip(
                one.pictures, one.task.files, squares, embeddings, strict=True
            )
        ]
    one.outcome.results = list(zip(predictions, seen, strict=True))


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
            seen = [observe(photo.size, len(data), *view) for view in views] if task.observing else []
            outcome.results.append((located, seen))
            inferring += perf_counter() - decoded
            outcome.batches.append(1)
    outcome.decoding = decoding
    if not outcome.bad:
        outcome.inferring = inferring
    return outcome
