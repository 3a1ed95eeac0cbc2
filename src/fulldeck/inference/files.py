"""From what stands on a command line to the image files that it means: files, folders, patterns and "-".

It looks at names and folders only; whether a file is an image is found out when it is read.
"""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fulldeck.errors import ImageError
from fulldeck.inference.image import SUFFIXES

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """One image to read, or a path that leads to none.

    Attributes:
        name: The file's path as it was given or found; "-" is standard input.
        error: Why there is nothing to read at this path; None where there may be.
    """

    name: str
    error: ImageError | None = None


def find(paths: Iterable[str]) -> Iterator[Source]:
    """Find the images that paths mean, in their order.

    Args:
        paths: Files (whatever their suffix), folders (searched to the bottom for image suffixes, sorted, without
            hidden files), patterns such as ``photos/*.jpg`` or ``photos/**/*.png``, and "-".

    Yields:
        A source an image. A folder or pattern without any, a folder that may not be read, an address, and an empty
        path give one with an error; a path that is not there comes through as it is, for the reader to refuse.
    """
    for path in paths:
        if path == STANDARD_INPUT:
            yield Source(path)
        elif not path:
            yield Source(path, ImageError('"": an empty path leads to no file'))
        elif "://" in path and not os.path.lexists(path):
            yield Source(path, ImageError(f"{path}: this is an address: get the image, and give its file"))
        elif os.path.isdir(path):  # noqa: PTH112 - a str stays as it was typed
            yield from _in_folder(path)
        elif glob.has_magic(path) and not os.path.lexists(path):
            yield from _matching(path)
        else:
            yield Source(path)


def _matching(pattern: str) -> Iterator[Source]:
    found = False
    for path in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - as above
        if not os.path.isdir(path):  # noqa: PTH112
            found = True
            yield Source(path)
        elif "**" not in pattern:  # which finds the files in the folder, too
            found = True
            yield from _in_folder(path)
    if not found:
        yield Source(pattern, ImageError(f"{pattern}: no file matches this pattern"))


def _in_folder(folder: str) -> Iterator[Source]:
    found = False
    refused: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                found = True
                yield Source(os.path.join(parent, name))  # noqa: PTH118
    for error in refused:
        yield Source(str(error.filename), ImageError(f"{error.filename}: the folder cannot be read ({error.strerror})"))
    if not found and not refused:
        yield Source(folder, ImageError(f"{folder}: there are no images in this folder"))
