"""The real thing: ``fulldeck serve`` in a process of its own, on a free port of the loopback."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sent_images import encoded, jpeg

from fulldeck import Recognizer

FULLDECK = Path(sys.executable).parent / "fulldeck"


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [FULLDECK, "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, (line, process.stderr.read())
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


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


HEAD = "POST /classify/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


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


def test_a_client_that_leaves_in_the_middle_does_no_harm(url):
    with connect(url) as connection:
        connection.sendall(f"{HEAD}Content-Length: 9999\r\n\r\n--b\r\n".encode())
    assert httpx.post(f"{url}/classify/", files={"files": ("a.jpg", jpeg())}, timeout=20).status_code == 200


def test_a_body_that_never_ends_is_given_up(tiny_model):
    with serving("--model", str(tiny_model), FULLDECK_BODY_SECONDS="0.3") as (_, url), connect(url) as connection:
        connection.sendall(f"{HEAD}Content-Length: 9999\r\n\r\n--b\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0_and_it_was_quiet(tiny_model, number):
    with serving("--model", str(tiny_model)) as (process, url):
        assert httpx.get(f"{url}/ready", timeout=20).status_code == 200
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert (rest, errors) == ("", "")


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
