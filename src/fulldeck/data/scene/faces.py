"""Decks as a scene needs them: give a label, get the face as RGBA."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from fulldeck.cards import LABELS
from fulldeck.data.deck import card_mask, draw_card
from fulldeck.data.deck.chance import between, pick
from fulldeck.errors import DataError
from fulldeck.inference import image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fulldeck.data.deck import DeckStyle

FACE = (320, 448)
"""Width and height of a face, in pixels: what a card has in a photo of two megapixels, seldom more."""


class Deck(Protocol):
    """One artist's cards.

    Attributes:
        name: Says whose cards they are.
        labels: Those it has; not every deck has a joker.
    """

    name: str
    labels: tuple[str, ...]

    def face(self, label: str, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The face of a card, ``uint8 [448, 320, 4]``, RGBA; where a deck has several of it, one by chance."""

    def back(self, rng: np.random.Generator) -> NDArray[np.uint8] | None:
        """The back, like a face, if the deck has one."""


class Drawn:
    """A deck that the project draws."""

    def __init__(self, style: DeckStyle, name: str) -> None:
        self.name = name
        self.labels = LABELS
        self._style = style
        self._mask = card_mask(style, FACE)

    def face(self, label: str, rng: np.random.Generator) -> NDArray[np.uint8]:  # noqa: ARG002 - one face a card
        """The face of a card, RGBA."""
        return np.dstack([draw_card(label, self._style, FACE), self._mask])

    def back(self, rng: np.random.Generator) -> NDArray[np.uint8] | None:  # noqa: ARG002
        """None: a drawn deck has no back of its own."""
        return None


class FaceFolder:
    """A folder of faces, one picture a label (``ace of clubs.png``), with backs in ``backs/`` if there are any.

    Raises:
        DataError: the folder has no picture named as a card.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        found = {path.stem: path for path in sorted(folder.glob("*.png"))}
        self.labels = tuple(label for label in LABELS if label in found)
        if not self.labels:
            msg = f"{folder} has no faces: it needs pictures such as 'ace of clubs.png', as `data vector-decks` makes"
            raise DataError(msg)
        self._paths = found
        self._backs = sorted((folder / "backs").glob("*.png"))

    def face(self, label: str, rng: np.random.Generator) -> NDArray[np.uint8]:  # noqa: ARG002 - one face a card
        """The face of a card, RGBA."""
        return _read(self._paths[label])

    def back(self, rng: np.random.Generator) -> NDArray[np.uint8] | None:
        """One of the backs."""
        return _read(pick(rng, self._backs)) if self._backs else None


class PhotoFolder:
    """Labelled photos that are filled by one card each, ``folder/<label>/*.jpg``: every photo is taken for a face.

    Thousands of artists are in such a dataset, though what surrounds a card comes along with it.

    Raises:
        DataError: the folder has no folder named as a card.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._photos = {label: sorted((folder / label).glob("*.jpg")) for label in LABELS}
        self.labels = tuple(label for label in LABELS if self._photos[label])
        if not self.labels:
            msg = f"{folder} has no labelled photos: it needs folders such as 'ace of clubs' with JPEGs in them"
            raise DataError(msg)

    def face(self, label: str, rng: np.random.Generator) -> NDArray[np.uint8]:
        """One of the photos of a card, stretched to a card's proportions and given round corners."""
        photo = image.load(pick(rng, self._photos[label]))
        face = np.asarray(cv2.resize(photo, FACE, interpolation=cv2.INTER_LINEAR), np.uint8)
        return np.dstack([face, rounded(FACE, between(rng, 8, 26))])

    def back(self, rng: np.random.Generator) -> NDArray[np.uint8] | None:  # noqa: ARG002
        """None: photos show faces."""
        return None


@lru_cache(maxsize=32)
def _rounded(width: int, height: int, radius: int) -> NDArray[np.uint8]:
    large = np.zeros((4 * height, 4 * width), np.uint8)
    r = 4 * radius
    cv2.rectangle(large, (r, 0), (4 * width - r, 4 * height), 255, -1)
    cv2.rectangle(large, (0, r), (4 * width, 4 * height - r), 255, -1)
    for x in (r, 4 * width - r):
        for y in (r, 4 * height - r):
            cv2.circle(large, (x, y), r, 255, -1)
    return np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def rounded(size: tuple[int, int], radius: float) -> NDArray[np.uint8]:
    """The outline of a rectangle (width, height) with round corners, ``uint8 [H, W]``, 255 inside."""
    return _rounded(*size, round(radius))


@lru_cache(maxsize=400)  # some 230 MB; reading and shrinking a face costs as much as painting it
def _read(path: Path) -> NDArray[np.uint8]:
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if read is None:
        msg = f"{path} is no picture that can be read; make the folder again"
        raise DataError(msg)
    picture = np.asarray(read, np.uint8)
    if picture.ndim == 2 or picture.shape[2] == 1:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)
    alpha = picture[:, :, 3] if picture.shape[2] == 4 else np.full(picture.shape[:2], 255, np.uint8)
    rgba = np.dstack([picture[:, :, 2::-1], alpha])
    how = cv2.INTER_AREA if picture.shape[0] > FACE[1] else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(rgba, FACE, interpolation=how), np.uint8)
    small.flags.writeable = False
    return small
