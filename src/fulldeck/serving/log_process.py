"""A process that keeps the prediction log for the service, until that lets it go.

A thread of the service could, and does where there is no such process. But what writes to a database gives the
interpreter's lock back and takes it again at every row, and what the two then wait for each other costs several times
what the writing does.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading

from fulldeck.monitoring.entry import Entry
from fulldeck.monitoring.prediction_log import Figures, PredictionLog
from fulldeck.serving import scheduling
from fulldeck.serving.log_messages import Adopt, Begin, First, Stop, Told
from fulldeck.serving.logs import LINE, write_json
from fulldeck.serving.messages import framed, next_message

ORPHAN_SECONDS = 5.0
"""How long it tries to bring entries to the database that are in its memory alone, when the service is no more. What is
in files is left to the next service, and at once, as that is about to come."""

TELL_SECONDS = 0.5
"""How often it tells how it does, where that has changed."""

SWITCH_SECONDS = 0.0005
"""How long the thread that writes to the database may hold the one up that keeps, for which answers wait; Python's own
5 ms are as long as a whole request takes."""


class _Service:
    """The service, as this process sees it."""

    def __init__(self, connection: socket.socket, log: PredictionLog) -> None:
        self._connection = connection
        self._log = log
        self._guard = threading.Lock()
        self._figures: Figures | None = None

    def tell(self, what: First | Told) -> None:
        """Tell it something."""
        with self._guard, contextlib.suppress(OSError):  # it is no more, which the other thread is to find out
            self._connection.sendall(framed(what))

    def tell_figures(self) -> None:
        """Tell it how the log does, if it has not been told."""
        if (figures := self._log.figures()) != self._figures:
            self._figures = figures
            self.tell(figures)

    def tell_on(self) -> None:
        """Tell it how the log does, from time to time."""
        pause = threading.Event()
        while not pause.wait(TELL_SECONDS):
            self.tell_figures()


def main() -> None:
    """Keep what comes until the other end of the socket is closed: ``log_process SOCKET``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is the service that ends, and lets its processes go
    scheduling.be_nice(scheduling.LOG)
    sys.setswitchinterval(SWITCH_SECONDS)
    connection = socket.socket(fileno=int(sys.argv[1]))
    with contextlib.suppress(EOFError, ConnectionError):
        _keep(connection)
    logging.shutdown()
    os._exit(0)  # nothing is left to do, and to take everything down takes time


def _keep(connection: socket.socket) -> None:
    begin: Begin = next_message(connection)
    logging.basicConfig(level=begin.level, format=LINE)
    if begin.json:
        write_json()
    log = begin.open_log()
    service = _Service(connection, log)
    service.tell(log.open_journal())
    service.tell_figures()
    log.start()
    threading.Thread(target=service.tell_on, daemon=True).start()
    seconds = None
    with contextlib.suppress(EOFError, ConnectionError):
        while not isinstance(message := next_message(connection), Stop):
            if isinstance(message, Adopt):
                log.adopt_soon()
                continue
            number, entries = message
            log.keep_now([Entry.from_plain(entry) for entry in entries])
            service.tell(number)
        seconds = message.seconds
    if seconds is None:
        seconds = ORPHAN_SECONDS if log.figures().queue_entries else 0.0
    log.stop(seconds)
    service.tell_figures()


if __name__ == "__main__":
    main()
