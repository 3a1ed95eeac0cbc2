"""What a composed configuration may hold: Hydra takes any value, and a wrong one would fail far from where it was set.

Names and kinds are read off the configuration without overrides; only ranges are written here.
"""

import math
from collections.abc import Callable
from typing import Any

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fulldeck.errors import ConfigError

AT_LEAST = {
    "seed": 0,
    "data.size": 1,
    "data.start_size": 1,
    "data.stored_size": 1,
    "data.batch_size": 1,
    "data.workers": 0,
    "data.holdout": 0,
    "model.prune": 0,
    "model.freeze": 0,
    "model.distil_weight": 0,
    "model.distil_temperature": 0.1,
    "trainer.max_epochs": 1,
    "trainer.patience": 1,
}
AT_MOST = {"seed": 2**32 - 1, "data.holdout": 1, "model.prune": 0.9, "model.distil_weight": 1}
_WHOLE = {"data.start_size"}  # null by default, so that its kind cannot be read off


def composed(name: str, overrides: list[str]) -> DictConfig:
    """Compose a configuration of the package, configs/NAME.yaml, with Hydra overrides.

    Raises:
        ConfigError: an override does not fit.
    """
    try:
        with initialize_config_module("fulldeck.configs", version_base="1.3"):
            config = compose(name, overrides)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        msg = f"the configuration does not compose: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error
    return config


def check_settings(config: DictConfig, usual: DictConfig) -> None:
    """Refuse names that do not exist and values of another kind than the usual ones.

    Args:
        config: a resolved configuration.
        usual: the one that no override has touched.

    Raises:
        ConfigError: a name is unknown, a value is of a wrong kind or out of range.
    """
    usually = _flat(OmegaConf.to_container(usual))
    for name, value in _flat(OmegaConf.to_container(config)).items():
        if name not in usually:
            group = any(other.startswith(f"{name}.") for other in usually)
            if group and value is None:
                continue  # switched off as a whole
            msg = f"{name} is a group of settings, not {value!r}" if group else f"there is no setting {name}"
            raise ConfigError(msg)
        kind = "a whole number" if name in _WHOLE and value is not None else _wanted(usually[name])
        if kind and not _FITS[kind](value):
            msg = f"{name} is {kind}, not {value!r}"
            raise ConfigError(msg)
        if name in AT_LEAST and value is not None and value < AT_LEAST[name]:
            msg = f"{name} is at least {AT_LEAST[name]}, not {value}"
            raise ConfigError(msg)
        if name in AT_MOST and value > AT_MOST[name]:
            msg = f"{name} is at most {AT_MOST[name]}, not {value}"
            raise ConfigError(msg)
    if config.data.start_size is not None and config.data.start_size > config.data.size:
        msg = f"data.start_size={config.data.start_size} is above data.size={config.data.size}; images grow, or stay"
        raise ConfigError(msg)


def quoted(value: object) -> str:
    """Write a path or a text as Hydra's overrides read one, whatever signs are in it."""
    return "'" + str(value).replace("'", "\\'") + "'"


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Name each leaf by its path: {"data": {"size": 160}} is {"data.size": 160}."""
    if not isinstance(tree, dict):
        return {path: tree}
    leaves: dict[str, Any] = {}
    for key, branch in tree.items():
        leaves |= _flat(branch, f"{path}.{key}" if path else str(key))
    return leaves


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_FITS: dict[str, Callable[[object], bool]] = {
    "true or false": lambda value: isinstance(value, bool),
    "a whole number": lambda value: _is_number(value) and isinstance(value, int),
    "a number": lambda value: isinstance(value, int | float) and _is_number(value) and math.isfinite(value),
    "a list": lambda value: isinstance(value, list),
    "a text": lambda value: isinstance(value, str) or _is_number(value),
}


def _wanted(usual: object) -> str | None:
    """Say what kind of value a setting takes, by the usual one; None where that does not tell."""
    kinds = {bool: "true or false", int: "a whole number", float: "a number", list: "a list", str: "a text"}
    return kinds.get(type(usual))
