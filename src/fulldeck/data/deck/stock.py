"""What cards are printed on: white board, linen, parchment, dark and tinted stocks, as a colour and a texture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from fulldeck.data.deck.canvas import Colour, blank
from fulldeck.data.deck.chance import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

Texture = Literal["plain", "grain", "linen", "parchment", "brushed", "worn"]

_NEUTRAL = 160  # the texture value that changes nothing


@dataclass(frozen=True)
class Stock:
    """A board: its colour (two when it runs from one to the other, top to bottom) and its texture."""

    colour: Colour
    shade: Colour | None = None
    texture: Texture = "plain"
    strength: float = 0.0  # 0 nothing to see, 1 strong
    seed: int = 0


def paper(stock: Stock, width: int, height: int) -> NDArray[np.uint8]:
    """Unprinted stock without its texture, ``uint8 [height, width, 3]``, yours to draw on."""
    sheet = blank(width, height, stock.colour)
    if stock.shade is not None:
        ends = np.array([[stock.colour], [stock.shade]], np.uint8)
        sheet[:] = cv2.resize(ends, (1, height), interpolation=cv2.INTER_LINEAR)
    return sheet


def textured(stock: Stock, printed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The printed sheet with the stock's texture in paper and ink alike."""
    if stock.texture == "plain" or stock.strength == 0:
        return printed
    height, width = printed.shape[:2]
    return np.asarray(cv2.multiply(printed, _texture(stock, width, height), scale=1 / _NEUTRAL), np.uint8)


@lru_cache(maxsize=8)
def _texture(stock: Stock, width: int, height: int) -> NDArray[np.uint8]:
    """How much of the light each point gives back, ``uint8 [height, width, 3]``; 160 is all of it."""
    rng = generator(stock.seed, 11)
    field = np.zeros((350, 250), np.float32)
    match stock.texture:
        case "grain":
            field += 0.10 * _noise(rng, 350, 250) + 0.06 * _noise(rng, 40, 30)
        case "linen":
            rows, columns = np.arange(350)[:, None] % 4 < 2, np.arange(250)[None, :] % 4 < 2
            field += np.where(rows ^ columns, 0.035, -0.035).astype(np.float32) + 0.05 * _noise(rng, 6, 4)
        case "brushed":
            field += 0.14 * _noise(rng, 350, 6) + 0.05 * _noise(rng, 350, 250)
        case _:
            field += 0.16 * _noise(rng, 5, 4) + 0.14 * _noise(rng, 18, 13) + 0.12 * _noise(rng, 70, 50)
            field += 0.08 * _noise(rng, 350, 250)
    field *= stock.strength
    if stock.texture in {"parchment", "worn"}:
        y, x = np.mgrid[-1:1:350j, -1:1:250j].astype(np.float32)
        edge = np.maximum(np.abs(x) ** 6, np.abs(y) ** 8)
        field -= 0.45 * stock.strength * edge * (0.6 + _noise(rng, 12, 9))
    if stock.texture == "worn":  # scratches and creases
        for _ in range(int(rng.integers(4, 14))):
            ends = rng.integers(0, 350, 4)
            shade = float(rng.random()) * 0.5 - 0.2
            cv2.line(field, (int(ends[0]), int(ends[1])), (int(ends[2]), int(ends[3])), shade * stock.strength, 1)
    tint = np.array([1.0, 1.12, 1.45], np.float32) if stock.texture in {"parchment", "worn"} else np.ones(3, np.float32)
    light = 1 + np.minimum(field, 0.25)[:, :, None] * tint
    grown = cv2.resize(
        np.clip(light * _NEUTRAL, 0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(grown, np.uint8)


def _noise(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    """Smooth noise between -0.5 and 0.5 on the texture's grid, coarser the fewer rows and columns are asked for."""
    grid = rng.random((rows, columns), np.float32) - 0.5
    return np.asarray(cv2.resize(grid, (250, 350), interpolation=cv2.INTER_LINEAR), np.float32)
