"""From the table to the picture: where points of the table come to lie, and what light, lens, sensor and file do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.data.deck.chance import between, chance, pick
from fulldeck.data.scene.arrange import HEIGHT, Pose
from fulldeck.data.scene.ground import noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class View:
    """A pinhole camera over a table, as the homography that it is.

    Attributes:
        matrix: float64 [3, 3], from the table (in widths of a card) to the picture (in pixels).
    """

    matrix: NDArray[np.float64]

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of the table, float64 [N, 2], in pixels of the picture."""
        ones = np.concatenate([points, np.ones((len(points), 1))], 1) @ self.matrix.T
        return np.asarray(ones[:, :2] / ones[:, 2:], np.float64)

    def rectangle(self, pose: Pose, size: tuple[float, float]) -> NDArray[np.float64]:
        """The corners of a rectangle on the table, in pixels: top left, top right, bottom right, bottom left."""
        return self.project(rectangle(pose, size))

    def width_at(self, pose: Pose) -> float:
        """The length of a card's mean side there, in pixels, divided by that of a card (1.2)."""
        corners = self.rectangle(pose, (1.0, HEIGHT))
        return float(np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1).mean() / 1.2)


def rectangle(pose: Pose, size: tuple[float, float]) -> NDArray[np.float64]:
    """The corners of a rectangle on the table, float64 [4, 2], in widths of a card."""
    w, h = size[0] / 2, size[1] / 2
    t = np.radians(pose.turn)
    turned = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) @ np.array(
        [[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]
    )
    return np.asarray(turned + np.array([pose.x, pose.y]), np.float64)


def look_at(poses: Sequence[Pose], size: tuple[int, int], rng: np.random.Generator) -> View:
    """A camera that has most of the given cards in its picture of (width, height) pixels.

    One card takes from a tenth of the picture to all of it, several take most of it or run out of it a little.
    """
    tilt = np.radians(abs(float(rng.normal(0, 26))) if chance(rng, 0.7) else between(rng, 0, 8))
    tilt = min(tilt, np.radians(64))
    roll = np.radians(between(rng, -180, 180) if chance(rng, 0.4) else float(rng.normal(0, 10)))
    points = np.concatenate([rectangle(pose, (1.0, HEIGHT)) for pose in poses] or [np.array([[-3.0, -3], [3, 3]])])
    middle = (points.min(0) + points.max(0)) / 2
    reach = float(np.abs(points - middle).max()) + 0.5
    distance = reach * between(rng, 2.2, 6)  # a phone held near, or a long lens
    c, s = np.cos(roll), np.sin(roll)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    centre = np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1.0]])
    lens = np.array([[1, 0, 0], [0, np.cos(tilt), 0], [0, -np.sin(tilt) / distance, 1]])
    base = View(np.asarray(lens @ turn @ centre, np.float64))
    seen = base.project(points)
    low, high = seen.min(0), seen.max(0)
    extent = np.maximum(high - low, 1e-6)
    fit = float(np.min(np.array(size) / extent))
    if len(poses) == 1:
        share = float(np.exp(between(rng, np.log(0.1), np.log(1.08)))) if chance(rng, 0.5) else between(rng, 0.35, 1.05)
    else:
        share = between(rng, 0.5, 1.12)
    scale = fit * share
    # No card is smaller than a tenth of the picture: nobody could read it.
    least = 0.1 * max(size) / HEIGHT
    smallest = min((base.width_at(pose) for pose in poses), default=1.0)
    scale = max(scale, least / smallest)
    room = (np.array(size) - extent * scale) / 2
    overhang = 0.12 * np.array(size) * (1 if chance(rng, 0.3) else 0)
    slack = np.maximum(room, 0) + overhang
    shift = np.array(size) / 2 + rng.uniform(-1, 1, 2) * slack - (low + high) / 2 * scale
    to_pixels = np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1.0]])
    return View(np.asarray(to_pixels @ base.matrix, np.float64))


