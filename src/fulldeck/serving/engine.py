"""Holds the model and does the work of a request off the event loop: decoding, then one batch of inference."""

import asyncio
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fulldeck.errors import ImageError, ModelError
from fulldeck.inference.recognizer import Prediction, Recognizer
from fulldeck.serving.faults import fault
from fulldeck.serving.limits import Upload
from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem, bad_files
from fulldeck.serving.schemas import BadFile

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class Engine:
    """One model and the threads that work for it.

    Args:
        model: a model file, or None for the shipped champion.
        workers: the number of threads that decode and infer.
        metrics: where the stages are timed.
    """

    def __init__(self, model: Path | None, workers: int, metrics: Metrics) -> None:
        self.recognizer: Recognizer | None = None
        self.error: Exception | None = None
        self.settled = asyncio.Event()
        self._model = model
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="fulldeck")

    async def start(self) -> None:
        """Load the model and try it once; ``settled`` is set when it serves or when ``error`` tells why it does not."""
        try:
            recognizer = await self._in_thread(partial(_load, self._model))
            self._metrics.serving(recognizer.info)
            self.recognizer = recognizer
        except Exception as error:  # noqa: BLE001  (whatever it was, the server must learn that no model will come)
            self.error = error
        self.settled.set()

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

    async def classify(self, uploads: list[Upload]) -> list[Prediction]:
        """Decode every file, then infer all of them as one batch.

        Raises:
            Problem: a file cannot be used; it names every such file.
        """
        recognizer = self.ready()
        with self._metrics.stage("decode"):
            images = await self._decode(recognizer, uploads)
        with self._metrics.stage("infer"):
            predictions = await self._in_thread(lambda: recognizer.classify(images))
        self._metrics.predicted(predictions)
        return predictions

    async def _decode(self, recognizer: Recognizer, uploads: list[Upload]) -> list[NDArray[np.uint8]]:
        jobs = [self._in_thread(partial(_prepare, recognizer, index, upload)) for index, upload in enumerate(uploads)]
        outcomes = await asyncio.gather(*jobs)
        bad = [outcome for outcome in outcomes if isinstance(outcome, BadFile)]
        for file in bad:
            self._metrics.refused(file.code)
        if bad:
            raise bad_files(bad)
        return [outcome for outcome in outcomes if not isinstance(outcome, BadFile)]

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _prepare(recognizer: Recognizer, index: int, upload: Upload) -> NDArray[np.uint8] | BadFile:
    """One file as the model takes it: small at once, so that a request's photos never lie in memory together."""
    try:
        return recognizer.prepare(upload.data, upload.name)
    except ImageError as error:
        status, code = fault(upload.data)
        return BadFile(file=upload.name, index=index, status=status, code=code, detail=str(error))


def _load(model: Path | None) -> Recognizer:
    """The model, which has answered once, so that no user waits for its first run.

    Raises:
        ModelError: there is no such file, or it is no model, or its answer is none.
    """
    recognizer = Recognizer(model, threads=1)  # requests run side by side, which is faster than one on all cores
    size = recognizer.info.size
    prediction = recognizer.classify(np.full((size, size, 3), 127, np.uint8))
    if not math.isfinite(prediction.probability):
        raise ModelError(f"the model {recognizer.info.name} gives no number for a grey image: export it anew")
    return recognizer
