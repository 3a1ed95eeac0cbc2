"""``fulldeck data audit``: the faults of a labelled folder itself, before a model learns them.

It finds; it changes nothing. What a picture shows it learns from :mod:`fulldeck.data.duplicates` and, where there is an
embedding, from :mod:`fulldeck.data.label_check`; it knows splits and labels, and nothing of cards.
"""

import hashlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from fulldeck.data import duplicates, label_check
from fulldeck.data.embedding import Embedding, embed
from fulldeck.data.findings import KINDS, Audit, Finding
from fulldeck.data.layout import SPLITS
from fulldeck.data.manifest import content_hash, image_paths
from fulldeck.errors import DataError, ImageError
from fulldeck.inference import image
from fulldeck.inference.cores import available_cores

UNSPLIT = "all"
MANY, FEW = 2.0, 0.5
"""A label is out of balance with more than twice or less than half the images of the median label."""

_BLANK = 2.0  # grey levels of standard deviation: nothing is drawn on it
_NARROW = 2.0  # times as wide or as high for its other side as the median image
_SMALL = 0.25  # of the median image's shorter side
_LEAST_IMAGES = 2 * label_check.FOLDS

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the dataset: where it is, relative to it, and what that says of it."""

    path: str
    split: str
    label: str


@dataclass
class _Looks:
    """What was seen of the readable images, in the order of ``items``; ``thumbs`` is uint8 [N, SIDE, SIDE, 3]."""

    items: list[Item]
    thumbs: NDArray[np.uint8]
    byte_hashes: list[bytes] = field(default_factory=list)
    pixel_hashes: list[bytes] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)


def audit(folder: Path, embedding: Embedding | None = None) -> Audit:
    """Look for faults in ``folder/<split>/<label>/*`` or ``folder/<label>/*``.

    A file that cannot be read is a finding and stops nothing.

    Args:
        folder: the dataset.
        embedding: what to judge labels and outliers by; None to leave those two out.

    Raises:
        DataError: the folder is not there, or holds no image in class folders that can be read.
    """
    items, empty = find_items(folder)
    with (
        tempfile.TemporaryDirectory(prefix="fulldeck-audit-") as scratch,
        Progress(transient=True, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar,
    ):
        findings, looks = _look(folder, items, Path(scratch), bar)
        if not looks.items:
            msg = f"none of the {len(items):,} images in {folder} can be read, for example: {findings[0].detail}"
            raise DataError(msg)
        same, groups = _same_pictures(looks, bar)
        findings += same
        accuracy, notes = None, []
        if embedding is not None:
            notes += _cautions(folder, embedding)
            doubts, accuracy, more = _doubts(folder, looks.items, groups, embedding, bar)
            findings += doubts
            notes += more
        findings += _odd_pixels(looks)
        findings += _imbalance(looks.items, empty)
        # The map is closed before its folder goes: Windows deletes no open file.
        thumbs, looks.thumbs = looks.thumbs, np.empty(0, dtype=np.uint8)
        del thumbs
    order = list(KINDS)
    return Audit(
        folder=folder,
        hash=content_hash(folder),
        images=dict(Counter(item.split for item in looks.items)),
        labels=len({item.label for item in items} | {label for _, label in empty}),
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.kind))),
        embedding=embedding.name if embedding else None,
        accuracy=accuracy,
        notes=tuple(notes),
    )


def page_path(folder: Path) -> Path:
    """Say where the page of an audit goes when nobody says: beside the dataset."""
    place = folder.resolve()
    return place.with_name(f"{place.name}-audit") / "audit.html"


def find_items(folder: Path) -> tuple[list[Item], list[tuple[str, str]]]:
    """List the images of a dataset, and the (split, label) of class folders without any.

    Raises:
        DataError: the folder is not there, may not be read, or holds no image in a class folder.
    """
    splits = [split for split in SPLITS if (folder / split).is_dir()]
    places = {split: folder / split for split in splits} or {UNSPLIT: folder}
    items, empty = [], []
    for split, place in places.items():
        found = [path.partition("/")[::2] for path in image_paths(place) if "/" in path]
        items += [Item((place / label / rest).relative_to(folder).as_posix(), split, label) for label, rest in found]
        empty += [(split, label) for label in sorted(_class_folders(place) - {label for label, _ in found})]
    if not items:
        msg = f"{folder} holds no images; expected {folder}/<label>/*.jpg or {folder}/train/<label>/*.jpg"
        raise DataError(msg)
    return items, empty


def _class_folders(place: Path) -> set[str]:
    return {child.name for child in place.iterdir() if child.is_dir() and not child.name.startswith(".")}


def _each(work: Callable[[T], R], things: Sequence[T], bar: Progress, what: str) -> Iterator[R]:
    """Do the work on each in threads, in order; an interruption starts nothing more."""
    task = bar.add_task(what, total=len(things))
    pool = ThreadPoolExecutor(available_cores())
    try:
        for result in pool.map(work, things):
            yield result
            bar.advance(task)
    finally:
        pool.shutdown(cancel_futures=True)


# What the files say


def _look(folder: Path, items: list[Item], scratch: Path, bar: Progress) -> tuple[list[Finding], _Looks]:
    """Decode every image once; say which cannot be."""
    shape = (len(items), duplicates.SIDE, duplicates.SIDE, 3)
    store = np.lib.format.open_memmap(scratch / "thumbs.npy", mode="w+", dtype=np.uint8, shape=shape)
    looks = _Looks([], store[:0])
    findings = []

    def see(item: Item) -> tuple[bytes, bytes, tuple[int, int], NDArray[np.uint8]] | str:
        try:
            data = image.read_bytes(folder / item.path)
            pixels = image.decode(data, item.path)
        except ImageError as error:
            return str(error).removeprefix(f"{folder / item.path}: ").removeprefix(f"{item.path}: ")
        seen = hashlib.sha256(pixels.tobytes() + repr(pixels.shape).encode())
        height, width = pixels.shape[:2]
        return hashlib.sha256(data).digest(), seen.digest(), (width, height), duplicates.thumbnail(pixels)

    for item, seen in zip(items, _each(see, items, bar, "looking at images"), strict=True):
        if isinstance(seen, str):
            findings.append(Finding("unreadable", (item.path,), seen))
            continue
        by_bytes, by_pixels, size, thumb = seen
        store[len(looks.items)] = thumb
        looks.items.append(item)
        looks.byte_hashes.append(by_bytes)
        looks.pixel_hashes.append(by_pixels)
        looks.sizes.append(size)
    looks.thumbs = store[: len(looks.items)]
    return findings, looks


def _same_pictures(looks: _Looks, bar: Progress) -> tuple[list[Finding], NDArray[np.int64]]:
    """Find the same pictures, exactly and nearly; return also, for each image, the number of its group."""
    count = len(looks.items)
    by_pixels: dict[bytes, list[int]] = {}
    for index, digest in enumerate(looks.pixel_hashes):
        by_pixels.setdefault(digest, []).append(index)
    exact = [group for group in by_pixels.values() if len(group) > 1]
    first = np.array([by_pixels[digest][0] for digest in looks.pixel_hashes], dtype=np.int64)

    task = bar.add_task("comparing them", total=count)
    near = duplicates.near_pairs(looks.thumbs, watch=lambda done: bar.update(task, completed=done))
    near = [(i, j, apart) for i, j, apart in near if first[i] != first[j]]
    bar.update(task, completed=count)

    findings = []
    for group in exact:
        how = "bytes" if len({looks.byte_hashes[index] for index in group}) == 1 else "pixels"
        findings.append(_same([looks.items[index] for index in group], how, 0.0))
    linked = [(i, j) for i, j, _ in near] + [(int(first[index]), index) for index in range(count)]
    groups = duplicates.joined(count, linked)
    number = np.arange(count)
    for group in groups:
        number[group] = group[0]
    closest: dict[int, float] = {}
    for i, _, apart in near:
        group_number = int(number[i])
        closest[group_number] = min(apart, closest.get(group_number, apart))
    findings += [
        _same([looks.items[index] for index in group], "near", closest[group[0]])
        for group in groups
        if len({looks.pixel_hashes[index] for index in group}) > 1
    ]
    rank = {"bytes": 0, "pixels": 1, "near": 2}
    findings.sort(key=lambda finding: (rank[finding.how or "near"], finding.score or 0.0))
    return findings, number


def _same(items: list[Item], how: str, apart: float) -> Finding:
    labels = list(dict.fromkeys(item.label for item in items))
    splits = list(dict.fromkeys(item.split for item in items))
    what = {"bytes": "identical bytes", "pixels": "identical pixels", "near": "nearly the same picture"}[how]
    files = tuple(item.path for item in items)
    if len(labels) > 1:
        return Finding("contradiction", files, f"{what} under {_listed(labels)}", how, score=apart)
    if len(splits) > 1:
        return Finding("leak", files, f"{what} in {_listed(splits)}", how, score=apart)
    return Finding("duplicate", files, f"{what}, {len(items)} times", how, score=apart)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _odd_pixels(looks: _Looks) -> list[Finding]:
    """Find images that show nothing, or whose shape or size is not like the others'."""
    sizes = np.array(looks.sizes, dtype=np.float64)
    aspects, sides = sizes[:, 0] / sizes[:, 1], sizes.min(axis=1)
    aspect, side = float(np.median(aspects)), float(np.median(sides))
    findings = []
    for item, thumb, (width, height), own, shorter in zip(
        looks.items, looks.thumbs, looks.sizes, aspects, sides, strict=True
    ):
        said = []
        if float(cv2.meanStdDev(np.ascontiguousarray(thumb))[1].max()) < _BLANK:
            said.append("it is of one colour all over")
        if max(own / aspect, aspect / own) > _NARROW:
            said.append(f"its shape, {width} x {height}, is unlike the others'")
        if shorter < _SMALL * side:
            said.append(f"it is small: {width} x {height}, where the median image has {side:.0f} at its shorter side")
        if said:
            findings.append(Finding("outlier", (item.path,), "; ".join(said)))
    return findings


def _imbalance(items: list[Item], empty: list[tuple[str, str]]) -> list[Finding]:
    """Find labels that have far fewer or more images than others of their split, or none."""
    counts: dict[str, Counter[str]] = {}
    for item in items:
        counts.setdefault(item.split, Counter())[item.label] += 1
    labels = sorted({item.label for item in items} | {label for _, label in empty})
    findings = []
    for split, of_split in counts.items():
        median = float(np.median([of_split[label] for label in labels]))
        for label in labels:
            own = of_split[label]
            if own == 0 or own < FEW * median or own > MANY * median:
                amount = "no image" if own == 0 else "1 image" if own == 1 else f"{own:,} images"
                where = "" if split == UNSPLIT else f" in {split}"
                findings.append(
                    Finding("imbalance", (), f"{label} has {amount}{where}, where the median label has {median:g}")
                )
    return findings


# What the pictures show


def _cautions(folder: Path, embedding: Embedding) -> list[str]:
    if embedding.learned is None:
        return []
    places = [folder / split for split in SPLITS if (folder / split).is_dir()] or [folder]
    if embedding.learned in {content_hash(place) for place in places}:
        learned = f"{embedding.name} was trained on these images with these labels"
        return [f"{learned}: it has learned the wrong ones, too, and finds fewer of them"]
    return [f"if {embedding.name} was trained on some of these images, it has learned their wrong labels, too"]


def _doubts(
    folder: Path, items: list[Item], groups: NDArray[np.int64], embedding: Embedding, bar: Progress
) -> tuple[list[Finding], float | None, list[str]]:
    """Find labels in doubt and images like no other; the accuracy out of fold; and what there is to say."""
    names = sorted({item.label for item in items})
    number = {label: index for index, label in enumerate(names)}
    targets = np.array([number[item.label] for item in items], dtype=np.int64)
    if len(names) < 2 or len(set(groups.tolist())) < _LEAST_IMAGES:
        return [], None, [f"labels were not checked: that takes 2 labels and {_LEAST_IMAGES} different images"]
    task = bar.add_task("embedding them", total=len(items))
    vectors = []
    try:
        for vector in embed((folder / item.path for item in items), embedding):
            vectors.append(vector)
            bar.advance(task)
    except ImageError as error:
        msg = f"{folder} has changed while it was looked at ({error}): run the audit again"
        raise DataError(msg) from error
    features = label_check.compressed(np.stack([detail for detail, _ in vectors]))

    def track(folds: list[object]) -> Iterable[object]:
        return bar.track(folds, description="judging labels")

    probabilities = label_check.out_of_fold(features, targets, groups, track=track)
    accuracy = float((probabilities.argmax(axis=1) == targets).mean())
    findings = []
    for suspect in label_check.suspects(probabilities, targets):
        item, suggested = items[suspect.index], names[suspect.suggested]
        detail = f"called {item.label} ({suspect.given:.0%}), looks like {suggested} ({suspect.probability:.0%})"
        findings.append(Finding("label", (item.path,), detail, suggested=suggested, score=round(suspect.given, 6)))
    for index, times in label_check.strangers(np.stack([whole for _, whole in vectors])):
        detail = f"it is like no other image: {times:.1f} times as far from its nearest ones as is usual"
        findings.append(Finding("outlier", (items[index].path,), detail, score=round(times, 3)))
    return findings, accuracy, []
