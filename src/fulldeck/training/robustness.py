"""How an answer holds up: under corruptions, turned, small, covered, from decks never seen, in composed scenes.

Corruptions are measured on pictures that the card fills, by the classifier alone. Everything else goes through
:class:`~fulldeck.Recognizer` as a user's photo does, locator included.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fulldeck.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fulldeck.data.deck.chance import between, generator
from fulldeck.data.placing import ASPECT, covered, placed, within
from fulldeck.errors import DataError, ImageError
from fulldeck.inference import image as images
from fulldeck.inference.recognizer import Recognizer
from fulldeck.training.measures import Rate, rate
from fulldeck.training.scenes import Scene, SceneScores, Tally

SAMPLE = 530  # pictures of a folder, spread evenly over it: ten of each card
ANGLES = tuple(range(0, 360, 15))
SIZES = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)  # the card's height as a part of the frame's
COVERED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
TURNED_FRAME = 448  # pixels: square, in which a card is turned; its diagonal nearly fills it
FRAME = (1280, 720)
_KEPT_SIDE = 448  # pictures are held in memory no larger
_BATCH = 32

Picture = NDArray[np.uint8]
Named = tuple[Picture, str]
"""A picture that one card fills, and its label."""


@dataclass(frozen=True)
class UnseenDeck:
    """A folder of a deck that training has not seen: named right as it is, and at every turn on some ground."""

    upright: Rate
    turned: Rate


@dataclass(frozen=True)
class Robustness:
    """The figures.

    Attributes:
        pictures: how many of the folder were spoilt, turned, shrunk and covered.
        clean: the classifier on them as they are.
        corruptions: for each, accuracy at severities 1 to 5.
        corrupted: mean of those.
        turned: accuracy by degrees.
        sized: accuracy by the card's height as a part of the frame's.
        covered: accuracy by the part of the card that is covered.
        unseen: by the folder's name.
        scenes: None if there were none to measure on.
    """

    pictures: int
    clean: Rate
    corruptions: dict[str, tuple[Rate, ...]]
    corrupted: float
    turned: dict[int, Rate]
    sized: dict[float, Rate]
    covered: dict[float, Rate]
    unseen: dict[str, UnseenDeck]
    scenes: SceneScores | None


def measure_robustness(
    recognizer: Recognizer,
    pictures: Sequence[tuple[Path, str]],
    unseen: Mapping[str, Sequence[tuple[Path, str]]],
    scenes: Sequence[Scene],
) -> Robustness:
    """Measure everything, with a progress bar on a terminal.

    Args:
        recognizer: what is measured.
        pictures: of cards that fill them, with their labels; at most :data:`SAMPLE` of them are taken.
        unseen: the same of other decks, by name.
        scenes: composed scenes; may be empty.

    Raises:
        DataError: none of the pictures of a folder can be read, or a scene's cannot.
    """
    named = _load(pictures)
    decks = {name: _load(of) for name, of in unseen.items()}
    conditions = len(CORRUPTIONS) * len(SEVERITIES) + 1 + len(ANGLES) + len(SIZES) + len(COVERED)
    total = len(named) * conditions + 2 * sum(map(len, decks.values())) + len(scenes)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        ThreadPoolExecutor() as pool,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("", total=total)

        def share(what: str, of: Sequence[Named], spoil: Callable[[int, Picture], Picture], ask: _Ask) -> Rate:
            bar.update(task, description=what)
            right: list[bool] = []
            for start in range(0, len(of), _BATCH):
                part = of[start : start + _BATCH]
                spoilt = pool.map(spoil, range(start, start + len(part)), [picture for picture, _ in part])
                answers = ask(list(spoilt))
                right += [answer == label for answer, (_, label) in zip(answers, part, strict=True)]
                bar.advance(task, len(part))
            return rate(np.array(right, bool))

        def bare(batch: list[Picture]) -> list[str]:
            squares = np.stack([images.resize(picture, recognizer.info.size) for picture in batch])
            return [answer.label for answer in recognizer.predict(squares)]

        def whole(batch: list[Picture]) -> list[str]:
            return [answer.label for answer in recognizer.classify(batch)]

        clean = share("as they are", named, lambda _, picture: picture, bare)
        corruptions = {
            name: tuple(share(name, named, _corrupting(name, severity), bare) for severity in SEVERITIES)
            for name in CORRUPTIONS
        }
        turned = {angle: share(f"turned by {angle}", named, _turning(angle), whole) for angle in ANGLES}
        sized = {size: share(f"height {size:g}", named, _shrinking(size), whole) for size in SIZES}
        hidden = {part: share(f"covered {part:g}", named, _covering(part), whole) for part in COVERED}
        others = {
            name: UnseenDeck(
                upright=share(name, of, lambda _, picture: picture, whole),
                turned=share(f"{name}, turned", of, _turning(None), whole),
            )
            for name, of in decks.items()
        }
        bar.update(task, description="scenes")
        tally = Tally()
        for scene in scenes:
            _look(recognizer, scene, tally)
            bar.advance(task)
    return Robustness(
        pictures=len(named),
        clean=clean,
        corruptions=corruptions,
        corrupted=float(np.mean([one.value for of in corruptions.values() for one in of])),
        turned=turned,
        sized=sized,
        covered=hidden,
        unseen=others,
        scenes=tally.scores() if scenes else None,
    )


_Ask = Callable[[list[Picture]], list[str]]


def _corrupting(name: str, severity: int) -> Callable[[int, Picture], Picture]:
    return lambda at, picture: corrupt(picture, name, severity, seed=at)


def _turning(degrees: float | None) -> Callable[[int, Picture], Picture]:
    """Turned by so much; by None, each by some angle of its own."""

    def turn(at: int, picture: Picture) -> Picture:
        rng = generator(at, 62)
        aspect = ASPECT if picture.shape[0] == picture.shape[1] else picture.shape[1] / picture.shape[0]
        height = 0.95 * TURNED_FRAME / float(np.hypot(1, aspect))
        angle = between(rng, 0, 360) if degrees is None else degrees
        return placed(picture, (TURNED_FRAME, TURNED_FRAME), height, angle, rng)

    return turn


def _shrinking(size: float) -> Callable[[int, Picture], Picture]:
    return lambda at, picture: placed(picture, FRAME, size * FRAME[1], 0, generator(at, 63))


def _covering(part: float) -> Callable[[int, Picture], Picture]:
    return lambda at, picture: covered(picture, part, generator(at, 64))


def _look(recognizer: Recognizer, scene: Scene, tally: Tally) -> None:
    try:
        located = recognizer.locate(scene.file)
        whole = recognizer.classify(scene.file) if len(scene.cards) == 1 else None
    except ImageError as error:
        msg = f"a scene's picture cannot be read: {error}"
        raise DataError(msg) from error
    tally.add(scene, (located.width, located.height), whole, located.cards)


def _load(pictures: Sequence[tuple[Path, str]]) -> list[Named]:
    """Read a sample of pictures; those that are none are left out, as the evaluation has told already."""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(SAMPLE, len(pictures))).round().astype(int))
    named, reason = [], ""
    for at in chosen.tolist():
        path, label = pictures[at]
        try:
            named.append((within(images.load(path), _KEPT_SIDE), label))
        except ImageError as error:
            reason = str(error)
    if not named:
        msg = f"none of the {len(chosen)} pictures can be read; the last: {reason}"
        raise DataError(msg)
    return named
