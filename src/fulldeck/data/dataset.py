"""Labelled folders as training data: found, decoded once into a memory-mapped cache, split, and fed in batches.

Labels come from the folder names, whatever they are; nothing here knows about cards. The bytes go through
:mod:`fulldeck.inference.image`, as they do when serving.
"""

import itertools
import json
import logging
import os
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import lightning as L  # noqa: N812 - Lightning's own custom
import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fulldeck.data.augment import Augment, Strength, to_float
from fulldeck.data.exclusion import read_exclusions
from fulldeck.data.layout import find_images, split_folder
from fulldeck.data.manifest import content_hash
from fulldeck.errors import DataError, ImageError
from fulldeck.inference import image

logger = logging.getLogger(__name__)

CACHE_VERSION = 1

NO_LABEL = -1
"""The number of an image that shows nothing of what there are labels for."""

ALONE = (0, 1)
"""The part of a batch that a process takes which trains alone: the first of one, so all of it."""


_FEW = 64  # images a batch, where some will do


@dataclass(frozen=True)
class Cache:
    """The decoded images of one folder.

    Attributes:
        images: uint8 [M, S, S, 3], RGB, memory-mapped read-only.
        rows: int64 [N], where in ``images`` each readable image lies.
        labels: the label of each image, [N].
        files: the path of each image relative to the folder, [N].
        hash: content hash of the folder.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.int64]
    labels: tuple[str, ...]
    files: tuple[str, ...]
    hash: str


def open_cache(folder: Path, size: int, where: Path) -> Cache:
    """Open the decoded images of a folder, decoding them first if this content was never seen at this size.

    An image that does not decode is left out with a warning. The array appears under its name only when it is whole,
    so an interrupted run leaves nothing that a later one would trust. Of several processes one decodes, and all share
    the array's memory.

    Args:
        folder: a folder of class folders.
        size: the side S of the stored squares, in pixels.
        where: the folder for cache files.

    Raises:
        DataError: no image of the folder can be read.
    """
    find_images(folder)  # a folder that is no dataset is refused before it is read
    digest = content_hash(folder)
    stem = f"{digest[:32]}-{size}-v{CACHE_VERSION}"
    array, index = where / f"{stem}.npy", where / f"{stem}.json"
    if not (array.exists() and index.exists()):
        where.mkdir(parents=True, exist_ok=True)
        with FileLock(where / f"{stem}.lock"):  # of all who need it one decodes, and the others wait
            if not (array.exists() and index.exists()):
                _decode_all(folder, size, array, index)
    entries = json.loads(index.read_text(encoding="utf-8"))
    images: NDArray[np.uint8] = np.load(array, mmap_mode="r", allow_pickle=False)
    rows = np.array(entries["rows"], dtype=np.int64)
    return Cache(images, rows, tuple(entries["labels"]), tuple(entries["files"]), digest)


def without(cache: Cache, excluded: Container[str]) -> Cache:
    """Leave images out of a cache; what is stored, and its hash, stay as they are.

    Args:
        cache: the images.
        excluded: their paths relative to the cache's folder.

    Raises:
        DataError: no image is left.
    """
    kept = [i for i, file in enumerate(cache.files) if file not in excluded]
    if not kept:
        msg = f"all {len(cache.files)} images are excluded; shorten the list that data.exclude names"
        raise DataError(msg)
    labels, files = (tuple(values[i] for i in kept) for values in (cache.labels, cache.files))
    return replace(cache, rows=cache.rows[kept], labels=labels, files=files)


def _decode_all(folder: Path, size: int, array: Path, index: Path) -> None:
    found = find_images(folder)
    part = array.with_suffix(f".{os.getpid()}.part")
    store = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(found), size, size, 3))

    def decode(row: int) -> bool:
        try:
            store[row] = image.resize(image.load(found[row][0], size), size)
        except ImageError as error:
            logger.warning("left out: %s", error)
            return False
        return True

    console = Console(stderr=True)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = pool.map(decode, range(len(found)))
            shown = track(
                done,
                f"decoding {folder}",
                len(found),
                transient=True,
                console=console,
                disable=not console.is_terminal,  # else it leaves an empty line
            )
            rows = [row for row, readable in enumerate(shown) if readable]
    except BaseException:
        part.unlink()  # a gigabyte that nobody would look for
        raise
    if not rows:
        part.unlink()
        msg = f"none of the {len(found)} images in {folder} can be read"
        raise DataError(msg)
    store.flush()
    part.replace(array)
    entries = {
        "rows": rows,
        "labels": [found[row][1] for row in rows],
        "files": [found[row][0].relative_to(folder).as_posix() for row in rows],
    }
    text = index.with_suffix(f".{os.getpid()}.part")
    text.write_text(json.dumps(entries), encoding="utf-8")
    text.replace(index)


class Images(Dataset[tuple[Tensor, Tensor]]):
    """The images of some caches, fetched a batch at a time.

    An item's index is a list of positions; the item is (uint8 [B, size, size, 3] RGB, int64 [B]). What is stored at
    another size is resized as the recogniser would resize it. An image whose label is none of ``labels`` has the number
    `NO_LABEL`.
    """

    def __init__(self, caches: Sequence[Cache], labels: Sequence[str], size: int) -> None:
        number = {label: i for i, label in enumerate(labels)}
        self.size = size
        self.arrays = [cache.images for cache in caches]
        self.source = np.concatenate([np.full(len(cache.rows), i) for i, cache in enumerate(caches)])
        self.rows = np.concatenate([cache.rows for cache in caches])
        self.targets = np.array(
            [number.get(label, NO_LABEL) for cache in caches for label in cache.labels], dtype=np.int64
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        at = np.asarray(positions)
        pixels = np.empty((len(at), self.size, self.size, 3), dtype=np.uint8)
        for i, (source, row) in enumerate(zip(self.source[at], self.rows[at], strict=True)):
            stored = self.arrays[source][row]
            pixels[i] = stored if len(stored) == self.size else image.resize(stored, self.size)
        return torch.from_numpy(pixels), torch.from_numpy(self.targets[at])


class Batches(Sampler[list[int]]):
    """Batches of positions; shuffled anew each epoch from its own seed, so that a resumed run sees the same order.

    A shuffled epoch drops its last incomplete batch (batch normalisation does not like batches of one). Of several
    processes each takes its own part of every batch, so that together they see in each step what one alone would.

    Args:
        positions: of the images.
        batch_size: images a batch, of all processes together; they share it evenly.
        seed: of the order; None for the order of the positions.
        part: which process this is, and of how many.
    """

    def __init__(
        self, positions: NDArray[np.int64], batch_size: int, seed: int | None = None, part: tuple[int, int] = ALONE
    ) -> None:
        self.positions = positions
        self.first, self.step = part
        self.batch_size = min(batch_size, max(len(positions) // self.step, 1) * self.step)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order (Lightning calls this)."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.positions), self.batch_size)
        return whole + (1 if rest and self.seed is None else 0)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.positions
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        for i in range(len(self)):
            yield order[i * self.batch_size : (i + 1) * self.batch_size][self.first :: self.step].tolist()


def fetching(workers: int) -> dict[str, Any]:
    """Return a loader's options for a number of processes that fetch batches ahead; 0 for none."""
    if not workers:
        return {}
    cv2.setNumThreads(1)  # the processes are forked, and would wait for threads of OpenCV that were not
    return {"num_workers": workers, "prefetch_factor": 3, "pin_memory": torch.cuda.is_available()}


