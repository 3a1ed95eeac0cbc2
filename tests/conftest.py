"""A stand-in for a trained model: tiny, valid, deterministic, and without a trace of learning."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fulldeck.cards import LABELS
from fulldeck.inference.model_file import METADATA_KEY, SCHEMA
from fulldeck.inference.seal import seal

# gcsfs reads it when it is imported, by whichever test comes first; `fulldeck.remote` says what for.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

# A shell gives what it starts in the background no SIGINT, which a Python would then never raise, nor its children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY_SIZE = 32
NOBODY = 65534


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With FULLDECK_NO_SKIPS set, as in CI, a skipped test is a failure: there everything is to be there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("FULLDECK_NO_SKIPS"):
        reporter.write_line(f"{len(skipped)} tests were skipped, and FULLDECK_NO_SKIPS allows none", red=True)
        for report in skipped:
            reporter.write_line(f"  {report.nodeid}: {report.longrepr[2] if report.longrepr else ''}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def tiny_metadata(labels: Sequence[str] = LABELS, size: int = TINY_SIZE) -> dict[str, Any]:
    """The metadata object of a tiny model, to be changed at will."""
    return {
        "schema": SCHEMA,
        "name": "tiny",
        "version": "0.0.1",
        "labels": list(labels),
        "size": size,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "temperature": 1.0,
        "threshold": 0.5,
        "data_hash": "0" * 64,
        "commit": "unknown",
        "created": "2025-01-01T00:00:00Z",
        "config": {},
        "metrics": {"accuracy": 0.0},
        "reference": {
            "embedding_mean": [0.0] * 3,
            "embedding_std": [0.6] * 3,
            "brightness_mean": 127.5,
            "brightness_std": 50.0,
        },
    }


def write_tiny_model(
    path: Path,
    *,
    labels: Sequence[str] = LABELS,
    size: int = TINY_SIZE,
    metadata: dict[str, Any] | str | None = None,
    outputs: int | None = None,
    input_name: str = "images",
    seed: int = 0,
) -> Path:
    """Write a model whose answer depends on an image's mean colour alone.

    Args:
        path: Where.
        labels: The classes.
        size: Side of the input.
        metadata: Another object than ``tiny_metadata``, a text in its place, or "" for none at all.
        outputs: Another number of probabilities than there are labels.
        input_name: Another name for the input.
        seed: Of the weights.
    """
    onnx = pytest.importorskip("onnx")
    helper, numbers = onnx.helper, onnx.numpy_helper
    classes = len(labels) if outputs is None else outputs
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 6, (3, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", [input_name], ["float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Sub", ["mean", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "middle"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, onnx.TensorProto.UINT8, ["N", size, size, 3])],
        [
            helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["N", classes]),
            helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["N", 3]),
        ],
        [numbers.from_array(weights, "weights"), numbers.from_array(np.float32([127.5] * 3), "middle")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata is None:
        metadata = tiny_metadata(labels, size)
    if metadata:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        helper.set_model_props(model, {METADATA_KEY: text})
    path.write_bytes(seal(model.SerializeToString()))
    return path


def write_tiny_locator(
    path: Path,
    card: Sequence[tuple[float, float]] = ((-20, -28), (20, -28), (20, 28), (-20, 28)),
    *,
    metadata: dict[str, Any] | str | None = None,
    leave_out: str = "",
    refines: bool = False,
) -> Path:
    """Write a locator that finds colourful cards of one size on grey ground.

    Its score at a cell is how much of the card's upright inner rectangle around the cell's middle is colourful: 1 where
    all of it is, so it peaks at a card's middle. That is also what it says is visible.

    Args:
        path: Where.
        card: The corners of such a card, seen from its middle, in pixels of the input, whose longer side has 320.
        metadata: Another object than ``tiny_locator_metadata``, or a text in its place.
        leave_out: An output that is not to be there.
        refines: Whether there is a refiner, too; it says that a card ends where what is colourful in its square ends.
    """
    onnx = pytest.importorskip("onnx")
    helper, numbers = onnx.helper, onnx.numpy_helper
    half = np.floor(np.abs(np.float32(card)).max(axis=0) / 2) * 2  # a little less than the card, and whole cells
    width, height = (int(2 * side) for side in half)
    pads = [(height - 4) // 2, (width - 4) // 2] * 2
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["pixels"], ["most"], axes=[3], keepdims=0),
        helper.make_node("ReduceMin", ["pixels"], ["least"], axes=[3], keepdims=0),
        helper.make_node("Sub", ["most", "least"], ["colour"]),
        helper.make_node("Div", ["colour", "full"], ["colourful"]),
        helper.make_node("Clip", ["colourful", "", "one"], ["clipped"]),
        helper.make_node("Unsqueeze", ["clipped", "axis"], ["plane"]),
        helper.make_node(
            "AveragePool",
            ["plane"],
            ["pooled"],
            kernel_shape=[height, width],
            strides=[4, 4],
            pads=pads,
            count_include_pad=1,
        ),
        helper.make_node("Squeeze", ["pooled", "axis"], ["score"]),
        helper.make_node("Identity", ["score"], ["visible"]),
        # Each cell's middle: four times its number and two.
        helper.make_node("Mul", ["score", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "four"], ["fours"]),
        helper.make_node("CumSum", ["fours", "two"], ["right"]),
        helper.make_node("CumSum", ["fours", "one_int"], ["down"]),
        helper.make_node("Unsqueeze", ["right", "last"], ["x"]),
        helper.make_node("Unsqueeze", ["down", "last"], ["y"]),
        helper.make_node("Concat", ["x", "y"] * 4, ["middles"], axis=3),
        helper.make_node("Add", ["middles", "offsets"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["corners"]),
    ]
    constants = {
        "full": np.float32(200),
        "one": np.float32(1),
        "zero": np.float32(0),
        "four": np.float32(4),
        "axis": np.int64([1]),
        "last": np.int64([3]),
        "two": np.int64(2),
        "one_int": np.int64(1),
        "offsets": np.float32(card).reshape(8) - 2,  # the cumulated fours are a cell's end
        "shape": np.int64([0, 0, 0, 4, 2]),
    }
    inputs = {"images": ["N", "H", "W", 3]}
    forms = {"score": ["N", "h", "w"], "corners": ["N", "h", "w", 4, 2], "visible": ["N", "h", "w"]}
    if refines:
        inputs["cards"], forms["refined"] = ["M", 96, 96, 3], ["M", 4, 2]
        more, others = _tiny_refiner(helper)
        nodes += more
        constants |= others
    graph = helper.make_graph(
        nodes,
        "tiny-locator",
        [helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, form) for name, form in inputs.items()],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, form)
            for name, form in forms.items()
            if name != leave_out
        ],
        [numbers.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    text = metadata if isinstance(metadata, str) else json.dumps(metadata or tiny_locator_metadata())
    if text:
        helper.set_model_props(model, {METADATA_KEY: text})
    path.write_bytes(seal(model.SerializeToString()))
    return path


def _tiny_refiner(helper: Any) -> tuple[list[Any], dict[str, Any]]:
    """The nodes and constants that give the corners of the box around all that is colourful in a square."""
    nodes = [
        helper.make_node("Cast", ["cards"], ["card_pixels"], to=1),  # float32
        helper.make_node("ReduceMax", ["card_pixels"], ["card_most"], axes=[3], keepdims=0),
        helper.make_node("ReduceMin", ["card_pixels"], ["card_least"], axes=[3], keepdims=0),
        helper.make_node("Sub", ["card_most", "card_least"], ["card_colour"]),
        helper.make_node("Greater", ["card_colour", "half_full"], ["is_colourful"]),
        helper.make_node("Cast", ["is_colourful"], ["mask"], to=1),
    ]
    for axis, low, high in ((1, "card_left", "card_right"), (2, "card_top", "card_bottom")):
        seen, from_far = f"seen_{low}", f"from_{high}"
        nodes += [
            helper.make_node("ReduceMax", ["mask"], [seen], axes=[axis], keepdims=0),
            helper.make_node("Mul", [seen, "ends"], [f"ends_{high}"]),
            helper.make_node("ReduceMax", [f"ends_{high}"], [high], axes=[1], keepdims=1),
            helper.make_node("Mul", [seen, "starts_from_far"], [from_far]),
            helper.make_node("ReduceMax", [from_far], [f"far_{low}"], axes=[1], keepdims=1),
            helper.make_node("Sub", ["unit", f"far_{low}"], [low]),
        ]
    corners = [f"card_{side}" for side in ["left", "top", "right", "top", "right", "bottom", "left", "bottom"]]
    nodes += [
        helper.make_node("Concat", corners, ["refined_flat"], axis=1),
        helper.make_node("Reshape", ["refined_flat", "refined_shape"], ["refined"]),
    ]
    return nodes, {
        "half_full": np.float32(100),
        "ends": (np.arange(96, dtype=np.float32) + 1) / 96,
        "starts_from_far": 1 - np.arange(96, dtype=np.float32) / 96,
        "unit": np.float32(1),
        "refined_shape": np.int64([-1, 4, 2]),
    }


def tiny_locator_metadata() -> dict[str, Any]:
    """The metadata object of a tiny locator, to be changed at will."""
    return {
        "schema": SCHEMA,
        "kind": "locator",
        "name": "tiny-locator",
        "version": "0.0.1",
        "size": 320,
        "stride": 4,
        "threshold": 0.3,
        "data_hash": "0" * 64,
        "commit": "unknown",
        "created": "2025-01-01T00:00:00Z",
        "config": {},
        "metrics": {},
    }


@pytest.fixture(scope="session")
def tiny_locator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid locator of upright colourful cards of 40x56 pixels on grey; do not change it."""
    return write_tiny_locator(tmp_path_factory.mktemp("locator") / "tiny-locator.onnx")


