"""The workers of one model: processes that do the tasks, and threads of this process while there are none.

A service answers as soon as its own model is loaded; its processes come a little later. One that is killed is started
again, and what it was given is done by another: only a task under which two have ended is given up.
"""

import asyncio
import json
import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from http import HTTPStatus
from itertools import count
from time import perf_counter
from typing import IO, Any, cast

from fulldeck.inference.recognizer import Recognizer
from fulldeck.serving.child import Child
from fulldeck.serving.messages import framed
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem
from fulldeck.serving.work import Outcome, Task, from_plain, perform
from fulldeck.serving.worker import Board

logger = logging.getLogger(__name__)

MOST_LIVES = 2
"""A task is given up when so many workers have ended under it: it may be what ends them."""

MOST_FAILURES = 5
"""After so many workers in a row that ended before they did anything, threads of this process do the work."""

_numbers = count(1)


class Job:
    """A task that somebody waits for.

    Attributes:
        task: the task.
        future: is done when it is, with its outcome or an error.
        number: tells it from all others of this process.
        ended: so many workers have ended under it.
        board: what is shared with the worker that has it; None while a thread, or nobody, has.
        abandoned: nobody waits for it any more.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.number = next(_numbers)
        self.ended = 0
        self.board: Board | None = None
        self.abandoned = False
        self._decoding: tuple[int, float] | None = None

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self.abandoned = True
        if self.board is not None and not self.future.done():
            self.board.abandon(self.number)

    def decode(self, index: int | None) -> None:
        """A thread decodes this file of it from now on."""
        self._decoding = None if index is None else (index, perf_counter())

    def decoding(self) -> tuple[int, float] | None:
        """The file that is being decoded, by its place among the request's, and since when."""
        if self.future.done():
            return None
        return self._decoding if self.board is None else self.board.decoding(self.number)

    def finish(self, answer: Outcome | BaseException) -> None:
        """Tell those who wait."""
        if self.future.done():
            return
        if isinstance(answer, BaseException):
            self.future.set_exception(answer)
            self.future.exception()  # nobody may be left who asks for it
        else:
            self.future.set_result(answer)


class Crew:
    """Those who work with one model.

    Args:
        recognizer: the model.
        size: so many processes; 0 for none.
        threads: do the work while there are none.
        metrics: where lost workers are counted.
    """

    def __init__(self, recognizer: Recognizer, size: int, threads: Executor, metrics: Metrics) -> None:
        self.recognizer = recognizer
        self._threads = threads
        self._metrics = metrics
        self._workers: list[_Worker] = []
        self._leaving: list[_Worker] = []  # those who were let go, and get nothing more
        self._parked: list[Job] = []  # what must not be done in this process
        self._failures = 0
        self._closing = False
        self._hiring: set[asyncio.Task[None]] = set()
        for _ in range(size):
            self._advertise()

    def processes(self) -> list[int]:
        """Their ids."""
        return [worker.process.pid for worker in self._workers]

    def submit(self, task: Task) -> Job:
        """Have a task done."""
        job = Job(task)
        self._place(job)
        return job

    def close(self) -> None:
        """Take on nobody any more; there will be no further task, and :meth:`closed` is to be waited for."""
        self._closing = True
        if not self._parked:
            for task in self._hiring:
                task.cancel()
            self._hiring.clear()

    async def closed(self) -> None:
        """Let the processes go when they have done what somebody waits for, and wait until they are gone."""
        while self._hiring or any(worker.wanted() for worker in self._workers):
            self._let_go([worker for worker in self._workers if not worker.jobs])
            await asyncio.sleep(0.05)
        self._let_go(list(self._workers))
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in self._leaving))

    def _let_go(self, workers: list["_Worker"]) -> None:
        for worker in workers:
            self._workers.remove(worker)
            self._leaving.append(worker)
            worker.leave()

    def _advertise(self) -> None:
        # In no request's course, though one may have brought it about: what is logged of a worker is not that one's.
        self._hiring.add(asyncio.create_task(self._hire(), context=Context()))

    def _place(self, job: Job) -> None:
        if self._workers:
            min(self._workers, key=lambda worker: len(worker.jobs)).give(job)
        elif job.ended and self._hiring:
            self._parked.append(job)
        elif job.ended:
            job.finish(_lost())
        else:
            self._in_thread(job)

    def _in_thread(self, job: Job) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            answer: Outcome | BaseException
            try:
                answer = perform(self.recognizer, job.task, job)
            except BaseException as error:  # noqa: BLE001  (it is raised where the answer is waited for)
                answer = error
            if not loop.is_closed():  # the service has ended meanwhile
                loop.call_soon_threadsafe(job.finish, answer)

        self._threads.submit(work)

    async def _hire(self) -> None:
        """Start a worker, and again while it ends before it is ready."""
        while self._failures < MOST_FAILURES and (self._parked or not self._closing):
            worker = _Worker(self._ended)
            try:
                await worker.load(self.recognizer)
                worker.take_on()
            except (OSError, EOFError, ValueError) as error:
                self._failures += 1
                if self._failures == MOST_FAILURES:
                    reason = str(error) or "it ends at once"
                    logger.error("no worker process can be started (%s): threads do the work", reason)  # noqa: TRY400
                await asyncio.to_thread(worker.end)
                continue
            except asyncio.CancelledError:
                worker.leave()
                asyncio.get_running_loop().run_in_executor(None, worker.end)
                raise
            self._workers.append(worker)
            break
        if current := asyncio.current_task():
            self._hiring.discard(current)
        parked, self._parked = self._parked, []
        for job in parked:
            self._place(job)

    def _ended(self, worker: "_Worker") -> None:
        """A worker that was ready has gone."""
        jobs = list(worker.jobs)
        worker.jobs.clear()
        if worker in self._leaving:
            for job in jobs:  # nobody waits for these
                job.finish(_lost())
            return
        self._workers.remove(worker)
        if not self._closing or (jobs and not self._workers):
            logger.warning("a worker process has ended, and is started again")
            self._metrics.worker_restarts.inc()
            self._failures = 0 if worker.busy else self._failures + 1
            self._advertise()
        asyncio.get_running_loop().run_in_executor(None, worker.end)
        for at, job in enumerate(jobs):
            job.board = None
            job.ended += not at  # what it was busy with; the others had only been sent to it
            if job.ended >= MOST_LIVES:
                job.finish(_lost())
            else:
                self._place(job)


