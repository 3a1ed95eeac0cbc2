"""Pictures in which there is no card, by kind: what a recogniser must not accept.

``OUT/<split>/<kind>/*.jpg``: 224 pixels square, stretched as the Kaggle pictures are. The splits share no seed and no
photograph; two kinds, :data:`TEST_ONLY`, are drawn for ``test`` alone, so that it also asks about things that no
training has seen.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fulldeck.data import surfaces, things
from fulldeck.data.deck.chance import between, chance, generator, pick
from fulldeck.data.deck.stock import Stock, paper, textured
from fulldeck.data.deck.style import CREAMS, PASTELS, WHITES
from fulldeck.data.manifest import image_paths, write_atomically
from fulldeck.data.photo import SIZE, develop, ground, jpeg, photograph
from fulldeck.errors import DataError
from fulldeck.inference import image as images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fulldeck.data.things import Thing

    Draw = Callable[[np.random.Generator], NDArray[np.uint8]]

MANIFEST = "no-card.json"
SPLITS = ("train", "test")
TEST_ONLY = ("domino", "game card")
BACKS = "printed back"
_DRAWING = 1  # raise it when the same seed no longer gives the same bytes
_PHOTO_SIDE = 1024  # photographs are read no larger


@dataclass(frozen=True)
class Made:
    """What lies in a folder of pictures without cards; as text, one sentence about it."""

    out: Path
    images: dict[str, dict[str, int]]  # by split, then by kind
    drawn: int  # of them, now: the others were there already

    def __str__(self) -> str:
        parts = ", ".join(f"{sum(kinds.values())} {split}" for split, kinds in self.images.items())
        total = sum(sum(kinds.values()) for kinds in self.images.values())
        kept = f" ({total - self.drawn} were there already)" if self.drawn < total else ""
        return f"{self.out}: {total} pictures without a card ({parts}) of {len(self.images['test'])} kinds{kept}"


def no_card(
    out: Path, *, train: int = 250, test: int = 50, seed: int = 0, pictures: Mapping[str, Path] | None = None
) -> Made:
    """Make pictures without cards; interrupted or repeated, it goes on where it was.

    Args:
        out: A folder that is new, empty, or was begun by this function with the same seed and pictures.
        train: How many of each kind for ``train``.
        test: How many of each kind for ``test``.
        seed: The same seed gives the same bytes (with the same photographs).
        pictures: Folders of photographs, each with ``train/`` and ``test/``, by the kind that they are shown as.
            A kind called :data:`BACKS` shows each whole, as a card's back; of others parts of every size are taken.

    Returns:
        Counts; its text is a summary for people.

    Raises:
        DataError: The folder holds something else, or one of pictures lacks a split or has no picture in it.
    """
    folders = dict(pictures or {})
    for kind in folders.keys() & _DRAWN.keys():
        msg = f"{kind!r} is a kind that is drawn: call that of {folders[kind]} something else"
        raise DataError(msg)
    found = {kind: {split: _photographs(folder, split) for split in SPLITS} for kind, folder in folders.items()}
    _claim(out, seed, folders)
    jobs, counts = [], {}
    for number, (split, each) in enumerate(zip(SPLITS, (train, test), strict=True)):
        kinds = {kind: draw for kind, draw in _DRAWN.items() if split == "test" or kind not in TEST_ONLY}
        kinds |= {kind: _from_photographs(paths[split], whole=kind == BACKS) for kind, paths in found.items()}
        counts[split] = dict.fromkeys(sorted(kinds), each)
        for kind, draw in sorted(kinds.items()):
            jobs += [(out / split / kind / f"{n:05d}.jpg", draw, [number, *kind.encode(), n]) for n in range(each)]

    def make(job: tuple[Path, Draw, list[int]]) -> bool:
        path, draw, key = job
        if path.exists():
            return False
        rng = generator(seed, 41, *key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, jpeg(draw(rng), rng))
        return True

    drawn = 0
    console = Console(stderr=True)
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pool = ThreadPoolExecutor(os.cpu_count())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("drawing", total=len(jobs))
        try:
            for new in pool.map(make, jobs):
                drawn += new
                progress.advance(task)
        finally:
            pool.shutdown(cancel_futures=True)
    return Made(out, counts, drawn)


def _flat(thing: Callable[[np.random.Generator], Thing]) -> Draw:
    """A thing that fills the picture as a card does, or lies somewhere in it, once or a few times."""

    def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
        if chance(rng, 0.5):
            return photograph(*thing(rng), rng)
        return _scattered(thing, 1 if chance(rng, 0.7) else int(rng.integers(2, 5)), rng)

    return draw


def _loose(thing: Callable[[np.random.Generator], Thing]) -> Draw:
    """A thing that keeps its proportions: one large, or several small ones."""

    def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
        return _scattered(thing, 1 if chance(rng, 0.5) else int(rng.integers(2, 7)), rng)

    return draw


def _surface(paint: Callable[[np.random.Generator, int], NDArray[np.uint8]]) -> Draw:
    return lambda rng: develop(paint(rng, SIZE), rng)


def _blank(rng: np.random.Generator) -> NDArray[np.uint8]:
    """One colour all over, or card stock with nothing printed on it."""
    if chance(rng, 0.5):
        return surfaces.blank(rng, SIZE)
    stock = Stock(pick(rng, (*WHITES, *CREAMS, *PASTELS)), None, pick(rng, ("plain", "grain", "linen")), 0.5)
    sheet = textured(stock, paper(stock, 320, 448))
    return photograph(sheet, things.rounded(320, 448, int(rng.integers(8, 22))), rng)


_DRAWN: dict[str, Draw] = {
    "back": _flat(things.back),
    "blank": _blank,
    "business card": _flat(things.business_card),
    "chip": _loose(things.chip),
    "die": _loose(things.die),
    "domino": _loose(things.domino),
    "game card": _flat(things.game_card),
    "gradient": _surface(surfaces.gradient),
    "noise": _surface(surfaces.noise),
    "paper": _flat(things.written_paper),
    "screen": _flat(things.screen),
    "texture": _surface(surfaces.texture),
}


def _scattered(
    thing: Callable[[np.random.Generator], Thing], count: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Things on some ground, turned and sized at random, with a shadow each, ``uint8 [224, 224, 3]``."""
    scene = surfaces.texture(rng, 2 * SIZE) if chance(rng, 0.4) else ground(rng)
    side = len(scene)
    one = thing(rng)
    for n in range(count):
        pixels, mask = one if n == 0 or chance(rng, 0.3) else thing(rng)
        height, width = mask.shape
        scale = between(rng, 0.4, 1.1) * side / max(height, width) / (1 if count == 1 else count**0.5)
        place = between(rng, 0.35, 0.65) if count == 1 else between(rng, 0.1, 0.9)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), between(rng, 0, 360), scale)
        matrix[:, 2] += (place * side - width / 2, between(rng, 0.3, 0.7) * side - height / 2)
        if scale < 0.5:  # warpAffine samples four points, so what shrinks a lot is averaged first
            less = (max(1, width // 2), max(1, height // 2))
            pixels, mask = (
                np.asarray(cv2.resize(a, less, interpolation=cv2.INTER_AREA), np.uint8) for a in (pixels, mask)
            )
            matrix[:, :2] *= 2
        outline = cv2.warpAffine(mask, matrix, (side, side))
        laid = cv2.warpAffine(pixels, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        shift = np.array([[1, 0, between(rng, -8, 8)], [0, 1, between(rng, -8, 8)]])
        shadow = cv2.warpAffine(cv2.blur(outline, (15, 15)), shift, (side, side))[:, :, None]
        dark = scene * (1 - between(rng, 0, 0.5) / 255 * shadow.astype(np.float32))
        alpha = np.asarray(outline, np.float32)[:, :, None] / 255
        scene = (dark + (laid - dark) * alpha).astype(np.uint8)
    return develop(np.asarray(cv2.resize(scene, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8), rng)


def _from_photographs(paths: list[Path], *, whole: bool) -> Draw:
    """Parts of photographs, or whole ones, each laid as a card is."""

    def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
        picture = images.load(pick(rng, paths), _PHOTO_SIDE)
        if not whole:
            return develop(_part(picture, rng), rng)
        height, width = picture.shape[:2]
        one = things.Thing(picture, things.rounded(width, height, max(1, width // 20)))
        return _flat(lambda _: one)(rng)

    return draw


def _part(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A part of a photograph, from a quarter of its sides to all of it, stretched to ``uint8 [224, 224, 3]``."""
    height, width = picture.shape[:2]
    share = between(rng, 0.25, 1.0)
    tall, wide = max(8, round(height * share)), max(8, round(width * share * between(rng, 0.75, 1.0)))
    top, left = int(rng.integers(max(1, height - tall + 1))), int(rng.integers(max(1, width - wide + 1)))
    return images.resize(np.ascontiguousarray(picture[top : top + tall, left : left + wide]), SIZE)


def _photographs(folder: Path, split: str) -> list[Path]:
    paths = [folder / split / name for name in image_paths(folder / split)]
    if not paths:
        msg = f"{folder / split} holds no picture: give a folder with train/ and test/ and pictures in both"
        raise DataError(msg)
    return paths


def _claim(out: Path, seed: int, pictures: Mapping[str, Path]) -> None:
    """Make the folder ours, with a manifest, or say why it cannot be. More kinds may be added to it."""
    origin = {"drawing": _DRAWING, "seed": seed}
    named = {kind: str(folder) for kind, folder in pictures.items()}
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file: name a folder for the pictures"
        raise DataError(msg)
    before: dict[str, str] = {}
    if out.is_dir() and any(out.iterdir()):
        try:
            found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
            before = dict(found.pop("pictures"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            msg = f"{out} is not empty and holds no pictures of ours: name a new folder"
            raise DataError(msg) from None
        if found != origin or any(named.get(kind, folder) != folder for kind, folder in before.items()):
            msg = f"{out} was begun with another seed or other photographs: ask for the same, or name a new folder"
            raise DataError(msg)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / MANIFEST, (json.dumps({**origin, "pictures": before | named}, indent=1) + "\n").encode())
