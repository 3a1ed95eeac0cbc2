"""A gate's images as a model is asked about them: corrupted, changed, and at the size that it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fulldeck.data.corruptions import CORRUPTIONS, corrupt
from fulldeck.errors import ConfigError
from fulldeck.inference.image import resize
from fulldeck.registry.behaviour import BEHAVIOURS
from fulldeck.registry.frozen import Frozen, Image
from fulldeck.registry.rules import Rules

Batch = NDArray[np.uint8]


@dataclass(frozen=True)
class Questions:
    """What is asked. Each batch is uint8 [N, S, S, 3].

    Attributes:
        labelled: By set.
        labels: The right labels of each of those, [N].
        corrupted: By family, the same images each.
        corrupted_labels: Their right labels.
        no_card: Pictures without a card.
        plain: The images of the behavioural tests as they are.
        changed: The same images, by change.
    """

    labelled: dict[str, Batch]
    labels: dict[str, tuple[str, ...]]
    corrupted: dict[str, Batch]
    corrupted_labels: tuple[str, ...]
    no_card: Batch
    plain: Batch
    changed: dict[str, Batch]

    def batches(self) -> list[Batch]:
        """Every batch, in the order in which they are asked."""
        several = (*self.labelled.values(), *self.corrupted.values())
        return [*several, self.no_card, self.plain, *self.changed.values()]


def pose(rules: Rules, frozen: Frozen, size: int) -> Questions:
    """Make the questions of a gate for a model that takes images of ``size`` pixels a side.

    The same rules and images give the same questions: chance is drawn from each image's place in its set.

    Raises:
        ConfigError: The rules name a family of corruptions that there is not.
    """
    unknown = [family for family in rules.corrupted.families if family not in CORRUPTIONS]
    if unknown:
        msg = f"corrupted.families: there is no {unknown[0]!r}; there are: {', '.join(CORRUPTIONS)}"
        raise ConfigError(msg)

    def stack(images: Sequence[Image]) -> Batch:
        return np.stack([resize(image, size) for image in images])

    spoilt = frozen.labelled[rules.corrupted.of]
    places = spread(len(spoilt.images), rules.corrupted.images)
    tried = frozen.labelled[rules.behaviour.of]
    chosen = [tried.images[place] for place in spread(len(tried.images), rules.behaviour.images)]
    return Questions(
        labelled={name: stack(one.images) for name, one in frozen.labelled.items()},
        labels={name: one.labels for name, one in frozen.labelled.items()},
        corrupted={
            family: stack([corrupt(spoilt.images[place], family, rules.corrupted.severity, place) for place in places])
            for family in rules.corrupted.families
        },
        corrupted_labels=tuple(spoilt.labels[place] for place in places),
        no_card=stack(frozen.no_card),
        plain=stack(chosen),
        changed={name: stack([change(image) for image in chosen]) for name, change in BEHAVIOURS.items()},
    )


def spread(length: int, count: int) -> list[int]:
    """Choose ``count`` places of ``length``, evenly; all of them where there are fewer."""
    places: list[int] = np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()
    return places
