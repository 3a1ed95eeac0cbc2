"""``fulldeck sweep``: trainings that Optuna chooses, by as many workers as are started on one study.

A worker is a process that runs this; there is no other. What they share is the study in its database: each asks it what
to try next, tells it each epoch's figure, and is told when a trial is hopeless. Any of them may die, and come back.
"""

import logging
import math
import platform
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import optuna
import torch
from lightning.pytorch.callbacks import Callback
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from torch.utils.flop_counter import FlopCounterMode

from fulldeck.errors import ConfigError
from fulldeck.remote import public_address
from fulldeck.training.export import load_run
from fulldeck.training.run import Run
from fulldeck.training.run_lock import hold, is_held
from fulldeck.training.search import Search, overrides, read_search
from fulldeck.training.settings import quoted
from fulldeck.training.sweep_report import write_report
from fulldeck.training.team import team
from fulldeck.training.tracking.records import KINDS, choose_kind
from fulldeck.training.train import compose_config, train

logger = logging.getLogger(__name__)

HOME = Path("runs/sweeps")
BEAT, SILENCE = 30, 300
"""Seconds between a worker's signs of life, and without one after which its trial is tried again."""

RETRIES = 1
"""How often a trial is tried again whose worker has died."""

WAIT = 30.0
"""Seconds that a worker waits for the run in MLflow which the study's first worker makes; then it makes one itself."""

PARENT, HOST = "mlflow_run", "host"
"""Names of what a study notes: the run in MLflow that its trials are children of; and each trial, its machine."""


@dataclass(frozen=True)
class Sweep:
    """What a worker leaves: the study as it is now, and where its table and pictures are."""

    study: optuna.Study
    folder: Path
    wanted: int

    def summary(self) -> str:
        """Say how far the study is, what is best so far, and how to train with that."""
        done = _in(self.study, TrialState.COMPLETE, TrialState.PRUNED)
        pruned = len(_in(self.study, TrialState.PRUNED))
        lines = [f"{self.study.study_name}: {len(done)} of {self.wanted} trials, {pruned} of them pruned"]
        if _in(self.study, TrialState.COMPLETE):
            best = self.study.best_trial
            chosen = " ".join(overrides(best.params))
            lines.append(f"best: trial {best.number}, {best.value:.4f}, {best.user_attrs['run']}\n  {chosen}")
        return "\n".join([*lines, f"table and pictures: {self.folder}"])


