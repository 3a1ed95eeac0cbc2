"""From images to named predictions: decode, resize, find, run, name. What a user of the package holds in the hand.

It knows nothing of files in folders, of the command line or of HTTP.

How one picture is answered, so that :meth:`Recognizer.classify` and :meth:`Recognizer.locate` never disagree:

1. The classifier looks at the whole picture. It was trained to be sure only where one card fills it; if it is (see
   :data:`FILLS`), that is the one card there, for both.
2. Otherwise the locator finds the cards' outlines, each is cut out and classified, and those are the cards.
   ``classify`` names the one that shows most.
3. If none of them can be read, and the first answer is accepted, that is the one card there, for both.
4. If there are none, the first answer stands for ``classify``, doubtful as it is, and ``locate`` gives nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from fulldeck.errors import ConfigError, ModelError
from fulldeck.inference import image as images
from fulldeck.inference import quads
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.locate import Found, Locator
from fulldeck.inference.model_file import ModelInfo, champion_path, locator_beside
from fulldeck.inference.picture import Photo, Picture
from fulldeck.inference.rectify import rectify

if TYPE_CHECKING:
    from fulldeck.inference.picture import Given

CHUNK = 8
"""Images run at once, at most. Larger chunks are slower: their activations leave the processor's cache."""

ALTERNATIVES = 5
"""How many labels a prediction carries beside its own."""

CLEAR_OUTLINE = 0.5
"""An outline of this score or more is surely a card's: it is reported, not accepted, also where the card cannot be
read. A fainter one is reported only if it is read."""

FAINT = 0.1
"""From this score on an outline is tried where no other can be read, if it is large."""

LARGE = 0.2
"""A card's part of the picture from which on it is large."""

SAME_CARD = 0.5
"""Two outlines with the same label that overlap by more than this (intersection over union) are one card."""

FILLS = 0.97
"""From this probability of the whole picture on no card is searched for in it. It is more than it takes to accept an
answer: a card that lies turned looks like another one more often than it does once it is cut out. Chosen on turned
pictures of held-out drawn decks; with a higher bar many upright ones are searched, too, and no fewer are wrong."""

FILLING = 0.5
"""The outline of the card that fills a picture covers at least this part of it."""


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


@dataclass(frozen=True, slots=True)
class LocatedCard(Prediction):
    """A prediction with its place in the photo.

    Attributes:
        corners: Four points x, y in pixels of the upright image, from its upper left corner: the card's top left, top
            right, bottom right, bottom left as one sees them on the upright card, or on the card turned by half, as
            most cards look the same then. They may lie outside the image.
        visible: The part of the card's area that can be seen, 0 to 1: the rest is covered, or outside the image.
    """

    corners: tuple[tuple[float, float], ...]
    visible: float


@dataclass(frozen=True, slots=True)
class Located:
    """The cards in one photo. It can be iterated over.

    Attributes:
        cards: In reading order: row by row, and each from left to right.
        width: Of the upright image, in pixels.
        height: Of the upright image, in pixels.
    """

    cards: tuple[LocatedCard, ...]
    width: int
    height: int

    def __iter__(self) -> Iterator[LocatedCard]:
        return iter(self.cards)

    def __len__(self) -> int:
        return len(self.cards)


class View(NamedTuple):
    """What the model was given of a card, uint8 [S, S, 3], RGB, and the embedding that it made of it, float32 [D]."""

    square: NDArray[np.uint8]
    embedding: NDArray[np.float32]


class _Seen(NamedTuple):
    """A card that was found, and what the model was given of it."""

    card: LocatedCard
    view: View


