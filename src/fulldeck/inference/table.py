"""Answers as lines for people: aligned columns, suits as coloured symbols, written as they come.

The lines are plain text with ANSI colours, which ``click.echo`` strips where the output is no terminal.
"""

from collections.abc import Collection, Iterable

import click

from fulldeck.cards import CARDS
from fulldeck.inference.recognizer import Located, LocatedCard, Prediction

_WIDEST_FILE = 60
"""A longer path pushes its own line out, not the whole table."""


_CARDS = {card.label: card for card in CARDS}


class Table:
    """The columns: file, mark, card, probability, next best.

    Args:
        files: The paths that will come, for the width of their column.
        labels: The labels that may come, for theirs.
    """

    def __init__(self, files: Iterable[str], labels: Collection[str]) -> None:
        self._file_width = min(max((_width(plain(file)) for file in files), default=0), _WIDEST_FILE)
        self._card_width = max(_width(_card(label)) for label in labels)

    def header(self) -> str:
        """Return the line above the rows."""
        return f"{_padded('FILE', self._file_width)}    {_padded('CARD', self._card_width)}  {'PROB.':>7}  NEXT BEST"

    def row(self, file: str, prediction: Prediction) -> str:
        """Return one prediction's line: a tick where it is accepted, a question mark where it is not."""
        cells = [_padded(plain(file), self._file_width), "", *_cells(prediction, self._card_width)]
        if prediction.alternatives:
            second = prediction.alternatives[0]
            cells.append(click.style(f"{_narrow(second.label)} {_percent(second.probability).strip()}", dim=True))
        return " ".join(cells).rstrip()


class CardsTable:
    """The columns: file, mark, card, probability, visible part, corners; a line a card.

    Args:
        files: The paths that will come, for the width of their column.
        labels: The labels that may come, for theirs.
    """

    def __init__(self, files: Iterable[str], labels: Collection[str]) -> None:
        self._file_width = min(max((_width(plain(file)) for file in files), default=0), _WIDEST_FILE)
        self._card_width = max(_width(_card(label)) for label in labels)

    def header(self) -> str:
        """Return the line above the rows."""
        file, card = _padded("FILE", self._file_width), _padded("CARD", self._card_width)
        return f"{file}    {card}  {'PROB.':>7}  VISIBLE  CORNERS"

    def rows(self, file: str, located: Located) -> list[str]:
        """Return one photo's lines: one a card, or one that says that there is none."""
        name = _padded(plain(file), self._file_width)
        if not located.cards:
            return [f"{name}    {click.style('no card', dim=True)}"]
        return [self._row(name, card) for card in located.cards]

    def _row(self, name: str, card: LocatedCard) -> str:
        corners = " ".join(f"{x:.0f},{y:.0f}" for x, y in card.corners)
        visible = f"{card.visible * 100:5.0f} %"
        return " ".join([name, "", *_cells(card, self._card_width), visible, "", click.style(corners, dim=True)])


def plain(text: str) -> str:
    """Return text that is safe on a terminal: what a file name could use to move the cursor becomes a mark."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _cells(prediction: Prediction, card_width: int) -> list[str]:
    """The mark, the card and its probability, with a space more on both sides of this."""
    label = prediction.label
    mark = click.style("✓", fg="green") if prediction.accepted else click.style("?", fg="yellow", bold=True)
    card = click.style(_padded(_card(label), card_width), fg=_colour(label), bold=prediction.accepted)
    return [mark, card, f" {_percent(prediction.probability)} "]


def _card(label: str) -> str:
    card = _CARDS.get(label)
    return plain(label) if card is None else f"{_padded(card.short, 3)} {label}"  # None: a model of other classes


def _narrow(label: str) -> str:
    return " ".join(_card(label).split())


def _colour(label: str) -> str | None:
    card = _CARDS.get(label)
    return "red" if card is not None and card.colour == "red" else None


def _percent(probability: float) -> str:
    return f"{probability * 100:5.1f} %"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Return how many columns a terminal gives a text."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415

    return sum(2 if east_asian_width(char) in "WF" else not combining(char) for char in text)
