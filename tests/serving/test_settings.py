from dataclasses import fields
from pathlib import Path

import pytest

from fulldeck.errors import ConfigError
from fulldeck.serving.settings import Settings, read_settings


def test_the_environment_is_read_and_an_argument_goes_before_it(monkeypatch):
    monkeypatch.setenv("FULLDECK_MODEL", "from-env.onnx")
    monkeypatch.setenv("FULLDECK_MAX_FILES", "7")
    assert read_settings().model == "from-env.onnx"
    assert read_settings().max_files == 7
    assert read_settings(model=Path("given.onnx")).model == "given.onnx"


@pytest.mark.parametrize("value", ["many", "0", "-3"])
def test_a_setting_that_cannot_be_used_is_named(monkeypatch, value):
    monkeypatch.setenv("FULLDECK_MAX_FILES", value)
    with pytest.raises(ConfigError, match=f"FULLDECK_MAX_FILES='{value}'"):
        read_settings()


def test_every_setting_is_in_the_documentation_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    for field in fields(Settings):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `FULLDECK_{field.name.upper()}` |")]
        if isinstance(field.default, int | float):
            assert f"| {field.default:g}" in row.replace(",", "") or f"| {field.default}" in row.replace(",", ""), row


def test_origins_are_a_list_with_commas(monkeypatch):
    monkeypatch.setenv("FULLDECK_CORS_ORIGINS", "https://a.example, https://b.example,")
    assert read_settings().cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(("name", "value"), [("ACCESS", "nobody"), ("MAX_PIXELS", "100000001"), ("LOG_FORMAT", "xml")])
def test_a_word_or_number_that_is_none_of_the_allowed_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"FULLDECK_{name}", value)
    with pytest.raises(ConfigError, match=f"FULLDECK_{name}='{value}'"):
        read_settings()
