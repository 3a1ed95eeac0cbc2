import errno
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from fulldeck.cli import main
from fulldeck.data.dataset import to_float
from fulldeck.errors import ConfigError, DataError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.seal import check_seal
from fulldeck.training import compress as compressing
from fulldeck.training.compress import compress
from fulldeck.training.export import export
from fulldeck.training.from_model import start_from_model
from fulldeck.training.module import CardModule
from fulldeck.training.teacher import load_teacher

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


PRECISIONS = ("int8", "half", "float", "int8-weights")


@pytest.fixture(scope="module")
def data(colours, tmp_path_factory):
    """The three colours as a dataset with a train split."""
    folder = tmp_path_factory.mktemp("colours")
    shutil.copytree(colours, folder / "train")
    return folder


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    return Path(export(trained.folder, tmp_path_factory.mktemp("models") / "colours.onnx").model)


@pytest.fixture(scope="module")
def made(model, data, tmp_path_factory):
    """The reports of all precisions; do not change their files."""
    folder = tmp_path_factory.mktemp("compressed")
    return {
        precision: compress(model, folder / f"{precision}.onnx", data, precision=precision, cache=folder / "cache")
        for precision in PRECISIONS
    }


def operators(report):
    return {node.op_type for node in onnx.load(report.model).graph.node}


def weights(report, kind):
    """The kernels of more than one dimension that a file stores as some kind of number."""
    return [each for each in onnx.load(report.model).graph.initializer if each.data_type == kind and len(each.dims) > 1]


def test_int8_computes_in_eight_bits(made):
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(made["int8"])
    kernels = weights(made["int8"], onnx.TensorProto.INT8)
    assert len(kernels) >= 5
    assert not {"QuantizeLinear"} & operators(made["half"])


def test_each_channel_of_a_kernel_has_its_own_scale(made):
    graph = onnx.load(made["int8"].model).graph
    sizes = {each.name: each.dims for each in graph.initializer}
    kernels = [
        node for node in graph.node if node.op_type == "DequantizeLinear" and len(sizes.get(node.input[0], ())) == 4
    ]
    assert kernels
    assert all(list(sizes[node.input[1]]) == [sizes[node.input[0]][0]] for node in kernels)


def test_half_stores_in_sixteen(made):
    assert weights(made["half"], onnx.TensorProto.FLOAT16)
    assert made["half"].megabytes < 0.75 * made["float"].megabytes
    assert made["half"].largest_difference < 0.02


def test_weights_of_eight_bits_compute_in_float(made):
    report = made["int8-weights"]
    assert weights(report, onnx.TensorProto.INT8)
    assert not {"QuantizeLinear", "DequantizeLinear"} & operators(report)
    assert report.megabytes < made["half"].megabytes
    assert 0 < report.divergence < 0.01


