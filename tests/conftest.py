"""A stand-in for a trained model: tiny, valid, deterministic, and without a trace of learning."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fulldeck.cards import LABELS
from fulldeck.inference.model_file import METADATA_KEY, SCHEMA
from fulldeck.inference.seal import seal

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
