"""Training that starts from a model file: a champion of which only the ONNX file is left can be taught more.

In the file every batch normalisation is folded into the convolution before it. Here each gets its place back: it first
passes its input on as it is, then measures it on images and takes the measured statistics for its own, with a scale and
a shift that undo them. The network answers as before, and its statistics can move again.
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
from fulldeck.inference.classifier import Classifier
from fulldeck.training.cascade_graph import last_network
from fulldeck.training.module import CardModule


def start_from_model(module: CardModule, file: Path, images: Iterable[Tensor]) -> None:
    """Load the weights of a model file into a network of the same backbone and labels.

    Args:
        module: what will be trained.
        file: as ``fulldeck export`` wrote it; or a cascade, of which the second network is taken.
        images: some batches to measure the statistics on, float [N, 3, S, S] in 0..1.

    Raises:
        ModelError: the file cannot be used.
        ConfigError: it holds another network, or other labels.
    """
    info = Classifier(file, threads=1).info  # which checks the file
    if info.labels != module.labels:
        msg = f"init={file} knows other labels than the data; train from another start"
        raise ConfigError(msg)
    tensors = _weights(last_network(onnx.load(file)).graph)
    norms: list[nn.BatchNorm2d] = []
    pending: Tensor | None = None
    with torch.no_grad():
        for name, part in module.named_modules():
            if isinstance(part, nn.Conv2d):
                _copy(part.weight, tensors, f"{name}.weight", file)
                if part.bias is not None:
                    _copy(part.bias, tensors, f"{name}.bias", file)
                pending = tensors.get(f"{name}.weight_bias")
            elif isinstance(part, nn.Linear):
                _copy(part.weight, tensors, f"{name}.weight", file)
                _copy(part.bias, tensors, f"{name}.bias", file)
            elif isinstance(part, nn.BatchNorm2d):
                if pending is None or pending.shape != part.bias.shape:
                    msg = f"init={file} holds another network than {info.name}: no bias was found before {name}"
                    raise ConfigError(msg)
                hand_on(part, pending)
                norms.append(part)
                pending = None
    measure(module, norms, images)


def _weights(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Give a graph's weights by name; what is stored in fewer bits has its name from the nodes that turn it back."""
    tensors = {each.name: torch.from_numpy(np.array(numpy_helper.to_array(each))) for each in graph.initializer}
    for node in graph.node:
        given = [tensors[name] for name in node.input if name in tensors]
        if node.op_type == "Cast" and given:
            tensors[node.output[0]] = given[0].float()
        elif node.op_type == "Mul" and len(given) == len(node.input):  # of levels and their scale
            tensors[node.output[0]] = given[0] * given[1]
    return tensors


def _copy(parameter: Tensor, tensors: dict[str, Tensor], name: str, file: Path) -> None:
    value = tensors.get(name)
    if value is None or value.shape != parameter.shape:
        msg = f"init={file} holds another network: it has no {name} of shape {tuple(parameter.shape)}"
        raise ConfigError(msg)
    parameter.copy_(value)


@torch.no_grad()
def hand_on(norm: nn.BatchNorm2d, bias: Tensor) -> None:
    """Let a normalisation add a bias, and else pass on what it is given."""
    norm.running_mean.zero_()  # type: ignore[union-attr]
    norm.running_var.fill_(1.0)  # type: ignore[union-attr]
    norm.weight.fill_((1.0 + norm.eps) ** 0.5)
    norm.bias.copy_(bias)


@torch.no_grad()
def measure(module: nn.Module, norms: list[nn.BatchNorm2d], images: Iterable[Tensor]) -> None:
    """Give each normalisation the mean and variance of what it is given, and what undoes them.

    Args:
        module: a network.
        norms: those of its normalisations that so far hand on what they are given.
        images: batches for the network, float [N, 3, H, W].
    """
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {norm: [] for norm in norms}

    def note(norm: Any, given: tuple[Tensor, ...]) -> None:
        values = given[0].double()
        sums[norm].append(torch.stack([values.mean((0, 2, 3)), values.square().mean((0, 2, 3))]))

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    training = module.training
    module.eval()
    for batch in images:
        module(batch)
    module.train(training)
    for hook in hooks:
        hook.remove()
    for norm, moments in sums.items():
        mean, square = torch.stack(moments).mean(0)
        variance = (square - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean.to(norm.bias.dtype))
