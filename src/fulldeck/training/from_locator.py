"""Trainings of the networks of corners that start from a locator file: what ships can be taught more.

As in :mod:`fulldeck.training.from_model`, every batch normalisation that the file has folded gets its place back.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from fulldeck.errors import ConfigError
from fulldeck.inference.locate import Locator
from fulldeck.training.from_model import hand_on, measure

_WEIGHED = {"Conv", "Gemm"}


def start_from_locator(network: nn.Module, part: str, file: Path, images: Iterable[Tensor]) -> None:
    """Load the weights of a network in a locator file.

    Args:
        network: what will be trained.
        part: which network of the file: "network" for the one that finds, "refiner" for the other.
        file: as ``fulldeck export-locator`` wrote it.
        images: some batches to measure statistics on, float [N, 3, H, W] in 0..1.

    Raises:
        ModelError: the file cannot be used.
        ConfigError: it holds another network.
    """
    Locator(file, threads=1)  # which checks it
    stored = _layers(onnx.load(file).graph, part)
    norms: list[nn.BatchNorm2d] = []
    bias: Tensor | None = None
    with torch.no_grad():
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weight, bias = stored.get(name, (torch.zeros(0), torch.zeros(0)))
                if weight.shape != layer.weight.shape:
                    msg = f"init={file} holds another {part}: it has no {name} of shape {tuple(layer.weight.shape)}"
                    raise ConfigError(msg)
                layer.weight.copy_(weight)
                if layer.bias is not None:
                    layer.bias.copy_(bias)
            elif isinstance(layer, nn.BatchNorm2d) and bias is not None:
                hand_on(layer, bias)
                norms.append(layer)
    measure(network, norms, images)


def _layers(graph: Any, part: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Name the weights and the bias of each layer of a network in a graph as torch names the layer.

    The older exporter calls the convolution ``far.0.0`` of the network ``/network/far/far.0/far.0.0/Conv``.
    """
    tensors = {each.name: torch.from_numpy(np.array(numpy_helper.to_array(each))) for each in graph.initializer}
    for node in graph.node:  # what is stored in half precision has its name from the node that turns it back
        if node.op_type == "Cast" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]].float()
    found = {}
    for node in graph.node:
        scopes = node.name.split("/")[1:-1]
        if node.op_type in _WEIGHED and scopes[:1] == [part]:
            name = ""
            for scope in scopes[1:]:
                name = scope if not name or scope.startswith(f"{name}.") else f"{name}.{scope}"
            found[name] = tensors[node.input[1]], tensors[node.input[2]]
    return found
