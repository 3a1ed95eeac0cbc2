"""Seeded chance: every choice about a deck or an image comes from a generator keyed by whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


def generator(seed: int, *key: int) -> np.random.Generator:
    """A generator for one purpose: the same numbers give the same stream, on every machine.

    Args:
        seed: Any whole number, negative ones too.
        key: Not negative; says what the stream is for.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed % 2**64, *key])))


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from low to high, to four places (so that a manifest can be read)."""
    return round(low + (high - low) * float(rng.random()), 4)


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True as often as probability says."""
    return bool(rng.random() < probability)
