"""Static quantisation of a graph: kernels and activations of 8 bits, by ranges that are met on images.

Knows ONNX graphs and arrays, nothing of model files or cards.
"""

import copy
import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from fulldeck.inference.model_file import INPUT, PROBABILITIES

WEIGHTED = ("Conv", "Gemm", "MatMul")
QUANTISED = (*WEIGHTED, "Add", "Mul", "Clip", "Relu", "GlobalAveragePool", "ReduceMean")
WORTH = 0.75
"""A layer stays in float if the answers' distance to the float model's falls to this share or less by it."""

_TINY = 1e-9  # so that a probability of nothing has a logarithm

Images = NDArray[np.uint8]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds images one at a time, so that memory does not grow with their number."""

    def __init__(self, images: Images) -> None:
        self.images: Iterator[Images] = iter(images[:, None])

    def get_next(self) -> dict[str, Images] | None:
        image = next(self.images, None)
        return None if image is None else {INPUT: image}


def weighted_layers(graph: onnx.ModelProto) -> list[str]:
    """Name the nodes that multiply by weights, in the order of the graph."""
    return [node.name for node in graph.graph.node if node.op_type in WEIGHTED]


def quantise(graph: onnx.ModelProto, images: Images, keep: tuple[str, ...] = ()) -> onnx.ModelProto:
    """Quantise a float32 graph, in the QDQ form: each kernel by channel, each activation by the range that is met.

    What comes before the first layer (normalisation) and after the last (temperature, softmax) stays exact.

    Args:
        graph: takes uint8 [N, S, S, 3].
        images: uint8 [M, S, S, 3], to calibrate on.
        keep: names of nodes that stay in float32.
    """
    nodes = list(graph.graph.node)
    layers = [place for place, node in enumerate(nodes) if node.op_type in WEIGHTED]
    around = [node.name for node in (*nodes[: layers[0]], *nodes[layers[-1] + 1 :])]
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "int8.onnx"
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # ONNX Runtime advises, on the root logger, what was done already
        try:
            quantize_static(
                copy.deepcopy(graph),  # it moves the weights of what it is given to a file, which is gone afterwards
                file,
                _Reader(images),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # what ONNX Runtime recommends where a processor multiplies unsigned by signed bytes (x86 with VNNI)
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=[*around, *keep],
            )
        finally:
            logging.root.setLevel(level)
        return onnx.load(file)


def choose(
    ends: tuple[str, str], attempt: Callable[[tuple[str, ...]], float], worth: float = WORTH
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Find out which of the first and last layer to keep in float: those by which answers come closer to the float's.

    Args:
        ends: the names of both layers.
        attempt: quantises all but the layers that it is given, and measures the distance of the answers.
        worth: what share of the distance may be left for a layer to count as sensitive.

    Returns:
        The layers to keep, and the distance of each attempt by the names of what was kept, joined by a plus sign.
    """
    attempts = [kept for count in (0, 1, 2) for kept in itertools.combinations(dict.fromkeys(ends), count)]
    distances = {kept: attempt(kept) for kept in attempts}
    best = attempts[0]
    for kept in attempts[1:]:  # fewer layers first, each of which must earn its place
        if distances[kept] <= distances[best] * worth ** (len(kept) - len(best)):
            best = kept
    return best, {"+".join(kept): distance for kept, distance in distances.items()}


def optimise(graph: onnx.ModelProto, level: ort.GraphOptimizationLevel) -> onnx.ModelProto:
    """Let ONNX Runtime rewrite a graph as it does before running it, and take the result.

    Up to ``ORT_ENABLE_BASIC`` it is plain ONNX; ``ORT_ENABLE_EXTENDED`` fuses into operators of ONNX Runtime's own, and
    still holds for every processor.
    """
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "optimised.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.optimized_model_filepath = str(file)
        options.log_severity_level = 3
        ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(file)


def answers(graph: onnx.ModelProto, images: Images, batch: int = 16) -> NDArray[np.float64]:
    """Ask a graph about images, uint8 [M, S, S, 3]; gives probabilities, float64 [M, C]."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    parts = [session.run([PROBABILITIES], {INPUT: images[at : at + batch]})[0] for at in range(0, len(images), batch)]
    return np.concatenate(parts).astype(np.float64)


def divergence(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Mean Kullback-Leibler divergence, in nats, of the answers found from those wanted, both [M, C]."""
    logs = np.log(np.maximum(wanted, _TINY)) - np.log(np.maximum(found, _TINY))
    return float((wanted * logs).sum(axis=1).mean())
