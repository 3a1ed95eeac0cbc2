"""One chunk of a scoring job, done in one process: read, decode, name, write. It knows nothing of Ray."""

import io
import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fulldeck.data.ahead import ahead
from fulldeck.data.storage import MissingError, Storage
from fulldeck.errors import ImageError
from fulldeck.inference.image import MAX_BYTES, read_bytes
from fulldeck.inference.picture import Picture
from fulldeck.inference.recognizer import CHUNK, Prediction, Recognizer
from fulldeck.scoring.job import ERRORS, PREDICTIONS, Chunk, Job, to_parquet

READING = 8
"""Files of a bucket that are read ahead: it answers one request in tens of milliseconds, and many at once as soon."""

_Rows = list[dict[str, Any]]


def label_chunk(job: Job, chunk: Chunk) -> dict[str, Any]:
    """Do one chunk, unless it is done: write its predictions and its errors.

    Returns:
        Its number, how many pictures it has, how many of them could not be read, and when it began and ended, in
        seconds since the epoch.

    Raises:
        DataError: The source or the results cannot be reached. A picture's own fault is among the errors instead.
        ModelError: The model cannot be used.
        ConfigError: The model is another one here.
    """
    recognizer = _recognizer(job)  # opened once a worker, which is part of its start and not of its rate
    began = time.time()
    if job.out.has(chunk.predictions):  # by one that died before it could tell
        failed = pq.read_metadata(io.BytesIO(job.out.read(chunk.errors))).num_rows
    else:
        predictions, errors = _named(job.source, chunk.files, recognizer)
        job.out.write(chunk.errors, to_parquet(pa.Table.from_pylist(errors, ERRORS)))
        job.out.write(chunk.predictions, to_parquet(pa.Table.from_pylist(predictions, PREDICTIONS)))
        failed = len(errors)
    return {"number": chunk.number, "images": len(chunk.files), "failed": failed, "began": began, "ended": time.time()}


@lru_cache(maxsize=1)
def _recognizer(job: Job) -> Recognizer:
    cv2.setNumThreads(1)  # the worker has one core, as its session does
    return job.recognizer()


def _named(source: Storage, files: Sequence[str], recognizer: Recognizer) -> tuple[_Rows, _Rows]:
    """Name pictures as :meth:`Recognizer.classify` does, some at once, and let none stop the others.

    Returns:
        The rows of the predictions, and those of the errors.
    """
    predictions: _Rows = []
    errors: _Rows = []

    @contextmanager
    def noting(name: str) -> Iterator[None]:
        try:
            yield
        except ImageError as error:
            errors.append({"file": name, "kind": error.kind, "error": str(error)})

    with ThreadPoolExecutor(READING) as pool:
        read = partial(_read, source)
        # A disk answers at once: to hand each picture from one thread to another would cost more than to wait for it.
        arriving = ahead(files, read, pool, READING) if source.folder is None else map(read, files)
        while some := list(itertools.islice(arriving, CHUNK)):
            pictures, squares = [], []
            for name, data in some:
                with noting(name):
                    picture = Picture(_given(data), name)
                    squares.append(picture.square(recognizer.info.size))
                    pictures.append(picture)
            if not pictures:
                continue
            batch = np.stack(squares)
            wholes = recognizer.look_aside(batch, recognizer.predict(batch))
            for picture, whole in zip(pictures, wholes, strict=True):
                with noting(picture.name):
                    predictions.append(_row(picture.name, recognizer.second_look(picture, whole)))
    return predictions, errors


def _row(name: str, prediction: Prediction) -> dict[str, Any]:
    return {
        "file": name,
        "label": prediction.label,
        "probability": prediction.probability,
        "accepted": prediction.accepted,
        "alternatives": [{"label": one.label, "probability": one.probability} for one in prediction.alternatives],
    }


def _read(source: Storage, name: str) -> tuple[str, bytes | ImageError]:
    """Read a picture, or say why there is none to read; only what all pictures would suffer from is raised."""
    try:
        if source.folder is not None:
            return name, read_bytes(source.folder / name)
        return name, source.read(name, most=MAX_BYTES)
    except MissingError as error:
        return name, ImageError(str(error))
    except ImageError as error:
        return name, error


def _given(data: bytes | ImageError) -> bytes:
    if isinstance(data, ImageError):
        raise data
    return data
