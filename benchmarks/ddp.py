"""What training on several processes costs: two processes of one thread each beside one process of two threads.

Both train EfficientNet-Lite0 at 96 pixels on drawn decks, with the same batches, on the same two cores, so that
the ratio of images/s tells what sharing the work loses (exchanging gradients, waiting for each other), or wins.

Whole trainings take turns, so that whatever else the machine does hits both; what counts is the median of the ratios of
neighbours. A training's first epoch warms up and does not count.

    python benchmarks/ddp.py [--rounds N]

Exits with 1 if the ratio is below its limit.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 0.9
EPOCHS = 4  # the first of which does not count
HERE = Path(__file__).absolute()  # it runs itself, from another folder
KINDS = {"two processes of one thread": (2, 1), "one process of two threads": (1, 2)}

OVERRIDES = (
    "logger=none",
    "data=rendered",
    "data.folder=decks",
    "data.size=96",
    "data.stored_size=128",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    f"trainer.max_epochs={EPOCHS}",
    "trainer.progress=false",
)


def member(told: Path) -> None:
    """Train as one of the processes; the first one writes the images/s of all together."""
    import torch  # noqa: PLC0415 - only a process that trains needs it
    from lightning.pytorch.callbacks import Callback  # noqa: PLC0415

    from fulldeck.training.team import team  # noqa: PLC0415
    from fulldeck.training.train import train  # noqa: PLC0415

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    epochs: list[tuple[float, int]] = []

    class Clock(Callback):
        """Times the steps of each epoch, without its validation."""

        def on_train_epoch_start(self, *_: object) -> None:
            self.began, self.images = time.perf_counter(), 0

        def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
            self.images += len(batch[1])
            self.ended = time.perf_counter()

        def on_train_epoch_end(self, *_: object) -> None:
            epochs.append((self.ended - self.began, self.images))

    train(list(OVERRIDES), watch=[Clock()])
    ours = team()
    if ours.first:
        rate = statistics.median(images * ours.count / seconds for seconds, images in epochs[1:])
        told.write_text(json.dumps(rate), encoding="utf-8")


def measure(processes: int, threads: int) -> float:
    """Train in processes of their own, and return the images/s of all together."""
    told = Path("rate.json").absolute()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([*torchrun, str(HERE), "--member", str(told)], env=environment, check=True)
    rate: float = json.loads(told.read_text(encoding="utf-8"))
    return rate


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--member", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        member(options.member)
        return 0
    from fulldeck.data.render import render  # noqa: PLC0415 - a member draws nothing

    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        render(Path("decks"), decks=10, per_card=1, seed=0)
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for turn in range(options.rounds):
            for kind in list(KINDS)[:: -1 if turn % 2 else 1]:
                found[kind].append(measure(*KINDS[kind]))
        os.chdir("/")
    for kind, rates in found.items():
        print(f"{kind:<30}{statistics.median(rates):8.1f} images/s")
    ratio = statistics.median(two / one for two, one in zip(*found.values(), strict=True))
    print(f"ratio {ratio:.3f} (limit {LIMIT}), median of {options.rounds} turns")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
