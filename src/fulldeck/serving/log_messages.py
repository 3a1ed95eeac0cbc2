"""What the service and the process that keeps its prediction log say to each other."""

from collections.abc import Callable
from dataclasses import dataclass

from fulldeck.monitoring.entry import Entry
from fulldeck.monitoring.observation import Observation
from fulldeck.monitoring.prediction_log import Figures, PredictionLog
from fulldeck.serving.messages import framer


@dataclass(slots=True)
class Begin:
    """The first thing that the process is told: the log to keep, and which lines of its own are written, and how."""

    open_log: Callable[[], PredictionLog]
    level: int
    json: bool


@dataclass(slots=True)
class Keep:
    """Keep these entries, and tell by the number when they are kept."""

    number: int
    entries: list[Entry]


@dataclass(slots=True)
class Adopt:
    """Another process has left its files: take them over now."""


@dataclass(slots=True)
class Stop:
    """Bring to the database what can be brought in this time, and end."""

    seconds: float


# What the process says: the number of what is kept, or how the log does.
Told = int | Figures

framed = framer(Begin, Keep, Adopt, Stop, Entry, Observation)
