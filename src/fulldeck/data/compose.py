"""A folder of composed scenes with the truth beside them, from decks and a seed."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fulldeck.data.deck.chance import generator
from fulldeck.data.manifest import content_hash
from fulldeck.data.render import deck_split, rendered_style
from fulldeck.data.scene import Deck, Drawn, FaceFolder, PhotoFolder, Scene, compose_scene
from fulldeck.data.scene.camera import encode
from fulldeck.errors import DataError, ImageError
from fulldeck.inference import image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

MANIFEST = "compose.json"
TRUTH = "scenes.jsonl"
_COMPOSING = 1  # raise it when the same seed no longer gives the same bytes
_GROUND_SIDE = 1024  # photographs are kept in memory at this size
_PURPOSE = 11  # of the chance that scenes are made from, among all that a seed gives


@dataclass(frozen=True)
class Composed:
    """What lies in a folder of scenes; as text, one sentence about it."""

    out: Path
    scenes: int
    cards: int
    composed: int  # of the scenes, now: the others were there already

    def __str__(self) -> str:
        kept = f" ({self.scenes - self.composed} were there already)" if self.composed < self.scenes else ""
        return f"{self.out}: {self.scenes} scenes with {self.cards} cards{kept}; the truth is in {TRUTH}"


def compose(
    out: Path,
    *,
    scenes: int,
    seed: int,
    decks: Sequence[Path] = (),
    vector: Path | None = None,
    drawn: int = 0,
    split: str = "train",
    backgrounds: Path | None = None,
    side: int = 640,
    cards: tuple[int, int] | None = None,
) -> Composed:
    """Compose scenes into ``out/images`` and their truth into ``out/scenes.jsonl``; begun before, it goes on.

    Scene ``i`` of a seed is the same however many scenes are asked for.

    Args:
        out: A folder that is new, empty, or was begun by this function with the same settings.
        scenes: How many, at least 1.
        seed: The same seed, decks and backgrounds give the same bytes.
        decks: Folders of faces (``ace of clubs.png``, …) or of labelled photos (``ace of clubs/*.jpg``).
        vector: What ``fulldeck data vector-decks`` made: all its decks, but only those that it holds out for the split
            ``test``, and only the others for another.
        drawn: How many of the drawn decks (those of ``fulldeck data render``, seed 1) to use too.
        split: Which of the vector and drawn decks; of the latter those that ``data render`` puts in this split.
        backgrounds: A folder of photographs for grounds.
        side: The longer side of a scene, in pixels, at least 160.
        cards: The fewest and the most a scene; by default none to twelve.

    Raises:
        DataError: There is no deck, a folder cannot be used, or ``out`` holds something else.
    """
    if not decks and not drawn and not vector:
        msg = "scenes need cards: name folders of faces with --deck or --vector, or ask for drawn decks with --drawn"
        raise DataError(msg)
    faces = [_open_deck(path) for path in (*decks, *_vector_decks(vector, split))] + _drawn_decks(drawn, split)
    photographs, ground_hash = _photographs(backgrounds)
    origin = {
        "composing": _COMPOSING,
        "seed": seed,
        "side": side,
        "cards": list(cards) if cards else None,
        "decks": [deck.name for deck in faces],
        "backgrounds": ground_hash,
    }
    _claim(out, origin)
    (out / "images").mkdir(exist_ok=True)
    (out / "truth").mkdir(exist_ok=True)

    def make(number: int) -> bool:
        picture, truth = out / "images" / f"{number:06d}.jpg", out / "truth" / f"{number:06d}.json"
        if truth.exists() and picture.exists():
            return False
        rng = generator(seed, _PURPOSE, number)
        scene = compose_scene(faces, photographs, rng, side=side, cards=cards)
        _write(picture, encode(scene.picture, rng))
        _write(truth, json.dumps(_truth(scene, f"images/{picture.name}")).encode())
        return True

    console = Console(stderr=True)
    columns = (TextColumn("composing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pool = ThreadPoolExecutor(os.cpu_count())
    composed = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("composing", total=scenes)
        try:
            for new in pool.map(make, range(scenes)):
                composed += new
                progress.advance(task)
        finally:
            pool.shutdown(cancel_futures=True)
    lines = [(out / "truth" / f"{number:06d}.json").read_text(encoding="utf-8") for number in range(scenes)]
    _write(out / TRUTH, ("\n".join(lines) + "\n").encode())
    return Composed(out, scenes, sum(len(json.loads(line)["cards"]) for line in lines), composed)


def read_scenes(folder: Path) -> list[dict[str, Any]]:
    """Read the truth of a folder of scenes, one object a scene.

    Each has ``file`` (relative to the folder), ``size`` [width, height], ``things`` (names) and ``cards``: each with
    ``label``, ``deck``, ``corners`` [[x, y] x 4], ``visible``, ``index_visible`` and ``centre`` [x, y].

    Raises:
        DataError: There is no truth, or it is damaged.
    """
    path = folder / TRUTH
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}): make scenes with `fulldeck data compose {folder}`"
        raise DataError(msg) from error
    except ValueError as error:
        msg = f"{path} is damaged ({error}): make the scenes again"
        raise DataError(msg) from error


def _truth(scene: Scene, file: str) -> dict[str, Any]:
    height, width = scene.owner.shape
    cards = [
        {
            "label": card.label,
            "deck": card.deck,
            "corners": card.corners.round(2).tolist(),
            "visible": round(card.visible, 4),
            "index_visible": card.index_visible,
            "centre": card.centre.round(1).tolist(),
        }
        for card in scene.cards()
    ]
    return {"file": file, "size": [width, height], "cards": cards, "things": scene.things}


def _open_deck(path: Path) -> Deck:
    if not path.is_dir():
        msg = f"{path} is no folder: name a folder of faces or of labelled photos"
        raise DataError(msg)
    return FaceFolder(path) if any(path.glob("*.png")) else PhotoFolder(path)


def _vector_decks(folder: Path | None, split: str) -> list[Path]:
    if folder is None:
        return []
    manifest = folder / "decks.json"
    try:
        listed = json.loads(manifest.read_text(encoding="utf-8"))["decks"]
        return [folder / "faces" / deck["name"] for deck in listed if deck["held_out"] == (split == "test")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder} has no vector decks: make them with `fulldeck data vector-decks {folder}`"
        raise DataError(msg) from error


def _drawn_decks(count: int, split: str) -> list[Deck]:
    indices = [index for index in range(10 * count + 10) if deck_split(index) == split][:count]
    return [Drawn(rendered_style(1, index), f"drawn-{index:04d}") for index in indices]


def _photographs(folder: Path | None) -> tuple[list[NDArray[np.uint8]], str | None]:
    if folder is None:
        return [], None
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"}:
            continue
        try:
            picture = image.load(path, _GROUND_SIDE)
        except ImageError as error:
            logger.warning("left out: %s", error)
            continue
        scale = _GROUND_SIDE / max(picture.shape[:2])
        if scale < 1:
            small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            picture = np.asarray(small, np.uint8)
        found.append(picture)
    if not found:
        msg = f"{folder} has no pictures that can be read: make some with `fulldeck data backgrounds {folder}`"
        raise DataError(msg)
    return found, content_hash(folder)


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _claim(out: Path, origin: dict[str, Any]) -> None:
    """Make the folder ours, with a manifest, or say why it cannot be."""
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file: name a folder for the scenes"
        raise DataError(msg)
    manifest = out / MANIFEST
    if out.is_dir() and any(out.iterdir()):
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            msg = f"{out} is not empty and holds no composed scenes: name a new folder"
            raise DataError(msg) from None
        if differing := [key for key in origin if found.get(key) != origin[key]]:
            msg = f"{out} holds scenes made with other settings ({', '.join(differing)}): name a new folder"
            raise DataError(msg)
    out.mkdir(parents=True, exist_ok=True)
    _write(manifest, (json.dumps(origin, indent=1) + "\n").encode())
