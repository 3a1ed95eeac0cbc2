"""Versions go in, are found, and come out as they went in, or not at all."""

import hashlib
import os
import pickle
from pathlib import Path

import pytest

from fulldeck.errors import ConfigError, ModelError
from fulldeck.inference.classifier import Classifier
from fulldeck.registry.store import RegistryError, fetch, find, open_registry, register, versions


def artifact(version):
    return Path(version.source.removeprefix("file://"))


def test_an_empty_registry(registry):
    assert versions(registry) == []
    with pytest.raises(RegistryError, match="has no version 'champion' of fulldeck: it is empty"):
        find(registry, "champion")


def test_a_version_says_what_the_file_says(registry, tiny_model):
    version = register(registry, tiny_model)
    assert version.number == 1
    assert version.aliases == ("challenger",)
    assert version.sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert version.size == tiny_model.stat().st_size
    assert version.model_version == "0.0.1"
    assert versions(registry) == [version] == [find(registry, "1")]


def test_the_same_file_twice_is_one_version(registry, tiny_model, make_model):
    register(registry, tiny_model)
    assert register(registry, make_model(seed=1)).number == 2
    again = register(registry, tiny_model)
    assert (again.number, again.aliases) == (1, ("challenger",))
    assert len(versions(registry)) == 2


def test_what_is_no_model_is_not_registered(registry, tiny_model, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(tiny_model.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        register(registry, tmp_path / "cut.onnx")
    with pytest.raises(ModelError, match="there is no such model file"):
        register(registry, tmp_path / "none.onnx")
    assert versions(registry) == []


def test_a_version_is_fetched_as_it_was_registered(registry, tiny_model, tmp_path):
    version = register(registry, tiny_model)
    target = fetch(registry, version, tmp_path / "new" / "model.onnx")
    assert target.read_bytes() == tiny_model.read_bytes()
    assert Classifier(target).info.version == "0.0.1"
    assert list(target.parent.iterdir()) == [target]


def test_a_place_that_cannot_be_written(registry, tiny_model, tmp_path):
    version = register(registry, tiny_model)
    for target in (tmp_path, tiny_model / "model.onnx"):
        with pytest.raises(ConfigError, match=rf"{target} cannot be written \(.+\): name another file"):
            fetch(registry, version, target)


def test_a_file_that_was_changed_in_the_registry_is_refused(registry, tiny_model, make_model, tmp_path):
    version = register(registry, tiny_model)
    stored = artifact(version) / "model.onnx"
    stored.write_bytes(make_model(seed=9).read_bytes())  # another model, well sealed
    target = tmp_path / "model.onnx"
    target.write_bytes(b"the old one")
    with pytest.raises(RegistryError, match="is not the file that was registered"):
        fetch(registry, version, target)
    assert target.read_bytes() == b"the old one"
    stored.unlink()
    with pytest.raises(RegistryError):
        fetch(registry, version, target)
    assert target.read_bytes() == b"the old one"


class Boom:
    """Unpickling it leaves a file behind."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_in_the_registry_is_never_loaded(registry, tiny_model, tmp_path):
    mark = tmp_path / "unpickled"
    evil = pickle.dumps(Boom(mark))
    version = register(registry, tiny_model)
    folder = artifact(version)
    for name in ("model.pkl", "python_model.pkl", "MLmodel"):  # what MLflow's own loaders would look for
        (folder / name).write_bytes(evil)
    fetch(registry, version, tmp_path / "out" / "model.onnx")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.onnx"]
    (folder / "model.onnx").write_bytes(evil)
    with pytest.raises(RegistryError, match="is not the file that was registered"):
        fetch(registry, version, tmp_path / "model.onnx")
    with pytest.raises(ModelError):
        register(registry, folder / "model.pkl")
    assert not mark.exists()
    pickle.loads(evil)
    assert mark.exists()  # it would have


def test_a_version_that_others_registered_is_not_used(registry, tiny_model, tmp_path):
    register(registry, tiny_model)
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(tiny_model.read_bytes())
    registry.client.create_model_version(registry.name, source=folder.as_uri())
    with pytest.raises(RegistryError, match="version 2 of fulldeck was not registered by `fulldeck registry register`"):
        fetch(registry, find(registry, "2"), tmp_path / "model.onnx")


def test_a_registry_that_is_not_there(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match=r"the registry at sqlite:///.*a\.db"):
        versions(open_registry(f"sqlite:///{tmp_path}/file/a.db"))
    with pytest.raises(RegistryError, match=r"the registry at http://127\.0\.0\.1:9 does not answer") as caught:
        versions(open_registry("http://me:secret@127.0.0.1:9"))
    assert "secret" not in str(caught.value)
    with pytest.raises(RegistryError, match="needs the Python package MySQLdb, which is not installed"):
        versions(open_registry("mysql://127.0.0.1:9/mlflow"))
