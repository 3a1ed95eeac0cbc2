"""What finding cards costs, from JPEG bytes, on one thread: two ratios, each against work in the same process.

- `Recognizer.classify` of a picture that one card fills, beside the same with no locator at all;
- `Recognizer.locate` on a photo of 1280x720 pixels with five cards, beside five calls of the bare classifier on squares
  that are ready, one card a call.

Each pair takes turns, so that whatever else the machine does hits both.

    python benchmarks/locate.py [--model MODEL] [--locator LOCATOR] [--picture JPEG] [--scene JPEG] [--data FOLDER]

`--data` tells, beside that and with no limit, what `classify` costs over all pictures of a folder: those that the model
is not sure about are searched.

Exits with 1 if a ratio of medians is above its limit, or if the locator does not find five cards in the scene.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from fulldeck import FulldeckError, Recognizer
from fulldeck.data.deck import card_mask, deck_style, draw_card
from fulldeck.data.manifest import image_paths
from fulldeck.inference.image import decode
from fulldeck.inference.rectify import rectify

CLASSIFY_LIMIT = 1.3
LOCATE_LIMIT = 3.0
CARDS = {  # label: middle, height and turn in the scene
    "ace of spades": ((180, 220), 270, -20),
    "ten of hearts": ((480, 250), 280, 12),
    "queen of diamonds": ((850, 230), 260, 95),
    "seven of clubs": ((420, 540), 250, 160),
    "joker": ((1010, 500), 290, -8),
}


def drawn_scene() -> bytes:
    """Lay five drawn cards on a table: a JPEG of 1280x720 pixels."""
    rng = np.random.default_rng(0)
    grain = cv2.resize(rng.normal(0, 9, (90, 160, 3)), (1280, 720), interpolation=cv2.INTER_CUBIC)
    photo = np.clip(np.array([62, 96, 70]) + grain, 0, 255).astype(np.uint8)
    style = deck_style(1, 0)
    for label, (middle, height, degrees) in CARDS.items():
        face, mask = draw_card(label, style), card_mask(style)
        scale = height / face.shape[0]
        turn = cv2.getRotationMatrix2D((face.shape[1] / 2, face.shape[0] / 2), degrees, scale)
        turn[:, 2] += np.array(middle) - (face.shape[1] / 2, face.shape[0] / 2)
        laid = cv2.warpAffine(face, turn, (1280, 720), flags=cv2.INTER_AREA)
        alpha = cv2.warpAffine(mask, turn, (1280, 720), flags=cv2.INTER_AREA)[:, :, None] / 255
        photo = np.rint(alpha * laid + (1 - alpha) * photo).astype(np.uint8)
    return cv2.imencode(".jpg", photo[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def in_turns(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int, warm: int = 10
) -> tuple[float, float]:
    """Return the median milliseconds of both."""
    times: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}
    for repeat in range(repeats + warm):
        for call in (ours, theirs)[:: 1 if repeat % 2 else -1]:
            start = time.perf_counter()
            call()
            if repeat >= warm:  # the first ones warm up
                times[call].append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[ours]), statistics.median(times[theirs])


def main() -> int:
    """Measure, print, and say by the exit code whether the limits hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default="champion", help="a model file [default: the champion]")
    parser.add_argument("--locator", type=Path, default="champion", help="a locator file [default: the shipped one]")
    parser.add_argument("--picture", type=Path, help="a JPEG of one card [default: the service's example]")
    parser.add_argument("--scene", type=Path, help="a JPEG of five cards [default: one that is drawn now]")
    parser.add_argument("--data", type=Path, help="a folder of pictures that a card fills")
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    example = files("fulldeck.serving").joinpath("example.jpg")
    picture = (options.picture or example).read_bytes()
    scene = options.scene.read_bytes() if options.scene else drawn_scene()

    cv2.setNumThreads(1)
    try:
        recognizer = Recognizer(options.model, threads=1, locator=options.locator)
    except FulldeckError as error:
        parser.error(str(error))
    side = recognizer.info.size
    located = recognizer.locate(scene)
    corners = np.array([card.corners for card in located] or [((0, 0), (9, 0), (9, 9), (0, 9))], np.float32)
    squares = np.resize(rectify(decode(scene), corners, side), (5, 1, side, side, 3))

    def whole_only(data: bytes = picture) -> None:
        recognizer.predict(recognizer.prepare(data)[None])

    def bare() -> None:
        for square in squares:
            recognizer.classifier.run(square)

    one, whole = in_turns(lambda: recognizer.classify(picture), whole_only, options.repeats)
    many, five = in_turns(lambda: recognizer.locate(scene), bare, options.repeats)
    height, width = decode(picture).shape[:2]
    said = (
        "sure" if recognizer.classify(picture) == recognizer.predict(recognizer.prepare(picture)[None])[0] else "unsure"
    )
    print(f"model: {recognizer.info.name} at {side}x{side}; one thread; medians of {options.repeats} turns")
    print(f"classify one card, {width}x{height}, of which it is {said}  {one:7.2f} ms")
    print(f"the same without a locator                  {whole:7.2f} ms")
    print(f"ratio {one / whole:.2f} (limit {CLASSIFY_LIMIT})")
    print(f"locate {len(located)} cards in {located.width}x{located.height}                {many:7.2f} ms")
    print(f"five bare classifier calls                  {five:7.2f} ms")
    print(f"ratio {many / five:.2f} (limit {LOCATE_LIMIT})")
    if options.data:
        pictures = [(options.data / path).read_bytes() for path in image_paths(options.data)]
        pairs = [in_turns(partial(recognizer.classify, data), partial(whole_only, data), 2, 0) for data in pictures]
        ours, theirs = (sum(times) for times in zip(*pairs, strict=True))
        print(
            f"classify {len(pictures)} pictures of {options.data}: {ours / theirs:.2f} times the same without a locator"
        )
    return int(one > CLASSIFY_LIMIT * whole or many > LOCATE_LIMIT * five or len(located) != 5)


if __name__ == "__main__":
    sys.exit(main())
