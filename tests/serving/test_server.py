"""The real thing: ``fulldeck serve`` in a process of its own, on a free port of the loopback."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fulldeck import Recognizer
from fulldeck.serving.keys import add, read, revoke
from real_server import FULLDECK, HEAD, PART, answer, connect, kill, serving, worker
from sent_images import encoded, jpeg


@pytest.fixture(scope="module")
def url(tiny_model: Path) -> Iterator[str]:
    with serving("--model", str(tiny_model), FULLDECK_MAX_BODY_BYTES="500000") as (_, address):
        yield address


def test_fifty_requests_at_once_each_get_their_own_answer(url, tiny_model):
    images = [encoded((5 * i, 250 - 5 * i, (37 * i) % 256), "PNG" if i % 2 else "JPEG") for i in range(50)]
    expected = [p.label for p in Recognizer(tiny_model).classify(images)]

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=60) as client:
            return await asyncio.gather(
                *(client.post(f"{url}/classify/", files={"files": (f"{i}", data)}) for i, data in enumerate(images))
            )

    answers = [response.json()["predictions"][0] for response in asyncio.run(ask())]
    assert [answer["file"] for answer in answers] == [str(i) for i in range(50)]
    assert [answer["label"] for answer in answers] == expected
    assert len(set(expected)) > 5


def test_a_file_that_is_no_image_is_named(url):
    response = httpx.post(f"{url}/classify/", files={"files": ("notes.txt", b"hello")})
    assert response.status_code == 415
    assert response.json()["errors"][0]["file"] == "notes.txt"


def test_a_body_that_states_too_large_a_length_is_answered_before_it_is_sent(url):
    with connect(url) as connection:
        connection.sendall(f"{HEAD}Content-Length: 20000000\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_answered_once_it_is_too_large(url):
    with connect(url) as connection:
        connection.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        part = PART + b"\0" * 500_000  # just above the limit, and the body goes on
        connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0_and_it_was_quiet(tiny_model, number):
    with serving("--model", str(tiny_model)) as (process, url):
        assert httpx.get(f"{url}/ready", timeout=20).status_code == 200
        with connect(url) as connection:
            connection.sendall(b"no HTTP\r\n\r\n")
            assert answer(connection).startswith(b"HTTP/1.1 400")
        malformed = {"Content-Type": "multipart/form-data; boundary=b"}
        assert httpx.post(f"{url}/classify/", content=b"no form", headers=malformed, timeout=20).status_code == 400
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert (rest, errors) == ("", "")


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_sigterm_lets_a_request_end_whose_body_is_still_coming(tiny_model, signals):
    body = PART + jpeg() + b"\r\n--b--\r\n"
    with serving("--model", str(tiny_model)) as (process, url), connect(url) as connection, connect(url) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.recv(65536)
        connection.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body[:100])
        while "fulldeck_in_flight 1.0" not in httpx.get(f"{url}/metrics", timeout=20).text:
            pass
        for number in signals:  # a terminal's Ctrl+C comes twice: from the terminal, and by the parent
            os.kill(worker(process), number)
            process.send_signal(number)
        assert b"HTTP/1.1 2" not in answer(idle)  # who waits for nothing is let go
        with pytest.raises(OSError):  # noqa: PT011, PT012  (refused, or reset: either way nobody listens any more)
            for _ in range(100):
                connect(url).close()
                process.poll()
        time.sleep(0.5)  # it waits on
        assert process.poll() is None
        connection.sendall(body[100:])
        received = answer(connection)
        assert received.startswith(b"HTTP/1.1 200")
        assert json.loads(received.partition(b"\r\n\r\n")[2])["predictions"][0]["file"] == "a"
        assert process.wait(20) == 0


@pytest.mark.parametrize("more", [b"", b"--b--\r\n"], ids=["still coming", "whole"])
def test_who_is_not_answered_when_the_time_to_end_is_over_is_told(tiny_model, more):
    start = PART + encoded((1, 2, 3), size=(7000, 7000)) + b"\r\n"  # takes a second to decode
    settings = {"FULLDECK_DRAIN_SECONDS": "0", "FULLDECK_PROCESSES": "0"}
    with serving("--model", str(tiny_model), **settings) as (process, url), connect(url) as connection:
        connection.sendall(f"{HEAD}Content-Length: {len(start) + 7}\r\n\r\n".encode() + start + more)
        while "fulldeck_in_flight 1.0" not in httpx.get(f"{url}/metrics", timeout=20).text:
            pass
        process.send_signal(signal.SIGTERM)
        head, _, problem = answer(connection).partition(b"\r\n\r\n")
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in head.lower()
    assert b"x-content-type-options: nosniff" in head
    assert json.loads(problem)["code"] == "draining"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_its_processes_start_though_there_is_no_room_for_what_it_says(tiny_model):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Path("/dev/full").open("w") as full:
        command = [FULLDECK, "serve", "--port", str(port), "--model", str(tiny_model)]
        process = subprocess.Popen(command, stdout=full, stderr=subprocess.DEVNULL)
    try:
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            while "fulldeck_workers 0.0" in client.get("/metrics").text:
                assert process.poll() is None
    finally:
        kill(process)


@pytest.fixture
def silent() -> Iterator[dict[str, str]]:
    """The environment in which Google's storage takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield {"STORAGE_EMULATOR_HOST": host, "NO_GCE_CHECK": "true", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


