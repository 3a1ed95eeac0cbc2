"""A service that is killed is started again; one that ends, or whose parent does, is not."""

import os
import signal
import time

import httpx
import psutil

from real_server import serving, worker


def test_it_comes_back_at_its_address_and_who_asks_meanwhile_waits(tiny_model):
    with serving("--model", str(tiny_model)) as (process, url):
        first = worker(process)
        os.kill(first, signal.SIGKILL)
        assert httpx.get(f"{url}/health", timeout=20).status_code == 200
        assert worker(process) != first
        assert "fulldeck_restarts_total 1.0" in httpx.get(f"{url}/metrics", timeout=20).text
        assert "killed by SIGKILL, and is started again" in process.stderr.readline()


def test_it_gives_up_when_it_is_killed_again_and_again(tiny_model):
    with serving("--model", str(tiny_model)) as (process, _):
        deadline = time.monotonic() + 20
        while process.poll() is None:
            assert time.monotonic() < deadline
            for child in psutil.Process(process.pid).children():
                child.kill()
            time.sleep(0.05)
        _, said = process.communicate()
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith("Error: the service was killed 5 times in a row")


def test_it_ends_when_its_parent_is_killed(tiny_model):
    with serving("--model", str(tiny_model)) as (process, _):
        child = psutil.Process(worker(process))
        process.kill()
        child.wait(20)


def test_sigterm_to_the_worker_ends_all(tiny_model):
    with serving("--model", str(tiny_model)) as (process, _):
        os.kill(worker(process), signal.SIGTERM)
        assert process.wait(20) == 0


def test_asked_to_end_while_it_loads_it_ends(tiny_model):
    with serving("--model", str(tiny_model)) as (process, _):
        first = worker(process)
        os.kill(first, signal.SIGKILL)
        while not (children := psutil.Process(process.pid).children()) or children[0].pid == first:
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)  # which is not to end it
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in {0, 128 + signal.SIGTERM}
