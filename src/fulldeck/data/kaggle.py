"""The Kaggle playing-cards dataset: brought, checked file by file, laid in place, and written down in a manifest.

https://www.kaggle.com/datasets/gpiosenka/cards-image-datasetclassification (CC0). Its layout is
`train|valid|test/<label>/*.jpg` and a `cards.csv` with a row an image.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from fulldeck.cards import LABELS
from fulldeck.data.manifest import FILE_NAME, FileEntry, Manifest, combined_hash, write_atomically
from fulldeck.data.source import Member, open_source
from fulldeck.errors import DataError, ImageError
from fulldeck.inference.image import SUFFIXES, decode
from fulldeck.remote import public_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

logger = logging.getLogger(__name__)

HANDLE = "gpiosenka/cards-image-datasetclassification"
PUBLISHED = {"train": 7624, "valid": 265, "test": 265}
"""Images a split, as published."""

TABLE = "cards.csv"
NEEDED = ("train", "valid")
"""Splits that must be there: the published `test` is an exam that need not travel along."""

_MAX_FILE_BYTES = 64 * 2**20
_BY_HAND = (
    f"download it by hand from https://www.kaggle.com/datasets/{HANDLE} and give the zip with --from, "
    "or work on drawn decks: fulldeck data render"
)
_CREDENTIALS = (
    "make a token at https://www.kaggle.com/settings (API, Create New Token) and set KAGGLE_USERNAME and KAGGLE_KEY, "
    f"or put the kaggle.json it gives you into ~/.kaggle; or {_BY_HAND}"
)


def fetch(out: Path, source: str | None = None) -> Manifest:
    """Bring the dataset to a folder, check it and write its manifest.

    It may be interrupted and repeated: each file appears whole or not at all, files already there are compared and
    kept, and a run that finds everything in place writes nothing.

    Args:
        out: Where it is laid: `out/train/<label>/*.jpg`, ..., `out/cards.csv`, `out/manifest.json`.
        source: A folder or zip in the Kaggle layout, also one folder down, or the address of such a zip; None downloads
            from Kaggle. When it is `out` itself, it is only checked.

    Raises:
        DataError: It cannot be brought, has not the 53 classes in train and valid, or cannot be written to `out`.
    """
    if source is None:
        folder = _download()
        source, origin = str(folder), f"kaggle:{HANDLE}/versions/{folder.name}"
    else:
        origin = public_address(source)
    known = _read_manifest(out)
    with open_source(source) as members:
        root = _find_root(members, origin)
        images, table, rest = _choose(members, root)
        _refuse_gaps(images, origin)
        in_place = "://" not in source and _same_folder(Path(source).expanduser() / root, out)
        checked = {file.sha256 for file in known.files} if known else set()
        brought = _bring_all(images, None if in_place else out, checked)
        table_bytes = _read_table(table, origin) if table else b""
    entries = tuple(sorted(result.entry for result in brought if result.entry))
    _refuse_gaps({entry.path for entry in entries}, origin)
    copied = sum(result.copied for result in brought)
    if table and not in_place:
        copied += _write_if_new(out / TABLE, table_bytes)

    counts = Counter(entry.path.partition("/")[0] for entry in entries)
    splits = {split: counts[split] for split in PUBLISHED if split in counts}
    problems = [result.problem for result in brought if result.problem]
    problems += _odd_counts(splits)
    problems += _odd_rows(table_bytes, set(images)) if table else [f"{origin} has no {TABLE}; nothing here needs it"]
    if rest and not in_place:
        problems.append(f"not taken from the source, as no images of the layout: {_some(rest)}")
    if extra := _extra_files(out, set(images) if in_place else {entry.path for entry in entries}):
        problems.append(
            f"in {out} but not of this dataset, and left alone (training would read images): {_some(extra)}"
        )

    manifest = Manifest(
        source=origin,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        splits=splits,
        files=entries,
        problems=tuple(problems),
        hash=combined_hash((entry.path, entry.sha256) for entry in entries),
        folder=out,
        copied=copied,
    )
    if known and replace(manifest, created=known.created) == known:
        return replace(manifest, created=known.created)
    with _writing(out):
        write_atomically(out / FILE_NAME, manifest.to_json().encode())
    return manifest


def _download() -> Path:
    """Let kagglehub download into its cache, which goes on where an interrupted download stopped."""
    import kagglehub  # type: ignore[import-untyped]  # noqa: PLC0415 - of the extra "train", and slow to import
    import requests  # noqa: PLC0415 - kagglehub's own
    from kagglehub.exceptions import CredentialError, UnauthenticatedError  # type: ignore[import-untyped]  # noqa: PLC0415

    # kagglehub logs to standard output, which is for our answers; let the program's own logging decide.
    library = logging.getLogger("kagglehub")
    for handler in [*library.handlers]:
        library.removeHandler(handler)
    library.propagate = True
    library.setLevel(logging.NOTSET)
    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except (UnauthenticatedError, CredentialError) as error:
        msg = f"Kaggle wants to know who asks ({error}): {_CREDENTIALS}"
        raise DataError(msg) from error
    except requests.HTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        if status in {401, 403}:
            msg = f"Kaggle refused the download ({status}), for want of credentials or with wrong ones: {_CREDENTIALS}"
        else:
            msg = f"Kaggle could not give the dataset (HTTP {status}): try again later, or {_BY_HAND}"
        raise DataError(msg) from error
    except requests.RequestException as error:
        msg = f"Kaggle could not be reached ({type(error).__name__}): check the network, or {_BY_HAND}"
        raise DataError(msg) from error
    except (
        Exception
    ) as error:  # a broken kaggle.json, a damaged archive, a full disk: kagglehub's errors share no class
        msg = f"the download from Kaggle failed ({type(error).__name__}: {error}): {_CREDENTIALS}"
        raise DataError(msg) from error


def _find_root(members: list[Member], origin: str) -> str:
    """Find where the split folders lie: at the top (""), or in one folder below it."""
    parts = [PurePosixPath(member.path).parts for member in members]
    if any(len(part) == 3 and part[0] in PUBLISHED for part in parts):
        return ""
    roots = sorted({part[0] for part in parts if len(part) == 4 and part[1] in PUBLISHED})
    if not roots:
        msg = f"{origin} has not the Kaggle layout: it needs train/<label>/*.jpg and valid/<label>/*.jpg"
        raise DataError(msg)
    if len(roots) > 1:
        msg = f"{origin} holds several datasets ({', '.join(roots)}): give the folder of one"
        raise DataError(msg)
    return roots[0]


def _choose(members: list[Member], root: str) -> tuple[dict[str, Member], Member | None, list[str]]:
    """Part the members below the root into images of the layout by path, the table, and the paths of the rest."""
    images: dict[str, Member] = {}
    table, rest = None, []
    for member in members:
        path = PurePosixPath(member.path)
        if root and path.parts[0] != root:
            rest.append(member.path)
            continue
        path = path.relative_to(root)
        match path.parts:
            case (split, label, name) if split in PUBLISHED and label in LABELS and _is_image(name):
                images[path.as_posix()] = member
            case (name,) if name == TABLE:
                table = member
            case (name,) if name == FILE_NAME:
                pass  # an earlier fetch's manifest says nothing about this one
            case _:
                rest.append(member.path)
    return images, table, rest


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _refuse_gaps(paths: Iterable[str], origin: str) -> None:
    """Raise DataError where a split that is needed, or that is there, has no image of some class."""
    there = {tuple(path.split("/")[:2]) for path in paths}
    splits = {split for split, _ in there}
    for split in PUBLISHED:
        if split not in splits and split not in NEEDED:
            continue
        missing = [label for label in LABELS if (split, label) not in there]
        if missing:
            msg = f"{origin} has no readable image of {len(missing)} of the 53 cards in {split}: {_some(missing)}"
            raise DataError(msg)


@dataclass(frozen=True)
class _Brought:
    """What became of one image: an entry, or the sentence that says why not."""

    entry: FileEntry | None = None
    problem: str | None = None
    copied: bool = False


def _bring_all(images: dict[str, Member], out: Path | None, checked: set[str]) -> list[_Brought]:
    """Check every image and write it below `out` (None: it lies there already), several at a time.

    Args:
        images: By path relative to the dataset.
        out: The dataset folder.
        checked: SHA-256 of images an earlier run has decoded, which saves doing it again.
    """
    if out:
        with _writing(out):
            for folder in sorted({(out / path).parent for path in images}):
                folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda path: _bring(images[path], path, out, checked), images)
        shown = track(
            results,
            total=len(images),
            description="checking images",
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        return list(shown)


def _bring(member: Member, path: str, out: Path | None, checked: set[str]) -> _Brought:
    if member.size > _MAX_FILE_BYTES:
        return _Brought(problem=f"left out: {path}: {member.size:,} bytes are too many for a card")
    try:
        data = member.read()
    except OSError as error:
        return _Brought(problem=f"left out: {path}: it cannot be read ({error.strerror})")
    digest = hashlib.sha256(data).hexdigest()
    if digest not in checked:
        try:
            decode(data, path)
        except ImageError as error:
            return _Brought(problem=f"left out: {error}")
    copied = _write_if_new(out / path, data) if out else False
    return _Brought(FileEntry(path, len(data), digest), copied=copied)


def _read_table(table: Member, origin: str) -> bytes:
    if table.size > _MAX_FILE_BYTES:
        msg = f"{TABLE} of {origin} has {table.size:,} bytes, too many for a table of cards: remove it"
        raise DataError(msg)
    try:
        return table.read()
    except OSError as error:
        msg = f"{TABLE} of {origin} cannot be read ({error.strerror}): change its permissions"
        raise DataError(msg) from error


def _write_if_new(path: Path, data: bytes) -> bool:
    """Write a file unless these very bytes are there; returns whether it was written."""
    with _writing(path):
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
        write_atomically(path, data)
    return True


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}): free some space, or give another folder with --out"
        raise DataError(msg) from error


def _odd_counts(splits: dict[str, int]) -> list[str]:
    odd = []
    for split, published in PUBLISHED.items():
        if split not in splits:
            odd.append(f"there is no {split} split (published: {published:,} images); nothing here needs it")
        elif splits[split] != published:
            odd.append(f"{split} has {splits[split]:,} images; the published dataset has {published:,}")
    return odd


def _odd_rows(table: bytes, paths: set[str]) -> list[str]:
    """Compare the rows of cards.csv with the images that are there; rows of an absent split are no fault."""
    try:
        rows = [
            (row["filepaths"].replace("\\", "/"), row["labels"])
            for row in csv.DictReader(io.StringIO(table.decode("utf-8-sig"), newline=""))
        ]
    except (ValueError, KeyError, AttributeError, csv.Error) as error:
        return [f"{TABLE} is no table with the columns filepaths and labels ({type(error).__name__}); it is not used"]
    splits = {path.partition("/")[0] for path in paths}
    named = {path for path, _ in rows}
    broken = [path for path, _ in rows if path not in paths and path.partition("/")[0] in {*splits, *NEEDED}]
    wrong = [path for path, label in rows if path in paths and path.split("/")[1] != label]
    problems = []
    if broken:
        problems.append(f"rows of {TABLE} that name no image ({len(broken):,}): {_some(broken)}")
    if wrong:
        problems.append(f"rows of {TABLE} whose label is not the image's folder ({len(wrong):,}): {_some(wrong)}")
    if unnamed := sorted(paths - named):
        problems.append(f"images that no row of {TABLE} names ({len(unnamed):,}): {_some(unnamed)}")
    return problems


def _extra_files(out: Path, expected: set[str]) -> list[str]:
    """Every file below `out`, hidden ones aside, that this dataset did not put there."""
    extra = []
    for parent, folders, files in os.walk(out):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found = (Path(parent, name).relative_to(out).as_posix() for name in files if not name.startswith("."))
        extra += [path for path in found if path not in expected and path not in {TABLE, FILE_NAME}]
    return sorted(extra)


def _same_folder(one: Path, other: Path) -> bool:
    return one.is_dir() and other.is_dir() and one.samefile(other)


def _read_manifest(out: Path) -> Manifest | None:
    try:
        return Manifest.from_json((out / FILE_NAME).read_text(encoding="utf-8"), out)
    except (OSError, UnicodeDecodeError, DataError):
        return None  # a manifest that is missing or broken is simply written anew


def _some(names: list[str], most: int = 5) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
