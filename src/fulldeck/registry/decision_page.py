"""A gate's decision as one page for people, and as JSON: verdict, reasons, every check, pictures of what changed.

Knows how things look, not how they were judged. The page needs no other file, loads nothing and runs no script.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fulldeck.registry.checks import Check
from fulldeck.registry.gate import Examination
from fulldeck.training.measures import calibration
from fulldeck.training.pictures import draw_reliability
from fulldeck.training.report import data_uri
from fulldeck.training.style import FAINT, FELT, GRID, INK, RED, save

TEMPLATE = "decision.html.j2"
SHOWN = 24  # pictures that only the champion gets right


@dataclass(frozen=True)
class Facts:
    """What a decision is about.

    Attributes:
        verdict: ``promoted``, ``refused``, ``forced`` or ``compared``.
        champion: What the champion is called: "version 3" or "the one in the package".
        challenger: What the challenger is called.
        rules: The gate's rules, as plain values.
        made: Date, fulldeck's version and commit, who asked, and the reason of a forced promotion if it is one.
    """

    verdict: str
    champion: str
    challenger: str
    rules: dict[str, Any]
    made: dict[str, str | None]


@dataclass(frozen=True)
class Lost:
    """A picture that the champion names right and the challenger does not: uint8 [H, W, 3], and what was said."""

    image: NDArray[np.uint8]
    truth: str
    said: str
    probability: float


def to_json(examination: Examination, facts: Facts) -> str:
    """The decision for programs."""
    models = {
        name: None if one is None else {"version": one.info.version, "data_hash": one.info.data_hash}
        for name, one in (("champion", examination.champion), ("challenger", examination.challenger))
    }
    checks = [asdict(check) for check in examination.checks]
    whole = {**asdict(facts), "passed": examination.passed, "models": models, "checks": checks}
    return json.dumps(whole, indent=2, ensure_ascii=False, default=str) + "\n"


def render(examination: Examination, facts: Facts) -> str:
    """Make the page: the text of a complete HTML document."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    compared = [check for check in examination.checks if check.change is not None]
    lost = lost_pictures(examination)
    return template.render(
        facts=facts,
        passed=examination.passed,
        failed=[check for check in examination.checks if not check.passed],
        checks=examination.checks,
        changes=data_uri(_drawn(lambda out: draw_changes(compared, out)), "image/png") if compared else None,
        reliability=_reliability(examination),
        lost=[(one, data_uri(_jpeg(one.image), "image/jpeg")) for one in lost[:SHOWN]],
        lost_count=len(lost),
        rules=json.dumps(facts.rules, indent=2, ensure_ascii=False, default=str),
    )


def lost_pictures(examination: Examination) -> list[Lost]:
    """List the labelled pictures, as they are, that only the champion gets right; what it says most surely, first."""
    old, new, questions = examination.champion, examination.challenger, examination.questions
    if old is None or new is None or questions is None:
        return []
    found = []
    for name, batch in questions.labelled.items():
        for place, truth in enumerate(questions.labels[name]):
            said = int(new.labelled[name][place].argmax())
            if old.info.labels[int(old.labelled[name][place].argmax())] == truth != new.info.labels[said]:
                probability = float(new.labelled[name][place][said])
                found.append(Lost(batch[place], truth, new.info.labels[said], probability))
    return sorted(found, key=lambda one: -one.probability)


def draw_changes(checks: Sequence[Check], out: Path) -> None:
    """Draw each figure's change beside how far down it may go; a bar shows how far down it could really be."""
    figure = Figure(figsize=(9.4, 0.34 * len(checks) + 1.0), layout="constrained")
    axes = figure.subplots()
    for place, check in enumerate(reversed(checks)):
        colour = FELT if check.passed else RED
        change, allowed = 100 * (check.change or 0), 100 * (check.allowed or 0)
        axes.plot([-allowed, -allowed], [place - 0.36, place + 0.36], color=INK, linewidth=1.6)
        if check.lowest is not None:
            axes.plot([100 * check.lowest, change], [place, place], color=colour, linewidth=2.4)
        axes.plot([change], [place], "o", color=colour, markersize=6)
    axes.set_yticks(range(len(checks)), [check.name for check in reversed(checks)], fontsize=8.5, color=INK)
    lowest = min(min(100 * (check.lowest or check.change or 0), -100 * (check.allowed or 0)) for check in checks)
    highest = max(100 * (check.change or 0) for check in checks)
    axes.set_xlim(max(lowest * 1.08, -101) - 0.5, max(highest * 1.15, 2))
    axes.set_ylim(-0.7, len(checks) - 0.3)
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.set_xlabel("challenger less champion, in hundredths; left is worse, the stroke is the limit", color=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    save(figure, out)


def _reliability(examination: Examination) -> list[tuple[str, str]]:
    """A reliability diagram for each model, over all labelled sets."""
    questions, drawn = examination.questions, []
    for name, model in (("champion", examination.champion), ("challenger", examination.challenger)):
        if model is None or questions is None or not model.sound:
            continue
        answers = np.concatenate([model.labelled[one] for one in questions.labelled])
        truth = np.array([label for one in questions.labelled for label in questions.labels[one]])
        right = np.array(model.info.labels)[answers.argmax(axis=1)] == truth
        bars = calibration(answers.max(axis=1), right)
        drawn.append((name, data_uri(_drawn(lambda out, bars=bars: draw_reliability(bars, out)), "image/png")))
    return drawn


def _drawn(draw: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "picture.png"
        draw(out)
        return out.read_bytes()


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return data.tobytes()
