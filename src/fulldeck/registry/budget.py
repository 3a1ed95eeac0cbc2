"""What a model costs beside another one, measured in the same run and in turns, so that the machine's mood cancels."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from fulldeck.inference.classifier import Classifier

TURNS = 21


@dataclass(frozen=True)
class Cost:
    """Milliseconds of a run with one image on one thread, medians, and the median of the turns' ratios."""

    champion_ms: float
    challenger_ms: float
    ratio: float


def latency(champion: Classifier, challenger: Classifier, turns: int = TURNS) -> Cost:
    """Time two models turn by turn, each with one image of noise at its own size.

    Args:
        champion: Opened with one thread.
        challenger: Opened with one thread.
        turns: How many; the order alternates.
    """
    models = (champion, challenger)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (1, model.info.size, model.info.size, 3), np.uint8) for model in models]
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 3):
        for place in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            models[place].run(images[place])
            if turn >= 3:  # the first runs lay out memory
                times[place].append(time.perf_counter() - start)
    ratios = [mine / theirs for theirs, mine in zip(*times, strict=True)]
    old, new = (statistics.median(one) * 1e3 for one in times)
    return Cost(old, new, statistics.median(ratios))
