"""Schemathesis asks a real server all that its description allows, and some that it does not."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fulldeck.serving.keys import add
from real_server import serving

EXAMPLES = 10

LEFT_OUT = "positive_data_acceptance"
"""It takes any bytes for an image, as no description can say what one is."""


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="Schemathesis is not installed")
def test_it_answers_as_it_is_described(tiny_model, tmp_path):
    keys = tmp_path / "keys.jsonl"
    key = add(keys, "schemathesis", admin=True)
    settings = {"FULLDECK_ACCESS": "keys", "FULLDECK_RATE_PER_SECOND": "0"}
    with serving("--model", str(tiny_model), "--keys", str(keys), **settings) as (process, url):
        command = ["run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}", "--seed", "4"]
        command += ["--max-examples", str(EXAMPLES), "--exclude-checks", LEFT_OUT, "--continue-on-failure"]
        program = Path(sys.executable).parent / "schemathesis"
        done = subprocess.run([program, *command], check=False, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        assert "Tested: 7" in done.stdout  # the operations; a description of none would pass as well
        assert process.poll() is None
