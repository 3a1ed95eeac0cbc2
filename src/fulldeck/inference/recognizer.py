"""From images to named predictions: decode, resize, run, name. What a user of the package holds in the hand.

It knows nothing of files in folders, of the command line or of HTTP.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from fulldeck.errors import ConfigError, ImageError, ModelError
from fulldeck.inference import image as images
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import ModelInfo, champion_path

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    Picture = str | Path | bytes | NDArray[np.uint8] | PillowImage

CHUNK = 8
"""Images run at once, at most. Larger chunks are slower: their activations leave the processor's cache."""

ALTERNATIVES = 5
"""How many labels a prediction carries beside its own."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A label that the image might have instead, and its probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one image shows.

    Attributes:
        label: The most probable label.
        probability: Its calibrated probability, 0 to 1.
        accepted: Whether the probability reaches the threshold; a prediction that does not is better not believed.
        alternatives: The next best labels, best first: :data:`ALTERNATIVES` of them, or as many as the model has.
    """

    label: str
    probability: float
    accepted: bool
    alternatives: tuple[Alternative, ...]


class Recognizer:
    """Names the card in an image.

    It keeps no state between calls and may be shared between threads: each call decodes in its own thread, and ONNX
    Runtime runs side by side. One recogniser with all cores serves one caller fastest; many threads of callers do
    better with ``threads=1``.

    Args:
        model: A model file; by default (or as "champion") the one that is shipped.
        threads: Threads that one run of the model may use; by default every core this process may use.
        threshold: Accept predictions from this probability on, 0 to 1; by default the model's own.

    Attributes:
        classifier: The model that runs.
        threshold: The threshold that applies.

    Raises:
        ModelError: The model file cannot be used.
        ConfigError: The threshold is not between 0 and 1, or the threads are fewer than 1.
    """

    def __init__(
        self, model: Path | str | None = None, *, threads: int | None = None, threshold: float | None = None
    ) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f"the threshold is a probability from 0 to 1, not {threshold}")
        if threads is not None and threads < 1:
            raise ConfigError(f"the model needs at least one thread, not {threads}")
        path = champion_path() if model is None or str(model) == "champion" else Path(model)
        if path == champion_path() and not path.exists():
            raise ModelError(f"{path}: the shipped champion is missing; install fulldeck again, or name a model file")
        self.classifier = Classifier(path, threads)
        self.threshold = self.info.threshold if threshold is None else threshold

    @property
    def info(self) -> ModelInfo:
        """What the model file says of itself."""
        return self.classifier.info

    @overload
    def classify(self, image_or_images: "Picture", name: str = "image") -> Prediction: ...

    @overload
    def classify(self, image_or_images: list[Any] | tuple[Any, ...], name: str = "image") -> list[Prediction]: ...

    def classify(
        self, image_or_images: "Picture | list[Any] | tuple[Any, ...]", name: str = "image"
    ) -> Prediction | list[Prediction]:
        """Name what one image shows, or each of a list or tuple of images.

        An image is a path, the bytes of an image file, an array (uint8 [H, W, 3], RGB) or a Pillow image; ``name`` is
        what error messages call one that is not a path.

        Returns:
            One prediction for one image; for a list a list of them, in its order.

        Raises:
            ImageError: An image cannot be read. Of a list nothing is returned then; the error names the image.
        """
        if not isinstance(image_or_images, list | tuple):
            return self.predict(self.prepare(image_or_images, name)[np.newaxis])[0]
        predictions: list[Prediction] = []
        for start in range(0, len(image_or_images), CHUNK):
            chunk = image_or_images[start : start + CHUNK]
            batch = [self.prepare(image, f"{name} {start + at}") for at, image in enumerate(chunk)]
            predictions += self.predict(np.stack(batch))
        return predictions

    def prepare(self, image: "Picture", name: str = "image", max_pixels: int = images.MAX_PIXELS) -> NDArray[np.uint8]:
        """Decode and resize one image to what the model takes.

        Args:
            image: As for :meth:`classify`.
            name: What error messages call it, where it is not a path.
            max_pixels: Encoded bytes of more pixels than this are refused by their header.

        Returns:
            uint8 [S, S, 3], RGB.

        Raises:
            ImageError: The image cannot be read.
        """
        side = self.info.size
        return images.resize(_pixels(image, name, side, max_pixels), side)

    def predict(self, batch: NDArray[np.uint8]) -> list[Prediction]:
        """Name a batch of prepared images.

        Args:
            batch: uint8 [N, S, S, 3], RGB, with N at least 1.

        Returns:
            N predictions.
        """
        probabilities, _ = self.classifier.run(batch)
        return [self._name(row) for row in probabilities]

    def _name(self, probabilities: NDArray[np.float32]) -> Prediction:
        labels = self.info.labels
        order = np.argsort(-probabilities, kind="stable")[: ALTERNATIVES + 1].tolist()
        best, *others = [(labels[at], float(probabilities[at])) for at in order]
        return Prediction(*best, best[1] >= self.threshold, tuple(Alternative(*other) for other in others))


def _pixels(image: Any, name: str, side: int, max_pixels: int) -> NDArray[np.uint8]:
    if isinstance(image, bytes | bytearray | memoryview):
        return images.decode(bytes(image), name, side, max_pixels)
    if isinstance(image, str | Path):
        return images.load(image, side)
    if isinstance(image, np.ndarray):
        return images.checked(image, name)
    pillow = sys.modules.get("PIL.Image")  # who passes a Pillow image has loaded Pillow
    if pillow is not None and isinstance(image, pillow.Image):
        return images.from_pillow(image, name)
    raise ImageError(f"{name}: a {type(image).__name__} is no path, bytes, array or Pillow image")
