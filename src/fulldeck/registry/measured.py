"""What one model answers to a gate's questions. It judges nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import ModelInfo
from fulldeck.registry.questions import Batch, Questions

Floats = NDArray[np.float64]
CHUNK = 8  # images a run, as in the recogniser


@dataclass(frozen=True)
class Measured:
    """A model's answers: probabilities float64 [N, C] to each batch of the :class:`Questions`."""

    info: ModelInfo
    labelled: dict[str, Floats]
    corrupted: dict[str, Floats]
    no_card: Floats
    plain: Floats
    changed: dict[str, Floats]

    @property
    def sound(self) -> bool:
        """Whether every answer is probabilities: finite, not negative, of sum 1 (to 1e-3)."""
        every = [*self.labelled.values(), *self.corrupted.values(), self.no_card, self.plain, *self.changed.values()]
        return all(
            bool(np.isfinite(one).all() and (one >= 0).all() and np.allclose(one.sum(axis=1), 1, atol=1e-3))
            for one in every
        )


def measure(classifier: Classifier, questions: Questions, advance: Callable[[int], None]) -> Measured:
    """Ask a model everything.

    Args:
        classifier: The model.
        questions: Posed for its size.
        advance: Is told how many images were answered, as they are.
    """

    def ask(batch: Batch) -> Floats:
        answers = []
        for start in range(0, len(batch), CHUNK):
            answers.append(classifier.run(batch[start : start + CHUNK])[0])
            advance(len(answers[-1]))
        return np.concatenate(answers).astype(np.float64)

    return Measured(
        info=classifier.info,
        labelled={name: ask(batch) for name, batch in questions.labelled.items()},
        corrupted={family: ask(batch) for family, batch in questions.corrupted.items()},
        no_card=ask(questions.no_card),
        plain=ask(questions.plain),
        changed={name: ask(batch) for name, batch in questions.changed.items()},
    )
