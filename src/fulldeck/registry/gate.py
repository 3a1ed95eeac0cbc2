"""The gate: two model files are examined on the same frozen images, and every check that fails is a reason to refuse.

What can be seen without asking the model anything is looked at first; a file that cannot be trusted, or whose labels
are others, is asked nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from fulldeck.errors import ConfigError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.registry.budget import Cost, latency
from fulldeck.registry.checks import (
    Check,
    check_answers,
    check_labels,
    check_latency,
    check_manifest,
    check_numbers,
    check_size,
)
from fulldeck.registry.frozen import Frozen
from fulldeck.registry.measured import Measured, measure
from fulldeck.registry.questions import Questions, pose
from fulldeck.registry.rules import Rules


@dataclass(frozen=True)
class Incumbent:
    """The champion, and its answers to a gate: asked once, however many challengers come.

    Raises:
        ConfigError: A set has labels that the champion does not know.
    """

    rules: Rules
    frozen: Frozen
    path: Path
    classifier: Classifier = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classifier", Classifier(self.path))
        for name, one in self.frozen.labelled.items():
            if unknown := sorted(set(one.labels) - set(self.classifier.info.labels)):
                msg = f"{name}: the champion does not know the label {unknown[0]!r}; write a gate for its labels"
                raise ConfigError(msg)

    @cached_property
    def questions(self) -> Questions:
        """What it is asked."""
        return pose(self.rules, self.frozen, self.classifier.info.size)

    @cached_property
    def measured(self) -> Measured:
        """What it answers."""
        with _asking("the champion", self.questions) as advance:
            return measure(self.classifier, self.questions, advance)


@dataclass(frozen=True)
class Examination:
    """What came out.

    Attributes:
        checks: Every judgement that was made, in order.
        champion: Its answers; None where it did not come to that.
        challenger: Its answers; None likewise.
        questions: What the champion was asked.
        cost: What both cost.
    """

    checks: tuple[Check, ...]
    champion: Measured | None = None
    challenger: Measured | None = None
    questions: Questions | None = None
    cost: Cost | None = None

    @property
    def passed(self) -> bool:
        """Whether the challenger may become champion."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not, a sentence each."""
        return tuple(f"{check.kind}: {check.reason}" for check in self.checks if not check.passed)

    @property
    def usable(self) -> bool:
        """Whether the file can be served at all; one that cannot is not to be forced either."""
        return not any(check.kind == "file" and not check.passed for check in self.checks)


def examine(incumbent: Incumbent, challenger: Path) -> Examination:
    """Examine a model file against the champion.

    Args:
        incumbent: The champion, its rules and its images.
        challenger: The file.
    """
    rules, champion = incumbent.rules, incumbent.classifier
    try:
        model = Classifier(challenger)
    except ModelError as error:
        return Examination((Check("file", "file", passed=False, reason=str(error)),))
    sizes = (incumbent.path.stat().st_size, challenger.stat().st_size)
    checks = [
        Check("file", "file", passed=True, reason="it is sealed, and a model that can be run"),
        check_manifest(model.info),
        check_labels(champion.info, model.info),
        check_size(*sizes, rules.most.size),
    ]
    if not checks[2].passed:  # the answers mean other things
        return Examination(tuple(checks))
    cost = latency(Classifier(incumbent.path, threads=1), Classifier(challenger, threads=1))
    checks.append(check_latency(cost, rules.most.latency))
    asked = incumbent.questions
    if model.info.size != champion.info.size:
        asked = pose(rules, incumbent.frozen, model.info.size)
    old = incumbent.measured
    with _asking("the challenger", asked) as advance:
        new = measure(model, asked, advance)
    checks.append(check_numbers(new))
    if new.sound:
        checks += check_answers(rules, incumbent.questions, old, new)
    return Examination(tuple(checks), old, new, incumbent.questions, cost)


@contextmanager
def _asking(who: str, questions: Questions) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far the asking is."""
    total = sum(len(batch) for batch in questions.batches())
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"asking {who}", total=total)
        yield lambda count: bar.advance(task, count)
