"""Locust's users on a real service."""

import re
from importlib.util import find_spec

import pytest
from click.testing import CliRunner

from fulldeck.bench.serve import BenchError, load, service
from fulldeck.cli import main
from fulldeck.serving.engine import PLACES_PER_WORKER
from real_server import serving
from sent_images import jpeg

# Not importorskip: whoever imports it has all of the process's sockets changed.
pytestmark = pytest.mark.skipif(find_spec("locust") is None, reason="locust is not installed")

KINDS = {"classify, body", "classify, form", "locate", "no image", "health"}


@pytest.fixture(scope="module")
def url(tiny_model):
    with serving("--model", str(tiny_model)) as (_, address):
        yield address


def test_every_kind_of_request_is_asked_and_answered_as_it_should_be(url, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_bytes(jpeg(1))
    report = load(url, users=4, seconds=3, images=tmp_path)
    assert report.failures == ()
    assert report.faults == 0
    *kinds, everything = report.rows
    assert {row.name for row in kinds} == KINDS
    assert everything.requests == sum(row.requests for row in kinds)
    assert everything.rate > 1
    assert all(0 < row.p50 <= row.p95 <= row.p99 for row in kinds)


def test_the_command_starts_a_service_and_prints_a_table(tiny_model):
    result = CliRunner().invoke(main, ["bench", "serve", "--model", str(tiny_model), "--users", "2", "--seconds", "2"])
    assert result.exit_code == 0, result.output
    assert re.search(r"^all +\d+ +0 +[\d.]+ +\d+ +\d+ +\d+$", result.output, re.MULTILINE), result.output


def test_who_is_turned_away_is_counted_by_the_reason_and_is_no_fault(tiny_model):
    with serving("--model", str(tiny_model), FULLDECK_WORKERS="1", FULLDECK_MAX_QUEUE="0") as (_, address):
        report = load(address, users=PLACES_PER_WORKER + 6, seconds=3)
    shed = {failure.error for failure in report.failures}
    assert shed == {"503 queue-full"}
    assert report.faults == 0
    assert report.rows[-1].failed == sum(failure.count for failure in report.failures)
    assert " x classify, body: 503 queue-full" in str(report)


def test_a_service_that_asks_for_keys_is_asked_with_one(tiny_model, tmp_path):
    keys = tmp_path / "keys.jsonl"
    key = CliRunner().invoke(main, ["keys", "add", "bench", "--file", str(keys)]).output.splitlines()[-1]
    settings = {"FULLDECK_ACCESS": "keys", "FULLDECK_RATE_PER_SECOND": "0"}
    with serving("--model", str(tiny_model), "--keys", str(keys), **settings) as (_, address):
        command = ["bench", "serve", "--url", address, "--users", "2", "--seconds", "2"]
        refused = CliRunner().invoke(main, command)
        assert refused.exit_code == 1
        assert "401 no-key" in refused.output
        let_in = CliRunner().invoke(main, [*command, "--key", key])
        assert let_in.exit_code == 0, let_in.output


def test_what_cannot_be_measured_is_told_in_a_sentence(tmp_path):
    with pytest.raises(BenchError, match=r"there is no JPEG"):
        load("http://127.0.0.1:9", users=1, seconds=1, images=tmp_path)
    with pytest.raises(BenchError, match="does a fulldeck service answer there"):
        load("http://127.0.0.1:9", users=1, seconds=1)
    with (
        pytest.raises(BenchError, match=r"did not start: .*missing.onnx: there is no such model file"),
        service("missing.onnx"),
    ):
        pass
