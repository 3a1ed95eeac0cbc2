"""A real server whose model comes from a registry, and follows its champion."""

import signal
import sqlite3
from pathlib import Path

import httpx
import pytest

from fulldeck.errors import ModelError
from fulldeck.inference.model_file import champion_path, locator_beside
from fulldeck.registry.champions import change_champion, rollback
from fulldeck.registry.store import RegistryError, register
from fulldeck.serving.model_source import open_model
from real_server import serving
from real_users import Users


@pytest.fixture(autouse=True)
def ours(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


def promote(registry, old, new):
    change_champion(registry, old=old, new=new, kind="promotion", reason="it is better")


def served(url):
    return httpx.get(f"{url}/ready", timeout=20).json()["model"]["version"]


SOURCES = {
    "registry:champion": "v2",
    "registry:3": "v3",
    "models:/fulldeck@champion": "v2",
    "models:/fulldeck@challenger": "v3",
    "models:/fulldeck/1": "v1",
}


def test_versions_by_their_numbers_and_by_what_they_are_called(three):
    promote(three, None, 2)
    for source, version in SOURCES.items():
        recognizer = open_model(source)
        assert recognizer.info.version == version
        assert recognizer.locator_path == locator_beside(champion_path())
    for source in ("registry:previous", "registry:9", "models:/another@champion"):
        with pytest.raises(RegistryError, match="has no version"):
            open_model(source)


@pytest.mark.parametrize("source", ["registry:", "models:/fulldeck", "models:/@champion", "models:/fulldeck@"])
def test_what_names_no_version(source):
    with pytest.raises(ModelError, match="names no version"):
        open_model(source)


def test_a_file_that_is_not_the_one_that_was_registered(registry, uri, make_model):
    register(registry, make_model())
    (stored,) = Path(uri.removeprefix("sqlite:///")).parent.rglob("model.onnx")
    stored.write_bytes(make_model(seed=9).read_bytes())
    with pytest.raises(RegistryError, match="is not the file that was registered"):
        open_model("registry:1")


def test_a_service_follows_the_champion_and_drops_no_request(three, uri):
    promote(three, None, 1)
    with serving("--model", "registry:champion") as (process, url), Users(url) as users:
        assert served(url) == "v1"
        promote(three, 1, 2)
        assert served(url) == "v1"  # until it is told
        assert httpx.post(f"{url}/admin/reload", timeout=60).json()["model"]["version"] == "v2"
        users.wait_for(10)
        rollback(three, "it fails on jokers")
        process.send_signal(signal.SIGHUP)
        assert "v1" in next(line for line in process.stderr if "reloaded the model" in line)
        with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
            database.execute("DELETE FROM registered_model_aliases")
        database.close()
        refused = httpx.post(f"{url}/admin/reload", timeout=60)
        assert refused.status_code == 409
        assert "has no version 'champion' of fulldeck" in refused.json()["detail"]
        users.wait_for(10)
        assert served(url) == "v1"
    assert set(users.statuses) == {200}