class Recognizer:
    """Names the card in an image, and finds all cards in a photo.

    It keeps no state between calls and may be shared between threads: each call decodes in its own thread, and ONNX
    Runtime runs side by side. One recogniser with all cores serves one caller fastest; many threads of callers do
    better with ``threads=1``.

    Args:
        model: A model file; by default (or as "champion") the one that is shipped.
        locator: A locator file, or "champion" for the one that is shipped; by default ``locator.onnx`` beside the
            model, where the shipped one lies. Without one only a card that fills the picture is seen. It is opened when
            it is first needed.
        threads: Threads that one run of the model may use; by default every core this process may use.
        threshold: Accept predictions from this probability on, 0 to 1; by default the model's own.

    Attributes:
        classifier: The model that runs.
        locator_path: The locator file; None if there is none.
        threshold: The threshold that applies.

    Raises:
        ModelError: The model file cannot be used, or there is no such locator file.
        ConfigError: The threshold is not between 0 and 1, or the threads are fewer than 1.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        *,
        threads: int | None = None,
        threshold: float | None = None,
        locator: Path | str | None = None,
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
        self.locator_path = _locator_path(locator, path)
        self._threads = threads
        self._locator: Locator | None = None
        self._opening = Lock()

    @property
    def info(self) -> ModelInfo:
        """What the model file says of itself."""
        return self.classifier.info

    def open_locator(self) -> None:
        """Open the locator file, if there is one, now and not when it is first needed.

        Raises:
            ModelError: It cannot be used.
        """
        self._opened()

    @overload
    def classify(self, image_or_images: "Given", name: str = "image") -> Prediction: ...

    @overload
    def classify(self, image_or_images: list[Any] | tuple[Any, ...], name: str = "image") -> list[Prediction]: ...

    def classify(
        self, image_or_images: "Given | list[Any] | tuple[Any, ...]", name: str = "image"
    ) -> Prediction | list[Prediction]:
        """Name the card that one image shows, or each of a list or tuple of images: the one that shows most of itself.

        An image is a path, the bytes of an image file, an array (uint8 [H, W, 3], RGB) or a Pillow image; ``name`` is
        what error messages call one that is not a path.

        Returns:
            One prediction for one image; for a list a list of them, in its order.

        Raises:
            ImageError: An image cannot be read. Of a list nothing is returned then; the error names the image.
            ModelError: The locator file cannot be used.
        """
        if not isinstance(image_or_images, list | tuple):
            return self._classify([Picture(image_or_images, name)])[0]
        predictions: list[Prediction] = []
        for start in range(0, len(image_or_images), CHUNK):
            chunk = image_or_images[start : start + CHUNK]
            predictions += self._classify([Picture(image, f"{name} {start + at}") for at, image in enumerate(chunk)])
        return predictions

    @overload
    def locate(self, image_or_images: "Given", name: str = "image") -> Located: ...

    @overload
    def locate(self, image_or_images: list[Any] | tuple[Any, ...], name: str = "image") -> list[Located]: ...

    def locate(
        self, image_or_images: "Given | list[Any] | tuple[Any, ...]", name: str = "image"
    ) -> Located | list[Located]:
        """Find and name every card in one image, or in each of a list or tuple of images.

        Args:
            image_or_images: As for :meth:`classify`.
            name: What error messages call an image that is not a path.

        Returns:
            The cards of one image, none if it shows none; for a list a list of those, in its order. A card whose
            outline is clear and which cannot be read is among them, not accepted.

        Raises:
            ImageError: An image cannot be read. Of a list nothing is returned then; the error names the image.
            ModelError: The locator file cannot be used.
        """
        if not isinstance(image_or_images, list | tuple):
            return self.locate_picture(Picture(image_or_images, name))
        return [self.locate_picture(Picture(image, f"{name} {at}")) for at, image in enumerate(image_or_images)]

    def prepare(self, image: "Given", name: str = "image", max_pixels: int = images.MAX_PIXELS) -> NDArray[np.uint8]:
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
        return Picture(image, name, max_pixels).square(self.info.size)

    def predict(self, batch: NDArray[np.uint8]) -> list[Prediction]:
        """Name a batch of prepared images, each as a whole.

        Args:
            batch: uint8 [N, S, S, 3], RGB, with N at least 1.

        Returns:
            N predictions.
        """
        return self.predict_and_embed(batch)[0]

    def predict_and_embed(self, batch: NDArray[np.uint8]) -> tuple[list[Prediction], NDArray[np.float32]]:
        """Name a batch of prepared images, as :meth:`predict` does, and return the embeddings, float32 [N, D], too."""
        probabilities, embeddings = self.classifier.run(batch)
        return [self._name(row) for row in probabilities.tolist()], embeddings

    def look_aside(self, batch: NDArray[np.uint8], wholes: list[Prediction]) -> list[Prediction]:
        """Look at the doubtful ones of a batch of prepared images again, all at once, after a quarter turn.

        Args:
            batch: uint8 [N, S, S, 3], RGB.
            wholes: What :meth:`predict` says of it.

        Returns:
            ``wholes``, and what a quarter turn makes sure in its place.
        """
        doubtful = [at for at, whole in enumerate(wholes) if not self._fills(whole)]
        if not doubtful:
            return wholes
        asides, _ = self._aside(batch[doubtful])
        sure = {at: aside for at, aside in zip(doubtful, asides, strict=True) if self._fills(aside)}
        return [sure.get(at, whole) for at, whole in enumerate(wholes)]

    def second_look(self, picture: Picture, whole: Prediction) -> Prediction:
        """Settle what a picture shows: as a whole, or by the card in it that shows most.

        Args:
            picture: The picture.
            whole: What :meth:`look_aside` says of what :meth:`prepare` makes of it.

        Returns:
            The answer of :meth:`classify`: ``whole`` where that is sure; else of the cards that are found an accepted
            one first, then the one with the largest visible area times its probability; ``whole`` if there are none, or
            if it is accepted and none of them is.

        Raises:
            ImageError: The picture cannot be decoded.
            ModelError: The locator file cannot be used.
        """
        if self._fills(whole) or self.locator_path is None:  # without one it need not be decoded again
            return whole
        cards = [seen.card for seen in self._searched(picture.photo())]
        return whole if not cards or self._stands(whole, cards) else _plain(max(cards, key=_prominence))

    def locate_picture(self, picture: Picture) -> Located:
        """Find and name every card in one picture: see :meth:`locate`."""
        return self.locate_decoded(*picture.square_and_photo(self.info.size))[0]

    def locate_decoded(self, square: NDArray[np.uint8], photo: Photo) -> tuple[Located, list[View]]:
        """Find and name every card in one picture that is decoded already.

        Args:
            square: uint8 [S, S, 3], RGB: what :meth:`prepare` makes of it.
            photo: The same picture, large enough to be searched.

        Returns:
            The cards, and what the model was given of each, in the same order.
        """
        [whole], [embedding] = self.predict_and_embed(square[np.newaxis])
        if self._fills(whole):
            seen = self._filled(whole, View(square, embedding), photo)
        else:
            [aside], [view] = self._aside(square[np.newaxis])
            if self._fills(aside):
                seen = self._filled(aside, view, photo, on_its_side=True)
            else:
                seen = self._searched(photo)
                if self._stands(whole, [one.card for one in seen]):
                    seen = self._filled(whole, View(square, embedding), photo)
        order = quads.reading_order([np.array(one.card.corners, np.float32) for one in seen])
        return Located(tuple(seen[at].card for at in order), *photo.size), [seen[at].view for at in order]

    def _classify(self, pictures: list[Picture]) -> list[Prediction]:
        batch = images.stacked([picture.square(self.info.size) for picture in pictures])
        wholes = self.look_aside(batch, self.predict(batch))
        return [self.second_look(*each) for each in zip(pictures, wholes, strict=True)]

    def _fills(self, whole: Prediction) -> bool:
        """Whether one card fills a picture, by what is said of the whole of it.

        A threshold below it does not lower this bar: who wants doubtful cards, too, wants them found.
        """
        return whole.accepted and whole.probability >= max(self.info.threshold, FILLS)

    def _stands(self, whole: Prediction, cards: list[LocatedCard]) -> bool:
        """Whether the first answer stands after a search: none of the cards found, if any, can be read.

        Where there are some, a threshold below the model's own does not make them one.
        """
        if not whole.accepted or any(card.accepted for card in cards):
            return False
        return not cards or whole.probability >= self.info.threshold

    def _aside(self, batch: NDArray[np.uint8]) -> tuple[list[Prediction], list[View]]:
        """What is said of pictures after a quarter turn: a card that fills a landscape photo lies on its side."""
        turned = np.ascontiguousarray(np.rot90(batch, axes=(1, 2)))
        predictions, embeddings = self.predict_and_embed(turned)
        return predictions, list(map(View, turned, embeddings))

    def _find(self, photo: Photo) -> list[Found]:
        locator = self._opened()
        return [] if locator is None else locator.find(photo.pixels)

    def _opened(self) -> Locator | None:
        if self.locator_path is None:
            return None
        with self._opening:
            if self._locator is None:
                self._locator = Locator(self.locator_path, self._threads)
            return self._locator

    def _filled(self, whole: Prediction, view: View, photo: Photo, *, on_its_side: bool = False) -> list[_Seen]:
        """Give the place of the card that a picture was named after: the outline that covers most of it, or its own.

        Where none covers much, and the same card is read in an outline, that is its place; others that are read, too,
        are given with it.
        """
        frame = quads.frame(photo.size[0] / photo.scale[0], photo.size[1] / photo.scale[1])
        found = self._find(photo)
        covered = [(quads.shared(one.quad, frame), one) for one in found]
        most, outline = max(covered, key=lambda pair: pair[0], default=(0.0, None))
        if outline is None or most < FILLING * quads.area(frame):
            cards = self._cards(photo, found)
            read = [one for one in cards if one.card.accepted]
            if whole.label in {one.card.label for one in read}:
                if len({one.card.label for one in read}) > 1:
                    return cards
                if len(read) == 1:
                    return [read[0]._replace(card=replace(read[0].card, **_named(whole)), view=view)]
            outline = Found(frame, score=1.0, visible=1.0)
        # Which way up it lies is the classifier's to say, which is sure of it: its top is above, or on the right.
        across = np.abs(outline.quad[1] - outline.quad[0])
        if (across[1] > across[0]) != on_its_side:
            outline = replace(outline, quad=np.roll(outline.quad, -1, axis=0))
        return [_Seen(_placed(whole, outline, photo), view)]

    def _searched(self, photo: Photo) -> list[_Seen]:
        """Find the cards in a photo, and name each; where none can be read, a large one may be fainter."""
        seen = self._cards(photo, self._find(photo))
        locator = self._opened()
        if locator is None or any(one.card.accepted for one in seen):
            return seen
        height, width = photo.pixels.shape[:2]
        faint = [one for one in locator.find(photo.pixels, FAINT) if quads.area(one.quad) > LARGE * width * height]
        read = [one for one in self._cards(photo, faint) if one.card.accepted]
        return read or seen

    def _cards(self, photo: Photo, found: list[Found]) -> list[_Seen]:
        """Name the cards that were found in a photo."""
        locator = self._opened()
        if locator is None:
            return []
        named: list[tuple[Prediction, View]] = []
        outlines: list[Found] = []
        for start in range(0, len(found), CHUNK):
            chunk = found[start : start + CHUNK]
            crops = rectify(photo.pixels, np.array([one.quad for one in chunk]), self.info.size)
            probabilities, embeddings = self.classifier.run(crops)
            doubtful = np.flatnonzero(probabilities.max(axis=1) < self.info.threshold)
            if doubtful.size:
                again = locator.refine(photo.pixels, [chunk[at] for at in doubtful])
                cut = rectify(photo.pixels, np.array([one.quad for one in again]), self.info.size)
                probabilities[doubtful] = self._both_ways(crops[doubtful], probabilities[doubtful])
                for at, one, nearer in zip(doubtful, again, self._both_ways(cut), strict=True):
                    if nearer.argmax() != probabilities[at].argmax():  # one of them is wrong
                        probabilities[at] = (probabilities[at] + nearer) / 2
                    elif nearer.max() > probabilities[at].max():
                        probabilities[at], chunk[at] = nearer, one
            named += zip(map(self._name, probabilities.tolist()), map(View, crops, embeddings), strict=True)
            outlines += chunk
        looks = sorted(
            zip(named, outlines, strict=True), key=lambda look: (-look[0][0].accepted, -look[0][0].probability)
        )
        kept: list[tuple[Prediction, View, Found]] = []
        for (name, view), one in looks:
            twice = any(name.label == n.label and quads.overlap(one.quad, o.quad) > SAME_CARD for n, _, o in kept)
            if not twice and (name.accepted or one.score >= CLEAR_OUTLINE):
                kept.append((name, view, one))
        return [_Seen(_placed(name, one, photo), view) for name, view, one in kept]

    def _both_ways(self, crops: NDArray[np.uint8], upright: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """What is said of crops as they are and upside down, since most cards look the same then: the mean."""
        if upright is None:
            upright, _ = self.classifier.run(crops)
        turned, _ = self.classifier.run(np.ascontiguousarray(crops[:, ::-1, ::-1]))
        return np.asarray((upright + turned) / 2, np.float32)

    def _name(self, probabilities: list[float]) -> Prediction:
        labels = self.info.labels
        # Of so few numbers in half the time that NumPy takes, of which the network has left nothing in the caches.
        order = sorted(range(len(labels)), key=probabilities.__getitem__, reverse=True)[: ALTERNATIVES + 1]
        best, *others = [(labels[at], probabilities[at]) for at in order]
        return Prediction(*best, best[1] >= self.threshold, tuple([Alternative(*other) for other in others]))


def _locator_path(locator: Path | str | None, model: Path) -> Path | None:
    if locator is None:
        beside = locator_beside(model)
        return beside if beside.exists() else None
    path = locator_beside(champion_path()) if str(locator) == "champion" else Path(locator)
    if not path.is_file():
        raise ModelError(f"{path}: there is no such locator file")
    return path


def _placed(name: Prediction, found: Found, photo: Photo) -> LocatedCard:
    corners = np.round(found.quad * np.array(photo.scale), 1).tolist()
    return LocatedCard(
        name.label,
        name.probability,
        name.accepted,
        name.alternatives,
        tuple((x, y) for x, y in corners),
        round(found.visible, 3),
    )


def _plain(card: LocatedCard) -> Prediction:
    return Prediction(**_named(card))


def _named(answer: Prediction | LocatedCard) -> dict[str, Any]:
    return {field.name: getattr(answer, field.name) for field in fields(Prediction)}


def _prominence(card: LocatedCard) -> tuple[bool, float]:
    return card.accepted, quads.area(np.array(card.corners, np.float32)) * card.visible * card.probability
