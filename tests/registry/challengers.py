"""Challengers without a training: the champion's file, edited as the mistake would have left it, and sealed again.

``BAD`` names for each what the gate must find; ``ALONE`` are those that must fail for that alone. Nothing here hangs on
which champion it is: weights are edited in full precision, and stored in half of it.
"""

import functools
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fulldeck.cards import CARDS, LABELS, Rank, Suit
from fulldeck.inference.model_file import METADATA_KEY, champion_path
from fulldeck.inference.seal import seal
from fulldeck.training.cascade_graph import last_network
from fulldeck.training.export import store_half

HEAD = ("network.classifier.weight", "network.classifier.bias")


@functools.cache
def _champion():
    whole = onnx.load(champion_path())
    model = last_network(whole)
    helper.set_model_props(model, {entry.key: entry.value for entry in whole.metadata_props})
    values = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        given = [values[name] for name in node.input if name in values]
        if node.op_type == "Cast" and given:
            values[node.output[0]] = given[0].astype(np.float32)
        elif node.op_type == "Mul" and len(given) == 2:
            values[node.output[0]] = given[0] * given[1]
        else:
            nodes.append(node)
    read = {name for node in nodes for name in node.input}
    weights = [numpy_helper.from_array(value, name) for name, value in values.items() if name in read]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, weights)
    model.graph.CopyFrom(graph)
    return model.SerializeToString()


def champion():
    """The large network of the champion, with all its weights in full precision under their own names.

    It stands for the champion here: what is wrong with one of two networks shows only where that one is asked.
    """
    return onnx.load_from_string(_champion())


def sealed(model):
    store_half(model)
    return seal(model.SerializeToString())


def metadata(model):
    return json.loads(next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY))


def described(**changes):
    """The champion with other metadata."""
    model = champion()
    info = metadata(model) | changes
    del model.metadata_props[:]
    helper.set_model_props(model, {METADATA_KEY: json.dumps(info)})
    return model


def tensor(model, name):
    [found] = [one for one in model.graph.initializer if one.name == name]
    return found


def change(model, name, function):
    stored = tensor(model, name)
    changed = function(numpy_helper.to_array(stored).copy())
    stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed, np.float32), name))
    return model


def rows_moved(order):
    """The head's rows in another order: what training on labels in that order would have made."""
    model = champion()
    for name in HEAD:
        change(model, name, lambda values: values[order])
    return model


def swapped(*pairs):
    order = np.arange(53)
    for one, other in pairs:
        order[[LABELS.index(one), LABELS.index(other)]] = LABELS.index(other), LABELS.index(one)
    return order


def rank_for_rank(one, other):
    return swapped(*((f"{one.word} of {suit.word}", f"{other.word} of {suit.word}") for suit in Suit))


def suit_for_suit(one, other):
    return swapped(*((f"{rank.word} of {one.word}", f"{rank.word} of {other.word}") for rank in Rank))


def rank_broken():
    """No answer is ever a queen."""
    queens = [card.index for card in CARDS if card.rank is Rank.QUEEN]

    def silence(bias):
        bias[queens] = -100
        return bias

    return change(champion(), HEAD[1], silence)


def noisy(name, share, seed=0):
    rng = np.random.default_rng(seed)
    return change(champion(), name, lambda values: values + rng.normal(0, share * values.std(), values.shape))


def all_noisy(share, seed=0):
    """Every kernel of the network, as a training that had stopped too early or diverged."""
    rng, model = np.random.default_rng(seed), champion()
    for stored in model.graph.initializer:
        if stored.data_type == TensorProto.FLOAT and len(stored.dims) == 4:
            change(model, stored.name, lambda values: values + rng.normal(0, share * values.std(), values.shape))
    return model


def temperature(times):
    """Logits divided by so much more."""
    model = champion()
    divisor = next(node.input[1] for node in model.graph.node if node.op_type == "Div")
    return change(model, divisor, lambda value: value * times)


def before(model, nodes, constants=()):
    """Put operators between the input and the network: they take "images" and give "seen"."""
    for node in model.graph.node:
        node.input[:] = ["seen" if name == "images" else name for name in node.input]
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    model.graph.initializer.extend(constants)
    return model


def rotated_inputs():
    """It expects what is on its side, as if the decoder's turns were not the same in training."""
    return before(champion(), [helper.make_node("Transpose", ["images"], ["seen"], perm=[0, 2, 1, 3])])


