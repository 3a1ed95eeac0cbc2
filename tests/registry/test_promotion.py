"""From the command line: register, list, compare, promote, refuse, force, roll back, pull; and what is kept of it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from click.testing import CliRunner

from fulldeck.cards import LABELS
from fulldeck.cli import main
from fulldeck.data.manifest import content_hash
from fulldeck.data.no_card import no_card
from fulldeck.data.render import render
from fulldeck.inference.classifier import Classifier
from fulldeck.registry import promotion
from fulldeck.registry.champions import change_champion, history
from fulldeck.registry.frozen import load
from fulldeck.registry.rules import read_rules
from fulldeck.registry.store import RegistryError, current_aliases, find, open_registry


@pytest.fixture(scope="session")
def small_gate(tmp_path_factory):
    """A gate file with few images."""
    folder = tmp_path_factory.mktemp("gate")
    render(folder / "deck", decks=1, per_card=1, seed=12)
    no_card(folder / "no-card", train=0, test=1, seed=3)
    deck, empty = folder / "deck" / "train", folder / "no-card" / "test"
    rules = {
        "confidence": 0.95,
        "labelled": {"a deck": {"folder": str(deck), "sha256": content_hash(deck), "margin": 0.06}},
        "no_card": {"folder": str(empty), "sha256": content_hash(empty), "margin": 0.25},
        "corrupted": {
            "of": "a deck",
            "images": 53,
            "severity": 1,
            "families": ["jpeg"],
            "margin": 0.06,
            "most": 0.06,
        },
        "behaviour": {"of": "a deck", "images": 5, "most": 0.1},
        "most": {
            "rank": 0.1,
            "suit": 0.1,
            "ece": 0.05,
            "accepted": 0.1,
            "wrong": 0.1,
            "latency": 5,  # of models that take microseconds
            "size": 1.5,
        },
    }
    path = folder / "gate.yaml"
    path.write_text(yaml.safe_dump(rules))
    return path


@pytest.fixture
def fulldeck(uri, small_gate, tmp_path, monkeypatch):
    """Run a command of the registry in an empty folder; returns its exit code and all that it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    def run(command, *arguments):
        gate = ["--gate", str(small_gate)] if command in {"compare", "promote"} else []
        result = CliRunner().invoke(main, ["registry", command, *map(str, arguments), *gate])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


@pytest.fixture
def model(make_model, metadata):
    """Write a model that says where it comes from."""

    def make(version, **changes):
        described = metadata | {"version": version, "commit": "c" * 40, "config": {"seed": 1}, "data_hash": "d" * 64}
        return make_model(seed=changes.pop("seed", 1), metadata=described | changes)

    return make


def test_a_life(fulldeck, model, uri, tmp_path):
    assert fulldeck("list") == (0, "")
    code, said = fulldeck("register", model("one"))
    assert (code, "challenger" in said) == (0, True)

    code, said = fulldeck("compare")
    assert (code, said.startswith("compared: version 1 (one), against the one in the package; ")) == (0, True)

    # Against the champion in the package a model that knows nothing has no chance, unless somebody insists.
    code, said = fulldeck("promote")
    assert code == 1
    assert said.startswith("refused: version 1 (one), against the one in the package; ")
    assert "accuracy: right on a deck: " in said
    assert current_aliases(open_registry(uri)) == {"challenger": 1}
    code, said = fulldeck("promote", "--force")
    assert (code, "--force and --reason TEXT go together" in said) == (2, True)
    code, said = fulldeck("promote", "--force", "--reason", "it is for a demonstration")
    assert (code, said.startswith("forced: version 1 (one)")) == (0, True)
    assert "forced promotion, done, by " in fulldeck("show")[1]
    assert "it is for a demonstration" in fulldeck("show")[1]

    # One that answers alike is let in, one that does not is not.
    fulldeck("register", model("two", created="2026-01-01T00:00:00Z"))
    code, said = fulldeck("compare")
    assert (code, said.startswith("compared: version 2 (two), against version 1; ")) == (0, True)
    assert current_aliases(open_registry(uri)) == {"champion": 1, "challenger": 2}
    code, said = fulldeck("promote")
    assert (code, said.startswith("promoted: version 2 (two), against version 1; ")) == (0, True), said
    code, said = fulldeck("promote", "2")
    assert (code, said) == (1, "Error: version 2 of fulldeck is the champion already\n")
    fulldeck("register", model("three", labels=[*LABELS[1:], LABELS[0]]))
    code, said = fulldeck("promote")
    assert (code, "labels: they are in another order: column 0 is 'ace of diamonds'" in said) == (1, True)
    code, listed = fulldeck("list")
    assert [line.split()[:3] for line in listed.splitlines()] == [
        ["1", "previous", "one"],
        ["2", "champion", "two"],
        ["3", "challenger", "three"],
    ]
    assert [line.split()[-1] for line in listed.splitlines()] == ["forced", "promoted", "refused"]
    assert "the gate's reasons against it:" not in fulldeck("show", "2")[1]

    # The way back.
    assert fulldeck("rollback", "--reason", "it fails on jokers") == (
        0,
        "version 1 is the champion again, in place of version 2\n",
    )
    code, said = fulldeck("pull")
    assert (code, said.startswith("model.onnx: version 1, SHA-256 ")) == (0, True)
    assert Classifier(tmp_path / "model.onnx").info.version == "one"
    kinds = [(change.kind, change.outcome) for change in history(open_registry(uri))]
    assert kinds == [("forced promotion", "done"), ("promotion", "done"), ("rollback", "done")]


