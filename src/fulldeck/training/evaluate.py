"""Measure a model file on a labelled folder: what it gets right, how well it knows it, and where it fails.

The images go through the same decoder and the same ONNX Runtime session as in serving, and no torch is loaded, so the
figures are those that users meet.
"""

import csv
import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from fulldeck import __version__
from fulldeck.data import layout
from fulldeck.data.manifest import content_hash
from fulldeck.data.placing import within
from fulldeck.errors import DataError, ImageError, ModelError
from fulldeck.inference import image
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import ModelInfo, champion_path
from fulldeck.inference.recognizer import Prediction, Recognizer
from fulldeck.provenance import commit
from fulldeck.training import pictures, report
from fulldeck.training.doubt import NoCard, embedding_scores, judge, probability_scores, separate
from fulldeck.training.measures import Floats, Ints, Measures, measure
from fulldeck.training.pictures import Example
from fulldeck.training.robustness import Robustness, measure_robustness
from fulldeck.training.scenes import read_scenes
from fulldeck.training.tables import Table, markdown, tables

logger = logging.getLogger(__name__)

SPLITS = ("test", "valid", "train")
BATCH = 32
EXAMPLES = 25  # on the sheet of mistakes
THUMBNAIL = 192  # pixels, the longer side of an image on that sheet


@dataclass(frozen=True)
class Answers:
    """What the model said.

    Attributes:
        files: path of each answered image relative to the folder, [N].
        truth: int [N], index of each image's label.
        probabilities: float64 [N, C].
        embedding: float64 [N, D].
        unreadable: (file, reason) of the images that are none.
    """

    files: tuple[str, ...]
    truth: Ints
    probabilities: Floats
    embedding: Floats
    unreadable: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Trials:
    """What is measured beside the answers to the folder itself.

    Attributes:
        robustness: whether to measure corruptions, turns, sizes and covers of the folder's pictures.
        unseen: folders of decks that training has not seen; ``robustness`` only.
        scenes: a folder of composed scenes; ``robustness`` only.
        no_card: a folder with folders of pictures that show no card, one a kind.
        reference: a labelled folder of training images, for scores that compare embeddings; ``no_card`` only.
        locator: the locator file that finds cards; None for the one beside the model.
    """

    robustness: bool = False
    unseen: tuple[Path, ...] = ()
    scenes: Path | None = None
    no_card: Path | None = None
    reference: Path | None = None
    locator: Path | None = None

    def words(self) -> list[str]:
        """The options of the command that ask for this."""
        words = ["--robustness"] * self.robustness
        for folder in self.unseen:
            words += ["--unseen", str(folder)]
        for name in ("scenes", "no_card", "reference", "locator"):
            if (folder := getattr(self, name)) is not None:
                words += [f"--{name.replace('_', '-')}", str(folder)]
        return words


@dataclass(frozen=True)
class Evaluation:
    """The outcome of :func:`evaluate`: the figures, what they were measured on, and where everything lies."""

    measures: Measures
    model: Path
    info: ModelInfo
    data: Path
    unreadable: tuple[tuple[str, str], ...]
    out: Path
    robustness: Robustness | None = None
    no_card: NoCard | None = None

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.out / "report.html"

    @property
    def tables(self) -> list[Table]:
        """What was measured beside the folder itself; empty if nothing was."""
        return tables(self.robustness, self.no_card)

    def figures(self) -> dict[str, float]:
        """The chief figures by name, for programs that compare runs; all the others are in metrics.json."""
        found = self.measures
        return {
            "images": found.images,
            "accuracy": found.accuracy.value,
            "top5": found.top5,
            "macro_f1": found.macro_f1,
            "log_loss": found.log_loss,
            "brier": found.brier,
            "ece": found.calibration.ece,
            "coverage": found.selection.coverage,
            "wrong_accepted": found.selection.wrong_accepted,
        }

    def summary(self) -> str:
        """A few lines for the terminal."""
        found = self.measures
        accuracy = found.accuracy
        lines = [
            f"{self.info.name} {self.info.version} on {self.data}: {found.images} images",
            f"accuracy  {accuracy.value:.2%}  (95 % interval {accuracy.low:.2%} to {accuracy.high:.2%})",
            f"macro F1  {found.macro_f1:.4f}",
            f"ECE       {found.calibration.ece:.4f}",
        ]
        if self.unreadable:
            lines.append(f"left out  {len(self.unreadable)}, no images (the report names them)")
        return "\n".join([*lines, f"report    {self.report}"])


