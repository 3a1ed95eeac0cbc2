"""``fulldeck ui`` in a process of its own, on a free port of the loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


def test_the_command_serves_the_page_and_ends_at_a_signal(tiny_model):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "fulldeck", "ui", "--port", str(port), "--model", str(tiny_model)]
    environment = os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"}  # opens no browser here
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        page = b""
        deadline = time.monotonic() + 60
        while not page and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                    page = response.read()
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        assert b"streamlit" in page.lower()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
