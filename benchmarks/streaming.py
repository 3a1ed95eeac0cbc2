"""What reading training data out of a bucket costs beside a local cache of it, into a step that does nothing.

The bucket is an emulator of Google Cloud Storage, in a process of its own on this machine. The peer is what `fulldeck
train` does with a local copy: images that were decoded once into a memory-mapped file. They take turns.

* batches for a step: as a training step gets them, augmented. The limit is for these.
* batches as read: before augmentation. A cache copies them out of memory; a stream fetches and decodes them.

With --litdata the images are packed for LitData as well, and its loader's images are decoded by the same decoder:

    uv run --with litdata python benchmarks/streaming.py --litdata

Without the Kaggle images it draws some decks. Exits with 1 if the ratio is below the limit.

    python benchmarks/streaming.py [--data FOLDER]
"""

import argparse
import io
import itertools
import multiprocessing
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fulldeck.data.dataset import DeckDataModule
from fulldeck.data.render import render
from fulldeck.data.shards import read_index, write_shards
from fulldeck.data.storage import Storage
from fulldeck.inference import image
from fulldeck.inference.cores import available_cores
from fulldeck.training.train import compose_config, data_module, keep_memory

LIMIT = 0.5
KAGGLE = Path("data/kaggle-cards")
Batch = tuple[Tensor, Tensor]
Rates = dict[str, list[float]]


def serve_bucket(parent: Connection) -> None:
    """Serve an empty bucket, in memory, until the process is ended."""
    from gcp_storage_emulator.server import create_server  # noqa: PLC0415 - of the development tools

    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="cards")
    server.start()
    parent.send(server._api._httpd.server_address[1])
    with suppress(EOFError):  # the parent is gone
        parent.recv()


@contextmanager
def bucket() -> Iterator[str]:
    """Give the address of a bucket that is there meanwhile."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_bucket, args=(there,), daemon=True)
    process.start()
    os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{here.recv()}"
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # the emulator has no hierarchical buckets
    os.environ["NO_GCE_CHECK"] = "true"
    try:
        yield "gs://cards/shards"
    finally:
        process.terminate()


def rate(batches: Iterator[Batch], number: int, use: Callable[[Tensor], object]) -> float:
    """Return the images/s at which batches come and are used; the first one does not count."""
    next(batches)
    start, images = time.perf_counter(), 0
    for pixels, _ in itertools.islice(batches, number):
        use(pixels)
        images += len(pixels)
    return images / (time.perf_counter() - start)


def compare(sources: dict[str, Callable[[], Iterator[Batch]]], rounds: int, number: int, use: Any) -> dict[str, float]:
    """Let sources of batches take turns, print their rates, and return the medians."""
    rates: Rates = {name: [] for name in sources}
    for turn in range(rounds):
        for name in list(sources)[:: 1 if turn % 2 else -1]:
            rates[name].append(rate(sources[name](), number, use))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"  {name:<28}{median:9.1f} images/s")
    return medians


def litdata_batches(data: DeckDataModule, source: Storage, folder: Path) -> Callable[[], Iterator[Batch]]:
    """Pack a folder of shards for LitData, and return what feeds its images through our decoder."""
    import litdata  # noqa: PLC0415 - only for --litdata

    samples = []
    for shard in read_index(source).train:
        with tarfile.open(fileobj=io.BytesIO(source.read(shard.name))) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        samples += [
            {"image": value, "label": int(files[f"{name.partition('.')[0]}.cls"])}
            for name, value in files.items()
            if not name.endswith(".cls")
        ]
    writer = litdata.streaming.writer.BinaryWriter(str(folder), chunk_bytes="5MB")
    for at, sample in enumerate(samples):
        writer.add_item(at, sample)
    writer.done()
    writer.merge()
    side = data.stored_size

    def together(chosen: list[dict[str, Any]]) -> Batch:
        squares = [image.resize(image.decode(one["image"], side=side), side) for one in chosen]
        return torch.from_numpy(np.stack(squares)), torch.tensor([one["label"] for one in chosen])

    def batches() -> Iterator[Batch]:
        stream = litdata.StreamingDataset(str(folder), shuffle=True, seed=0)
        options = {"batch_size": data.batch_size, "num_workers": available_cores(), "drop_last": True}
        return iter(litdata.StreamingDataLoader(stream, collate_fn=together, **options))

    return batches


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help=f"a dataset [default: {KAGGLE} if it is there, else rendered decks]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=30, help="batches a turn")
    parser.add_argument("--litdata", action="store_true", help="measure LitData's loader, from a local folder, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, bucket() as address:
        folder = options.data or (KAGGLE if KAGGLE.is_dir() else Path(temporary) / "decks")
        if not folder.exists() and not options.data:
            render(folder, decks=40, per_card=1, seed=0)
        source = Storage(address)
        write_shards(folder, source)
        cache = f"data.cache={temporary}/cache"
        local = data_module(compose_config([f"data.folder={folder}", cache]))
        streamed = data_module(compose_config(["data=shards", f"data.shards={address}", cache]))
        torch.manual_seed(0)
        keep_memory()  # as every training does
        for data in (local, streamed):
            data.setup()
        assert local.augment is not None
        augment, size = local.augment, local.size
        print(f"data: {folder}, {local.counts()['train']:,} images, batches of {local.batch_size}; {address}")
        sources = {
            "local cache": lambda: iter(local.train_dataloader()),
            "shards in the bucket": lambda: iter(streamed.train_dataloader()),
        }
        print("batches for a step")
        step = compare(sources, options.rounds, options.batches, lambda pixels: augment(pixels, size))
        print("batches as read")
        if options.litdata:
            sources["LitData, local folder"] = litdata_batches(local, source, Path(temporary) / "litdata")
        read = compare(sources, options.rounds, options.batches, lambda pixels: pixels)
    ratios = [median["shards in the bucket"] / median["local cache"] for median in (step, read)]
    print(
        f"ratio for a step {ratios[0]:.2f} (limit {LIMIT}), as read {ratios[1]:.2f}; medians of {options.rounds} turns"
    )
    return int(ratios[0] < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
