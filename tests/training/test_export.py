import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from fulldeck.cli import main
from fulldeck.data.dataset import hold_out
from fulldeck.data.manifest import content_hash
from fulldeck.errors import ConfigError, DataError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import METADATA_KEY, SCHEMA
from fulldeck.inference.recognizer import Recognizer
from fulldeck.inference.seal import seal
from fulldeck.training import export as exporting
from fulldeck.training.export import data_hash, export, load_run
from fulldeck.training.train import train

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning:lightning")]


@pytest.fixture(scope="module")
def parity(trained, tmp_path_factory):
    """A run exported to a file outside its folder; do not change it."""
    return export(trained.folder, tmp_path_factory.mktemp("models") / "colours.onnx")


@pytest.fixture
def classifier(parity):
    return Classifier(parity.model, threads=1)


def metadata(file):
    [entry] = [entry for entry in onnx.load(file).metadata_props if entry.key == METADATA_KEY]
    return json.loads(entry.value)


def test_the_report_says_that_the_file_answers_as_torch_does(parity):
    assert parity.images == 12
    assert parity.same_label == 12
    assert parity.largest_difference < 1e-3
    assert 0 < parity.megabytes < 3
    assert 0.1 <= parity.temperature <= 10
    assert 0.3 <= parity.threshold <= 0.95


def test_the_report_lies_beside_the_file(parity):
    assert json.loads(Path(parity.model).with_suffix(".parity.json").read_text()) == asdict(parity)


def test_the_summary_is_for_people(parity):
    text = parity.summary()
    assert "same label on 12 of 12 images" in text
    assert f"fulldeck evaluate {parity.model}" in text


def test_uint8_in_probabilities_out(parity, classifier):
    graph = onnx.load(parity.model).graph
    [images] = graph.input
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    shape = [dimension.dim_value for dimension in images.type.tensor_type.shape.dim]
    assert shape[1:] == [32, 32, 3]
    assert images.type.tensor_type.shape.dim[0].dim_param  # any number of images
    for n in (1, 2, 7):
        batch = np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        probabilities, embedding = classifier.run(batch)
        assert probabilities.shape == (n, 3)
        assert probabilities.dtype == np.float32
        assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
        assert (probabilities >= 0).all()
        assert embedding.shape[0] == n


def test_channels_are_moved_before_pixels_are_scaled(parity):
    """Which takes a tenth less time of the whole at 192 pixels."""
    kinds = [node.op_type for node in onnx.load(parity.model).graph.node]
    assert kinds.index("Transpose") < kinds.index("Mul")


def test_the_head_is_a_pooling_and_a_product(parity):
    """And no walk over memory that counts the images, of which torch's exporter makes nine nodes."""
    kinds = [node.op_type for node in onnx.load(parity.model).graph.node]
    assert kinds[-5:] == ["GlobalAveragePool", "Reshape", "Gemm", "Div", "Softmax"]
    assert not {"Gather", "Range", "ReduceMean"}.intersection(kinds)


def test_an_image_is_answered_alone_as_among_others(classifier):
    batch = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    together, _ = classifier.run(batch)
    alone = np.concatenate([classifier.run(image[None])[0] for image in batch])
    assert np.allclose(together, alone, atol=1e-5)


def test_the_file_holds_the_trained_network_and_its_temperature(trained, classifier):
    _, module = load_run(trained.folder)
    batch = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        logits, embedding = module.embed(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255)
    probabilities, embedded = classifier.run(batch)
    assert np.allclose(torch.softmax(logits / classifier.info.temperature, 1), probabilities, atol=1e-4)
    assert np.allclose(embedding, embedded, rtol=1e-3, atol=1e-3)


def test_the_file_answers_right_by_itself(parity, colours):
    files = sorted(colours.rglob("*.png"))
    found = Recognizer(parity.model).classify(files)
    assert np.mean([one.label == file.parent.name for one, file in zip(found, files, strict=True)]) > 0.6


