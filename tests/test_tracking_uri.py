from pathlib import Path

import pytest

from fulldeck.tracking_uri import artifact_location, tracking_uri


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_a_server_it_is_a_file_under_the_current_folder(tmp_path):
    assert tracking_uri() == f"sqlite:///{tmp_path.as_posix()}/mlruns/mlflow.db"
    assert (tmp_path / "mlruns").is_dir()
    assert artifact_location() == (tmp_path / "mlruns" / "artifacts").as_uri()


def test_the_environment_has_the_last_word(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000"
    assert artifact_location() is None
    assert not Path("mlruns").exists()
