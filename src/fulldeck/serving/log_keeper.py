"""The prediction log as the service sees it: a process of its own keeps it, and this one while there is none.

Where that process ends, what it had not kept yet is kept here, and another one is started; what lies in files is taken
over by whoever keeps the log next. So nothing depends on its life.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import Context
from dataclasses import replace
from itertools import count
from typing import NamedTuple

from fulldeck.monitoring.entry import Entry
from fulldeck.monitoring.journal import Journal
from fulldeck.monitoring.prediction_log import REASONS, Figures, PredictionLog, size_of
from fulldeck.serving import logs
from fulldeck.serving.child import Child
from fulldeck.serving.log_messages import Adopt, Begin, First, Keep, Stop, Told
from fulldeck.serving.messages import framed

logger = logging.getLogger(__name__)

MOST_FAILURES = 5
"""After so many processes in a row that ended before they kept anything, threads of this one keep the log."""

AGAIN_SECONDS = 0.5
"""The pause after the first of them; it doubles each time."""

GRACE_SECONDS = 1.0
"""How long what this process was keeping may take to lie in files before it is written to the database from here."""

RETIRE_SECONDS = 5.0
"""How long this process goes on bringing entries to the database once another one keeps the log."""

_NOTHING = Figures(
    queue_entries=0, spill_bytes=0, written=0, failures=0, lost=dict.fromkeys(REASONS, 0), database_up=True
)


class LogKeeper:
    """The log of one app. All but :meth:`figures` belong to the event loop.

    Args:
        open_log: makes a log, here or in another process; it must bear being pickled.
        memory_bytes: so many bytes of entries may wait for the process that keeps the log.
        alone: whether this process is to keep it always.
    """

    def __init__(self, open_log: Callable[[], PredictionLog], memory_bytes: int, alone: bool = False) -> None:
        self._open = open_log
        self._memory_bytes = memory_bytes
        self._alone = alone
        self._log = open_log()
        self._started: set[PredictionLog] = set()
        self._retiring: set[PredictionLog] = set()
        self._process: _LogProcess | None = None
        self._gone = _NOTHING  # the sums of those that keep no more
        self._failures = 0
        self._hiring: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to bring entries to the database, if no process will."""
        if not self._hiring and self._process is None:
            self._start(self._log)

    def hire(self) -> None:
        """Let a process keep the log as soon as it can."""
        if self._alone:
            return
        # In no request's course, though one may have brought it about: what is logged of it is not that one's.
        self._hiring.add(task := asyncio.create_task(self._hire(), context=Context()))
        task.add_done_callback(self._hiring.discard)

    @property
    def process(self) -> int | None:
        """The id of the process that keeps the log; None where this one does."""
        return None if self._process is None else self._process.process.pid

    def put(self, entries: Sequence[Entry]) -> bool:
        """Put entries where they outlive this process from now on, all or none, which never raises.

        Returns:
            Whether that could be done at once. If not, :meth:`keep` takes them.
        """
        if self._process is None or (journal := self._process.journal) is None:
            return False
        try:
            return journal.put(b"".join([entry.to_record() for entry in entries]))
        except Exception:  # noqa: BLE001  (an entry that no file can take, of which the other way tells)
            return False

    def keep(self, entries: Sequence[Entry], kept: Callable[[], None]) -> None:
        """Take entries that found no place at once; this never raises and never waits.

        Args:
            entries: those of some answers.
            kept: is called in the loop when they will outlive this process, or wait in memory for want of that, or
                were lost.
        """
        process = self._process
        if process is None:
            self._keep_here(entries, kept)
        elif process.bytes + size_of(entries) <= self._memory_bytes:
            process.keep(entries, kept)
        else:
            lost = self._gone.lost
            self._gone = replace(self._gone, lost=lost | {"memory-full": lost["memory-full"] + len(entries)})
            kept()

    def figures(self) -> Figures:
        """How the log does, now, or less than a second ago."""
        here = [log.figures() for log in (self._log, *self._retiring)]
        process = self._process
        if process is None:
            return _sum([self._gone, *here])
        there = process.figures
        there = replace(there, queue_entries=max(there.queue_entries, process.entries))
        return replace(_sum([self._gone, *here, there]), database_up=there.database_up)

    async def stop(self, seconds: float) -> None:
        """Bring to the database what can be brought in this time; the rest stays in files for the next start."""
        if self._process is None:
            for task in self._hiring:
                task.cancel()
        if self._hiring:  # what was kept here is not with the process before that is done
            await asyncio.wait(self._hiring, timeout=seconds)
        process, self._process = self._process, None
        left = False
        if process is not None:
            await process.stop(seconds)
            self._take_back(process)
            await asyncio.to_thread(process.end)
            left = process.journal is not None and process.journal.waiting > 0
            process.hang_up()
        for log in (self._log, *self._retiring):
            figures = log.figures()
            # Which no process has taken over.
            if process is None or left or figures.queue_entries or figures.spill_bytes:
                self._start(log)
            await asyncio.to_thread(log.stop, seconds)

    def _keep_here(self, entries: Sequence[Entry], kept: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def tell(_: Future[None]) -> None:
            if not loop.is_closed():  # the service has ended meanwhile
                loop.call_soon_threadsafe(kept)

        self._log.keep(entries).add_done_callback(tell)

    def _start(self, log: PredictionLog) -> None:
        if log not in self._started:
            self._started.add(log)
            log.start()

    async def _hire(self) -> None:
        while self._failures < MOST_FAILURES:
            process = _LogProcess(self._ended)
            try:
                await process.begin(Begin(self._open, logging.getLogger().level, logs.is_json()))
            except (OSError, EOFError):
                self._failures += 1
                await asyncio.to_thread(process.end)
                await asyncio.sleep(AGAIN_SECONDS * 2 ** (self._failures - 1))
            except asyncio.CancelledError:
                process.leave()
                asyncio.get_running_loop().run_in_executor(None, process.end)
                raise
            else:
                former, self._log, self._process = self._log, self._open(), process
                await self._retire(former)
                return
        logger.error("no process can be started to keep the prediction log: threads do that")
        self._start(self._log)

    async def _retire(self, log: PredictionLog) -> None:
        """Let a log of this process go when all that it was given lies in files or in the database."""
        self._retiring.add(log)
        waited = 0.0
        while log.figures().queue_entries:
            await asyncio.sleep(0.05)
            waited += 0.05
            if waited >= GRACE_SECONDS:  # no file takes it
                self._start(log)
        await asyncio.to_thread(log.stop, RETIRE_SECONDS)
        self._forget(log)
        if self._process is not None:
            self._process.send(framed(Adopt()))

    def _forget(self, log: PredictionLog) -> None:
        self._retiring.discard(log)
        self._started.discard(log)
        self._count(log.figures())

    def _count(self, last: Figures) -> None:
        """Add what one has done that keeps no more; what waits is another's by now."""
        self._gone = _sum([self._gone, replace(last, queue_entries=0, spill_bytes=0, database_up=True)])

    def _ended(self, process: "_LogProcess") -> None:
        """The process that kept the log has gone."""
        if process is not self._process:
            return
        self._process = None
        logger.warning("the process that keeps the prediction log has ended, and is started again")
        self._failures = 0 if process.busy else self._failures + 1
        self._take_back(process)
        asyncio.get_running_loop().run_in_executor(None, process.end)
        self.hire()

    def _take_back(self, process: "_LogProcess") -> None:
        """Keep here what a process that is gone has not said to have kept; nothing is written twice by that."""
        self._count(process.figures)
        for entries, kept in process.unkept():
            self._keep_here(entries, kept)


class _Given(NamedTuple):
    """Entries that a process has been given, and who is to be told that it has kept them."""

    entries: Sequence[Entry]
    size: int
    kept: Callable[[], None]


class _LogProcess(Child):
    """The process that keeps the log, as the service sees it.

    Attributes:
        figures: what it last said of itself.
        journal: where entries can be left for it; None where there is no such place.
        bytes: so many bytes of entries that it was sent it has not kept yet.
        entries: so many entries.
        busy: whether it has kept anything.
    """

    def __init__(self, ended: Callable[["_LogProcess"], None]) -> None:
        super().__init__()
        self.figures = _NOTHING
        self.journal: Journal | None = None
        self.bytes = self.entries = 0
        self.busy = False
        self._given: dict[int, _Given] = {}
        self._numbers = count()
        self._ended = ended
        self._end = asyncio.Event()

    async def begin(self, begin: Begin) -> None:
        """Start it, and wait until it can keep entries.

        Raises:
            OSError: it cannot be started.
            EOFError: it has ended.
        """
        path: First = await self.start("fulldeck.serving.log_process", hello=framed(begin))
        if path is not None:
            with contextlib.suppress(OSError):  # entries are sent instead
                self.journal = await asyncio.to_thread(Journal, path)
        if self.gone:
            raise EOFError

    def keep(self, entries: Sequence[Entry], kept: Callable[[], None]) -> None:
        """Have it keep entries."""
        given = _Given(entries, size_of(entries), kept)
        self.bytes += given.size
        self.entries += len(entries)
        self._given[number := next(self._numbers)] = given
        message: Keep = number, [entry.to_plain() for entry in entries]
        self.send(framed(message))

    def told(self, message: Told) -> None:
        """Hear how it does, and what it has kept."""
        if isinstance(message, Figures):
            self.figures = message
            self.busy = self.busy or message.written > 0
            return
        self.busy = True
        given = self._given.pop(message)
        self.bytes -= given.size
        self.entries -= len(given.entries)
        given.kept()

    def unkept(self) -> list[tuple[Sequence[Entry], Callable[[], None]]]:
        """What it has been given and has not said to have kept."""
        return [(given.entries, given.kept) for given in self._given.values()]

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended."""
        super().connection_lost(error)
        self._end.set()
        self._ended(self)

    async def stop(self, seconds: float) -> None:
        """Let it end, and wait for that so long and a little longer."""
        if not self.gone:
            self.send(framed(Stop(seconds)))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._end.wait(), seconds + 1)


def _sum(parts: Sequence[Figures]) -> Figures:
    lost: Counter[str] = Counter()
    for part in parts:
        lost.update(part.lost)
    return Figures(
        queue_entries=sum(part.queue_entries for part in parts),
        spill_bytes=sum(part.spill_bytes for part in parts),
        written=sum(part.written for part in parts),
        failures=sum(part.failures for part in parts),
        lost={reason: lost[reason] for reason in REASONS},
        database_up=all(part.database_up for part in parts),
    )
