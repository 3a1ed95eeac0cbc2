"""``fulldeck train``: compose the configuration, fit, and leave one folder that tells all about the run."""

import ctypes
import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader

from fulldeck.data.augment import Strength
from fulldeck.data.dataset import ALONE, NO_LABEL, DeckDataModule
from fulldeck.errors import ConfigError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import champion_path
from fulldeck.training.backbone import check_sizes
from fulldeck.training.from_model import start_from_model
from fulldeck.training.module import CardModule
from fulldeck.training.precision import best_precision
from fulldeck.training.profiler import Profiler
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
from fulldeck.training.settings import check_settings, composed
from fulldeck.training.teacher import load_teacher
from fulldeck.training.team import Team, team
from fulldeck.training.tracking.record import Record
from fulldeck.training.tracking.records import settle
from fulldeck.training.tracking.watch import Samples


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
    refuse_overrides(resume, overrides)
    return fit(load_config(resume), resume=resume, hashes=trained_on(resume), profile=profile, watch=watch)


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
    ours = team()
    folder = resume or Path(ours.remember("folder", lambda: str(run_folder(config, out))))
    if ours.attempt and not resume and (folder / "checkpoints" / "last.ckpt").is_file():
        # torchrun has started all of them again
        resume, config, hashes = folder, load_config(folder), trained_on(folder)
    keep_memory()
    quiet_lightning()
    L.seed_everything(config.seed, workers=True, verbose=False)
    torch.set_float32_matmul_precision("high")
    settle(config)
    data = data_module(config)
    data.setup()
    refuse_other_images(data.hashes, hashes, str(resume or "that run"))
    _share(data, ours)
    module = first_module(config, data, None if resume else config.init)
    check_sizes(module.network, config.data.get("start_size") or data.size, data.size)
    if teacher := config.get("teacher"):  # runs from before there were teachers have no such setting
        module.learn_from(load_teacher(_model_or_run(teacher), data.labels, data.some_images(1)))
    if config.trainer.precision == "auto":  # kept in config.yaml, so that a resumed run goes on in the same one
        config.trainer.precision = ours.agree("precision", lambda: best_precision(module, data.size))
    more = [*watch, *([Profiler(folder / "profile")] if profile and ours.first else [])]
    trainer = _trainer(config, folder, ours, more)
    fitted = partial(learn, trainer, module, data, folder=folder, resume=bool(resume))
    with ours.connected(trainer.strategy.root_device.type):
        if not ours.first:
            fitted()
            return Run(folder, json.loads(ours.agree("metrics", str)))
        run = keep(
            trainer,
            fitted,
            folder,
            config=config,
            data={"hashes": data.hashes, "images": data.counts(), "labels": list(data.labels)},
            samples=_samples(data.labels),
            keep_model=partial(_keep_model, folder, data),
        )
        ours.agree("metrics", lambda: json.dumps(run.metrics))
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
    several: dict[str, Any] = {"strategy": "ddp", "devices": ours.here, "num_nodes": ours.count // ours.here}
    try:
        trainer = L.Trainer(
            max_epochs=config.trainer.max_epochs,
            accelerator=config.trainer.accelerator,
            precision=config.trainer.precision,
            gradient_clip_val=config.trainer.gradient_clip or None,
            callbacks=[*savers(folder), Chance(config.seed, ours.rank), *callbacks(config), *more],
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


def _samples(labels: Sequence[str]) -> Samples:
    """Show a batch of (float [B, 3, H, W] in 0..1, labels' numbers [B])."""

    def samples(batch: Sequence[Tensor]) -> tuple[Any, list[str]]:
        images = (batch[0].float().clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return images, ["no card" if target == NO_LABEL else labels[target] for target in batch[1].tolist()]

    return samples


def _keep_model(folder: Path, data: DeckDataModule, records: Sequence[Record]) -> None:
    """Put the model into the records, and what it answers about all held-out images."""
    from fulldeck.training.tracking.results import keep_model  # noqa: PLC0415 - its export stands on this module

    data.part = ALONE
    keep_model(folder, data, records)


def compose_config(overrides: list[str]) -> DictConfig:
    """Compose train.yaml with Hydra overrides.

    Raises:
        ConfigError: an override does not fit.
    """
    config, usual = composed("train", overrides), composed("train", [])
    check_settings(config, usual)
    return config


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


class Chance(Callback):
    """Seeds each epoch by itself: what is drawn in it does not depend on whether the run was interrupted before it.

    Args:
        seed: the run's.
        rank: the process's, else all would augment their images in the same way.
    """

    def __init__(self, seed: int, rank: int) -> None:
        self.seed, self.rank = seed, rank

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Seed torch's generators, from which augmentation and dropout draw."""
        if isinstance(trainer.train_dataloader, DataLoader):
            # It draws a number when an epoch's batches begin: in the first epoch of a process before this, else after.
            trainer.train_dataloader.generator = torch.Generator()
        [seed] = np.random.SeedSequence([self.seed, self.rank, trainer.current_epoch]).generate_state(1)
        torch.manual_seed(int(seed))


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


def quiet_lightning() -> None:
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
