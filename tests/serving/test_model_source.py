import errno
import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

from fulldeck.errors import ModelError
from fulldeck.inference.model_file import METADATA_KEY, champion_path
from fulldeck.inference.seal import seal
from fulldeck.serving import model_source
from fulldeck.serving.model_source import open_model


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copyfile(tiny_model, tmp_path / "tiny.onnx")


@pytest.fixture
def bucket():
    """Google Cloud Storage's emulator: ``bucket(name, data)`` puts a file into it and returns its address."""
    server = pytest.importorskip("gcp_storage_emulator.server").create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", "http://{}:{}".format(*server._api._httpd.server_address))
        patch.setenv("NO_GCE_CHECK", "true")
        gcsfs = pytest.importorskip("gcsfs")
        gcsfs.GCSFileSystem.clear_instance_cache()  # one that knows an emulator which is gone would wait for it
        storage = gcsfs.GCSFileSystem(token="anon", skip_instance_cache=True)
        storage.mkdir("models")

        def put(name, data):
            storage.pipe(f"models/{name}", data)
            return f"gs://models/{name}"

        yield put
    server.stop()


@pytest.fixture
def make_graph(metadata, tmp_path):
    """Write a model, sealed and of the right form, which has the mean colour for logits and ends with these nodes."""
    onnx = pytest.importorskip("onnx")
    helper, numbers = onnx.helper, onnx.numpy_helper

    def value(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, ["N", *shape])

    def make(*nodes, **constants):
        constants["weights"] = np.ones((3, 53), np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("Cast", ["images"], ["float"], to=onnx.TensorProto.FLOAT),
                helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
                helper.make_node("Gemm", ["mean", "weights"], ["logits"]),
                helper.make_node("Softmax", ["logits"], ["softmax"], axis=1),
                *(helper.make_node(*node) for node in nodes),
            ],
            "made",
            [value("images", onnx.TensorProto.UINT8, (32, 32, 3))],
            [value("probabilities", onnx.TensorProto.FLOAT, [53]), value("embedding", onnx.TensorProto.FLOAT, [3])],
            [numbers.from_array(np.asarray(number), name) for name, number in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata)})
        file = tmp_path / "made.onnx"
        file.write_bytes(seal(model.SerializeToString()))
        return file

    return make


def test_a_file(model):
    assert open_model(str(model)).info.name == "tiny"


@pytest.mark.skipif(not champion_path().exists(), reason="no champion is shipped yet")
def test_the_champion():
    assert open_model(None).info == open_model("champion").info == open_model("").info


SAME = ("Identity", ["mean"], ["embedding"])
NAN = np.float32(np.nan)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("Mul", ["softmax", "factor"], ["probabilities"]), SAME], {"factor": NAN}),
        ([("Mul", ["softmax", "factor"], ["probabilities"]), SAME], {"factor": np.float32([NAN] + [1] * 52)}),
        ([("Mul", ["softmax", "factor"], ["probabilities"]), SAME], {"factor": np.float32(100)}),
        ([("Identity", ["softmax"], ["probabilities"]), ("Mul", ["mean", "factor"], ["embedding"])], {"factor": NAN}),
    ],
    ids=["no number", "one is no number", "no probabilities", "the embedding is no number"],
)
def test_a_model_whose_answer_is_none(make_graph, nodes, constants):
    with pytest.raises(ModelError, match=r"made\.onnx: the model gives no probabilities for a picture of a card"):
        open_model(str(make_graph(*nodes, **constants)))


def test_a_model_that_cannot_be_run(make_graph):
    file = make_graph(("Reshape", ["softmax", "form"], ["probabilities"]), SAME, form=np.int64([7, 53]))
    with pytest.raises(ModelError, match=r"made\.onnx: the model does not name a picture of a card") as refused:
        open_model(str(file))
    assert "\n" not in str(refused.value)


def test_a_file_with_its_hash_behind_it(model):
    assert open_model(f"{model}#sha256={sha256(model)}").info.name == "tiny"
    assert open_model(f"{model}#sha256={sha256(model).upper()}").info.name == "tiny"
    with pytest.raises(ModelError, match="was to be 0000"):
        open_model(f"{model}#sha256={'0' * 64}")


@pytest.mark.parametrize("given", ["", "00", "x" * 64])
def test_what_is_no_hash_is_not_passed_over(model, given):
    """As where a variable that was to hold it is empty: the file beside it does not stand in for it."""
    model.with_name("tiny.onnx.sha256").write_text(sha256(model))
    with pytest.raises(ModelError, match="is no SHA-256"):
        open_model(f"{model}#sha256={given}")


