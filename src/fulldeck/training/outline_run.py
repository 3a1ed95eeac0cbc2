"""What the trainings of the corner-finding and the corner-refining network share: a run, from config to record."""

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import lightning as L  # noqa: N812 - Lightning's own custom
import numpy as np
from lightning.pytorch.callbacks import LearningRateMonitor, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader

from fulldeck.data.manifest import content_hash
from fulldeck.errors import ConfigError
from fulldeck.inference.model_file import champion_path, locator_beside
from fulldeck.training.from_locator import start_from_locator
from fulldeck.training.run import (
    Run,
    keep,
    learn,
    load_config,
    read_checkpoint,
    refuse_other_images,
    refuse_overrides,
    run_folder,
    savers,
    trained_on,
)
from fulldeck.training.settings import composed
from fulldeck.training.tracking.record import Record
from fulldeck.training.tracking.records import settle
from fulldeck.training.tracking.watch import Samples
from fulldeck.training.train import keep_memory, moving_average, quiet_lightning

_MEASURED = 8
"""Batches that statistics are measured on."""

OUTLINE = (0, 200, 0)
"""The colour of outlines in pictures of samples, RGB."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
        module: what learns.
        train: what it learns from.
        validation: what judges it.
        images: how many pictures these have.
        samples: shows a batch.
        keep_model: puts the model of a run's folder into records; None where it is no file of its own.
    """

    module: L.LightningModule
    train: DataLoader[Any]
    validation: DataLoader[Any]
    images: dict[str, int]
    samples: Samples
    keep_model: Callable[[Path, Sequence[Record]], None] | None = None


def train_outlines(
    kind: str,
    overrides: list[str],
    parts: Callable[[DictConfig, bool, int], Parts],
    *,
    resume: Path | None,
    out: Path | None,
) -> Run:
    """Train as configs/KIND.yaml says; with ``resume``, go on with an interrupted run.

    Args:
        kind: "locator" or "refiner".
        overrides: Hydra's.
        parts: makes a configuration's parts; the flag says whether to start from ImageNet weights, the number which
            epoch comes first.
        resume: a run folder.
        out: the run's folder, new or empty; by default one is named in the configuration's ``runs``.

    Raises:
        ConfigError: an override names nothing, or there is nothing to resume.
        DataError: the scenes are not there or cannot be used.
        KeyboardInterrupt: Ctrl-C; whatever epochs were finished can be resumed from.
    """
    if resume:
        refuse_overrides(resume, overrides)
    config = load_config(resume) if resume else composed(kind, overrides)
    folder = resume or run_folder(config, out)
    keep_memory()
    quiet_lightning()
    L.seed_everything(config.seed, workers=True, verbose=False)
    settle(config)
    begun = read_checkpoint(folder / "checkpoints" / "last.ckpt")["epoch"] + 1 if resume else 0
    made = parts(config, config.init is None and not resume, begun)
    if config.init and not resume:
        _begin_with(made, locator_beside(champion_path()) if config.init == "champion" else Path(config.init), kind)
    hashes = {str(one): content_hash(Path(one)) for one in (*config.scenes, config.validation)}
    if resume:
        refuse_other_images(hashes, trained_on(resume), str(resume))
    watch = sys.stderr.isatty()
    trainer = L.Trainer(
        max_epochs=config.max_epochs,
        accelerator=config.accelerator,
        devices=1,
        precision=config.precision,
        gradient_clip_val=1.0,
        callbacks=[
            *savers(folder),
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
    loaders, command = (made.train, made.validation), f"train-{kind}"
    return keep(
        trainer,
        partial(learn, trainer, made.module, *loaders, folder=folder, resume=bool(resume), command=command),
        folder,
        config=config,
        data={"hashes": hashes, "images": made.images},
        samples=made.samples,
        keep_model=partial(made.keep_model, folder) if made.keep_model else None,
    )


def outlined(images: Tensor, cards: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Draw outlines into pictures.

    Args:
        images: uint8 [N, H, W, 3].
        cards: for each of them the corners of its cards in pixels, [cards, 4, 2].
    """
    drawn = images.cpu().numpy().copy()
    for picture, corners in zip(drawn, cards, strict=True):
        cv2.polylines(picture, [np.rint(quad).astype(np.int32) for quad in corners], isClosed=True, color=OUTLINE)
    return drawn


def _begin_with(parts: Parts, start: Path, kind: str) -> None:
    """Load the weights of a run's folder or of a locator file.

    Raises:
        ConfigError: there are none, or they are of another network.
        ModelError: the file cannot be used.
    """
    if start.suffix != ".onnx":
        start_from(parts.module, start, kind)
        return
    network: Any = parts.module.network
    some = (batch[0].permute(0, 3, 1, 2).float() / 255 for batch in itertools.islice(parts.train, _MEASURED))
    start_from_locator(network, "refiner" if kind == "refiner" else "network", start, some)


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
