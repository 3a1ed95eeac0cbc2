"""Keeps a service alive: it works in a child process, and is started again where that is killed or crashes.

The parent does next to nothing, so next to nothing can befall it: it holds the socket, on which clients wait meanwhile,
passes signals on, and waits. A service that ends by itself, with whatever exit code, is not started again.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from types import FrameType
from typing import NamedTuple

from fulldeck.errors import FulldeckError

logger = logging.getLogger(__name__)

SHORT_SECONDS = 10.0
MOST_SHORT = 5
"""After so many children in a row that lived no longer than this, there is no use in another one."""


class KilledError(FulldeckError):
    """The service was killed again and again."""


class Life(NamedTuple):
    """What a child knows of its life.

    Attributes:
        line: a file descriptor whose end can be read when the parent is no more; None where there is no parent.
        number: how many children there were before it.
    """

    line: int | None
    number: int


def keep_alive(listener: socket.socket) -> Life:
    """Go on in a child process; the parent stays in here, and ends with the child's exit code.

    Args:
        listener: what the service listens on.

    Returns:
        In the child; or in this process, where there are no children.

    Raises:
        SystemExit: in the parent, when the service has ended.
        KilledError: in the parent.
    """
    if not hasattr(os, "fork"):
        return Life(None, 0)
    line, held = os.pipe()
    parent = _Parent(listener)
    number = short = 0
    while True:
        begin = time.monotonic()
        if not parent.fork():
            os.close(held)
            return Life(line, number)
        number += 1
        code = parent.wait()
        if code >= 0 or parent.ending:
            raise SystemExit(code if code >= 0 else 128 - code)  # as shells tell of a signal
        name = signal.Signals(-code).name
        short = short + 1 if time.monotonic() - begin < SHORT_SECONDS else 0
        if short >= MOST_SHORT:
            raise KilledError(f"the service was killed {short} times in a row, the last time by {name}")
        logger.error("the service was killed by %s, and is started again", name)


class _Parent:
    """The process that waits.

    Attributes:
        ending: whether the service was asked to end.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.ending = False
        self._listener = listener
        self._child = 0
        self._signals = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]

    def fork(self) -> int:
        """Start a child; 0 in the child itself."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)  # until it is known to whom they go
        try:
            self._child = os.fork()
            for number in self._signals:
                # To a child that is loading its model, SIGHUP says nothing new.
                own = signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL
                signal.signal(number, self._pass_on if self._child else own)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
        return self._child

    def wait(self) -> int:
        """The child's exit code; minus the signal by which it was killed."""
        _, status = os.waitpid(self._child, 0)
        return os.waitstatus_to_exitcode(status)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGHUP:
            self.ending = True
            self._listener.close()  # or clients could still knock while the child lets nobody in any more
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self._child, number)
