"""What a record is to those who write into it, and what every record begins with."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger

Outcome = Literal["finished", "failed", "killed"]
"""How a run ended: as planned, by an error, or because somebody stopped it."""

Steps = Sequence[tuple[int, Mapping[str, float]]]
"""Figures of some steps: (the step's number, name to value)."""

Histogram = tuple[list[int], list[float]]
"""Counts of B bins and their B + 1 edges."""


@dataclass(frozen=True)
class Facts:
    """What is known of a run before its first step.

    Attributes:
        folder: the run's folder.
        project: what it is filed under.
        config: the composed configuration.
        hashes: content hash of each dataset, by its folder.
        data_hash: one hash of them all.
        environment: code, versions and machine, as in environment.json.
        files: what tells the rest, such as config.yaml.
        parent: the MLflow run that this one is a part of.
        group: W&B's name for runs that belong together.
    """

    folder: Path
    project: str
    config: dict[str, Any]
    hashes: dict[str, str]
    data_hash: str
    environment: dict[str, Any]
    files: tuple[Path, ...]
    parent: str | None
    group: str | None

    @property
    def commit(self) -> str:
        """The code's commit."""
        return self.environment["commit"] or "unknown"


class Record(Logger):
    """A record that is open. It is one of Lightning's loggers too, which is how the figures of an epoch reach it."""

    @property
    @abstractmethod
    def address(self) -> dict[str, str]:
        """What finds the record again, so that a resumed run goes on in it."""

    @abstractmethod
    def steps(self, rows: Steps) -> None:
        """Add the figures of some steps."""

    @abstractmethod
    def histograms(self, of: Mapping[str, Histogram], step: int) -> None:
        """Add how the values of several things were spread at a step."""

    @abstractmethod
    def picture(self, name: str, file: Path, step: int) -> None:
        """Add a PNG file under a name such as "samples"; a later one is another picture of the same."""

    @abstractmethod
    def files(self, files: Sequence[Path]) -> None:
        """Add files of the run's folder under their own names."""

    @abstractmethod
    def summary(self, values: Mapping[str, float]) -> None:
        """Add the last word: figures without a step."""

    @abstractmethod
    def model(self, files: Sequence[Path], metadata: Mapping[str, Any]) -> None:
        """Add a model, as an artifact of its own with its metadata."""

    @abstractmethod
    def beat(self) -> None:
        """Say that the run is alive."""

    @abstractmethod
    def close(self, outcome: Outcome) -> None:
        """Say how the run ended; nothing is added after that."""
