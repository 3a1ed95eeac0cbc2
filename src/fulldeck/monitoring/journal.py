"""A file in which one process leaves records and from which another takes them, through memory that both map.

What is left there is in the system's cache of the file, so it outlives both processes at once, and who leaves it calls
neither the system nor the other, and waits for nobody. It outlives the machine once the system has written the file.
"""

import mmap
import os
import struct
import sys
import time
import zlib
from pathlib import Path

from fulldeck.monitoring.entry import HEAD

CAPACITY = 4 * 2**20
"""So many bytes of records may wait: some seconds of what one service can answer."""

CLOSING_SECONDS = 0.1
"""Whoever takes a journal over from a process that has ended lets this pass between closing and reading it, so that
whoever was leaving something at that moment has either done so or sees that it is closed."""

PARTIAL_SUFFIX = ".part"
"""Of a file that is being written, and gets its own name once it is whole."""

_VERSION = 1
_NUMBER = struct.calcsize("Q")
_VERSION_AT, _WRITTEN, _TAKEN, _CLOSED = range(4)
_START = 4 * _NUMBER  # of the records, which go round from the end of the file to here


class Journal:
    """One such file. One thread of one process leaves records, and one of another takes them.

    Args:
        path: the file, which :meth:`create` made.

    Raises:
        OSError: it cannot be used, or is no journal of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        file = os.open(path, os.O_RDWR)
        try:
            self._memory = mmap.mmap(file, 0, **_populated())
        except ValueError as error:  # it is empty
            raise OSError(f"{path} is no journal") from error
        finally:
            os.close(file)
        self._capacity = len(self._memory) - _START
        if self._capacity <= 0 or self._capacity % _NUMBER:
            raise OSError(f"{path} is no journal")
        self._numbers = memoryview(self._memory).cast("Q")  # each is read and written as a whole
        if self._numbers[_VERSION_AT] != _VERSION:
            raise OSError(f"{path} is no journal of this version")

    @classmethod
    def create(cls, path: Path, capacity: int = CAPACITY) -> "Journal":
        """Make one; the disk has given all its bytes when this returns, as who writes to memory cannot be told later.

        Args:
            path: a file that is not there yet.
            capacity: bytes for records, a multiple of 8.

        Raises:
            OSError: it cannot be made, and is not there.
        """
        partial = path.with_suffix(PARTIAL_SUFFIX)  # one that was killed here leaves no journal that cannot be read
        try:
            with partial.open("xb") as file:
                file.write(_VERSION.to_bytes(_NUMBER, sys.byteorder))
                file.write(bytes(_START - _NUMBER + capacity))
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        return cls(path)

    @property
    def waiting(self) -> int:
        """So many bytes of records wait."""
        return max(0, self._numbers[_WRITTEN] - self._numbers[_TAKEN])

    def put(self, records: bytes) -> bool:
        """Leave whole records: all of them, or none if there is no room or the journal is closed."""
        numbers = self._numbers
        written = numbers[_WRITTEN]
        if numbers[_CLOSED] or written - numbers[_TAKEN] + len(records) > self._capacity:
            return False
        start = _START + written % self._capacity
        rest = len(self._memory) - start
        if len(records) <= rest:
            self._memory[start : start + len(records)] = records
        else:
            self._memory[start:] = records[:rest]
            self._memory[_START : _START + len(records) - rest] = records[rest:]
        numbers[_WRITTEN] = written + len(records)
        # If it has just been closed, they may not be read any more; that they are kept twice does no harm.
        return not numbers[_CLOSED]

    def peek(self) -> list[bytes]:
        """The whole records that wait, oldest first; they do so until they are released.

        They end before the first whose checksum is wrong: a processor may show another's writes in another order, and
        then it is right the next time.
        """
        data = self.rest()
        records = []
        at = 0
        while at + HEAD.size <= len(data):
            length, checksum = HEAD.unpack_from(data, at)
            end = at + HEAD.size + length
            if not length or end > len(data) or zlib.crc32(memoryview(data)[at + HEAD.size : end]) != checksum:
                break
            records.append(data[at:end])
            at = end
        return records

    def rest(self) -> bytes:
        """All bytes that wait, as they are."""
        taken = self._numbers[_TAKEN]
        count = min(max(0, self._numbers[_WRITTEN] - taken), self._capacity)
        start = _START + taken % self._capacity
        first = self._memory[start : start + count]
        return first + self._memory[_START : _START + count - len(first)]

    def release(self, count: int) -> None:
        """Forget the oldest bytes, so many: they are elsewhere now."""
        self._numbers[_TAKEN] += count

    def close_for_good(self) -> None:
        """Let nobody leave anything any more, and wait until all know that: for who reads it when its owner is gone."""
        self._numbers[_CLOSED] = 1
        time.sleep(CLOSING_SECONDS)

    def unmap(self) -> None:
        """Let go of the memory; the file stays."""
        self._numbers.release()
        self._memory.close()


def _populated() -> dict[str, int]:
    """What has all pages there from the start, so that nobody waits for one later, where the system can do that."""
    populate = getattr(mmap, "MAP_POPULATE", None)
    return {} if populate is None else {"flags": mmap.MAP_SHARED | populate}