def float_node(values, name):
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def normalised_twice():
    """The pixels are divided by 255 before the graph does it again, so all of them are nearly 0."""
    nodes = [
        helper.make_node("Cast", ["images"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["levels", "most"], ["shares"]),
        helper.make_node("Cast", ["shares"], ["seen"], to=TensorProto.UINT8),
    ]
    return before(champion(), nodes, [float_node(255.0, "most")])


def blind_in_the_dark():
    """Where the picture is dark it sees nothing: right in daylight, which is all that the labelled images show."""
    nodes = [
        helper.make_node("Cast", ["images"], ["light"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["light", "axes"], ["brightest"], keepdims=1),
        helper.make_node("Greater", ["brightest", "dusk"], ["day"]),
        helper.make_node("Cast", ["day"], ["open"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["light", "open"], ["shown"]),
        helper.make_node("Cast", ["shown"], ["seen"], to=TensorProto.UINT8),
    ]
    constants = [numpy_helper.from_array(np.array([1, 2, 3]), "axes"), float_node([165.0], "dusk")]
    return before(champion(), nodes, constants)


def slowed(times):
    """The embedding multiplied by a matrix again and again, for nothing; neither it nor the file's size changes."""
    model = champion()
    width = tensor(model, HEAD[0]).dims[1]
    at = next(place for place, node in enumerate(model.graph.node) if "embedding" in node.output)
    late = model.graph.node[at]
    late.output[:] = ["real"]
    model.graph.initializer.append(numpy_helper.from_array(np.array([width, width]), "square"))
    nodes, name = [helper.make_node("ConstantOfShape", ["square"], ["idle"], value=float_node([1e-9], "small"))], "real"
    for turn in range(times):
        nodes.append(helper.make_node("MatMul", [name, "idle"], [f"turn{turn}"]))
        name = f"turn{turn}"
    nodes.append(helper.make_node("Mul", [name, "nothing"], ["none"]))
    nodes.append(helper.make_node("Add", ["real", "none"], ["embedding"]))
    model.graph.initializer.append(float_node(0.0, "nothing"))
    for place, node in enumerate(nodes):
        model.graph.node.insert(at + 1 + place, node)
    return model


def too_big():
    """A tensor that nobody reads, as a training's state left behind."""
    model = champion()
    model.graph.initializer.append(float_node(np.zeros(2_000_000), "optimiser"))
    return model


def not_a_number():
    return change(champion(), HEAD[1], lambda bias: np.where(np.arange(53) == 7, np.nan, bias))


def tampered():
    data = bytearray(champion_path().read_bytes())
    data[len(data) // 2] ^= 1
    return bytes(data)


def labels_moved():
    order = list(LABELS)
    order[3], order[40] = order[40], order[3]
    return described(labels=order)


def rounded():
    """Weights with 8 bits of mantissa, as bfloat16 has."""
    model = champion()
    for stored in model.graph.initializer:
        if stored.data_type == TensorProto.FLOAT and len(stored.dims) > 1:
            change(model, stored.name, lambda values: (values.view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32))
    return model


def bolder():
    return described(threshold=0.99 * metadata(champion())["threshold"])


BAD = {
    "trained with two labels swapped": ("accuracy", lambda: sealed(rows_moved(rank_for_rank(Rank.SIX, Rank.NINE)))),
    "trained with two suits swapped": ("suit", lambda: sealed(rows_moved(suit_for_suit(Suit.CLUBS, Suit.SPADES)))),
    "trained with all labels off by one": ("accuracy", lambda: sealed(rows_moved(np.roll(np.arange(53), 1)))),
    "one rank broken": ("rank", lambda: sealed(rank_broken())),
    "one card broken": (
        "accuracy",
        lambda: sealed(rows_moved(swapped(("ace of hearts", "ace of diamonds"), ("two of hearts", "two of diamonds")))),
    ),
    "inputs rotated": ("accuracy", lambda: sealed(rotated_inputs())),
    "normalised twice": ("accuracy", lambda: sealed(normalised_twice())),
    "head of noise": ("accuracy", lambda: sealed(noisy(HEAD[0], 8.0))),
    "network of noise": ("corruption", lambda: sealed(all_noisy(0.8))),
    "blind in the dark": ("behaviour", lambda: sealed(blind_in_the_dark())),
    "too sure": ("no card", lambda: sealed(temperature(0.03))),
    "not sure enough": ("calibration", lambda: sealed(temperature(3.0))),
    "accepts everything": ("no card", lambda: sealed(described(threshold=0.01))),
    "accepts nothing": ("threshold", lambda: sealed(described(threshold=1.0))),
    "too slow": ("latency", lambda: sealed(slowed(48))),
    "too big": ("size", lambda: sealed(too_big())),
    "tampered file": ("file", tampered),
    "truncated file": ("file", lambda: champion_path().read_bytes()[:-1000]),
    "another schema": ("file", lambda: sealed(described(schema=2))),
    "labels in another order": ("labels", lambda: sealed(labels_moved())),
    "a label renamed": ("labels", lambda: sealed(described(labels=["ace of cups", *LABELS[1:]]))),
    "not a number": ("numbers", lambda: sealed(not_a_number())),
    "from nowhere": ("manifest", lambda: sealed(described(data_hash="", commit="unknown"))),
}
ALONE = {"too slow", "too big", "from nowhere", "labels in another order", "a label renamed", "blind in the dark"}

GOOD = {
    "the same, exported on another day": lambda: sealed(described(created="2026-12-01T00:00:00+00:00")),
    "trained a little longer": lambda: sealed(noisy(HEAD[0], 0.01)),
    "trained with another seed": lambda: sealed(all_noisy(0.005)),
    "stored in 16 bits": lambda: sealed(rounded()),
    "calibrated anew": lambda: sealed(temperature(1.04)),
    "a little bolder": lambda: sealed(bolder()),
}
