"""What a scoring job is: which pictures, which model, in which chunks, and what of it is done. It knows nothing of Ray.

A folder of results holds ``score.json`` (by what it was made), ``plan.parquet`` (which picture is in which chunk), and
for each chunk that is done ``predictions/<chunk>.parquet`` and ``errors/<chunk>.parquet``. A chunk's files are written
whole, predictions last: a chunk is done when these are there, and doing it again, or twice at once, writes the same.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from fulldeck.data.storage import Storage
from fulldeck.errors import ConfigError, DataError
from fulldeck.inference.image import SUFFIXES
from fulldeck.inference.recognizer import Recognizer

SETTINGS = "score.json"
PLAN = "plan.parquet"
PLAN_TABLE = pa.schema([("chunk", pa.int32()), ("file", pa.string())])
PREDICTIONS = pa.schema(
    [
        ("file", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float32()),
        ("accepted", pa.bool_()),
        ("alternatives", pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))),
    ]
)
ERRORS = pa.schema([("file", pa.string()), ("kind", pa.string()), ("error", pa.string())])

SHARE = 16
"""A chunk is no more than this part of what is left when it begins, so that the last ones of all workers end together:
guided self-scheduling, after Polychronopoulos and Kuck (1987), with no need to know how many workers there will be."""

LEAST = 16
"""Pictures a chunk, at least, where there are as many: fewer would cost more to hand out than to name."""


@dataclass(frozen=True)
class Chunk:
    """Some of the pictures: the number that names its results, and the files, relative to the source."""

    number: int
    files: tuple[str, ...]

    @property
    def predictions(self) -> str:
        """The file of its predictions, whose presence says that the chunk is done."""
        return f"predictions/{self.number:08d}.parquet"

    @property
    def errors(self) -> str:
        """The file that names the pictures that could not be read."""
        return f"errors/{self.number:08d}.parquet"


@dataclass(frozen=True)
class Job:
    """What each worker must know. It can be pickled.

    Attributes:
        source: Where the pictures are.
        out: Where the results go.
        model: The model file, or "champion".
        locator: The locator file, if one was named.
        threshold: From which probability on predictions are accepted; None for the model's own.
        version: The model's.
    """

    source: Storage
    out: Storage
    model: str
    locator: str | None
    threshold: float | None
    version: str

    def recognizer(self) -> Recognizer:
        """Open the model for one thread.

        Raises:
            ModelError: It cannot be used.
            ConfigError: Here it is another one than where the job began.
        """
        recognizer = Recognizer(self.model, threads=1, threshold=self.threshold, locator=self.locator)
        if recognizer.info.version != self.version:
            msg = f"{self.model} is version {recognizer.info.version} here, but {self.version} where the job began"
            raise ConfigError(msg)
        return recognizer


def open_job(
    source: str, out: str, *, model: str, locator: str | None, threshold: float | None, size: int
) -> tuple[Job, list[Chunk], int]:
    """Begin a job, or take up one that was begun.

    Args:
        source: A folder or bucket of pictures, searched to the bottom.
        out: The folder or bucket for the results.
        model: A model file, or "champion".
        locator: A locator file, or None for the one beside the model.
        threshold: Accept from this probability on; None for the model's own.
        size: Pictures a chunk, at most.

    Returns:
        The job, the chunks that are to be done, and how many pictures are done already.

    Raises:
        ConfigError: The results there are another model's or another source's.
        DataError: There is no such folder, there are no pictures in it, or a place cannot be reached.
        ModelError: The model cannot be used.
    """
    pictures, results = Storage(_anywhere(source)), Storage(_anywhere(out))
    if pictures.folder is not None and not pictures.folder.is_dir():
        msg = (
            f"{pictures.shown}: there is no such folder; give one of pictures, or an address such as gs://bucket/photos"
        )
        raise DataError(msg)
    names = [name for name in pictures.names() if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not names:
        msg = f"{pictures.shown} holds no pictures: give a folder or the address of one, such as gs://bucket/photos"
        raise DataError(msg)
    model, locator = _anywhere(model), locator and _anywhere(locator)
    recognizer = Recognizer(model, threads=1, threshold=threshold, locator=locator)
    job = Job(pictures, results, model, locator, threshold, recognizer.info.version)
    there = set(results.names())
    _agree(job, recognizer, there)
    chunks = _planned(results) if PLAN in there else []
    known = {name for chunk in chunks for name in chunk.files}
    new = [name for name in names if name not in known]
    if new:
        chunks += [Chunk(len(chunks) + at, files) for at, files in enumerate(_cut(new, size))]
        columns = [
            [chunk.number for chunk in chunks for _ in chunk.files],
            [f for chunk in chunks for f in chunk.files],
        ]
        results.write(PLAN, to_parquet(pa.table(columns, schema=PLAN_TABLE)))
    to_do = [chunk for chunk in chunks if chunk.predictions not in there]
    return job, to_do, len(known) + len(new) - sum(len(chunk.files) for chunk in to_do)


def to_parquet(table: pa.Table) -> bytes:
    """Give a table as the bytes of a Parquet file."""
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _cut(names: list[str], size: int) -> Iterator[tuple[str, ...]]:
    """Split names into chunks of ``size`` that become smaller towards the end."""
    start = 0
    while start < len(names):
        end = start + min(size, max(LEAST, (len(names) - start) // SHARE))
        yield tuple(names[start:end])
        start = end


def _anywhere(address: str) -> str:
    """Make a path mean the same to a process that works in another folder."""
    return address if "://" in address or address == "champion" else str(Path(address).expanduser().absolute())


def _agree(job: Job, recognizer: Recognizer, there: set[str]) -> None:
    """Write down by what the results are made, or compare it with what was written down."""
    settings = {
        "source": job.source.shown,
        "version": job.version,
        "threshold": recognizer.threshold,
        "locates": recognizer.locator_path is not None,
    }
    if SETTINGS in there:
        try:
            before = json.loads(job.out.read(SETTINGS))
            differing = [f"{name} {before.get(name)}" for name, value in settings.items() if before.get(name) != value]
        except (ValueError, AttributeError) as error:
            msg = f"{job.out.shown}/{SETTINGS} is damaged ({error}); name another folder for the results"
            raise ConfigError(msg) from error
        if differing:
            msg = f"{job.out.shown} holds results of {', '.join(differing)}; name another folder for these"
            raise ConfigError(msg)
    elif there:
        msg = f"{job.out.shown} holds something else already; name a new folder for the results"
        raise ConfigError(msg)
    else:
        job.out.write(SETTINGS, json.dumps(settings, indent=2).encode() + b"\n")


def _planned(out: Storage) -> list[Chunk]:
    try:
        table = pq.read_table(io.BytesIO(out.read(PLAN)), schema=PLAN_TABLE)
    except (pa.ArrowException, OSError) as error:
        msg = f"{out.shown}/{PLAN} is damaged ({error}); name another folder for the results"
        raise DataError(msg) from error
    files: dict[int, list[str]] = {}
    for number, name in zip(*(column.to_pylist() for column in table.columns), strict=True):
        files.setdefault(number, []).append(name)
    return [Chunk(number, tuple(files[number])) for number in sorted(files)]