def test_every_decision_is_kept_with_its_page(fulldeck, model, uri, tmp_path):
    fulldeck("register", model("one"))
    fulldeck("promote", "--out", "page")
    registry = open_registry(uri)
    version = registry.client.get_model_version("fulldeck", "1")
    assert version.tags["gate"] == "refused"
    [first, *_] = json.loads(version.tags["gate.reasons"])
    assert first.split(":")[0] in {"latency", "size", "accuracy"}
    record = registry.client.get_run(version.tags["gate.record"])
    kept = {artifact.path for artifact in registry.client.list_artifacts(record.info.run_id)}
    assert kept == {"decision.html", "decision.json"}
    page = (tmp_path / "page" / "decision.html").read_text()
    assert "Refused" in page
    assert page.count("<img") > 10
    decision = json.loads((tmp_path / "page" / "decision.json").read_text())
    assert decision["rules"]["confidence"] == 0.95
    assert "the gate's reasons against it:" in fulldeck("show", "1")[1]


def test_who_is_overtaken_is_not_kept_as_promoted(fulldeck, model, registry, small_gate, monkeypatch):
    for number, name in enumerate(("one", "two", "three"), 1):
        fulldeck("register", model(name, created=f"2026-01-0{number}T00:00:00Z"))
    change_champion(registry, old=None, new=1, kind="promotion", reason="a start")

    def slowly(rules):
        change_champion(registry, old=1, new=2, kind="promotion", reason="it was faster")
        return load(rules)

    monkeypatch.setattr(promotion, "load", slowly)
    with pytest.raises(RegistryError, match="and the champion is version 2 by now"):
        promotion.promote(registry, "3", read_rules(small_gate), Path("page"))
    assert current_aliases(registry)["champion"] == 2
    assert find(registry, "3").gate == "refused"
    assert "  champion: the champion was not changed: version 3 was compared with version 1" in fulldeck("show", "3")[1]
    assert "Refused" in Path("page/decision.html").read_text()
    record = registry.client.get_run(registry.client.get_model_version("fulldeck", "3").tags["gate.record"])
    assert (record.info.run_name, record.data.tags["gate"]) == ("gate: version 3 refused", "refused")
    kept = registry.client.download_artifacts(record.info.run_id, "decision.json", ".")
    assert json.loads(Path(kept).read_text())["verdict"] == "refused"


def test_a_password_is_on_no_page(fulldeck, model, uri, small_gate, tmp_path):
    fulldeck("register", model("one"))
    registry = replace(open_registry(uri), uri="postgresql://me:secret@db/mlflow")
    promotion.compare(registry, "1", "1", read_rules(small_gate), tmp_path / "page")
    for name in ("decision.html", "decision.json"):
        text = (tmp_path / "page" / name).read_text()
        assert "postgresql://db/mlflow" in text
        assert "secret" not in text


def test_a_file_that_was_changed_is_refused_and_cannot_be_forced(fulldeck, model, uri):
    fulldeck("register", model("one"))
    stored = find(open_registry(uri), "1").source.removeprefix("file://") + "/model.onnx"
    with open(stored, "r+b") as file:  # noqa: PTH123
        file.seek(200)
        file.write(b"!")
    for arguments in ((), ("--force", "--reason", "I know it")):
        code, said = fulldeck("promote", *arguments)
        assert (code, said.startswith("refused: version 1 (one)")) == (1, True)
        assert "file: version 1 of fulldeck is not the file that was registered" in said
    code, said = fulldeck("pull", "1")
    assert (code, "is not the file that was registered" in said) == (1, True)
    assert "champion" not in current_aliases(open_registry(uri))


@pytest.mark.slow
def test_the_same_on_a_server(fulldeck, uri, model, tmp_path, monkeypatch):
    """A real MLflow server, which keeps the files too; nobody but it touches the database."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    storage = ["--backend-store-uri", uri, "--artifacts-destination", str(tmp_path / "served")]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *storage],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # four more processes
        start_new_session=True,
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                with urlopen(f"{address}/health", timeout=2):
                    break
            except OSError:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline
                time.sleep(0.3)
        assert fulldeck("register", model("one"))[0] == 0
        assert "forced: version 1" in fulldeck("promote", "--force", "--reason", "a start")[1]
        assert fulldeck("register", model("two", threshold=0.51))[0] == 0
        code, said = fulldeck("promote")
        assert (code, "promoted: version 2" in said) == (0, True), said
        start = time.monotonic()
        assert "version 1 is the champion again" in fulldeck("rollback")[1]
        assert time.monotonic() - start < 60  # seconds on a machine that is free
        code, said = fulldeck("pull", "--out", "served.onnx")
        assert (code, bool(re.search(r"served\.onnx: version 1, SHA-256 [0-9a-f]{64}", said))) == (0, True), said
        assert Classifier(tmp_path / "served.onnx").info.version == "one"
        assert list((tmp_path / "served").rglob("model.onnx"))
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
