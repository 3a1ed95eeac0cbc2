"""``fulldeck export-locator``: a run's best weights as one ONNX file, proved to answer as torch does."""

import json
import tempfile
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import Dataset

from fulldeck.data.manifest import data_hash
from fulldeck.errors import ModelError
from fulldeck.inference.locate import CARDS, CORNERS, REFINED, REFINER_SIZE, SCORE, VISIBLE, Locator
from fulldeck.inference.model_file import INPUT, LocatorInfo
from fulldeck.training.export import OPSET, fingerprint, store_half, write_model
from fulldeck.training.locator_data import Scenes
from fulldeck.training.locator_network import STRIDE, LocatorNetwork
from fulldeck.training.locator_train import trained_locator
from fulldeck.training.refiner_data import Outlines
from fulldeck.training.refiner_network import RefinerNetwork
from fulldeck.training.refiner_train import trained_refiner
from fulldeck.training.target import check_target, writing

THRESHOLD = 0.2
"""A peak of the score counts as a card from here on, by default: of 0.3, 0.2 and 0.15, the one that finds most cards of
held-out scenes and leaves more than 98 % of the accepted answers right (MODEL_CARD.md)."""

LARGEST_DIFFERENCE = 0.05
"""Largest difference of a corner, in pixels of the input, between torch and the file that counts as the same."""

LARGEST_DIFFERENCE_HALF = 0.5
"""The same where the weights are stored in half precision."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares to torch on validation scenes; as text, a few lines about it."""

    file: Path
    version: str
    megabytes: float
    pictures: int
    largest_difference: float  # of a corner, in pixels of the input

    def __str__(self) -> str:
        return (
            f"{self.file}: version {self.version}, {self.megabytes:.1f} MB\n"
            f"parity with torch on {self.pictures} scenes: no corner differs by more than "
            f"{self.largest_difference:.1e} pixels"
        )


class _Answering(nn.Module):
    """The networks as the file holds them: uint8 NHWC in, probabilities and corners out."""

    def __init__(self, network: LocatorNetwork, refiner: RefinerNetwork | None) -> None:
        super().__init__()
        self.network, self.refiner = network, refiner

    def forward(self, images: Tensor, cards: Tensor | None = None) -> tuple[Tensor, ...]:
        score, corners, visible = self.network(images.permute(0, 3, 1, 2).float() / 255.0)
        found = (torch.sigmoid(score), corners, torch.sigmoid(visible))
        if self.refiner is None or cards is None:
            return found
        refined, _ = self.refiner(cards.permute(0, 3, 1, 2).float() / 255.0)
        return (*found, refined)


def export_locator(
    run: Path, out: Path | None = None, *, refiner: Path | None = None, threshold: float = THRESHOLD, half: bool = False
) -> Exported:
    """Write the best weights of a run, or of two, as a locator file.

    Args:
        run: a run folder of ``fulldeck train-locator``.
        out: the file to write; by default ``locator.onnx`` in the run folder.
        refiner: a run folder of ``fulldeck train-refiner``; without one the file only finds.
        threshold: of the score.
        half: store the weights in half precision, which halves the file; it computes in single precision as ever.

    Raises:
        ConfigError: a folder is no finished run, or ``out`` is a folder or cannot be written.
        ModelError: the file does not answer as torch does (it is not left behind).
    """
    target = out or run / "locator.onnx"
    config, module = trained_locator(run)
    check_target(target)
    refining = None if refiner is None else trained_refiner(refiner)[1].network
    answering = _Answering(module.network, refining).eval()
    graph = _to_onnx(answering)
    if half:
        store_half(graph)
    info = LocatorInfo(
        name="lite0-pyramid",
        version=f"{datetime.now(UTC):%Y.%m.%d}-{fingerprint(graph, threshold)}",
        size=config.size,
        stride=STRIDE,
        threshold=threshold,
        data_hash=data_hash(_read(run / "data.json")["hashes"]),
        commit=_read(run / "environment.json")["commit"] or "unknown",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=_plain(config) | _refiner_config(refiner),
        metrics=_read(run / "metrics.json") | ({} if refiner is None else {"refiner": _read(refiner / "metrics.json")}),
    )
    with writing(target) as part:
        write_model(graph, info, part)
    file = Locator(part, threads=1)  # which checks it
    pictures, _ = _some(Scenes([Path(config.validation)], config.size, None))
    cards = None if refining is None else _some(Outlines([Path(config.validation)], None))[0]
    difference = _difference(answering, file, pictures, cards)
    most = LARGEST_DIFFERENCE_HALF if half else LARGEST_DIFFERENCE
    if difference > most:
        part.unlink()
        msg = f"{target} was not written, since a corner differs from torch's by {difference:.3f} pixels"
        raise ModelError(msg)
    with writing(target):
        part.replace(target)
    return Exported(target, info.version, round(target.stat().st_size / 1e6, 2), len(pictures), difference)


