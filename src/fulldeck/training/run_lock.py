"""Who trains in a run's folder: one process at a time, and as long as it lives.

The lock is the operating system's, so it is gone with its process, however that ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fulldeck.errors import ConfigError

FILE = ".lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run's folder to this process.

    Raises:
        ConfigError: another process is training in it.
    """
    lock = FileLock(folder / FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        msg = f"{folder} is being trained by another process; wait for it, or stop it first"
        raise ConfigError(msg) from None
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Say whether a process is training in a run's folder."""
    if not (folder / FILE).is_file():
        return False
    try:
        with FileLock(folder / FILE, timeout=0):
            return False
    except Timeout:
        return True