def test_a_file_with_its_hash_beside_it(model):
    beside = model.with_name("tiny.onnx.sha256")
    beside.write_text(f"{sha256(model)}  tiny.onnx\n")
    assert open_model(str(model)).info.name == "tiny"
    beside.write_text(f"{'0' * 64}  tiny.onnx\n")
    with pytest.raises(ModelError, match=r"tiny\.onnx: its SHA-256"):
        open_model(str(model))
    beside.write_text("nonsense\n")
    with pytest.raises(ModelError, match=r"tiny\.onnx\.sha256: there is no SHA-256 in it"):
        open_model(str(model))


def test_a_copy_has_its_locator_too_and_leaves_nothing_behind(model, tiny_locator):
    table = np.full((192, 320, 3), 128, np.uint8)
    table[60:116, 100:140] = (250, 10, 10)
    shutil.copyfile(tiny_locator, model.with_name("locator.onnx"))
    recognizer = open_model(f"{model}#sha256={sha256(model)}")
    assert recognizer.locator_path.parent != model.parent
    folder = recognizer.locator_path.parent
    assert len(recognizer.locate(table)) == 1
    assert folder.exists()  # for who reads it, too
    del recognizer
    gc.collect()
    assert not folder.exists()


def test_copies_of_a_process_that_was_killed_are_removed_and_those_of_one_that_lives_are_not(
    model, tmp_path, monkeypatch
):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    living = open_model(str(model))
    code = (
        "import os, sys; from fulldeck.serving.model_source import open_model\n"
        "model = open_model(sys.argv[1]); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, str(model)]
    assert subprocess.run(command, env=os.environ | {"TMPDIR": str(folder)}, check=False).returncode == -9
    [left] = set(folder.iterdir()) - {living.classifier.path.parent}
    long_ago = time.time() - 3600
    for each in folder.iterdir():
        os.utime(each, (long_ago, long_ago))
    another = open_model(str(model))
    assert not left.exists()
    assert living.classifier.path.exists()
    assert another.classifier.path.exists()


@pytest.mark.parametrize("there", ["broken", "a classifier", "a folder"])
def test_a_locator_that_cannot_be_used_is_named(model, there):
    locator = model.with_name("locator.onnx")
    if there == "a folder":
        locator.mkdir()
    else:
        locator.write_bytes(b"broken" if there == "broken" else model.read_bytes())
    with pytest.raises(ModelError) as refused:
        open_model(str(model))
    assert str(refused.value).startswith(f"{locator}: ")


@pytest.mark.parametrize("source", ["no/such.onnx", "no/such.onnx#sha256=00"])
def test_no_such_file(source):
    with pytest.raises(ModelError, match=r"no/such\.onnx: there is no such model file"):
        open_model(source)


def test_an_address_in_the_cloud(bucket, tiny_model, make_model, metadata):
    address = bucket("a.onnx", tiny_model.read_bytes())
    assert open_model(address).info.version == "0.0.1"
    bucket("a.onnx.sha256", f"{sha256(tiny_model)}  a.onnx\n".encode())
    assert open_model(address).info.version == "0.0.1"
    other = make_model(metadata=metadata | {"version": "0.0.2"})
    bucket("a.onnx", other.read_bytes())
    with pytest.raises(ModelError, match=r"gs://models/a\.onnx: its SHA-256"):
        open_model(address)
    assert open_model(f"{address}#sha256={sha256(other)}").info.version == "0.0.2"


def test_an_address_at_which_there_is_nothing_of_use(bucket):
    with pytest.raises(ModelError, match=r"gs://models/no\.onnx: there is no such model file"):
        open_model("gs://models/no.onnx")
    with pytest.raises(ModelError, match="seal"):
        open_model(bucket("broken.onnx", b"no model"))
    with pytest.raises(ModelError, match="nowhere://a/b: it cannot be read"):
        open_model("nowhere://a/b")


def test_an_address_that_nothing_installed_opens(monkeypatch):
    def missing(_):
        raise ImportError("Please install gcsfs to access Google Storage") from ModuleNotFoundError(name="gcsfs")

    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ModelError, match=r"^a model at s3://models/a\.onnx needs s3fs: pip install s3fs$"):
        open_model("s3://models/a.onnx")
    monkeypatch.setattr(model_source, "open_storage", missing)
    with pytest.raises(ModelError, match=r"needs gcsfs: pip install 'fulldeck\[cloud\]'$"):
        open_model("gs://models/a.onnx")


def test_where_its_storage_fails_no_secret_of_its_address_is_shown(monkeypatch):
    def fail(address):
        raise OSError(f"403, url='{address}'")

    monkeypatch.setattr(model_source, "open_storage", fail)
    with pytest.raises(ModelError, match=r"https://host/a\.onnx: it cannot be read") as refused:
        open_model("https://me:secret@host/a.onnx?token=hush")
    assert "secret" not in str(refused.value)
    assert "hush" not in str(refused.value)


def test_without_room_for_its_copy_it_says_so(model, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    with pytest.raises(ModelError, match=r"tiny\.onnx: it cannot be copied .*No space left"):
        open_model(str(model))
