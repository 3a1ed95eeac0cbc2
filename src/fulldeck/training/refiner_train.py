"""``fulldeck train-refiner``: from composed scenes to a network that mends the corners of cards that were found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fulldeck.training.locator_data import SceneBatches
from fulldeck.training.outline_run import Parts, outlined, start_from, train_outlines
from fulldeck.training.refiner_data import Outlines
from fulldeck.training.refiner_module import RefinerModule
from fulldeck.training.run import Run


def train_refiner(overrides: list[str], *, resume: Path | None = None, out: Path | None = None) -> Run:
    """Train the refiner as configs/refiner.yaml says; with ``resume``, go on with an interrupted run.

    The run folder is laid out as that of ``fulldeck train``, and may be named: ``out``, new or empty.

    Raises:
        ConfigError: an override names nothing, or there is nothing to resume.
        DataError: the scenes are not there or cannot be used.
    """
    return train_outlines("refiner", overrides, _parts, resume=resume, out=out)


def _parts(config: DictConfig, pretrained: bool, epoch: int) -> Parts:
    outlines = Outlines([Path(folder) for folder in config.scenes], config.seed)
    watched = Outlines([Path(config.validation)], None)
    workers = config.get("workers", 0)  # runs from before there were workers have no such setting
    module = RefinerModule(lr=config.lr, weight_decay=config.weight_decay, warmup=config.warmup, pretrained=pretrained)
    return Parts(
        module,
        SceneBatches(outlines, config.batch_size, config.seed, workers=workers, epoch=epoch),
        SceneBatches(watched, config.batch_size, workers=workers),
        {"train": len(outlines), "validation": len(watched)},
        _samples,
    )


def _samples(batch: Sequence[Tensor]) -> tuple[Any, list[str]]:
    """Show squares that rough corners cut out, and in them the true outline of the card."""
    squares, truth = batch[0], batch[1].cpu().numpy()
    corners = [row[None, :8].reshape(-1, 4, 2)[: int(row[8])] * squares.shape[1] for row in truth]
    return outlined(squares, corners), ["card" if len(quads) else "no card" for quads in corners]


def trained_refiner(run: Path) -> tuple[DictConfig, RefinerModule]:
    """Read a run's configuration and its best weights."""
    config = DictConfig(OmegaConf.load(run / "config.yaml"))
    module = RefinerModule(pretrained=False)
    start_from(module, run, "refiner")
    return config, module.eval().to(torch.float32)
