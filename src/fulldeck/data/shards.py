"""``fulldeck data shards``: a dataset as a few large files that are read from one end to the other, out of a bucket.

A shard is a tar file as WebDataset has them: ``000017.jpg`` holds an image as it was, ``000017.cls`` the number of its
label. ``shards.json`` says which shards there are, what the labels are, and what each file's hash must be. How they are
fed to a training is the business of :mod:`fulldeck.data.streaming`.
"""

import hashlib
import io
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from rich.console import Console
from rich.progress import track

from fulldeck.data.dataset import NO_LABEL, hold_out
from fulldeck.data.exclusion import read_exclusions
from fulldeck.data.layout import find_images, split_folder
from fulldeck.data.manifest import content_hash
from fulldeck.data.storage import Storage
from fulldeck.errors import DataError, ImageError
from fulldeck.inference import image

logger = logging.getLogger(__name__)

INDEX = "shards.json"
SCHEMA = 1
IMAGES = 256
"""Images a shard: some megabytes of photographs, which is one request of a bucket, and enough shards to share out."""

_NAME = re.compile(r"(train|validation)-\d{5}-[0-9a-f]{16}\.tar")


@dataclass(frozen=True)
class Shard:
    """One shard: the name of its file, how many images and bytes it has, and its SHA-256 as hex."""

    name: str
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """What lies in a folder of shards.

    Attributes:
        labels: What the numbers in the shards mean.
        hashes: The content hash of each dataset that went in, by its folder.
        train: To train on.
        validation: Held out, to watch and calibrate by.
    """

    labels: tuple[str, ...]
    hashes: dict[str, str]
    train: tuple[Shard, ...]
    validation: tuple[Shard, ...]

    def summary(self, shown: str) -> str:
        """Say in two lines what there is, at the address ``shown``, and what to do next."""
        parts = [
            f"{sum(shard.images for shard in part):,} images {use} in {len(part)} shards"
            for part, use in ((self.train, "to train on"), (self.validation, "held out"))
        ]
        megabytes = sum(shard.bytes for shard in (*self.train, *self.validation)) / 1e6
        return (
            f"{shown}: {len(self.labels)} labels, {', '.join(parts)}, {megabytes:.1f} MB\n"
            f"next: fulldeck train data=shards data.shards={shown}"
        )


@dataclass(frozen=True)
class _Image:
    path: Path
    number: int  # of its label; NO_LABEL for what shows nothing that has one


def write_shards(
    source: Path,
    target: Storage,
    *,
    extra: Sequence[Path] = (),
    outliers: Sequence[Path] = (),
    exclude: Path | None = None,
    holdout: float = 0.05,
    validation: str | None = None,
    seed: int = 0,
    images: int = IMAGES,
) -> ShardIndex:
    """Pack a dataset, mixed, into shards.

    The arguments but the last are those of :class:`~fulldeck.data.dataset.DeckDataModule` and choose the same images,
    also the same to hold out. A shard's name holds its hash, so that a run after one that was interrupted writes only
    what is missing; the index comes last. An image that does not decode is left out with a warning.

    Args:
        source: The dataset. Its ``train`` split is trained on.
        target: Where the shards go.
        extra: Further datasets to train on.
        outliers: Datasets of pictures that show nothing that has a label.
        exclude: A list of images of ``source`` to leave out.
        holdout: Share of ``source``'s training images that is held out.
        validation: Name of a split that is held out instead.
        seed: Of the held-out choice and of the order.
        images: How many a shard holds, at most.

    Raises:
        ConfigError: The list cannot be read.
        DataError: A dataset cannot be used, or the target cannot be written to.
    """
    roots = [source, *extra, *outliers]
    folders = [split_folder(root, "train") for root in roots]
    excluded = read_exclusions(exclude, source) if exclude else frozenset()
    found = [_readable(folder) for folder in folders]
    found[0] = [pair for pair in found[0] if pair[0].relative_to(source).as_posix() not in excluded]
    labels = tuple(sorted({label for pairs in found[: 1 + len(extra)] for _, label in pairs}))
    number = {label: i for i, label in enumerate(labels)}
    chosen = [
        [_Image(path, number[label] if at <= len(extra) else NO_LABEL) for path, label in pairs]
        for at, pairs in enumerate(found)
    ]
    own = chosen[0]
    if not own:
        msg = f"all images of {source} are excluded; shorten the list {exclude}"
        raise DataError(msg)
    if validation is None:
        kept, held = hold_out(np.array([one.number for one in own]), holdout, seed)
        watched = [own[i] for i in held]
        own = [own[i] for i in kept]
    else:
        pairs = _readable(split_folder(source, validation))
        if unknown := sorted({label for _, label in pairs} - set(labels)):
            msg = f"{source}/{validation} has labels that training has not: {', '.join(unknown)}"
            raise DataError(msg)
        watched = [
            _Image(path, number[label]) for path, label in pairs if path.relative_to(source).as_posix() not in excluded
        ]
    index = ShardIndex(
        labels=labels,
        hashes={str(root): content_hash(folder) for root, folder in zip(roots, folders, strict=True)},
        train=_write_part("train", [*own, *(one for more in chosen[1:] for one in more)], target, images, seed),
        validation=_write_part("validation", watched, target, images, seed),
    )
    target.write(INDEX, json.dumps({"schema": SCHEMA, **asdict(index)}, indent=1).encode())
    return index


