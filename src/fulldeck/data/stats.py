"""What a folder of labelled images holds: counts, balance, sizes, colours, and a sheet of examples to look at.

Any classes will do; cards are not treated differently, but for their order on the sheet. Images are looked at one by
one and only figures are kept, so a large dataset takes little memory.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from fulldeck.cards import LABELS
from fulldeck.data.manifest import content_hash, write_atomically
from fulldeck.errors import DataError, ImageError
from fulldeck.inference.image import SUFFIXES, decode, load, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SPLITS = ("train", "valid", "test")
UNSPLIT = "all"
"""What the one split of a folder without splits is called."""

SHEET_NAME = "contact-sheet.jpg"
STATS_NAME = "stats.json"
_MOST_SIZES = 10


@dataclass(frozen=True)
class Spread:
    """How a quantity is spread over the images of a split."""

    min: float
    median: float
    max: float


@dataclass(frozen=True)
class Balance:
    """How evenly a split's images are shared among all classes of the dataset.

    Attributes:
        min: Images of the rarest class.
        max: Images of the commonest class.
        rarest: Its label; `commonest` likewise.
        commonest: See `rarest`.
        ratio: `max / min`; None where a class has no image.
        entropy: Shannon entropy of the label, in bits; `log2(classes)` when all are equally common.
        evenness: `entropy / log2(classes)`, 0 to 1 (Pielou 1966, https://doi.org/10.1016/0022-5193(66)90013-0).
    """

    min: int
    max: int
    rarest: str
    commonest: str
    ratio: float | None
    entropy: float
    evenness: float


@dataclass(frozen=True)
class SplitStats:
    """The readable images of one split.

    Attributes:
        images: How many.
        classes: Images a label; every label of the dataset is named.
        balance: See `Balance`.
        sizes: The commonest sizes as "width x height" in pixels, upright, and how many images have them.
        distinct_sizes: How many different sizes there are.
        width: Pixels.
        height: Pixels.
        aspect: Width over height.
        file_bytes: Bytes a file.
        total_bytes: Bytes of all files.
        formats: What the bytes are, whatever the file is called, and how many are.
        channel_mean: Of red, green and blue, 0 to 1; every image weighs the same, whatever its size.
        channel_std: Of red, green and blue over pixels, 0 to 1, weighted likewise.
        brightness_mean: Over images, of the mean of all pixels and channels, 0 to 1.
        brightness_std: Of the same over images.
    """

    images: int
    classes: dict[str, int]
    balance: Balance
    sizes: dict[str, int]
    distinct_sizes: int
    width: Spread
    height: Spread
    aspect: Spread
    file_bytes: Spread
    total_bytes: int
    formats: dict[str, int]
    channel_mean: tuple[float, float, float]
    channel_std: tuple[float, float, float]
    brightness_mean: float
    brightness_std: float


@dataclass(frozen=True)
class Stats:
    """What `stats` found and where it wrote it.

    Attributes:
        folder: The dataset.
        out: Where `stats.json` and `contact-sheet.jpg` lie.
        hash: `content_hash` of the dataset.
        labels: All classes, sorted.
        splits: By name, in the order train, valid, test; one called "all" where there are no splits.
        unreadable: What is wrong with each file that does not decode, by its path in the dataset.
    """

    folder: Path
    out: Path
    hash: str
    labels: tuple[str, ...]
    splits: dict[str, SplitStats]
    unreadable: dict[str, str]

    def to_json(self) -> str:
        """The text of `stats.json`."""
        fields = {key: value for key, value in asdict(self).items() if key not in {"folder", "out"}}
        return json.dumps({"schema": 1, **fields}, indent=1, ensure_ascii=False) + "\n"

    def summary(self) -> str:
        """Some lines for people."""
        total = sum(split.images for split in self.splits.values())
        cards = ", the cards" if self.labels == LABELS else ""
        lines = [f"{self.folder}: {total:,} images of {len(self.labels)} classes{cards}", f"  hash {self.hash}"]
        for name, split in self.splits.items():
            sizes = ", ".join(f"{size} ({count:,})" for size, count in list(split.sizes.items())[:3])
            sizes += f" and {split.distinct_sizes - 3:,} more" if split.distinct_sizes > 3 else ""
            formats = ", ".join(f"{count:,} {kind}" for kind, count in split.formats.items())
            least, middle, most = (
                size / 1e3 for size in (split.file_bytes.min, split.file_bytes.median, split.file_bytes.max)
            )
            colour = f"mean {_triple(split.channel_mean)}, std {_triple(split.channel_std)}"
            brightness = f"{split.brightness_mean:.3f} ± {split.brightness_std:.3f}"
            lines.append(f"{name}: {split.images:,} images, {split.total_bytes / 1e6:,.1f} MB")
            lines.append(f"  a class  {_balance_line(split.balance)}")
            lines.append(f"  pixels   {sizes}; aspect {split.aspect.min:.2f} to {split.aspect.max:.2f}")
            lines.append(f"  file     {least:,.1f} to {most:,.1f} kB, median {middle:,.1f}; {formats}")
            lines.append(f"  colour   {colour}; brightness {brightness}")
        if self.unreadable:
            lines.append(f"unreadable: {len(self.unreadable):,}, all in {STATS_NAME}")
            lines += [f"  {path}: {reason}" for path, reason in list(self.unreadable.items())[:5]]
        lines.append(f"written: {self.out / STATS_NAME} and {self.out / SHEET_NAME}")
        return "\n".join(lines)


def stats(folder: Path, out: Path | None = None) -> Stats:
    """Measure a folder of labelled images; write `stats.json` and a contact sheet.

    Args:
        folder: `folder/<split>/<label>/*` or `folder/<label>/*`.
        out: Where to write [default: beside the folder, with "-stats" after its name].

    Raises:
        DataError: The folder is not there, has no class folders, or no image that can be read; or `out` lies inside it
            or cannot be written to.
    """
    found = _find(folder)
    place = folder.resolve()
    out = place.with_name(f"{place.name}-stats") if out is None else out
    if out.resolve().is_relative_to(place):
        msg = f"{out} lies inside the dataset, which it would change: give another folder with --out"
        raise DataError(msg)
    labels = tuple(sorted({label for _, label, _ in found}))
    paths = [(split, label, path) for split, label, files in found for path in files]
    looks: dict[str, list[_Look]] = {split: [] for split, _, _ in found}
    readable: dict[str, list[Path]] = {label: [] for label in labels}
    unreadable: dict[str, str] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda item: _look_at(item[2]), paths)
        shown = track(
            results,
            total=len(paths),
            description="looking at images",
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        for (split, label, path), look in zip(paths, shown, strict=True):
            if isinstance(look, str):
                unreadable[path.relative_to(folder).as_posix()] = look
            else:
                looks[split].append(look)
                readable[label].append(path)
    if not any(looks.values()):
        msg = (
            f"none of the {len(paths):,} images in {folder} can be read, for example: {next(iter(unreadable.values()))}"
        )
        raise DataError(msg)
    splits = {split: _sum_up(seen, labels) for split, seen in looks.items() if seen}
    result = Stats(folder, out, content_hash(folder), labels, splits, unreadable)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / SHEET_NAME, draw_sheet(readable))
        write_atomically(out / STATS_NAME, result.to_json().encode())
    except OSError as error:
        msg = f"{out} cannot be written ({error.strerror}): give another folder with --out"
        raise DataError(msg) from error
    return result


def _find(folder: Path) -> list[tuple[str, str, list[Path]]]:
    """List (split, label, image files) of every class folder."""
    if not folder.is_dir():
        msg = f"{folder} is no folder: give one that holds a folder of images a class"
        raise DataError(msg)
    try:
        splits = [split for split in SPLITS if (folder / split).is_dir()]
        found = [
            (split, child.name, _images(child))
            for split in splits or [UNSPLIT]
            for child in _folders(folder if split == UNSPLIT else folder / split)
        ]
    except OSError as error:
        msg = f"{error.filename} cannot be read ({error.strerror}): change its permissions"
        raise DataError(msg) from error
    if not any(files for _, _, files in found):
        what = "only empty class folders" if found else "no class folders"
        msg = f"{folder} has {what}: expected {folder}/<label>/*.jpg or {folder}/train/<label>/*.jpg"
        raise DataError(msg)
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """The figures kept of one image; means and squares are of red, green and blue, 0 to 1."""

    label: str
    width: int
    height: int
    size: int
    kind: str
    mean: NDArray[np.float64]
    square: NDArray[np.float64]


def _look_at(path: Path) -> _Look | str:
    """Measure one image, or say why it cannot be."""
    try:
        data = read_bytes(path)
        pixels = decode(data, path.name)
    except ImageError as error:
        return str(error)
    mean, std = (channels[:, 0] / 255 for channels in cv2.meanStdDev(pixels))
    height, width = pixels.shape[:2]
    return _Look(path.parent.name, width, height, len(data), _kind(data, path), mean, std**2 + mean**2)


def _kind(data: bytes, path: Path) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.format or path.suffix[1:].upper()
    except (UnidentifiedImageError, OSError):  # HEIC, which Pillow itself does not know
        return path.suffix[1:].upper()


def _sum_up(looks: Sequence[_Look], labels: Sequence[str]) -> SplitStats:
    counts = Counter(look.label for look in looks)
    classes = {label: counts[label] for label in labels}
    sizes = Counter(f"{look.width} x {look.height}" for look in looks)
    means = np.stack([look.mean for look in looks])
    mean = means.mean(axis=0)
    variance = np.stack([look.square for look in looks]).mean(axis=0) - mean**2
    brightness = means.mean(axis=1)
    return SplitStats(
        images=len(looks),
        classes=classes,
        balance=_balance(classes),
        sizes=dict(sizes.most_common(_MOST_SIZES)),
        distinct_sizes=len(sizes),
        width=_spread([look.width for look in looks]),
        height=_spread([look.height for look in looks]),
        aspect=_spread([look.width / look.height for look in looks]),
        file_bytes=_spread([look.size for look in looks]),
        total_bytes=sum(look.size for look in looks),
        formats=dict(Counter(look.kind for look in looks).most_common()),
        channel_mean=_rounded(mean),
        channel_std=_rounded(np.sqrt(np.maximum(variance, 0))),
        brightness_mean=round(float(brightness.mean()), 6),
        brightness_std=round(float(brightness.std()), 6),
    )


def _balance(classes: dict[str, int]) -> Balance:
    rarest = min(classes, key=lambda label: classes[label])
    commonest = max(classes, key=lambda label: classes[label])
    least, most = classes[rarest], classes[commonest]
    counts = np.array([count for count in classes.values() if count], dtype=np.float64)
    shares = counts / counts.sum()
    entropy = max(float(-(shares * np.log2(shares)).sum()), 0.0)
    evenness = entropy / float(np.log2(len(classes))) if len(classes) > 1 else 1.0
    return Balance(
        least, most, rarest, commonest, round(most / least, 6) if least else None, round(entropy, 6), round(evenness, 6)
    )


def _balance_line(balance: Balance) -> str:
    if balance.min == balance.max:
        return f"{balance.min:,} image{'s' * (balance.min != 1)} each"
    ratio = "one or more have none" if balance.ratio is None else f"ratio {balance.ratio:.2f}"
    ends = f"{balance.min:,} ({balance.rarest}) to {balance.max:,} ({balance.commonest})"
    return f"{ends}; {ratio}, evenness {balance.evenness:.3f}"


def _spread(values: Sequence[float]) -> Spread:
    return Spread(*(round(float(value), 6) for value in (np.min(values), np.median(values), np.max(values))))


def _rounded(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 6) for value in values)
    return red, green, blue


def _triple(values: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


_THUMB = 84
_EXAMPLES = 4
_COLUMNS = 4
_CAPTION = 20
_GAP = 12
_MOST_CLASSES = 600  # JPEG ends at 65,535 pixels a side, and eyes end sooner


def draw_sheet(readable: dict[str, list[Path]]) -> bytes:
    """Draw a few examples of every class under its label, as a JPEG.

    Args:
        readable: The image files of each label. The examples are spread evenly over them, so that several splits and
            several sources within one are seen.
    """
    # Without the joker, alphabetical order is one rank a row and one suit a column.
    labels = sorted(readable, key=lambda label: (label == "joker", label))
    shown = labels[:_MOST_CLASSES]
    rows = -(-len(shown) // _COLUMNS)
    columns = min(len(shown), _COLUMNS)
    cell = (_EXAMPLES * _THUMB + _GAP, _CAPTION + _THUMB + _GAP)
    footer = _CAPTION if len(labels) > len(shown) else 0
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP + footer), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for number, label in enumerate(shown):
        left = _GAP + number % _COLUMNS * cell[0]
        top = _GAP + number // _COLUMNS * cell[1]
        caption = f"{_fitting(label, draw, font)}  {len(readable[label]):,}"
        draw.text((left, top), caption, fill="black", font=font)
        for place, thumb in enumerate(_thumbs(readable[label])):
            # Centred in its square: the aspect of the image is kept and can be seen.
            x = left + place * _THUMB + (_THUMB - thumb.width) // 2
            sheet.paste(thumb, (x, top + _CAPTION + (_THUMB - thumb.height) // 2))
    if footer:
        more = f"and {len(labels) - len(shown):,} more classes"
        draw.text((_GAP, sheet.height - footer), more, fill="black", font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _thumbs(paths: Sequence[Path]) -> Iterator[Image.Image]:
    count = min(_EXAMPLES, len(paths))
    for number in range(count):
        pixels = load(paths[number * len(paths) // count])
        scale = (_THUMB - 4) / max(pixels.shape[:2])
        width, height = (max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0]))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        yield Image.fromarray(cv2.resize(pixels, (width, height), interpolation=method))


def _fitting(label: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    room = _EXAMPLES * _THUMB - 60
    if draw.textlength(label, font=font) <= room:
        return label
    average = draw.textlength(label, font=font) / len(label)
    return label[: int(room / average) - 3] + "..."