@pytest.fixture
def make_locator(tmp_path: Path) -> Callable[..., Path]:
    """Write a locator of one's own: ``make_locator(card=[...], metadata={...})``; see ``write_tiny_locator``."""
    count = 0

    def make(**changes: Any) -> Path:
        nonlocal count
        count += 1
        return write_tiny_locator(tmp_path / f"locator-{count}.onnx", **changes)

    return make


@pytest.fixture(scope="session", autouse=True)
def _state_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Services that the tests start log what they answer here, not among the user's files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid model file of 53 labels; do not change it."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """The function ``write_tiny_model``, for fixtures that are shared by several tests."""
    return write_tiny_model


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file of one's own: ``make_model(labels=[...], metadata={...})``; see ``write_tiny_model``."""
    count = 0

    def make(**changes: Any) -> Path:
        nonlocal count
        count += 1
        return write_tiny_model(tmp_path / f"model-{count}.onnx", **changes)

    return make


@pytest.fixture
def metadata() -> dict[str, Any]:
    """The metadata object of a tiny model, to be changed at will."""
    return tiny_metadata()


@pytest.fixture
def locator_metadata() -> dict[str, Any]:
    """The metadata object of a tiny locator, to be changed at will."""
    return tiny_locator_metadata()


@pytest.fixture
def without_root() -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    """``with without_root(folder):`` runs what stands in it in that folder, without root's right to read everything."""
    return _without_root


@contextlib.contextmanager
def _without_root(folder: Path) -> Iterator[None]:
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions are POSIX's")
    folder.chmod(0o755)
    with contextlib.chdir(folder):
        mine = os.geteuid()
        if mine == 0:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(mine)


@pytest.fixture
def held_spill(monkeypatch):
    """A disk that takes nothing of a prediction log until this is set."""
    from fulldeck.monitoring.spill import Spill

    free = threading.Event()
    append = Spill.append

    def wait_first(spill, records):
        assert free.wait(20)
        append(spill, records)

    monkeypatch.setattr(Spill, "append", wait_first)
    yield free
    free.set()
