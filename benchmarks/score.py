"""What `fulldeck score` on two workers costs beside two bare processes that decode and infer.

The bare loop is what nobody can avoid: each of two processes, with one thread, reads its half of the files, decodes and
resizes each, and runs the model on eight at a time. It keeps nothing. `fulldeck score` does the same through Ray Data,
checks, names, and writes tables. Neither one's start counts: the clock runs from the first picture to the last. But
processes of Ray Data's own start within it, some ten seconds of processor time in all, which a large job does not
notice: so all pictures are done several times over.

The model is the champion without its locator, which would search doubtful pictures for cards. These are looked at once
more all the same, turned by a quarter, which the bare loop does not do.

    python benchmarks/score.py [--data FOLDER] [--copies N] [--rounds N]

Without the Kaggle images it draws some decks. Exits with 1 if the ratio of the medians is below the limit.
"""

import argparse
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2
import numpy as np

from fulldeck.data.manifest import image_paths
from fulldeck.data.render import render
from fulldeck.inference import image
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import champion_path
from fulldeck.scoring.score import score

LIMIT = 0.85
WORKERS = 2
AT_ONCE = 8
KAGGLE = Path("data/kaggle-cards")


def bare(paths: list[str], model: str, start: Barrier) -> None:
    """Decode and infer, and keep nothing."""
    cv2.setNumThreads(1)
    classifier = Classifier(model, threads=1)
    side = classifier.info.size
    start.wait()
    for first in range(0, len(paths), AT_ONCE):
        some = [image.resize(image.load(path, side), side) for path in paths[first : first + AT_ONCE]]
        classifier.run(np.stack(some))


def bare_rate(paths: list[str], model: str) -> float:
    """Return the pictures/s of two processes with half of the files each."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(WORKERS + 1)
    workers = [spawn.Process(target=bare, args=(paths[at::WORKERS], model, start)) for at in range(WORKERS)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return len(paths) / (time.perf_counter() - began)


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help=f"pictures [default: {KAGGLE} if it is there, else rendered decks]")
    parser.add_argument("--copies", type=int, default=3, help="how often each picture is done")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or (KAGGLE if KAGGLE.is_dir() else Path(temporary) / "decks")
        if not folder.exists() and not options.data:
            render(folder, decks=60, per_card=1, seed=0)
        model = str(shutil.copyfile(champion_path(), Path(temporary) / "model.onnx"))
        many = Path(temporary) / "many"
        for copy in range(options.copies):
            for path in image_paths(folder):
                link = many / str(copy) / path
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((folder / path).absolute())
        paths = [str(many / path) for path in image_paths(many)]
        rates: dict[str, list[float]] = {"fulldeck score": [], "bare processes": []}
        for turn in range(options.rounds):
            for name in list(rates)[:: 1 if turn % 2 else -1]:
                if name == "bare processes":
                    rates[name].append(bare_rate(paths, model))
                else:
                    out = str(Path(temporary) / f"out-{turn}")
                    rates[name].append(score(str(many), out, model=model, workers=WORKERS).rate)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{folder}: {len(paths):,} pictures, {WORKERS} workers")
    for name, median in medians.items():
        print(f"{name:<18}{median:9.1f} pictures/s")
    ratio = medians["fulldeck score"] / medians["bare processes"]
    print(f"ratio {ratio:.3f} (limit {LIMIT}), medians of {options.rounds} turns")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
