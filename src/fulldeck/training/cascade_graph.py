"""Two networks in one graph, of which the second runs only for the images that the first is not sure of.

An early exit by confidence, as in Teerapittayanon et al., "BranchyNet: Fast Inference via Early Exiting from Deep
Neural Networks" (2016), between two networks, as the stages of Viola and Jones, "Rapid Object Detection using a Boosted
Cascade of Simple Features" (2001). Knows ONNX graphs and arrays, nothing of model files or cards.
"""

import math
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

_ROWS = 4  # of small images that are made by one product; with fewer or more it takes longer

Floats = NDArray[np.float32]


def initialisers(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Give a graph's weights and constants, and those of the graphs inside its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from initialisers(attribute.g)


def pool_plainly(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Let the means over a network's planes be pooling, which ONNX Runtime does in the layout of its convolutions.

    torch's exporter writes a mean over two axes. In older files, for which the planes lay channels last, it wrote more:
    the places of the means in memory, by which they are gathered in the order in which they are already.

    Returns:
        A graph that answers as the one that is given, but for the last digit of a mean.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    makers = {name: node for node in made.graph.node for name in node.output}
    for node in made.graph.node:
        if node.op_type == "Gather" and (means := _means_in_order(node, makers, constants)):
            for user in made.graph.node:
                user.input[:] = [means if name == node.output[0] else name for name in user.input]
    _drop_unused(made.graph)
    shapes = onnx.shape_inference.infer_shapes(made).graph.value_info
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in shapes}
    for node in made.graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or ranks.get(node.input[0]) != 4:
            continue
        kept = next((each.i for each in node.attribute if each.name == "keepdims"), 1)
        axes = constants.get(node.input[1])
        if kept and axes is not None and sorted(axes % 4) == [2, 3]:
            node.CopyFrom(helper.make_node("GlobalAveragePool", node.input[:1], node.output, node.name))
    _drop_unused(made.graph)
    return made


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
    nodes, weights = _renamed(pool_plainly(first).graph, FIRST, names)
    if times > 1:
        shrinking, numbers = _shrink(times, own, names[INPUT])
        nodes, weights = [*shrinking, *nodes], [*weights, *numbers]
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
    then = pool_plainly(then)
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
        node=[node for node in branch.node if not node.name.startswith(OWN)],
        initializer=[tensor for tensor in branch.initializer if not tensor.name.startswith(OWN)],
    )
    nodes, weights = _renamed(inside, "", {_inner(name): name for name in _ENDS})
    outputs = [_output(graph, name) for name in (PROBABILITIES, EMBEDDING)]
    return _model(graph, nodes, weights, _input_shape(graph)[1], outputs)


def _means_in_order(
    gather: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], constants: Mapping[str, NDArray[Any]]
) -> str | None:
    """Name the [N, C, 1, 1] whose numbers a node gathers from their flat list in their order, if that is what it does.

    The places are those of channel c of image n: n * C + c.
    """
    chain, name = [], gather.input[1]
    for kind, at in (("Add", 0), ("Unsqueeze", 0), ("Mul", 0), ("Range", 1), ("Squeeze", 0), ("Shape", 0)):
        if name not in makers or makers[name].op_type != kind:
            return None
        chain.append(makers[name])
        name = chain[-1].input[at]
    add, _, times, count, _, shape = chain
    flat = makers.get(gather.input[0])
    numbers = (add.input[1], times.input[1], count.input[0], count.input[2])
    if flat is None or flat.op_type != "Reshape" or name != INPUT or any(each not in constants for each in numbers):
        return None
    channels, width, start, step = (constants[each] for each in numbers)
    of = {each.name: each.i for each in shape.attribute}
    in_order = np.array_equal(channels, np.arange(int(width)).reshape(1, -1, 1, 1)) and start == 0 and step == 1
    return flat.input[0] if in_order and of == {"start": 0, "end": 1} else None


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and weights of a graph that nothing is made of."""
    wanted = {value.name for value in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(_read(node))
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(weights)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Name what a node is given, and what is given to those of the graphs inside it."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _read(inner)


def _shrink(times: int, own: int, name: str) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Average uint8 [N, S, S, 3] over squares, and round as `fulldeck.inference.image` does: a half upwards.

    Sums down the columns are a product of bytes, so that no pixel becomes a float before there are fewer of them. Those
    along the rows are a product that takes its right side transposed, by which the channels come first on the way. All
    sums are whole numbers and exact.
    """
    size, rows = own * times, math.gcd(own, _ROWS)
    # A half would go to the even number. The divisor is smaller by so little that only a half gets across.
    divisor = times**2 * (1 - 1 / (512 * times**2))
    numbers = {
        "bands": np.array([0, own // rows, rows * times, size * 3]),
        "down_columns": np.kron(np.eye(rows), np.ones(times)).astype(np.uint8),
        "strips": np.array([0, own * own, times * 3]),
        "along_rows": np.tile(np.eye(3, dtype=np.float32), times),
        "planes": np.array([0, 3, own, own]),
        "divisor": np.array(divisor, np.float32),
        "zero": np.array(0, np.uint8),
    }
    nodes = [
        helper.make_node("Reshape", [INPUT, f"{OWN}bands"], [f"{OWN}banded"], f"{OWN}shrink/1"),
        _node("MatMulInteger", ["down_columns", "banded"], ["columns"]),
        _node("Cast", ["columns"], ["column_sums"], to=TensorProto.FLOAT),
        _node("Reshape", ["column_sums", "strips"], ["by_strip"]),
        _node("Transpose", ["by_strip"], ["by_channel"], perm=[0, 2, 1]),
        _node("MatMul", ["along_rows", "by_channel"], ["sums"]),
        _node("Reshape", ["sums", "planes"], ["square_sums"]),
        _node("QuantizeLinear", ["square_sums", "divisor", "zero"], ["rounded"]),
        helper.make_node("Transpose", [f"{OWN}rounded"], [name], f"{OWN}shrink/2", perm=[0, 2, 3, 1]),
    ]
    return nodes, [numpy_helper.from_array(value, f"{OWN}{called}") for called, value in numbers.items()]


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
