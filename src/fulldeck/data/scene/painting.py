"""A scene being painted: textures laid on the table one over the other, and the book kept of who covers whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOBODY = -1
"""In the map of owners: ground, or a thing that is no card."""

# Where a card's two indices lie, in shares of its width and height: the corner's rank and suit of nearly any deck.
_INDEX = (0.03, 0.17, 0.03, 0.24)
_GRID = 9


@dataclass(frozen=True)
class Placed:
    """The truth about one card of a scene.

    Attributes:
        label: What it is.
        deck: Whose.
        corners: float64 [4, 2], x and y in pixels: top left, top right, bottom right, bottom left of the upright
            card; they may lie outside the picture.
        visible: Share of its area that shows, 0 to 1.
        index_visible: Whether one of its two indices shows, by nine tenths at least.
        centre: float64 [2], a pixel in the middle of what shows.
    """

    label: str
    deck: str
    corners: NDArray[np.float64]
    visible: float
    index_visible: bool
    centre: NDArray[np.float64]


@dataclass
class Scene:
    """A picture and what is in it.

    Attributes:
        picture: uint8 [H, W, 3], RGB.
        owner: int16 [H, W], which card a pixel belongs to, counted in the order in which they were laid; or `NOBODY`.
        laid: (label, deck, corners) of every card, from the lowest to the topmost.
        things: What else lies there, by name.
    """

    picture: NDArray[np.uint8]
    owner: NDArray[np.int16]
    laid: list[tuple[str, str, NDArray[np.float64]]] = field(default_factory=list)
    things: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, ground: NDArray[np.uint8]) -> Scene:
        """An empty scene on a ground, uint8 [H, W, 3], which is painted over."""
        return cls(ground, np.full(ground.shape[:2], NOBODY, np.int16))

    def lay(
        self,
        texture: NDArray[np.uint8],
        source: NDArray[np.float32],
        target: NDArray[np.float64],
        shadow: tuple[float, float, float] | None = None,
    ) -> None:
        """Lay a texture on top.

        Args:
            texture: ``uint8 [h, w, 4]``, RGBA.
            source: Four points of it, ``float32 [4, 2]``.
            target: Where they come to lie in the picture, ``float64 [4, 2]``.
            shadow: Darkness 0 to 1, and the shift x, y in pixels, of the soft shadow that it casts; None for none.
        """
        self._paint(texture, source, target, shadow, NOBODY)

    def lay_card(
        self,
        card: tuple[str, str],
        texture: NDArray[np.uint8],
        source: NDArray[np.float32],
        corners: NDArray[np.float64],
        shadow: tuple[float, float, float] | None = None,
    ) -> None:
        """Lay a card, named by (label, deck), on top; ``source`` are its corners in the texture."""
        self._paint(texture, source, corners, shadow, len(self.laid))
        self.laid.append((*card, corners))

    def cover(self, mask: NDArray[np.uint8], paint: NDArray[np.uint8]) -> None:
        """Put something on top that has been drawn in the picture's own pixels: ``uint8 [H, W]``, ``[H, W, 3]``."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        _blend(self.picture[window], paint[window], mask[window])
        self.owner[window][mask[window] > 127] = NOBODY

    def cards(self) -> list[Placed]:
        """The truth, from the lowest card to the topmost; cards of which nothing shows are left out."""
        seen = []
        for number, (label, deck, corners) in enumerate(self.laid):
            own = (self.owner == number).astype(np.uint8)
            pixels = int(own.sum())
            if not pixels:
                continue
            area = float(cv2.contourArea(corners.astype(np.float32)))
            visible = min(1.0, pixels / max(area, 1.0))
            seen.append(Placed(label, deck, corners, visible, self._index_shows(number, corners), _middle(own)))
        return seen

    def _index_shows(self, number: int, corners: NDArray[np.float64]) -> bool:
        unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        matrix = cv2.getPerspectiveTransform(unit, corners.astype(np.float32))
        left, right, top, bottom = _INDEX
        xs, ys = np.meshgrid(np.linspace(left, right, _GRID), np.linspace(top, bottom, _GRID))
        first = np.stack([xs.ravel(), ys.ravel()], 1)
        height, width = self.owner.shape
        for points in (first, 1 - first):
            at = cv2.perspectiveTransform(points[None].astype(np.float32), matrix)[0]
            x, y = np.floor(at).astype(int).T
            inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
            shows = self.owner[y[inside], x[inside]] == number
            if shows.sum() >= 0.9 * len(points):
                return True
        return False

    def _paint(
        self,
        texture: NDArray[np.uint8],
        source: NDArray[np.float32],
        target: NDArray[np.float64],
        shadow: tuple[float, float, float] | None,
        owner: int,
    ) -> None:
        height, width = self.owner.shape
        # A texture much larger than what is left of it is shrunk first: warping alone would leave out its fine lines.
        shrink = _perimeter(target) / _perimeter(source)
        if shrink < 0.7:
            scale = max(shrink * 1.1, 8 / min(texture.shape[:2]))
            texture = np.asarray(cv2.resize(texture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
            source = (source * np.float32(scale)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, target.astype(np.float32))
        h, w = texture.shape[:2]
        outline = cv2.perspectiveTransform(np.array([[[0, 0], [w, 0], [w, h], [0, h]]], np.float32), matrix)[0]
        reach = 2 + (0 if shadow is None else int(max(abs(shadow[1]), abs(shadow[2])) * 3))
        x0, y0 = np.maximum(np.floor(outline.min(0)).astype(int) - reach, 0)
        x1, y1 = np.minimum(np.ceil(outline.max(0)).astype(int) + reach, (width, height))
        if x1 <= x0 or y1 <= y0:
            return
        moved = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], np.float64) @ matrix
        size = (int(x1 - x0), int(y1 - y0))
        colour = cv2.warpPerspective(
            np.ascontiguousarray(texture[:, :, :3]), moved, size, borderMode=cv2.BORDER_REPLICATE
        )
        alpha = np.asarray(cv2.warpPerspective(np.ascontiguousarray(texture[:, :, 3]), moved, size), np.uint8)
        window = self.picture[y0:y1, x0:x1]
        if shadow is not None:
            _cast(window, alpha, shadow)
        _blend(window, np.asarray(colour, np.uint8), alpha)
        self.owner[y0:y1, x0:x1][alpha > 127] = owner


