"""``fulldeck serve`` in a process of its own, on a free port of the loopback."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

FULLDECK = Path(sys.executable).parent / "fulldeck"

HEAD = "POST /classify/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'


@contextmanager
def serving(
    *arguments: str, verbose: str = "", through: Sequence[str] = (), **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server that is ready, and its address; ``verbose`` may be -v or -vv, ``through`` a program that starts it."""
    process = subprocess.Popen(
        [*through, FULLDECK, *filter(None, [verbose]), "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://([0-9.]+:\d+)", line)
        assert found, (line, process.stderr.read())
        yield process, f"http://127.0.0.1:{found[1].rpartition(':')[2]}"
    finally:
        kill(process)
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a server, and what does its work."""
    if process.poll() is None:
        for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children()]:
            each.kill()
    process.wait()


def worker(process: subprocess.Popen[str]) -> int:
    """The id of the process that does a server's work."""
    [child] = psutil.Process(process.pid).children()
    return child.pid


def helpers(process: subprocess.Popen[str], module: str) -> list[psutil.Process]:
    """The processes that run a module for the one that does a server's work."""
    found = []
    for each in psutil.Process(worker(process)).children():
        with suppress(psutil.NoSuchProcess):  # or it is being taken leave of
            if module in each.cmdline():
                found.append(each)
    return found


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answer(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received
