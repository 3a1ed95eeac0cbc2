import gc
import importlib
import subprocess
import sys

import pytest

from fulldeck.serving.early import lean

STARTED = """
import sys
from fulldeck.serving.early import lean
with lean():
    from fulldeck.serving.app import create_app
    from fulldeck.serving.settings import Settings
    create_app(Settings(predictions_database="none"))
print("pydantic.v1" in sys.modules, "fastapi" in sys.modules)
"""


def test_a_service_is_put_together_without_what_it_needs_not():
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_afterwards_all_is_as_it_was(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pydantic.v1")]:
        monkeypatch.delitem(sys.modules, name)
    with lean():
        assert not gc.isenabled()
        with pytest.raises(ImportError):
            importlib.import_module("pydantic.v1")
        with lean():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert importlib.import_module("pydantic.v1").BaseModel