def _perimeter(points: NDArray[np.float32] | NDArray[np.float64]) -> float:
    return float(np.linalg.norm(points - np.roll(points, 1, 0), axis=1).sum())


def _blend(window: NDArray[np.uint8], paint: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> None:
    three = cv2.merge([alpha, alpha, alpha])
    over = cv2.multiply(paint, three, scale=1 / 255)
    under = cv2.multiply(window, cv2.bitwise_not(three), scale=1 / 255)
    window[:] = cv2.add(over, under)


def _cast(window: NDArray[np.uint8], alpha: NDArray[np.uint8], shadow: tuple[float, float, float]) -> None:
    dark, dx, dy = shadow
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    blur = int(2 * max(abs(dx), abs(dy), 1)) | 1
    moved = cv2.blur(cv2.warpAffine(alpha, shift, alpha.shape[::-1]), (blur, blur))
    light = (255 - np.asarray(moved, np.float32) * dark).astype(np.uint8)
    window[:] = cv2.multiply(window, cv2.merge([light, light, light]), scale=1 / 255)


def _middle(own: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The centroid of a region if it lies in it, else the point of the region that is farthest from its edge."""
    rows, columns = np.nonzero(own)
    y, x = float(rows.mean()), float(columns.mean())
    if own[round(y), round(x)]:
        return np.array([x, y])
    distance = cv2.distanceTransform(np.pad(own, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return np.array([float(column), float(row)])
