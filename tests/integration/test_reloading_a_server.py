"""A real server, real users, and its model's file changed under it: no request is dropped."""

import shutil
import signal

import httpx
import pytest

from real_server import serving
from real_users import Users


@pytest.fixture
def versions(make_model, metadata):
    return [make_model(metadata=metadata | {"version": f"0.0.{number}"}, seed=number) for number in (1, 2)]


def served(url: str) -> str:
    return httpx.get(f"{url}/ready", timeout=20).json()["model"]["version"]


def test_models_are_swapped_and_a_corrupt_one_refused_under_load(versions, tmp_path):
    file = shutil.copyfile(versions[0], tmp_path / "served.onnx")
    with serving("--model", str(file)) as (process, url):
        with Users(url) as users:
            for turn in range(4):
                shutil.copyfile(versions[turn % 2], tmp_path / "next.onnx").replace(file)
                assert httpx.post(f"{url}/admin/reload", timeout=20).status_code == 200
                users.wait_for(10)
            assert served(url) == "0.0.2"
            file.write_bytes(versions[0].read_bytes()[:500])  # as a copy that is still being written
            assert httpx.post(f"{url}/admin/reload", timeout=20).status_code == 409
            process.send_signal(signal.SIGHUP)
            assert "the old one serves on" in process.stderr.readline()
            users.wait_for(10)
            assert served(url) == "0.0.2"
            shutil.copyfile(versions[0], tmp_path / "next.onnx").replace(file)
            process.send_signal(signal.SIGHUP)
            assert "0.0.1" in process.stderr.readline()
            users.wait_for(10)
            assert served(url) == "0.0.1"
        assert set(users.statuses) == {200}
