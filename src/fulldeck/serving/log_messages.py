"""What the service and the process that keeps its prediction log say to each other.

The first message is a :class:`Begin`, and the process says in which journal entries can be left, if there is one. What
finds no room there the service sends: the number of some entries and those, as
:meth:`fulldeck.monitoring.entry.Entry.to_plain` makes them; or an :class:`Adopt`, or a :class:`Stop`. The process says
the number of what it has been sent and has kept, or how the log does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fulldeck.monitoring.prediction_log import Figures, PredictionLog

Keep = tuple[int, list[tuple[Any, ...]]]
Told = int | Figures
First = Path | None


@dataclass(frozen=True, slots=True)
class Begin:
    """The log to keep, and which lines of the process's own are written, and how."""

    open_log: Callable[[], PredictionLog]
    level: int
    json: bool


@dataclass(frozen=True, slots=True)
class Adopt:
    """Another process has left its files: take them over now."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Bring to the database what can be brought in this time, and end."""

    seconds: float