def test_it_ends_while_its_model_does_not_come(silent):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [FULLDECK, "serve", "--port", str(port), "--model", "gs://bucket/model.onnx"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | silent)
    try:
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            response = client.get("/ready")
            assert (response.status_code, response.json()["code"]) == (503, "not-ready")
            assert client.get("/health").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    finally:
        kill(process)


def test_it_ends_while_a_model_that_it_was_to_reload_does_not_come(tiny_model, tmp_path):
    pipe = tmp_path / "model.onnx"
    shutil.copyfile(tiny_model, pipe)
    with serving("--model", str(pipe), FULLDECK_DRAIN_SECONDS="1") as (process, url):
        pipe.unlink()
        os.mkfifo(pipe)  # opening it waits for a writer that never comes
        process.send_signal(signal.SIGHUP)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/admin/reload", timeout=1)
        assert httpx.get(f"{url}/ready", timeout=20).status_code == 200
        assert httpx.post(f"{url}/classify/", files={"files": jpeg()}, timeout=20).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def refused(*arguments: str, **environment: str) -> str:
    command = [FULLDECK, "serve", *arguments]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=os.environ | environment
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    return done.stderr


def test_a_port_in_use_is_one_sentence(tiny_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refused("--port", str(port), "--model", str(tiny_model))


def test_a_model_that_cannot_be_used_is_one_sentence(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    assert "broken.onnx" in refused("--port", "0", "--model", str(broken))
    assert "missing.onnx" in refused("--port", "0", FULLDECK_MODEL=str(tmp_path / "missing.onnx"))


def test_serving_loads_nothing_of_training():
    code = (
        "import sys, fulldeck.serving.server; "
        "print([m for m in ('torch', 'lightning', 'timm', 'matplotlib', 'streamlit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_public_address_needs_keys_or_a_word(tmp_path):
    keys = tmp_path / "keys"
    said = refused("--port", "0", "--host", "0.0.0.0")
    assert "--open" in said
    assert "fulldeck keys add" in said
    public = ("--port", "0", "--host", "0.0.0.0", "--keys", str(keys))
    assert "no such file of keys" in refused(*public)
    add(keys, "me")
    revoke(keys, "me")
    assert "no key in it is in use" in refused(*public)
    keys.write_text("something else\n")
    assert "no file of keys" in refused(*public)
    assert "everybody is to be asked for a key, and there are no keys" in refused("--port", "0", FULLDECK_ACCESS="keys")


def test_keys_that_would_open_nothing_as_all_is_open_are_refused(tmp_path):
    add(tmp_path / "keys", "me")
    command = [FULLDECK, "serve", "--port", "0", "--open", "--keys", str(tmp_path / "keys")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "leave out --open or --keys" in done.stderr


def test_a_public_address_that_is_open_on_purpose(tiny_model):
    with serving("--host", "0.0.0.0", "--open", "--model", str(tiny_model)) as (_, url):
        assert httpx.get(f"{url}/metrics", timeout=20).status_code == 200


def test_on_loopback_no_key_is_asked_for_though_there_are_some(tiny_model, tmp_path):
    add(tmp_path / "keys", "me")
    with serving("--keys", str(tmp_path / "keys"), "--model", str(tiny_model)) as (_, url):
        assert httpx.get(f"{url}/metrics", timeout=20).status_code == 200


def test_keys_on_a_public_address_and_json_logs_without_secrets(tiny_model, tmp_path):
    file = tmp_path / "keys"
    mine, yours = add(file, "mine"), add(file, "yours")
    arguments = ("--host", "0.0.0.0", "--log-format", "json", "--model", str(tiny_model))
    with serving(*arguments, verbose="-vv", FULLDECK_KEYS_FILE=str(file)) as (process, url):

        def ask(key: str | None, **headers: str) -> httpx.Response:
            given = {} if key is None else {"Authorization": f"Bearer {key}"}
            sent = {"Content-Type": "image/jpeg"} | given | headers
            return httpx.post(f"{url}/classify/?key={key}", content=jpeg(), headers=sent, timeout=20)

        assert ask(None).status_code == 401
        assert ask(mine, **{"X-Request-ID": "the-first"}).status_code == 200
        assert ask(mine + "x").status_code == 401
        revoke(file, "mine")
        assert ask(mine).status_code == 401
        assert ask(yours).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    (first,) = [line for line in lines if line.get("request_id") == "the-first" and "status" in line]
    assert (first["method"], first["path"], first["status"]) == ("POST", "/classify/", 200)
    assert first["key"] == read(file)[0].id
    assert first["ms"] > 0
    for key in (mine, yours):
        assert key not in log
        assert key.split("_", 2)[2] not in log
