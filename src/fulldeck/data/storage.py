"""Files in a folder or in a bucket, by one set of functions: whole files in, whole files out.

An address is a path, or what fsspec understands: gs://bucket/folder. Whatever is written is there whole or not at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fulldeck.data.manifest import write_atomically
from fulldeck.errors import DataError
from fulldeck.remote import open_storage, public_address


class MissingError(DataError):
    """There is no such file."""


@dataclass(frozen=True)
class Storage:
    """A folder, or a bucket's folder. It can be pickled, and used in another process.

    Attributes:
        address: As the user gave it.
    """

    address: str

    @property
    def shown(self) -> str:
        """The address without what is secret in it."""
        return public_address(self.address)

    @property
    def folder(self) -> Path | None:
        """The folder; None for a bucket."""
        return None if "://" in self.address else Path(self.address).expanduser()

    def names(self) -> list[str]:
        """Every file below, as sorted relative paths with forward slashes; none where there is no such folder.

        Hidden files and folders are passed over.

        Raises:
            DataError: The storage cannot be reached.
        """
        with self._told("listed"):
            filesystem, root = self._opened()
            filesystem.invalidate_cache()  # other processes write, too
            found = filesystem.find(root)
        relative = (path[len(root) :].lstrip("/") for path in found)
        return sorted(name for name in relative if name and not any(part.startswith(".") for part in name.split("/")))

    def has(self, name: str) -> bool:
        """Whether there is such a file.

        Raises:
            DataError: The storage cannot be reached.
        """
        with self._told("read", name):
            filesystem, root = self._opened()
            filesystem.invalidate_cache()
            return bool(filesystem.exists(f"{root}/{name}"))

    def read(self, name: str, most: int | None = None) -> bytes:
        """Read a whole file, or a byte more than ``most`` of one that is larger.

        Raises:
            MissingError: There is no such file.
            DataError: The storage cannot be reached, or does not give it.
        """
        with self._told("read", name):
            filesystem, root = self._opened()
            data: bytes = filesystem.cat_file(f"{root}/{name}", end=None if most is None else most + 1)
            return data

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file, in place of one that may be there.

        Raises:
            DataError: The storage cannot be written to.
        """
        with self._told("written", name):
            if self.folder is not None:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, data, writer=f".{uuid4().hex[:8]}")
                return
            filesystem, root = self._opened()
            filesystem.pipe_file(f"{root}/{name}", data)  # object stores show an object once all of it has come

    def _opened(self) -> tuple[Any, str]:
        filesystem, root = open_storage(self.address if self.folder is None else str(self.folder))
        return filesystem, root.rstrip("/")

    @contextmanager
    def _told(self, done: str, name: str = "") -> Iterator[None]:
        """Turn whatever a storage raises into one sentence."""
        at = f"{self.shown.rstrip('/')}/{name}" if name else self.shown
        try:
            yield
        except ImportError as error:
            msg = f"{at} needs another package ({error}): pip install 'fulldeck[scale]' brings gs://"
            raise DataError(msg) from error
        except Exception as error:  # each storage has errors of its own, and they share no class
            if isinstance(error, FileNotFoundError) and done != "written":
                msg = f"{at} is not there"
                raise MissingError(msg) from error
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            msg = f"{at} cannot be {done} ({reason}): check the address, and that you may"
            raise DataError(msg) from error
