import numpy as np
import pytest

from fulldeck.errors import ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.seal import seal


def test_it_runs(tiny_model):
    classifier = Classifier(tiny_model)
    batch = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    probabilities, embedding = classifier.run(batch)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (3, 53))
    assert (embedding.dtype, embedding.shape) == (np.float32, (3, 3))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert classifier.info.size == 32


def test_threads_do_not_change_the_answer(tiny_model):
    batch = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    one, _ = Classifier(tiny_model, threads=1).run(batch)
    two, _ = Classifier(tiny_model, threads=2).run(batch)
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_size_that_is_free_in_the_graph_or_another_one(make_model, metadata):
    metadata["size"] = 48
    with pytest.raises(ModelError, match=r"its input is not 'images', uint8 \[N, 48, 48, 3\]"):
        Classifier(make_model(metadata=metadata))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx: there is no such model file"):
        Classifier(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="this is no file"):
        Classifier(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08", b"PK\x03\x04", bytes(1000), b"\xff" * 1000])
def test_what_is_no_onnx(tmp_path, content, capfd):
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"text\.onnx: this is no ONNX model, or a truncated one") as caught:
        Classifier(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_model(tmp_path, tiny_model, share):
    path = tmp_path / "cut.onnx"
    data = tiny_model.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=r"cut\.onnx: "):
        Classifier(path)


def test_a_model_of_somebody_else(make_model):
    with pytest.raises(ModelError, match="this ONNX file has no fulldeck metadata"):
        Classifier(make_model(metadata=""))


def test_another_schema_version(make_model, metadata):
    metadata["schema"] = 2
    with pytest.raises(ModelError, match="it has model schema 2, and this fulldeck reads schema 1"):
        Classifier(make_model(metadata=metadata))


def test_more_probabilities_than_labels(make_model):
    with pytest.raises(ModelError, match="it has 53 labels for 54 probabilities"):
        Classifier(make_model(outputs=54))


def test_another_input(make_model):
    with pytest.raises(ModelError, match="its input is not 'images'"):
        Classifier(make_model(input_name="pixels"))


def test_another_output(tmp_path, tiny_model):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_model)
    del model.graph.output[1]
    (tmp_path / "one.onnx").write_bytes(seal(model.SerializeToString()))
    with pytest.raises(ModelError, match="it has no output 'embedding'"):
        Classifier(tmp_path / "one.onnx")
