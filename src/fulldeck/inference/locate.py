"""One locator file, ready to run: it finds the corners of the cards in a photo, and does not know which they are.

The file holds two networks. The one that finds is of the kind of CenterNet (Zhou et al., "Objects as Points", 2019): a
score whose peaks are cards, and at each place the corners of the card the visible part of which has its middle there.
The one that refines, which a file may lack, sees one card, cut out by those corners, and says where they are in truth.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

from fulldeck.errors import ModelError
from fulldeck.inference.cores import available_cores
from fulldeck.inference.image import scaled
from fulldeck.inference.model_file import INPUT, LocatorInfo
from fulldeck.inference.quads import Quad, overlap, plausible
from fulldeck.inference.rectify import rectify, unit_corners
from fulldeck.inference.session import open_session

SCORE = "score"
CORNERS = "corners"
VISIBLE = "visible"
CARDS = "cards"
REFINED = "refined"

MULTIPLE = 32
"""The sides of the network's input are multiples of this, in pixels."""

GREY = 114
"""What fills the input beside the picture."""

MAX_CARDS = 32
"""So many peaks are looked at, the highest; more cards cannot be told apart at the size that the network sees."""

SAME_OUTLINE = 0.85
"""Two quads that overlap by more than this (intersection over union) are one card found twice. A fan's neighbours
overlap by 0.8 and must both stay."""

REFINER_SIZE = 96
"""Side of the squares, cut out by rough corners, in which the corners are refined, in pixels."""

REFINER_MARGIN = 0.2
"""The rough corners lie so far inside such a square, in parts of its side: the true ones shall still be in it."""

