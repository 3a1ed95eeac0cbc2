"""Accuracy against latency, throughput, size and memory of model files, beside ResNet-18 at 224 pixels in float32.

ResNet-18 is what a plain project serves; its weights do not matter for speed, so it is built here, not trained. The
same goes for networks named with --untrained, by which a student can be chosen before anybody trains it. All run on one
thread, by the session that serves, and take turns, so that whatever else the machine does hits all of them.

    taskset -c 1 python benchmarks/compress.py champion champion-int8.onnx --untrained mobilenetv3_small_100@128

Prints a table and writes compress.md, compress.json and compress.png to --out. Exits with 1 if --limit is given and no
model reaches that many times ResNet-18's images/s within --points of the best accuracy, with --robust of both.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fulldeck.cards import LABELS
from fulldeck.data.corruptions import CORRUPTIONS, corrupt
from fulldeck.errors import ConfigError, FulldeckError
from fulldeck.inference import image
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import ModelInfo
from fulldeck.training.evaluate import ask, find_images, find_model, find_split
from fulldeck.training.export import Answering, to_onnx, write_model
from fulldeck.training.module import CardModule
from fulldeck.training.quantise import quantise

REFERENCE = "resnet18@224"
BATCHES = (1, 8, 32)
SEVERITY = 3
SAMPLE = 106  # pictures that are spoilt: two of each card
TIMED = 53  # pictures that times are taken of: one of each card

# VmHWM, since what getrusage tells a new process begins with its parent's peak
PEAK = """
import sys, numpy as np
from pathlib import Path
from fulldeck.inference.classifier import Classifier

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

before = peak()
classifier = Classifier(sys.argv[1], threads=1)
classifier.run(np.zeros((1, classifier.info.size, classifier.info.size, 3), np.uint8))
print(peak() - before)
"""


@dataclass(frozen=True)
class Variant:
    """A model's figures.

    Attributes:
        name: what it is called in the table.
        size: side of its input, in pixels.
        accuracy: share of the images that it names right; None if it was not trained.
        robust: mean share over the corruptions at severity 3; None if not measured.
        latency: milliseconds for an image that comes alone.
        throughput: images/s at the best size of batch.
        batch: that size.
        load: milliseconds from the file to a session.
        megabytes: of the file.
        memory: megabytes that loading it and one run add to a process.
    """

    name: str
    size: int
    accuracy: float | None
    robust: float | None
    latency: float
    throughput: float
    batch: int
    load: float
    megabytes: float
    memory: float


def untrained(spec: str, folder: Path) -> Path:
    """Write a network with random weights as a model file.

    Args:
        spec: BACKBONE@SIDE, with ``/prune=SHARE`` and ``/int8`` behind it as wished.
        folder: where.
    """
    network, *more = spec.split("/")
    backbone, _, side = network.partition("@")
    if not side.isdecimal():
        raise ConfigError(f"--untrained {spec}: write BACKBONE@SIDE, such as {REFERENCE}")
    share = next((float(word.removeprefix("prune=")) for word in more if word.startswith("prune=")), 0.0)
    torch.manual_seed(0)
    module = CardModule(backbone, LABELS, pretrained=False, prune=share).eval()
    graph = to_onnx(Answering(module, 1.0), int(side))
    if "int8" in more:
        noise = np.random.default_rng(0).integers(0, 256, (8, int(side), int(side), 3), dtype=np.uint8)
        graph = quantise(graph, noise)
    mean, std = (tuple(values.flatten().tolist()) for values in (module.mean, module.std))
    words = {"version": "untrained", "data_hash": "", "commit": "", "created": datetime.now(UTC).isoformat()}
    info = ModelInfo(
        name=backbone, labels=LABELS, size=int(side), mean=mean, std=std, temperature=1.0, threshold=0.5, **words
    )
    file = folder / f"{spec.replace('/', '-')}.onnx"
    write_model(graph, info, file)
    return file


def accuracy(classifier: Classifier, folder: Path) -> float:
    """Share of a folder's images that are named right."""
    answers = ask(classifier, folder, find_images(folder, classifier.info.labels))
    return float((answers.probabilities.argmax(1) == answers.truth).mean())


