"""``fulldeck train-refiner``: from composed scenes to a network that mends the corners of cards that were found."""

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from fulldeck.training.outline_run import Parts, start_from, train_outlines
from fulldeck.training.refiner_data import OutlineBatches, Outlines
from fulldeck.training.refiner_module import RefinerModule
from fulldeck.training.train import Run


def train_refiner(overrides: list[str], *, resume: Path | None = None) -> Run:
    """Train the refiner as configs/refiner.yaml says; with ``resume``, go on with an interrupted run.

    The run folder is laid out as that of ``fulldeck train``.

    Raises:
        ConfigError: an override names nothing, or there is nothing to resume.
        DataError: the scenes are not there or cannot be used.
    """
    return train_outlines("refiner", overrides, _parts, resume=resume)


def _parts(config: DictConfig, pretrained: bool) -> Parts:
    outlines = Outlines([Path(folder) for folder in config.scenes], config.seed)
    watched = Outlines([Path(config.validation)], None)
    module = RefinerModule(lr=config.lr, weight_decay=config.weight_decay, warmup=config.warmup, pretrained=pretrained)
    return Parts(
        module,
        OutlineBatches(outlines, config.batch_size, config.seed),
        OutlineBatches(watched, config.batch_size),
        {"train": len(outlines), "validation": len(watched)},
    )


def trained_refiner(run: Path) -> tuple[DictConfig, RefinerModule]:
    """Read a run's configuration and its best weights."""
    config = DictConfig(OmegaConf.load(run / "config.yaml"))
    module = RefinerModule(pretrained=False)
    start_from(module, run, "refiner")
    return config, module.eval().to(torch.float32)
