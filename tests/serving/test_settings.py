from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from fulldeck.cli import main
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


NUMBERS = [field.name.upper() for field in fields(Settings) if type(field.default) in {int, float}] + ["WORKERS"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["abc", "", " ", "-1", "nan", "inf", "1e400", "9" * 30, "9" * 5000])
def test_a_number_that_cannot_be_is_named_in_one_short_sentence_that_says_what_can(monkeypatch, name, value):
    monkeypatch.setenv(f"FULLDECK_{name}", value)
    with pytest.raises(
        ConfigError, match=rf"^FULLDECK_{name}=.* cannot be used: give a (whole )?number from "
    ) as caught:
        read_settings()
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_what_may_be_none_may_be_zero(monkeypatch):
    for name in ("MAX_QUEUE", "DRAIN_SECONDS", "RATE_PER_SECOND"):
        monkeypatch.setenv(f"FULLDECK_{name}", "0")
    settings = read_settings()
    assert (settings.max_queue, settings.drain_seconds, settings.rate_per_second) == (0, 0, 0.0)


@pytest.mark.parametrize("name", ["PROCESSES", "PREDICTIONS_IMAGES"])
def test_a_switch_is_on_or_off(monkeypatch, name):
    for value, read in {"1": True, "true": True, "0": False, "off": False}.items():
        monkeypatch.setenv(f"FULLDECK_{name}", value)
        assert getattr(read_settings(), name.lower()) is read
    for value in ("", " ", "2", "maybe"):
        monkeypatch.setenv(f"FULLDECK_{name}", value)
        with pytest.raises(ConfigError, match=f"FULLDECK_{name}='{value}' cannot be used: give 1 or 0"):
            read_settings()


@pytest.mark.parametrize("name", ["MODEL", "KEYS_FILE", "PREDICTIONS_FOLDER"])
def test_an_empty_path_is_not_the_folder_in_which_the_service_runs(monkeypatch, name):
    monkeypatch.setenv(f"FULLDECK_{name}", "")
    with pytest.raises(ConfigError, match=f"FULLDECK_{name}='' cannot be used: give one, or leave it out"):
        read_settings()


@pytest.mark.parametrize(
    "value",
    ["cards.example", "https://cards.example/", "https://cards.example/page", "https://", "https://*.example", "null"],
)
def test_what_no_browser_would_name_as_an_origin_is_refused(monkeypatch, value):
    monkeypatch.setenv("FULLDECK_CORS_ORIGINS", f"https://other.example,{value}")
    with pytest.raises(ConfigError, match=r"FULLDECK_CORS_ORIGINS=.*is no origin: give such as https://"):
        read_settings()


def test_origins_with_ports_and_addresses_and_all(monkeypatch):
    for value in ("*", "http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:80", "https://xn--4ca.example"):
        monkeypatch.setenv("FULLDECK_CORS_ORIGINS", value)
        assert read_settings().cors_origins == (value,)


def test_memory_for_less_than_one_body_is_refused(monkeypatch):
    monkeypatch.setenv("FULLDECK_MAX_PENDING_BYTES", "1000")
    monkeypatch.setenv("FULLDECK_MAX_BODY_BYTES", "1001")
    with pytest.raises(ConfigError, match=r"FULLDECK_MAX_PENDING_BYTES=1000 .* FULLDECK_MAX_BODY_BYTES=1001"):
        read_settings()
    monkeypatch.setenv("FULLDECK_MAX_BODY_BYTES", "1000")
    assert read_settings().max_pending_bytes == 1000


def test_a_variable_that_an_option_reads_is_named_too():
    done = CliRunner().invoke(main, ["serve", "--port", "0"], env={"FULLDECK_LOG_FORMAT": "xml"})
    assert done.exit_code != 0
    assert "FULLDECK_LOG_FORMAT" in done.stderr
    assert "'text', 'json'" in done.stderr
