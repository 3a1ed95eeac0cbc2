"""How cards lie on a table: alone, strewn, in rows, columns, fans and hands. Lengths are in widths of a card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fulldeck.data.deck.chance import between, chance, pick

HEIGHT = 1.4
"""Height of a card that is 1 wide: 63 by 88 mm, and the like."""


@dataclass(frozen=True)
class Pose:
    """Where a card's centre lies, and how far it is turned clockwise, in degrees."""

    x: float
    y: float
    turn: float


def arrange(count: int, rng: np.random.Generator) -> list[Pose]:
    """Poses for some cards, from the lowest to the topmost."""
    if count == 0:
        return []
    if count == 1:
        return [Pose(0, 0, between(rng, -180, 180) if chance(rng, 0.65) else rng.normal(0, 8))]
    kinds = [_strewn, _strewn, _row, _fan, _fan, _cascade, _pile] if count <= 9 else [_strewn, _fan, _cascade, _grid]
    if count == 2:
        kinds = [_strewn, _row, _fan, _pile]
    elif count >= 4:
        kinds.append(_grid)
    poses = pick(rng, kinds)(count, rng)
    return poses if chance(rng, 0.5) else poses[::-1]


def _strewn(count: int, rng: np.random.Generator) -> list[Pose]:
    """Here and there, seldom one on the other."""
    side = np.sqrt(count) * between(rng, 1.2, 2.0)
    free = between(rng, 0.8, 1.5)
    straight = chance(rng, 0.3)
    poses: list[Pose] = []
    for _ in range(40 * count):
        x, y = (float(v) for v in rng.uniform(-side, side, 2))
        if all(np.hypot(x - p.x, y - p.y) > free for p in poses):
            poses.append(Pose(x, y, float(rng.normal(0, 12)) if straight else between(rng, -180, 180)))
        if len(poses) == count:
            break
    return poses


def _row(count: int, rng: np.random.Generator) -> list[Pose]:
    """Side by side, apart or overlapping by half."""
    step = between(rng, 0.45, 1.6)
    loose = pick(rng, (1.0, 5.0))
    return [
        Pose(step * (i - count / 2) + rng.normal(0, 0.015) * loose, rng.normal(0, 0.02) * loose, rng.normal(0, loose))
        for i in range(count)
    ]


def _cascade(count: int, rng: np.random.Generator) -> list[Pose]:
    """One below the other so that each shows its top, as in patience; or to the side, or askew."""
    step = between(rng, 0.22, 0.5)
    way = pick(rng, ((0.0, 1.0), (1.0, 0.0), (0.5, 0.7)))
    return [
        Pose(way[0] * step * (i - count / 2), way[1] * step * 1.2 * (i - count / 2), rng.normal(0, 1.0))
        for i in range(count)
    ]


def _fan(count: int, rng: np.random.Generator) -> list[Pose]:
    """A hand of cards, spread about a point below it."""
    spread = min(between(rng, 7, 26), 150 / count)
    pivot = between(rng, 0.9, 2.6)  # below the card's centre
    poses = []
    for i in range(count):
        turn = spread * (i - (count - 1) / 2) + float(rng.normal(0, 1.2))
        t = np.radians(turn)
        poses.append(Pose(float(pivot * np.sin(t)), float(-pivot * np.cos(t)) + rng.normal(0, 0.02), turn))
    return poses


def _grid(count: int, rng: np.random.Generator) -> list[Pose]:
    """Rows and columns with gaps between."""
    columns = int(rng.integers(2, max(3, count // 2 + 1)))
    gap = between(rng, 0.05, 0.5)
    slack = pick(rng, (0.5, 4.0))
    return [
        Pose(
            (1 + gap) * (i % columns) + rng.normal(0, 0.01) * slack,
            (HEIGHT + gap) * (i // columns) + rng.normal(0, 0.01) * slack,
            rng.normal(0, slack),
        )
        for i in range(count)
    ]


def _pile(count: int, rng: np.random.Generator) -> list[Pose]:
    """Thrown on one another."""
    wide = between(rng, 0.35, 0.9)
    return [Pose(float(rng.normal(0, wide)), float(rng.normal(0, wide)), between(rng, -180, 180)) for _ in range(count)]
