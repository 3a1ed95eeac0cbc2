"""The gate's rules, as a YAML file gives them: which frozen images are asked about, and what may be how much worse.

Nothing is optional but what is left out on purpose; a name that is not known is an error, so that a slip of the pen
cannot open the gate.
"""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fulldeck.errors import ConfigError

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rendered(_Strict):
    """How a set of drawn decks is made where it is not there: as ``fulldeck data render`` does."""

    decks: Count
    seed: int
    per_card: Count = 1


class Drawn(_Strict):
    """How pictures without a card are made where they are not there: ``each`` of every kind."""

    each: Count
    seed: int


class LabelledSet(_Strict):
    """Frozen images with labels.

    Attributes:
        folder: A folder of class folders.
        sha256: Its content hash (``fulldeck.data.manifest.content_hash``).
        margin: By how much the share of right answers may be worse. The gate asks for proof that it is not.
        render: How to make the folder's dataset; the folder is then one of its splits.
    """

    folder: Path
    sha256: Hash
    margin: Share
    render: Rendered | None = None


class NoCardSet(_Strict):
    """Frozen pictures without a card; ``margin`` is for the share that is not accepted."""

    folder: Path
    sha256: Hash
    margin: Share
    draw: Drawn | None = None


class Corrupted(_Strict):
    """One labelled set, spoilt by each family of :mod:`fulldeck.data.corruptions`.

    Attributes:
        of: The name of the set.
        images: So many of it, spread evenly.
        severity: 1 to 5.
        families: Which.
        margin: By how much the share of right answers over all families may be worse, proved.
        most: By how much a single family's may fall.
    """

    of: str
    images: Count
    severity: Annotated[int, Field(ge=1, le=5)]
    families: tuple[str, ...]
    margin: Share
    most: Share


class Behaviour(_Strict):
    """Changes to a picture that must not change the answer: see :mod:`fulldeck.registry.behaviour`.

    Attributes:
        of: The name of a labelled set.
        images: So many of it, spread evenly.
        most: By how much the share of answers that stay may fall under the champion's, for each change.
    """

    of: str
    images: Count
    most: Share


class Most(_Strict):
    """What may rise or fall by how much, against the champion.

    Attributes:
        rank, suit: The share right among the images of one rank or suit, over all labelled sets.
        ece: The calibration error, over all labelled sets and over the corrupted images.
        accepted: The share of images with a card whose answer is accepted.
        wrong: The share of images with a card whose answer is accepted and wrong.
        latency: The time of a run with one image, as a ratio, measured in turns.
        size: The file, as a ratio.
    """

    rank: Share
    suit: Share
    ece: Share
    accepted: Share
    wrong: Share
    latency: Annotated[float, Field(gt=1)]
    size: Annotated[float, Field(gt=1)]


class Rules(_Strict):
    """The whole of a gate file.

    Attributes:
        confidence: Of the paired tests: 0.95 lets a model that is worse by a whole margin through once in twenty.
        labelled: The sets with labels, by name.
        no_card: Pictures without a card.
        corrupted: The set that is spoilt.
        behaviour: What must not change an answer.
        most: What may be how much worse.
    """

    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    labelled: Annotated[dict[str, LabelledSet], Field(min_length=1)]
    no_card: NoCardSet
    corrupted: Corrupted
    behaviour: Behaviour
    most: Most

    @model_validator(mode="after")
    def _sets_are_there(self) -> "Rules":
        for name in (self.corrupted.of, self.behaviour.of):
            if name not in self.labelled:
                msg = f"there is no labelled set {name!r}"
                raise ValueError(msg)
        return self


def read_rules(gate: str | Path) -> Rules:
    """Read a gate file.

    Args:
        gate: A file, or the name of one that the package has: see ``fulldeck/configs/gate``.

    Raises:
        ConfigError: There is none, or it is not as it must be.
    """
    path = Path(gate)
    packaged = files("fulldeck.configs").joinpath("gate", f"{gate}.yaml")
    try:
        text = packaged.read_text("utf-8") if path.suffix == "" and packaged.is_file() else path.read_text("utf-8")
        return Rules.model_validate(yaml.safe_load(text))
    except OSError as error:
        msg = f"{gate}: the gate's file cannot be read ({error.strerror}); name a file, or one of {', '.join(gates())}"
        raise ConfigError(msg) from error
    except yaml.YAMLError as error:
        msg = f"{gate}: this is no YAML ({str(error).splitlines()[0]})"
        raise ConfigError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        msg = f"{gate}: {place}: {first['msg']}"
        raise ConfigError(msg) from error


def gates() -> list[str]:
    """Name the gate files that the package has."""
    found = files("fulldeck.configs").joinpath("gate").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in found if file.name.endswith(".yaml"))
