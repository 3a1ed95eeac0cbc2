"""``fulldeck train-locator``: from composed scenes to a network that finds the corners of cards."""

import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import torch
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fulldeck.data.manifest import content_hash
from fulldeck.errors import ConfigError
from fulldeck.training.locator_data import SceneBatches, Scenes
from fulldeck.training.locator_module import LocatorModule
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


def train_locator(overrides: list[str], *, resume: Path | None = None) -> Run:
    """Train the locator as configs/locator.yaml says; with ``resume``, go on with an interrupted run.

    The run folder is laid out as that of ``fulldeck train``.

    Raises:
        ConfigError: an override names nothing, or there is nothing to resume.
        DataError: the scenes are not there or cannot be used.
    """
    started = time.monotonic()
    if resume and overrides:
        msg = f"{resume} goes on as its own config.yaml says; leave out {' '.join(overrides)}, or start a new run"
        raise ConfigError(msg)
    config = load_config(resume) if resume else compose_locator(overrides)
    folder = resume or new_run_folder(Path(config.runs), config.name)
    keep_memory()
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # torch to Lightning, not to us
    L.seed_everything(config.seed, workers=True, verbose=False)
    folders = [Path(folder) for folder in config.scenes]
    scenes = Scenes(folders, config.size, config.seed)
    watched = Scenes([Path(config.validation)], config.size, None)
    module = LocatorModule(
        width=config.width, lr=config.lr, weight_decay=config.weight_decay, warmup=config.warmup,
        pretrained=config.init is None and not resume,
    )  # fmt: skip
    if config.init and not resume:
        start_locator_from(module, Path(config.init))
    hashes = {str(folder): content_hash(folder) for folder in (*folders, Path(config.validation))}
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    for name, content in (
        ("environment.json", environment()),
        ("data.json", {"hashes": hashes, "images": {"train": len(scenes), "validation": len(watched)}}),
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
    train_batches = SceneBatches(scenes, config.batch_size, config.seed)
    trainer.fit(module, train_batches, SceneBatches(watched, config.batch_size), ckpt_path=checkpoint)
    if trainer.interrupted:
        logger.warning("interrupted; go on with: fulldeck train-locator --resume %s", folder)
        raise KeyboardInterrupt
    return record(folder, started)


def compose_locator(overrides: list[str]) -> DictConfig:
    """Compose locator.yaml with Hydra overrides.

    Raises:
        ConfigError: an override does not fit.
    """
    try:
        with initialize_config_module("fulldeck.configs", version_base="1.3"):
            config = compose("locator", overrides)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        msg = f"the configuration does not compose: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error
    return config


def start_locator_from(module: LocatorModule, run: Path) -> None:
    """Load the best weights of another run.

    Raises:
        ConfigError: there are none, or they are of another network.
    """
    checkpoint = run / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        msg = f"{run} is no run of `fulldeck train-locator`: {checkpoint} is not there"
        raise ConfigError(msg)
    state: dict[str, Any] = read_checkpoint(checkpoint)["state_dict"]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        msg = f"{run} holds another network: {str(error).splitlines()[0]}"
        raise ConfigError(msg) from error


def trained_locator(run: Path) -> tuple[DictConfig, LocatorModule]:
    """Read a run's configuration and its best weights."""
    config = DictConfig(OmegaConf.load(run / "config.yaml"))
    module = LocatorModule(width=config.width, pretrained=False)
    start_locator_from(module, run)
    return config, module.eval().to(torch.float32)