def light(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light that falls off, shadows of what is outside the picture, glare, colour of the lamp and exposure."""
    height, width = picture.shape[:2]
    size = (width, height)
    field = np.ones((height, width), np.float32)
    if chance(rng, 0.75):
        field += np.float32(between(rng, 0.1, 0.9)) * noise(size, (2, 2) if chance(rng, 0.6) else (4, 3), rng)
    if chance(rng, 0.3):
        field *= _shadow(size, rng)
    warm = float(rng.normal(0, 0.1 if chance(rng, 0.7) else 0.24))
    lamp = np.array([1 + warm, 1 + float(rng.normal(0, 0.03)), 1 - warm], np.float32)
    gain = np.float32(between(rng, 0.75, 1.2) if chance(rng, 0.7) else between(rng, 0.25, 1.45))
    values = picture.astype(np.float32) * (field[:, :, None] * (lamp * gain))
    if chance(rng, 0.3):
        values += _glare(size, rng)[:, :, None]
    if chance(rng, 0.4):
        contrast, lift = np.float32(between(rng, 0.6, 1.25)), np.float32(between(rng, -12, 30))
        values = (values - 128) * contrast + 128 + lift
    return np.clip(values, 0, 255).astype(np.uint8)


def _shadow(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """A soft-edged shadow, as of an arm or a phone: float32 [H, W], up to 1."""
    width, height = size
    mask = np.zeros((height // 4 + 1, width // 4 + 1), np.uint8)
    points = (rng.random((int(rng.integers(3, 7)), 2)) * [mask.shape[1] * 1.3, mask.shape[0] * 1.3]).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points), 255)
    blur = 2 * int(rng.integers(1, max(2, mask.shape[1] // 10))) + 1
    soft = cv2.resize(cv2.blur(mask, (blur, blur)), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 - np.asarray(soft, np.float32) * np.float32(between(rng, 0.2, 0.65) / 255), np.float32)


def _glare(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Spots and streaks of light, float32 [H, W], in grey levels."""
    width, height = size
    spots = np.zeros((height // 4 + 1, width // 4 + 1), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre = (int(rng.integers(spots.shape[1])), int(rng.integers(spots.shape[0])))
        axes = tuple(int(v) + 2 for v in rng.integers(1, max(4, spots.shape[1] // 5), 2))
        cv2.ellipse(spots, centre, axes, between(rng, 0, 180), 0, 360, between(rng, 40, 330), -1)
    blur = 2 * int(rng.integers(2, max(3, spots.shape[1] // 8))) + 1
    return np.asarray(cv2.resize(cv2.blur(cv2.blur(spots, (blur, blur)), (blur, blur)), size), np.float32)


def develop(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What lens and sensor do: defocus, shake, low resolution, noise, sharpening."""
    height, width = picture.shape[:2]
    reach = max(height, width) / 640
    if chance(rng, 0.3):
        radius = max(1, round(between(rng, 0.6, 2.6) * reach))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.float32)
        picture = np.asarray(cv2.filter2D(picture, -1, disc / disc.sum()), np.uint8)
    elif chance(rng, 0.2):
        length = max(2, round(between(rng, 2, 8) * reach))
        kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
        t = np.radians(between(rng, 0, 180))
        dx, dy = length * np.cos(t) / 2, length * np.sin(t) / 2
        ends = [(round(length + s * dx), round(length + s * dy)) for s in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1)
        picture = np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)
    if chance(rng, 0.2):
        share = between(rng, 0.4, 0.9)
        less = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(less, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if chance(rng, 0.5):
        deviation = between(rng, 1, 7) if chance(rng, 0.75) else between(rng, 7, 22)
        grain = rng.standard_normal((height, width, 3), np.float32) * np.float32(deviation)
        if chance(rng, 0.5):  # phones smear their noise
            grain = np.asarray(cv2.blur(grain, (2, 2)), np.float32)
        picture = np.clip(picture.astype(np.float32) + grain, 0, 255).astype(np.uint8)
    if chance(rng, 0.2):
        soft = cv2.blur(picture, (3, 3))
        amount = between(rng, 0.3, 1.2)
        picture = np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)
    return picture


def encode(picture: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """The picture as JPEG bytes, of good to poor quality."""
    quality = int(rng.integers(70, 96)) if chance(rng, 0.75) else int(rng.integers(30, 70))
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def choose_size(side: int, rng: np.random.Generator) -> tuple[int, int]:
    """A picture's (width, height): the longer side is given, the proportions are those of phones and squares."""
    shorter = round(side * pick(rng, (0.5625, 0.75, 0.75, 1.0)))
    return (side, shorter) if chance(rng, 0.5) else (shorter, side)