ROUNDS = 2
"""So often are the corners of a card refined: what is cut out by better corners says more about them."""


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
        refines: Whether the file can :meth:`refine`.

    Raises:
        ModelError: The file is not there, no ONNX, truncated, changed since it was exported, no locator, of another
            schema version, or its graph is not what its metadata says.
    """

    def __init__(self, path: Path | str, threads: int | None = None) -> None:
        self.path = Path(path)
        self._session, metadata = open_session(self.path, threads or available_cores())
        self.info = LocatorInfo.from_json(metadata, path)
        self.refines = _check_graph(self._session, self.path)
        if self.info.size % MULTIPLE:
            raise ModelError(
                f"{path}: its size {self.info.size} is no multiple of {MULTIPLE}; export the locator again"
            )
        self._fewest = 0
        if self.refines and not self._takes_nothing():
            self._fewest = 1

    def find(self, photo: NDArray[np.uint8], threshold: float | None = None) -> list[Found]:
        """Find the cards in a photo.

        Args:
            photo: uint8 [H, W, 3], RGB.
            threshold: What a score must reach; by default the file's own.

        Returns:
            At most :data:`MAX_CARDS`, the surest first. No two overlap by more than :data:`SAME_OUTLINE`.

        Raises:
            ModelError: The file's outputs are not what a locator's are.
        """
        height, width = photo.shape[:2]
        padded, (seen_width, seen_height) = letterboxed(photo, self.info.size)
        score, corners, visible = (output[0] for output in self._run(padded[np.newaxis]))
        scale = np.array([width / seen_width, height / seen_height], np.float32)
        found: list[Found] = []
        for row, column in peaks(score, self.info.threshold if threshold is None else threshold):
            quad = corners[row, column]
            if plausible(quad, seen_width, seen_height):
                seen = float(np.clip(visible[row, column], 0, 1))
                found.append(Found(quad * scale, float(score[row, column]), seen))
        found = _once(found)
        for _ in range(ROUNDS):
            found = _once(self.refine(photo, found))
        return found

    def refine(self, photo: NDArray[np.uint8], found: list[Found]) -> list[Found]:
        """Mend the corners of cards, each by a look at the card alone.

        Args:
            photo: uint8 [H, W, 3], RGB.
            found: Cards in it.

        Returns:
            The same with their corners mended; as they were where the file has no refiner, or where what that says is
            no card's outline.

        Raises:
            ModelError: The file's outputs are not what a refiner's are.
        """
        if not (self.refines and found):
            return found
        height, width = photo.shape[:2]
        rough = np.array([one.quad for one in found])
        [inside] = self.outputs([REFINED], {CARDS: rectify(photo, rough, REFINER_SIZE, REFINER_MARGIN)})
        if inside.shape != rough.shape:
            raise ModelError(f"{self.path}: its corners have the shape {list(inside.shape)}, which no refiner's have")
        mended = []
        for one, corners in zip(found, inside, strict=True):
            matrix = cv2.getPerspectiveTransform(unit_corners(REFINER_MARGIN), one.quad)
            quad = np.asarray(cv2.perspectiveTransform(corners[np.newaxis], matrix)[0], np.float32)
            mended.append(replace(one, quad=quad) if plausible(quad, width, height) else one)
        return mended

    def outputs(self, names: list[str], given: dict[str, NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Return outputs of the graph for some of its inputs; of the others it is given as little as it takes."""
        least = {INPUT: (self._fewest, MULTIPLE, MULTIPLE, 3)}
        if self.refines:
            least[CARDS] = (self._fewest, REFINER_SIZE, REFINER_SIZE, 3)
        empty = {name: np.zeros(shape, np.uint8) for name, shape in least.items() if name not in given}
        outputs: list[NDArray[np.float32]] = self._session.run(names, given | empty)
        return outputs

    def _takes_nothing(self) -> bool:
        """Whether the session takes empty batches: that of ONNX Runtime 1.30 does not on some processors."""
        try:
            self.outputs([SCORE], {INPUT: np.zeros((1, MULTIPLE, MULTIPLE, 3), np.uint8)})
            self.outputs([REFINED], {CARDS: np.zeros((1, REFINER_SIZE, REFINER_SIZE, 3), np.uint8)})
        except (Fail, RuntimeException):
            return False
        return True

    def _run(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        outputs = self.outputs([SCORE, CORNERS, VISIBLE], {INPUT: batch})
        count, height, width = (length // self.info.stride for length in (self.info.stride, *batch.shape[1:3]))
        cells = (count, height, width)
        if [output.shape for output in outputs] != [cells, (*cells, 4, 2), cells]:
            shapes = ", ".join(str(list(output.shape)) for output in outputs)
            raise ModelError(f"{self.path}: its outputs have the shapes {shapes}, which no locator's have")
        return outputs


def _once(found: list[Found]) -> list[Found]:
    """Leave out what lies where a surer one does."""
    kept: list[Found] = []
    for one in found:
        if all(overlap(one.quad, other.quad) <= SAME_OUTLINE for other in kept):
            kept.append(one)
    return kept


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


def _check_graph(session: ort.InferenceSession, path: Path) -> bool:
    """Check the graph's inputs and outputs, and return whether it has a refiner."""
    inputs: dict[str, Any] = {node.name: node for node in session.get_inputs()}
    outputs: dict[str, Any] = {node.name: node for node in session.get_outputs()}
    refines = CARDS in inputs
    form = {name: (node.type, len(node.shape), node.shape[-1]) for name, node in inputs.items()}
    if form != dict.fromkeys([INPUT, CARDS] if refines else [INPUT], ("tensor(uint8)", 4, 3)):
        raise ModelError(f"{path}: its input is not {INPUT!r}, uint8 [N, H, W, 3]; export the locator again")
    wanted = {SCORE: "[N, h, w]", CORNERS: "[N, h, w, 4, 2]", VISIBLE: "[N, h, w]"}
    for name, shape in (wanted | {REFINED: "[N, 4, 2]"} if refines else wanted).items():
        node = outputs.get(name)
        if node is None or node.type != "tensor(float)" or len(node.shape) != shape.count(",") + 1:
            raise ModelError(f"{path}: it has no output {name!r}, float32 {shape}; export the locator again")
    return refines
