"""``fulldeck export``: a run's best checkpoint as one ONNX file, calibrated, and proved to answer as torch does."""

import hashlib
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from omegaconf import DictConfig, OmegaConf
from onnx import helper, numpy_helper
from torch import Tensor, nn

from fulldeck.data.augment import to_float
from fulldeck.data.dataset import Batches, DeckDataModule, Images, open_cache
from fulldeck.data.manifest import data_hash
from fulldeck.errors import ConfigError, DataError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import EMBEDDING, INPUT, METADATA_KEY, PROBABILITIES, LocatorInfo, ModelInfo
from fulldeck.inference.seal import seal
from fulldeck.training.calibrate import fit_temperature, fit_threshold
from fulldeck.training.cascade_graph import initialisers, pool_plainly
from fulldeck.training.module import CardModule
from fulldeck.training.target import check_target, writing
from fulldeck.training.train import data_module, start_from

OPSET = 18
LARGEST_DIFFERENCE = 1e-3
"""Largest difference of a probability between torch and the file that still counts as the same model."""

ROUNDED = 0.02
"""The same for a file whose weights are stored in half precision."""

_LARGE = 512  # numbers: smaller tensors (biases, constants) are not worth a conversion

_MANY = 48  # numbers of a channel: with fewer (a depthwise kernel), 8 bits lose more than they save


@dataclass(frozen=True)
class Parity:
    """How the file compares to torch on real images.

    Attributes:
        model: the file written.
        version: the model's version.
        images: how many images both have answered.
        same_label: how many of them got the same label from both.
        largest_difference: the largest difference of any probability.
        overturned: the largest lead, in probability, that a label of torch's has over the file's other one; 0 where all
            are the same.
        temperature, threshold: what was fitted on the held-out images.
        megabytes: size of the file.
    """

    model: str
    version: str
    images: int
    same_label: int
    largest_difference: float
    overturned: float
    temperature: float
    threshold: float
    megabytes: float

    def summary(self) -> str:
        """Say in a few lines what was written and how it compares."""
        return (
            f"{self.model}: version {self.version}, {self.megabytes:.1f} MB, temperature {self.temperature:.3f}, "
            f"accepts from {self.threshold:.3f}\n"
            f"parity with torch: same label on {self.same_label} of {self.images} images, "
            f"largest difference {self.largest_difference:.1e}\n"
            f"next: fulldeck evaluate {self.model} DATA"
        )


