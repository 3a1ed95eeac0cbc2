"""A picture as a short list of numbers in which likeness is nearness: what labels and outliers are judged by.

An embedding is a function and what must be said of it; this module has the one of a fulldeck model file, by ONNX
Runtime. The one of the ImageNet weights needs torch and lies in :mod:`fulldeck.training.embedding`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fulldeck.inference import image
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import champion_path

BATCH = 32


@dataclass(frozen=True)
class Embedding:
    """A function from pictures to vectors.

    Attributes:
        name: what it is, for people.
        size: side S of the pictures that it takes, in pixels.
        run: from uint8 [N, S, S, 3] RGB to two float32 [N, D], [N, E]: what tells labels apart, and what tells things
            of one kind from things of another. They may be the same.
        learned: content hash of the images and labels it was trained on, or None where it knows none of ours.
    """

    name: str
    size: int
    run: Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
    learned: str | None = None


def model_embedding(model: Path) -> Embedding:
    """Take the embedding that a model file of ``fulldeck export`` gives beside its probabilities.

    Args:
        model: the file, or "champion" for the shipped one.

    Raises:
        ModelError: the file is no such model.
    """
    classifier = Classifier(champion_path() if str(model) == "champion" else model)
    info = classifier.info

    def run(batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        _, vectors = classifier.run(batch)
        return vectors, vectors

    return Embedding(f"{info.name} {info.version} in {classifier.path.name}", info.size, run, info.data_hash)


def embed(files: Iterable[Path], embedding: Embedding) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Embed image files, which must be readable.

    Yields:
        float32 [D] and [E] for each file, in order.

    Raises:
        ImageError: a file has become unreadable.
    """
    waiting = iter(files)
    size = embedding.size
    while some := list(islice(waiting, BATCH)):
        batch = np.stack([image.resize(image.load(file, size), size) for file in some])
        yield from zip(*embedding.run(batch), strict=True)
