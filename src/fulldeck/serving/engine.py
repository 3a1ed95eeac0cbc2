"""Holds the model and does the work of a request off the event loop: decode, then infer what was decoded as a batch."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import TypeVar

import numpy as np

from fulldeck.errors import ImageError
from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.picture import Picture
from fulldeck.inference.recognizer import CHUNK, Located, Prediction, Recognizer
from fulldeck.monitoring.observation import Observation, observe
from fulldeck.serving.limits import Upload
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.model_source import open_model
from fulldeck.serving.problems import BadFile, Problem, bad_file, bad_files
from fulldeck.serving.queue import Queue
from fulldeck.serving.settings import Settings
from fulldeck.serving.threads import all_done, wait

logger = logging.getLogger(__name__)

PLACES_PER_WORKER = 2
"""So many requests a thread are past the queue, so that a thread that is done finds the next one's images ready."""

WAITING_PER_WORKER = 6
"""So many requests a thread may wait while more come than can be done: the last of them waits for some eight images."""


class _Job:
    """Some of a request's files, for one thread.

    Attributes:
        start: the place of the first of them among the request's files.
        uploads: the files.
        decoding: the file that is being decoded, by its place among the request's, and since when; None while none is.
        abandoned: nobody waits for it any more.
    """

    def __init__(self, start: int, uploads: list[Upload]) -> None:
        self.start = start
        self.uploads = uploads
        self.decoding: tuple[int, float] | None = None
        self.abandoned = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets.

    Attributes:
        model: the model that answered.
        predictions: one a file.
        observations: one a file, if they are asked for.
    """

    model: ModelInfo
    predictions: list[Prediction]
    observations: list[Observation]


@dataclass(frozen=True, slots=True)
class Places:
    """What a request for places gets.

    Attributes:
        model: the model that answered.
        photos: the cards of each file.
        observations: of each file one a card, if they are asked for.
    """

    model: ModelInfo
    photos: list[Located]
    observations: list[list[Observation]]


_Named = tuple[Prediction, Observation | None]
_Placed = tuple[Located, list[Observation]]
_T = TypeVar("_T")


class Engine:
    """One model and the threads that work for it.

    Args:
        settings: the model's file, the number of threads, the limits of the queue and of decoding.
        metrics: where the stages are timed.
        observing: whether answers are to carry observations.
    """

    def __init__(self, settings: Settings, metrics: Metrics, observing: bool = False) -> None:
        self.recognizer: Recognizer | None = None
        self.error: Exception | None = None
        self.settled = asyncio.Event()
        self.draining = False
        self._reloading = asyncio.Lock()
        self.queue = Queue(
            places=settings.workers * PLACES_PER_WORKER,
            max_waiting=settings.max_queue,
            short=settings.workers * WAITING_PER_WORKER,
            seconds=settings.queue_seconds,
            metrics=metrics,
        )
        self._settings = settings
        self._metrics = metrics
        self._observing = observing
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="fulldeck")

    async def start(self, loading: Future[Recognizer] | None = None) -> None:
        """Load the model and try it once; ``settled`` is set when it serves or when ``error`` tells why it does not.

        Args:
            loading: the model, where it is being loaded already.
        """
        try:
            await self._take(asyncio.wrap_future(loading) if loading is not None else self._opened())
        except Exception as error:  # noqa: BLE001  (whatever it was, the server must learn that no model will come)
            self.error = error
        self.settled.set()

    async def reload(self) -> ModelInfo:
        """Load the model from its source again, and let it take over; what runs ends with the one that it began with.

        Returns:
            The model that serves from now on.

        Raises:
            FulldeckError: it cannot be used; the old one serves on.
        """
        return await self._take(self._opened())

    async def _take(self, opening: Awaitable[Recognizer]) -> ModelInfo:
        async with self._reloading:
            try:
                recognizer = await opening
            except Exception:
                self._metrics.reloaded("refused")
                raise
            self._metrics.serving(recognizer.info)
            self._metrics.reloaded("done")
            self.recognizer = recognizer
            return recognizer.info

    async def _opened(self) -> Recognizer:
        # Not by a thread that requests wait for.
        return await asyncio.to_thread(open_model, self._settings.model)

    def drain(self) -> None:
        """Be ready no more; what is asked all the same is still answered."""
        self.draining = True
        self._metrics.draining()

    def stop(self) -> None:
        """Let the threads end when their present work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def ready(self) -> Recognizer:
        """The model.

        Raises:
            Problem: 503 while it is not loaded.
        """
        if self.recognizer is None:
            detail = "the model is still loading: try again in a second"
            if self.error is not None:
                detail = "the model could not be loaded"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", detail, headers={"Retry-After": "1"})
        return self.recognizer

    async def classify(self, uploads: list[Upload], gone: Callable[[], Awaitable[object]]) -> Answer:
        """Wait for a turn, then decode every file and infer all of them.

        Args:
            uploads: one or more files.
            gone: returns when the client has left; its work is dropped then if it has not begun.

        Raises:
            Problem: a file cannot be used (it names every such file), or there was no turn.
            ClientDisconnect: the client left before its turn.
        """
        recognizer, answered = await self._share_out(uploads, gone, self._classify)
        predictions = [prediction for prediction, _ in answered]
        self._metrics.predicted(predictions)
        observations = [observation for _, observation in answered if observation is not None]
        return Answer(recognizer.info, predictions, observations)

    async def locate(self, uploads: list[Upload], gone: Callable[[], Awaitable[object]]) -> Places:
        """Wait for a turn, then find the cards in every file: see :meth:`classify`."""
        recognizer, answered = await self._share_out(uploads, gone, self._locate)
        photos = [located for located, _ in answered]
        self._metrics.predicted([card for photo in photos for card in photo])
        return Places(recognizer.info, photos, [observations for _, observations in answered])

    async def _share_out(
        self,
        uploads: list[Upload],
        gone: Callable[[], Awaitable[object]],
        work: Callable[[Recognizer, _Job], list[_T | BadFile]],
    ) -> tuple[Recognizer, list[_T]]:
        """Wait for a turn, then do the work for all files, side by side.

        Returns:
            The model that did it, and what came of each file.

        Raises:
            Problem: a file cannot be used, or there was no turn.
            ClientDisconnect: the client left before its turn.
        """
        with self._metrics.stage("queue"):
            await self.queue.enter(gone)
        recognizer = self.ready()  # what serves now, which need not be what served before the wait
        size = min(CHUNK, math.ceil(len(uploads) / self._settings.workers))
        jobs = [_Job(start, uploads[start : start + size]) for start in range(0, len(uploads), size)]
        futures = [self._threads.submit(work, recognizer, job) for job in jobs]
        done = all_done(futures)
        # A thread cannot be stopped inside a decoder. The place is not free before the thread is.
        done.add_done_callback(lambda _: self.queue.leave())
        try:
            await self._finish(jobs, done)
        finally:
            for job in jobs:
                job.abandoned = True
        outcomes = [outcome for future in futures for outcome in future.result()]
        self._refuse(outcome for outcome in outcomes if isinstance(outcome, BadFile))
        return recognizer, [outcome for outcome in outcomes if not isinstance(outcome, BadFile)]

    async def _finish(self, jobs: list[_Job], done: asyncio.Future[None]) -> None:
        """Wait for all jobs.

        Raises:
            Problem: 422 decode-timeout, which names the files.
        """
        limit = self._settings.decode_seconds
        left = limit
        while not done.done():
            await wait(done, left)
            decoding = [job.decoding for job in jobs if job.decoding is not None]
            ages = {index: perf_counter() - since for index, since in decoding}
            left = max(limit - max(ages.values(), default=0.0), 0.001)
            uploads = [upload for job in jobs for upload in job.uploads]
            self._refuse(
                BadFile(
                    file=uploads[index].name,
                    index=index,
                    status=HTTPStatus.UNPROCESSABLE_ENTITY,
                    code="decode-timeout",
                    detail=f"{uploads[index].name}: it did not decode within {limit:g} seconds: make it smaller",
                )
                for index, age in ages.items()
                if age >= limit
            )

    def _classify(self, recognizer: Recognizer, job: _Job) -> list[_Named | BadFile]:
        """Decode a job's files and infer them, in a thread; if one is bad, return the bad ones alone."""
        pictures, squares = [], []
        bad: list[_Named | BadFile] = []
        start = perf_counter()
        for index, upload in enumerate(job.uploads, job.start):
            if job.abandoned:
                return []
            job.decoding = (index, perf_counter())
            try:
                pictures.append(Picture(upload.data, upload.name, self._settings.max_pixels))
                # Small at once, so that a request's photos never lie in memory together.
                squares.append(pictures[-1].square(recognizer.info.size))
            except ImageError as error:
                bad.append(bad_file(error, upload.name, index))
        job.decoding = None
        decoded = perf_counter()
        self._metrics.timed("decode", decoded - start)
        if bad or job.abandoned:
            return bad
        batch = np.stack(squares)
        wholes, embeddings = recognizer.predict_and_embed(batch)
        wholes = recognizer.look_aside(batch, wholes)
        predictions = []
        for index, (picture, whole) in enumerate(zip(pictures, wholes, strict=True), job.start):
            try:
                predictions.append(recognizer.second_look(picture, whole))
            except ImageError as error:  # at another scale its decoder may see another fault
                bad.append(bad_file(error, picture.name, index))
        if bad:
            return bad
        self._metrics.timed("infer", perf_counter() - decoded)
        self._metrics.inferred(len(batch))
        if not self._observing:
            return [(prediction, None) for prediction in predictions]
        seen = map(observe, (upload.data for upload in job.uploads), batch, embeddings)
        return list(zip(predictions, seen, strict=True))

    def _locate(self, recognizer: Recognizer, job: _Job) -> list[_Placed | BadFile]:
        """Decode a job's files and find the cards in each, in a thread; if one is bad, return the bad ones alone."""
        placed: list[_Placed | BadFile] = []
        bad: list[_Placed | BadFile] = []
        decoding = inferring = 0.0
        for index, upload in enumerate(job.uploads, job.start):
            if job.abandoned:
                return []
            start = perf_counter()
            job.decoding = (index, start)
            try:
                picture = Picture(upload.data, upload.name, self._settings.max_pixels)
                square, photo = picture.square_and_photo(recognizer.info.size)
            except ImageError as error:
                bad.append(bad_file(error, upload.name, index))
            job.decoding = None
            decoded = perf_counter()
            decoding += decoded - start
            if not bad:  # one photo after the other, so that they never lie in memory together
                located, views = recognizer.locate_decoded(square, photo)
                seen = [observe(upload.data, *view) for view in views] if self._observing else []
                placed.append((located, seen))
                inferring += perf_counter() - decoded
                self._metrics.inferred(1)
        self._metrics.timed("decode", decoding)
        if not bad:
            self._metrics.timed("infer", inferring)
        return bad or placed

    def _refuse(self, files: Iterable[BadFile]) -> None:
        bad = list(files)
        for file in bad:
            self._metrics.refused(file.code)
        if bad:
            raise bad_files(bad)