def test_what_starts_from_weights_of_eight_bits_answers_as_they_do(made):
    classifier = Classifier(made["int8-weights"].model, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    images = to_float(torch.from_numpy(pixels))
    module = CardModule(classifier.info.name, classifier.info.labels, pretrained=False)
    start_from_model(module, classifier.path, [images])
    module.eval()
    with torch.no_grad():
        ours = torch.softmax(module(images) / classifier.info.temperature, 1).numpy()
    assert np.abs(ours - classifier.run(pixels)[0]).max() < 1e-4


def test_what_was_left_in_float_is_what_was_measured(made):
    report = made["int8"]
    assert report.attempts["+".join(report.float_layers)] == pytest.approx(report.divergence, rel=0.05, abs=1e-6)
    assert len(report.attempts) == 4


@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_answers_as_the_model_does(made, precision):
    report = made[precision]
    assert report.images == 24
    assert report.same_label >= 0.98 * report.images
    assert report.source_right >= 20
    assert abs(report.right - report.source_right) <= 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_is_a_model_file_of_its_own(made, model, precision):
    report = made[precision]
    before, after = Classifier(model, threads=1).info, Classifier(report.model, threads=1).info
    check_seal(Path(report.model).read_bytes(), report.model)
    assert after.version == report.version
    assert after.config["compression"]["of"] == before.version == report.source_version
    assert after.config["compression"]["precision"] == precision
    kept = ("labels", "size", "temperature", "threshold", "data_hash", "reference", "metrics")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert len({each.version for each in made.values()} | {before.version}) == 1 + len(PRECISIONS)


def test_any_number_of_images_at_once(made):
    batch = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    classifier = Classifier(made["int8"].model, threads=1)
    together, _ = classifier.run(batch)
    alone = np.concatenate([classifier.run(image[None])[0] for image in batch])
    assert np.allclose(together, alone, atol=1e-4)


def test_the_report_lies_beside_the_file(made):
    for report in made.values():
        written = json.loads(Path(report.model).with_suffix(".parity.json").read_text())
        assert written == json.loads(json.dumps(asdict(report)))


def test_the_graph_may_be_stored_optimised(model, made, data, tmp_path):
    report = compress(model, tmp_path / "fast.onnx", data, precision="int8", optimised=True, cache=tmp_path)
    assert "QLinearConv" in operators(report)
    assert report.version != made["int8"].version
    assert report.same_label >= 0.98 * report.images
    assert report.optimised


def test_the_command(model, data, tmp_path, monkeypatch):
    shutil.copy(model, tmp_path / "colours.onnx")
    monkeypatch.chdir(tmp_path)  # the cache of decoded images is made here
    done = CliRunner().invoke(main, ["compress", "colours.onnx", "--precision", "half", "--data", str(data)])
    assert done.exit_code == 0, done.output
    assert "same label 24" in done.output
    assert Classifier(tmp_path / "colours-half.onnx").info.labels == ("blue", "green", "red")


def test_a_teacher_must_compute_in_float(made):
    batches = [torch.rand(2, 3, 32, 32)]
    for precision in ("half", "float", "int8-weights"):
        assert load_teacher(Path(made[precision].model), ("blue", "green", "red"), batches).size == 32
    with pytest.raises(
        ConfigError, match=r"teacher=.*int8\.onnx computes in 8 bits; take .*: " + made["int8"].source_version
    ):
        load_teacher(Path(made["int8"].model), ("blue", "green", "red"), batches)


# What is refused


def test_a_model_that_is_compressed_already(made, data, tmp_path):
    with pytest.raises(ModelError, match="computes in 8 bits already; take the model that it was made from"):
        compress(made["int8"].model, tmp_path / "twice.onnx", data, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
    for stored in ("half", "int8-weights"):  # which still compute in float32
        again = compress(made[stored].model, tmp_path / "again.onnx", data, cache=tmp_path / "cache")
        assert Classifier(again.model, threads=1).info.config["compression"]["of"] == made[stored].version


def test_the_model_itself_as_the_file_to_write(model, data, tmp_path):
    before = model.read_bytes()
    with pytest.raises(ConfigError, match="is the model itself"):
        compress(model, model, data, cache=tmp_path)
    with pytest.raises(ConfigError, match="is a folder"):
        compress(model, tmp_path, data, cache=tmp_path)
    assert model.read_bytes() == before


def test_a_file_that_cannot_be_written_is_refused_before_the_work(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        ConfigError, match=r"file/out\.onnx cannot be written \(.*file is no folder\): name another file with --out"
    ):
        compress(model, tmp_path / "file" / "out.onnx", tmp_path / "absent", cache=tmp_path)


def test_a_disk_that_fills_up_leaves_nothing_behind(model, data, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(compressing, "write_model", full)
    with pytest.raises(ConfigError, match=r"out\.onnx cannot be written \(No space left"):
        compress(model, tmp_path / "out" / "out.onnx", data, precision="float", cache=tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_data_of_other_labels(model, data, tmp_path):
    shutil.copytree(data / "train" / "red", tmp_path / "train" / "mauve")
    with pytest.raises(DataError, match="does not know: mauve"):
        compress(model, tmp_path / "out.onnx", tmp_path, cache=tmp_path / "cache")


def test_data_that_is_not_there(model, tmp_path):
    done = CliRunner().invoke(main, ["compress", str(model), "--data", str(tmp_path / "absent")])
    assert done.exit_code == 1
    assert "absent" in done.output
    assert "Traceback" not in done.output


def test_what_does_not_answer_as_the_model_does_is_not_left_behind(model, data, tmp_path, monkeypatch):
    """Half precision gone wrong: every weight is lost."""

    def lose(graph):
        for tensor in graph.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim > 1:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(values), tensor.name))

    monkeypatch.setattr(compressing, "store_half", lose)
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="was not written: it gives"):
        compress(model, out / "model.onnx", data, precision="half", cache=tmp_path / "cache")
    assert list(out.iterdir()) == []