def spread(found: list[tuple[Path, int]], most: int) -> list[tuple[Path, int]]:
    """Pick so many images at even distances, or all if they are fewer."""
    return [found[at] for at in np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]


def robust(classifier: Classifier, folder: Path) -> float:
    """Mean share that is named right over all corruptions at one severity, of pictures spread over the folder."""
    found = spread(find_images(folder, classifier.info.labels), SAMPLE)
    pictures = [image.resize(image.load(path), 224) for path, _ in found]
    truth = np.array([label for _, label in found])
    shares = []
    for name in CORRUPTIONS:
        spoilt = [
            image.resize(corrupt(picture, name, SEVERITY, seed=place), classifier.info.size)
            for place, picture in enumerate(pictures)
        ]
        top = [classifier.run(np.stack(spoilt[at : at + 16]))[0] for at in range(0, len(spoilt), 16)]
        shares.append(float((np.concatenate(top).argmax(1) == truth).mean()))
    return statistics.mean(shares)


def memory(file: Path) -> float:
    """Megabytes that a process grows by at most when it loads a model and answers once (Linux)."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(file)], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024 / 1e6


def in_turn(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call; all are made once a round, and the order turns round each time."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            calls[name]()
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def measure(
    files: dict[str, Path], trained: Sequence[str], data: Path, *, rounds: int, with_robust: bool
) -> list[Variant]:
    """Measure model files by name; only those that are trained have an accuracy."""
    classifiers = {name: Classifier(file, threads=1) for name, file in files.items()}
    found = next(iter(classifiers.values()))
    paths = [path for path, _ in spread(find_images(data, found.info.labels), TIMED)]
    pictures = [image.load(path) for path in paths]

    def running(classifier: Classifier, batch: int) -> Callable[[], object]:
        pixels = np.stack([image.resize(picture, classifier.info.size) for picture in pictures])
        return lambda: [classifier.run(pixels[at : at + batch]) for at in range(0, len(pixels), batch)]

    # of all pictures, since a cascade's time hangs on them
    by_batch = {
        batch: in_turn({name: running(one, batch) for name, one in classifiers.items()}, rounds) for batch in BATCHES
    }
    loads = in_turn({name: lambda file=file: Classifier(file, threads=1) for name, file in files.items()}, 5)  # type: ignore[misc]
    variants = []
    for name, classifier in classifiers.items():
        rates = {batch: len(pictures) / seconds[name] for batch, seconds in by_batch.items()}
        best = max(rates, key=lambda batch: rates[batch])
        known = name in trained
        variants.append(
            Variant(
                name=name,
                size=classifier.info.size,
                accuracy=accuracy(classifier, data) if known else None,
                robust=robust(classifier, data) if known and with_robust else None,
                latency=by_batch[1][name] / len(pictures) * 1e3,
                throughput=rates[best],
                batch=best,
                load=loads[name] * 1e3,
                megabytes=files[name].stat().st_size / 1e6,
                memory=memory(files[name]),
            )
        )
    return variants


def table(variants: Sequence[Variant]) -> str:
    """Lay the figures out in Markdown, each speed also as a ratio to the reference."""
    [reference] = [one for one in variants if one.name == REFERENCE]
    rows = [
        "| model | px | accuracy | robust | ms an image | times | images/s (batch) | times | load, ms | MB | memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in variants:
        right = "not trained" if one.accuracy is None else f"{one.accuracy:.2%}"
        spoilt = "" if one.robust is None else f"{one.robust:.1%}"
        quicker, more = reference.latency / one.latency, one.throughput / reference.throughput
        rows.append(
            f"| {one.name} | {one.size} | {right} | {spoilt} | {one.latency:.2f} | {quicker:.1f} "
            f"| {one.throughput:.0f} ({one.batch}) | {more:.1f} "
            f"| {one.load:.0f} | {one.megabytes:.1f} | {one.memory:.0f} |"
        )
    return "\n".join(rows)


def draw(variants: Sequence[Variant], out: Path) -> None:
    """Draw accuracy against each cost; a model that was not trained is a line, since it has a cost alone."""
    panels: tuple[tuple[str, Callable[[Variant], float]], ...] = (
        ("milliseconds an image", lambda one: one.latency),
        ("images/s on one thread", lambda one: one.throughput),
        ("file, MB", lambda one: one.megabytes),
        ("memory of a process, MB", lambda one: one.memory),
    )
    colours = [f"C{place}" for place in range(10)]
    figure = Figure(figsize=(11, 8), layout="constrained")
    lowest = min((one.accuracy * 100 for one in variants if one.accuracy is not None), default=99) - 1
    axes = list(figure.subplots(2, 2).flat)
    for axis, (title, cost) in zip(axes, panels, strict=True):
        for place, one in enumerate(variants):
            look = {"color": "black" if one.name == REFERENCE else colours[place % len(colours)]}
            if one.accuracy is None:
                axis.axvline(cost(one), linestyle="--" if one.name == REFERENCE else ":", label=one.name, **look)
            else:
                axis.plot(cost(one), one.accuracy * 100, "o", markersize=8, label=one.name, **look)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(title)
        axis.set_ylabel("right on the images, %")
        axis.grid(visible=True, color="#e4e7eb")
        axis.set_ylim(lowest, 100)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, title="lines: not trained")
    FigureCanvasAgg(figure)
    figure.savefig(out, dpi=120, metadata={"Software": None})


def reached(variants: Sequence[Variant], points: float) -> Variant | None:
    """Find the fastest model within that many points of the best accuracy; and of the best robust one, if measured."""
    known = [(one.accuracy, one.robust or 0.0, one) for one in variants if one.accuracy is not None]
    if not known:
        return None
    best, toughest = max(right for right, _, _ in known), max(spoilt for _, spoilt, _ in known)
    near = [one for right, spoilt, one in known if min(right - best, spoilt - toughest) >= -points / 100 - 1e-9]
    return max(near, key=lambda one: one.throughput, default=None)


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", help='model files, run folders, or "champion"')
    parser.add_argument("--untrained", action="append", default=[], help="BACKBONE@SIDE[/prune=SHARE][/int8]")
    parser.add_argument("--data", type=Path, default=Path("data/kaggle-cards"), help="labelled images")
    parser.add_argument("--robust", action="store_true", help=f"measure corruptions of severity {SEVERITY}, too")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--points", type=float, default=0.4, help="how far below the best accuracy counts as its equal")
    parser.add_argument("--limit", type=float, help="images/s wanted, in ResNet-18's")
    parser.add_argument("--out", type=Path, default=Path("runs/compress"))
    options = parser.parse_args()
    trained = [model.removesuffix(".onnx") for model in options.models]
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        folder = find_split(options.data)
        with tempfile.TemporaryDirectory() as temporary:
            files = dict(zip(trained, map(find_model, options.models), strict=True))
            files |= {spec: untrained(spec, Path(temporary)) for spec in (*options.untrained, REFERENCE)}
            variants = measure(files, trained, folder, rounds=options.rounds, with_robust=options.robust)
    except (FulldeckError, OSError) as error:
        parser.error(str(error))
    text = table(variants)
    print(f"{platform.processor() or platform.machine()}, one thread, accuracy on {folder}\n\n{text}\n")
    (options.out / "compress.md").write_text(text + "\n", encoding="utf-8")
    (options.out / "compress.json").write_text(json.dumps([asdict(one) for one in variants], indent=2) + "\n")
    draw(variants, options.out / "compress.png")
    fastest = reached(variants, options.points)
    if fastest is None:
        return 0
    ratio = fastest.throughput / variants[-1].throughput
    print(f"fastest within {options.points} points of the best: {fastest.name}, {ratio:.1f} times ResNet-18's images/s")
    return int(options.limit is not None and ratio < options.limit)


if __name__ == "__main__":
    sys.exit(main())
