"""What was measured beside a folder itself, as tables: on a terminal, in Markdown and on the report's page alike.

Knows how figures are laid out, not how they were measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from fulldeck.data.corruptions import CORRUPTIONS, SEVERITIES
from fulldeck.training.doubt import KEPT, NoCard
from fulldeck.training.measures import Rate
from fulldeck.training.robustness import Robustness
from fulldeck.training.scenes import SceneScores

DASH = "\N{EN DASH}"
"""Stands where nothing was measured."""


@dataclass(frozen=True)
class Table:
    """A title, a sentence about what it shows, and cells of text; a row's first cell names it."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(robustness: Robustness | None, no_card: NoCard | None) -> list[Table]:
    """Lay out all that was measured."""
    made = []
    if robustness:
        made += _robustness(robustness)
        if robustness.scenes:
            made += _scenes(robustness.scenes)
    if no_card:
        made += _no_card(no_card)
    return made


def show(made: Iterable[Table], console: Console) -> None:
    """Print tables."""
    for table in made:
        shown = RichTable(title=table.title, caption=table.note, title_justify="left", caption_justify="left")
        for place, name in enumerate(table.columns):
            shown.add_column(name, justify="right" if place else "left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def markdown(made: Iterable[Table], facts: Mapping[str, Any]) -> str:
    """Write tables as a Markdown page, with the command that makes it.

    Args:
        made: the tables.
        facts: "model", "data" and "made", as in metrics.json.
    """
    model = facts["model"]
    lines = [f"`{facts['made']['command']}`", ""]
    lines += [f"{model['name']} {model['version']}, SHA-256 `{model['sha256'][:12]}`, on {facts['data']['path']}.", ""]
    for table in made:
        lines += [f"### {table.title}", "", table.note, ""]
        lines += [_line(table.columns), _line(["---", *["---:"] * (len(table.columns) - 1)])]
        lines += [*map(_line, table.rows), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as a percentage; a share just under 1 never rounds up to 100 %."""
    if share is None:
        return DASH
    scale = 10 ** (digits + 2)
    shown = min(round(share * scale), scale - 1) / scale if share < 1 else share
    return f"{shown:.{digits}%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")


def _share(found: Rate) -> str:
    return percent(found.value) if found.total else DASH


def _row(name: str, found: Rate) -> tuple[str, str, str, str]:
    """A rate with what it is of and its interval; a dash where nothing was measured."""
    interval = f"{percent(found.low)} to {percent(found.high)}" if found.total else DASH
    return name, _share(found), f"{found.right} of {found.total}", interval


_RATE = ("share", "count", "95 % interval")


def _robustness(found: Robustness) -> list[Table]:
    severities = tuple(f"severity {severity}" for severity in SEVERITIES)
    rows = []
    for name, rates in found.corruptions.items():
        mean = sum(one.value for one in rates) / len(rates)
        shown = name if CORRUPTIONS[name].published else f"{name} (ours)"
        rows.append((shown, *map(_share, rates), percent(mean)))
    by_severity = [
        sum(rates[at].value for rates in found.corruptions.values()) / len(rows) for at in range(len(severities))
    ]
    rows.append(("mean", *map(percent, by_severity), percent(found.corrupted)))
    note = (
        f"The classifier alone, on {found.pictures} pictures that the card fills; as they are: {_share(found.clean)}."
    )
    harder = [
        *(_row(f"turned by {degrees}°", one) for degrees, one in found.turned.items()),
        *(_row(f"height {size:.0%} of the frame's", one) for size, one in found.sized.items()),
        *(_row(f"{part:.0%} covered", one) for part, one in found.covered.items()),
    ]
    made = [
        Table("Accuracy by corruption and severity", note, ("corruption", *severities, "mean"), tuple(rows)),
        Table(
            "Accuracy by turn, size and covered part",
            "The same pictures, laid on some ground and answered as a user's photo is.",
            ("the card is", *_RATE),
            tuple(harder),
        ),
    ]
    if found.unseen:
        decks = [
            row
            for name, deck in found.unseen.items()
            for row in (_row(f"{name}, upright", deck.upright), _row(f"{name}, at any turn", deck.turned))
        ]
        note = "Labels named right, of decks that were not trained on."
        made.append(Table("Unseen decks", note, ("deck", *_RATE), tuple(decks)))
    return made


def _scenes(found: SceneScores) -> list[Table]:
    rows = [
        _row("one card: named right", found.single),
        _row("2 to 8 cards: of those half visible or more, found and named right", found.found),
        _row("2 to 8 cards: of accepted answers, right", found.precise),
        _row("more than 8 cards: found and named right", found.crowd_found),
        _row("more than 8 cards: of accepted answers, right", found.crowd_precise),
        _row("no card: nothing accepted", found.empty),
    ]
    for name, error in (("one card", found.ece_single), ("cards found", found.ece_matched)):
        rows.append((f"calibration error (ECE), {name}", DASH if error is None else f"{error:.4f}", "", ""))
    visible = [_row(f"{part} visible", one) for part, one in found.by_visible.items()]
    sizes = [_row(f"{part} of the frame", one) for part, one in found.single_by_size.items()]
    made = [Table("Composed scenes", f"{found.scenes} scenes.", ("scenes of", *_RATE), tuple(rows))]
    if visible:
        note = "Scenes of two cards or more: found, named right and accepted."
        made.append(Table("Composed scenes, by the part of a card that shows", note, ("card", *_RATE), tuple(visible)))
    if sizes:
        note = "Scenes of one card: named right."
        made.append(Table("Composed scenes, by the card's area", note, ("card", *_RATE), tuple(sizes)))
    return made


def _no_card(found: NoCard) -> list[Table]:
    kinds = [
        (kind, str(one.total), _share(one), _share(found.refused_keeping_by_kind[kind]))
        for kind, one in found.refused_by_kind.items()
    ]
    kinds.append(("all", str(found.pictures), _share(found.refused), _share(found.refused_keeping)))
    note = (
        f"Share not accepted, by the model's own rule (from {found.threshold:.4g} on, which accepts "
        f"{_share(found.kept)} of the cards), and from {found.keeping:.4g} on, which accepts {KEPT:.0%} of them."
    )
    scores = [(one.score, f"{one.auroc:.4f}", percent(one.fpr), *_worst(one.kinds)) for one in found.scores]
    return [
        Table(
            "Pictures without a card",
            note,
            ("kind", "pictures", "not accepted, own rule", f"not accepted, keeping {KEPT:.0%}"),
            tuple(kinds),
        ),
        Table(
            "Scores that could refuse them",
            f"On the whole picture. FPR: share of pictures without a card accepted where {KEPT:.0%} of the cards are.",
            ("score", "AUROC", "FPR", "worst kind", "of it refused"),
            tuple(scores),
        ),
    ]


def _worst(kinds: Mapping[str, Rate]) -> tuple[str, str]:
    kind = min(kinds, key=lambda name: kinds[name].value)
    return kind, _share(kinds[kind])
