"""What the trainings of the corner-finding and the corner-refining network share: a run, from config to record."""

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch.utils.data import DataLoader

from fulldeck.data.manifest import content_hash
from fulldeck.errors import ConfigError
from fulldeck.training.train import (
    Run,
    environment,
    keep_memory,
    load_config,
    moving_average,
    new_run_folder,
    read_checkpoint,
    record,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a run is made of: what learns, what it learns from and what judges it, and how many pictures these have."""

    module: L.LightningModule
    train: DataLoader[Any]
    validation: DataLoader[Any]
    images: dict[str, int]


def train_outlines(
    kind: str, overrides: list[str], parts: Callable[[DictConfig, bool], Parts], *, resume: Path | None
) -> Run:
    """Train as configs/KIND.yaml says; with ``resume``, go on with an interrupted run.

    Args:
        kind: "locator" or "refiner".
        overrides: Hydra's.
        parts: makes a configuration's parts; the flag says whether to start from ImageNet weights.
        resume: a run folder.

    Raises:
        ConfigError: an override names nothing, or there is nothing to resume.
        DataError: the scenes are not there or cannot be used.
    """
    started = time.monotonic()
    if resume and overrides:
        msg = f"{resume} goes on as its own config.yaml says; leave out {' '.join(overrides)}, or start a new run"
        raise ConfigError(msg)
    config = load_config(resume) if resume else compose_outlines(kind, overrides)
    folder = resume or new_run_folder(Path(config.runs), config.name)
    keep_memory()
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # torch to Lightning, not to us
    L.seed_everything(config.seed, workers=True, verbose=False)
    made = parts(config, config.init is None and not resume)
    if config.init and not resume:
        start_from(made.module, Path(config.init), kind)
    hashes = {str(one): content_hash(Path(one)) for one in (*config.scenes, config.validation)}
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    for name, content in (
        ("environment.json", environment()),
        ("data.json", {"hashes": hashes, "images": made.images}),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    watch = sys.stderr.isatty()
    trainer = L.Trainer(
        max_epochs=config.max_epochs,
        accelerator=config.accelerator,
        devices=1,
        precision=config.precision,
        gradient_clip_val=1.0,
        callbacks=[
            ModelCheckpoint(folder / "checkpoints", "best", monitor="val/loss", enable_version_counter=False),
            ModelCheckpoint(folder / "checkpoints", "last", enable_version_counter=False),
            LearningRateMonitor("epoch"),
            WeightAveraging(multi_avg_fn=moving_average(config.average)),
            *([TQDMProgressBar(leave=True)] if watch else []),
        ],
        logger=CSVLogger(folder, name="logs"),
        enable_progress_bar=watch,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    checkpoint = folder / "checkpoints" / "last.ckpt" if resume else None
    trainer.fit(made.module, made.train, made.validation, ckpt_path=checkpoint)
    if trainer.interrupted:
        logger.warning("interrupted; go on with: fulldeck train-%s --resume %s", kind, folder)
        raise KeyboardInterrupt
    return record(folder, started)


def compose_outlines(kind: str, overrides: list[str]) -> DictConfig:
    """Compose KIND.yaml with Hydra overrides.

    Raises:
        ConfigError: an override does not fit.
    """
    try:
        with initialize_config_module("fulldeck.configs", version_base="1.3"):
            config = compose(kind, overrides)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        msg = f"the configuration does not compose: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error
    return config


def start_from(module: L.LightningModule, run: Path, kind: str) -> None:
    """Load the best weights of another run.

    Raises:
        ConfigError: there are none, or they are of another network.
    """
    checkpoint = run / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        msg = f"{run} is no run of `fulldeck train-{kind}`: {checkpoint} is not there"
        raise ConfigError(msg)
    state: dict[str, Any] = read_checkpoint(checkpoint)["state_dict"]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        msg = f"{run} holds another network: {str(error).splitlines()[0]}"
        raise ConfigError(msg) from error