class Answering(nn.Module):
    """The trained network as the file holds it: uint8 NHWC in, calibrated probabilities and embedding out."""

    def __init__(self, module: CardModule, temperature: float) -> None:
        super().__init__()
        self.network = module.network
        self.register_buffer("scale", 1.0 / (255.0 * module.std))
        self.register_buffer("shift", -module.mean / module.std)
        self.scale: Tensor
        self.shift: Tensor
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give (probabilities [N, C], embedding [N, D]) of uint8 [N, S, S, 3]."""
        # Channels first, and then scaled: ONNX Runtime multiplies planes faster than values that alternate.
        pixels = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        features = self.network.forward_features(pixels)
        # Of planes that lie channels last the exporter would write the means' places in memory, too: nine nodes more.
        embedding = self.network.forward_head(features.contiguous(), pre_logits=True)
        logits = self.network.get_classifier()(embedding)
        return torch.softmax(logits / self.temperature, dim=1), embedding


def export(
    run: Path,
    out: Path | None = None,
    folder: Path | None = None,
    *,
    crops: Sequence[Path] = (),
    half: bool = False,
    average: Sequence[Path] = (),
) -> Parity:
    """Write a run's best weights as a model file, and a parity report beside it.

    Args:
        run: a run folder of ``fulldeck train``.
        out: the file to write; by default ``model.onnx`` in the run folder.
        folder: a folder of class folders to prove parity on; by default the run's own held-out images.
        crops: folders of what ``fulldeck data crops`` cut from scenes of decks that were not trained on. Temperature
            and threshold are fitted on their cards too, and the threshold on their pictures of no card.
        half: store the weights in half precision. The file is half as large, and the session that reads it turns them
            back and computes in float32; the rounding moves a probability by `ROUNDED` at most, or nothing is written.
        average: run folders of the same network, whose weights are averaged with the run's, all in equal parts. A run
            and the one that it started from, or two that started from the same, name more unseen pictures right
            together than each does (Wortsman et al., "Model soups", 2022; "Robust fine-tuning", 2022).

    Raises:
        ConfigError: a folder is no finished run, or one of another network, or ``out`` is a folder or cannot be
            written.
        DataError: the run's images are gone or have changed, or ``folder`` holds none.
        ModelError: the file does not answer as torch does (it is not left behind).
    """
    target = out or run / "model.onnx"
    config, module = load_run(run)
    _average(module, average)
    data = data_module(config)
    data.setup()
    if data.hashes != _read_json(run / "data.json")["hashes"]:
        msg = f"the images that {run} was trained on have changed, and export calibrates on them; train again"
        raise DataError(msg)
    images = list(_images(folder, data)) if folder else []  # refused before the work, not after it
    held_out = list(data.val_dataloader())
    cuts = [_cut_scenes(cut, data) for cut in crops]
    check_target(target)  # now that there is something to do, as its folder is made
    held_out += [batch for cards, _ in cuts for batch in cards]
    others = [pixels for _, no_cards in cuts for pixels in no_cards]
    targets = torch.cat([wanted for _, wanted in held_out])
    temperature = fit_temperature(torch.cat([_logits(module, pixels) for pixels, _ in held_out]), targets)
    answering = Answering(module, temperature).eval()
    answers = [_run(answering, pixels) for pixels, _ in held_out]
    top, label = torch.cat([probabilities for probabilities, _ in answers]).double().max(dim=1)
    doubtful = [_run(answering, pixels)[0].double().amax(1) for pixels in others]
    threshold = fit_threshold(
        top.numpy(), (label == targets).numpy(), torch.cat(doubtful).numpy() if doubtful else None
    )

    graph = to_onnx(answering, data.size)
    if half:
        store_half(graph)
    recipe: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    info = ModelInfo(
        name=str(config.model.backbone),
        version=f"{datetime.now(UTC):%Y.%m.%d}-{fingerprint(graph)}",
        labels=module.labels,
        size=data.size,
        mean=tuple(module.mean.flatten().tolist()),
        std=tuple(module.std.flatten().tolist()),
        temperature=temperature,
        threshold=threshold,
        data_hash=data_hash(data.hashes),
        commit=_read_json(run / "environment.json")["commit"] or "unknown",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=recipe | _averaged_with(average),
        metrics=_read_json(run / "metrics.json"),
        reference=_reference([embedding for _, embedding in answers], [pixels for pixels, _ in held_out]),
    )
    with writing(target) as part:
        write_model(graph, info, part)

    parity = _compare(answering, Classifier(part), images or [pixels for pixels, _ in held_out], target)
    tolerated = ROUNDED if half else LARGEST_DIFFERENCE  # two labels that are nearer to each other than that are one
    if parity.overturned >= tolerated or parity.largest_difference >= tolerated:
        part.unlink()
        msg = f"{target} was not written, since it does not answer as torch does: {parity}"
        raise ModelError(msg)
    with writing(target):
        part.replace(target)
        target.with_suffix(".parity.json").write_text(json.dumps(asdict(parity), indent=2) + "\n", encoding="utf-8")
    return parity


def load_run(run: Path) -> tuple[DictConfig, CardModule]:
    """Read a run's configuration and its best weights. Nothing is unpickled but tensors.

    Raises:
        ConfigError: the folder is no finished run.
    """
    checkpoint = run / "checkpoints" / "best.ckpt"
    for file in (run / "config.yaml", run / "data.json", run / "environment.json", run / "metrics.json", checkpoint):
        if not file.is_file():
            msg = f"{run} is no finished run: {file.relative_to(run)} is missing; train one with `fulldeck train`"
            raise ConfigError(msg)
    config = DictConfig(OmegaConf.load(run / "config.yaml"))
    labels = _read_json(run / "data.json")["labels"]
    options: Any = OmegaConf.to_container(config.model)
    module = CardModule(labels=labels, **(options | {"pretrained": False}))
    start_from(module, run)
    return config, module.eval()


@torch.no_grad()
def _average(module: CardModule, runs: Sequence[Path]) -> None:
    """Put the average of a module's weights and those of runs into it.

    Raises:
        ConfigError: one of them is no finished run, or of another network.
    """
    own = module.state_dict()
    for run in runs:
        _, other = load_run(run)
        theirs = other.state_dict()
        fits = other.labels == module.labels and theirs.keys() == own.keys()
        if not fits or any(theirs[name].shape != value.shape for name, value in own.items()):
            msg = f"{run} holds another network, whose weights cannot be averaged with these"
            raise ConfigError(msg)
        for name, value in own.items():
            if value.is_floating_point():
                value.add_(theirs[name])
    for value in own.values():
        if value.is_floating_point():
            value.div_(len(runs) + 1)


def _averaged_with(runs: Sequence[Path]) -> dict[str, Any]:
    """What a model's configuration says of the runs whose weights are in it beside its own."""
    told = [
        {
            "name": run.name,
            "commit": _read_json(run / "environment.json")["commit"] or "unknown",
            "data_hash": data_hash(_read_json(run / "data.json")["hashes"]),
            "config": OmegaConf.to_container(OmegaConf.load(run / "config.yaml")),
        }
        for run in runs
    ]
    return {"averaged_with": told} if told else {}


