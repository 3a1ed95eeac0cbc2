"""SVG drawings that hold a whole deck: which card lies under which id, and each card on its own, as pixels.

This module knows nothing about packages or decks' names; it knows SVG and the 53 labels.
"""

from __future__ import annotations

import copy
import gzip
import io
import re
from functools import cache
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, ParseError, SubElement, register_namespace, tostring

import defusedxml.ElementTree as SafeTree
import numpy as np
import resvg_py
from defusedxml.common import DefusedXmlException
from PIL import Image

from fulldeck.cards import Card
from fulldeck.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_LARGEST = 64 << 20  # bytes of an unpacked drawing
_ROUGH = 1600  # pixels across a whole sheet, to see where a card lies
_BEYOND = 0.02  # of the sheet's width, drawn around a card, so that its edge is not cut
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)['\"]?\s*\)")
_RANK = "(?P<rank>[2-9]|1[0-3]?|[atjqk]|ace|jack|queen|king)"
_SUIT = "(?P<suit>[cdhs]|club|diamond|heart|spade)"
_RANK_FIRST, _SUIT_FIRST = re.compile(f"{_RANK}_?{_SUIT}"), re.compile(f"{_SUIT}_?{_RANK}")
_JOKER = re.compile("(black_|red_)?joker(_black|_red)?|2j|j[12]")
_RANKS = {"1": "A", "ace": "A", "11": "J", "jack": "J", "12": "Q", "queen": "Q", "13": "K", "king": "K"}

register_namespace("", _SVG)
register_namespace("xlink", _XLINK)


def read(path: Path) -> Element:
    """Read an ``.svg`` or ``.svgz`` drawing.

    Raises:
        DataError: It is no SVG, or larger than 64 MiB.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(data)) as stream:
                data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            msg = f"{path} unpacks to more than {_LARGEST >> 20} MiB, which is no drawing of cards"
            raise DataError(msg)
        root: Element = SafeTree.fromstring(data)
    except (OSError, EOFError, ParseError, DefusedXmlException) as error:
        msg = f"{path} cannot be read as SVG ({error})"
        raise DataError(msg) from error
    return root


def label_of(name: str) -> str | None:
    """The label that a drawing's name or id means, or None: "club_1", "king_heart", "13h", "TD", "HK", "red_joker"."""
    text = name.lower()
    if _JOKER.fullmatch(text):
        return "joker"
    found = _RANK_FIRST.fullmatch(text) or _SUIT_FIRST.fullmatch(text)
    if found is None:
        return None
    rank, suit = found["rank"], found["suit"][0].upper()
    return Card.parse(_RANKS.get(rank, rank) + suit).label


def ids(sheet: Element) -> list[str]:
    """The ids in a drawing, in its order."""
    return [name for element in sheet.iter() if (name := element.get("id"))]


def sheet_labels(sheet: Element) -> dict[str, str]:
    """The cards of a sheet: each label with the id that draws it (of several jokers, the last)."""
    names = [name for name in ids(sheet) if "_" in name or name == "joker"]  # a plain "ac" is a part of something
    return {label: name for name in sorted(names) if (label := label_of(name))}


def alone(sheet: Element, name: str) -> Element:
    """A drawing like the sheet in which only the element of this id, and what it refers to, is left.

    Its place on the sheet stays, and the sheet's own styles.

    Raises:
        KeyError: The sheet has no such element.
    """
    parents = {child: parent for parent in sheet.iter() for child in parent}
    named = {element.get("id"): element for element in sheet.iter() if element.get("id")}
    target = named[name]
    needed = _closure(target, named)
    root = Element(sheet.tag, sheet.attrib)
    root.extend(copy.deepcopy(element) for element in sheet.iter(f"{{{_SVG}}}style"))
    defs = SubElement(root, f"{{{_SVG}}}defs")
    defs.extend(copy.deepcopy(element) for element in needed)
    chain = []
    above = parents.get(target)
    while above is not None and above is not sheet:
        chain.append(above)
        above = parents.get(above)
    place = root
    for element in reversed(chain):
        # a card that is kept among definitions is drawn all the same
        tag = f"{{{_SVG}}}g" if element.tag in {f"{{{_SVG}}}defs", f"{{{_SVG}}}symbol"} else element.tag
        place = SubElement(place, tag, element.attrib)
    place.append(copy.deepcopy(target))
    return root


def _closure(target: Element, named: dict[str | None, Element]) -> list[Element]:
    """What an element refers to, and what that refers to, less what is inside the element itself."""
    own = {element.get("id") for element in target.iter()}
    found: dict[str, Element] = {}
    waiting = [target]
    while waiting:
        for element in waiting.pop().iter():
            for key, value in element.attrib.items():
                names = _REFERENCE.findall(value)
                if key in {"href", f"{{{_XLINK}}}href"} and value.startswith("#"):
                    names.append(value[1:])
                for name in names:
                    if name in named and name not in own and name not in found:
                        found[name] = named[name]
                        waiting.append(named[name])
    return list(found.values())


def pixels(drawing: Element, width: int) -> NDArray[np.uint8]:
    """A drawing, ``uint8 [H, width, 4]``, RGBA, not premultiplied.

    Raises:
        DataError: It cannot be drawn.
    """
    fonts = _fonts() if next(drawing.iter(f"{{{_SVG}}}text"), None) is not None else {}
    try:
        data = resvg_py.svg_to_bytes(
            svg_string=tostring(drawing, "unicode"), width=width, dpi=96, skip_system_fonts=True, **fonts
        )
    except ValueError as error:
        msg = f"cannot be drawn ({error})"
        raise DataError(msg) from error
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGBA"))


@cache
def _fonts() -> dict[str, Any]:
    """Matplotlib's fonts, for drawings that set indices as text: the same pixels whatever a machine has installed."""
    import matplotlib as mpl  # noqa: PLC0415 - slow, and few decks need it

    families = {"serif_family": "DejaVu Serif", "sans_serif_family": "DejaVu Sans", "font_family": "DejaVu Sans"}
    return {"font_dirs": [f"{mpl.get_data_path()}/fonts/ttf"], **families}


def card_pixels(sheet: Element, name: str, width: int) -> NDArray[np.uint8]:
    """One card of a sheet, cropped to its edge, ``uint8 [H, width, 4]``.

    Raises:
        DataError: It cannot be drawn, or nothing is visible.
    """
    drawing = alone(sheet, name)
    left, top, across, down = view_box(drawing)
    # a sheet's own frame may leave cards outside
    _show(drawing, left - across, top - down, 3 * across, 3 * down)
    box = _visible(pixels(drawing, _ROUGH))
    if box is None:
        msg = "nothing of it is visible"
        raise DataError(msg)
    unit, room = 3 * across / _ROUGH, _BEYOND * across
    x, y = left - across + box[0] * unit - room, top - down + box[1] * unit - room
    wide, high = (box[2] - box[0]) * unit + 2 * room, (box[3] - box[1]) * unit + 2 * room
    _show(drawing, x, y, wide, high)
    # drawn larger by what the room around it takes, and brought to the exact width at the end
    drawn = pixels(drawing, round(width * wide / (wide - 2 * room)) + 8)
    box = _visible(drawn)
    if box is None:
        msg = "nothing of it is visible"
        raise DataError(msg)
    cropped = Image.fromarray(drawn).crop(box)
    height = round(width * cropped.height / cropped.width)
    return np.asarray(cropped.resize((width, height), Image.Resampling.LANCZOS))


def _show(drawing: Element, left: float, top: float, across: float, down: float) -> None:
    drawing.set("viewBox", f"{left} {top} {across} {down}")
    drawing.set("width", str(across))
    drawing.set("height", str(down))
    drawing.attrib.pop("preserveAspectRatio", None)


def view_box(drawing: Element) -> tuple[float, float, float, float]:
    """Left, top, width and height of what a drawing shows, in its own units.

    Raises:
        DataError: It says neither a viewBox nor a size.
    """
    box = re.findall(r"[-+.\deE]+", drawing.get("viewBox", ""))
    if len(box) != 4:
        size = [re.match(r"[.\d]+(?:[eE]\d+)?", drawing.get(key, "")) for key in ("width", "height")]
        if not all(size):
            msg = "says neither a viewBox nor a size"
            raise DataError(msg)
        box = ["0", "0", *(found[0] for found in size if found)]
    left, top, across, down = (float(value) for value in box)
    return left, top, across, down


def _visible(image: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) of what is more opaque than a shadow."""
    solid = image[:, :, 3] > 127
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
