"""``fulldeck compress``: a model file made smaller and faster without training, and compared with what it is made from.

What it writes is a model file like any other, with a version of its own.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort

from fulldeck.data.dataset import Images, open_cache
from fulldeck.data.layout import split_folder
from fulldeck.errors import DataError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import ModelInfo
from fulldeck.training.cascade_graph import last_network
from fulldeck.training.evaluate import find_model
from fulldeck.training.export import ROUNDED, fingerprint, store_bytes, store_half, write_model
from fulldeck.training.quantise import answers, choose, divergence, optimise, quantise, weighted_layers
from fulldeck.training.target import check_target, writing

Precision = Literal["int8", "half", "float", "int8-weights"]

CALIBRATED_ON = 256
"""Images by which ranges are measured: enough for each of 53 labels."""

COMPARED_ON = 512
"""Other images, on which the answers of both are compared."""

AGREEMENT = {"int8": 0.98, "half": 1.0, "float": 1.0, "int8-weights": 0.99}
"""The least share of images that must get the same label as before."""

STORED_SIZE = 224  # pixels: the cache that training uses, too


@dataclass(frozen=True)
class Compression:
    """What was made, and how its answers compare with the model's that it is made from.

    Attributes:
        model, version: the file written, and its version.
        source, source_version: what it is made from.
        from_cascade: whether that is a cascade, of which the large network was taken.
        precision: int8, int8-weights, half or float.
        optimised: whether the graph is stored as ONNX Runtime optimises it.
        images: how many training images both have answered; none of them was calibrated on.
        same_label: how many got the same label from both.
        same_acceptance: how many were accepted by both, or by neither.
        right, source_right: how many got their own label.
        largest_difference: the largest difference of any probability.
        divergence: mean Kullback-Leibler divergence of the answers, in nats.
        float_layers: int8 only: the layers that were left in float32.
        attempts: int8 only: the divergence by what was left in float32.
        megabytes, source_megabytes: sizes of the files.
    """

    model: str
    version: str
    source: str
    from_cascade: bool
    source_version: str
    precision: Precision
    optimised: bool
    images: int
    same_label: int
    same_acceptance: int
    right: int
    source_right: int
    largest_difference: float
    divergence: float
    float_layers: tuple[str, ...]
    attempts: dict[str, float]
    megabytes: float
    source_megabytes: float

    def summary(self) -> str:
        """Say in a few lines what was written and how it compares."""
        kept = f", in float32: {', '.join(self.float_layers)}" if self.float_layers else ""
        whole = f" the large network of {self.source}," if self.from_cascade else ""
        return (
            f"{self.model}:{whole} version {self.version}, {self.precision}{kept}, "
            f"{self.megabytes:.1f} MB of {self.source_megabytes:.1f}\n"
            f"beside {self.source_version} on {self.images} images: same label {self.same_label}, "
            f"accepted alike {self.same_acceptance}, right {self.right} (it: {self.source_right})\n"
            f"next: fulldeck evaluate {self.model} DATA"
        )


def compress(
    model: Path | str,
    out: Path | None = None,
    data: Path = Path("data/kaggle-cards"),
    *,
    precision: Precision = "int8",
    optimised: bool = False,
    cache: Path = Path("data/cache"),
) -> Compression:
    """Write a smaller or faster model file, and a report beside it.

    Args:
        model: a model file of ``fulldeck export``, a run folder with one, or "champion". Of a cascade the large network
            is taken.
        out: the file to write; by default beside the model, called after the precision. For the champion, here.
        data: a dataset whose ``train`` split calibrates, and compares on other images.
        precision: ``int8`` quantises kernels and activations; the first and the last layer stay in float32 where that
            pays. ``int8-weights`` stores kernels so, and computes in float32. ``half`` stores the weights in half
            precision. ``float`` leaves them.
        optimised: store the graph as ONNX Runtime rewrites it, up to its extended level: nothing else can read it.
        cache: the folder for decoded images.

    Raises:
        ConfigError: ``out`` is the model itself, a folder, or cannot be written.
        DataError: the dataset cannot be used for this model.
        ModelError: the model cannot be used or computes in 8 bits already, or what is made does not answer as it does.
    """
    path = find_model(model)
    target = out or _usual_name(model, path, precision)
    check_target(target, path)
    info = Classifier(path, threads=1).info
    before = info.config.get("compression", {})
    if before.get("precision") == "int8":
        msg = f"{path} computes in 8 bits already; take the model that it was made from: {before['of']}"
        raise ModelError(msg)
    joined = info.config.get("cascade")
    if joined:
        others = {key: value for key, value in info.config.items() if key != "cascade"}
        info = replace(info, version=joined["then"]["version"], config=others)
    graph = last_network(onnx.load(path))
    whole = optimise(graph, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)  # half-stored weights turn back
    calibration, compared, truth = _images(data, info, cache)
    wanted = answers(whole, compared)

    graph, kept = whole, tuple[str, ...]()
    attempts: dict[str, Any] = {}
    if precision == "int8":
        graph, kept, attempts = _quantised(whole, calibration, compared, wanted)
    if optimised:
        graph = optimise(graph, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    if precision == "half":
        store_half(graph)
    if precision == "int8-weights":
        store_bytes(graph)

    compression = {"of": info.version, "precision": precision, "optimised": optimised, "float_layers": list(kept)}
    made = replace(
        info,
        # its weights alone may be those of the model, or of another precision
        version=f"{datetime.now(UTC):%Y.%m.%d}-{fingerprint(graph, list(AGREEMENT).index(precision), optimised)}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=info.config | {"compression": compression},
    )
    with writing(target) as part:
        write_model(graph, made, part)
    classifier = Classifier(part, threads=1)
    found = np.concatenate([classifier.run(image[None])[0] for image in compared]).astype(np.float64)
    labels, before = found.argmax(1), wanted.argmax(1)
    accepted, accepted_before = (values.max(1) >= info.threshold for values in (found, wanted))
    report = Compression(
        model=str(target),
        version=made.version,
        source=str(path),
        from_cascade=bool(joined),
        source_version=info.version,
        precision=precision,
        optimised=optimised,
        images=len(compared),
        same_label=int((labels == before).sum()),
        same_acceptance=int((accepted == accepted_before).sum()),
        right=int((labels == truth).sum()),
        source_right=int((before == truth).sum()),
        largest_difference=float(np.abs(found - wanted).max()),
        divergence=divergence(wanted, found),
        float_layers=kept,
        attempts=attempts,
        megabytes=round(part.stat().st_size / 1e6, 2),
        source_megabytes=round(path.stat().st_size / 1e6, 2),
    )
    least = AGREEMENT[precision]
    moved = least == 1.0 and report.largest_difference >= ROUNDED
    if report.same_label < least * report.images or moved:
        part.unlink()
        msg = (
            f"{target} was not written: it gives {report.same_label} of {report.images} images the label that {path} "
            f"gives, and its probabilities differ by up to {report.largest_difference:.3f}; keep the model as it is"
        )
        raise ModelError(msg)
    with writing(target):
        part.replace(target)
        target.with_suffix(".parity.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return report


def _usual_name(model: Path | str, path: Path, precision: Precision) -> Path:
    name = f"{path.stem}-{precision}.onnx"
    return Path(name) if str(model) == "champion" else path.with_name(name)


def _images(data: Path, info: ModelInfo, cache: Path) -> tuple[Any, Any, Any]:
    """Read training images: uint8 [M, S, S, 3] to calibrate on, others to compare on, and those ones' labels."""
    found = open_cache(split_folder(data, "train"), STORED_SIZE, cache)
    if unknown := sorted(set(found.labels) - set(info.labels)):
        msg = f"{data} has labels that the model does not know: {', '.join(unknown[:5])}; calibrate on its own data"
        raise DataError(msg)
    images = Images([found], info.labels, info.size)
    order = np.random.default_rng(0).permutation(len(images))
    first = min(CALIBRATED_ON, len(order) // 2)
    if first < 1:
        msg = f"{data} has {len(order)} training image; it takes two at least to calibrate and to compare"
        raise DataError(msg)
    calibration, _ = images[order[:first].tolist()]
    compared, truth = images[order[first : first + COMPARED_ON].tolist()]
    return calibration.numpy(), compared.numpy(), truth.numpy()


def _quantised(
    whole: onnx.ModelProto, calibration: Any, compared: Any, wanted: Any
) -> tuple[onnx.ModelProto, tuple[str, ...], dict[str, float]]:
    """Quantise with the first and last layer in 8 bits and in float32, and keep what is worth it."""
    graphs: dict[tuple[str, ...], onnx.ModelProto] = {}

    def attempt(keep: tuple[str, ...]) -> float:
        graphs[keep] = quantise(whole, calibration, keep)
        return divergence(wanted, answers(graphs[keep], compared))

    if not (layers := weighted_layers(whole)):
        msg = "the model has no layer with weights, so there is nothing to quantise"
        raise ModelError(msg)
    kept, attempts = choose((layers[0], layers[-1]), attempt)
    return graphs[kept], kept, attempts
