"""Takes what was answered and brings it to the database, in threads of its own: nobody who asks ever waits for that.

An entry goes into the spill first, which outlives the process, and is written to the database from there. Where the
spill takes nothing (its disk is full, or its limit is reached) entries wait in memory, up to a bound, and only past
that are they lost: counted, by reason. Another process may leave them in a journal, from which they are collected.
"""

import contextlib
import logging
import random
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal

from fulldeck.monitoring.entry import HEAD, Entry

if TYPE_CHECKING:
    from fulldeck.monitoring.spill import Spill
    from fulldeck.monitoring.store import Store

logger = logging.getLogger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)  # what it says at every start is of no use to anybody

BATCH = 500
BATCH_BYTES = 8 * 2**20
"""So many entries, or bytes of them, go to the database at once."""

MEMORY_BYTES = 32 * 2**20
"""So much may wait in memory."""

GATHER_SECONDS = 0.2
"""How long entries gather after the first, so that a commit is worth its while."""

LONGEST_PAUSE = 10.0
"""Seconds between two attempts while the database is away, at most; they begin with half a second."""

COLLECT_SECONDS = 0.2
"""How often the journal is looked into."""

ADOPT_SECONDS = 5.0
"""How often files of processes that have ended are looked for."""

Reason = Literal["memory-full", "refused", "damaged", "stopped"]
REASONS: tuple[Reason, ...] = ("memory-full", "refused", "damaged", "stopped")
"""Why an entry is lost: nowhere was there room for it; it cannot be written, or the database will never take it; it
cannot be read back from a spill file; it was in memory alone when the process was stopped, or came after that."""


@dataclass(frozen=True)
class Figures:
    """How the log does.

    Attributes:
        queue_entries: entries in memory, which no file has yet.
        spill_bytes: bytes in files that are still to be brought to the database.
        written: entries brought there since the start; one that was there already counts too.
        failures: attempts to do so that failed.
        lost: entries lost, by reason.
        database_up: whether the last attempt succeeded.
    """

    queue_entries: int
    spill_bytes: int
    written: int
    failures: int
    lost: dict[Reason, int]
    database_up: bool


@dataclass
class _Counts:
    queue_entries: int = 0
    queue_bytes: int = 0
    written: int = 0
    failures: int = 0
    lost: Counter[Reason] = field(default_factory=Counter)
    database_up: bool = True


@dataclass
class _Answers:
    """The entries of some answers that are kept together."""

    entries: list[Entry] = field(default_factory=list)
    size: int = 0
    kept: Future[None] = field(default_factory=Future)


def size_of(entries: Sequence[Entry]) -> int:
    """The bytes for which entries count in memory: those of their embeddings and images."""
    return sum(len(entry.observation.embedding) + len(entry.image or b"") for entry in entries)