def evaluate(model: Path | str, data: Path, out: Path | None = None, trials: Trials | None = None) -> Evaluation:
    """Measure a model and write metrics.json, predictions.csv, pictures and report.html.

    Args:
        model: an .onnx file, a run folder with a model.onnx, or "champion", the shipped model.
        data: a folder with a folder of images for each label; or one with splits, of which ``test`` is taken, else
            ``valid``. ``train`` is measured only when it is named itself.
        out: the folder to write; default runs/evaluate/<model>-<data>.
        trials: what to measure beside; robustness.md and robustness.png are written then, too.

    Raises:
        ModelError: the model is not there or cannot be used.
        DataError: the folder has no images, or labels that the model does not know.
    """
    path = find_model(model)
    classifier = Classifier(path)
    info = classifier.info
    if len(info.labels) < 2:
        msg = f"{path}: it knows one label only, so there is nothing to measure"
        raise ModelError(msg)
    folder = find_split(data)
    images = find_images(folder, info.labels)
    out = out or Path("runs/evaluate") / _name(model, path, folder)
    trials = trials or Trials()
    # What cannot be measured is told before anything is: these look into every folder.
    decks = {str(deck): _named(find_images(find_split(deck), info.labels), info) for deck in trials.unseen}
    scenes = read_scenes(trials.scenes) if trials.scenes else []
    no_cards = find_split(trials.no_card) if trials.no_card else None
    if trials.reference:
        find_images(trials.reference, info.labels)
    recognizer = Recognizer(path, locator=trials.locator)
    answers = ask(classifier, folder, images)
    measures = measure(info.labels, answers.truth, answers.probabilities, info.threshold)
    logger.info("measured %s on %d images of %s", path, measures.images, folder)

    out.mkdir(parents=True, exist_ok=True)
    robustness = no_card = None
    if trials.robustness:
        robustness = measure_robustness(recognizer, _named(images, info), decks, scenes)
    if no_cards:
        no_card = _measure_no_card(recognizer, (folder, answers), no_cards, trials.reference)
    evaluation = Evaluation(measures, path, info, folder, answers.unreadable, out, robustness, no_card)
    facts = _facts(evaluation, shlex.join(["fulldeck", "evaluate", str(model), str(data), *trials.words()]))
    _write_predictions(answers, info, out / "predictions.csv")
    examples = telling_examples(answers, info, lambda index: image.load(folder / answers.files[index]))
    drawn = draw(measures, info, examples, out)
    beside = {
        name: asdict(found) for name, found in (("robustness", robustness), ("no_card", no_card)) if found is not None
    }
    if beside:
        drawn["robustness"] = out / "robustness.png"
        pictures.draw_robustness(robustness, no_card, drawn["robustness"])
        (out / "robustness.md").write_text(markdown(evaluation.tables, facts), encoding="utf-8")
    text = json.dumps({**asdict(measures), **facts, **beside}, indent=2, ensure_ascii=False, allow_nan=False)
    (out / "metrics.json").write_text(f"{text}\n", encoding="utf-8")
    evaluation.report.write_text(report.render(measures, facts, drawn, examples, evaluation.tables), encoding="utf-8")
    return evaluation


def find_model(model: Path | str) -> Path:
    """Find the model file that is meant by a file, a run folder or the word "champion"."""
    if str(model) == "champion":
        return champion_path()
    path = Path(model)
    if not path.is_dir():
        return path
    if not (path / "model.onnx").is_file():
        msg = f"{path} has no model.onnx; make it with: fulldeck export {path}"
        raise ModelError(msg)
    return path / "model.onnx"