def read_index(source: Storage) -> ShardIndex:
    """Read what lies in a folder of shards.

    Raises:
        DataError: It cannot be read, or is none that `fulldeck data shards` wrote.
    """
    data = source.read(INDEX)
    try:
        found = json.loads(data)
        if found["schema"] != SCHEMA:
            msg = f"{source.shown}/{INDEX} is of schema {found['schema']}, not {SCHEMA}; pack the shards again"
            raise DataError(msg)
        index = ShardIndex(
            tuple(map(_plain_name, found["labels"])),
            {str(folder): str(digest) for folder, digest in found["hashes"].items()},
            *(tuple(_shard(entry) for entry in found[part]) for part in ("train", "validation")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{source.shown}/{INDEX} is damaged ({type(error).__name__}: {error}); pack the shards again"
        raise DataError(msg) from error
    if len(index.labels) < 2 or not index.train or not index.validation:
        msg = f"{source.shown} has nothing to tell apart, to train on or to hold out; pack more images"
        raise DataError(msg)
    return index


def read_shard(source: Storage, shard: Shard) -> bytes:
    """Read one shard, and compare it with what the index says of it.

    Raises:
        DataError: It cannot be read, or is another one.
    """
    data = source.read(shard.name)
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        msg = f"{source.shown}/{shard.name} is not what {INDEX} says: it is damaged, or was changed; pack it again"
        raise DataError(msg)
    return data


def _readable(folder: Path) -> list[tuple[Path, str]]:
    """Find the images of a folder of class folders that decode."""
    found = find_images(folder)

    def decodes(pair: tuple[Path, str]) -> bool:
        try:
            image.load(pair[0], 1)
        except ImageError as error:
            logger.warning("left out: %s", error)
            return False
        return True

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        good = list(_shown(pool.map(decodes, found), f"checking {folder}", len(found)))
    if not any(good):
        msg = f"none of the {len(found)} images in {folder} can be read"
        raise DataError(msg)
    return [pair for pair, readable in zip(found, good, strict=True) if readable]


def _write_part(part: str, images: list[_Image], target: Storage, most: int, seed: int) -> tuple[Shard, ...]:
    """Write some images in a mixed order to shards of nearly the same length."""
    order = np.random.default_rng(seed).permutation(len(images))
    groups = np.array_split(order, -(-len(images) // most))
    there, shards = set(target.names()), []
    for at, group in enumerate(_shown(groups, f"writing {part}", len(groups))):
        data = _pack([images[i] for i in group])
        digest = hashlib.sha256(data).hexdigest()
        shard = Shard(f"{part}-{at:05d}-{digest[:16]}.tar", len(group), len(data), digest)
        if shard.name not in there:
            target.write(shard.name, data)
        shards.append(shard)
    return tuple(shards)


def _pack(images: list[_Image]) -> bytes:
    stream = io.BytesIO()
    with webdataset.TarWriter(stream, user="", group="", mtime=0, encoder=False) as tar:
        for at, one in enumerate(images):
            suffix = one.path.suffix.lower().lstrip(".")
            data = image.read_bytes(one.path)
            tar.write({"__key__": f"{at:06d}", suffix: data, "cls": str(one.number).encode()})
    return stream.getvalue()


def _shown(items: Any, what: str, total: int) -> Any:
    return track(items, what, total, transient=True, console=Console(stderr=True), disable=not sys.stderr.isatty())


def _shard(entry: dict[str, Any]) -> Shard:
    shard = Shard(str(entry["name"]), int(entry["images"]), int(entry["bytes"]), str(entry["sha256"]))
    if not _NAME.fullmatch(shard.name) or shard.images < 1:
        msg = f"{shard.name!r} of {shard.images} images is no shard"
        raise ValueError(msg)
    return shard


def _plain_name(label: object) -> str:
    """Refuse a label that would lead elsewhere as a folder's name."""
    if not isinstance(label, str) or not label or label.startswith(".") or re.search(r"[/\\:\0]", label):
        msg = f"{label!r} is no label"
        raise ValueError(msg)
    return label
