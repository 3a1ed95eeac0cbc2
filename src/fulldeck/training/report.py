"""The evaluation as one page for people: figures, pictures and mistakes in a single HTML file that needs nothing else.

Knows how things look, not how they were measured. The page holds its pictures and its style, loads nothing and runs no
script; its content security policy says so to the browser too.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from fulldeck.cards import Rank, Suit
from fulldeck.training.measures import Measures, cards_of
from fulldeck.training.pictures import Example
from fulldeck.training.tables import Table, percent

TEMPLATE = "report.html.j2"
CONFUSED_SHOWN = 12
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Cell:
    """One card of the deck that the page lays out. ``recall`` is None where it has no images."""

    label: str
    corner: str
    symbol: str
    red: bool
    right: int
    support: int
    recall: float | None


def render(
    measures: Measures,
    facts: Mapping[str, Any],
    drawn: Mapping[str, Path],
    examples: Sequence[Example],
    tables: Sequence[Table] = (),
) -> str:
    """Make the page.

    Args:
        measures: the figures.
        facts: "model", "data" and "made", as in metrics.json.
        drawn: the PNG files "reliability", "roc", "coverage" and "confusion"; and "robustness" with tables.
        examples: the images to show: mistakes, or right ones when there are none.
        tables: what was measured beside the folder itself.

    Returns:
        The text of a complete HTML document.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = percent
    template = environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        m=measures,
        model=facts["model"],
        data=facts["data"],
        made=facts["made"],
        config=json.dumps(facts["model"]["config"], indent=2, ensure_ascii=False),
        deck=deck(measures),
        confused=measures.confused[:CONFUSED_SHOWN],
        pictures={name: data_uri(path.read_bytes(), "image/png") for name, path in drawn.items()},
        examples=[(example, data_uri(_jpeg(example.image), "image/jpeg")) for example in examples],
        wrong=measures.accuracy.total - measures.accuracy.right,
        mistakes=bool(examples) and not examples[0].right,
        tables=tables,
    )


def deck(measures: Measures) -> list[list[Cell]]:
    """Lay the labels out as people lay out a deck: a row for each suit, ace to king, and the joker last.

    Empty when the labels are no cards.
    """
    labels = [score.label for score in measures.classes]
    cards = cards_of(labels)
    if cards is None:
        return []
    rows: dict[Suit | None, list[tuple[int, Cell]]] = {suit: [] for suit in (*Suit, None)}
    for index, (card, score) in enumerate(zip(cards, measures.classes, strict=True)):
        cell = Cell(
            label=score.label,
            corner=card.rank.corner if card.rank else "★",
            symbol=card.suit.symbol if card.suit else "joker",
            red=card.colour == "red",
            right=measures.confusion[index][index],
            support=score.support,
            recall=score.recall if score.support else None,
        )
        rows[card.suit].append((card.rank.number if card.rank else len(Rank) + 1, cell))
    return [[cell for _, cell in sorted(row, key=lambda pair: pair[0])] for row in rows.values() if row]


def data_uri(content: bytes, kind: str) -> str:
    """Write bytes as an address that carries them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return encoded.tobytes()
