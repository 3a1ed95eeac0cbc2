"""Opens the records that a configuration asks for, and closes them with how the run ended."""

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fulldeck.data.manifest import data_hash
from fulldeck.errors import ConfigError
from fulldeck.training.tracking.record import Facts, Outcome, Record

KINDS = {"none": (), "mlflow": ("mlflow",), "wandb": ("wandb",), "both": ("mlflow", "wandb")}
ADDRESSES = "tracking.json"
"""The file in a run's folder that says where its records are."""


def choose_kind(kind: str) -> str:
    """Return what ``auto`` stands for here, and any other kind as it is.

    Raises:
        ConfigError: there is no such kind, or its package is not installed.
    """
    if kind == "auto":
        return "mlflow" if importlib.util.find_spec("mlflow") else "none"
    if kind not in KINDS:
        msg = f"logger.kind is {', '.join(KINDS)} or auto, not {kind!r}"
        raise ConfigError(msg)
    for package in KINDS[kind]:
        if not importlib.util.find_spec(package):
            msg = f"logger={kind} needs {package}: pip install 'fulldeck[tracking]', or train with logger=none"
            raise ConfigError(msg)
    return kind


def settle(config: DictConfig) -> None:
    """Find out who keeps a run's record, and note it in its configuration.

    Raises:
        ConfigError: ``logger.kind`` cannot be used here.
    """
    if "logger" not in config:  # runs from before there were records have no such setting
        config.logger = {"kind": "none", "project": None, "parent": None, "group": None, "model": False}
    config.logger.kind = choose_kind(config.logger.kind)


def open_records(config: DictConfig, folder: Path, hashes: dict[str, str], environment: dict[str, Any]) -> list[Record]:
    """Open the records of a run: those that its folder names are gone on with, others are begun.

    Args:
        config: the run's, in which ``logger.kind`` is one of ``KINDS``.
        folder: the run's, with config.yaml, data.json and environment.json.
        hashes: of the images, as in data.json.
        environment: as in environment.json.

    Raises:
        ConfigError: a record cannot be kept.
    """
    facts = Facts(
        folder=folder,
        project=config.logger.project,
        config=OmegaConf.to_container(config, resolve=True),  # type: ignore[arg-type]
        hashes=hashes,
        data_hash=data_hash(hashes),
        environment=environment,
        files=tuple(folder / name for name in ("config.yaml", "data.json", "environment.json")),
        parent=config.logger.parent,
        group=config.logger.group,
    )
    known = addresses(folder)
    records: dict[str, Record] = {}
    try:
        for name in KINDS[config.logger.kind]:
            if name == "wandb" and os.environ.get("WANDB_MODE") == "disabled":
                continue  # W&B would take all and keep nothing
            records[name] = _open(name, facts, known.get(name))
    except BaseException:
        for record in records.values():
            record.close("failed")
        raise
    if records:
        now = known | {name: record.address for name, record in records.items()}
        (folder / ADDRESSES).write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    return list(records.values())


def addresses(folder: Path) -> dict[str, dict[str, str]]:
    """Say where the records of the run in a folder are, by their kind; nothing of a run that has none."""
    file = folder / ADDRESSES
    found: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


@contextmanager
def closing(records: Sequence[Record]) -> Iterator[None]:
    """Close records when the work in them is done, with the outcome that fits how it ended."""
    outcome: Outcome = "failed"
    try:
        yield
        outcome = "finished"
    except KeyboardInterrupt:
        outcome = "killed"
        raise
    finally:
        for record in records:
            record.close(outcome)


def _open(name: str, facts: Facts, address: dict[str, Any] | None) -> Record:
    """Import what is needed, and no more: each takes seconds."""
    if name == "mlflow":
        from fulldeck.training.tracking.mlflow_record import MlflowRecord  # noqa: PLC0415

        return MlflowRecord(facts, address)
    from fulldeck.training.tracking.wandb_record import WandbRecord  # noqa: PLC0415

    return WandbRecord(facts, address)