def find_split(data: Path) -> Path:
    """Find the folder of class folders to measure on: a ``test`` split, else ``valid``, else the folder itself."""
    if not data.is_dir():
        msg = f"{data} is not a folder; give one with a folder of images for each label"
        raise DataError(msg)
    for split in ("test", "valid"):
        if (data / split).is_dir():
            logger.info("measuring on the split %s of %s", split, data)
            return data / split
    if (data / "train").is_dir():
        train = data / "train"
        msg = f"{data} has only a train split, on which a model is no judge of itself; if you mean it, name {train}"
        raise DataError(msg)
    return data


def find_images(folder: Path, labels: Sequence[str]) -> list[tuple[Path, int]]:
    """List a folder's images with the index of their label, sorted by path.

    Raises:
        DataError: a class folder is none of the labels, or there is no image.
    """
    named = layout.find_images(folder)
    unknown = sorted({label for _, label in named} - set(labels))
    if unknown:
        names = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        msg = f"{folder} has folders that are no label of the model: {names}; rename or remove them"
        raise DataError(msg)
    index = {label: place for place, label in enumerate(labels)}
    return [(path, index[label]) for path, label in named]


def ask(classifier: Classifier, folder: Path, images: Sequence[tuple[Path, int]]) -> Answers:
    """Run the model over images in batches; those that do not decode are set aside with the reason.

    Raises:
        DataError: none of the images can be decoded.
    """
    size = classifier.info.size

    def read(path: Path) -> NDArray[np.uint8] | str:
        try:
            return image.resize(image.load(path), size)
        except ImageError as error:
            return str(error)

    files, truth, outputs, unreadable = [], [], [], []
    console = Console(stderr=True)
    with (
        ThreadPoolExecutor() as pool,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("evaluating", total=len(images))
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            batch = []
            for (path, index), pixels in zip(part, pool.map(read, [path for path, _ in part]), strict=True):
                name = path.relative_to(folder).as_posix()
                if isinstance(pixels, str):
                    logger.warning("left out: %s", pixels)
                    unreadable.append((name, pixels))
                    continue
                files.append(name)
                truth.append(index)
                batch.append(pixels)
            if batch:
                outputs.append(classifier.run(np.stack(batch)))
            bar.advance(task, len(part))
    if not files:
        msg = f"none of the {len(images)} images in {folder} can be read; the first: {unreadable[0][1]}"
        raise DataError(msg)
    probabilities, embedding = (np.concatenate(part).astype(np.float64) for part in zip(*outputs, strict=True))
    if not np.isfinite(probabilities).all():
        msg = f"{classifier.path}: it answers some images with no numbers (NaN); train or export it again"
        raise ModelError(msg)
    return Answers(tuple(files), np.asarray(truth), probabilities, embedding, tuple(unreadable))


def _measure_no_card(
    recognizer: Recognizer, cards: tuple[Path, Answers], no_card: Path, reference: Path | None
) -> NoCard:
    """Ask about pictures without a card, and compare the scores by which they might be refused."""
    folder, answers = cards
    shown = layout.find_images(no_card)
    kinds = sorted({kind for _, kind in shown})
    others = ask(recognizer.classifier, no_card, [(path, kinds.index(kind)) for path, kind in shown])
    of_kind = [kinds[index] for index in others.truth]
    scores = probability_scores()
    if reference:
        known = ask(recognizer.classifier, reference, find_images(reference, recognizer.info.labels))
        scores |= embedding_scores(known.embedding, known.truth)
    separations = separate(
        scores, (answers.probabilities, answers.embedding), (others.probabilities, others.embedding), of_kind
    )
    of_cards = _classify(recognizer, folder, answers.files)
    judged = judge(of_cards, _classify(recognizer, no_card, others.files), of_kind, recognizer.threshold)
    return replace(judged, scores=separations)


def _classify(recognizer: Recognizer, folder: Path, files: Sequence[str]) -> list[Prediction]:
    """What a user is told about each file."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        return [recognizer.classify(folder / file) for file in bar.track(files, description="classifying")]


def _named(images: Sequence[tuple[Path, int]], info: ModelInfo) -> list[tuple[Path, str]]:
    return [(path, info.labels[index]) for path, index in images]


def _name(model: Path | str, path: Path, folder: Path) -> str:
    """The output folder's name; "model.onnx" says nothing, so a run is called by its folder."""
    stem = path.parent.name if path.name == "model.onnx" else path.stem
    data = f"{folder.parent.name}-{folder.name}" if folder.name in SPLITS else folder.name
    return f"{'champion' if str(model) == 'champion' else stem}-{data}".strip("-")


def _facts(evaluation: Evaluation, command: str) -> dict[str, Any]:
    """What was measured, on what, and with which program: plain values for JSON."""
    info, folder = evaluation.info, evaluation.data
    present = {score.label for score in evaluation.measures.classes if score.support}
    digest = hashlib.sha256(evaluation.model.read_bytes()).hexdigest()
    return {
        "model": {
            "path": str(evaluation.model),
            "sha256": digest,
            "bytes": evaluation.model.stat().st_size,
            "name": info.name,
            "version": info.version,
            "size": info.size,
            "labels": len(info.labels),
            "temperature": info.temperature,
            "threshold": info.threshold,
            "data_hash": info.data_hash,
            "commit": info.commit,
            "created": info.created,
            "config": info.config,
        },
        "data": {
            "path": str(folder),
            "split": folder.name if folder.name in SPLITS else None,
            "content_hash": _hash(folder),
            "files": evaluation.measures.images + len(evaluation.unreadable),
            "unreadable": [{"file": file, "error": error} for file, error in evaluation.unreadable],
            "labels_without_images": [label for label in info.labels if label not in present],
        },
        "made": {
            "command": command,
            "fulldeck": __version__,
            "commit": commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def _hash(folder: Path) -> str | None:
    """The folder's content hash; None where a file may not be read, which is no reason to measure nothing."""
    try:
        return content_hash(folder)
    except DataError as error:
        logger.warning("no content hash: %s", error)
        return None


def _write_predictions(answers: Answers, info: ModelInfo, out: Path) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "predicted", "probability", "accepted", "right"])
        for name, index, row in zip(answers.files, answers.truth, answers.probabilities, strict=True):
            best = int(row.argmax())
            table.writerow(
                [
                    name,
                    info.labels[index],
                    info.labels[best],
                    f"{row[best]:.6f}",
                    str(bool(row[best] >= info.threshold)).lower(),
                    str(bool(best == index)).lower(),
                ]
            )


def telling_examples(answers: Answers, info: ModelInfo, load: Callable[[int], NDArray[np.uint8]]) -> list[Example]:
    """Choose the images to look at: mistakes, the surest first; or, with no mistake, the least sure of the right ones.

    Args:
        answers: to N images.
        info: of the model that gave them.
        load: gives the pixels of an image, uint8 [H, W, 3], by its place among the N.
    """
    confidence = answers.probabilities.max(axis=1)
    right = answers.probabilities.argmax(axis=1) == answers.truth
    order = np.argsort(confidence, kind="stable")
    chosen = order if right.all() else [index for index in order[::-1] if not right[index]]
    examples = []
    for index in chosen[:EXAMPLES]:
        row = answers.probabilities[index]
        best = np.argsort(-row, kind="stable")[:3]
        examples.append(
            Example(
                file=answers.files[index],
                image=within(load(int(index)), THUMBNAIL),
                truth=info.labels[answers.truth[index]],
                truth_probability=float(row[answers.truth[index]]),
                alternatives=tuple((info.labels[place], float(row[place])) for place in best),
                accepted=bool(confidence[index] >= info.threshold),
            )
        )
    return examples


def draw(measures: Measures, info: ModelInfo, examples: Sequence[Example], out: Path) -> dict[str, Path]:
    """Draw every picture; the keys of those that the page shows are the names its template uses."""
    drawn = {name: out / f"{name}.png" for name in ("reliability", "roc", "coverage", "confusion")}
    pictures.draw_reliability(measures.calibration, drawn["reliability"])
    pictures.draw_roc(measures.roc_micro, measures.roc_macro, measures.auc_micro, measures.auc_macro, drawn["roc"])
    pictures.draw_coverage(measures, drawn["coverage"])
    pictures.draw_confusion(info.labels, measures.confusion, drawn["confusion"])
    pictures.draw_examples(examples, out / "examples.png")
    return drawn
