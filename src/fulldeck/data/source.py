"""Files from wherever a user has them: a folder, a zip, or the address of a zip in a cloud's storage.

This module knows nothing about cards or layouts. A zip is taken for hostile until it has been looked through.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from fulldeck.errors import DataError
from fulldeck.remote import open_storage, public_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

# The published dataset unpacks to some 8,000 images and two Keras models, about 0.5 GB in all. These bounds leave
# room for bigger sets of the same kind and stop a zip that would fill a disk.
MAX_ZIP_FILES = 200_000
MAX_ZIP_BYTES = 8 * 2**30
_MAX_DEPTH = 4  # folders above a file that anyone may want: outer/split/label/file
_CHUNK = 2**20


@dataclass(frozen=True)
class Member:
    """One file of a source.

    Attributes:
        path: Relative to the source, with forward slashes.
        size: Bytes.
        read: Gives the bytes; may be called from any thread. Raises OSError where the disk does, and DataError for a
            damaged zip.
    """

    path: str
    size: int
    read: Callable[[], bytes]


@contextmanager
def open_source(source: str) -> Iterator[list[Member]]:
    """List the files of a folder, of a zip, or of a zip at an address such as gs://bucket/cards.zip.

    Hidden files are left out, and what lies deeper than `outer/split/label/file`.

    Raises:
        DataError: There is no such thing, it may not be read, it is neither a folder nor a sound zip, or the zip holds
            names that lead elsewhere, links, locked files or more than it should.
    """
    if "://" in source:
        with tempfile.TemporaryDirectory(prefix="fulldeck-") as folder:
            archive = Path(folder, "download.zip")
            _download(source, archive)
            with _open_zip(archive, public_address(source)) as members:
                yield members
        return
    path = Path(source).expanduser()
    if path.is_dir():
        yield _folder_members(path)
    elif path.is_file():
        with _open_zip(path, source) as members:
            yield members
    else:
        msg = f"{source} is not there: give a folder, a zip, or an address such as gs://bucket/cards.zip"
        raise DataError(msg)


def _folder_members(folder: Path) -> list[Member]:
    def refuse(error: OSError) -> None:
        msg = f"{error.filename} cannot be read ({error.strerror}): change its permissions"
        raise DataError(msg) from error

    members = []
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _MAX_DEPTH - 1 else []
        for name in sorted(files):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                members.append(Member(path.relative_to(folder).as_posix(), path.stat().st_size, path.read_bytes))
    return members


@contextmanager
def _open_zip(path: Path, name: str) -> Iterator[list[Member]]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        msg = f"{name} is no zip, or a damaged one ({error}): bring it again, or give the unpacked folder"
        raise DataError(msg) from error
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}"
        raise DataError(msg) from error
    with archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        _refuse_hostile(infos, name)
        yield [
            Member(info.filename, info.file_size, _zip_reader(archive, info, name))
            for info in infos
            if not any(part.startswith((".", "__MACOSX")) for part in info.filename.split("/"))
        ]


def _refuse_hostile(infos: list[zipfile.ZipInfo], name: str) -> None:
    for info in infos:
        path = PurePosixPath(info.filename)
        # orig_filename still has the backslashes that zipfile turns into slashes on Windows.
        windows = PureWindowsPath(info.orig_filename)
        if path.is_absolute() or ".." in path.parts or windows.drive or windows.root or ".." in windows.parts:
            msg = f"{name} holds a file that would lie outside of it ({info.orig_filename!r}): do not trust this zip"
            raise DataError(msg)
        if stat.S_ISLNK(info.external_attr >> 16):
            msg = f"{name} holds a link ({info.filename!r}), which is not followed: pack the files themselves"
            raise DataError(msg)
        if info.flag_bits & 1:
            msg = f"{name} is locked with a password: unpack it yourself and give the folder"
            raise DataError(msg)
    # The sizes are what the zip claims, but reading stops at the claim, so it cannot lie to any effect.
    total = sum(info.file_size for info in infos)
    if len(infos) > MAX_ZIP_FILES or total > MAX_ZIP_BYTES:
        msg = (
            f"{name} would unpack to {len(infos):,} files and {total / 2**30:,.1f} GiB, more than the "
            f"{MAX_ZIP_FILES:,} and {MAX_ZIP_BYTES / 2**30:,.0f} GiB allowed: unpack it yourself and give the folder"
        )
        raise DataError(msg)


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
            msg = f"{name} is damaged at {info.filename!r} ({error}): bring it again, or give the unpacked folder"
            raise DataError(msg) from error

    return read


def _download(address: str, target: Path) -> None:
    shown = public_address(address)
    try:
        storage, path = open_storage(address)
        logger.info("downloading %s", shown)
        console = Console(stderr=True)
        with (
            storage.open(path, "rb") as remote,
            target.open("wb") as local,
            Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress,
        ):
            task = progress.add_task("downloading", total=getattr(remote, "size", None))
            while chunk := remote.read(_CHUNK):
                local.write(chunk)
                progress.advance(task, len(chunk))
    except ImportError as error:
        msg = (
            f"reading {shown} needs another package ({error}): pip install 'fulldeck[cloud]' brings gs:// and https://"
        )
        raise DataError(msg) from error
    except FileNotFoundError as error:
        msg = f"{shown} is not there, or not reached: check the network and the address, which must be that of a zip"
        raise DataError(msg) from error
    except Exception as error:  # each storage has errors of its own, and they share no class
        msg = f"{shown} cannot be read ({type(error).__name__}: {error}): check the address and your sign-in there"
        raise DataError(msg) from error