class PredictionLog:
    """A log of predictions. It starts with :meth:`start`; :meth:`keep` works before that, too.

    Args:
        url: the database's address; see :class:`fulldeck.monitoring.store.Store`.
        spill: the folder for its spill files. Logs of different databases must not share one.
        spill_bytes: so many bytes may wait in this process's spill files.
        memory_bytes: so many may wait in memory, until those take them or where they take nothing.
    """

    def __init__(self, url: str, spill: Path, spill_bytes: int = 2**30, memory_bytes: int = MEMORY_BYTES) -> None:
        self._url = url
        self._spill_folder = spill
        self._spill_bytes = spill_bytes
        self._memory_bytes = memory_bytes
        self._guard = threading.Lock()
        self._counts = _Counts()
        self._memory: deque[bytes] = deque()  # records that the spill did not take
        self._fresh = _Answers()  # what the keeper takes next
        self._keeping = False  # whether it is at work, and looks for that itself
        self._ended = False
        self._opening = threading.Lock()
        self._spill: Spill | None = None
        self._store: Store | None = None
        self._next_adoption = 0.0
        self._warned = False
        self._left = ""  # the file of another process that cannot be taken over
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="fulldeck-log-keep")
        self._writer = threading.Thread(target=self._write_on, name="fulldeck-log-write", daemon=True)
        self._collector = threading.Thread(target=self._collect_on, name="fulldeck-log-collect", daemon=True)
        self._something = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to bring entries to the database: first those that were left by a process before this one."""
        self._something.set()
        self._writer.start()

    def keep(self, entries: Sequence[Entry]) -> Future[None]:
        """Take the entries of one answer, which never raises and never waits.

        Answers that come while others are being kept are kept together, and have one future.

        Returns:
            What is done when they will outlive this process, or were put into memory for want of that, or were lost.
        """
        with self._guard:
            if (size := self._room(entries)) is None:
                done: Future[None] = Future()
                done.set_result(None)
                return done
            answers = self._fresh
            answers.entries += entries
            answers.size += size
            if not self._keeping:
                self._keeping = True
                self._keeper.submit(self._keep_on)
            return answers.kept

    def keep_now(self, entries: Sequence[Entry]) -> None:
        """Take entries as :meth:`keep` does, and wait until they are kept, which a disk that hangs may take for ever.

        A log whose entries come in this way must get none in the other one.
        """
        with self._guard:
            size = self._room(entries)
        if size is not None:
            self._keep(entries, size)

    def open_journal(self) -> Path | None:
        """A journal in which another process may leave records (:meth:`Entry.to_record`) from now on.

        Returns:
            Its file, for :class:`fulldeck.monitoring.journal.Journal`; None where the disk takes none.
        """
        try:
            journal = self._open_spill().open_journal()
        except Exception as error:  # noqa: BLE001  (as with the spill: whatever it is, there is another way)
            logger.debug("the spill in %s takes no journal: %s", self._spill_folder, error)
            return None
        self._collector.start()
        return journal.path

    def _room(self, entries: Sequence[Entry]) -> int | None:
        """Their bytes in memory, which are counted; None where there is no room for them, and they are lost."""
        size = size_of(entries)
        if self._ended or self._counts.queue_bytes + size > self._memory_bytes:
            self._counts.lost["stopped" if self._ended else "memory-full"] += len(entries)
            return None
        self._counts.queue_entries += len(entries)
        self._counts.queue_bytes += size
        return size

    def adopt_soon(self) -> None:
        """Look now for what other processes left, and not when it is time to."""
        self._next_adoption = 0.0
        self._something.set()

    def stop(self, seconds: float) -> None:
        """Bring to the database what can be brought in this time; the rest stays in the spill for the next start."""
        with self._guard:
            self._ended = True
        self._keeper.shutdown(wait=True)
        self._next_adoption = 0.0
        self._stopping.set()
        self._end_collecting()
        self._something.set()
        if self._writer.ident is not None:
            self._writer.join(seconds)
        else:  # it was never started
            self._close()
        with self._guard:
            left = len(self._memory)
            self._counts.lost["stopped"] += left
            self._memory.clear()
        if left:
            logger.error("the prediction log loses %d entries: neither the database nor its spill takes them", left)

    def figures(self) -> Figures:
        """How the log does, now."""
        with self._guard:
            counts = self._counts
            return Figures(
                queue_entries=counts.queue_entries,
                spill_bytes=self._spill.waiting_bytes if self._spill is not None else 0,
                written=counts.written,
                failures=counts.failures,
                lost={reason: counts.lost[reason] for reason in REASONS},
                database_up=counts.database_up,
            )

    # --- the keeper's thread -----------------------------------------------------------------------------------------

    def _keep_on(self) -> None:
        """Keep what has come, and what comes meanwhile."""
        while True:
            with self._guard:
                if not self._fresh.entries:
                    self._keeping = False
                    return
                answers, self._fresh = self._fresh, _Answers()
            self._keep(answers.entries, answers.size)
            answers.kept.set_result(None)

    def _keep(self, entries: Sequence[Entry], size: int) -> None:
        records = []
        for entry in entries:
            try:
                records.append(entry.to_record())
            except Exception as error:  # noqa: BLE001  (whatever it is, the others, of other answers, are to be kept)
                self._refuse(entry, f"it cannot be written: {error}")
        spilled = self._spilled(records)
        with self._guard:
            self._counts.queue_entries -= len(entries)
            self._counts.queue_bytes -= size
            if not spilled:
                self._remember(records)
        if not self._something.is_set():
            self._something.set()

    def _remember(self, records: Sequence[bytes]) -> None:
        """Let records wait in memory; under the guard."""
        self._memory.extend(records)
        self._counts.queue_entries += len(records)
        self._counts.queue_bytes += sum(map(len, records))

    def _spilled(self, records: Sequence[bytes]) -> bool:
        """Append records to the spill, if it takes them."""
        try:
            self._open_spill().append(b"".join(records))
        except Exception as error:  # noqa: BLE001  (whatever it is, they wait in memory, and nobody is held up)
            logger.debug("the spill in %s takes nothing: %s", self._spill_folder, error)
            return False
        return True

    def _open_spill(self) -> "Spill":
        """The spill, which the thread that needs it first makes.

        Raises:
            OSError: its folder cannot be used.
        """
        with self._opening:
            if self._spill is None:
                # Loaded here, as the store is below, so that a service that starts does not wait for it.
                from fulldeck.monitoring.spill import Spill  # noqa: PLC0415

                self._spill = Spill(self._spill_folder, self._spill_bytes)
            return self._spill

    # --- the collector's thread --------------------------------------------------------------------------------------

    def _collect_on(self) -> None:
        """Take what is left in the journal, until the end and once more."""
        while not self._stopping.wait(COLLECT_SECONDS):
            self._collect()
        self._collect()

    def _end_collecting(self) -> None:
        """Wait until the journal has been looked into for the last time; whoever closes the files must have."""
        if self._collector.ident is not None:
            self._collector.join()

    def _collect(self) -> None:
        journal = self._open_spill().open_journal()
        if not (records := journal.peek()):
            return
        if not self._spilled(records):
            with self._guard:
                # What finds no room stays where it is, where it outlives the process, as all does in the end.
                room = 0 if self._stopping.is_set() else self._memory_bytes - self._counts.queue_bytes
                ends = accumulate(map(len, records))
                records = [record for record, end in zip(records, ends, strict=True) if end <= room]
                self._remember(records)
        journal.release(sum(map(len, records)))
        self._something.set()

    # --- the writer's thread -----------------------------------------------------------------------------------------

    def _write_on(self) -> None:
        pause = 0.0
        stopping = False
        while not stopping:
            if pause:
                self._stopping.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311  (many services, one database)
            elif self._something.wait(ADOPT_SECONDS):
                self._stopping.wait(GATHER_SECONDS)
            stopping = self._stopping.is_set()
            if stopping:
                self._end_collecting()
            self._something.clear()
            try:
                self._bring()
            except Exception as error:  # noqa: BLE001  (whatever it is, it may pass, and nothing is given up meanwhile)
                self._failed(error)
                pause = min(2 * pause or 0.5, LONGEST_PAUSE)
            else:
                self._succeeded()
                pause = 0.0
        self._close()

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
        if self._spill is not None:
            self._spill.close()

    def _bring(self) -> None:
        """Bring all that waits to the database.

        Raises:
            AwayError: it is away; what was not brought still waits.
        """
        while records := self._remembered(BATCH):
            self._write([record[HEAD.size :] for record in records])
            self._forget(len(records))
        try:
            spill = self._open_spill()
        except OSError as error:
            self._warn_of_spill(error)
            return
        if monotonic() >= self._next_adoption:
            self._next_adoption = monotonic() + ADOPT_SECONDS
            self._adopt(spill)
        while batch := spill.read(BATCH, BATCH_BYTES):
            self._write(batch.bodies)
            spill.release(batch)
            if batch.damaged:
                self._lose("damaged", f"{batch.damaged:,} bytes of {batch.segment.path} cannot be read")

    def _write(self, bodies: Sequence[bytes]) -> None:
        if self._store is None:
            from fulldeck.monitoring.store import Store  # noqa: PLC0415

            self._store = Store(self._url)
        entries = []
        for body in bodies:
            try:
                entries.append(Entry.from_body(body))
            except ValueError as error:
                self._lose("damaged", str(error))
        refused = self._store.write(entries) if entries else []
        for entry, reason in refused:
            self._refuse(entry, f"the database does not take it: {reason}")
        with self._guard:
            self._counts.written += len(entries) - len(refused)

    def _failed(self, error: Exception) -> None:
        with self._guard:
            first = self._counts.database_up
            self._counts.database_up = False
            self._counts.failures += 1
        if first:
            logger.warning("the prediction log cannot be written, what is answered waits in its spill: %s", error)
        # It may be away for long, and there may be room again.
        records = self._remembered()
        if records and self._spilled(records):
            self._forget(len(records))
        if self._spill is not None:
            with contextlib.suppress(OSError):
                self._spill.sync()

    def _succeeded(self) -> None:
        with self._guard:
            back = not self._counts.database_up
            self._counts.database_up = True
        if back:
            logger.warning("the prediction log is written again")

    def _remembered(self, most: int | None = None) -> list[bytes]:
        """The oldest records in memory, so many at most; the keeper may add others meanwhile."""
        with self._guard:
            return list(islice(self._memory, most))

    def _forget(self, count: int) -> None:
        """Drop so many of the oldest records in memory: they are elsewhere now."""
        with self._guard:
            for _ in range(count):
                self._counts.queue_entries -= 1
                self._counts.queue_bytes -= len(self._memory.popleft())

    def _refuse(self, entry: Entry, why: str) -> None:
        self._lose("refused", f"{entry.request_id} at {entry.position} ({why})", {"request_id": entry.request_id})

    def _lose(self, reason: Reason, why: str, fields: dict[str, str] | None = None) -> None:
        logger.error("the prediction log loses an entry: %s", why, extra={"fields": fields or {}})
        with self._guard:
            self._counts.lost[reason] += 1

    def _adopt(self, spill: "Spill") -> None:
        """Take over what processes that have ended left; what of it cannot be opened does not hold up the rest."""
        try:
            spill.adopt()
        except OSError as error:
            if str(error) != self._left:  # once, and not each time that it is tried again
                self._left = str(error)
                logger.error("what another process left in the spill cannot be written: %s", error)  # noqa: TRY400

    def _warn_of_spill(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "the prediction log has no spill, so what is not in the database yet does not survive this process "
                "(%s): set FULLDECK_PREDICTIONS_FOLDER to a folder that it may write to",
                error,
            )
