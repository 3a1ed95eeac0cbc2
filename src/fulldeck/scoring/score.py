"""``fulldeck score``: Ray Data carries the chunks of a job to whatever processes and machines there are, and counts.

Ray does a chunk again that was lost with a machine. That nothing is lost or doubled then is the chunks' own doing: see
:mod:`fulldeck.scoring.job`.
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fulldeck.errors import ConfigError, DataError, FulldeckError
from fulldeck.inference.cores import available_cores
from fulldeck.scoring.job import Chunk, Job, open_job
from fulldeck.scoring.label import label_chunk

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # its workers would give way to everything else
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # or under `uv run` it sends this folder, data and all

import ray
from ray.exceptions import RayError

logger = logging.getLogger(__name__)

CHUNK = 256
"""Pictures a chunk: seconds of work, so that what a lost machine costs is little, and so is what a chunk costs."""

MOST = 8
"""Chunks a task of Ray's, at most: between two tasks a worker waits a fifth of a second for the next one."""

PART = 2
"""A task is at most this part of what a worker can expect of what is left."""

FEW = 48
"""Pictures a task, at least, where there are as many: fewer are named in less time than it takes to get the next."""

_STORE = 2**30
"""Bytes of Ray's shared memory here, at most. What it carries are names and counts, but of less Ray is afraid."""


@dataclass(frozen=True)
class Scored:
    """What a run has done.

    Attributes:
        out: Where the results are, to be shown.
        pictures: How many were read and named, or noted as bad, by this run.
        failed: How many of them could not be read.
        before: How many earlier runs had done.
        seconds: From the beginning of the first chunk to the end of the last.
    """

    out: str
    pictures: int
    failed: int
    before: int
    seconds: float

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds if self.seconds else 0.0

    def summary(self) -> str:
        """Say in a line what was done, and where it is."""
        if not self.pictures:
            return f"{self.out}: all {self.before:,} pictures were done before"
        earlier = f", {self.before:,} were done before" if self.before else ""
        return (
            f"{self.out}: {self.pictures - self.failed:,} pictures labelled in predictions/, {self.failed:,} that "
            f"cannot be read in errors/; {self.rate:,.0f} pictures/s{earlier}"
        )


def score(
    source: str,
    out: str,
    *,
    model: str = "champion",
    locator: str | None = None,
    threshold: float | None = None,
    workers: int | None = None,
    address: str | None = None,
    size: int = CHUNK,
) -> Scored:
    """Name every picture in a folder or bucket, and write tables of what they show.

    It can be interrupted, and goes on where it was when called again; when everything is done, it does nothing.

    Args:
        source: The pictures: a folder, or an address such as gs://bucket/photos.
        out: A folder or address for the results.
        model: A model file, or "champion".
        locator: A locator file; None for the one beside the model.
        threshold: Accept from this probability on; None for the model's own.
        workers: Processes that work at the same time, one core each; None for as many as there are cores.
        address: Of a Ray cluster ("auto" for the one of this machine); None starts one here that ends with this call.
        size: Pictures a chunk, at most; the last ones are smaller.

    Raises:
        ConfigError: The results there are another model's, or there is no cluster at the address.
        DataError: There are no pictures, or a place cannot be reached.
        ModelError: The model cannot be used.
        KeyboardInterrupt: Ctrl-C; whatever chunks were finished are done.
    """
    job, chunks, before = open_job(source, out, model=model, locator=locator, threshold=threshold, size=size)
    began, ended, pictures, failed = float("inf"), 0.0, 0, 0
    if chunks:
        total = before + sum(len(chunk.files) for chunk in chunks)
        with _cluster(address, workers), _progress(total, before) as progress:
            for done in _results(job, chunks, workers):
                began, ended = min(began, done["began"]), max(ended, done["ended"])
                pictures += done["images"]
                failed += done["failed"]
                progress(done["images"])
    return Scored(job.out.shown, pictures, failed, before, max(0.0, ended - began))


def _results(job: Job, chunks: list[Chunk], workers: int | None) -> Iterator[dict[str, Any]]:
    """Let Ray do the chunks; give each one's result once, as soon as it is there.

    Raises:
        FulldeckError: What stopped a worker, or why Ray cannot go on.
    """
    told: set[int] = set()
    cores = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    tasks = [
        {"numbers": [chunk.number for chunk in some], "files": [list(chunk.files) for chunk in some]}
        for some in _tasks(chunks, workers or cores)
    ]
    rows = ray.data.from_items(tasks, override_num_blocks=len(tasks))
    labelled = rows.flat_map(partial(_label, job), num_cpus=1, compute=ray.data.TaskPoolStrategy(workers))
    try:
        for done in labelled.iter_rows():
            if done["error"]:
                raise DataError(done["error"])
            if done["number"] not in told:  # Ray may tell twice of what a lost machine had done
                told.add(done["number"])
                yield done
    except RayError as error:
        msg = f"Ray could not go on ({type(error).__name__}); what is done is done, and the same command goes on"
        raise DataError(msg) from error


def _tasks(chunks: list[Chunk], workers: int) -> Iterator[list[Chunk]]:
    """Put chunks together to tasks: :data:`MOST` of them, and fewer towards the end, so that all workers end together.

    A task has no more than half of a worker's share of the pictures that are left: guided self-scheduling, after
    Polychronopoulos and Kuck (1987).
    """
    left = sum(len(chunk.files) for chunk in chunks)
    start = 0
    while start < len(chunks):
        end, pictures = start + 1, len(chunks[start].files)
        most = max(FEW, left / (PART * workers))
        while end < min(len(chunks), start + MOST) and pictures + len(chunks[end].files) <= most:
            pictures += len(chunks[end].files)
            end += 1
        yield chunks[start:end]
        left -= pictures
        start = end


def _label(job: Job, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Do a task in one of Ray's workers, and tell of each chunk as soon as it is done.

    What a user can mend is told as a result: Ray would tell it as a trace.
    """
    for number, files in zip(row["numbers"], row["files"], strict=True):
        chunk = Chunk(int(number), tuple(map(str, files)))
        try:
            yield label_chunk(job, chunk) | {"error": ""}
        except FulldeckError as error:
            yield {"number": chunk.number, "images": 0, "failed": 0, "began": 0.0, "ended": 0.0, "error": str(error)}
            return


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """Join a cluster, or have one here meanwhile.

    Raises:
        ConfigError: There is none at the address.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            cores = workers or available_cores()
            ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=_STORE, **quiet)
        else:
            _knock(address)
            ray.init(address, **quiet)
    except (OSError, RayError, ValueError) as error:
        msg = f"there is no Ray cluster at {address or 'this machine'} ({error}); start one with: ray start --head"
        raise ConfigError(msg) from error
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = 1  # byte: each result is on its way at once
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at host:port, as Ray would try for minutes to reach them."""
    place = urlsplit(f"//{address.rpartition('//')[2]}")
    if place.hostname and place.port:
        socket.create_connection((place.hostname, place.port), timeout=10).close()


@contextmanager
def _progress(total: int, before: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is, and how fast: on a terminal as a bar, otherwise as lines of the log."""
    columns = (
        TextColumn("labelling"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    began, done = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("", total=total, completed=before, rate=0.0)

        def advance(pictures: int) -> None:
            nonlocal done
            done += pictures
            rate = done / (time.monotonic() - began)
            bar.update(task, advance=pictures, rate=rate)
            logger.info("%s of %s pictures, %.0f/s", f"{before + done:,}", f"{total:,}", rate)

        yield advance
