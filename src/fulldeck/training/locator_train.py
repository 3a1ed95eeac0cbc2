"""``fulldeck train-locator``: from composed scenes to a network that finds the corners of cards."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fulldeck.training.locator_data import SceneBatches, Scenes
from fulldeck.training.locator_module import LocatorModule
from fulldeck.training.outline_run import Parts, outlined, start_from, train_outlines
from fulldeck.training.run import Run
from fulldeck.training.tracking.record import Record


def train_locator(overrides: list[str], *, resume: Path | None = None, out: Path | None = None) -> Run:
    """Train the locator as configs/locator.yaml says; with ``resume``, go on with an interrupted run.

    The run folder is laid out as that of ``fulldeck train``, and may be named: ``out``, new or empty.

    Raises:
        ConfigError: an override names nothing, or there is nothing to resume.
        DataError: the scenes are not there or cannot be used.
    """
    return train_outlines("locator", overrides, _parts, resume=resume, out=out)


def _parts(config: DictConfig, pretrained: bool, epoch: int) -> Parts:
    scenes = Scenes([Path(folder) for folder in config.scenes], config.size, config.seed)
    watched = Scenes([Path(config.validation)], config.size, None)
    workers = config.get("workers", 0)  # runs from before there were workers have no such setting
    module = LocatorModule(
        width=config.width, lr=config.lr, weight_decay=config.weight_decay, warmup=config.warmup, pretrained=pretrained
    )
    return Parts(
        module,
        SceneBatches(scenes, config.batch_size, config.seed, workers=workers, epoch=epoch),
        SceneBatches(watched, config.batch_size, workers=workers),
        {"train": len(scenes), "validation": len(watched)},
        _samples,
        _keep_model,
    )


def _samples(batch: Sequence[Tensor]) -> tuple[Any, list[str]]:
    """Show scenes, and in them the outlines of the cards that are to be found."""
    pictures, cards = batch[0], batch[1].cpu().numpy()
    wanted = [of_one[of_one[:, 11] > 0, 2:10].reshape(-1, 4, 2) for of_one in cards]
    return outlined(pictures, wanted), [f"cards: {len(corners)}" for corners in wanted]


def _keep_model(run: Path, records: Sequence[Record]) -> None:
    """Export a run's network and put it into records."""
    from fulldeck.inference.locate import Locator  # noqa: PLC0415 - used at the end alone
    from fulldeck.training.locator_export import export_locator  # noqa: PLC0415 - it stands on this module

    exported = export_locator(run)
    for record in records:
        record.summary({"model/megabytes": exported.megabytes})
        record.model([exported.file], asdict(Locator(exported.file, threads=1).info))


def trained_locator(run: Path) -> tuple[DictConfig, LocatorModule]:
    """Read a run's configuration and its best weights."""
    config = DictConfig(OmegaConf.load(run / "config.yaml"))
    module = LocatorModule(width=config.width, pretrained=False)
    start_from(module, run, "locator")
    return config, module.eval().to(torch.float32)
