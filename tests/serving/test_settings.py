from pathlib import Path

import pytest

from fulldeck.errors import ConfigError
from fulldeck.serving.settings import read_settings


def test_the_environment_is_read_and_an_argument_goes_before_it(monkeypatch):
    monkeypatch.setenv("FULLDECK_MODEL", "from-env.onnx")
    monkeypatch.setenv("FULLDECK_MAX_FILES", "7")
    assert read_settings().model == Path("from-env.onnx")
    assert read_settings().max_files == 7
    assert read_settings(model=Path("given.onnx")).model == Path("given.onnx")


@pytest.mark.parametrize("value", ["many", "0", "-3"])
def test_a_setting_that_cannot_be_used_is_named(monkeypatch, value):
    monkeypatch.setenv("FULLDECK_MAX_FILES", value)
    with pytest.raises(ConfigError, match=f"FULLDECK_MAX_FILES='{value}'"):
        read_settings()
