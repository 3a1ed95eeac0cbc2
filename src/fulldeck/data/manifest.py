"""What a dataset folder holds, file by file, and one hash that stands for all of it.

This module reads and hashes bytes; it does not know what an image shows, nor where a dataset came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fulldeck.errors import DataError
from fulldeck.inference.image import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_NAME = "manifest.json"
_SHOWN_PROBLEMS = 10


@dataclass(frozen=True, order=True)
class FileEntry:
    """One image of a dataset.

    Attributes:
        path: Relative to the dataset, with forward slashes: "train/ace of clubs/001.jpg".
        size: Bytes.
        sha256: Of the file's bytes, 64 hex characters.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What lies in a dataset folder; `manifest.json` is this as JSON.

    Attributes:
        source: Where it came from: a Kaggle handle, a folder, a zip or an address.
        created: ISO 8601, UTC.
        splits: Images a split.
        files: Every readable image, sorted by path.
        problems: What is not as it should be and does not stop the work, one sentence each.
        hash: `combined_hash` of `files`; the same as `content_hash` of the folder when it holds nothing else.
        folder: Where it lies now; not written, so that a dataset can be moved.
        copied: How many files this run wrote; not written either.
    """

    source: str
    created: str
    splits: dict[str, int]
    files: tuple[FileEntry, ...]
    problems: tuple[str, ...]
    hash: str
    folder: Path = field(compare=False)
    copied: int = field(default=0, compare=False)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        fields = {key: value for key, value in asdict(self).items() if key not in {"folder", "copied"}}
        return json.dumps({"schema": 1, **fields}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, folder: Path) -> Manifest:
        """Read the text of the `manifest.json` of `folder`.

        Raises:
            DataError: The text is no manifest.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            if fields.pop("schema") != 1:
                msg = f"{folder / FILE_NAME} is of a schema this version does not read: delete it and fetch again"
                raise DataError(msg)
            files = tuple(FileEntry(**entry) for entry in fields.pop("files"))
            problems = tuple(fields.pop("problems"))
            return cls(**fields, files=files, problems=problems, folder=folder)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"{folder / FILE_NAME} is no manifest: delete it and fetch again ({error})"
            raise DataError(msg) from error

    def summary(self) -> str:
        """A few lines for people: what lies where, what was done, what is wrong."""
        total = sum(self.splits.values())
        done = f"copied {self.copied:,} files" if self.copied else "every file was already there: nothing copied"
        lines = [f"{self.folder}: {total:,} images from {self.source}"]
        lines += [f"  {split:<6}{count:>7,} images" for split, count in self.splits.items()]
        lines += [f"  hash  {self.hash}", f"  {done}"]
        if self.problems:
            lines.append(f"{len(self.problems)} thing{'s' * (len(self.problems) > 1)} to know:")
            lines += [f"  - {problem}" for problem in self.problems[:_SHOWN_PROBLEMS]]
            if (more := len(self.problems) - _SHOWN_PROBLEMS) > 0:
                lines.append(f"  - and {more:,} more, all in {self.folder / FILE_NAME}")
        return "\n".join(lines)


def image_paths(folder: Path) -> list[str]:
    """Every file below a folder with the suffix of an image, as sorted relative paths with forward slashes.

    Hidden files and folders are passed over; links are followed, but never into a folder that they lie in.

    Raises:
        DataError: The folder is not there or may not be read.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder: give one that holds a folder of images a class"
        raise DataError(msg)

    def refuse(error: OSError) -> None:
        msg = f"{error.filename} cannot be read ({error.strerror}): change its permissions"
        raise DataError(msg) from error

    found = []
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = Path(parent).resolve()
        folders[:] = [name for name in folders if not name.startswith(".") and not _leads_up(Path(parent, name), real)]
        found += [
            Path(parent, name).relative_to(folder).as_posix()
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES and Path(parent, name).is_file()
        ]
    return sorted(found, key=_path_key)


def content_hash(folder: Path) -> str:
    """One hash for all images below a folder, on which any two copies of a dataset agree.

    It depends on each image's relative path and bytes, and on nothing else: not on order, time, place, `cards.csv`,
    `manifest.json` or hidden files.

    Returns:
        64 hex characters.

    Raises:
        DataError: The folder is not there, holds no image, or one cannot be read.
    """
    paths = image_paths(folder)
    if not paths:
        msg = f"{folder} holds no image: give a folder that holds a folder of images a class"
        raise DataError(msg)

    def hash_file(path: str) -> str:
        try:
            with (folder / path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            msg = f"{folder / path} cannot be read: {error.strerror}"
            raise DataError(msg) from error

    # Reading and hashing both let other threads run.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return combined_hash(zip(paths, pool.map(hash_file, paths), strict=True))


def combined_hash(files: Iterable[tuple[str, str]]) -> str:
    """Fold (relative path, SHA-256 as hex) of every file into one SHA-256, as hex; their order does not matter."""
    whole = hashlib.sha256()
    for key, digest in sorted((_path_key(path), digest) for path, digest in files):
        # A path holds no zero byte and a digest is always 32 bytes, so no two lists of files look alike.
        whole.update(key + b"\0" + bytes.fromhex(digest))
    return whole.hexdigest()


def write_atomically(path: Path, data: bytes, writer: str = "") -> None:
    """Write a file so that it is there whole or not at all, also when the program is killed halfway.

    Args:
        path: The file.
        data: All of it.
        writer: What tells apart those who may write the same file at once; what a single one leaves when it is killed
            its next try writes over.

    Raises:
        OSError: The disk is full, or the folder may not be written to.
    """
    part = path.with_name(f".{path.name}{writer}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _path_key(path: str) -> bytes:
    # macOS stores é as two characters and Linux as one: the same name must sort and hash alike on both.
    return unicodedata.normalize("NFC", path).encode("utf-8", "surrogateescape")


def _leads_up(path: Path, parent: Path) -> bool:
    """Whether this is a link to a folder that `parent` is in, which would never end."""
    return path.is_symlink() and parent.is_relative_to(path.resolve())


def data_hash(hashes: dict[str, str]) -> str:
    """Make one hash of several datasets', whatever they are called and in whatever order; of one, its own."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256("".join(sorted(hashes.values())).encode()).hexdigest()
