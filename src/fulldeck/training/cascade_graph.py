"""Two networks in one graph, of which the second runs only for the images that the first is not sure of.

An early exit by confidence, as in Teerapittayanon et al., "BranchyNet: Fast Inference via Early Exiting from Deep
Neural Networks" (2016), between two networks, as the stages of Viola and Jones, "Rapid Object Detection using a Boosted
Cascade of Simple Features" (2001). Knows ONNX graphs and arrays, nothing of model files or cards.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fulldeck.errors import ConfigError
from fulldeck.inference.model_file import EMBEDDING, INPUT, PROBABILITIES

FIRST = "first/"
"""Before every name of the first network, so that none meets one of the second's. Those keep their names."""

OWN = "cascade/"
"""Before every name of what joins both."""

_CHOICE = f"{OWN}choice"
_ENDS = (INPUT, PROBABILITIES, EMBEDDING)

Floats = NDArray[np.float32]


def initialisers(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Give a graph's weights and constants, and those of the graphs inside its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from initialisers(attribute.g)


def first_look(first: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """Let a network look at larger images than its own: each of its pixels is the mean of k x k of theirs.

    Args:
        first: takes uint8 [N, s, s, 3].
        size: the side S = k * s of the images that come, in pixels.

    Returns:
        A graph that takes uint8 [N, S, S, 3].

    Raises:
        ConfigError: S is no whole multiple of s.
    """
    own = _input_shape(first)[1]
    times, rest = divmod(size, own)
    if rest or times < 1:
        msg = (
            f"the first network's images of {own} pixels do not go into {size} pixels evenly; "
            f"train it with a data.size that {size} is a multiple of"
        )
        raise ConfigError(msg)
    names = {INPUT: f"{FIRST}{INPUT}" if times > 1 else INPUT, PROBABILITIES: PROBABILITIES, EMBEDDING: EMBEDDING}
    nodes, weights = _renamed(first.graph, FIRST, names)
    if times > 1:
        nodes = [*_shrink(times, names[INPUT]), *nodes]
        weights.append(numpy_helper.from_array(np.array(0.5, np.float32), f"{OWN}half"))
    outputs = [_output(first, name) for name in (PROBABILITIES, EMBEDDING)]
    return _model(first, nodes, weights, size, outputs)


def join(
    first: onnx.ModelProto, then: onnx.ModelProto, bar: float, brought: tuple[Floats, Floats, Floats]
) -> onnx.ModelProto:
    """Join two networks of the same labels.

    Args:
        first: asked about every image. Takes uint8 [N, s, s, 3] and gives probabilities float32 [N, C] and an embedding
            float32 [N, D'].
        then: asked about those images whose largest probability by the first is less than the bar times its second
            largest. Takes uint8 [N, S, S, 3], S a whole multiple of s, and gives [N, C] and [N, D].
        bar: a ratio.
        brought: float32 [D', R], [R, D] and [D]: the first's embeddings are multiplied by the two and shifted by the
            third, which brings them among the second's.

    Returns:
        A graph that takes uint8 [N, S, S, 3] and gives probabilities float32 [N, C] and an embedding float32 [N, D].

    Raises:
        ConfigError: S is no whole multiple of s, or the networks are written in different versions of ONNX.
    """
    size = _input_shape(then)[1]
    look = first_look(first, size)
    names = {PROBABILITIES: f"{OWN}{PROBABILITIES}", EMBEDDING: f"{OWN}from"}
    nodes, weights = _renamed(look.graph, "", names | {INPUT: INPUT})
    down, up, shift = brought
    weights += [
        numpy_helper.from_array(down.astype(np.float16), f"{OWN}down_half"),  # embeddings are logged in half, too
        numpy_helper.from_array(up.astype(np.float16), f"{OWN}up_half"),
        numpy_helper.from_array(shift.astype(np.float32), f"{OWN}shift"),
        numpy_helper.from_array(np.array(bar, np.float32), f"{OWN}bar"),
        numpy_helper.from_array(np.array(0, np.int64), f"{OWN}none"),
        numpy_helper.from_array(np.array([2], np.int64), f"{OWN}two"),
        numpy_helper.from_array(np.array(1, np.int64), f"{OWN}one"),
    ]
    nodes += [
        _node("Cast", ["down_half"], ["down"], to=TensorProto.FLOAT),
        _node("Cast", ["up_half"], ["up"], to=TensorProto.FLOAT),
        _node("MatMul", ["from", "down"], ["between"]),
        _node("Gemm", ["between", "up", "shift"], [EMBEDDING]),
        _node("TopK", [PROBABILITIES, "two"], ["best", "best_labels"]),
        _node("Gather", ["best", "none"], ["top"], axis=1),
        _node("Gather", ["best", "one"], ["next"], axis=1),
        _node("Mul", ["next", "bar"], ["enough"]),
        _node("GreaterOrEqual", ["top", "enough"], ["sure"]),
        _node("Not", ["sure"], ["unsure"]),  # which holds for a NaN, too
        _node("NonZero", ["unsure"], ["row"]),
        _node("Transpose", ["row"], ["places"], perm=[1, 0]),
        _node("Size", ["row"], ["count"]),
        _node("Equal", ["count", "none"], ["all_sure"]),
        helper.make_node(
            "If",
            [f"{OWN}all_sure"],
            [PROBABILITIES, EMBEDDING],
            _CHOICE,
            then_branch=_settled(then),
            else_branch=_asked(then),
        ),
    ]
    versions = _versions(first)
    if any(versions.get(domain, version) != version for domain, version in _versions(then).items()):
        msg = "the two networks are written in different versions of ONNX; export the older one again"
        raise ConfigError(msg)
    outputs = [_output(then, name) for name in (PROBABILITIES, EMBEDDING)]
    made = _model(then, nodes, weights, size, outputs)
    present = _versions(then)
    made.opset_import.extend(each for each in first.opset_import if each.domain not in present)
    return made


def is_cascade(graph: onnx.ModelProto) -> bool:
    """Whether a graph is one that :func:`join` has made."""
    return any(node.name == _CHOICE for node in graph.graph.node)


def last_network(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Take the second network out of a cascade, as it was before it was joined; any other graph is given as it is."""
    choice = next((node for node in graph.graph.node if node.name == _CHOICE), None)
    if choice is None:
        return graph
    branch = next(each.g for each in choice.attribute if each.name == "else_branch")
    inside = onnx.GraphProto(
        node=[node for node in branch.node if not node.name.startswith(OWN)], initializer=branch.initializer
    )
    nodes, weights = _renamed(inside, "", {_inner(name): name for name in _ENDS})
    outputs = [_output(graph, name) for name in (PROBABILITIES, EMBEDDING)]
    return _model(graph, nodes, weights, _input_shape(graph)[1], outputs)


def _shrink(times: int, name: str) -> list[onnx.NodeProto]:
    """Average uint8 [N, S, S, 3] over squares, and round as `fulldeck.inference.image` does: a half upwards."""
    window = [times, times]
    return [
        helper.make_node("Transpose", [INPUT], [f"{OWN}bytes"], f"{OWN}shrink/1", perm=[0, 3, 1, 2]),
        _node("Cast", ["bytes"], ["pixels"], to=TensorProto.FLOAT),
        _node("AveragePool", ["pixels"], ["means"], kernel_shape=window, strides=window),
        _node("Add", ["means", "half"], ["above"]),
        _node("Floor", ["above"], ["levels"]),
        _node("Cast", ["levels"], ["rounded"], to=TensorProto.UINT8),
        helper.make_node("Transpose", [f"{OWN}rounded"], [name], f"{OWN}shrink/2", perm=[0, 2, 3, 1]),
    ]


def _settled(then: onnx.ModelProto) -> onnx.GraphProto:
    """What happens where the first is sure of all: its answers stand."""
    ends = [(name, f"{OWN}all/{name}") for name in (PROBABILITIES, EMBEDDING)]
    nodes = [helper.make_node("Identity", [f"{OWN}{name}"], [out], out) for name, out in ends]
    return helper.make_graph(nodes, f"{OWN}settled", [], [_output(then, name, out) for name, out in ends])


def _asked(then: onnx.ModelProto) -> onnx.GraphProto:
    """What happens where it is not: the second is asked about the others, and its answers are laid over the first's."""
    nodes, weights = _renamed(then.graph, "", {name: _inner(name) for name in _ENDS})
    ends = [(name, f"{OWN}some/{name}") for name in (PROBABILITIES, EMBEDDING)]
    picked, unsure = f"{OWN}pick", f"{OWN}unsure_row"
    weights.append(numpy_helper.from_array(np.array([-1], np.int64), f"{OWN}flat"))
    nodes = [
        helper.make_node("Reshape", [f"{OWN}row", f"{OWN}flat"], [unsure], unsure),
        helper.make_node("Gather", [INPUT, unsure], [_inner(INPUT)], picked, axis=0),
        *nodes,
        *(
            helper.make_node("ScatterND", [f"{OWN}{name}", f"{OWN}places", _inner(name)], [out], out)
            for name, out in ends
        ),
    ]
    return helper.make_graph(nodes, f"{OWN}asked", [], [_output(then, name, out) for name, out in ends], weights)


def _inner(name: str) -> str:
    """What the second's input and outputs are called inside a cascade, which has their names itself."""
    return f"then/{name}"


def _node(kind: str, inputs: list[str], outputs: list[str], **options: Any) -> onnx.NodeProto:
    """Make a node of the joint, all of whose names are its own."""
    return helper.make_node(
        kind, [f"{OWN}{name}" for name in inputs], [f"{OWN}{name}" for name in outputs], f"{OWN}{outputs[0]}", **options
    )


def _renamed(
    graph: onnx.GraphProto, prefix: str, names: Mapping[str, str]
) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Copy the nodes and weights of a graph with a prefix before each name, except for those that are given."""

    def new(name: str) -> str:
        return names.get(name, f"{prefix}{name}") if name else ""  # nothing is named where an input is left out

    nodes, weights = [], []
    for node in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{prefix}{node.name}" if node.name else ""  # a node may have none, but not another's
        for values in (copy.input, copy.output):
            values[:] = [new(name) for name in values]
        nodes.append(copy)
    for tensor in graph.initializer:
        weight = TensorProto()
        weight.CopyFrom(tensor)
        weight.name = new(tensor.name)
        weights.append(weight)
    return nodes, weights


def _model(
    like: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    weights: list[TensorProto],
    size: int,
    outputs: list[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    images = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", size, size, 3])
    graph = helper.make_graph(nodes, "cascade", [images], outputs, weights)
    return helper.make_model(graph, opset_imports=like.opset_import, ir_version=like.ir_version)


def _output(model: onnx.ModelProto, name: str, called: str | None = None) -> onnx.ValueInfoProto:
    found = next(each for each in model.graph.output if each.name == name)
    width = found.type.tensor_type.shape.dim[1].dim_value
    return helper.make_tensor_value_info(called or name, TensorProto.FLOAT, ["n", width])


def _input_shape(model: onnx.ModelProto) -> list[int]:
    return [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]


def _versions(model: onnx.ModelProto) -> dict[str, int]:
    return {each.domain: each.version for each in model.opset_import}
