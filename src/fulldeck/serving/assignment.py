"""The files of one request at work, and those who are to be told what came of them or that they take too long."""

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from time import perf_counter
from typing import Any

from fulldeck.inference.model_file import ModelInfo
from fulldeck.serving.crew import Job
from fulldeck.serving.limits import Upload
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import BadFile, Problem, bad_file, bad_files
from fulldeck.serving.work import Outcome


class Assignment:
    """The files of one request, being worked on.

    Args:
        model: the model that does it.
        uploads: the files.
        jobs: the parts of it.
        decode_seconds: a file may take so long to decode.
        metrics: where the stages are timed, those of what nobody waits for, too.
        leave: is called when all jobs are done, waited for or not.

    Attributes:
        done: is done when all jobs are. A file that takes too long to decode ends it before, with a Problem, 422
            decode-timeout, that names such files.
    """

    def __init__(
        self,
        model: ModelInfo,
        uploads: list[Upload],
        jobs: list[Job],
        *,
        decode_seconds: float,
        metrics: Metrics,
        leave: Callable[[], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.model = model
        self.done: asyncio.Future[None] = loop.create_future()
        self._uploads = uploads
        self._jobs = jobs
        self._left = len(jobs)
        self._limit = decode_seconds
        self._metrics = metrics
        self._leave = leave
        self._late = loop.call_later(decode_seconds, self._look)
        for job in jobs:
            job.future.add_done_callback(self._finished)

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self._late.cancel()
        for job in self._jobs:
            job.abandon()

    def results(self) -> list[Any]:
        """What came of each file, once it is done.

        Raises:
            Problem: a file cannot be used.
        """
        outcomes = [job.future.result() for job in self._jobs]
        bad = [bad_file(error, self._uploads[at].name, at) for outcome in outcomes for at, error in outcome.bad]
        if bad:
            raise self._refusal(bad)
        return [result for outcome in outcomes for result in outcome.results]

    def _finished(self, future: asyncio.Future[Outcome]) -> None:
        self._note(future)
        self._left -= 1
        if self._left:
            return
        self._late.cancel()
        # Nobody can be stopped inside a decoder. The place is not free before the worker is.
        self._leave()
        if not self.done.done():
            self.done.set_result(None)

    def _note(self, future: asyncio.Future[Outcome]) -> None:
        """Take a job's figures."""
        if future.cancelled() or future.exception() is not None:
            return
        outcome = future.result()
        if outcome.decoding is not None:
            self._metrics.timed("decode", outcome.decoding)
        if outcome.inferring is not None:
            self._metrics.timed("infer", outcome.inferring)
        for images in outcome.batches:
            self._metrics.inferred(images)

    def _look(self) -> None:
        """See whether a file takes too long, and when to look again."""
        if self.done.done():
            return
        decoding = [found for job in self._jobs if (found := job.decoding()) is not None]
        ages = {index: perf_counter() - since for index, since in decoding}
        if slow := [index for index, age in ages.items() if age >= self._limit]:
            self.done.set_exception(self._too_slow(slow))
        else:
            rest = max(self._limit - max(ages.values(), default=0.0), 0.001)
            self._late = asyncio.get_running_loop().call_later(rest, self._look)

    def _too_slow(self, indices: list[int]) -> Problem:
        limit = self._limit
        names = {index: self._uploads[index].name for index in indices}
        return self._refusal(
            BadFile(
                file=name,
                index=index,
                status=HTTPStatus.UNPROCESSABLE_ENTITY,
                code="decode-timeout",
                detail=f"{name}: it did not decode within {limit:g} seconds: make it smaller",
            )
            for index, name in names.items()
        )

    def _refusal(self, files: Iterable[BadFile]) -> Problem:
        bad = list(files)
        for file in bad:
            self._metrics.refused(file.code)
        return bad_files(bad)
