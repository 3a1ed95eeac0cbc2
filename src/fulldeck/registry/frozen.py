"""The gate's images: found or made, proved by their hash to be the ones that were agreed on, and decoded.

A set that has changed would compare a model with another examination than the last one sat, so it is refused.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fulldeck.data import layout
from fulldeck.data.manifest import content_hash, image_paths
from fulldeck.data.no_card import no_card
from fulldeck.data.render import render
from fulldeck.errors import ConfigError, DataError
from fulldeck.inference import image
from fulldeck.registry.paired import smallest_margin
from fulldeck.registry.rules import LabelledSet, NoCardSet, Rules

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Labelled:
    """Images with labels: N of each; an image is uint8 [H, W, 3] of any size."""

    files: tuple[str, ...]
    labels: tuple[str, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Frozen:
    """All that a gate asks about: the labelled sets by name, and pictures without a card."""

    labelled: dict[str, Labelled]
    no_card_files: tuple[str, ...]
    no_card: tuple[Image, ...]


def load(rules: Rules) -> Frozen:
    """Read every set of a gate, making those that can be made and are not there.

    Raises:
        DataError: A set is not there, or is not what the rules say.
        ConfigError: A set is too small to prove anything by its margin.
    """
    labelled = {name: _labelled(name, rule, rules.confidence) for name, rule in rules.labelled.items()}
    rule = rules.no_card
    if rule.draw is not None and not rule.folder.is_dir():
        no_card(_dataset(rule.folder, "test"), train=0, test=rule.draw.each, seed=rule.draw.seed)
    _verify("no card", rule)
    files = image_paths(rule.folder)
    _enough("no card", len(files), rule.margin, rules.confidence)
    spoilt = rules.corrupted
    wanted = min(spoilt.images, len(labelled[spoilt.of].images)) * len(spoilt.families)
    _enough("the corrupted images", wanted, spoilt.margin, rules.confidence)
    return Frozen(labelled, tuple(files), tuple(image.load(rule.folder / file) for file in files))


def _labelled(name: str, rule: LabelledSet, confidence: float) -> Labelled:
    if rule.render is not None and not rule.folder.is_dir():
        made = rule.render
        render(_dataset(rule.folder), decks=made.decks, per_card=made.per_card, seed=made.seed)
    _verify(name, rule)
    found = layout.find_images(rule.folder)
    _enough(name, len(found), rule.margin, confidence)
    return Labelled(
        files=tuple(path.relative_to(rule.folder).as_posix() for path, _ in found),
        labels=tuple(label for _, label in found),
        images=tuple(image.load(path) for path, _ in found),
    )


def _dataset(folder: Path, *splits: str) -> Path:
    """The dataset that a split's folder belongs to."""
    allowed = splits or layout.SPLITS
    if folder.name not in allowed:
        msg = f"{folder}: what is made for a gate lies in a split, so let the folder end with {' or '.join(allowed)}"
        raise ConfigError(msg)
    return folder.parent


def _verify(name: str, rule: LabelledSet | NoCardSet) -> None:
    if not rule.folder.is_dir():
        msg = (
            f"{rule.folder}: the gate's set {name!r} is not there; `fulldeck data fetch` brings the Kaggle images, and "
            "--gate rendered asks about drawn ones alone"
        )
        raise DataError(msg)
    found = content_hash(rule.folder)
    if found != rule.sha256:
        msg = (
            f"{rule.folder}: the set {name!r} is not the one that the gate was frozen on: its content hash is {found} "
            f"and should be {rule.sha256}; bring the images back, or write a new gate file"
        )
        raise DataError(msg)


def _enough(name: str, images: int, margin: float, confidence: float) -> None:
    least = smallest_margin(images, confidence)
    if margin <= least:
        msg = (
            f"{name}: {images} images prove no margin of {margin:g}, even if both models answer all alike; "
            f"it takes more images, or a margin above {least:.4f}"
        )
        raise ConfigError(msg)
