"""Importing costs nothing: no torch, no network, no file written; and rooms import one way only."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "lightning", "timm", "matplotlib", "sklearn", "hydra")

PROBE = """
import sys

def forbid(event, arguments):
    if event in {{"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname"}}:
        raise SystemExit(f"the import asks the network: {{event}} {{arguments}}")
    if event == "open":
        path, mode, flags = arguments
        if flags & 3 or mode and set(mode) & set("wax+"):  # O_WRONLY or O_RDWR
            raise SystemExit(f"the import writes a file: {{path}}")
    if event in {{"os.mkdir", "os.rename", "os.remove"}}:
        raise SystemExit(f"the import changes the disk: {{event}} {{arguments}}")

sys.addaudithook(forbid)
{statement}
heavy = sorted(set({heavy}) & set(sys.modules))
if heavy:
    raise SystemExit(f"the import loads {{', '.join(heavy)}}")
"""

STATEMENTS = {
    "fulldeck": ("import fulldeck", ()),
    "the door": ("from fulldeck import Recognizer, Prediction", ()),
    "fulldeck.inference": ("import fulldeck.inference", ()),
    "fulldeck.inference.recognizer": ("import fulldeck.inference.recognizer, fulldeck.inference.answers", ()),
    "fulldeck.cli": ("import fulldeck.cli", ()),
    "fulldeck.serving": ("import fulldeck.serving", ()),
    "fulldeck.serving.app": ("import fulldeck.serving.app", ("starlette", "prometheus_client")),
}


def probe(statement, cwd, heavy=HEAVY):
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    return subprocess.run(
        [sys.executable, "-c", PROBE.format(statement=statement, heavy=heavy)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        # The interpreter's own cache of compiled modules is no file of ours.
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(cwd)},
    )


@pytest.mark.parametrize("name", STATEMENTS)
def test_an_import_is_free(name, tmp_path):
    statement, needs = STATEMENTS[name]
    for module in needs:
        pytest.importorskip(module)
    module = statement.split()[1].rstrip(",")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not there")
    result = probe(statement, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_fulldeck_itself_loads_neither_onnx_runtime_nor_opencv(tmp_path):
    for statement in ("import fulldeck", "import fulldeck.cli"):
        result = probe(statement, tmp_path, ("onnxruntime", "cv2", "numpy", "rich", "PIL"))
        assert result.returncode == 0, result.stderr


def test_classifying_a_jpeg_loads_no_torch_and_leaves_nothing_behind(tiny_model, tmp_path):
    cv2 = pytest.importorskip("cv2")
    np = pytest.importorskip("numpy")
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((40, 40, 3), 90, np.uint8))
    home = tmp_path / "home"
    home.mkdir()
    arguments = ["classify", "--json", "--model", str(tiny_model), str(tmp_path / "a.jpg")]
    statement = f"from fulldeck.cli import main; main({arguments!r}, standalone_mode=False)"
    code = f"import sys\n{statement}\nprint(sorted(set({(*HEAVY, 'PIL', 'rich')}) & set(sys.modules)))"
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**environment, "HOME": str(home)}
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert list(home.iterdir()) == []  # ONNX Runtime's telemetry would leave its device id here


@pytest.mark.slow
def test_training_does_not_load_what_measures_a_model():
    for module in ("lightning", "timm", "hydra", "sklearn"):
        pytest.importorskip(module)
    statement = "import sys, fulldeck.training.train; print(*{'sklearn', 'pandas'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_the_probe_sees_what_it_must(tmp_path):
    assert "writes a file" in probe("open('a', 'w')", tmp_path).stderr
    assert "asks the network" in probe("import socket; socket.create_connection(('127.0.0.1', 9))", tmp_path).stderr
    assert "loads json" in probe("import json", tmp_path, ("json",)).stderr


def test_a_service_loads_its_database_only_when_it_has_something_to_write(tmp_path):
    result = probe("import fulldeck.serving.server", tmp_path, ("sqlalchemy", "alembic", "psycopg", "filelock"))
    assert result.returncode == 0, result.stderr


FORBIDDEN = {
    "bench": ("data", "inference", "training", "serving", "ui", "registry", "monitoring"),
    "cards.py": ("data", "inference", "training", "serving", "ui", "registry", "monitoring"),
    "inference": ("data", "training", "serving", "ui", "monitoring", "registry"),
    "monitoring": ("data", "training", "serving", "ui"),
    "data": ("training", "serving", "ui", "registry"),
    "registry": ("serving", "ui", "monitoring"),
    "serving": ("data", "training", "ui"),
}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_import_one_way(room):
    package = Path(__file__).parent.parent / "src" / "fulldeck"
    files = [package / room] if room.endswith(".py") else sorted((package / room).rglob("*.py"))
    for file in files:
        text = file.read_text(encoding="utf-8")
        for other in FORBIDDEN[room]:
            for statement in (f"from fulldeck.{other}", f"import fulldeck.{other}", f"from fulldeck import {other}"):
                assert statement not in text, f"{file.name} reaches up: {statement}"