def _refiner_config(run: Path | None) -> dict[str, Any]:
    """What the refiner's run says of itself, beside the configuration of the network that finds."""
    if run is None:
        return {}
    config = _plain(DictConfig(OmegaConf.load(run / "config.yaml")))
    commit = _read(run / "environment.json")["commit"] or "unknown"
    return {"refiner": {"config": config, "commit": commit, "data": data_hash(_read(run / "data.json")["hashes"])}}


def _plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config)  # type: ignore[return-value]


def _some(data: Dataset[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return data[list(range(min(8, len(data))))]  # type: ignore[arg-type]


def _to_onnx(answering: _Answering) -> onnx.ModelProto:
    """Trace the networks into a graph that takes any number of pictures whose sides divide by 32, and of cards."""
    refines = answering.refiner is not None
    examples = [torch.zeros(2, 128, 96, 3, dtype=torch.uint8)]
    inputs: dict[str, tuple[str, ...]] = {INPUT: ("n", "rows", "columns")}
    outputs: dict[str, tuple[str, ...]] = dict.fromkeys((SCORE, CORNERS, VISIBLE), ("n", "h", "w"))
    if refines:
        examples.append(torch.zeros(2, REFINER_SIZE, REFINER_SIZE, 3, dtype=torch.uint8))
        inputs[CARDS] = ("cards",)
        outputs[REFINED] = ("cards",)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's remarks about itself
        traced, folded = Path(temporary) / "traced.onnx", Path(temporary) / "folded.onnx"
        # The older exporter: the newer one takes many minutes over sides that are free.
        torch.onnx.export(
            answering,
            tuple(examples),
            traced,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_axes={name: dict(enumerate(axes)) for name, axes in (inputs | outputs).items()},
            dynamo=False,
        )
        options = ort.SessionOptions()  # as export.py does, and why
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 3
        ort.InferenceSession(str(traced), options, providers=["CPUExecutionProvider"])
        return onnx.load(folded)


@torch.no_grad()
def _difference(answering: _Answering, file: Locator, pictures: Tensor, cards: Tensor | None) -> float:
    """The largest difference of a corner, in pixels of the inputs, where there is a card.

    Args:
        answering: what torch says.
        file: what is compared with it.
        pictures: uint8 [B, S, S, 3].
        cards: uint8 [B, 96, 96, 3], for a refiner.
    """
    score, corners, _ = (output.numpy() for output in answering(pictures)[:3])
    there = score > THRESHOLD
    theirs = file.outputs([CORNERS], {INPUT: pictures.numpy()})[0]
    differences = [np.abs(corners[there] - theirs[there])]
    if cards is not None:
        ours = answering(pictures[:1], cards)[3].numpy()
        differences.append(REFINER_SIZE * np.abs(ours - file.outputs([REFINED], {CARDS: cards.numpy()})[0]))
    return float(max(one.max(initial=0) for one in differences))


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
