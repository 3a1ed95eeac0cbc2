"""Files in which records wait for the database, and in which they outlive the process.

Each process writes to files of its own, one after another, and holds a lock as long as it lives. Whoever finds files
without a living owner takes them over. A file is deleted when all of it has been read and released, so a record may be
read again after a crash, but is never left out.
"""

import contextlib
import os
import threading
import uuid
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from fulldeck.monitoring.entry import HEAD
from fulldeck.monitoring.journal import CAPACITY, PARTIAL_SUFFIX, Journal

SEGMENT_BYTES = 8 * 2**20
"""A new file is begun when one has so many bytes: what is read again after a crash is no more than this."""

_BUFFER_BYTES = 2**18  # so many are read at once, as a record has some thousand

SUFFIX = ".spill"
JOURNAL_SUFFIX = ".journal"


class SpillFullError(OSError):
    """The records that wait have as many bytes as they may."""


class _Segment:
    """One file: ``size`` bytes of records are in it, of which the first ``read`` have been read and released."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        self.owner = path.name.partition("-")[0]
        self.file = FileIO(path, mode)
        self.size = os.fstat(self.file.fileno()).st_size
        self.read = 0


@dataclass(frozen=True)
class Batch:
    """Some records of one file.

    Attributes:
        bodies: the records, without their heads.
        damaged: bytes after them that are none, though there was more; the rest of that file cannot be read.
        segment: the file.
        end: where the records end in it.
    """

    bodies: list[bytes]
    damaged: int
    segment: _Segment
    end: int


class Spill:
    """The files of one process, and those that it took over. One thread appends, and one reads.

    Args:
        folder: where they lie; it is made.
        limit: so many bytes may wait in this process's files.

    Raises:
        OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._limit = limit
        self._guard = threading.Lock()
        self._owner = uuid.uuid4().hex
        self._locks = {self._owner: _lock(folder, self._owner)}
        self._locks[self._owner].acquire(timeout=5)
        self._count = 0
        self._own: deque[_Segment] = deque()
        self._inherited: deque[_Segment] = deque()
        self._unsynced: set[_Segment] = set()
        self._journal: Journal | None = None

    @property
    def waiting_bytes(self) -> int:
        """So many bytes wait, those in the journal included."""
        with self._guard:
            journal = self._journal.waiting if self._journal is not None else 0
            return journal + sum(segment.size - segment.read for segment in (*self._inherited, *self._own))

    def open_journal(self, capacity: int = CAPACITY) -> Journal:
        """The journal in which another process leaves records for this one; it is made the first time.

        Whoever takes this process's files over takes what waits in it, too.

        Raises:
            OSError: the disk does not take it.
        """
        if self._journal is None:
            self._journal = Journal.create(self._folder / f"{self._owner}{JOURNAL_SUFFIX}", capacity)
        return self._journal

    def append(self, records: bytes) -> None:
        """Add whole records. When it returns they outlive this process, though not yet the machine: see :meth:`sync`.

        Raises:
            OSError: they could not be added, and nothing of them was: the disk is full, or (SpillFullError) the limit
                is reached.
        """
        with self._guard:
            if sum(segment.size for segment in self._own) + len(records) > self._limit:
                raise SpillFullError(f"the spill has {self._limit:,} bytes already")
            if not self._own or self._own[-1].size >= SEGMENT_BYTES:
                self._count += 1
                path = self._folder / f"{self._owner}-{self._count:08}{SUFFIX}"
                self._own.append(_Segment(path, "x+"))
            segment = self._own[-1]
            rest = memoryview(records)
            try:
                segment.file.seek(segment.size)
                while rest:
                    rest = rest[segment.file.write(rest) :]
            except OSError:
                with contextlib.suppress(OSError):
                    segment.file.truncate(segment.size)
                raise
            segment.size += len(records)
            self._unsynced.add(segment)

    def sync(self) -> None:
        """Put on the disk what was appended since the last time.

        Raises:
            OSError: the disk does not take it.
        """
        with self._guard:
            segments, self._unsynced = self._unsynced, set()
        for segment in segments:
            os.fsync(segment.file.fileno())

    def read(self, most: int, most_bytes: int) -> Batch | None:
        """The oldest records that were not released yet; None where there are none.

        Args:
            most: so many at most.
            most_bytes: no further record once they have so many bytes.
        """
        with self._guard:
            for segment in (*self._inherited, *self._own):
                if segment.read < segment.size:
                    return _parse(segment, most, most_bytes)
        return None

    def release(self, batch: Batch) -> None:
        """Forget a batch that was read: it is in the database."""
        segment = batch.segment
        with self._guard:
            segment.read = segment.size if batch.damaged else batch.end
            if segment.read < segment.size:
                return
            if batch.damaged:
                segment.path.rename(segment.path.with_suffix(".damaged"))
            elif self._own and segment is self._own[-1]:
                segment.file.truncate(0)
                segment.size = segment.read = 0
                return
            else:
                segment.path.unlink(missing_ok=True)
            segment.file.close()
            self._unsynced.discard(segment)
            (self._own if segment in self._own else self._inherited).remove(segment)
            if segment.owner != self._owner and not any(s.owner == segment.owner for s in self._inherited):
                self._unlock(segment.owner)

    def adopt(self) -> int:
        """Take over the files of processes that have ended; so many.

        Raises:
            OSError: one cannot be opened, and is left where it is; all others were taken over.
        """
        found = 0
        errors: list[OSError] = []
        suffixes = {SUFFIX, JOURNAL_SUFFIX, PARTIAL_SUFFIX}
        left = [path for path in self._folder.glob("*") if path.suffix in suffixes]
        for owner in sorted({path.stem.partition("-")[0] for path in left}):
            if owner in self._locks:
                continue
            lock = _lock(self._folder, owner)
            try:
                lock.acquire(timeout=0)
            except Timeout:  # it lives
                continue
            except OSError as error:
                errors.append(error)
                continue
            self._locks[owner] = lock
            try:
                journal = self._folder / f"{owner}{JOURNAL_SUFFIX}"
                for partial in (journal, _emptied(journal)):  # a copy, or of nothing
                    partial.with_suffix(PARTIAL_SUFFIX).unlink(missing_ok=True)
                self._empty_journal(journal)
            except OSError as error:
                errors.append(error)
                self._unlock(owner)  # its other files, too, are for the next attempt
                continue
            segments = list(_open_all(sorted(self._folder.glob(f"{owner}-*{SUFFIX}")), errors))
            with self._guard:
                self._inherited.extend(segments)
            found += len(segments)
            if not segments:
                self._unlock(owner)
        if errors:
            raise errors[0]
        return found

    def _empty_journal(self, path: Path) -> None:
        """Put what waits in the journal of a process that has ended into a file of its own, after that one's others."""
        if not path.exists():
            return
        journal = Journal(path)
        try:
            journal.close_for_good()
            rest = journal.rest()
        finally:
            journal.unmap()
        if rest:
            whole = _emptied(path)
            partial = whole.with_suffix(PARTIAL_SUFFIX)
            partial.write_bytes(rest)
            partial.replace(whole)
        path.unlink()  # where this is not come to, what was in it is read twice

    def close(self) -> None:
        """Let go of all files; what still waits in them is for the next process."""
        with self._guard:
            if self._journal is not None:
                if not self._journal.waiting:
                    self._journal.path.unlink(missing_ok=True)
                self._journal.unmap()
                self._journal = None
            for segment in (*self._inherited, *self._own):
                segment.file.close()
                if segment.read == segment.size:
                    segment.path.unlink(missing_ok=True)
            self._inherited.clear()
            self._own.clear()
        for owner in list(self._locks):
            self._unlock(owner)

    def _unlock(self, owner: str) -> None:
        lock = self._locks.pop(owner)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _lock(folder: Path, owner: str) -> FileLock:
    return FileLock(folder / f"{owner}.lock", thread_local=False)


