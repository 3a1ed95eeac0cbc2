"""Holds the model, and has the work of a request done off the event loop, by those who work with that model."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.recognizer import CHUNK, Located, Prediction, Recognizer
from fulldeck.monitoring.observation import Observation
from fulldeck.serving.assignment import Assignment
from fulldeck.serving.child import processes_can_be_used
from fulldeck.serving.crew import Crew
from fulldeck.serving.limits import Upload
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.model_source import open_model
from fulldeck.serving.problems import Problem
from fulldeck.serving.queue import Queue
from fulldeck.serving.scheduling import come_in_turn
from fulldeck.serving.settings import Settings
from fulldeck.serving.work import Task, What

PLACES_PER_WORKER = 12
"""So many requests a worker are past the queue: what has come while a worker was busy it infers at once, and when it is
done there is to be enough for the next time, too. With 8, which is what it infers at most, it mostly has 4."""

WAITING_PER_WORKER = 2
"""So many requests a worker may wait while more come than can be done. With one, workers sometimes have nothing to do;
with four, who is accepted then waits half as long again, and no more are answered."""


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


class Engine:
    """One model and those who work with it.

    Args:
        settings: the model's file, the number of workers, the limits of the queue and of decoding.
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
        self._crew: Crew | None = None
        self._processes = 0
        self._dismissing: set[asyncio.Task[None]] = set()

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
            self._staff(recognizer)
            return recognizer.info

    def hire(self) -> None:
        """From now on processes do the work, as soon as they can: one for each worker of the settings."""
        if self._settings.processes and processes_can_be_used():
            self._processes = self._settings.workers
            come_in_turn()
            if self.recognizer is not None:
                self._staff(self.recognizer)

    def _staff(self, recognizer: Recognizer) -> None:
        """Let those go who work with another model, when they have done their work, and take on others."""
        former = self._crew
        self._crew = Crew(recognizer, self._processes, self._threads, self._metrics)
        self._metrics.workers = self._crew.processes
        if former is not None:
            former.close()
            self._dismissing.add(task := asyncio.create_task(former.closed()))
            task.add_done_callback(self._dismissing.discard)

    async def _opened(self) -> Recognizer:
        # Not by a thread that requests wait for.
        return await asyncio.to_thread(open_model, self._settings.model)

    def drain(self) -> None:
        """Be ready no more; what is asked all the same is still answered."""
        self.draining = True
        self._metrics.draining()

    def stop(self) -> None:
        """Let all who work end when their present work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._crew is not None:
            self._crew.close()

    async def stopped(self) -> None:
        """Wait until the processes have ended, after :meth:`stop`."""
        if self._crew is not None:
            await self._crew.closed()

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
        work = await self._share_out("classify", uploads, gone)
        return self.named(work)

    async def locate(self, uploads: list[Upload], gone: Callable[[], Awaitable[object]]) -> Places:
        """Wait for a turn, then find the cards in every file: see :meth:`classify`."""
        work = await self._share_out("locate", uploads, gone)
        answered = work.results()
        photos = [located for located, _ in answered]
        self._metrics.predicted([card for photo in photos for card in photo])
        return Places(work.model, photos, [observations for _, observations in answered])

    async def _share_out(self, what: What, uploads: list[Upload], gone: Callable[[], Awaitable[object]]) -> Assignment:
        """Wait for a turn, then have all files worked on, until that is done.

        Raises:
            Problem: a file takes too long to decode, or there was no turn.
            ClientDisconnect: the client left before its turn.
        """
        with self._metrics.stage("queue"):
            await self.queue.enter(gone)
        work = self.begin(what, uploads)
        try:
            await work.done
        finally:
            work.abandon()
        return work

    def begin(self, what: What, uploads: list[Upload]) -> Assignment:
        """Have files worked on, side by side, by what serves now, for one who has a place: that is given back then."""
        crew = self._crew
        assert crew is not None  # noqa: S101  (it is there with the model)
        settings = self._settings
        size = min(CHUNK, math.ceil(len(uploads) / settings.workers))
        jobs = []
        for start in range(0, len(uploads), size):
            files = [(upload.name, upload.data) for upload in uploads[start : start + size]]
            jobs.append(crew.submit(Task(what, start, files, settings.max_pixels, self._observing)))
        return Assignment(
            crew.recognizer.info,
            uploads,
            jobs,
            decode_seconds=settings.decode_seconds,
            metrics=self._metrics,
            leave=self.queue.leave,
        )

    def named(self, work: Assignment) -> Answer:
        """The answer, and its place in the metrics, of work that is done.

        Raises:
            Problem: a file cannot be used.
        """
        answered = work.results()
        predictions = [prediction for prediction, _ in answered]
        self._metrics.predicted(predictions)
        observations = [observation for _, observation in answered if observation is not None]
        return Answer(work.model, predictions, observations)
