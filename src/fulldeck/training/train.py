"""``fulldeck train``: compose the configuration, fit, and leave one folder that tells all about the run.

A run folder holds config.yaml, environment.json, data.json, metrics.csv, metrics.json, curves.png and checkpoints/.
"""

import csv
import ctypes
import json
import logging
import math
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import torch
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor
from torch.distributed import DistError

from fulldeck import __version__
from fulldeck.data.augment import Strength
from fulldeck.data.dataset import ALONE, DeckDataModule
from fulldeck.errors import ConfigError, FulldeckError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import champion_path
from fulldeck.provenance import commit
from fulldeck.training.from_model import start_from_model
from fulldeck.training.module import CardModule
from fulldeck.training.pictures import draw_curves
from fulldeck.training.precision import best_precision
from fulldeck.training.profiler import Profiler
from fulldeck.training.run_lock import hold
from fulldeck.training.settings import check_settings
from fulldeck.training.teacher import load_teacher
from fulldeck.training.team import Team, team
from fulldeck.training.tracking.record import Record
from fulldeck.training.tracking.records import addresses, choose_kind, closing, open_records
from fulldeck.training.tracking.watch import Watch

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "lightning", "timm", "torchmetrics", "numpy", "opencv-python-headless", "hydra-core")


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its last word (metrics.json), and where its records are."""

    folder: Path
    metrics: dict[str, Any]
    records: dict[str, dict[str, str]] = field(default_factory=dict)

    def summary(self) -> str:
        """Say in a few lines what came out and what to do next."""
        m = self.metrics
        kept = ""
        if "mlflow" in self.records:
            kept += f"kept in MLflow as {self.records['mlflow']['run']}; to see it: fulldeck tracking\n"
        if "wandb" in self.records:
            at = self.records["wandb"]
            kept += f"kept in W&B: {at['url']}\n" if "url" in at else f"kept for W&B: wandb sync {at['folder']}\n"
        return (
            f"{self.folder}: held-out accuracy {m['val/accuracy']:.2%}, macro F1 {m['val/f1']:.4f}, "
            f"loss {m['val/loss']:.4f} (epoch {m['best_epoch']} of {m['epochs']}, {m['seconds'] / 60:.1f} min)\n{kept}"
            f"next: fulldeck export {self.folder}"
        )


def train(
    overrides: list[str],
    *,
    resume: Path | None = None,
    profile: bool = False,
    out: Path | None = None,
    watch: Sequence[Callback] = (),
) -> Run:
    """Train as the configuration says; with ``resume``, go on with an interrupted run as its own config says.

    Args:
        overrides: Hydra's.
        resume: the folder of a run to go on with.
        profile: record where the time goes.
        out: the run's folder, new or empty; by default one is named in the configuration's ``runs``.
        watch: further callbacks of Lightning's.

    Raises:
        ConfigError: an override names nothing or has a wrong value, there is nothing to resume, or the loss is lost.
        DataError: the dataset is not there or cannot be used.
        KeyboardInterrupt: Ctrl-C; whatever epochs were finished can be resumed from.
    """
    if not resume:
        return fit(compose_config(overrides), profile=profile, out=out, watch=watch)
    if overrides:
        msg = f"{resume} goes on as its own config.yaml says; leave out {' '.join(overrides)}, or start a new run"
        raise ConfigError(msg)
    return fit(load_config(resume), resume=resume, hashes=_trained_on(resume), profile=profile, watch=watch)


def fit(
    config: DictConfig,
    *,
    resume: Path | None = None,
    hashes: dict[str, str] | None = None,
    profile: bool = False,
    out: Path | None = None,
    watch: Sequence[Callback] = (),
) -> Run:
    """Train as a whole configuration says.

    Args:
        config: the configuration; what it leaves to be found out here ("auto") is filled in.
        resume: the folder of a run to go on with.
        hashes: of the images that it must be trained on, as in data.json.
        profile: record where the time goes.
        out: the run's folder, new or empty; by default one is named in the configuration's ``runs``.
        watch: further callbacks of Lightning's.

    Raises:
        ConfigError: the settings cannot be used here, or the loss is lost.
        DataError: the dataset is not there or cannot be used.
        KeyboardInterrupt: Ctrl-C.
    """
    started = time.monotonic()
    ours = team()
    folder = resume or Path(ours.remember("folder", lambda: str(run_folder(config, out))))
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if ours.attempt and not resume and checkpoint.is_file():  # torchrun has started all of them again
        resume, config, hashes = folder, load_config(folder), _trained_on(folder)
    keep_memory()
    _quiet_lightning()
    L.seed_everything(config.seed, workers=True, verbose=False)
    torch.set_float32_matmul_precision("high")
    if "logger" not in config:  # runs from before there were records have no such setting
        config.logger = compose_config(["logger=none"]).logger
    config.logger.kind = choose_kind(config.logger.kind)

    data = data_module(config)
    data.setup()
    if hashes is not None and data.hashes != hashes:
        msg = f"the images have changed since {resume or 'that run'} began, so it cannot be as it was; start a new run"
        raise ConfigError(msg)
    _share(data, ours)
    module = first_module(config, data, None if resume else config.init)
    if teacher := config.get("teacher"):  # runs from before there were teachers have no such setting
        module.learn_from(load_teacher(_model_or_run(teacher), data.labels, data.some_images(1)))
    if config.trainer.precision == "auto":  # kept in config.yaml, so that a resumed run goes on in the same one
        config.trainer.precision = ours.agree("precision", lambda: best_precision(module, data.size))
    more = [*watch, *([Profiler(folder / "profile")] if profile and ours.first else [])]
    trainer = _trainer(config, folder, ours, more)
    fitted = partial(_run, trainer, module, data, folder, checkpoint if resume else None)
    with ours.connected(trainer.strategy.root_device.type):
        if not ours.first:
            torch.manual_seed(config.seed + ours.rank)  # else all would augment their images in the same way
            fitted()
            return Run(folder, json.loads(ours.agree("metrics", str)))
        run = _keep(trainer, fitted, folder, config=config, data=data, started=started)
        ours.agree("metrics", lambda: json.dumps(run.metrics))
    return run


def _keep(
    trainer: L.Trainer,
    fitted: Callable[[], None],
    folder: Path,
    *,
    config: DictConfig,
    data: DeckDataModule,
    started: float,
) -> Run:
    """Train, and keep in the run's folder and its records what it was made of and what came out.

    Args:
        trainer: which records are to follow.
        fitted: lets it train.
        folder: the run's; it is made.
        config: the run's, with nothing left to be found out.
        data: its images, set up.
        started: when the work began, on the monotonic clock.

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
        _write_json(folder / "data.json", {"hashes": data.hashes, "images": data.counts(), "labels": list(data.labels)})
        records = open_records(config, folder, data.hashes, here)
        with closing(records):
            _follow(trainer, records)
            fitted()
            run = record(folder, started)
            for other in records:
                other.summary({f"best/{name}": value for name, value in run.metrics.items()})
                other.files([folder / name for name in ("metrics.json", "metrics.csv", "curves.png")])
            if records and config.logger.model:
                data.part = ALONE  # the model is asked about all held-out images
                _keep_model(folder, data, records)
    return run


