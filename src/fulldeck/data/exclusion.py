"""The list of images that training leaves out: written by the audit, edited by people, honoured by the data module.

A list is CSV with a header ``path,reason``. A plain text file with a path a line will do as well. Paths are relative to
the dataset, with forward slashes: ``train/ace of clubs/001.jpg``. Empty lines and lines that begin with # are nothing.
"""

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from fulldeck.data.manifest import write_atomically
from fulldeck.errors import ConfigError

HEADER = ("path", "reason")
_SHOWN = 5


def write_exclusions(file: Path, reasons: Mapping[str, str]) -> None:
    """Write a list, with the reason for each path.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(sorted(reasons.items()))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        msg = f"{file} cannot be written ({error.strerror}): give another file"
        raise ConfigError(msg) from error


def read_exclusions(file: Path, folder: Path) -> frozenset[str]:
    """Read a list.

    Args:
        file: the list.
        folder: the dataset; each path must name a file in it.

    Returns:
        The paths, relative to the dataset.

    Raises:
        ConfigError: the list cannot be read, or names a file that the dataset has not.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}): give a list of `fulldeck data audit --exclude-out`"
        raise ConfigError(msg) from error
    try:
        rows = [row for row in csv.reader(StringIO(text, newline="")) if row and row[0].strip()]
    except csv.Error as error:
        msg = f"{file} is no list of paths ({error}): give one of `fulldeck data audit --exclude-out`"
        raise ConfigError(msg) from error
    if rows and tuple(cell.strip().lower() for cell in rows[0][:2]) == HEADER:
        rows = rows[1:]
    paths = {row[0].strip() for row in rows if not row[0].startswith("#")}
    if unknown := sorted(path for path in paths if not _is_in(folder, path)):
        more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        msg = (
            f"{file} names what {folder} does not hold: {', '.join(unknown[:_SHOWN])}{more}; "
            f"its paths are relative to {folder}"
        )
        raise ConfigError(msg)
    return frozenset(paths)


def _is_in(folder: Path, path: str) -> bool:
    """Whether a relative path with forward slashes names a file, and none outside the folder."""
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        return False
    return (folder / path).is_file()
