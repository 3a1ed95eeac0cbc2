"""What data costs a training step, and how fast batches are made beside torchvision's usual way.

Two questions, with the default configuration on this machine:

* A training step of EfficientNet-Lite0 at 160 pixels: images/s when each batch is read and augmented as by
  `fulldeck train`, as a ratio to the same step on one tensor that never changes.
* Batches alone, with no network: images/s as a ratio to `ImageFolder`, `DataLoader` and torchvision's transforms of the
  same kinds and strengths (turns, size, shift, perspective, colour, blur, noise, JPEG, a cover), with the best of 0, 1
  and 2 worker processes.

All take turns, so that whatever else the machine does hits all of them.

    python benchmarks/training.py [--data FOLDER]

Without the Kaggle images it draws some decks. Exits with 1 if a ratio is below its limit.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's own name
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2

from fulldeck.data.augment import Strength
from fulldeck.data.dataset import DeckDataModule
from fulldeck.data.layout import split_folder
from fulldeck.data.render import render
from fulldeck.training.module import CardModule
from fulldeck.training.precision import best_precision
from fulldeck.training.train import compose_config, data_module, keep_memory

STEP_LIMIT = 0.9
LOADER_LIMIT = 4.0
WORKERS = (0, 1, 2)
KAGGLE = Path("data/kaggle-cards")

Batch = tuple[Tensor, Tensor]


def ours(data: DeckDataModule) -> Iterator[Batch]:
    """Yield augmented batches for ever, epoch after epoch, as a training gets them."""
    assert data.augment is not None
    loader = data.train_dataloader()
    for epoch in count():
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for pixels, targets in loader:
            yield data.augment(pixels, data.size), targets


def usual_transforms(strength: Strength, size: int) -> v2.Compose:
    """Build torchvision's transforms of the kinds and strengths that we use, each of them where it is cheapest."""
    s = strength
    bilinear = InterpolationMode.BILINEAR
    return v2.Compose([
        v2.RandomPerspective(s.perspective, p=1.0, interpolation=bilinear),
        v2.RandomApply([v2.RandomRotation((180, 180), bilinear)], p=s.half_turn_p),
        v2.RandomAffine(
            s.rotate, translate=(s.shift, s.shift), scale=(1 / (1 + s.shrink), 1 + s.enlarge), interpolation=bilinear
        ),
        v2.Resize((size, size), bilinear),
        v2.ColorJitter(s.brightness, s.contrast, s.saturation, s.hue / 360),
        v2.ToImage(),
        v2.RandomApply([v2.JPEG((s.jpeg_quality, 90))], p=s.jpeg_p),
        v2.RandomApply([v2.GaussianBlur(9, (0.2, 0.2 + s.blur))], p=s.blur_p),
        v2.ToDtype(torch.float32, scale=True),
        v2.RandomApply([v2.GaussianNoise(sigma=s.noise / 2)], p=s.noise_p),
        v2.RandomErasing(s.occlude_p, scale=(0.001, s.occlude**2), ratio=(0.3, 3.3)),
    ])  # fmt: skip


def torchvisions(folder: Path, transforms: v2.Compose, batch_size: int, workers: int) -> Iterator[Batch]:
    """Yield batches for ever, from worker processes of a loader of its own."""
    images = ImageFolder(str(folder), transforms)
    sampler = RandomSampler(images, replacement=True, num_samples=10**8)
    return iter(DataLoader(images, batch_size, sampler=sampler, num_workers=workers))


def rate(batches: Iterator[Batch], number: int) -> float:
    """Return the images/s at which that many batches come."""
    start, images = time.perf_counter(), 0
    for _ in range(number):
        images += len(next(batches)[0])
    return images / (time.perf_counter() - start)


def training_step(data: DeckDataModule, options: dict[str, object]) -> Callable[[Batch], None]:
    """Make the default network with its optimiser, and return a step of its training, without logging."""
    module = CardModule(labels=data.labels, **options)  # type: ignore[arg-type]
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-4)
    mixed = best_precision(module, data.size) == "bf16-mixed"
    module.train()

    def step(batch: Batch) -> None:
        images, targets = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits = module(images)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=module.label_smoothing)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()

    print(f"step: {options['backbone']} at {data.size} pixels, {'bfloat16' if mixed else 'float32'}")
    return step


def compare_steps(step: Callable[[Batch], None], batches: Iterator[Batch], rounds: int, each: int) -> bool:
    """Measure the step with data and without, print, and say whether the limit holds."""
    fixed = next(batches)
    rates: dict[str, list[float]] = {"with data": [], "on one fixed tensor": []}
    for turn in range(rounds + 1):
        for name in list(rates)[:: 1 if turn % 2 else -1]:
            start, images = time.perf_counter(), 0
            for _ in range(each):
                batch = fixed if name == "on one fixed tensor" else next(batches)
                step(batch)
                images += len(batch[0])
            if turn:  # the first one warms up
                rates[name].append(images / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["with data"] / medians["on one fixed tensor"]
    for name, median in medians.items():
        print(f"training step {name:<30}{median:9.1f} images/s")
    print(f"ratio {ratio:.3f} (limit {STEP_LIMIT}), medians of {rounds} turns of {each} steps\n")
    return ratio >= STEP_LIMIT


def compare_loaders(data: DeckDataModule, batches: Iterator[Batch], rounds: int, each: int) -> bool:
    """Measure batches without a network, print, and say whether the limit holds."""
    assert data.augment is not None
    folder, transforms = split_folder(data.folder, "train"), usual_transforms(data.augment.strength, data.size)
    rates: dict[str, list[float]] = {"fulldeck": []} | {f"torchvision, {n} workers": [] for n in WORKERS}
    for turn in range(rounds):
        rates["fulldeck"].append(rate(batches, 2 + 4 * each) if turn else rate(batches, 2))
        for workers in WORKERS:
            # A loader of its own each turn, so that no worker runs ahead in another's turn; its start does not count.
            theirs = torchvisions(folder, transforms, data.batch_size, workers)
            rate(theirs, max(1, workers))
            rates[f"torchvision, {workers} workers"].append(rate(theirs, each))
            del theirs
    rates["fulldeck"] = rates["fulldeck"][1:]  # the first one warms up
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"batches of {name:<33}{median:9.1f} images/s")
    ratio = medians["fulldeck"] / max(median for name, median in medians.items() if name != "fulldeck")
    print(
        f"ratio {ratio:.2f} to the best of them (limit {LOADER_LIMIT:g}), medians of {rounds} turns of {each} batches"
    )
    return ratio >= LOADER_LIMIT


def main() -> int:
    """Measure, print, and say by the exit code whether the limits hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help=f"a dataset [default: {KAGGLE} if it is there, else rendered decks]")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="steps, or batches, a turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or (KAGGLE if KAGGLE.is_dir() else Path(temporary) / "decks")
        if not folder.exists() and not options.data:
            render(folder, decks=4, per_card=1, seed=0)
        config = compose_config([])
        config.data.folder, config.data.cache = str(folder), str(Path(temporary) / "cache")
        torch.manual_seed(config.seed)
        keep_memory()  # as every training does
        data = data_module(config)
        data.setup()
        print(f"data: {folder}, {data.counts()['train']:,} images, batches of {data.batch_size}")
        batches = ours(data)
        step = training_step(data, dict(config.model))
        holds = compare_steps(step, batches, options.rounds, options.steps)
        holds &= compare_loaders(data, batches, options.rounds, options.steps)
    return int(not holds)


if __name__ == "__main__":
    sys.exit(main())
