"""Scenes as the corner-finding network learns them: turned, shifted and scaled at random, with their targets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fulldeck.data.compose import read_scenes
from fulldeck.data.dataset import Batches, fetching
from fulldeck.errors import DataError
from fulldeck.inference import image
from fulldeck.training.locator_network import STRIDE

MOST = 16
"""Cards a picture that the targets have room for."""

READABLE = 0.5
"""A card is to be found when an index shows, or from this visible share on; one that is neither counts for nothing."""

_GREY = (114, 114, 114)
_LEAST = 12.0  # pixels: a card whose mean side is shorter is too small to be read, and to be asked for


class Scenes(Dataset[tuple[Tensor, Tensor]]):
    """Composed scenes, fetched a batch at a time.

    An item's index is a list of positions; the item is (uint8 [B, size, size, 3] RGB; float32 [B, 16, 12], for each
    card the middle x, y, the corners x, y four times, the visible share (negative: unknown), and 1 for a card that is
    to be found, -1 for one that counts for nothing, 0 for none).

    Args:
        folders: as ``fulldeck data compose`` makes them.
        size: side of the pictures, in pixels.
        seed: of the random changes; None for none of them, as in validation.
    """

    def __init__(self, folders: Sequence[Path], size: int, seed: int | None) -> None:
        self.size = size
        self.seed = seed
        self.scenes = [(folder, scene) for folder in folders for scene in read_scenes(folder)]
        self.epoch = 0
        if not self.scenes:
            msg = f"there are no scenes in {', '.join(map(str, folders))}; make some with `fulldeck data compose`"
            raise DataError(msg)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        pictures = np.empty((len(positions), self.size, self.size, 3), np.uint8)
        cards = np.zeros((len(positions), MOST, 12), np.float32)
        for i, position in enumerate(positions):
            self._one(int(position), pictures[i], cards[i])
        return torch.from_numpy(pictures), torch.from_numpy(cards)

    def _one(self, position: int, out: NDArray[np.uint8], cards: NDArray[np.float32]) -> None:
        folder, scene = self.scenes[position]
        picture = image.load(folder / scene["file"])
        height, width = picture.shape[:2]
        fit = self.size / max(height, width)
        matrix = np.array([[fit, 0, 0], [0, fit, 0]], np.float64)
        if self.seed is not None:
            matrix = _change(self.size, (width, height), np.random.default_rng([self.seed, self.epoch, position]))
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        if scale < 0.75:  # warping alone would leave out fine lines
            picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
            ratio = np.array([width / picture.shape[1], height / picture.shape[0]])
            warped = matrix.copy()
            warped[:, :2] = matrix[:, :2] * ratio
        else:
            warped = matrix
        cv2.warpAffine(picture, warped, (self.size, self.size), out, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT, _GREY)
        for row, card in zip(cards, _largest(scene["cards"]), strict=False):
            row[:] = _target(card, matrix, self.size)


def _largest(cards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(cards, key=lambda card: -float(card["visible"]))[:MOST]


def _target(card: dict[str, Any], matrix: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """One card's row, in the pixels of the changed picture."""
    points = np.array([card["centre"], *card["corners"]], np.float64) @ matrix[:, :2].T + matrix[:, 2]
    middle, corners = points[0], points[1:]
    if not ((middle >= 0).all() and (middle < side).all()):
        return np.zeros(12, np.float32)
    visible, whole = float(card["visible"]), bool(((corners >= 0) & (corners <= side)).all())
    mean_side = float(np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1).mean())
    wanted = (card["index_visible"] or visible >= READABLE) and mean_side >= _LEAST
    share = visible if whole else -1.0
    return np.array([*middle, *corners.ravel(), share, 1.0 if wanted else -1.0], np.float32)


def _change(side: int, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """A turn by any angle or a quarter, a scale and a shift: float64 [2, 3], from the scene to a square."""
    width, height = size
    kind = rng.random()
    turn = rng.uniform(-np.pi, np.pi) if kind < 0.3 else (np.pi / 2 * rng.integers(4) if kind < 0.6 else 0.0)
    stretch = np.exp(rng.uniform(np.log(0.6), np.log(1.9))) if rng.random() < 0.7 else 1.0
    scale = side / max(width, height) * stretch
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[c, -s], [s, c]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ linear.T
    low, high = corners.min(0), corners.max(0)
    shift = -low + (side - (high - low)) * rng.random(2)  # where it is larger, some part; where smaller, some place
    return np.concatenate([linear, shift[:, None]], 1)


class Anew(Protocol):
    """Pictures that change at random from epoch to epoch."""

    epoch: int

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, positions: Sequence[int], /) -> tuple[Tensor, Tensor]:
        """A batch."""


class SceneBatches(DataLoader[tuple[Tensor, Tensor]]):
    """A loader of whole batches; each epoch changes the pictures anew.

    Args:
        scenes: what to load.
        batch_size: scenes a batch.
        seed: of the order; None for the given order.
        workers: processes that fetch batches ahead, for a device that would wait for them; 0 for none.
        epoch: the first one, of a resumed run, whose workers begin before Lightning says which it is.
    """

    def __init__(
        self, scenes: Anew, batch_size: int, seed: int | None = None, *, workers: int = 0, epoch: int = 0
    ) -> None:
        order = _Order(scenes, batch_size, seed)
        order.set_epoch(epoch)
        super().__init__(scenes, batch_size=None, sampler=order, **fetching(workers))  # type: ignore[arg-type]


class _Order(Batches):
    def __init__(self, scenes: Anew, batch_size: int, seed: int | None) -> None:
        super().__init__(np.arange(len(scenes)), batch_size, seed)
        self.scenes = scenes

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.scenes.epoch = epoch


def heatmap(cards: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Targets of the score: (peaks [N, h, w] in 0..1, weights [N, h, w] that are 0 where nothing is asked).

    A card's peak is a Gaussian around its middle, as wide as what shows of the card allows.
    """
    y = (torch.arange(h, device=cards.device) + 0.5) * STRIDE
    x = (torch.arange(w, device=cards.device) + 0.5) * STRIDE
    cx, cy, flag = cards[:, :, 0, None, None], cards[:, :, 1, None, None], cards[:, :, 11, None, None]
    # The cell that holds the middle is the peak itself, 1, wherever in the cell the middle lies.
    cx, cy = ((cx / STRIDE).floor() + 0.5) * STRIDE, ((cy / STRIDE).floor() + 0.5) * STRIDE
    sigma = _spread(cards)[:, :, None, None]
    squared = (x[None, None, None, :] - cx) ** 2 + (y[None, None, :, None] - cy) ** 2
    bumps = torch.exp(-squared / (2 * sigma**2))
    peaks = (bumps * (flag > 0)).amax(1)
    hidden = (bumps * (flag < 0)).amax(1)
    return peaks, ((hidden < 0.3) | (peaks > 0.3)).float()


def _spread(cards: Tensor) -> Tensor:
    """Standard deviation of a card's peak, in pixels, [N, 16]."""
    corners = cards[:, :, 2:10].reshape(*cards.shape[:2], 4, 2)
    sides = (corners - corners.roll(1, dims=2)).norm(dim=3)  # left, top, right, bottom
    shorter = torch.minimum((sides[:, :, 0] + sides[:, :, 2]) / 2, (sides[:, :, 1] + sides[:, :, 3]) / 2)
    visible = torch.where(cards[:, :, 10] < 0, torch.ones_like(shorter) * 0.5, cards[:, :, 10])
    return (0.12 * shorter * visible.clamp(min=0.15)).clamp(0.6 * STRIDE, 2.0 * STRIDE)
