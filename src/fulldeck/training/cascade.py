"""``fulldeck cascade``: two model files as one, of which the large network is asked only where the small one is unsure.

What it writes is a model file like any other, with a version of its own.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from fulldeck.data.dataset import Batches, Images, open_cache
from fulldeck.data.layout import SPLITS, split_folder
from fulldeck.errors import ConfigError, DataError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.cores import available_cores
from fulldeck.inference.model_file import EMBEDDING, INPUT, PROBABILITIES, ModelInfo
from fulldeck.inference.recognizer import FILLS
from fulldeck.registry.behaviour import turned
from fulldeck.training.cascade_graph import first_look, is_cascade, join
from fulldeck.training.evaluate import find_model
from fulldeck.training.export import LARGEST_DIFFERENCE, fingerprint, write_model
from fulldeck.training.target import check_target, writing

BARS = (100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000, 3000, 5000, 10000)
"""The bars that are tried: how many times as probable as its second label the first network's first one must be. That
tells more than the probability alone, which label smoothing and a teacher hold below 1 however clear a picture is."""

UNSAFE = 0.001
"""The largest share of the pictures of a kind that may be settled unsafely."""

KINDS = ("upright", "turned", "no_card")

TURNS = (0, 15, 30, 45, 60, 75, 90, 180)
"""Degrees by which each held-out picture is turned, every other one to the right. A network of few pixels that is sure
of a turned card is sometimes sure of another one."""

FITTED_ON = 4096
"""Images by which embeddings are brought together."""

COMPARED_ON = 512
"""Other images, on which that is measured, and on which the file must answer as its parts do."""

RANK = 96
"""Directions that the first's embeddings are brought along: they lie in about as many as there are labels."""

RIDGE = 0.05
"""Of the variance of the mean direction: what holds the fit back from directions that vary little."""

STORED_SIZE = 224  # pixels: the cache that training uses, too
_BATCH = 32

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Settled:
    """What the first network settles of some pictures.

    Attributes:
        pictures: how many it was asked about.
        settled: how many of them its answer stood for.
        unsafe: how many of those answers are unsafe: a wrong name, or any where there is no card, that the second
            network does not give as well with `FILLS` or more.
    """

    pictures: int
    settled: int
    unsafe: int

    @property
    def share(self) -> float:
        """The share that is settled; 0 of no pictures."""
        return self.settled / self.pictures if self.pictures else 0.0


@dataclass(frozen=True)
class Joined:
    """What was made.

    Attributes:
        model, version: the file written, and its version.
        first, first_version: the model that looks first.
        then, then_version: the one that is asked where the first is unsure.
        bar: the first's answer stands where it is at least so many times as probable as its next one.
        chosen: whether the bar was chosen on the held-out pictures, and not given.
        upright, turned: held-out cards, as they are and turned.
        no_card: held-out pictures of no card, as they are and turned.
        same_label: how many of the upright cards get the second's label.
        tried: if the bar was chosen: for each bar the upright cards settled, and the unsafe answers of each of `KINDS`.
        likeness: mean cosine of the first's embeddings, brought among the second's, and the second's, on training
            images that the fit has not seen.
        likeness_settled: the same on the upright cards that the first settles; None if there are none.
        megabytes, first_megabytes, then_megabytes: sizes of the files.
    """

    model: str
    version: str
    first: str
    first_version: str
    then: str
    then_version: str
    bar: float
    chosen: bool
    upright: Settled
    turned: Settled
    no_card: Settled
    same_label: int
    tried: dict[str, tuple[int, int, int, int]]
    likeness: float
    likeness_settled: float | None
    megabytes: float
    first_megabytes: float
    then_megabytes: float

    def summary(self) -> str:
        """Say in a few lines what was written, and what the first network settles."""
        kinds = (("upright", self.upright), ("turned", self.turned), ("no card", self.no_card))
        shares = ", ".join(
            f"{name} {kind.share:.1%} of {kind.pictures} ({kind.unsafe} unsafe)"
            for name, kind in kinds
            if kind.pictures
        )
        lines = [
            f"{self.model}: version {self.version}, {self.megabytes:.1f} MB",
            f"{self.first_version} answers where it is sure by {self.bar:g} to 1, and {self.then_version} elsewhere",
        ]
        if shares:
            lines.append(f"settled: {shares}")
        if self.upright.pictures:
            alike = f"{self.same_label} of {self.upright.pictures} upright cards"
            lines.append(f"same label as {self.then_version} alone: {alike}")
        near = "" if self.likeness_settled is None else f", {self.likeness_settled:.3f} where the first settles"
        lines.append(f"embeddings: mean cosine {self.likeness:.3f} with the second's{near}")
        lines.append(f"next: fulldeck evaluate {self.model} DATA")
        return "\n".join(lines)


