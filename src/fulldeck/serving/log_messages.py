"""What the service and the process that keeps its prediction log say to each other.

The first message is a :class:`Begin`. After it the service sends the number of some entries and those, as
:meth:`fulldeck.monitoring.entry.Entry.to_plain` makes them, or an :class:`Adopt`, or a :class:`Stop`; and the process
the number of what is kept, or how the log does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fulldeck.monitoring.prediction_log import Figures, PredictionLog

Keep = tuple[int, list[tuple[Any, ...]]]
Told = int | Figures


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
