"""Hands what was answered to the prediction log."""

import asyncio
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from fulldeck.errors import ConfigError
from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.recognizer import Prediction
from fulldeck.monitoring.address import check_address
from fulldeck.monitoring.entry import Entry
from fulldeck.monitoring.observation import Observation
from fulldeck.monitoring.prediction_log import MEMORY_BYTES, PredictionLog
from fulldeck.serving.child import processes_can_be_used
from fulldeck.serving.limits import Upload
from fulldeck.serving.log_keeper import LogKeeper
from fulldeck.serving.settings import Settings

Row = tuple[Upload, Prediction, Observation]
"""A file, what is said of it or of one card on it, and what that looked like."""

KEEP_SECONDS = 0.25
"""An answer whose entries find no room in the journal waits until they will outlive this process. On a disk that hangs
it goes out after this time all the same, with its entries in memory until that takes them."""


def open_recorder(settings: Settings) -> "Recorder | None":
    """The log that the settings ask for; it touches neither disk nor database before it is started.

    Raises:
        ConfigError: no folder is named for it, and there is no home; or the address is no database's.
    """
    if settings.predictions_database == "none":
        return None
    folder = _folder(settings)
    url = settings.predictions_database or f"sqlite:///{folder / 'predictions.db'}"
    check_address(url)
    # What waits for one database is not to be brought to another one, if the setting changes.
    name = hashlib.sha256(re.sub(r"//[^@/]*@", "//", url).encode()).hexdigest()[:12]
    # Several answers may come at once, and each with all images that its body has room for.
    memory = MEMORY_BYTES + (settings.max_pending_bytes if settings.predictions_images else 0)
    open_log = partial(PredictionLog, url, folder / "spill" / name, settings.predictions_spill_bytes, memory)
    alone = not (settings.processes and processes_can_be_used())
    return Recorder(LogKeeper(open_log, memory, alone), settings.predictions_images)


def check_folder(settings: Settings) -> None:
    """Make the log's folder: a service that may not write there is to say so, and not to answer what it cannot keep.

    Raises:
        ConfigError: it may not; or no folder is named, and there is no home.
    """
    if settings.predictions_database == "none":
        return
    folder = _folder(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:  # there may be room later
            raise ConfigError(f"the prediction log cannot lie in {folder} ({error.strerror}): {_INSTEAD}") from error


_INSTEAD = (
    "set FULLDECK_PREDICTIONS_FOLDER to a folder that the service may write to, "
    "or FULLDECK_PREDICTIONS_DATABASE=none to keep nothing"
)


def _folder(settings: Settings) -> Path:
    """The folder that is named; without one, the XDG base directory for a program's state."""
    if settings.predictions_folder is not None:
        return settings.predictions_folder
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "fulldeck"
    except RuntimeError:  # a user without a home, as in a container
        raise ConfigError(f"there is no home in which the prediction log could lie: {_INSTEAD}") from None


class _Keeping:
    """The entries of the answers that are about to go out at the same moment, and those answers, which wait."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.late: asyncio.TimerHandle | None = None

    def kept(self) -> None:
        """Let the answers go."""
        if self.late is not None:
            self.late.cancel()
        for answer in self.waiting:
            if not answer.done():
                answer.set_result(None)


class Recorder:
    """The log of one app.

    Args:
        log: where entries go.
        images: whether the images go with them.
    """

    def __init__(self, log: LogKeeper, images: bool) -> None:
        self.log = log
        self._images = images
        self._next: _Keeping | None = None

    async def record(self, request_id: str, key: str | None, model: ModelInfo, rows: Iterable[Row]) -> None:
        """Log an answer that is about to go out, and wait as long as :meth:`put` says."""
        waiting = self.put(request_id, key, model, rows)
        if waiting is not None:
            await waiting

    def put(
        self, request_id: str, key: str | None, model: ModelInfo, rows: Iterable[Row]
    ) -> asyncio.Future[None] | None:
        """Log an answer that is about to go out; this does not fail.

        Args:
            request_id: the request's id.
            key: the id of the key that it came with.
            model: what answered.
            rows: its predictions, those of one file after each other; only the first of a file keeps the image.

        Returns:
            What the answer is to wait for, where there is no room in a journal; else None.
        """
        now = datetime.now(UTC)
        entries: list[Entry] = []
        last: Upload | None = None
        for position, (upload, prediction, observation) in enumerate(rows):
            entries.append(
                Entry(
                    time=now,
                    request_id=request_id,
                    position=position,
                    key_id=key,
                    model=model.name,
                    model_version=model.version,
                    label=prediction.label,
                    probability=prediction.probability,
                    accepted=prediction.accepted,
                    observation=observation,
                    image=upload.data if self._images and upload is not last else None,
                )
            )
            last = upload
        if self.log.put(entries):
            return None
        loop = asyncio.get_running_loop()
        if self._next is None:
            self._next = _Keeping()
            loop.call_soon(self._keep, loop)  # when all have run that can, some of which may have an answer, too
        self._next.entries += entries
        self._next.waiting.append(answer := loop.create_future())
        return answer

    def _keep(self, loop: asyncio.AbstractEventLoop) -> None:
        keeping, self._next = self._next, None
        assert keeping is not None  # noqa: S101  (this runs once for each)
        keeping.late = loop.call_later(KEEP_SECONDS, keeping.kept)
        self.log.keep(keeping.entries, keeping.kept)