def hold_out(targets: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split positions into (train, held out), the same share of every class, at least one of each held out.

    Args:
        targets: int64 [N], the class of each image.
        share: between 0 and 1.
        seed: of the choice.
    """
    generator = np.random.default_rng(seed)
    held: list[NDArray[np.int64]] = []
    for target in np.unique(targets):
        of_class = generator.permutation(np.flatnonzero(targets == target))
        held.append(of_class[: max(1, round(share * len(of_class)))])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(targets)), out), out


class DeckDataModule(L.LightningDataModule):
    """Training and held-out images of any folder-a-class layout.

    A training batch leaves here as (float32 [B, 3, s, s] in 0..1, int64 [B]), augmented on the device that trains; a
    validation batch likewise at the full size, unchanged. The training side s grows from ``start_size`` to ``size`` in
    steps of 32 pixels that share the epochs equally, since small images teach most of it at a fraction of the cost
    (progressive learning: Tan and Le, "EfficientNetV2", 2021).

    Args:
        folder: the dataset. Its ``train`` split is trained on.
        extra: further datasets whose ``train`` splits are trained on too (rendered decks, say).
        outliers: datasets whose ``train`` splits show nothing that has a label; what their folders are called does not
            matter. A training batch has them with the number `NO_LABEL`.
        size: side of the network's input, in pixels.
        start_size: side at the first epoch; None for ``size``.
        stored_size: side of the cached squares.
        holdout: share of ``folder``'s training images kept apart to watch and calibrate by.
        validation: name of a split to watch and calibrate by instead, or None.
        batch_size: images a batch.
        augment: how far the changes go; None for none.
        seed: of the held-out choice and of the order.
        cache: the folder for decoded images.
        exclude: a list of images of ``folder`` to leave out, as ``fulldeck data audit --exclude-out`` writes it.
        workers: processes that fetch training batches ahead, for a device that would wait for them; 0 for none.

    Attributes:
        part: which process of how many feeds from here; set before the loaders are made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        extra: Sequence[Path] = (),
        outliers: Sequence[Path] = (),
        size: int = 160,
        start_size: int | None = None,
        stored_size: int = 224,
        holdout: float = 0.05,
        validation: str | None = None,
        batch_size: int = 64,
        augment: Strength | None = None,
        seed: int = 0,
        cache: Path = Path("data/cache"),
        exclude: Path | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.extra = list(extra)
        self.outliers = list(outliers)
        self.size = size
        self.start_size = start_size or size
        self.stored_size = stored_size
        self.holdout = holdout
        self.validation = validation
        self.batch_size = batch_size
        self.augment = Augment(augment) if augment else None
        self.seed = seed
        self.cache = cache
        self.exclude = exclude
        self.workers = workers
        self.part = ALONE
        self.labels: tuple[str, ...] = ()
        self.hashes: dict[str, str] = {}
        self._sets: dict[str, tuple[Images, NDArray[np.int64]]] = {}

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's signature
        """Open the caches (decoding what is new) and split. Does nothing the second time.

        Raises:
            DataError: a dataset cannot be used, or there is too little of it to learn from.
        """
        if self._sets:
            return
        roots = [self.folder, *self.extra]
        folders = [split_folder(root, "train") for root in roots]
        excluded = read_exclusions(self.exclude, self.folder) if self.exclude else frozenset()
        caches = [open_cache(folder, self.stored_size, self.cache) for folder in folders]
        caches[0] = self._included(caches[0], folders[0], excluded)
        self.labels = tuple(sorted({label for cache in caches for label in cache.labels}))
        for root in self.outliers:
            cache = open_cache(split_folder(root, "train"), self.stored_size, self.cache)
            caches.append(replace(cache, labels=("",) * len(cache.labels)))  # which is no folder's name
            roots.append(root)
        self.hashes = {str(root): cache.hash for root, cache in zip(roots, caches, strict=True)}
        if len(self.labels) == 1:
            msg = f"{self.folder} has one label, {self.labels[0]!r}; there is nothing to tell apart"
            raise DataError(msg)
        images = Images(caches, self.labels, self.stored_size if self.augment else self.size)
        if self.validation is None:
            own = len(caches[0].rows)
            kept, held = hold_out(images.targets[:own], self.holdout, self.seed)
            if len(kept) + len(images) - own == 0:
                msg = f"no image is left to train on when {len(held)} of {self.folder} are held out; add images"
                raise DataError(msg)
            self._sets["train"] = images, np.concatenate([kept, np.arange(own, len(images))])
            self._sets["validation"] = Images(caches, self.labels, self.size), held
            return
        place = split_folder(self.folder, self.validation)
        watched = self._included(open_cache(place, self.stored_size, self.cache), place, excluded)
        if unknown := sorted(set(watched.labels) - set(self.labels)):
            msg = f"{self.folder}/{self.validation} has labels that training has not: {', '.join(unknown)}"
            raise DataError(msg)
        held_out = Images([watched], self.labels, self.size)
        self._sets["train"] = images, np.arange(len(images))
        self._sets["validation"] = held_out, np.arange(len(held_out))

    def _included(self, cache: Cache, place: Path, excluded: frozenset[str]) -> Cache:
        """Leave out of a split, whose folder is ``place``, what the list names."""
        split = place.relative_to(self.folder)
        names = {file for file in cache.files if (split / file).as_posix() in excluded}
        if names:
            logger.info("%s of the %s images in %s are excluded", len(names), len(cache.files), place)
        return without(cache, names) if names else cache

    def some_images(self, batches: int = 8) -> Iterator[Tensor]:
        """Give some small batches of training images as they are, float32 [B, 3, S, S] in 0..1."""
        images, positions = self._sets["train"]
        few = min(self.batch_size, _FEW)
        for batch in itertools.islice(Batches(positions, few, self.seed), batches):
            yield to_float(images[batch][0])

    def counts(self) -> dict[str, int]:
        """Say how many images each part has."""
        return {part: len(positions) for part, (_, positions) in self._sets.items()}

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Feed this process's part of shuffled batches."""
        images, positions = self._sets["train"]
        batches = Batches(positions, self.batch_size, self.seed, self.part)
        if self.trainer is not None:
            batches.set_epoch(self.trainer.current_epoch)  # of a resumed run, whose workers begin before Lightning says
        return DataLoader(images, batch_size=None, sampler=batches, **fetching(self.workers))

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Feed this process's part of the held-out images, in order."""
        images, positions = self._sets["validation"]
        return DataLoader(images, batch_size=None, sampler=Batches(positions, self.batch_size, part=self.part))

    def training_size(self) -> int:
        """Return the side of this epoch's training images, in pixels."""
        stages = (self.size - self.start_size) // 32 + 1
        epochs = (self.trainer.max_epochs if self.trainer else None) or 1
        stage = min(self.trainer.current_epoch * stages // epochs, stages - 1) if self.trainer else stages - 1
        return self.size if stage == stages - 1 else self.start_size + 32 * stage

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Augment a training batch, or just convert a validation batch, on the device it has reached."""
        pixels, targets = batch
        if self.augment is not None and self.trainer is not None and self.trainer.training:
            return self.augment.to(pixels.device)(pixels, self.training_size()), targets
        return to_float(pixels), targets
