"""``fulldeck train-locator``: from composed scenes to a network that finds the corners of cards."""

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from fulldeck.training.locator_data import SceneBatches, Scenes
from fulldeck.training.locator_module import LocatorModule
from fulldeck.training.outline_run import Parts, start_from, train_outlines
from fulldeck.training.train import Run


def train_locator(overrides: list[str], *, resume: Path | None = None) -> Run:
    """Train the locator as configs/locator.yaml says; with ``resume``, go on with an interrupted run.

    The run folder is laid out as that of ``fulldeck train``.

    Raises:
        ConfigError: an override names nothing, or there is nothing to resume.
        DataError: the scenes are not there or cannot be used.
    """
    return train_outlines("locator", overrides, _parts, resume=resume)


def _parts(config: DictConfig, pretrained: bool) -> Parts:
    scenes = Scenes([Path(folder) for folder in config.scenes], config.size, config.seed)
    watched = Scenes([Path(config.validation)], config.size, None)
    module = LocatorModule(
        width=config.width, lr=config.lr, weight_decay=config.weight_decay, warmup=config.warmup, pretrained=pretrained
    )
    return Parts(
        module,
        SceneBatches(scenes, config.batch_size, config.seed),
        SceneBatches(watched, config.batch_size),
        {"train": len(scenes), "validation": len(watched)},
    )


def trained_locator(run: Path) -> tuple[DictConfig, LocatorModule]:
    """Read a run's configuration and its best weights."""
    config = DictConfig(OmegaConf.load(run / "config.yaml"))
    module = LocatorModule(width=config.width, pretrained=False)
    start_from(module, run, "locator")
    return config, module.eval().to(torch.float32)
