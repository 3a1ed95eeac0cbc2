"""A training's run, whatever is trained: its folder, what is left there, and the records that follow it.

A run folder holds config.yaml, environment.json, data.json, metrics.csv, metrics.json, curves.png and checkpoints/.
"""

import csv
import json
import logging
import math
import platform
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, Timer
from omegaconf import DictConfig, OmegaConf
from torch.distributed import DistError

from fulldeck import __version__
from fulldeck.errors import ConfigError, FulldeckError
from fulldeck.provenance import commit
from fulldeck.training.run_lock import hold
from fulldeck.training.team import team
from fulldeck.training.tracking.record import Record
from fulldeck.training.tracking.records import addresses, closing, open_records
from fulldeck.training.tracking.watch import Samples, Watch
from fulldeck.training.training_pictures import draw_curves

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "lightning", "timm", "torchmetrics", "numpy", "opencv-python-headless", "hydra-core")


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its last word (metrics.json), and where its records are."""

    folder: Path
    metrics: dict[str, Any]
    records: dict[str, dict[str, str]] = field(default_factory=dict)

    def summary(self) -> str:
        """Say in a few lines what came out of ``fulldeck train`` and what to do next."""
        m = self.metrics
        return (
            f"{self.folder}: held-out accuracy {m['val/accuracy']:.2%}, macro F1 {m['val/f1']:.4f}, "
            f"loss {m['val/loss']:.4f} (epoch {m['best_epoch']} of {m['epochs']}, {m['seconds'] / 60:.1f} min)\n"
            f"{self.kept()}next: fulldeck export {self.folder}"
        )

    def kept(self) -> str:
        """Say where the records are, a line each; nothing if there are none."""
        lines = ""
        if "mlflow" in self.records:
            lines += f"kept in MLflow as {self.records['mlflow']['run']}; to see it: fulldeck tracking\n"
        if "wandb" in self.records:
            at = self.records["wandb"]
            if "url" in at:
                lines += f"kept in W&B: {at['url']}\n"
            else:  # one more folder each time that the run was taken up again, all with its id
                lines += f"kept for W&B: wandb sync {Path(at['folder']).parent}/offline-run-*-{at['run']}\n"
        return lines


def savers(folder: Path) -> list[Callback]:
    """Make what saves the best epoch and the last one in a run's folder.

    Two of them, since Lightning's own save_last passes over the epochs that are not the best so far.
    """
    return [
        ModelCheckpoint(folder / "checkpoints", "best", monitor="val/loss", enable_version_counter=False),
        ModelCheckpoint(folder / "checkpoints", "last", enable_version_counter=False),
    ]


def keep(
    trainer: L.Trainer,
    fitted: Callable[[], None],
    folder: Path,
    *,
    config: DictConfig,
    data: Mapping[str, Any],
    samples: Samples,
    keep_model: Callable[[Sequence[Record]], None] | None,
) -> Run:
    """Train, and keep in the run's folder and its records what it was made of and what came out.

    Args:
        trainer: which records are to follow; it was made, and its settings found good, before they are opened.
        fitted: lets it train.
        folder: the run's; it is made.
        config: the run's, with nothing left to be found out.
        data: what data.json is to hold, the images' ``hashes`` among it.
        samples: shows what the network sees.
        keep_model: puts the model into records, if that can be done.

    Raises:
        ConfigError: the folder or a record cannot be made, or the loss was never finite.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{folder} cannot be made ({error.strerror}); choose another place with runs=FOLDER"
        raise ConfigError(msg) from error
    with hold(folder):
        OmegaConf.save(config, folder / "config.yaml", resolve=True)
        here = environment()
        _write_json(folder / "environment.json", here)
        _write_json(folder / "data.json", data)
        records = open_records(config, folder, data["hashes"], here)
        timer = Timer()  # what it has counted is in the checkpoints, so that a resumed run's goes on
        trainer.loggers = [*trainer.loggers, *records]
        # Lightning sets the attribute where mypy does not look.
        trainer.callbacks += [timer, *([Watch(records, samples, folder)] if records else [])]  # type: ignore[attr-defined]
        with closing(records):
            fitted()
            run = record(folder, timer.time_elapsed())
            for other in records:
                other.summary({f"best/{name}": value for name, value in run.metrics.items()})
                other.files([folder / name for name in ("metrics.json", "metrics.csv", "curves.png")])
            if records and keep_model and config.logger.model:
                try:
                    keep_model(records)
                except FulldeckError as error:  # a network that cannot be exported was trained all the same
                    logger.warning("the model is not in the run's record: %s", error)
    return run