def cascade(
    first: Path | str,
    then: Path | str,
    out: Path,
    data: Path = Path("data/kaggle-cards"),
    *,
    bar: float | None = None,
    held_out: Sequence[Path] = (),
    no_card: Sequence[Path] = (),
    cache: Path = Path("data/cache"),
) -> Joined:
    """Join two models in one file, and write a report beside it.

    Args:
        first: the small one: a model file of ``fulldeck export``, a run folder with one, or "champion". It looks at
            each image first, shrunk to its own size.
        then: the large one, of the same labels, whose size is a whole multiple of the first's.
        out: the file to write.
        data: a dataset whose ``train`` split brings the first's embeddings among the second's.
        bar: how many times as probable as its next answer the first's must be to stand. None for the lowest of `BARS`
            at which at most `UNSAFE` of the held-out pictures are settled unsafely, of each of `KINDS`.
        held_out: folders of class folders that the first was not trained on.
        no_card: folders of class folders of what is no card, or but a part of one.
        cache: the folder for decoded images.

    Raises:
        ConfigError: the models do not go together, ``out`` is one of them, a folder, or cannot be written, the bar is
            no ratio, or there is neither one nor anything to choose it on.
        DataError: a folder cannot be used for these models.
        ModelError: a model cannot be used or is a cascade already, no bar is safe, or the file does not answer as its
            parts do (it is not left behind).
    """
    paths = find_model(first), find_model(then)
    check_target(out, *paths)
    infos = Classifier(paths[0], threads=1).info, Classifier(paths[1], threads=1).info
    graphs = onnx.load(paths[0]), onnx.load(paths[1])
    _check_parts(paths, infos, graphs)
    if bar is None and not held_out:
        msg = "nothing says how sure the first must be: name pictures with --held-out, or a ratio with --bar"
        raise ConfigError(msg)
    if bar is not None and not 0 <= bar < math.inf:
        msg = f"the bar is a ratio of probabilities, not {bar}"
        raise ConfigError(msg)
    info = infos[1]
    networks = _Network(first_look(graphs[0], info.size)), _Network(graphs[1])
    cards = [_open(folder, info.labels, cache) for folder in held_out]
    others = [_open(folder, None, cache) for folder in no_card]

    brought, likeness, sample = _bring(_training_images(data, info, cache), networks)
    looks = _Looks(networks, brought, BARS[0] if bar is None else min(BARS[0], bar))
    for images in (Images([found], info.labels, info.size) for found in cards):
        looks.add(images, cards=True)
    for images in (Images([found], info.labels, info.size) for found in others):
        looks.add(images, cards=False)
    ratios, unsafe, kinds = looks.column("ratio"), ~looks.column("safe").astype(bool), looks.column("kind")
    tried = {f"{each:g}": _counts(ratios, unsafe, kinds, each) for each in BARS} if bar is None else {}
    used = choose_bar(ratios, unsafe, kinds) if bar is None else float(bar)

    graph = join(*graphs, used, brought)
    figures = looks.figures(used)
    # The second's reference stands: the first's embeddings are brought among those that it was taken from.
    made = replace(
        info,
        version=f"{datetime.now(UTC):%Y.%m.%d}-{fingerprint(graph, used)}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=info.config | {"cascade": _told(infos, used, figures, likeness)},
    )
    with writing(out) as part:
        write_model(graph, made, part)
    if (difference := _difference(part, sample, used)) >= LARGEST_DIFFERENCE:
        part.unlink()
        msg = f"{out} was not written: a probability of its parts' answers differs by {difference:.3f}"
        raise ModelError(msg)
    report = Joined(
        model=str(out),
        version=made.version,
        first=str(paths[0]),
        first_version=infos[0].version,
        then=str(paths[1]),
        then_version=info.version,
        bar=used,
        chosen=bar is None,
        tried=tried,
        likeness=likeness,
        megabytes=round(part.stat().st_size / 1e6, 2),
        first_megabytes=round(paths[0].stat().st_size / 1e6, 2),
        then_megabytes=round(paths[1].stat().st_size / 1e6, 2),
        **figures,
    )
    with writing(out):
        part.replace(out)
        out.with_suffix(".parity.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return report


def choose_bar(ratios: NDArray[Any], unsafe: NDArray[np.bool_], kinds: NDArray[np.int64]) -> float:
    """Choose the lowest bar by which few enough pictures are settled unsafely.

    Args:
        ratios: float [M], how many times as probable as its next answer the first network's answer to each picture is.
        unsafe: bool [M], whether it may not stand.
        kinds: int [M], of which of `KINDS` each picture is.

    Returns:
        One of `BARS`.

    Raises:
        ModelError: there is none, or nothing is settled by it.
    """
    shown = np.bincount(kinds, minlength=len(KINDS))
    for bar in BARS:
        settled, *found = _counts(ratios, unsafe, kinds, bar)
        if settled and all(count <= UNSAFE * of for count, of in zip(found, shown, strict=True)):
            return float(bar)
    counts = (f"{count} of {of}" for count, of in zip(found, shown, strict=True))
    msg = (
        f"no bar is safe: where the first network is sure by {BARS[-1]} to 1 it settles {settled} upright cards, and "
        "unsafely {} upright cards, {} turned ones and {} pictures of no card".format(*counts)
        + f", of which {UNSAFE:.1%} may be; train it longer, or name a bar with --bar"
    )
    raise ModelError(msg)


def _counts(
    ratios: NDArray[Any], unsafe: NDArray[np.bool_], kinds: NDArray[np.int64], bar: float
) -> tuple[int, int, int, int]:
    """Count the upright cards settled by a bar, and the unsafe answers among the settled of each kind."""
    settled = ratios >= np.float32(bar)
    upright, turned_, none = (int((settled & unsafe & (kinds == kind)).sum()) for kind in range(len(KINDS)))
    return int((settled & (kinds == 0)).sum()), upright, turned_, none


def ratio(probabilities: Floats) -> Floats:
    """How many times as probable as the next label the first one is, float [N], of probabilities, float [N, C]."""
    best = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(best[:, 1] / np.maximum(best[:, 0], np.finfo(np.float32).tiny), np.float32)


def _check_parts(
    paths: tuple[Path, Path], infos: tuple[ModelInfo, ModelInfo], graphs: tuple[onnx.ModelProto, onnx.ModelProto]
) -> None:
    for path, graph in zip(paths, graphs, strict=True):
        if is_cascade(graph):
            msg = (
                f"{path} is a cascade already; take one of the two models that it joins (`fulldeck compress {path} "
                "--precision int8-weights --out large.onnx` writes the large one)"
            )
            raise ModelError(msg)
    if infos[0].labels != infos[1].labels:
        msg = f"{paths[0]} and {paths[1]} know different labels, so one cannot answer for the other"
        raise ConfigError(msg)
    if infos[0].size > infos[1].size:
        msg = (
            f"{paths[0]} looks at {infos[0].size} pixels and {paths[1]} at {infos[1].size}: "
            "name the model of the smaller images first"
        )
        raise ConfigError(msg)


class _Network:
    """A graph in memory, asked a batch at a time."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = available_cores()
        options.log_severity_level = 3
        self.session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def __call__(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Give (probabilities [N, C], embedding [N, D]) of uint8 [N, S, S, 3]."""
        probabilities, embedding = self.session.run([PROBABILITIES, EMBEDDING], {INPUT: images})
        return probabilities, embedding


_Networks = tuple[_Network, _Network]
_Brought = tuple[Floats, Floats, Floats]


def _open(folder: Path, labels: tuple[str, ...] | None, cache: Path) -> Any:
    """Open the decoded images of a folder of class folders; of these labels, if any are given."""
    if splits := [name for name in SPLITS if (folder / name).is_dir()]:
        msg = f"{folder} has splits; name the one that was held out, such as {folder / splits[-1]}"
        raise DataError(msg)
    found = open_cache(folder, STORED_SIZE, cache)
    if labels is not None and (unknown := sorted(set(found.labels) - set(labels))):
        msg = f"{folder} has labels that the models do not know: {', '.join(unknown[:5])}; name it with --no-card"
        raise DataError(msg)
    return found


def _training_images(data: Path, info: ModelInfo, cache: Path) -> tuple[Images, list[list[int]], list[list[int]]]:
    """Read training images of the second's size: to fit embeddings on, and others to compare on, in batches."""
    images = Images([open_cache(split_folder(data, "train"), STORED_SIZE, cache)], info.labels, info.size)
    order = np.random.default_rng(0).permutation(len(images))
    compared = min(COMPARED_ON, len(order) // 4)
    if compared < 1:
        msg = f"{data} has {len(order)} training images; it takes four at least to bring embeddings together"
        raise DataError(msg)
    fitted = order[compared : compared + FITTED_ON]
    return images, list(Batches(fitted, _BATCH)), list(Batches(order[:compared], _BATCH))


_Sample = tuple[NDArray[np.uint8], Floats, Floats]


def _bring(
    training: tuple[Images, list[list[int]], list[list[int]]], networks: _Networks
) -> tuple[_Brought, float, _Sample]:
    """Find what brings the first's embeddings among the second's, by least squares with a ridge and of low rank.

    Returns:
        The two factors and the shift; the mean cosine of both on the images to compare on; and those, with the
        probabilities that either network gives them.
    """
    images, fit, compare = training
    given, wanted = (
        np.concatenate(part).astype(np.float64)
        for part in zip(
            *(
                (networks[0](pixels)[1], networks[1](pixels)[1])
                for pixels in _batches(images, fit, "bringing embeddings together")
            ),
            strict=True,
        )
    )
    centre, goal = given.mean(0), wanted.mean(0)
    given -= centre
    spread = given.T @ given
    ridge = RIDGE * max(np.trace(spread) / len(spread), 1e-9)
    slope = np.linalg.solve(spread + ridge * np.eye(len(spread)), given.T @ (wanted - goal))
    # Reduced-rank regression: along the directions that what is fitted varies most in.
    reached = slope.T @ spread @ slope
    up = np.linalg.eigh(reached)[1][:, ::-1][:, :RANK].T
    down = slope @ up.T
    brought = down.astype(np.float32), up.astype(np.float32), (goal - centre @ down @ up).astype(np.float32)

    shown = list(_batches(images, compare))
    answers = [(*networks[0](pixels), *networks[1](pixels)) for pixels in shown]
    early, inner, late, outer = (np.concatenate(part) for part in zip(*answers, strict=True))
    return brought, float(_cosines(inner, outer, brought).mean()), (np.concatenate(shown), early, late)


def _batches(images: Images, batches: Sequence[list[int]], telling: str | None = None) -> Iterator[NDArray[np.uint8]]:
    console = Console(stderr=True)
    silent = telling is None or not console.is_terminal
    for batch in track(batches, telling or "", transient=True, console=console, disable=silent):
        yield images[batch][0].numpy()


def _cosines(inner: Floats, outer: Floats, brought: _Brought) -> Floats:
    """Compare the first's embeddings [N, D'], brought among the second's, with the second's [N, D]."""
    down, up, shift = brought
    moved = inner @ down @ up + shift
    lengths = np.linalg.norm(moved, axis=1) * np.linalg.norm(outer, axis=1)
    return np.asarray((moved * outer).sum(1) / np.maximum(lengths, 1e-9), np.float32)


class _Looks:
    """What both networks say of held-out pictures, as they are and turned.

    The second is asked only where its answer is wanted: where the first would settle one at some bar.
    """

    def __init__(self, networks: _Networks, brought: _Brought, lowest: float) -> None:
        self.networks = networks
        self.brought = brought
        self.lowest = np.float32(lowest)
        self.parts: list[dict[str, NDArray[Any]]] = []

    def add(self, images: Images, *, cards: bool) -> None:
        """Ask about pictures of cards, or of what is none."""
        batches = list(Batches(np.arange(len(images)), _BATCH))
        for batch, pixels in zip(batches, _batches(images, batches, "asking about held-out pictures"), strict=True):
            for degrees in TURNS:
                shown = [
                    turned(image, -degrees if at % 2 else degrees) for at, image in zip(batch, pixels, strict=True)
                ]
                truth = images.targets[batch] if cards else None
                self._ask(np.stack(shown) if degrees else pixels, truth, upright=degrees == 0)

    def _ask(self, pixels: NDArray[np.uint8], truth: NDArray[np.int64] | None, *, upright: bool) -> None:
        early, inner = self.networks[0](pixels)
        ratios, label = ratio(early), early.argmax(1)
        cosine, same, fills = np.full(len(label), np.nan), np.ones(len(label), bool), np.zeros(len(label), bool)
        right = np.zeros(len(label), bool) if truth is None else label == truth
        at = np.flatnonzero((ratios >= self.lowest) & (~right | upright))
        if at.size:
            late, outer = self.networks[1](np.ascontiguousarray(pixels[at]))
            same[at] = late.argmax(1) == label[at]
            fills[at] = late.max(1) >= np.float32(FILLS)
            cosine[at] = _cosines(inner[at], outer, self.brought)
        kind = 2 if truth is None else 0 if upright else 1
        safe = right | (same & fills)
        self.parts.append(
            {"ratio": ratios, "safe": safe, "same": same, "cosine": cosine, "kind": np.full(len(label), kind, np.int64)}
        )

    def column(self, name: str) -> NDArray[Any]:
        """One of the values of each picture, [M]."""
        return np.concatenate([part[name] for part in self.parts]) if self.parts else np.zeros(0, np.float32)

    def figures(self, bar: float) -> dict[str, Any]:
        """Count what the first settles by a bar."""
        reached = self.column("ratio") >= np.float32(bar)
        safe, kind = self.column("safe").astype(bool), self.column("kind")
        kinds = [
            Settled(*(int((which & (kind == at)).sum()) for which in (kind >= 0, reached, reached & ~safe)))
            for at in range(len(KINDS))
        ]
        settled = reached & (kind == 0)
        cosines = self.column("cosine")[settled]
        return {
            **dict(zip(KINDS, kinds, strict=True)),
            "same_label": kinds[0].pictures - int((settled & ~self.column("same").astype(bool)).sum()),
            "likeness_settled": float(cosines.mean()) if cosines.size else None,
        }


def _told(infos: tuple[ModelInfo, ModelInfo], bar: float, figures: dict[str, Any], likeness: float) -> dict[str, Any]:
    """Say in a model's configuration what it was joined from, and by what."""
    first, then = infos
    found = {name: asdict(value) if isinstance(value, Settled) else value for name, value in figures.items()}
    return {
        "bar": bar,
        "first": {name: getattr(first, name) for name in ("version", "name", "size", "data_hash", "commit", "config")},
        "then": {"version": then.version},
        "held_out": found | {"likeness": likeness},
    }


def _difference(file: Path, sample: _Sample, bar: float) -> float:
    """Compare a cascade's answers, to images asked together, with those of the network whose turn it is."""
    pixels, early, late = sample
    classifier = Classifier(file)
    found = np.concatenate([classifier.run(pixels[at : at + _BATCH])[0] for at in range(0, len(pixels), _BATCH)])
    ratios = ratio(early)
    wanted = np.where((ratios >= np.float32(bar))[:, None], early, late)
    clear = np.abs(ratios - bar) > 1e-3 * bar  # nearer, the last digits decide, which differ by the batch
    return float(np.abs(found - wanted)[clear].max(initial=0.0))
