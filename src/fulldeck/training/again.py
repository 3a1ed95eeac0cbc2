"""``fulldeck train --from-run``: a run once more, from nothing but its record; and whether it comes out the same."""

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fulldeck.errors import ConfigError
from fulldeck.tracking_uri import tracking_uri
from fulldeck.training.run import Run, environment
from fulldeck.training.train import fit

logger = logging.getLogger(__name__)

FILES = ("config.yaml", "data.json", "environment.json", "metrics.json")
DIGITS = 4
"""Decimals to which two runs' figures must agree to be the same."""


@dataclass(frozen=True)
class Recorded:
    """What a record says of a run: what it was made of and what came out."""

    config: DictConfig
    hashes: dict[str, str]
    environment: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Again:
    """A run made once more.

    Attributes:
        run: the new one.
        differences: name to (recorded, now), of the figures that are not the same.
        compared: how many were.
    """

    run: Run
    differences: dict[str, tuple[float, float]]
    compared: int

    def summary(self) -> str:
        """Say what came out, and whether it is what the record says."""
        if not self.differences:
            return f"{self.run.summary()}\nthe same as recorded: {self.compared} figures to {DIGITS} decimals"
        told = ", ".join(
            f"{name} {then:.{DIGITS}f} then, {now:.{DIGITS}f} now" for name, (then, now) in self.differences.items()
        )
        return f"{self.run.summary()}\nnot as recorded: {told}"


def train_again(source: str) -> Again:
    """Train as a record says, on images that are the same, and compare the outcome with the recorded one.

    Args:
        source: the folder of a finished run, or the id of one in MLflow.

    Raises:
        ConfigError: there is no such run, it was not finished, or its images have changed.
        DataError: its images are not there.
    """
    recorded = read_run(source)
    warn_of_changes(recorded.environment, environment())
    run = fit(recorded.config, hashes=recorded.hashes)
    figures = {name: value for name, value in recorded.metrics.items() if name.startswith(("train/", "val/"))}
    differences = {
        name: (value, run.metrics[name])
        for name, value in figures.items()
        if round(value, DIGITS) != round(run.metrics[name], DIGITS)
    }
    return Again(run, differences, len(figures))


def read_run(source: str) -> Recorded:
    """Read a finished run's record.

    Args:
        source: the run's folder, or its id in MLflow.

    Raises:
        ConfigError: there is no such run, or it was not finished.
    """
    if Path(source).is_dir():
        return _read(Path(source), source)
    if "/" in source or "\\" in source:
        msg = f"{source} is not there; name a run's folder, or the id of a run in MLflow"
        raise ConfigError(msg)
    from mlflow import MlflowClient  # noqa: PLC0415 - a folder is read without it

    from fulldeck.mlflow_store import told  # noqa: PLC0415

    uri = tracking_uri()
    with tempfile.TemporaryDirectory() as temporary:
        with told(uri, f"has no run {source}"):
            client = MlflowClient(uri)
            there = {artifact.path for artifact in client.list_artifacts(source)}
            for name in there.intersection(FILES):
                client.download_artifacts(source, name, temporary)
        return _read(Path(temporary), f"the MLflow run {source}")


def warn_of_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say what was different when a run was made, as far as figures may depend on it."""
    for name in ("commit", "python", "packages", "processes", "threads", "cuda"):
        if then.get(name) != now.get(name):
            logger.warning("%s was %s and is %s: figures may differ", name, then.get(name), now.get(name))


def _read(folder: Path, source: str) -> Recorded:
    for name in FILES:
        if not (folder / name).is_file():
            msg = f"{source} has no {name}: it is no finished run of fulldeck's"
            raise ConfigError(msg)
    content = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in FILES[1:]}
    config = DictConfig(OmegaConf.load(folder / "config.yaml"))
    if "data" not in config:
        msg = f"{source} is of another command than `fulldeck train`, which alone can make its runs again"
        raise ConfigError(msg)
    if "logger" in config:
        config.logger.parent = config.logger.group = None  # a sweep's trial made again is no trial of that sweep
    return Recorded(config, content["data.json"]["hashes"], content["environment.json"], content["metrics.json"])