def learn(
    trainer: L.Trainer,
    module: L.LightningModule,
    data: Any,
    validation: Any = None,
    *,
    folder: Path,
    resume: bool,
    command: str = "train",
) -> None:
    """Let Lightning train, and raise KeyboardInterrupt on Ctrl-C.

    Args:
        trainer: what trains.
        module: what learns.
        data: a data module, or a loader of what is learned from.
        validation: in the latter case a loader of what judges it.
        folder: the run's.
        resume: go on with its last epoch.
        command: the one that goes on, if it was interrupted.

    Raises:
        FulldeckError: another process of this training is gone.
    """
    handler = signal.getsignal(signal.SIGINT)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    try:
        trainer.fit(module, data, validation, ckpt_path=checkpoint if resume else None)
    except SystemExit:  # Lightning's answer to Ctrl-C, which it ignores from then on
        signal.signal(signal.SIGINT, handler)
        if checkpoint.is_file():
            logger.warning("interrupted; go on with: fulldeck %s --resume %s", command, folder)
        raise KeyboardInterrupt from None
    except RuntimeError as error:
        if trainer.world_size == 1 or not (isinstance(error, DistError) or "gloo" in str(error)):
            raise
        msg = "another process of this training is gone; torchrun --max-restarts N goes on from the last finished epoch"
        raise FulldeckError(msg) from error


def record(folder: Path, seconds: float) -> Run:
    """Write metrics.csv, metrics.json and curves.png from what Lightning logged.

    Args:
        folder: the run.
        seconds: how long it was trained.

    Raises:
        ConfigError: the loss was never finite.
    """
    rows = epochs(folder / "logs")
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", *sorted({key for row in rows for key in row} - {"epoch"})])
        writer.writeheader()
        writer.writerows(rows)
    draw_curves(rows, folder / "curves.png")
    finite = [row for row in rows if math.isfinite(row["val/loss"])]
    if not finite:
        msg = f"{folder}: val/loss was never finite, so nothing was learnt; train with a lower learning rate"
        raise ConfigError(msg)
    best = min(finite, key=lambda row: row["val/loss"])
    metrics = {key: value for key, value in best.items() if key.startswith(("train/", "val/"))}
    metrics |= {"best_epoch": int(best["epoch"]) + 1, "epochs": len(rows), "seconds": round(seconds, 1)}
    _write_json(folder / "metrics.json", metrics)
    return Run(folder, metrics, addresses(folder))


def epochs(logs: Path) -> list[dict[str, float]]:
    """Read what Lightning logged, one row an epoch; an epoch done again after a resume counts as it was last."""
    rows: dict[int, dict[str, float]] = {}
    for file in sorted(logs.glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.partition("_")[2])):
        with file.open(encoding="utf-8") as lines:
            for line in csv.DictReader(lines):
                values = {key: float(value) for key, value in line.items() if value and key != "step"}
                if "epoch" in values:
                    rows.setdefault(int(values["epoch"]), {}).update(values)
    return [rows[epoch] for epoch in sorted(rows) if "val/loss" in rows[epoch]]


def load_config(folder: Path) -> DictConfig:
    """Read the configuration that a run was started with.

    Raises:
        ConfigError: the folder is no run that can go on.
    """
    if not (folder / "config.yaml").is_file() or not (folder / "checkpoints" / "last.ckpt").is_file():
        msg = (
            f"{folder} is no run to resume: it needs config.yaml and checkpoints/last.ckpt (one epoch must be finished)"
        )
        raise ConfigError(msg)
    read_checkpoint(folder / "checkpoints" / "last.ckpt")
    return DictConfig(OmegaConf.load(folder / "config.yaml"))


def refuse_overrides(resume: Path, overrides: Sequence[str]) -> None:
    """Raise ConfigError if there are any: a run that goes on does so as it began."""
    if overrides:
        msg = f"{resume} goes on as its own config.yaml says; leave out {' '.join(overrides)}, or start a new run"
        raise ConfigError(msg)


def trained_on(run: Path) -> dict[str, str]:
    """Return the hashes of the images that a run began with."""
    hashes: dict[str, str] = json.loads((run / "data.json").read_text(encoding="utf-8"))["hashes"]
    return hashes


def refuse_other_images(found: Mapping[str, str], wanted: Mapping[str, str] | None, run: str) -> None:
    """Raise ConfigError if images are not those that a run began with, where these are known."""
    if wanted is not None and found != wanted:
        msg = f"the images have changed since {run} began, so it cannot be as it was; start a new run"
        raise ConfigError(msg)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read one of a run's checkpoints; nothing is unpickled but tensors and plain values.

    Raises:
        ConfigError: it is truncated, or no checkpoint.
    """
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, UnpicklingError) as error:
        msg = f"{file} cannot be read; it is truncated, or no checkpoint of `fulldeck train`"
        raise ConfigError(msg) from error
    if not isinstance(found, dict) or "state_dict" not in found:
        msg = f"{file} is no checkpoint of `fulldeck train`"
        raise ConfigError(msg)
    return found


def run_folder(config: DictConfig, out: Path | None) -> Path:
    """Say where a new run goes: into the folder that was asked for, or into one of its own in ``runs``.

    Raises:
        ConfigError: the folder that was asked for holds something.
    """
    if out is None:
        return new_run_folder(Path(config.runs), config.name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        msg = f"{out} holds something already; name a new folder for the run"
        raise ConfigError(msg)
    return out


def new_run_folder(runs: Path, name: str) -> Path:
    """Name a folder that is not there yet: the time and the run's name."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"
    taken = (runs / (f"{stem}-{i}" if i else stem) for i in range(1000))
    return next(folder for folder in taken if not folder.exists())


def environment() -> dict[str, Any]:
    """Describe what a result depends on beside config and data: code, versions, machine."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return {
        "fulldeck": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "processes": team().count,
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "command": sys.argv[1:],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
