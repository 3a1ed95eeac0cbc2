"""Training data out of shards as they come: no copy of it is made here but of the held-out images, which are few.

What training sees are the pixels that a local copy of the same images would give: they go through
:mod:`fulldeck.inference.image` and through the cache's size.
"""

import hashlib
import io
import itertools
import logging
import os
import random
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from webdataset.filters import shuffle
from webdataset.tariterators import group_by_keys

from fulldeck.data.ahead import ahead
from fulldeck.data.augment import to_float
from fulldeck.data.dataset import NO_LABEL, DeckDataModule, Images, fetching, open_cache
from fulldeck.data.shards import Shard, ShardIndex, read_index, read_shard
from fulldeck.data.storage import Storage
from fulldeck.errors import DataError, ImageError
from fulldeck.inference import image
from fulldeck.inference.cores import available_cores

logger = logging.getLogger(__name__)

MIXED = 2048
"""Images that wait to be mixed, encoded as they came: those of eight shards."""

MIXED_FIRST = 256
"""How many of them suffice to begin: the shards are mixed already."""

AHEAD = 2
"""Shards that are fetched while others are read."""

_Sample = tuple[str, bytes, int]  # its name for messages, the encoded image, the number of its label


class ShardStream(IterableDataset[tuple[Tensor, Tensor]]):
    """One epoch's shuffled batches, each (uint8 [B, size, size, 3] RGB, int64 [B]), straight out of a storage.

    Each reader, that is each loader's worker of each process, has shards of its own, others in each epoch, and each
    process has the same number of batches. Where the shards cannot be shared out evenly, a reader that runs out of
    images begins again, and some of another's are not seen in this epoch. One reader alone sees every image once, but
    for the last incomplete batch.

    Args:
        source: Where the shards are.
        shards: Those to read.
        labels: How many labels there are.
        stored_size: Side of the square that an image is decoded to, in pixels.
        size: Side of the square that is given; what was decoded at another size is resized once more, as
            :class:`~fulldeck.data.dataset.Images` does.
        batch_size: Images a batch, of all processes together; they share it evenly.
        seed: Of the order, together with the epoch.
        epoch: From 0.
        part: Which process this is, and of how many.

    Raises:
        DataError: There are fewer shards than readers, or too few images for a batch; while it is read, a shard cannot
            be read or is not what was written.
    """

    def __init__(
        self,
        source: Storage,
        shards: Sequence[Shard],
        labels: int,
        *,
        stored_size: int,
        size: int,
        batch_size: int,
        seed: int,
        epoch: int = 0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.source = source
        self.shards = list(shards)
        self.labels = labels
        self.stored_size = stored_size
        self.size = size
        self.seed = seed
        self.epoch = epoch
        self.rank, self.ranks = part
        images = sum(shard.images for shard in shards) // self.ranks
        self.batch_size = min(max(1, batch_size // self.ranks), images)
        self._check_readers(self.ranks)
        self.batches = images // self.batch_size

    def __len__(self) -> int:
        """Say how many batches this process has."""
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        reader, readers = self.rank * workers + number, self.ranks * workers
        self._check_readers(readers)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.shards))
        own = [self.shards[i] for i in order[reader::readers]]
        wanted = self.batches // workers + (number < self.batches % workers)
        generator = random.Random(f"{self.seed} {self.epoch} {reader}")  # noqa: S311 - an order, no secret
        cores = max(1, available_cores() // workers)
        with ThreadPoolExecutor(AHEAD) as fetching, ThreadPoolExecutor(cores) as decoding:
            mix = shuffle(MIXED, MIXED_FIRST, rng=generator)
            rounds = (mix(self._samples(own, fetching)) for _ in itertools.count())
            samples = itertools.chain.from_iterable(rounds)
            batches = ([next(samples) for _ in range(self.batch_size)] for _ in range(wanted))
            yield from ahead(batches, self._decode, decoding, 2 * cores)

    def _check_readers(self, readers: int) -> None:
        if self.batch_size < 1 or len(self.shards) < readers:
            msg = (
                f"{self.source.shown} has {len(self.shards)} shards for {readers} readers: "
                "pack it again into more of them, with fewer --images each"
            )
            raise DataError(msg)

    def _samples(self, shards: Sequence[Shard], pool: ThreadPoolExecutor) -> Iterator[_Sample]:
        """Read shards one after the other, and fetch the next ones meanwhile."""
        fetched = ahead(shards, lambda shard: (shard, read_shard(self.source, shard)), pool, AHEAD)
        found = 0
        for sample in read_samples(self.source, fetched, self.labels):
            found += 1
            yield sample
        if found != (told := sum(shard.images for shard in shards)):
            msg = f"{self.source.shown}: {len(shards)} shards hold {found} images, not {told}; pack them again"
            raise DataError(msg)

    def _decode(self, samples: Sequence[_Sample]) -> tuple[Tensor, Tensor]:
        pixels, numbers = [], []
        for name, data, number in samples:
            try:
                square = image.resize(image.decode(data, name, self.stored_size), self.stored_size)
            except ImageError as error:
                logger.warning("left out: %s", error)
                continue
            pixels.append(square if self.size == self.stored_size else image.resize(square, self.size))
            numbers.append(number)
        if not pixels:
            msg = f"none of {len(samples)} images can be decoded, of which {samples[0][0]} is one"
            raise DataError(msg)
        return torch.from_numpy(np.stack(pixels)), torch.tensor(numbers)


def read_samples(source: Storage, fetched: Iterable[tuple[Shard, bytes]], labels: int) -> Iterator[_Sample]:
    """Take shards apart: a name for messages, the encoded image and the number of its label, one by one.

    Raises:
        DataError: A shard is not of our making.
    """
    for sample in group_by_keys(_files(source, fetched)):
        name = f"{source.shown}/{sample['__url__']}: {sample['__key__']}"
        encoded = [value for key, value in sample.items() if not key.startswith("__") and key != "cls"]
        try:
            number = int(sample["cls"])
        except (KeyError, ValueError):
            number = labels
        if len(encoded) != 1 or not NO_LABEL <= number < labels:
            msg = f"{name} is no image with the number of a label: pack the shards again"
            raise DataError(msg)
        yield name, encoded[0], number


def _files(source: Storage, fetched: Iterable[tuple[Shard, bytes]]) -> Iterator[dict[str, Any]]:
    """Give the files of tars as WebDataset passes them on, and an empty one after each tar.

    WebDataset's own reading would unpack compressed and sparse tars too, which a few bytes suffice to make endless.
    """
    for shard, data in fetched:
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
                for member in tar:
                    file = tar.extractfile(member) if member.isreg() and not member.issparse() else None
                    if file is None:
                        msg = f"{source.shown}/{shard.name}: {member.name!r} is no plain file"
                        raise DataError(msg)
                    yield {"fname": member.name, "data": file.read(), "__url__": shard.name}
        except tarfile.TarError as error:
            msg = f"{source.shown}/{shard.name} is no tar ({error}): pack the shards again"
            raise DataError(msg) from error
        yield {}


class StreamedDataModule(DeckDataModule):
    """Training images out of shards, held-out images out of a cache of their own; otherwise as its base.

    Lightning has to ask for its training batches anew in each epoch.

    Args:
        shards: What ``fulldeck data shards`` wrote: a folder, or an address such as gs://bucket/cards.
        options: As of the base, but for the datasets and what is held out, which were chosen when the shards were made.
    """

    def __init__(self, shards: str, **options: Any) -> None:
        super().__init__(Path(shards), **options)
        self.source = Storage(shards)
        self._index: ShardIndex | None = None

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's signature
        """Read the index, and bring the held-out images. Does nothing the second time.

        Raises:
            DataError: the shards cannot be used.
        """
        if self._index is not None:
            return
        index = read_index(self.source)
        self.labels, self.hashes = index.labels, index.hashes
        held_out = open_cache(held_out_folder(self.source, index, self.cache), self.stored_size, self.cache)
        images = Images([held_out], self.labels, self.size)
        self._sets["validation"] = images, np.arange(len(images))
        self._index = index

    def counts(self) -> dict[str, int]:
        """Say how many images each part has."""
        return {"train": sum(shard.images for shard in self._read().train)} | super().counts()

    def some_images(self, batches: int = 8) -> Iterator[Tensor]:
        """Give some batches of training images as they are, float32 [B, 3, S, S] in 0..1."""
        for pixels, _ in itertools.islice(self._stream(0), batches):
            yield to_float(pixels)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Feed this epoch's shuffled batches."""
        stream = self._stream(self.trainer.current_epoch if self.trainer else 0)
        return DataLoader(stream, batch_size=None, **fetching(self.workers))

    def _stream(self, epoch: int) -> ShardStream:
        index = self._read()
        return ShardStream(
            self.source,
            index.train,
            len(index.labels),
            stored_size=self.stored_size,
            size=self.stored_size if self.augment else self.size,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            part=self.part,
        )

    def _read(self) -> ShardIndex:
        self.setup()
        assert self._index is not None  # noqa: S101 - for mypy
        return self._index


def held_out_folder(source: Storage, index: ShardIndex, cache: Path) -> Path:
    """Bring the held-out images into a folder of class folders in the cache, if they are not there yet.

    Raises:
        DataError: A shard cannot be read, or is not what was written.
    """
    digest = hashlib.sha256("".join(shard.sha256 for shard in index.validation).encode()).hexdigest()[:32]
    folder = cache / f"held-out-{digest}"
    if folder.is_dir():
        return folder
    part = cache / f".{folder.name}.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    for shard in index.validation:
        fetched = [(shard, read_shard(source, shard))]
        for at, (_, data, number) in enumerate(read_samples(source, fetched, len(index.labels))):
            file = part / index.labels[number] / f"{shard.name[:16]}-{at:05d}.jpg"  # a file's content says what it is
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    try:
        part.replace(folder)
    except OSError:
        if not folder.is_dir():  # as it is where another process was faster
            raise
        shutil.rmtree(part)
    return folder