def test_the_metadata_is_complete(parity, trained, colours):
    info = metadata(parity.model)
    assert info["schema"] == SCHEMA
    assert info["name"] == "test_efficientnet"
    assert info["version"] == parity.version
    assert info["labels"] == ["blue", "green", "red"]
    assert info["size"] == 32
    assert info["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert info["std"] == pytest.approx([0.229, 0.224, 0.225])
    assert info["temperature"] == parity.temperature
    assert info["threshold"] == parity.threshold
    assert info["data_hash"] == content_hash(colours)
    assert info["commit"] == (json.loads((trained.folder / "environment.json").read_text())["commit"] or "unknown")
    assert info["created"].endswith("+00:00")
    assert info["config"]["trainer"]["max_epochs"] == 8
    assert info["metrics"] == trained.metrics


def test_the_reference_is_of_the_held_out_images(parity, classifier, colours):
    reference = metadata(parity.model)["reference"]
    files = sorted(colours.rglob("*.png"), key=lambda path: path.relative_to(colours).as_posix())
    targets = np.array([sorted({file.parent.name for file in files}).index(file.parent.name) for file in files])
    held = hold_out(targets, 0.25, 0)[1]
    pixels = np.stack([np.array(Image.open(files[i])) for i in held])
    _, embedding = classifier.run(pixels)
    assert np.allclose(reference["embedding_mean"], embedding.mean(0), atol=2e-3)
    assert np.allclose(reference["embedding_std"], embedding.std(0, ddof=1), atol=2e-3)
    assert reference["brightness_mean"] == pytest.approx(pixels.mean() / 255, abs=1e-4)
    assert reference["brightness_std"] > 0


def test_the_temperature_is_fitted_on_the_held_out_images(trained, parity, colours):
    """No other temperature that is allowed has a lower loss there."""
    _, module = load_run(trained.folder)
    files = sorted(colours.rglob("*.png"), key=lambda path: path.relative_to(colours).as_posix())
    targets = np.array([sorted({file.parent.name for file in files}).index(file.parent.name) for file in files])
    held = hold_out(targets, 0.25, 0)[1]
    pixels = torch.from_numpy(np.stack([np.array(Image.open(files[i])) for i in held]))
    with torch.no_grad():
        logits = module(pixels.permute(0, 3, 1, 2).float() / 255)

    def loss(temperature):
        return torch.nn.functional.cross_entropy(logits / temperature, torch.from_numpy(targets[held])).item()

    assert loss(parity.temperature) <= min(map(loss, np.geomspace(0.1, 10, 81))) + 1e-6


def test_by_default_the_file_lies_in_the_run_and_data_may_be_any(trained, colours, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    for number in range(4):
        (tmp_path / "others" / "mauve").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50, 40), (200, 60 * number, 200)).save(tmp_path / "others" / "mauve" / f"{number}.png")
    done = CliRunner().invoke(main, ["export", str(run), "--data", str(tmp_path / "others")])
    assert done.exit_code == 0, done.output
    assert "same label on 4 of 4 images" in done.output
    assert Classifier(run / "model.onnx").info.labels == ("blue", "green", "red")
    assert json.loads((run / "model.parity.json").read_text())["images"] == 4


# What is refused


def copied(trained, tmp_path, *without):
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    for name in without:
        (run / name).unlink()
    return run


def leftovers(run):
    return [path.name for path in run.iterdir() if "onnx" in path.name or "parity" in path.name]


@pytest.mark.parametrize("name", ["checkpoints/best.ckpt", "metrics.json", "config.yaml", "data.json"])
def test_an_unfinished_run_is_refused(trained, tmp_path, name):
    run = copied(trained, tmp_path, name)
    with pytest.raises(ConfigError, match=f"no finished run: {name} is missing"):
        export(run)
    assert leftovers(run) == []


def test_what_is_no_run_is_refused(tmp_path):
    done = CliRunner().invoke(main, ["export", str(tmp_path / "absent")])
    assert done.exit_code == 1
    assert "is no finished run" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None], ids=["empty", "foreign", "truncated"])
def test_a_broken_checkpoint_is_refused(trained, tmp_path, content):
    run = copied(trained, tmp_path)
    file = run / "checkpoints" / "best.ckpt"
    file.write_bytes(file.read_bytes()[:9000] if content is None else content)
    with pytest.raises(ConfigError, match=r"best\.ckpt cannot be read; it is truncated"):
        export(run)
    assert leftovers(run) == []


def test_a_checkpoint_of_another_network_is_refused(trained, tmp_path):
    run = copied(trained, tmp_path)
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("test_efficientnet", "test_resnet"))
    with pytest.raises(ConfigError, match=r"best\.ckpt holds another network"):
        export(run)


def test_images_that_have_changed_are_refused(tiny, colours, tmp_path):
    shutil.copytree(colours, tmp_path / "data")
    run = train(tiny(tmp_path / "runs", "trainer.max_epochs=1", folder=tmp_path / "data")).folder
    Image.new("RGB", (32, 32)).save(tmp_path / "data" / "red" / "0.png")
    with pytest.raises(DataError, match=r"have changed.*train again"):
        export(run)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(DataError, match="no 'train' images"):
        export(run)
    assert leftovers(run) == []