def _emptied(journal: Path) -> Path:
    """The file for what waited in a journal whose process has ended."""
    return journal.with_name(f"{journal.stem}-journal{SUFFIX}")


def _open_all(paths: list[Path], errors: list[OSError]) -> Iterator[_Segment]:
    """The files that hold anything; one of nothing is deleted, and why one cannot be opened is noted."""
    for path in paths:
        try:
            segment = _Segment(path, "r+")
        except OSError as error:
            errors.append(error)
            continue
        if segment.size:
            yield segment
        else:
            segment.file.close()
            path.unlink(missing_ok=True)


def _parse(segment: _Segment, most: int, most_bytes: int) -> Batch:
    """Read records from where the last ones ended."""
    file = BufferedReader(segment.file, _BUFFER_BYTES)
    try:
        file.seek(segment.read)
        return _records(file, segment, most, most_bytes)
    finally:
        file.detach()  # or it would be closed with the buffer


def _records(file: BinaryIO, segment: _Segment, most: int, most_bytes: int) -> Batch:
    """One that is cut off ends the file: its writer was killed by it."""
    bodies: list[bytes] = []
    at = segment.read
    damaged = taken = 0
    while len(bodies) < most and taken < most_bytes and at < segment.size:
        head = file.read(HEAD.size)
        length, checksum = HEAD.unpack(head) if len(head) == HEAD.size else (0, 0)
        if len(head) < HEAD.size or at + HEAD.size + length > segment.size:
            at = segment.size
            break
        body = file.read(length)
        if not length or zlib.crc32(body) != checksum:
            damaged = segment.size - at
            break
        bodies.append(body)
        at += HEAD.size + length
        taken += length
    return Batch(bodies, damaged, segment, at)
