import gc
import hashlib
import shutil

import numpy as np
import pytest

from fulldeck.errors import ModelError
from fulldeck.inference.model_file import champion_path
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


def test_a_file(model):
    assert open_model(str(model)).info.name == "tiny"


@pytest.mark.skipif(not champion_path().exists(), reason="no champion is shipped yet")
def test_the_champion():
    assert open_model(None).info == open_model("champion").info


def test_a_file_with_its_hash_behind_it(model):
    assert open_model(f"{model}#sha256={sha256(model)}").info.name == "tiny"
    assert open_model(f"{model}#sha256={sha256(model).upper()}").info.name == "tiny"
    with pytest.raises(ModelError, match="was to be 0000"):
        open_model(f"{model}#sha256={'0' * 64}")


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
