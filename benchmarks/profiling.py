"""What docs/profiling.md tells of: two things that the profiler found slow, as they were and as they are.

* Training: a step of the quickstart's network (batches of 32 at 96 pixels, one fixed batch), whose optimiser and moving
  average loop over the tensors in Python, beside one where each is one call for all; and these two parts alone.
* Inference: a photo of twelve megapixels, decoded to what the classifier takes, with its markers counted by
  ``bytes.find`` and ``bytes.count``, and as it is now; and that alone.

Before and after take turns in one process, on one thread, and the processor's time is counted, so that other processes
hardly matter.

    python benchmarks/profiling.py [--rounds N]
    python benchmarks/profiling.py --profile   # what the way of inference cost before, by function

Exits with 1 if something is slower than it was, or gives another answer.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from cProfile import Profile
from pstats import Stats
from unittest.mock import patch

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's own name
from torch.optim.swa_utils import AveragedModel

from fulldeck import Recognizer
from fulldeck.errors import ImageError
from fulldeck.inference import image
from fulldeck.training.module import CardModule
from fulldeck.training.train import keep_memory, moving_average

DECAY = 0.998
LABELS = [str(number) for number in range(53)]


def average_one(averaged: Tensor, current: Tensor, n: Tensor) -> Tensor:
    """Average one tensor, as it was done before."""
    kept = min(DECAY, (1 + int(n)) / (10 + int(n)))
    return averaged * kept + current * (1 - kept)


def check_scans(data: bytes, first: int, name: str) -> None:
    """Look for a JPEG's markers, as it was done before."""
    if data.find(b"\xff\xd9", first) < 0:
        raise ImageError(f"{name}: the JPEG is truncated", "truncated")
    if data.count(b"\xff\xda", first) > image.MAX_SCANS:
        raise ImageError(f"{name}: the JPEG has too many scans", "too_many_pixels")


class Training:
    """A network that is trained on one batch, step by step.

    Args:
        network: it is copied.
        batch: images and targets.
        now: as it is now, or as it was.
    """

    def __init__(self, network: CardModule, batch: tuple[Tensor, Tensor], *, now: bool) -> None:
        self.network = deepcopy(network)
        self.batch = batch
        self.weights = list(self.network.parameters())
        self.optimiser = torch.optim.AdamW(self.weights, lr=1e-4, weight_decay=0.02, fused=now or None)
        how = {"multi_avg_fn": moving_average(DECAY)} if now else {"avg_fn": average_one}
        self.average = AveragedModel(self.network, use_buffers=True, **how)  # type: ignore[arg-type]

    def step(self) -> None:
        """Make one step, as Lightning does."""
        images, targets = self.batch
        self.optimiser.zero_grad()
        F.cross_entropy(self.network(images), targets).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.update()

    def update(self) -> None:
        """Change the weights by the gradients there are, and the average by the weights."""
        self.optimiser.step()
        self.average.update_parameters(self.network)

    def averages(self) -> Tensor:
        """Return all averaged weights, float32 [N]."""
        return torch.cat([weight.detach().flatten() for weight in self.average.module.parameters()])


def photo() -> bytes:
    """Make a JPEG of 4032x3024 pixels and about four megabytes: shapes, and a sensor's noise."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    large = cv2.resize(shapes, (4032, 3024), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noise = rng.standard_normal(large.shape, dtype=np.float32)
    pixels = np.clip(large + 6 * noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def compare(what: str, before: Callable[[], object], after: Callable[[], object], rounds: int) -> bool:
    """Let both take turns, print the medians and that of the neighbours' ratios, and say whether it is faster now."""
    times: dict[str, list[float]] = {"before": [], "after": []}
    for turn in range(rounds + 2):
        for name, call in (("before", before), ("after", after))[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            call()
            if turn > 1:  # the first ones warm up
                times[name].append((time.process_time() - start) * 1e3)
    was, now = (statistics.median(each) for each in times.values())
    ratio = statistics.median(after / before for before, after in zip(*times.values(), strict=True))
    print(f"{what:<46}{was:9.2f} ms before {now:9.2f} ms after   ratio {ratio:.3f}")
    return ratio <= 1


def compare_training(rounds: int) -> bool:
    """Measure a step, and its last part alone."""
    torch.manual_seed(0)
    keep_memory()  # as every training does
    network = CardModule("tf_efficientnet_lite0", LABELS, pretrained=False, drop_rate=0, drop_path_rate=0).train()
    images = torch.rand(32, 3, 96, 96).contiguous(memory_format=torch.channels_last)
    batch = images, torch.randint(len(LABELS), (32,))
    was, now = (Training(network, batch, now=now) for now in (False, True))
    was.step()
    now.step()
    apart = (was.averages() - now.averages()).abs().max().item()
    faster = compare("training: a step", was.step, now.step, rounds)
    faster &= compare("training: optimiser and moving average", was.update, now.update, 3 * rounds)
    print(f"training: the averaged weights are {apart:.1e} apart at most after a step\n")
    return faster and apart < 1e-5


def compare_inference(rounds: int) -> bool:
    """Measure the way from a photo's bytes to what the classifier takes, and the part that was changed alone."""
    data, recognizer = photo(), Recognizer(threads=1)

    def before() -> np.ndarray:
        with patch.object(image, "_check_scans", check_scans):
            return recognizer.prepare(data)

    def after() -> np.ndarray:
        return recognizer.prepare(data)

    print(f"inference: a JPEG of {len(data):,} bytes")
    faster = compare("inference: decode and resize", before, after, 3 * rounds)
    faster &= compare(
        "inference: look for markers",
        lambda: check_scans(data, 0, "photo"),
        lambda: image._check_scans(data, 0, "photo"),
        3 * rounds,
    )
    return faster and np.array_equal(before(), after())


def profile_inference() -> None:
    """Print what the way from a photo's bytes to an answer about the whole of it cost before, by function."""
    data, recognizer, profile = photo(), Recognizer(threads=1), Profile(time.process_time)
    recognizer.predict(recognizer.prepare(data)[None])  # warms up
    with patch.object(image, "_check_scans", check_scans), profile:
        for _ in range(20):
            recognizer.predict(recognizer.prepare(data)[None])
    Stats(profile).strip_dirs().sort_stats("tottime").print_stats(8)


def main() -> int:
    """Measure, print, and say by the exit code whether it is faster now."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", action="store_true", help="show what the way of inference cost before")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if options.profile:
        profile_inference()
        return 0
    faster = compare_training(options.rounds)
    faster &= compare_inference(options.rounds)
    return int(not faster)


if __name__ == "__main__":
    sys.exit(main())
