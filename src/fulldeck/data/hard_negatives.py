"""Hard negatives: what a locator takes for cards where there is none, cut out, for a classifier to be unsure about.

They come from pictures without a card (``fulldeck data no-card``), and from the parts of composed scenes in which no
card lies. To sample what the present model gets wrong is bootstrapping (Sung and Poggio, "Example-based learning for
view-based human face detection", 1998); Shrivastava et al. (2016) have its history.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import track

from fulldeck.data.compose import read_scenes
from fulldeck.data.crops import SIZE, refuse_full, write_cut
from fulldeck.data.manifest import image_paths
from fulldeck.errors import DataError
from fulldeck.inference import image
from fulldeck.inference.locate import Locator
from fulldeck.inference.quads import overlap
from fulldeck.inference.rectify import rectify

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CLEAR = 0.05
"""An outline that overlaps every card of a scene by less (intersection over union) has none in it."""


@dataclass(frozen=True)
class HardNegatives:
    """How many were cut, out of how many pictures; as text, a sentence about it."""

    out: Path
    pictures: int
    cuts: int

    def __str__(self) -> str:
        return f"{self.out}: {self.cuts} cuts without a card, out of {self.pictures} pictures"


def hard_negatives(source: Path, out: Path, locator: Path) -> HardNegatives:
    """Cut out what a locator finds where there is no card, as ``out/train/<kind>/*.jpg``.

    Args:
        source: A folder of ``fulldeck data compose``, or of ``fulldeck data no-card``, whose train split counts.
        out: A folder that is new or empty.
        locator: A locator file.

    Raises:
        DataError: There are no pictures, or ``out`` holds something.
        ModelError: The locator cannot be used.
    """
    refuse_full(out)
    finder = Locator(locator, threads=1)
    jobs = _pictures(source)
    (out / "train").mkdir(parents=True, exist_ok=True)  # also where nothing is found

    def one(job: tuple[Path, str, list[NDArray[np.float32]]]) -> int:
        path, kind, cards = job
        photo = image.load(path)
        quads = [one.quad for one in finder.find(photo)]
        clear = [quad for quad in quads if all(overlap(quad, card) < CLEAR for card in cards)]
        for number, cut in enumerate(rectify(photo, np.array(clear, np.float32).reshape(-1, 4, 2), SIZE)):
            write_cut(out / "train" / kind / f"{path.stem}-{number:02d}.jpg", cut)
        return len(clear)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(one, jobs)
        cuts = sum(track(found, "searching", len(jobs), transient=True, console=Console(stderr=True)))
    return HardNegatives(out, len(jobs), cuts)


def _pictures(source: Path) -> list[tuple[Path, str, list[NDArray[np.float32]]]]:
    """Each picture with the kind that its cuts are, and the outlines of the cards in it."""
    if (source / "scenes.jsonl").is_file():
        return [
            (source / scene["file"], "scene", [np.array(card["corners"], np.float32) for card in scene["cards"]])
            for scene in read_scenes(source)
        ]
    folder = source / "train"
    paths = [folder / name for name in image_paths(folder)] if folder.is_dir() else []
    if not paths:
        msg = f"{source} is neither a folder of scenes nor one of pictures without a card, with train/ in it"
        raise DataError(msg)
    return [(path, path.parent.name, []) for path in paths]
