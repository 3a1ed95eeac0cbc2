"""What a classifier meets in photos, cut out of composed scenes: cards as a locator finds them, and what is no card.

Three kinds of picture come out of a scene: its cards, rectified from corners that are a little wrong, as a locator's
are; cuts that show no readable card; and the scene as a whole, which shows one card if one fills it, and else none that
an answer about the whole picture could be meant for.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from fulldeck.data.compose import read_scenes
from fulldeck.data.deck.chance import between, chance, generator
from fulldeck.errors import DataError
from fulldeck.inference import image
from fulldeck.inference.rectify import rectify

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

SIZE = 224
"""Side of the cuts, in pixels, as the Kaggle dataset has it."""

FILLS = 0.5
"""A scene with one card that takes this share of the picture counts as a picture of that card."""

EMPTY = 0.3
"""A scene whose one card takes less than this share is a picture of something else; between the two it is left out."""

_OFF = (0.03, 0.6, 0.1)
"""A locator's errors, in lengths of the card's mean side: each card's standard deviation is log-normal with this median
and this spread, up to this most. The shipped locator's are somewhat worse where cards cover each other, and better
elsewhere."""

_LEAST = 26.0  # pixels: a card whose mean side is shorter cannot be read by anyone
_PURPOSE = 12


@dataclass(frozen=True)
class Crops:
    """What was cut: how many cards, and how many pictures of no readable card."""

    out: Path
    cards: int
    others: int

    def __str__(self) -> str:
        return f"{self.out}: {self.cards} cards in cards/, {self.others} pictures of no readable card in others/"


def cut(scenes: Path, out: Path, *, seed: int = 0, split: str = "train") -> Crops:
    """Cut scenes into ``out/cards/<split>/<label>/*.jpg`` and ``out/others/<split>/<kind>/*.jpg``.

    Args:
        scenes: A folder of ``fulldeck data compose``.
        out: A folder that is new or empty.
        seed: Of the corners' errors and of the choices; the same seed gives the same bytes.
        split: The folder's name.

    Raises:
        DataError: There are no scenes, or ``out`` holds something.
    """
    refuse_full(out)
    truth = read_scenes(scenes)

    def one(number: int) -> tuple[int, int]:
        scene, rng = truth[number], generator(seed, _PURPOSE, number)
        photo = image.load(scenes / scene["file"])
        cards = [*_cards(photo, scene, rng), *_whole(photo, scene, FILLS, 1.01)]
        others = [*_hidden(photo, scene, rng), *_ground(photo, scene, rng), *_crowd(photo, scene)]
        for kind, pictures in (("cards", cards), ("others", others)):
            for i, (name, picture) in enumerate(pictures):
                write_cut(out / kind / split / name / f"{number:06d}-{i:02d}.jpg", picture)
        return len(cards), len(others)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(one, range(len(truth)))
        counts = list(track(done, "cutting", len(truth), transient=True, console=Console(stderr=True)))
    return Crops(out, sum(cards for cards, _ in counts), sum(others for _, others in counts))


_Pictures = list[tuple[str, "NDArray[np.uint8]"]]


def _cards(photo: NDArray[np.uint8], scene: dict[str, Any], rng: np.random.Generator) -> _Pictures:
    """The readable cards, by label; every other one from its other end."""
    found = [card for card in scene["cards"] if card["index_visible"] and _side(card) >= _LEAST]
    return [(card["label"], _cut(photo, _wrong(_corners(card), rng))) for card in found]


def _hidden(photo: NDArray[np.uint8], scene: dict[str, Any], rng: np.random.Generator) -> _Pictures:
    """Cards of which nothing readable shows."""
    found = [card for card in scene["cards"] if not card["index_visible"] and card["visible"] < 0.35]
    return [("hidden", _cut(photo, _wrong(_corners(card), rng))) for card in found[:2] if _side(card) >= _LEAST]


def _ground(photo: NDArray[np.uint8], scene: dict[str, Any], rng: np.random.Generator) -> _Pictures:
    """A place of a card's shape that has no card in it, of one scene in three (of all that have no card)."""
    if scene["cards"] and not chance(rng, 0.33):
        return []
    height, width = photo.shape[:2]
    taken = [_corners(card).astype(np.float32) for card in scene["cards"]]
    for _ in range(8):
        tall = between(rng, 0.15, 0.7) * min(height, width)
        t = np.radians(between(rng, -180, 180))
        shape = np.array([[-0.36, -0.5], [0.36, -0.5], [0.36, 0.5], [-0.36, 0.5]]) * tall
        turned = shape @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
        quad = (turned + rng.random(2) * [width, height]).astype(np.float32)
        shared = [cv2.intersectConvexConvex(quad, cv2.convexHull(other))[0] for other in taken]
        if sum(shared) < 0.04 * cv2.contourArea(quad):
            return [("ground", _cut(photo, quad.astype(np.float64)))]
    return []


def _crowd(photo: NDArray[np.uint8], scene: dict[str, Any]) -> _Pictures:
    """The whole picture, where it shows several cards, a small one, or none."""
    cards = [card for card in scene["cards"] if card["visible"] > 0.1]
    if len(cards) == 1 and _share(cards[0], photo) >= EMPTY:
        return []
    return [("scene", image.resize(photo, SIZE))]


def _whole(photo: NDArray[np.uint8], scene: dict[str, Any], least: float, most: float) -> _Pictures:
    """The whole picture, by label, where one readable card takes such a share of it."""
    cards = [card for card in scene["cards"] if card["visible"] > 0.1]
    if len(cards) != 1 or not cards[0]["index_visible"] or not least <= _share(cards[0], photo) <= most:
        return []
    return [(cards[0]["label"], image.resize(photo, SIZE))]


def _corners(card: dict[str, Any]) -> NDArray[np.float64]:
    return np.array(card["corners"], np.float64)


def _side(card: dict[str, Any]) -> float:
    corners = _corners(card)
    return float(np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1).mean())


def _share(card: dict[str, Any], photo: NDArray[np.uint8]) -> float:
    """The share of the picture that a card takes, if none of it lies under another."""
    height, width = photo.shape[:2]
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    shared, _ = cv2.intersectConvexConvex(cv2.convexHull(_corners(card).astype(np.float32)), frame)
    return shared / float(width * height)


def _wrong(corners: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Corners as a locator gives them: a little off each, more together, and from either end."""
    side = float(np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1).mean())
    middle = corners.mean(0)
    median, spread, most = _OFF
    off = min(most, median * float(np.exp(rng.normal(0, spread))))
    size = 1 + rng.normal(0, 0.02)
    error = rng.normal(0, off * side, (4, 2)) + rng.normal(0, 0.5 * off * side, 2)
    moved = middle + (corners - middle) * size + error
    return np.asarray(np.roll(moved, 2, 0) if chance(rng, 0.5) else moved, np.float64)


def _cut(photo: NDArray[np.uint8], quad: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(rectify(photo, quad[None].astype(np.float32), SIZE)[0])


def refuse_full(out: Path) -> None:
    """Raise DataError if a folder for cuts holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        msg = f"{out} holds something already: name a new folder for the cuts"
        raise DataError(msg)


def write_cut(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a cut, uint8 [H, W, 3] RGB, as a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
    path.write_bytes(data.tobytes())