class _Worker(Child):
    """One process, as the service sees it: what it is given it does in that order.

    Attributes:
        jobs: what it has been given.
        busy: whether it has done anything.
    """

    def __init__(self, ended: Callable[["_Worker"], None]) -> None:
        super().__init__()
        self.jobs: deque[Job] = deque()
        self.busy = False
        self._taken_on = False
        self._ended = ended
        self._board: Board | None = None

    async def load(self, recognizer: Recognizer) -> None:
        """Start it, and wait until it can work.

        Raises:
            OSError: it cannot be started.
            EOFError: it has ended.
            ValueError: it cannot use the model's file, or has found another one there.
        """
        with _memory() as memory:
            memory.truncate(Board.SIZE)
            self._board = Board(memory.fileno())
            model = json.dumps([str(recognizer.classifier.path), _text(recognizer.locator_path)])
            told = await self.start("fulldeck.serving.worker", [model], [memory.fileno()])
        if told != recognizer.info:
            self.leave()
            raise ValueError(told if isinstance(told, str) else "the model's file is another one by now")

    def take_on(self) -> None:
        """Let it belong to the crew, which is told of its end from now on.

        Raises:
            EOFError: it has ended already.
        """
        if self.gone:
            raise EOFError
        self._taken_on = True

    def give(self, job: Job) -> None:
        """Have it do a job, when it has done those before."""
        self.jobs.append(job)
        job.board = self._board
        self.send(framed((job.number, *job.task.to_plain())))
        if job.abandoned:
            job.abandon()

    def told(self, message: Any) -> None:
        """Take what it has done."""
        if self.jobs:  # or it was let go before it was ready
            self.busy = True
            self.jobs.popleft().finish(message if isinstance(message, BaseException) else from_plain(message))

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended, or was let go."""
        super().connection_lost(error)
        if self._taken_on:
            self._ended(self)

    def wanted(self) -> bool:
        """Whether somebody waits for anything that it was given."""
        return any(not job.abandoned for job in self.jobs)


def _memory() -> IO[bytes]:
    """A file to be shared with a process; on Linux one that needs no folder, which a container may not have."""
    in_memory = getattr(os, "memfd_create", None)
    if in_memory is not None:
        return os.fdopen(in_memory("fulldeck-board"), "w+b")
    return cast("IO[bytes]", tempfile.TemporaryFile())


def _text(path: Any) -> str | None:
    return None if path is None else str(path)


def _lost() -> Problem:
    detail = "the processes that worked on this have ended: one of its files may be what ends them"
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "worker-lost", detail, headers={"Retry-After": "1"})
