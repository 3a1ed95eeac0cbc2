"""What it costs a training to be kept in MLflow: seconds an epoch with `logger=mlflow`, as a ratio to `logger=none`.

Whole trainings take turns, so that whatever else the machine does hits both; what counts is the median of the ratios of
neighbours. They are of EfficientNet-Lite0 at 96 pixels on drawn decks, with a few steps an epoch: shorter steps and far
shorter epochs than by default, on which tracking weighs more. Each training's first epoch warms up.

What is done once, however long the training (opening the record, the export, the pictures), is told in seconds.

    python benchmarks/tracking.py [--rounds N]

Exits with 1 if the ratio is above its limit.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from lightning.pytorch.callbacks import Callback

from fulldeck.data.render import render
from fulldeck.training.train import train

LIMIT = 1.03
EPOCHS = 4  # the first of which does not count


class Clock(Callback):
    """Notes when epochs begin, and when the last one has ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        """An epoch begins; the one before, with its validation, is over."""
        self.times.append(time.perf_counter())

    def on_train_end(self, *_: object) -> None:
        """All of them are over."""
        self.times.append(time.perf_counter())

    def epoch(self) -> float:
        """Return the median seconds of an epoch."""
        return statistics.median(after - before for before, after in list(pairwise(self.times))[1:])


def measure(kind: str) -> tuple[float, float]:
    """Train, and return the seconds of an epoch and those of all that is no epoch."""
    clock = Clock()
    started = time.perf_counter()
    train(
        [
            f"logger={kind}",
            "data=rendered",
            "data.folder=decks",
            "data.size=96",
            "data.stored_size=128",
            f"trainer.max_epochs={EPOCHS}",
            "trainer.progress=false",
        ],
        watch=[clock],
    )
    return clock.epoch(), time.perf_counter() - started - (clock.times[-1] - clock.times[0])


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        render(Path("decks"), decks=10, per_card=1, seed=0)
        found: dict[str, list[tuple[float, float]]] = {"none": [], "mlflow": []}
        for turn in range(options.rounds + 1):
            for kind in list(found)[:: 1 if turn % 2 else -1]:
                measured = measure(kind)
                if turn:  # the first one decodes images and makes the database
                    found[kind].append(measured)
        os.chdir("/")
    for kind, measured in found.items():
        epoch, rest = (statistics.median(part) for part in zip(*measured, strict=True))
        print(f"logger={kind:<8}{epoch:8.2f} s an epoch, {rest:6.1f} s once")
    pairs = zip(found["mlflow"], found["none"], strict=True)
    ratio = statistics.median(kept / bare for (kept, _), (bare, _) in pairs)
    print(f"ratio {ratio:.3f} (limit {LIMIT}), median of {options.rounds} turns of {EPOCHS - 1} epochs")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