def test_parity_images_that_are_not_there_are_refused_and_nothing_is_left(trained, tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        export(trained.folder, tmp_path / "out" / "model.onnx", tmp_path / "absent")
    assert not (tmp_path / "out").exists()


def test_stored_in_half_precision_it_is_smaller_and_answers_alike(trained, parity, tmp_path):
    half = export(trained.folder, tmp_path / "half.onnx", half=True)
    whole = Path(parity.model)
    assert (tmp_path / "half.onnx").stat().st_size < 0.75 * whole.stat().st_size
    assert half.same_label == half.images
    assert half.largest_difference < 0.02
    assert half.overturned == 0
    assert half.version != parity.version


def test_weights_of_several_runs_are_averaged(trained, parity, tmp_path):
    other = copied(trained, tmp_path)
    checkpoint = torch.load(other / "checkpoints" / "best.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    (last,) = (name for name in state if name.endswith(("classifier.weight", "fc.weight")))
    own = state[last].clone()
    state[last] *= 3
    torch.save(checkpoint, other / "checkpoints" / "best.ckpt")
    made = export(trained.folder, tmp_path / "average.onnx", average=[other])
    graph = onnx.load(made.model).graph
    held = {tuple(tensor.dims): onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = held.get(tuple(own.shape), held.get(tuple(own.T.shape), np.zeros((1, 1))).T)
    np.testing.assert_allclose(weights, 2 * own, rtol=1e-5)
    (told,) = metadata(made.model)["config"]["averaged_with"]
    assert told["name"] == other.name
    alone = export(trained.folder, tmp_path / "alone.onnx", average=[trained.folder])
    assert alone.version == parity.version  # a run's average with itself


def test_runs_of_another_network_are_not_averaged(trained, tmp_path):
    other = copied(trained, tmp_path)
    (other / "data.json").write_text((other / "data.json").read_text().replace('"blue"', '"azure"'))
    with pytest.raises(ConfigError, match="holds another network, whose weights cannot be averaged with these"):
        export(trained.folder, tmp_path / "model.onnx", average=[other])


def crops(folder, colours):
    """Two colours of the three as cards, and grey noise as what is no card."""
    for label in ("blue", "red"):
        shutil.copytree(colours / label, folder / "cards" / "valid" / label)
    (folder / "others" / "valid" / "ground").mkdir(parents=True)
    for i in range(12):
        noise = np.random.default_rng(i).integers(90, 130, (32, 32, 3))
        Image.fromarray(noise.astype(np.uint8)).save(folder / "others" / "valid" / "ground" / f"{i}.png")
    return folder


def test_calibrated_on_cuts_too_it_refuses_what_is_no_card(trained, parity, colours, tmp_path):
    folder, more = crops(tmp_path / "crops", colours), crops(tmp_path / "more", colours)
    result = export(trained.folder, tmp_path / "model.onnx", crops=[folder, more])
    assert result.images == parity.images + 2 * 32
    recognizer = Recognizer(tmp_path / "model.onnx")
    accepted = [recognizer.classify(path).accepted for path in (folder / "others" / "valid" / "ground").iterdir()]
    assert sum(accepted) == 0 or result.threshold == 0.95
    assert result.threshold >= parity.threshold


def test_cuts_that_are_not_there_are_missed(trained, tmp_path):
    with pytest.raises(DataError, match="has no cards"):
        export(trained.folder, tmp_path / "model.onnx", crops=[tmp_path])


def test_what_cannot_be_written_to_is_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match=r"is a folder; name another file"):
        export(trained.folder, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/model\.onnx cannot be written"):
        export(trained.folder, tmp_path / "file" / "model.onnx")


def test_a_file_that_does_not_answer_as_torch_does_is_not_left_behind(trained, tmp_path, monkeypatch):
    usual = exporting.to_onnx

    def wrong(answering, size):
        graph = usual(answering, size)
        [bias] = [tensor for tensor in graph.graph.initializer if tensor.name.endswith("classifier.bias")]
        bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([9, 0, -9]), bias.name))
        return graph

    monkeypatch.setattr(exporting, "to_onnx", wrong)
    with pytest.raises(ModelError, match="does not answer as torch does"):
        export(trained.folder, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_or_foreign_or_older_file_is_refused(parity, tmp_path):
    whole = onnx.load(parity.model).SerializeToString()
    (tmp_path / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"truncated\.onnx: this is no ONNX model, or a truncated one"):
        Classifier(tmp_path / "truncated.onnx")
    for change, says in (({"schema": 99}, "schema 99"), ({"labels": ["one"]}, "1 labels for 3"), (None, "no fulldeck")):
        model = onnx.load(parity.model)
        info = metadata(parity.model)
        del model.metadata_props[:]
        if change:
            onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(info | change)})
        (tmp_path / "changed.onnx").write_bytes(seal(model.SerializeToString()))
        with pytest.raises(ModelError, match=says):
            Classifier(tmp_path / "changed.onnx")


def test_one_hash_of_several_datasets():
    assert data_hash({"anywhere": "ab"}) == "ab"
    both = data_hash({"a": "ab", "b": "cd"})
    assert both == data_hash({"x": "cd", "y": "ab"})
    assert len(bytes.fromhex(both)) == 32
    assert both != data_hash({"a": "ab", "b": "ce"})
