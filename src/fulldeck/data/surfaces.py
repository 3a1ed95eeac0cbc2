"""Pictures of nothing in particular: textures, noise, plain colours and gradients, drawn by chance.

Each function takes a generator and a side S and returns ``uint8 [S, S, 3]``, RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.data.deck.chance import between, chance, pick

if TYPE_CHECKING:
    from numpy.typing import NDArray


def texture(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Wood, cloth, marble, checks, stripes, dots, bricks or mottle in two colours."""
    kind = int(rng.integers(8))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    angle = between(rng, 0, 180) if chance(rng, 0.6) else pick(rng, (0.0, 90.0))
    turn = np.radians(angle)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    count = between(rng, 3, 40)
    if kind == 0:  # wood: rings stretched along the grain
        field = 0.5 + 0.5 * np.sin(2 * np.pi * count * (u + 0.08 * mottle(rng, side, 3)) + 6 * mottle(rng, side, 2))
    elif kind == 1:  # a weave
        field = 0.5 + 0.25 * np.sin(2 * np.pi * 3 * count * u) + 0.25 * np.sin(2 * np.pi * 3 * count * v)
    elif kind == 2:  # marble
        field = np.abs(np.sin(2 * np.pi * (between(rng, 1, 5) * u + 1.2 * mottle(rng, side, 4))))
    elif kind == 3:
        field = ((np.floor(u * count) + np.floor(v * count)) % 2).astype(np.float32)
    elif kind == 4:
        field = (np.mod(u * count, 1) < between(rng, 0.2, 0.8)).astype(np.float32)
    elif kind == 5:
        inside = np.hypot(np.mod(u * count, 1) - 0.5, np.mod(v * count, 1) - 0.5)
        field = (inside < between(rng, 0.15, 0.45)).astype(np.float32)
    elif kind == 6:  # bricks
        row = np.floor(v * count)
        field = 1 - ((np.mod(v * count, 1) < 0.12) | (np.mod(u * count / 2 + row % 2 / 2, 1) < 0.06)).astype(np.float32)
    else:
        field = mottle(rng, side, int(rng.integers(2, 7)))
    field = np.clip(field + between(rng, 0, 0.3) * (mottle(rng, side, 5) - 0.5), 0, 1)[:, :, None]
    first, second = _colours(rng, 2)
    return np.asarray(first + (second - first) * field, np.float32).clip(0, 255).astype(np.uint8)


def noise(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """White, grey, coarse, salt-and-pepper, striped or clouded noise."""
    kind = int(rng.integers(6))
    if kind == 0:
        return rng.integers(0, 256, (side, side, 3), np.uint8)
    if kind == 1:
        values = rng.normal(between(rng, 60, 190), between(rng, 10, 80), (side, side, 1))
        return np.repeat(values.clip(0, 255).astype(np.uint8), 3, axis=2)
    if kind == 2:
        cells = int(rng.integers(4, 60))
        coarse = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        way = pick(rng, (cv2.INTER_NEAREST, cv2.INTER_CUBIC))
        return np.asarray(cv2.resize(coarse, (side, side), interpolation=way), np.uint8)
    if kind == 3:
        picture = np.empty((side, side, 3), np.uint8)
        picture[:] = _colours(rng, 1)[0]
        spoilt = rng.random((side, side)) < between(rng, 0.05, 0.5)
        picture[spoilt] = np.where(rng.random((int(spoilt.sum()), 1)) < 0.5, 0, 255)
        return picture
    if kind == 4:  # a receiver without a station
        lines = rng.integers(0, 256, (side, max(1, side // int(rng.integers(1, 40))), 1), np.uint8)
        wide = np.asarray(cv2.resize(lines, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
        return np.repeat(wide[:, :, None], 3, axis=2)
    clouds = np.stack([mottle(rng, side, int(rng.integers(2, 7))) for _ in range(3)], axis=2)
    return (clouds * 255).astype(np.uint8)


def blank(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """One colour, black and white most of all, with no more than a sensor's grain."""
    colour = pick(rng, (np.zeros(3), np.full(3, 255.0), _colours(rng, 1)[0]))
    grain = rng.normal(0, between(rng, 0, 5), (side, side, 3))
    return np.asarray(colour + grain, np.float64).clip(0, 255).astype(np.uint8)


def gradient(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Two to four colours that run into each other, in a line or from a point."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    if chance(rng, 0.6):
        turn = np.radians(between(rng, 0, 360))
        place = 0.5 + 0.36 * (x * np.cos(turn) + y * np.sin(turn))
    else:
        place = np.hypot(x - between(rng, -1, 1), y - between(rng, -1, 1)) / between(rng, 1, 3)
    colours = _colours(rng, int(rng.integers(2, 5)))
    stops = np.linspace(0, 1, len(colours))
    channels = [np.interp(place, stops, colours[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=2).clip(0, 255).astype(np.uint8)


def mottle(rng: np.random.Generator, side: int, octaves: int) -> NDArray[np.float32]:
    """Fractal value noise, float32 [side, side] from 0 to 1: sums of ever finer random grids, each half as strong."""
    field = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        cells = min(side, 2 ** (octave + 1) + 1)
        grid = rng.random((cells, cells), np.float32)
        field += np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC), np.float32) / 2**octave
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / max(high - low, 1e-6), np.float32)


def _colours(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Random colours, [count, 3]; half of the time pale or dull ones, as things are."""
    colours = rng.integers(0, 256, (count, 3)).astype(np.float64)
    grey = colours.mean(axis=1, keepdims=True)
    return np.asarray(grey + (colours - grey) * (1.0 if chance(rng, 0.5) else between(rng, 0, 0.5)), np.float64)