class Report(Callback):
    """Tells the study each epoch's figure, and ends the training when the study calls it hopeless.

    Args:
        trial: which trial this is.
        metric: the figure's name.
    """

    def __init__(self, trial: optuna.Trial, metric: str) -> None:
        self.trial = trial
        self.metric = metric
        self.values: list[float] = []
        self.pruned = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Report, and ask.

        Raises:
            ConfigError: an epoch has no such figure.
        """
        if self.metric not in trainer.callback_metrics:
            known = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val/")))
            msg = f"trials cannot be judged by {self.metric!r}: the held-out images give {known}"
            raise ConfigError(msg)
        value = float(trainer.callback_metrics[self.metric])
        self.values.append(value)
        self.trial.report(value, trainer.current_epoch)
        if self.trial.should_prune():
            self.pruned = trainer.should_stop = True


def sweep(
    source: str,
    more: Sequence[str] = (),
    *,
    name: str | None = None,
    storage: str | None = None,
    trials: int | None = None,
) -> Sweep:
    """Work on a study until it has the trials that are wanted; begin it if there is none of that name.

    Args:
        source: what is sought, as in :func:`read_search`.
        more: further overrides of ``fulldeck train``, the same for every trial.
        name: the study's; by default that of the source.
        storage: the database's URL; by default a SQLite file under runs/sweeps.
        trials: how many trials are wanted in all, in place of what the source says.

    Raises:
        ConfigError: the source or an override cannot be used, or the database cannot.
        DataError: the images are not there.
        KeyboardInterrupt: Ctrl-C; the study goes on when this is run again.
    """
    if team().launched:
        msg = "each worker of a sweep trains alone: start fulldeck sweep by itself, as often as you like"
        raise ConfigError(msg)
    search = read_search(source)
    name = name or search.name
    if not re.fullmatch(r"[\w.-]+", name):
        msg = f"a study's name is made of letters, digits, dots, dashes and underscores: {name!r} is not"
        raise ConfigError(msg)
    fixed = [*search.train, *more]
    config = compose_config([*fixed, *search.example()])  # so that a wrong name is found before any trial
    folder = HOME / name
    folder.mkdir(parents=True, exist_ok=True)
    mlflow = "mlflow" in KINDS[choose_kind(config.logger.kind)]
    storage = storage or f"sqlite:///{(HOME / 'studies.db').absolute().as_posix()}"
    with told(storage):
        study = open_study(name, storage, search, project=config.logger.project if mlflow else None)
    parent = study.user_attrs.get(PARENT) if mlflow else None
    if parent:
        from fulldeck.training.tracking.parent import go_on  # noqa: PLC0415 - only where MLflow is

        go_on(parent)
    fixed += [f"logger.parent={parent or 'null'}", f"logger.group={quoted(name)}", "logger.model=false"]
    fixed += [f"runs={quoted(folder / 'runs')}"]

    def objective(trial: optuna.Trial) -> float:
        place = folder / "trials" / str(trial.number)
        place.mkdir(parents=True, exist_ok=True)
        held.enter_context(hold(place))
        trial.set_user_attr(HOST, platform.node())
        return try_once(trial, search, [*fixed, f"name={quoted(f'{name}-{trial.number}')}"])

    wanted = trials or search.trials
    with told(storage):
        try:
            while True:
                give_up_dead(study, folder)
                if len(_in(study, TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)) >= wanted:
                    break
                with ExitStack() as held:  # until the study knows what came of the trial
                    study.optimize(objective, n_trials=1)
        finally:
            write_report(study, folder)
            if parent:
                _keep(study, folder, parent, wanted)
    return Sweep(study, folder, wanted)


def try_once(trial: optuna.Trial, search: Search, fixed: Sequence[str]) -> float:
    """Train as a trial says and return its figure; note with the trial what else came out.

    Raises:
        TrialPruned: it was hopeless, or its figure was never finite.
    """
    report = Report(trial, search.metric)
    try:
        run = train([*fixed, *search.suggest(trial)], watch=[report])
    except ConfigError as error:
        if report.values and not any(map(math.isfinite, report.values)):
            raise optuna.TrialPruned(str(error)) from error
        raise
    note(trial, run)
    if report.pruned:
        raise optuna.TrialPruned
    finite = [value for value in report.values if math.isfinite(value)]
    return min(finite) if search.direction == "minimize" else max(finite)


def note(trial: optuna.Trial, run: Run) -> None:
    """Keep with a trial where its run is, its figures, and what its network costs to ask."""
    trial.set_user_attr("run", str(run.folder))
    if "mlflow" in run.records:
        trial.set_user_attr("mlflow", run.records["mlflow"]["run"])
    for key in ("val/accuracy", "val/loss", "best_epoch", "epochs", "seconds"):
        trial.set_user_attr(key, run.metrics[key])
    trial.set_user_attr("mflops", round(cost(run.folder), 1))


def cost(run: Path) -> float:
    """Return the millions of floating-point operations that a run's network takes for one image.

    Unlike a time, it is the same on every machine, whatever else that is doing.
    """
    config, module = load_run(run)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, config.data.size, config.data.size))
    return float(counter.get_total_flops()) / 1e6


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn what the database of studies raises into one sentence.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        sentence = " ".join(str(error).split())
        msg = f"the database of studies at {public_address(url)} cannot be used: {sentence}"
        raise ConfigError(msg) from error


def open_study(name: str, url: str, search: Search, project: str | None) -> optuna.Study:
    """Open a study, or begin it: whoever begins it also makes its run in MLflow, which the others wait for.

    Args:
        name: the study's.
        url: the database's.
        search: what is sought.
        project: MLflow's experiment; None where MLflow keeps nothing.

    Raises:
        ConfigError: the database's driver is not installed, or the study seeks in the other direction.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings show the stack of whatever ends a trial
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    arguments = {"timeout": 60} if url.startswith("sqlite") else {}  # seconds that a writer waits for another
    try:
        database = RDBStorage(
            url,
            engine_kwargs={"connect_args": arguments, "pool_pre_ping": True},
            heartbeat_interval=BEAT,
            grace_period=SILENCE,
            heartbeat_stale_trial_callback=_try_again,
        )
    except ImportError as error:
        sentence = " ".join(str(error).split())
        msg = f"the database of studies at {public_address(url)} needs a driver: {sentence}"
        raise ConfigError(msg) from error
    shared: dict[str, Any] = {
        "storage": database,
        "sampler": optuna.samplers.TPESampler(),
        "pruner": optuna.pruners.MedianPruner(search.startup_trials, search.warmup_epochs),
    }
    try:
        study = optuna.create_study(study_name=name, direction=search.direction, **shared)
    except DuplicatedStudyError:
        study = optuna.load_study(study_name=name, **shared)
        until = time.monotonic() + WAIT
        while project and PARENT not in study.user_attrs and time.monotonic() < until:
            time.sleep(0.1)
    if project and PARENT not in study.user_attrs:
        from fulldeck.training.tracking.parent import begin  # noqa: PLC0415 - only where MLflow is

        study.set_user_attr(PARENT, begin(project, name))
    if study.direction != StudyDirection[search.direction.upper()]:
        msg = f"the study {name} was begun to {study.direction.name.lower()}; choose another name with --study"
        raise ConfigError(msg)
    return study


def give_up_dead(study: optuna.Study, folder: Path) -> None:
    """Fail the trials whose workers have died, and have each tried once more.

    On this machine a lock in the trial's folder tells at once; of other machines, that they were silent for long.
    """
    optuna.storages.fail_stale_trials(study)
    for trial in _in(study, TrialState.RUNNING):
        here = trial.user_attrs.get(HOST) == platform.node()
        if here and not is_held(folder / "trials" / str(trial.number)):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (UpdateFinishedTrialError, ValueError):  # its worker, or one that gave it up, was faster
                continue
            logger.warning("trial %d has lost its worker; it is tried again", trial.number)
            _try_again(study, trial)


def _try_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Have a trial that failed tried once more, by whoever asks for one next: on which machine is not known yet."""
    copy = deepcopy(trial)
    copy.user_attrs.pop(HOST, None)
    RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)(study, copy)


def _keep(study: optuna.Study, folder: Path, parent: str, wanted: int) -> None:
    """Put the sweep's table and pictures into its run in MLflow, with the state that it is in."""
    from fulldeck.training.tracking.parent import keep  # noqa: PLC0415 - only where MLflow is

    running = bool(_in(study, TrialState.RUNNING))
    done = len(_in(study, TrialState.COMPLETE, TrialState.PRUNED)) >= wanted
    best = study.best_value if _in(study, TrialState.COMPLETE) else None
    keep(parent, folder, best, "running" if running else "finished" if done else "killed")


def _in(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=states)
