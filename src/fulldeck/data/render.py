"""Rendered decks: a labelled folder of cards that nobody has seen, in the Kaggle layout, from nothing but a seed."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fulldeck.cards import LABELS
from fulldeck.data.deck import APART, DeckStyle, base_style, card_mask, deck_style, draw_card
from fulldeck.data.deck.chance import generator
from fulldeck.data.photo import FACE, jpeg, photograph
from fulldeck.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

MANIFEST = "decks.json"
_DRAWING = 3  # raise it when the same seed no longer gives the same bytes


@dataclass(frozen=True)
class Rendered:
    """What lies in a rendered folder; as text, one sentence about it."""

    out: Path
    decks: dict[str, int]  # how many a split
    images: int
    drawn: int  # of them, now: the others were there already

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {split}" for split, count in self.decks.items() if count)
        kept = f" ({self.images - self.drawn} were there already)" if self.drawn < self.images else ""
        total = sum(self.decks.values())
        return f"{self.out}: {self.images} images of {total} decks ({parts}), described in {MANIFEST}{kept}"


def render(out: Path, *, decks: int, per_card: int, seed: int, apart: float = APART) -> Rendered:
    """Draw decks into ``out/<split>/<label>/``; interrupted or repeated, it goes on where it was.

    Deck ``i`` of a seed is the same however many decks are asked for, so a folder can also be given more decks later.
    Whole decks are held out: no style that is in ``valid`` or ``test`` is in ``train``.

    Args:
        out: A folder that is new, empty, or was begun by this function with the same seed, per_card and apart.
        decks: How many decks, at least 1.
        per_card: How many pictures of each of a deck's 53 cards, at least 1.
        seed: The same seed gives the same bytes.
        apart: The share of decks whose rank and suit stand in different corners.

    Returns:
        Counts; its text is a summary for people.

    Raises:
        DataError: The folder holds something else.
    """
    _claim(out, decks, per_card, seed, apart)
    counts = {split: sum(deck_split(i) == split for i in range(decks)) for split in ("train", "valid", "test")}
    drawn = 0
    console = Console(stderr=True)
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Threads are enough: almost all of the time goes by in OpenCV and NumPy, which let the others run.
    pool = ThreadPoolExecutor(os.cpu_count())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("drawing", total=decks)
        try:
            for count in pool.map(lambda index: _draw(out, seed, index, per_card, apart), range(decks)):
                drawn += count
                progress.advance(task)
        finally:
            pool.shutdown(cancel_futures=True)
    return Rendered(out, counts, decks * len(LABELS) * per_card, drawn)


def deck_split(index: int) -> str:
    """The split a deck belongs to: of ten decks, seven train, two are valid, one is test."""
    if index % 5 == 1:
        return "valid"
    return "test" if index % 10 == 8 else "train"


def rendered_style(seed: int, index: int, apart: float = APART) -> DeckStyle:
    """The style of a rendered deck. Each split goes through all base styles in turn, so that few decks cover many."""
    place = sum(deck_split(i) == deck_split(index) for i in range(index))
    return deck_style(seed, index, base_style(seed, place), apart)


def _draw(out: Path, seed: int, index: int, per_card: int, apart: float) -> int:
    """Draw what is missing of one deck; return how many pictures that was."""
    style = rendered_style(seed, index, apart)
    logger.info("deck %d: %s, for %s", index, style.name, deck_split(index))
    drawn = 0
    for label in LABELS:
        folder = out / deck_split(index) / label
        missing = [n for n in range(per_card) if not (folder / _name(index, n)).exists()]
        for n, data in zip(missing, _pictures(label, style, [(seed, index, n) for n in missing]), strict=True):
            _write(folder / _name(index, n), data)
        drawn += len(missing)
    return drawn


def _pictures(label: str, style: DeckStyle, keys: list[tuple[int, int, int]]) -> Iterator[bytes]:
    """JPEGs of one card; a key is the seed, the deck and the number of the picture."""
    if not keys:
        return
    face, mask = draw_card(label, style, FACE), card_mask(style, FACE)
    for seed, index, n in keys:
        rng = generator(seed, 3, index, LABELS.index(label), n)
        yield jpeg(photograph(face, mask, rng), rng)


def _name(index: int, n: int) -> str:
    return f"deck{index:04d}-{n:03d}.jpg"


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _claim(out: Path, decks: int, per_card: int, seed: int, apart: float) -> None:
    """Make the folder ours, with a manifest, or say why it cannot be."""
    origin = {"drawing": _DRAWING, "seed": seed, "per_card": per_card, "apart": apart}
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file: name a folder for the decks"
        raise DataError(msg)
    if out.is_dir() and any(out.iterdir()):
        found = _manifest(out / MANIFEST)
        if found is None:
            msg = f"{out} is not empty and holds no rendered decks: name a new folder"
            raise DataError(msg)
        if {key: found.get(key) for key in origin} != origin or len(found.get("decks", ())) > decks:
            kind = (
                f"seed {found.get('seed')}, {found.get('per_card')} pictures a card, {found.get('apart')} apart, "
                f"drawing {found.get('drawing')}"
            )
            msg = (
                f"{out} holds {len(found.get('decks', ()))} decks of {kind}: "
                "ask for the same (or more decks), or name a new folder"
            )
            raise DataError(msg)
    listing = [
        {"index": i, "split": deck_split(i), "style": asdict(rendered_style(seed, i, apart))} for i in range(decks)
    ]
    _write(out / MANIFEST, (json.dumps({**origin, "decks": listing}, indent=1) + "\n").encode())


def _manifest(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
