"""A real server whose user is nobody: without rights, without a home, with a package that it may not write to."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import pytest

from real_server import FULLDECK, HEAD, PART, answer, connect, serving, worker
from sent_images import jpeg

USER = 1_234_567
"""No user has this number."""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can become another user, by setpriv",
)


def as_nobody(**environment: str) -> list[str]:
    """What starts a program as that user, in an environment of its own.

    Of root's rights it keeps the one to read, as Python may lie in root's home; it may write nowhere.
    """
    kept = "-all,+dac_read_search"
    rights = [f"--{kind}={kept}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    user = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    return ["setpriv", *user, *rights, "env", "-i", *(f"{name}={value}" for name, value in environment.items())]


def version(url: str) -> str:
    found: str = httpx.get(f"{url}/ready", timeout=20).json()["model"]["version"]
    return found


def test_it_answers_logs_reloads_and_drains(make_model, metadata, tmp_path):
    model = make_model(metadata=metadata | {"version": "1"})
    after = make_model(metadata=metadata | {"version": "2"})
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, USER, USER)
    folder = volume / "state"
    body = PART + jpeg() + b"\r\n--b--\r\n"
    with serving("--model", str(model), through=as_nobody(FULLDECK_PREDICTIONS_FOLDER=str(folder))) as (process, url):
        assert set(psutil.Process(worker(process)).uids()) == {USER}
        assert httpx.post(f"{url}/classify/", files={"files": jpeg()}, timeout=20).status_code == 200
        assert version(url) == "1"
        after.replace(model)
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while version(url) != "2":
            assert time.monotonic() < end
            time.sleep(0.05)
        with connect(url) as connection:
            connection.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body[:100])
            while "fulldeck_in_flight 1.0" not in httpx.get(f"{url}/metrics", timeout=20).text:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            connection.sendall(body[100:])
            assert answer(connection).startswith(b"HTTP/1.1 200")
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0
    assert "reloaded the model" in said
    assert said.count("\n") == 1
    assert not list(folder.rglob("*.spill"))
    assert {path.stat().st_uid for path in (folder, *folder.rglob("*"))} == {USER}
    assert folder.stat().st_mode & 0o077 == 0
    with sqlite3.connect(folder / "predictions.db") as database:
        rows = database.execute("SELECT model_version FROM predictions ORDER BY time").fetchall()
    database.close()
    assert rows == [("1",), ("2",)]


def refused(**environment: str) -> str:
    command = [*as_nobody(**environment), FULLDECK, "serve", "--port", "0"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "set FULLDECK_PREDICTIONS_FOLDER to a folder" in done.stderr
    return done.stderr


def test_without_a_folder_that_it_may_write_to_it_says_so(tmp_path):
    assert refused().startswith("Error: there is no home")
    assert f"cannot lie in {tmp_path} (Permission denied)" in refused(FULLDECK_PREDICTIONS_FOLDER=str(tmp_path))
    assert f"cannot lie in {tmp_path}/new (Permission denied)" in refused(FULLDECK_PREDICTIONS_FOLDER=f"{tmp_path}/new")
    assert "cannot lie in /nowhere/.local/state/fulldeck" in refused(HOME="/nowhere")


def test_it_needs_no_folder_where_nothing_is_kept(tiny_model: Path):
    with serving("--model", str(tiny_model), through=as_nobody(FULLDECK_PREDICTIONS_DATABASE="none")) as (_, url):
        assert httpx.post(f"{url}/classify/", files={"files": jpeg()}, timeout=20).status_code == 200
