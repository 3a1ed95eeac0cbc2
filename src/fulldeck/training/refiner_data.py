"""Cards as the corner-refining network learns them: cut out of composed scenes by corners that are wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fulldeck.data.compose import read_scenes
from fulldeck.errors import DataError
from fulldeck.inference import image
from fulldeck.inference.locate import REFINER_MARGIN, REFINER_SIZE
from fulldeck.inference.quads import overlap, plausible
from fulldeck.inference.rectify import rectify, unit_corners
from fulldeck.training.locator_data import READABLE

A_SCENE = 4
"""Squares a scene, of one visit: its cards, one of them more than once where there are fewer, and at times a place
without one. Batches of one size each need one plan from a GPU's libraries, which takes them seconds to make."""

_LEAST = 20.0  # pixels: a card whose mean side is shorter cannot be read by anyone
_STILL_IT = 0.35  # intersection over union from which on rough corners are of this card
_CLEAR = 0.05  # and up to which they are of none
_TRIES = 6
_SEED = 77_003  # of validation, whose errors are the same every time


class Outlines(Dataset[tuple[Tensor, Tensor]]):
    """Rough outlines of cards in composed scenes, fetched a batch of scenes at a time.

    An item's index is a list of scenes; the item is (uint8 [4 B, 96, 96, 3] RGB, squares that wrong corners cut out;
    float32 [4 B, 9], the true corners x, y four times as parts of the square's side, and 1 for a readable card, 0 for a
    place without one, whose corners are nought).

    Args:
        folders: as ``fulldeck data compose`` makes them.
        seed: of the errors, which change from epoch to epoch; None for the same ones every time, as in validation.
    """

    def __init__(self, folders: Sequence[Path], seed: int | None) -> None:
        self.seed = seed
        self.scenes = [(folder, scene) for folder in folders for scene in read_scenes(folder)]
        self.epoch = 0
        if not any(scene["cards"] for _, scene in self.scenes):
            msg = f"there are no cards in {', '.join(map(str, folders))}; make some with `fulldeck data compose`"
            raise DataError(msg)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        squares = np.empty((len(positions), A_SCENE, REFINER_SIZE, REFINER_SIZE, 3), np.uint8)
        truth = np.zeros((len(positions), A_SCENE, 9), np.float32)
        for i, position in enumerate(positions):
            self._scene(int(position), squares[i], truth[i])
        return torch.from_numpy(squares).flatten(0, 1), torch.from_numpy(truth).flatten(0, 1)

    def _scene(self, position: int, squares: NDArray[np.uint8], truth: NDArray[np.float32]) -> None:
        folder, scene = self.scenes[position]
        rng = np.random.default_rng([_SEED, position] if self.seed is None else [self.seed, self.epoch, position])
        wanted = [np.array(card["corners"], np.float32) for card in scene["cards"] if _wanted(card)]
        order = rng.permutation(len(wanted))
        width, height = scene["size"]
        quads = []
        for row in range(A_SCENE):
            empty = _elsewhere(scene, (width, height), rng) if (row == 0 and rng.random() < 0.5) or not wanted else None
            if empty is None and wanted:
                corners = np.roll(wanted[order[row % len(wanted)]], 2 * int(rng.integers(2)), 0)
                quads.append(_wrong(corners, rng))
                truth[row] = [*_inside(quads[-1], corners).ravel(), 1]
            else:
                quads.append(_whole(width, height) if empty is None else empty)
        squares[:] = rectify(image.load(folder / scene["file"]), np.array(quads), REFINER_SIZE, REFINER_MARGIN)


def _wanted(card: dict[str, Any]) -> bool:
    return bool(card["index_visible"] or card["visible"] >= READABLE) and _side(np.array(card["corners"])) >= _LEAST


def _side(corners: NDArray[Any]) -> float:
    return float(np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1).mean())


def _inside(rough: NDArray[np.float32], true: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the true corners lie in the square that the rough ones cut out, in the order of the rough ones."""
    matrix = cv2.getPerspectiveTransform(rough, unit_corners(REFINER_MARGIN))
    inside = cv2.perspectiveTransform(true[None], matrix)[0]
    return np.asarray(np.clip(inside, -1, 2), np.float32)


def _wrong(corners: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Corners as finding gives them: each a little off, all turned, scaled and moved, at times one end too short."""
    side, middle = _side(corners), corners.mean(0)
    for _ in range(_TRIES):
        off = min(0.16, 0.035 * float(np.exp(rng.normal(0, 0.8))))
        much = 2.0 if rng.random() < 0.2 else 1.0
        turn = np.radians(rng.normal(0, 4 * much))
        size = np.exp(rng.normal(0, 0.05 * much, 2))
        c, s = np.cos(turn), np.sin(turn)
        moved = (corners - middle) * size @ np.array([[c, s], [-s, c]]) + middle
        moved += rng.normal(0, off * side, (4, 2)) + rng.normal(0, 0.05 * much * side, 2)
        if rng.random() < 0.2:
            end, short = int(rng.integers(4)), rng.uniform(0, 0.4)
            for at, other in ((end, end - 1), ((end + 1) % 4, (end + 2) % 4)):
                moved[at] += (moved[other] - moved[at]) * short
        rough: NDArray[np.float32] = moved.astype(np.float32)
        if _convex(rough) and overlap(rough, corners) > _STILL_IT:
            return rough
    return corners


def _convex(quad: NDArray[np.float32]) -> bool:
    side = 10 * float(np.abs(quad).max() + 1)
    return plausible(quad + np.float32(side / 2), int(side), int(side))


def _whole(width: int, height: int) -> NDArray[np.float32]:
    return np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)


def _elsewhere(scene: dict[str, Any], size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32] | None:
    """A place of a card's shape that has no card in it."""
    taken = [np.array(card["corners"], np.float32) for card in scene["cards"]]
    for _ in range(_TRIES):
        tall = rng.uniform(0.12, 0.9) * min(size)
        t = rng.uniform(-np.pi, np.pi)
        shape = np.array([[-0.36, -0.5], [0.36, -0.5], [0.36, 0.5], [-0.36, 0.5]]) * tall
        turned = shape @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
        quad = np.asarray(turned + rng.normal(0, 0.05 * tall, (4, 2)) + rng.random(2) * size, np.float32)
        if _convex(quad) and all(overlap(quad, other) < _CLEAR for other in taken):
            return quad
    return None