def to_onnx(answering: nn.Module, size: int) -> onnx.ModelProto:
    """Trace a network that takes uint8 [N, size, size, 3] into a graph with any N, and fold what is constant in it."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's remarks about itself
        traced, folded = Path(temporary) / "traced.onnx", Path(temporary) / "folded.onnx"
        torch.onnx.export(
            answering,
            (example,),
            traced,
            input_names=[INPUT],
            output_names=[PROBABILITIES, EMBEDDING],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        # Basic optimisation is plain ONNX and holds for every machine: batch normalisation goes into the kernels
        # here once, and not each time that a process starts.
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 3
        ort.InferenceSession(str(traced), options, providers=["CPUExecutionProvider"])
        return pool_plainly(onnx.load(folded))


def store_half(graph: onnx.ModelProto) -> None:
    """Turn a graph's large float32 weights into float16, each with a conversion back in front of its users."""
    conversions = []
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _LARGE:
            continue
        name, stored = tensor.name, f"{tensor.name}_half"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        conversions.append(helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*conversions, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def store_bytes(graph: onnx.ModelProto) -> None:
    """Turn a graph's large float32 kernels into int8, each output channel with its own scale; the others into float16.

    A conversion back stands in front of their users. It is plain arithmetic on constants, which a session does once, as
    it loads; then it computes in float32.
    """
    conversions, scales = [], []
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values[0].size < _MANY:
            continue
        scale = np.abs(values).max(tuple(range(1, values.ndim)), keepdims=True) / 127
        levels = np.rint(values / np.maximum(scale, np.finfo(np.float32).tiny)).astype(np.int8)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(levels, f"{name}_bytes"))
        scales.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        conversions += [
            helper.make_node("Cast", [f"{name}_bytes"], [f"{name}_levels"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_levels", f"{name}_scale"], [name]),
        ]
    nodes = [*conversions, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    store_half(graph)
    graph.graph.initializer.extend(scales)


def write_model(graph: onnx.ModelProto, info: ModelInfo | LocatorInfo, file: Path) -> None:
    """Write a graph with its description inside, sealed."""
    del graph.metadata_props[:]
    entry = graph.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, info.to_json()
    file.write_bytes(seal(graph.SerializeToString()))


def _cut_scenes(crops: Path, data: DeckDataModule) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
    """Read what was cut from scenes: batches of cards (pixels, numbers), and batches of what is no card."""
    kinds: list[list[tuple[Tensor, Tensor]]] = []
    for kind in ("cards", "others"):
        splits = sorted(path for path in (crops / kind).glob("*") if path.is_dir())
        if not splits:
            msg = f"{crops} has no {kind}: make it with `fulldeck data crops SCENES {crops}`"
            raise DataError(msg)
        images = Images([open_cache(split, data.stored_size, data.cache) for split in splits], data.labels, data.size)
        batches = Batches(np.arange(len(images)), data.batch_size)
        kinds.append([images[positions] for positions in batches])
    cards, others = kinds
    if any((numbers < 0).any() for _, numbers in cards):
        msg = f"{crops} has labels that the run was not trained on; calibrate on others"
        raise DataError(msg)
    return cards, [pixels for pixels, _ in others]


def _images(folder: Path, data: DeckDataModule) -> Iterator[Tensor]:
    """Read the images of a folder of class folders, whatever their labels, as uint8 [B, S, S, 3]."""
    cache = open_cache(folder, data.stored_size, data.cache)
    images = Images([cache], sorted(set(cache.labels)), data.size)
    for batch in Batches(np.arange(len(images)), data.batch_size):
        yield images[batch][0]


def _read_json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _compare(answering: nn.Module, classifier: Classifier, images: Sequence[Tensor], target: Path) -> Parity:
    """Ask torch and the file about the same images, uint8 [B, S, S, 3] each."""
    same, largest, overturned = 0, 0.0, 0.0
    for pixels in images:
        torchs = _run(answering, pixels)[0].numpy()
        files, _ = classifier.run(pixels.numpy())
        lead = torchs.max(1) - torchs[np.arange(len(torchs)), files.argmax(1)]
        same += int((torchs.argmax(1) == files.argmax(1)).sum())
        overturned = max(overturned, float(lead.max()))
        largest = max(largest, float(np.abs(torchs - files).max()))
    return Parity(
        model=str(target),
        version=classifier.info.version,
        images=sum(map(len, images)),
        same_label=same,
        largest_difference=largest,
        overturned=overturned,
        temperature=classifier.info.temperature,
        threshold=classifier.info.threshold,
        megabytes=round(classifier.path.stat().st_size / 1e6, 2),
    )


@torch.no_grad()
def _run(answering: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    probabilities, embedding = answering(pixels)
    return probabilities, embedding


@torch.no_grad()
def _logits(module: CardModule, pixels: Tensor) -> Tensor:
    logits: Tensor = module(to_float(pixels))
    return logits


def _reference(embeddings: list[Tensor], images: list[Tensor]) -> dict[str, Any]:
    """Say what held-out images look like to the network and to the eye, for drift to be measured against."""
    embedding = torch.cat(embeddings)
    brightness = torch.cat([pixels.float().mean(dim=(1, 2, 3)) / 255.0 for pixels in images])
    return {
        "embedding_mean": [round(value, 5) for value in embedding.mean(0).tolist()],
        "embedding_std": [round(value, 5) for value in embedding.std(0).tolist()],
        "brightness_mean": float(brightness.mean()),
        "brightness_std": float(brightness.std()),
    }


def fingerprint(graph: onnx.ModelProto, *settings: float) -> str:
    """Hash the weights, and what else decides the answers: eight hex digits that differ when the model does."""
    digest = hashlib.sha256(repr(settings).encode() if settings else b"")
    for tensor in sorted(initialisers(graph.graph), key=lambda tensor: tensor.name):
        digest.update(tensor.SerializeToString())
    return digest.hexdigest()[:8]
