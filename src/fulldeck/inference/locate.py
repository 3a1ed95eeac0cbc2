"""One locator file, ready to run: it finds the corners of the cards in a photo, and does not know which they are.

The network is of the kind of CenterNet (Zhou et al., "Objects as Points", 2019): a score whose peaks are cards, and at
each place the corners of the card the visible part of which has its middle there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fulldeck.errors import ModelError
from fulldeck.inference.cores import available_cores
from fulldeck.inference.image import scaled
from fulldeck.inference.model_file import INPUT, LocatorInfo
from fulldeck.inference.quads import Quad, overlap, plausible
from fulldeck.inference.session import open_session

SCORE = "score"
CORNERS = "corners"
VISIBLE = "visible"

MULTIPLE = 32
"""The sides of the network's input are multiples of this, in pixels."""

GREY = 114
"""What fills the input beside the picture."""

MAX_CARDS = 32
"""So many peaks are looked at, the highest; more cards cannot be told apart at the size that the network sees."""

SAME_OUTLINE = 0.85
"""Two quads that overlap by more than this (intersection over union) are one card found twice. A fan's neighbours
overlap by 0.8 and must both stay."""

CLOSER = 128
"""At so many pixels, the longer side of a card's surroundings, a card is looked at again."""

SURROUNDINGS = 2.0
"""The side of these, as a multiple of the longer side of the box around a card."""

STILL_IT = 0.4
"""A quad of the closer look is the same card as the first if the two overlap by more (intersection over union)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A card's outline.

    Attributes:
        quad: float32 [4, 2]: its corners in pixels of the picture that was searched, as x, y, in the order top left,
            top right, bottom right, bottom left of the upright card or of the card upside down.
        score: How sure the network is that there is a card, 0 to 1.
        visible: The part of the card's area that can be seen, 0 to 1.
    """

    quad: Quad
    score: float
    visible: float


class Locator:
    """A locator file and its session. Safe to share between threads, as a classifier is.

    Args:
        path: The locator file.
        threads: Threads that one run may use; by default every core this process may use.

    Attributes:
        path: The locator file.
        info: What the file says of itself.

    Raises:
        ModelError: The file is not there, no ONNX, truncated, changed since it was exported, no locator, of another
            schema version, or its graph is not what its metadata says.
    """

    def __init__(self, path: Path | str, threads: int | None = None) -> None:
        self.path = Path(path)
        self._session, metadata = open_session(self.path, threads or available_cores())
        self.info = LocatorInfo.from_json(metadata, path)
        _check_graph(self._session, self.path)
        if self.info.size % MULTIPLE:
            raise ModelError(
                f"{path}: its size {self.info.size} is no multiple of {MULTIPLE}; export the locator again"
            )

    def find(self, photo: NDArray[np.uint8], size: int | None = None) -> list[Found]:
        """Find the cards in a photo.

        Args:
            photo: uint8 [H, W, 3], RGB.
            size: The longer side, in pixels, at which the network sees it; by default that of its training.

        Returns:
            At most :data:`MAX_CARDS`, the surest first. No two overlap by more than :data:`SAME_OUTLINE`.

        Raises:
            ModelError: The file's outputs are not what a locator's are.
        """
        height, width = photo.shape[:2]
        padded, (seen_width, seen_height) = letterboxed(photo, size or self.info.size)
        score, corners, visible = (output[0] for output in self._run(padded[np.newaxis]))
        scale = np.array([width / seen_width, height / seen_height], np.float32)
        found: list[Found] = []
        for row, column in peaks(score, self.info.threshold):
            quad = corners[row, column]
            if not plausible(quad, seen_width, seen_height):
                continue
            quad = quad * scale
            if all(overlap(quad, other.quad) <= SAME_OUTLINE for other in found):
                seen = float(np.clip(visible[row, column], 0, 1))
                found.append(Found(quad, float(score[row, column]), seen))
        return found

    def closer(self, photo: NDArray[np.uint8], quad: Quad) -> Quad:
        """Find a card's corners again, by a look at its surroundings alone.

        Args:
            photo: uint8 [H, W, 3], RGB.
            quad: float32 [4, 2]: its corners as :meth:`find` has them.

        Returns:
            float32 [4, 2]: its corners as the closer look has them; ``quad`` where that does not find the card.
        """
        low, high = quad.min(axis=0), quad.max(axis=0)
        reach = SURROUNDINGS * float((high - low).max()) / 2
        middle = (low + high) / 2
        left, top = np.maximum(np.floor(middle - reach), 0).astype(int).tolist()
        right, bottom = np.ceil(middle + reach).astype(int).tolist()
        found = self.find(photo[top:bottom, left:right], CLOSER)
        again = [one.quad + np.array([left, top], np.float32) for one in found]
        return max(
            (one for one in again if overlap(one, quad) > STILL_IT), key=lambda q: overlap(q, quad), default=quad
        )

    def _run(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._session.run([SCORE, CORNERS, VISIBLE], {INPUT: batch})
        count, height, width = (length // self.info.stride for length in (self.info.stride, *batch.shape[1:3]))
        cells = (count, height, width)
        if [output.shape for output in outputs] != [cells, (*cells, 4, 2), cells]:
            shapes = ", ".join(str(list(output.shape)) for output in outputs)
            raise ModelError(f"{self.path}: its outputs have the shapes {shapes}, which no locator's have")
        return outputs


def letterboxed(photo: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Bring a photo to what a locator takes: scaled as a whole, and padded with grey on the right and below.

    Args:
        photo: uint8 [H, W, 3], RGB.
        size: The longer side of the scaled photo, in pixels.

    Returns:
        uint8 [h, w, 3], with h and w multiples of :data:`MULTIPLE`; and the width and height of the photo in it.
    """
    height, width = photo.shape[:2]
    scale = size / max(height, width)
    seen_width, seen_height = max(1, round(width * scale)), max(1, round(height * scale))
    rows, columns = (-(-side // MULTIPLE) * MULTIPLE for side in (seen_height, seen_width))
    padded = np.full((rows, columns, 3), GREY, np.uint8)
    padded[:seen_height, :seen_width] = scaled(photo, seen_width, seen_height)
    return padded, (seen_width, seen_height)


def peaks(score: NDArray[np.float32], threshold: float) -> list[tuple[int, int]]:
    """Return the rows and columns of a score's peaks, the highest first, at most :data:`MAX_CARDS`.

    Args:
        score: float32 [h, w].
        threshold: What a peak must reach; it must also be no lower than the eight cells around it.
    """
    highest = cv2.dilate(score, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((score >= threshold) & (score >= highest))
    order = np.argsort(-score[rows, columns], kind="stable")[:MAX_CARDS]
    return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))


def _check_graph(session: ort.InferenceSession, path: Path) -> None:
    inputs: list[Any] = list(session.get_inputs())
    form = [(node.name, node.type, len(node.shape), node.shape[-1]) for node in inputs]
    if form != [(INPUT, "tensor(uint8)", 4, 3)]:
        raise ModelError(f"{path}: its input is not {INPUT!r}, uint8 [N, H, W, 3]; export the locator again")
    outputs = {node.name: node for node in session.get_outputs()}
    for name, dimensions in ((SCORE, 3), (CORNERS, 5), (VISIBLE, 3)):
        node = outputs.get(name)
        if node is None or node.type != "tensor(float)" or len(node.shape) != dimensions:
            wanted = "[N, h, w, 4, 2]" if dimensions == 5 else "[N, h, w]"
            raise ModelError(f"{path}: it has no output {name!r}, float32 {wanted}; export the locator again")
