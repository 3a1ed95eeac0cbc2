"""A process that works for the service: it loads the model, then does one task after another until it is let go.

So decoding and inference share no interpreter with HTTP, nor with each other, and neither waits for the other's lock.
"""

import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import traceback
from time import perf_counter
from typing import Any

import cv2

from fulldeck.errors import FulldeckError
from fulldeck.garbage import look_for_garbage
from fulldeck.inference.recognizer import CHUNK, Recognizer
from fulldeck.serving import scheduling
from fulldeck.serving.messages import framed, next_message
from fulldeck.serving.model_source import EXAMPLE
from fulldeck.serving.work import Outcome, Progress, Task, classify_together, perform, to_plain

_STATE = struct.Struct("<qqd")
_NUMBER = struct.Struct("<q")
_SLOTS = 64


class Board:
    """A little memory that the service and one worker share: who writes what is fixed, and nobody waits for it.

    Args:
        file: a file descriptor, which must have :data:`SIZE` bytes.
    """

    SIZE = _STATE.size + _SLOTS * _NUMBER.size

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, self.SIZE)

    def decode(self, task: int, index: int | None) -> None:
        """The worker's: it decodes this file of this task from now on; None for none."""
        _STATE.pack_into(self._memory, 0, task, -1 if index is None else index, perf_counter())

    def decoding(self, task: int) -> tuple[int, float] | None:
        """Which file of this task is being decoded, and since when (by the system's monotonic clock)."""
        number, index, since = _STATE.unpack_from(self._memory)
        return (index, since) if number == task and index >= 0 else None

    def abandon(self, task: int) -> None:
        """The service's: nobody waits for this task any more."""
        _NUMBER.pack_into(self._memory, self._slot(task), task)

    def abandoned(self, task: int) -> bool:
        """Whether nobody waits for it."""
        found: tuple[int] = _NUMBER.unpack_from(self._memory, self._slot(task))
        return found[0] == task

    @staticmethod
    def _slot(task: int) -> int:
        return _STATE.size + task % _SLOTS * _NUMBER.size


class _Progress:
    """One task's part of the board."""

    def __init__(self, board: Board, task: int) -> None:
        self._board = board
        self._task = task

    @property
    def abandoned(self) -> bool:
        return self._board.abandoned(self._task)

    def decode(self, index: int | None) -> None:
        self._board.decode(self._task, index)


def _work(connection: socket.socket, board: Board, recognizer: Recognizer) -> None:
    further: tuple[int, Task] | None = None
    while True:
        group = [further or _next(connection)]
        further = None
        # What has come meanwhile is inferred at once: that costs less than one picture after the other.
        while further is None and _may_grow(group) and _has_come(connection):
            task = _next(connection)
            if _may_grow([*group, task], most=CHUNK):
                group.append(task)
            else:
                further = task
        done = answers(recognizer, [(task, _Progress(board, number)) for number, task in group])
        # At once, so that the service wakes up once for all of them.
        connection.sendall(b"".join(framed(to_plain(one) if isinstance(one, Outcome) else one) for one in done))


def _next(connection: socket.socket) -> tuple[int, Task]:
    number, *task = next_message(connection)
    return number, Task(*task)


def _may_grow(group: list[tuple[int, Task]], most: int = CHUNK - 1) -> bool:
    """Whether all of a group are to be classified, and their pictures are no more than so many."""
    images = sum(len(task.files) for _, task in group)
    return images <= most and all(task.what == "classify" for _, task in group)


def _has_come(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


def answers(recognizer: Recognizer, work: list[tuple[Task, Progress]]) -> list[Any]:
    """Do tasks, several only if all are to be classified: an outcome or an error for each."""
    if len(work) > 1:
        try:
            return list(classify_together(recognizer, work))
        except Exception:  # noqa: BLE001  (one of them is at fault, and the others shall not suffer for it)
            return [answer for one in work for answer in answers(recognizer, [one])]
    [(task, progress)] = work
    try:
        return [perform(recognizer, task, progress)]
    except FulldeckError as error:
        return [error]
    except Exception:  # noqa: BLE001  (a fault of ours, which the service logs under the request's id)
        return [RuntimeError(traceback.format_exc())]


def main() -> None:
    """Work until the other end of the socket is closed: ``worker SOCKET BOARD MODEL`` and the locator, or null."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is the service that ends, and lets its workers go
    scheduling.be_nice(scheduling.WORKERS)
    connection = socket.socket(fileno=int(sys.argv[1]))
    board = Board(int(sys.argv[2]))
    cv2.setNumThreads(1)  # as the model has one: the cores are the other workers' and the service's
    try:
        recognizer = _loaded(connection)
        if recognizer is not None:
            _work(connection, board, recognizer)
    except (EOFError, ConnectionError):
        pass
    os._exit(0)  # nothing is left to do, and to take everything down takes time


def _loaded(connection: socket.socket) -> Recognizer | None:
    """The model, of which the service is told; None where it cannot be used, which it is told, too."""
    model, locator = json.loads(sys.argv[3])
    try:
        recognizer = Recognizer(model, threads=1, locator=locator)
        recognizer.open_locator()
        recognizer.classify(EXAMPLE.read_bytes())  # the first time takes longer
    except Exception as error:  # noqa: BLE001  (a stack trace of this process says nothing to a user)
        connection.sendall(framed(f"{type(error).__name__}: {error}"))
        return None
    look_for_garbage()
    connection.sendall(framed(recognizer.info))
    return recognizer


if __name__ == "__main__":
    main()
