"""What a sweep seeks: read from configs/sweep or from a file of one's own, and asked of Optuna one trial at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna import Trial
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from yaml import YAMLError

from fulldeck.errors import ConfigError
from fulldeck.training.settings import quoted

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

DIRECTIONS = ("minimize", "maximize")
SETTINGS = ("trials", "metric", "direction", "train", "space", "pruning")


@dataclass(frozen=True)
class Search:
    """What to seek, and how.

    Attributes:
        name: of the file that says so.
        trials: how many to finish or prune.
        metric: what is judged by, as training logs it each epoch.
        direction: "minimize" or "maximize".
        train: overrides of every trial.
        space: what each sought setting may be.
        startup_trials, warmup_epochs: when pruning begins.
    """

    name: str
    trials: int
    metric: str
    direction: Literal["minimize", "maximize"]
    train: tuple[str, ...]
    space: dict[str, Distribution]
    startup_trials: int
    warmup_epochs: int

    def suggest(self, trial: Trial) -> list[str]:
        """Choose a value for each sought setting, as overrides."""
        return overrides({name: _ask(trial, name, distribution) for name, distribution in self.space.items()})

    def example(self) -> list[str]:
        """Give one choice that is possible, as overrides."""
        return overrides({name: _any_of(distribution) for name, distribution in self.space.items()})


def overrides(chosen: Mapping[str, Any]) -> list[str]:
    """Write settings as Hydra's overrides."""
    return [f"{name}={quoted(value) if isinstance(value, str) else value}" for name, value in chosen.items()]


def read_search(source: str) -> Search:
    """Read what a sweep seeks.

    Args:
        source: the name of a file in configs/sweep, or the path of a YAML file.

    Raises:
        ConfigError: it is not there, or does not say what it must.
    """
    own = Path(source)
    found: Any
    try:
        if own.suffix in {".yaml", ".yml"}:
            with initialize_config_dir(str(own.parent.absolute()), version_base="1.3"):
                found = OmegaConf.to_container(compose(own.stem), resolve=True)
        else:
            with initialize_config_module("fulldeck.configs", version_base="1.3"):
                found = OmegaConf.to_container(compose(f"sweep/{source}").sweep, resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        sentence = " ".join(str(error).split())
        msg = f"the sweep {source} cannot be read: {sentence}"
        raise ConfigError(msg) from error
    try:
        return _search(own.stem, found)
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        msg = f"the sweep {source} cannot be used: {what}"
        raise ConfigError(msg) from error


def _search(name: str, found: dict[str, Any]) -> Search:
    if unknown := sorted(found.keys() - set(SETTINGS)):
        msg = f"there is no setting {unknown[0]}; there are {', '.join(SETTINGS)}"
        raise ValueError(msg)
    if found["direction"] not in DIRECTIONS:
        msg = f"direction is {' or '.join(DIRECTIONS)}, not {found['direction']!r}"
        raise ValueError(msg)
    if int(found["trials"]) < 1:
        msg = f"trials is at least 1, not {found['trials']}"
        raise ValueError(msg)
    for setting, kind, told in (("train", list, "a list of overrides"), ("space", dict, "names with their limits")):
        if not isinstance(found[setting], kind):
            msg = f"{setting} is {told}, not {found[setting]!r}"
            raise TypeError(msg)
    space = {name: _distribution(name, limits) for name, limits in found["space"].items() if limits is not None}
    if not space:
        msg = "its space is empty, so there is nothing to seek"
        raise ValueError(msg)
    return Search(
        name=name,
        trials=int(found["trials"]),
        metric=str(found["metric"]),
        direction=found["direction"],
        train=tuple(map(str, found["train"])),
        space=space,
        startup_trials=int(found["pruning"]["startup_trials"]),
        warmup_epochs=int(found["pruning"]["warmup_epochs"]),
    )


def _distribution(name: str, given: Any) -> Distribution:
    """Make Optuna's distribution of one setting; whole numbers as limits mean a whole number."""
    try:
        limits = dict(given)
        choices = limits.pop("choices", None)
        if choices is not None:
            return CategoricalDistribution(choices, **limits)
        whole = isinstance(limits["low"], int) and isinstance(limits["high"], int)
        return IntDistribution(**limits) if whole else FloatDistribution(**limits)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"space.{name} needs low and high (and may have log or step), or choices: {error}"
        raise ValueError(msg) from error


def _ask(trial: Trial, name: str, distribution: Distribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def _any_of(distribution: Distribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low
