"""An audit for people: a table for the terminal, and one page with the pictures side by side.

Knows how things look, not how they were found. The page holds its pictures and its style, loads nothing and runs no
script; its content security policy says so to the browser too.
"""

import base64
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fulldeck.data.findings import KINDS, Audit, Finding
from fulldeck.data.manifest import write_atomically
from fulldeck.errors import ConfigError, ImageError
from fulldeck.inference import image

TEMPLATE = "audit.html.j2"
ROWS = 12
"""Findings of a kind that the terminal shows."""
SHOWN = 80
"""Findings of a kind that the page shows."""
_SIDE = 200
_WIDE = 160
_GRAVE = {"unreadable", "contradiction", "leak", "label"}


def show(audit: Audit) -> None:
    """Print the findings: as wide as the terminal, or on long lines into a file, so that paths stay whole."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    console.print(Text(_headline(audit), style="bold"), soft_wrap=True)
    console.print(table(audit))
    for note in audit.notes:
        console.print(Text(f"\nnote: {note}", style="yellow"), soft_wrap=True)


def table(audit: Audit) -> RenderableType:
    """Lay the findings out for a terminal: the counts, and under each kind its first findings."""
    out = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    out.add_column(justify="right", no_wrap=True)
    out.add_column(overflow="fold")
    for kind, count in audit.counts().items():
        if kind == "label" and audit.embedding is None:
            out.add_row("-", Text("labels that the other images contradict: not checked", style="dim"))
            continue
        style = ("red" if kind in _GRAVE else "yellow") if count else "green"
        out.add_row(Text(f"{count:,}", style=f"bold {style}"), KINDS[kind])
    parts: list[RenderableType] = [out]
    for kind, count in audit.counts().items():
        if not count:
            continue
        rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left", title_style="bold")
        rows.add_column("FILES" if kind != "imbalance" else "", overflow="fold", header_style="dim", ratio=1)
        rows.add_column("WHAT", overflow="fold", header_style="dim", ratio=1)
        found = [finding for finding in audit.findings if finding.kind == kind]
        for finding in found[:ROWS]:
            rows.add_row(Text("\n".join(finding.files)), Text(finding.detail))
        if count > ROWS:
            rows.add_row(Text(f"and {count - ROWS:,} more", style="dim"), "")
        parts += [Text(f"\n{KINDS[kind]}", style="bold"), rows]
    return Group(*parts)


def _headline(audit: Audit) -> str:
    total = sum(audit.images.values())
    splits = ", ".join(f"{count:,} {split}" for split, count in audit.images.items())
    text = f"{audit.folder}: {total:,} images ({splits}) of {audit.labels} labels"
    if audit.embedding and audit.accuracy is not None:
        text += f"\nlabels judged out of fold by: {audit.embedding}; it agrees with {audit.accuracy:.1%} of them"
    return text


@dataclass(frozen=True)
class Picture:
    """One image on the page; ``source`` is None where it cannot be read."""

    path: str
    label: str
    source: str | None


@dataclass(frozen=True)
class Section:
    """One kind of finding on the page: the findings shown, with their pictures, and how many there are."""

    kind: str
    title: str
    advice: str
    count: int
    shown: list[tuple[Finding, list[Picture]]]


_ADVICE = {
    "unreadable": "Training leaves these out and says so. Replace or delete them.",
    "contradiction": "At most one of the labels is right. Move the picture to its label, or delete it.",
    "leak": "What was trained on says nothing when it is tested on. Delete the copy in train.",
    "duplicate": "Harmless in small numbers, but a copy held out of training is no test. One copy is enough.",
    "label": "Judged by a probe that saw neither the image nor a copy of it. Some are right and merely unusual: look.",
    "outlier": "Not what the others are, or the only one of its deck. Look whether it belongs.",
    "imbalance": "A label with few images is learned late and measured badly.",
}


def write_page(audit: Audit, file: Path) -> None:
    """Write the page.

    Raises:
        ConfigError: the file cannot be written.
    """
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - the table does without

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    text = template.render(
        audit=audit, total=sum(audit.images.values()), kinds=KINDS, counts=audit.counts(), sections=_sections(audit)
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode("utf-8", "replace"))
    except OSError as error:
        msg = f"{file} cannot be written ({error.strerror}): give another file with --page"
        raise ConfigError(msg) from error


def _sections(audit: Audit) -> list[Section]:
    sections = []
    for kind, count in audit.counts().items():
        found = [finding for finding in audit.findings if finding.kind == kind][:SHOWN]
        shown = [(finding, [_picture(audit.folder, path) for path in finding.files]) for finding in found]
        if count:
            sections.append(Section(kind, KINDS[kind], _ADVICE[kind], count, shown))
    return sections


def _picture(folder: Path, path: str) -> Picture:
    label = Path(path).parts[-2]
    try:
        pixels = image.load(folder / path)
    except ImageError:
        return Picture(path, label, None)
    encoded = base64.b64encode(_jpeg(pixels)).decode("ascii")
    return Picture(path, label, f"data:image/jpeg;base64,{encoded}")


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    scale = min(1.0, _SIDE / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    small = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
