"""Paints outlines and names of located cards on a copy of their photo."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fulldeck.errors import ConfigError, ImageError
from fulldeck.inference.files import STANDARD_INPUT, Source
from fulldeck.inference.picture import Picture
from fulldeck.inference.recognizer import Located, LocatedCard

WRITTEN = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""The suffixes, and by them the formats, in which copies are written."""

_ACCEPTED = (26, 160, 75)
_DOUBTFUL = (224, 142, 0)
_EDGE = (20, 20, 20)

_Box = tuple[float, float, float, float]


def copies(sources: list[Source], out: Path) -> dict[str, Path]:
    """Say where the painted copy of each source goes.

    Args:
        sources: The images.
        out: A file, for one image; or a folder, which need not be there yet.

    Returns:
        A path for each source's name. In a folder a copy has its image's name, with a number where two are called the
        same, and is a JPEG where the image is of a format that is not written here.

    Raises:
        ConfigError: The copy would take the place of an image; or several images are to go into one file, or one into
            a file of a format that is not written here.
    """
    readable = [source for source in sources if source.error is None]
    originals = {Path(source.name).resolve() for source in readable if source.name != STANDARD_INPUT}
    if out.suffix and not out.is_dir():
        if len(sources) > 1:
            raise ConfigError(f"{out}: several images need a folder to be painted into, not a file")
        if out.suffix.lower() not in WRITTEN:
            raise ConfigError(f"{out}: painted copies are written as {', '.join(sorted(WRITTEN))}")
        paths = {source.name: out for source in readable}
    else:
        paths = {}
        taken: set[Path] = set()
        for source in readable:
            if source.name not in paths:
                paths[source.name] = _free(out, source.name, taken)
    for path in paths.values():
        if path.resolve() in originals:
            raise ConfigError(
                f"{path}: the painted copy would take the place of the image; name another folder or file"
            )
    return paths


def _free(folder: Path, name: str, taken: set[Path]) -> Path:
    original = Path("stdin.jpg" if name == STANDARD_INPUT else name)
    suffix = original.suffix if original.suffix.lower() in WRITTEN else ".jpg"
    number = 1
    while (path := folder / f"{original.stem}{f'-{number}' if number > 1 else ''}{suffix}") in taken:
        number += 1
    taken.add(path)
    return path


def write(path: Path, data: bytes, located: Located) -> None:
    """Write a painted copy of an image.

    A photo of :data:`fulldeck.inference.picture.LONGER` pixels or more a side may come out reduced, as it was searched.

    Args:
        path: Where; folders that are not there are made.
        data: The image file's bytes.
        located: The cards in it.

    Raises:
        ImageError: The image cannot be decoded, or the copy cannot be written.
    """
    painted = paint(Picture(data, str(path)).photo().pixels, located)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _, encoded = cv2.imencode(path.suffix.lower(), painted[:, :, ::-1])
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise ImageError(f"{path}: the painted copy cannot be written ({error.strerror})") from None


def paint(photo: NDArray[np.uint8], located: Located) -> NDArray[np.uint8]:
    """Paint the cards' outlines and names on a copy of their photo.

    Accepted cards are green, the others amber with a question mark; a dot marks a card's top left corner.

    Args:
        photo: uint8 [H, W, 3], RGB: the upright photo, or the same one larger or smaller.
        located: The cards in it.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    height, width = photo.shape[:2]
    scale = np.array([width / located.width, height / located.height])
    outlines = [np.array(card.corners) * scale for card in located.cards]
    line = max(2, round(max(height, width) / 400))
    painted = photo.copy()
    for thickness in (line + 2, line):
        for card, outline in zip(located.cards, outlines, strict=True):
            colour = _EDGE if thickness > line else _colour(card)
            points = np.rint(outline).astype(np.int32)
            cv2.polylines(painted, [points], isClosed=True, color=colour, thickness=thickness, lineType=cv2.LINE_AA)
            top_left = (int(points[0, 0]), int(points[0, 1]))
            cv2.circle(painted, top_left, thickness + 2 * line, colour, -1, cv2.LINE_AA)
    image = Image.fromarray(painted)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(min(max(13, round(max(height, width) / 50)), 48))
    boxes: list[_Box] = []
    for card, outline in zip(located.cards, outlines, strict=True):
        text = f"{'' if card.accepted else '? '}{card.label} {card.probability:.0%}"
        left, top, right, bottom = font.getbbox(text)
        margin = 2 + line
        box = _placed((right - left + 2 * margin, bottom - top + 2 * margin), outline, boxes, (width, height))
        boxes.append(box)
        draw.rounded_rectangle(box, radius=margin, fill=_colour(card), outline=_EDGE)
        draw.text((box[0] + margin - left, box[1] + margin - top), text, fill="white", font=font)
    return np.asarray(image)


def _colour(card: LocatedCard) -> tuple[int, int, int]:
    return _ACCEPTED if card.accepted else _DOUBTFUL


def _placed(
    size: tuple[float, float], outline: NDArray[np.float64], others: Iterable[_Box], photo: tuple[int, int]
) -> _Box:
    """Find a place for a name by its card: in its middle, at a corner, above or below it; the one that hides least."""
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    wide, high = size
    anchors = [
        (middle_x, top - high),
        (middle_x, middle_y),
        (middle_x, bottom + high),
        *((0.75 * x + 0.25 * middle_x, 0.75 * y + 0.25 * middle_y) for x, y in outline),
    ]
    best, least = None, np.inf
    for x, y in anchors:
        at_x = float(np.clip(x - wide / 2, 0, max(photo[0] - wide, 0)))
        at_y = float(np.clip(y - high / 2, 0, max(photo[1] - high, 0)))
        box = (at_x, at_y, at_x + wide, at_y + high)
        hidden = sum(_common(box, other) for other in others)
        if hidden < least:
            best, least = box, hidden
    assert best is not None  # noqa: S101  (nothing hides more than infinitely much)
    return best


def _common(one: _Box, other: _Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0) * max(high, 0)
