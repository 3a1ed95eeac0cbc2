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
from omegaconf import OmegaConf
from torch import Tensor, nn

from fulldeck.data.manifest import data_hash
from fulldeck.errors import ModelError
from fulldeck.inference.locate import CORNERS, SCORE, VISIBLE, Locator
from fulldeck.inference.model_file import INPUT, LocatorInfo
from fulldeck.training.export import OPSET, fingerprint, write_model
from fulldeck.training.locator_data import Scenes
from fulldeck.training.locator_network import STRIDE, LocatorNetwork
from fulldeck.training.locator_train import trained_locator

THRESHOLD = 0.3
"""A peak of the score counts as a card from here on, by default."""

LARGEST_DIFFERENCE = 0.05
"""Largest difference of a corner, in pixels of the input, between torch and the file that counts as the same."""


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
    """The network as the file holds it: uint8 NHWC in, probabilities and corners out."""

    def __init__(self, network: LocatorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        score, corners, visible = self.network(images.permute(0, 3, 1, 2).float() / 255.0)
        return torch.sigmoid(score), corners, torch.sigmoid(visible)


def export_locator(run: Path, out: Path | None = None, *, threshold: float = THRESHOLD) -> Exported:
    """Write a run's best weights as a locator file.

    Args:
        run: a run folder of ``fulldeck train-locator``.
        out: the file to write; by default ``locator.onnx`` in the run folder.
        threshold: of the score.

    Raises:
        ConfigError: the folder is no finished run.
        ModelError: the file does not answer as torch does (it is not left behind).
    """
    target = out or run / "locator.onnx"
    config, module = trained_locator(run)
    answering = _Answering(module.network).eval()
    graph = _to_onnx(answering)
    info = LocatorInfo(
        name="lite0-pyramid",
        version=f"{datetime.now(UTC):%Y.%m.%d}-{fingerprint(graph)}",
        size=config.size,
        stride=STRIDE,
        threshold=threshold,
        data_hash=data_hash(_read(run / "data.json")["hashes"]),
        commit=_read(run / "environment.json")["commit"] or "unknown",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=OmegaConf.to_container(config),  # type: ignore[arg-type]
        metrics=_read(run / "metrics.json"),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    write_model(graph, info, part)
    Locator(part, threads=1)  # which checks the file
    pictures = Scenes([Path(config.validation)], config.size, None)
    batch, _ = pictures[list(range(min(8, len(pictures))))]
    difference = _difference(answering, part, batch)
    if difference > LARGEST_DIFFERENCE:
        part.unlink()
        msg = f"{target} was not written, since a corner differs from torch's by {difference:.3f} pixels"
        raise ModelError(msg)
    part.replace(target)
    return Exported(target, info.version, round(target.stat().st_size / 1e6, 2), len(batch), difference)


def _to_onnx(answering: nn.Module) -> onnx.ModelProto:
    """Trace the network into a graph that takes any number of pictures whose sides divide by 32."""
    example = torch.zeros(2, 128, 96, 3, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's remarks about itself
        traced, folded = Path(temporary) / "traced.onnx", Path(temporary) / "folded.onnx"
        # The older exporter: the newer one takes many minutes over sides that are free.
        torch.onnx.export(
            answering,
            (example,),
            traced,
            input_names=[INPUT],
            output_names=[SCORE, CORNERS, VISIBLE],
            opset_version=OPSET,
            dynamic_axes={
                INPUT: {0: "n", 1: "rows", 2: "columns"},
                SCORE: {0: "n", 1: "h", 2: "w"},
                CORNERS: {0: "n", 1: "h", 2: "w"},
                VISIBLE: {0: "n", 1: "h", 2: "w"},
            },
            dynamo=False,
        )
        options = ort.SessionOptions()  # as export.py does, and why
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 3
        ort.InferenceSession(str(traced), options, providers=["CPUExecutionProvider"])
        return onnx.load(folded)


@torch.no_grad()
def _difference(answering: nn.Module, file: Path, pictures: Tensor) -> float:
    """The largest difference of a corner where there is a card, on pictures uint8 [B, S, S, 3]."""
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    score, corners, _ = (output.numpy() for output in answering(pictures))
    ours, theirs = corners, session.run([CORNERS], {INPUT: pictures.numpy()})[0]
    there = score > THRESHOLD
    return float(np.abs(ours[there] - theirs[there]).max()) if there.any() else 0.0


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