def _share(data: DeckDataModule, ours: Team) -> None:
    """Let each process feed its own part of every batch.

    Raises:
        ConfigError: there is no part for each, or machines have different images.
    """
    if data.batch_size % ours.count:
        msg = f"data.batch_size={data.batch_size} images are no equal parts for {ours.count} processes"
        raise ConfigError(msg)
    if min(data.counts().values()) < ours.count:
        msg = f"there are fewer images than processes, {ours.count}: {data.counts()}"
        raise ConfigError(msg)
    found = json.dumps(sorted(data.hashes.values()))
    if ours.agree("images", lambda: found) != found:
        msg = f"the images in {', '.join(data.hashes)} are not those of the first machine; copy them from there"
        raise ConfigError(msg)
    data.part = ours.rank, ours.count


def _trainer(config: DictConfig, folder: Path, ours: Team, more: Sequence[Callback]) -> L.Trainer:
    """Make Lightning's trainer, which saves the best epoch and the last one in the run's folder.

    Raises:
        ConfigError: its settings cannot be used here.
    """
    # Two of them, since Lightning's own save_last passes over the epochs that are not the best so far.
    best = ModelCheckpoint(folder / "checkpoints", "best", monitor="val/loss", enable_version_counter=False)
    last = ModelCheckpoint(folder / "checkpoints", "last", enable_version_counter=False)
    several: dict[str, Any] = {"strategy": "ddp", "devices": ours.here, "num_nodes": ours.count // ours.here}
    try:
        trainer = L.Trainer(
            max_epochs=config.trainer.max_epochs,
            accelerator=config.trainer.accelerator,
            precision=config.trainer.precision,
            gradient_clip_val=config.trainer.gradient_clip or None,
            callbacks=[best, last, *callbacks(config), *more],
            logger=CSVLogger(folder, name="logs"),  # one more version_N each time the run is taken up again
            enable_progress_bar=config.trainer.progress and sys.stderr.isatty(),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            reload_dataloaders_every_n_epochs=1 if config.data.get("shards") else 0,  # a stream is of one epoch
            use_distributed_sampler=False,  # our own batches know which part of them is ours
            **(several if ours.launched else {"devices": config.trainer.devices}),
        )
    except (MisconfigurationException, ValueError) as error:
        msg = f"these trainer settings cannot be used here: {error}"
        raise ConfigError(msg) from error
    if trainer.world_size > ours.count:
        msg = f"for {trainer.world_size} devices: torchrun --nproc-per-node {trainer.world_size} -m fulldeck train ..."
        raise ConfigError(msg)
    return trainer


def _follow(trainer: L.Trainer, records: Sequence[Record]) -> None:
    """Let records follow a trainer, which was made, and its settings found good, before they were opened."""
    if records:
        trainer.loggers = [*trainer.loggers, *records]
        # Lightning sets the attribute where mypy does not look.
        trainer.callbacks.append(Watch(records))  # type: ignore[attr-defined]


def _run(trainer: L.Trainer, module: CardModule, data: DeckDataModule, folder: Path, checkpoint: Path | None) -> None:
    """Let Lightning train, and raise KeyboardInterrupt on Ctrl-C.

    Raises:
        FulldeckError: another process of this training is gone.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, data, ckpt_path=checkpoint)
    except SystemExit:  # Lightning's answer to Ctrl-C, which it ignores from then on
        signal.signal(signal.SIGINT, handler)
        if (folder / "checkpoints" / "last.ckpt").is_file():
            logger.warning("interrupted; go on with: fulldeck train --resume %s", folder)
        raise KeyboardInterrupt from None
    except RuntimeError as error:
        if trainer.world_size == 1 or not (isinstance(error, DistError) or "gloo" in str(error)):
            raise
        msg = "another process of this training is gone; torchrun --max-restarts N goes on from the last finished epoch"
        raise FulldeckError(msg) from error


def _keep_model(folder: Path, data: DeckDataModule, records: Sequence[Record]) -> None:
    """Put the model into the records; a network that cannot be exported was trained all the same."""
    from fulldeck.training.tracking.results import keep_model  # noqa: PLC0415 - its export stands on this module

    try:
        keep_model(folder, data, records)
    except FulldeckError as error:
        logger.warning("the model is not in the run's record: %s", error)


def record(folder: Path, started: float) -> Run:
    """Write metrics.csv, metrics.json and curves.png from what Lightning logged.

    Args:
        folder: the run.
        started: when the training began, on the monotonic clock.

    Raises:
        ConfigError: the loss was never finite.
    """
    rows = epochs(folder / "logs")
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", *sorted({key for row in rows for key in row} - {"epoch"})])
        writer.writeheader()
        writer.writerows(rows)
    draw_curves(rows, folder / "curves.png")
    seconds = time.monotonic() - started
    finite = [row for row in rows if math.isfinite(row["val/loss"])]
    if not finite:
        msg = f"{folder}: val/loss was never finite, so nothing was learnt; train with a lower model.lr"
        raise ConfigError(msg)
    best = min(finite, key=lambda row: row["val/loss"])
    metrics = {key: value for key, value in best.items() if key.startswith(("train/", "val/"))}
    metrics |= {"best_epoch": int(best["epoch"]) + 1, "epochs": len(rows), "seconds": round(seconds, 1)}
    _write_json(folder / "metrics.json", metrics)
    return Run(folder, metrics, addresses(folder))


def compose_config(overrides: list[str]) -> DictConfig:
    """Compose train.yaml with Hydra overrides.

    Raises:
        ConfigError: an override does not fit.
    """
    try:
        with initialize_config_module("fulldeck.configs", version_base="1.3"):
            config, usual = compose("train", overrides), compose("train")
        for composed in (config, usual):
            OmegaConf.resolve(composed)
    except (HydraException, OmegaConfBaseException) as error:
        sentence = " ".join(str(error).split())
        msg = f"the configuration does not compose: {sentence}"
        raise ConfigError(msg) from error
    check_settings(config, usual)
    return config


def _trained_on(run: Path) -> dict[str, str]:
    """Return the hashes of the images that a run began with."""
    hashes: dict[str, str] = json.loads((run / "data.json").read_text(encoding="utf-8"))["hashes"]
    return hashes


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


def first_module(config: DictConfig, data: DeckDataModule, init: str | None) -> CardModule:
    """Make the network that a training begins with.

    Args:
        config: the run's.
        data: its images, set up.
        init: what to start from, if anything: a run folder, a model file, or champion.

    Raises:
        ConfigError: there is nothing to start from, or it is another network or of other labels.
        ModelError: the model file cannot be used.
    """
    options: Any = OmegaConf.to_container(config.model)
    if not init:
        return CardModule(labels=data.labels, **options)
    start = _model_or_run(init)
    # Which channels are the weakest is a matter of trained weights: they are loaded first, unless pruned themselves.
    share, done = options.get("prune", 0.0), _pruned(start)
    module = CardModule(labels=data.labels, **(options | {"prune": share if done else 0.0}))
    if start.suffix == ".onnx":
        start_from_model(module, start, data.some_images())
    else:
        start_from(module, start)
    if not done:
        module.prune(share)
    return module


def _model_or_run(name: str) -> Path:
    return champion_path() if name == "champion" else Path(str(name))


def _pruned(start: Path) -> bool:
    """Whether a model file or a run has lost channels."""
    if start.suffix == ".onnx":
        config = Classifier(start, threads=1).info.config
    elif (start / "config.yaml").is_file():
        config = OmegaConf.to_container(OmegaConf.load(start / "config.yaml"))  # type: ignore[assignment]
    else:
        return False  # and no run, as is told where its weights are looked for
    return bool(config.get("model", {}).get("prune"))


def start_from(module: CardModule, run: Path) -> None:
    """Load the best weights of another run.

    Raises:
        ConfigError: there are none, or they are of another network or of other labels.
    """
    checkpoint = run / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        msg = f"init={run} is no run to start from: {checkpoint} is not there"
        raise ConfigError(msg)
    state = read_checkpoint(checkpoint)["state_dict"]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        msg = f"{checkpoint} holds another network, or other labels, than this configuration"
        raise ConfigError(msg) from error


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


def data_module(config: DictConfig) -> DeckDataModule:
    """Make the data module that the configuration describes."""
    options: dict[str, Any] = OmegaConf.to_container(config.data, resolve=True)  # type: ignore[assignment]
    try:
        strength = Strength(**options.pop("augment")) if options["augment"] else options.pop("augment")
    except TypeError as error:
        msg = f"data.augment: {str(error).partition('() ')[2]}; its settings are {', '.join(Strength.__annotations__)}"
        raise ConfigError(msg) from error
    folder, extra, cache = Path(options.pop("folder")), options.pop("extra"), Path(options.pop("cache"))
    outliers = options.pop("outliers", [])  # runs from before there were outliers have no such setting
    exclude = options.pop("exclude", None)  # runs from before there was such a list have no such setting
    if shards := options.pop("shards", None):  # runs from before there were shards have no such setting
        if extra or outliers or exclude or options["validation"]:
            msg = (
                "data.shards takes the place of data.extra, data.outliers, data.exclude and data.validation: "
                "leave these to `fulldeck data shards`"
            )
            raise ConfigError(msg)
        from fulldeck.data.streaming import StreamedDataModule  # noqa: PLC0415 - needs another extra

        return StreamedDataModule(str(shards), cache=cache, augment=strength, seed=config.seed, **options)
    return DeckDataModule(
        folder,
        extra=[Path(other) for other in extra],
        outliers=[Path(other) for other in outliers],
        cache=cache,
        augment=strength,
        seed=config.seed,
        exclude=Path(exclude) if exclude else None,
        **options,
    )


def callbacks(config: DictConfig) -> list[Callback]:
    """Make what goes along with a fit: early stopping, the learning rate's record, averaging, the progress bar."""
    chosen: list[Callback] = [
        EarlyStopping("val/loss", patience=config.trainer.patience),
        LearningRateMonitor("epoch"),
    ]
    if config.trainer.average:
        chosen.append(WeightAveraging(multi_avg_fn=moving_average(config.trainer.average)))
    if config.trainer.progress and sys.stderr.isatty():
        chosen.append(TQDMProgressBar(leave=True))
    return chosen


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """Return an exponential moving average whose memory is short at first and grows to ``decay``.

    It takes all averages, which it changes, the current values, and how many were averaged: tensors of one type, in one
    call for all, since there are hundreds of small ones.

    Without the ramp, min(decay, (1 + n) / (10 + n)) as in TensorFlow's ExponentialMovingAverage, a short training
    would be judged by the weights it began with.
    """

    @torch.no_grad()
    def average(averaged: list[Tensor], current: list[Tensor], n: Tensor) -> None:
        kept = min(decay, (1 + int(n)) / (10 + int(n)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - kept)  # what torch's own averages call
        else:  # counters of batches
            for own, other in zip(averaged, current, strict=True):
                own.copy_(own * kept + other * (1 - kept))

    return average


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


def _quiet_lightning() -> None:
    """Let Lightning speak through our logging, at our level: on import it gives itself a handler and the level INFO."""
    logging.getLogger("lightning").handlers.clear()
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # torch to Lightning, not to us
    warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__`")  # each reader counts its own part


def keep_memory() -> None:
    """Tell glibc to keep freed memory: each step takes the same gigabyte again, and new pages cost a tenth of it."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-4, 0)  # M_MMAP_MAX: no block of its own for a large tensor
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: do not give the top back


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
