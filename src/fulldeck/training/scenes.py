"""Composed scenes with their truth, and what a recogniser's answers to them are worth.

A folder of scenes has a ``scenes.jsonl``, an object a line: ``{"file", "cards": [{"label", "corners", "visible",
"index_visible"}], "distractors", "deck"}``, and the pictures beside it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fulldeck.errors import DataError
from fulldeck.inference import quads
from fulldeck.inference.recognizer import LocatedCard, Prediction
from fulldeck.training.measures import Rate, calibration, rate

FILE = "scenes.jsonl"
SAME_PLACE = 0.5  # intersection over union from which on an answer is about a card
VISIBLE = 0.5  # part of a card that must show for it to be missed when it is not found
MANY = 8  # scenes of more cards are counted apart


@dataclass(frozen=True)
class TrueCard:
    """A card of a scene: its label, its corners in pixels (float [4, 2]), and the part of it that shows, 0 to 1."""

    label: str
    corners: NDArray[np.float32] = field(compare=False)
    visible: float


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it."""

    file: Path
    cards: tuple[TrueCard, ...]


@dataclass(frozen=True)
class SceneScores:
    """What the answers are worth. Figures that no scene speaks to have a ``total`` of 0.

    Attributes:
        scenes: how many.
        single: scenes of one card, named right by ``classify``.
        found: cards of scenes of 2 to 8 of which half or more shows: found, named right and accepted.
        precise: accepted answers in those scenes that are right.
        crowd_found, crowd_precise: the same in scenes of more cards.
        empty: scenes without a card in which no answer was accepted.
        by_visible: cards of scenes of 2 or more found, named right and accepted, by the part that shows: "0.0-0.1".
        single_by_size: single cards named right, by the card's area as a part of the frame's.
        ece_single: calibration error of the answers to scenes of one card; None if there are none.
        ece_matched: of all answers, accepted or not, that lie on a card; None if there are none.
    """

    scenes: int
    single: Rate
    found: Rate
    precise: Rate
    crowd_found: Rate
    crowd_precise: Rate
    empty: Rate
    by_visible: dict[str, Rate]
    single_by_size: dict[str, Rate]
    ece_single: float | None
    ece_matched: float | None


def read_scenes(folder: Path) -> list[Scene]:
    """Read the truth of a folder of scenes.

    Raises:
        DataError: there is no scenes.jsonl, or a line of it is no scene.
    """
    path = folder / FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read ({error}): give a folder that `fulldeck data compose` wrote"
        raise DataError(msg) from error
    scenes = []
    for number, line in enumerate(lines, 1):
        try:
            scene = json.loads(line)
            scenes.append(Scene(folder / scene["file"], tuple(_card(card) for card in scene["cards"])))
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{path}, line {number} is no scene ({type(error).__name__}: {error}): compose the folder again"
            raise DataError(msg) from error
    if not scenes:
        msg = f"{path} holds no scene: compose some with `fulldeck data compose`"
        raise DataError(msg)
    return scenes


def _card(card: dict[str, Any]) -> TrueCard:
    corners = np.array(card["corners"], np.float32)
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        msg = "a card has four corners x, y"
        raise ValueError(msg)
    return TrueCard(str(card["label"]), corners, float(card["visible"]))


def matched(truth: Sequence[TrueCard], answers: Sequence[LocatedCard]) -> list[int | None]:
    """For each answer the index of the card that it is about, or None: best overlaps first, each card once."""
    outlines = [np.array(answer.corners, np.float32) for answer in answers]
    pairs = [
        (quads.overlap(quad, card.corners), at, number)
        for at, quad in enumerate(outlines)
        for number, card in enumerate(truth)
    ]
    about: list[int | None] = [None] * len(answers)
    taken: set[int] = set()
    for share, at, number in sorted(pairs, key=lambda pair: -pair[0]):
        if share >= SAME_PLACE and about[at] is None and number not in taken:
            about[at] = number
            taken.add(number)
    return about


class Tally:
    """Takes a scene's truth and its answers, one scene after the other, and sums them up."""

    def __init__(self) -> None:
        self._scenes = 0
        self._single: list[tuple[float, bool, float]] = []  # probability, right, part of the frame
        self._empty: list[bool] = []
        self._cards: list[tuple[bool, float, bool]] = []  # crowd, visible, found
        self._accepted: list[tuple[bool, bool]] = []  # crowd, right
        self._matched: list[tuple[float, bool]] = []  # probability, right

    def add(
        self, scene: Scene, frame: tuple[int, int], whole: Prediction | None, located: Sequence[LocatedCard]
    ) -> None:
        """Count one scene.

        Args:
            scene: its truth.
            frame: width and height of its picture.
            whole: the answer to the picture as a whole; needed only where there is one card.
            located: the cards found, accepted or not.
        """
        self._scenes += 1
        about = matched(scene.cards, located)
        for answer, number in zip(located, about, strict=True):
            if number is not None:
                self._matched.append((answer.probability, answer.label == scene.cards[number].label))
        if not scene.cards:
            self._empty.append(not any(answer.accepted for answer in located))
        elif len(scene.cards) == 1:
            if whole is not None:
                card = scene.cards[0]
                part = quads.area(card.corners) / (frame[0] * frame[1])
                self._single.append((whole.probability, whole.label == card.label, part))
        else:
            self._count(scene.cards, located, about)

    def _count(self, cards: Sequence[TrueCard], located: Sequence[LocatedCard], about: list[int | None]) -> None:
        crowd = len(cards) > MANY
        found = set()
        for answer, number in zip(located, about, strict=True):
            right = number is not None and answer.label == cards[number].label
            if answer.accepted:
                self._accepted.append((crowd, right))
                if right:
                    found.add(number)
        self._cards += [(crowd, card.visible, number in found) for number, card in enumerate(cards)]

    def scores(self) -> SceneScores:
        """Everything that was counted."""

        def found(crowd: bool) -> Rate:
            return _rate([hit for many, visible, hit in self._cards if many == crowd and visible >= VISIBLE])

        def precise(crowd: bool) -> Rate:
            return _rate([right for many, right in self._accepted if many == crowd])

        return SceneScores(
            scenes=self._scenes,
            single=_rate([right for _, right, _ in self._single]),
            found=found(crowd=False),
            precise=precise(crowd=False),
            crowd_found=found(crowd=True),
            crowd_precise=precise(crowd=True),
            empty=_rate(self._empty),
            by_visible=_binned([(visible, hit) for _, visible, hit in self._cards], [i / 10 for i in range(11)]),
            single_by_size=_binned([(part, hit) for _, hit, part in self._single], [0, 0.02, 0.05, 0.1, 0.2, 0.4, 10]),
            ece_single=_ece([(probability, right) for probability, right, _ in self._single]),
            ece_matched=_ece(self._matched),
        )


def _rate(hits: Sequence[bool]) -> Rate:
    return rate(np.array(hits, bool))


def _binned(values: Sequence[tuple[float, bool]], edges: Sequence[float]) -> dict[str, Rate]:
    """Rates by the bin (low, high] that a value falls into; nought in the first. Empty bins are left out."""
    found = {}
    for low, high in pairwise(edges):
        hits = [hit for value, hit in values if low < value <= high or (low == edges[0] and value <= low)]
        if hits:
            found[f"{low:g} to {high:g}" if high <= 1 else f"over {low:g}"] = _rate(hits)
    return found


def _ece(answers: Sequence[tuple[float, bool]]) -> float | None:
    if not answers:
        return None
    confidence, right = zip(*answers, strict=True)
    return calibration(np.array(confidence, float), np.array(right, bool)).ece
