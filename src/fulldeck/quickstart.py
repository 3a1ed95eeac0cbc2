"""``fulldeck quickstart``: the whole life of a model in miniature, in minutes, on decks drawn on the spot.

Each step calls what its own command calls, so that what works here works there.
"""

import shlex
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fulldeck.cards import Card
from fulldeck.data.layout import find_images, split_folder
from fulldeck.data.render import deck_split, render
from fulldeck.errors import ConfigError, ModelError
from fulldeck.inference.model_file import champion_path
from fulldeck.inference.recognizer import Prediction, Recognizer
from fulldeck.training.evaluate import evaluate
from fulldeck.training.export import export
from fulldeck.training.settings import quoted
from fulldeck.training.train import train

DECKS = 72
SHOWN = 8
"""How many pictures of the test split are classified in the table at the end."""


@dataclass(frozen=True)
class Shown:
    """One picture that neither model was trained on, and what each says of it; the champion may not be there."""

    file: Path
    truth: str
    small: Prediction
    champion: Prediction | None


@dataclass(frozen=True)
class Outcome:
    """What came of a quickstart.

    Attributes:
        data: the rendered decks.
        run: the training's folder.
        model: the exported file.
        report: the evaluation's page.
        accuracy: of the small model on the decks held out for validation, 0 to 1.
        test: share of the test decks' cards that the small model named right, 0 to 1.
        champion: the same of the shipped champion; None if it is not there.
        shown: some of the test pictures.
        seconds: how long all of it took.
    """

    data: Path
    run: Path
    model: Path
    report: Path
    accuracy: float
    test: float
    champion: float | None
    shown: tuple[Shown, ...]
    seconds: float


def quickstart(out: Path, *, seed: int = 0, overrides: Sequence[str] = (), decks: int = DECKS) -> Outcome:
    """Render decks, train a small model, evaluate and export it, and classify pictures it never saw.

    Whatever is in ``out`` already (decks, decoded images) is used again; each call trains a run of its own.

    Args:
        out: the folder for everything.
        seed: of the decks and of the training.
        overrides: further Hydra overrides of experiment=quickstart.
        decks: how many decks to draw, at least 9: the first of the test split is the ninth.

    Raises:
        ConfigError: the decks are too few, or an override does not fit.
    """
    if all(deck_split(index) != "test" for index in range(decks)):
        msg = f"{decks} decks leave none to test on; draw at least 9"
        raise ConfigError(msg)
    started = time.monotonic()
    console = Console(stderr=True)
    warnings.filterwarnings("ignore", module="lightning|torch")

    data = out / "decks"
    console.print(f"[bold]1/5[/] drawing {decks} decks into {data}")
    render(data, decks=decks, per_card=1, seed=seed)

    console.print("[bold]2/5[/] training a small model on them")
    places = {"data.folder": data, "data.cache": out / "cache", "runs": out / "runs"}
    settings = [f"{name}={quoted(place)}" for name, place in places.items()]
    run = train(["experiment=quickstart", *settings, f"seed={seed}", *overrides]).folder

    console.print("[bold]3/5[/] exporting it to ONNX")
    model = Path(export(run).model)

    console.print("[bold]4/5[/] evaluating it on decks it never saw")
    evaluation = evaluate(model, data / "valid", out / "evaluation")

    console.print("[bold]5/5[/] classifying pictures of a deck that nobody saw, with it and with the champion")
    pictures = find_images(split_folder(data, "test"))
    files, truth = [path for path, _ in pictures], [label for _, label in pictures]
    small = Recognizer(model).classify(files)
    try:
        champion: list[Prediction | None] = list(Recognizer(champion_path()).classify(files))
    except ModelError as error:
        console.print(f"[yellow]without the champion:[/] {error}")
        champion = [None] * len(files)
    step = max(1, len(files) // SHOWN)
    rows = list(zip(files, truth, small, champion, strict=True))
    outcome = Outcome(
        data=data,
        run=run,
        model=model,
        report=evaluation.report,
        accuracy=evaluation.measures.accuracy.value,
        test=_share(small, truth),
        champion=_share(champion, truth) if all(champion) else None,
        shown=tuple(Shown(*row) for row in rows[::step][:SHOWN]),
        seconds=time.monotonic() - started,
    )
    summarise(outcome)
    return outcome


def summarise(outcome: Outcome) -> None:
    """Print what was made, what it scored, where it lies and what to do next."""
    console = Console()
    test = split_folder(outcome.data, "test")
    table = Table(f"in {test}", "small model", "champion", title="cards of a deck that neither model was trained on")
    for shown in outcome.shown:
        table.add_row(
            str(shown.file.relative_to(test)),
            _cell(shown.small, shown.truth),
            _cell(shown.champion, shown.truth) if shown.champion else "-",
        )
    console.print(table)
    champion = "" if outcome.champion is None else f", the champion {outcome.champion:.1%}"
    console.print(
        f"small model: [bold]{outcome.accuracy:.1%}[/] right on its held-out decks, "
        f"{outcome.test:.1%} on the test decks{champion}; {outcome.seconds:.0f} s in all\n",
        highlight=False,
    )
    for name, place in (
        ("decks", outcome.data),
        ("run", outcome.run),
        ("model", outcome.model),
        ("report", outcome.report),
    ):
        console.print(f"  {name:8}{place}", highlight=False, soft_wrap=True)
    console.print(
        f"\nnext:\n"
        f"  fulldeck classify {shlex.quote(str(outcome.shown[0].file.parent))}\n"
        f"  fulldeck serve --model {shlex.quote(str(outcome.model))}\n"
        f"  fulldeck data fetch    # the real images, then: fulldeck train",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _share(predictions: Sequence[Prediction | None], truth: Sequence[str]) -> float:
    return sum(p is not None and p.label == label for p, label in zip(predictions, truth, strict=True)) / len(truth)


def _cell(prediction: Prediction, truth: str) -> str:
    colour = "green" if prediction.label == truth else "red"
    return f"[{colour}]{Card.parse(prediction.label).short} {prediction.label}[/] {prediction.probability:.0%}"
