"""A real server, real users, and a log whose database, disk or process fails: nothing answered stays unlogged."""

import contextlib
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import httpx
import pytest
import sqlalchemy as sa

from fulldeck.monitoring.tables import PREDICTIONS
from real_server import helpers, kill, serving, worker
from real_users import Users

LOG = "fulldeck.serving.log_process"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def figures(url: str) -> dict[str, float]:
    lines = httpx.get(f"{url}/metrics", timeout=20).text.splitlines()
    return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def lost(found: dict[str, float]) -> float:
    return sum(value for name, value in found.items() if name.startswith("fulldeck_log_lost_total"))


def logged(database: str) -> Counter[str]:
    """How many entries each request has; none before there is a table."""
    engine = sa.create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with contextlib.closing(engine.connect()) as connection:
        there = sa.inspect(connection).has_table("predictions")
        found = Counter(connection.execute(sa.select(PREDICTIONS.c.request_id)).scalars()) if there else Counter()
    engine.dispose()
    return found


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 40
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def until_logged(database: str, answered: dict[str, int]) -> None:
    """Wait until each answer has all of its entries."""
    until(lambda: logged(database).items() >= answered.items())


def is_up(url: str) -> bool:
    return figures(url)["fulldeck_log_database_up"] == 1


def test_postgresql_is_stopped_and_started_under_load(tiny_model, folder, database):
    environment = {"FULLDECK_PREDICTIONS_DATABASE": database.url, "FULLDECK_PREDICTIONS_FOLDER": str(folder)}
    with serving("--model", str(tiny_model), **environment) as (process, url):
        with Users(url) as users:
            users.wait_for(30)
            until(lambda: figures(url)["fulldeck_log_written_total"] > 0)
            database.stop()
            try:
                until(lambda: not is_up(url))
                users.wait_for(30)
                assert figures(url)["fulldeck_log_spill_bytes"] > 0
            finally:
                database.start()
            until(lambda: is_up(url))
            users.wait_for(30)
        until_logged(database.url, users.answered)
        assert lost(figures(url)) == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert set(users.statuses) == {200}
    assert users.slowest < 5


def test_the_worker_is_killed_under_load(tiny_model, folder):
    with serving("--model", str(tiny_model), FULLDECK_PREDICTIONS_FOLDER=str(folder)) as (process, url):
        with Users(url) as users:
            for _ in range(2):
                users.wait_for(30)
                os.kill(worker(process), signal.SIGKILL)
                assert "killed by SIGKILL, and is started again" in process.stderr.readline()
            users.wait_for(30)
        until_logged(f"sqlite:///{folder}/predictions.db", users.answered)
        assert lost(figures(url)) == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert set(users.statuses) <= {0, 200, 503}  # 0 is a connection that broke, and 503 that the model is loading
    assert users.statuses[0] <= 2 * 4  # no more than were being answered: the others wait on the socket
    assert not list(folder.rglob("*.spill"))


def test_the_process_that_keeps_the_log_is_killed_under_load(tiny_model, folder):
    with serving("--model", str(tiny_model), FULLDECK_PREDICTIONS_FOLDER=str(folder)) as (process, url):
        with Users(url) as users:
            for _ in range(2):
                until(lambda: helpers(process, LOG))
                users.wait_for(20)
                for each in helpers(process, LOG):
                    each.kill()
                users.wait_for(20)
        until_logged(f"sqlite:///{folder}/predictions.db", users.answered)
        assert lost(figures(url)) == 0
    assert set(users.statuses) == {200}


def test_all_of_it_is_killed_under_load(tiny_model, folder):
    environment = {"FULLDECK_PREDICTIONS_FOLDER": str(folder)}
    with serving("--model", str(tiny_model), **environment) as (process, url), Users(url) as users:
        users.wait_for(30)
        kill(process)
    with serving("--model", str(tiny_model), **environment):
        until_logged(f"sqlite:///{folder}/predictions.db", users.answered)


def test_two_services_share_a_folder_under_load_and_one_is_killed_reloaded_and_ended(tiny_model, folder):
    service = partial(serving, "--model", str(tiny_model), FULLDECK_PREDICTIONS_FOLDER=str(folder))
    with service() as (first, at_first), service() as (second, at_second):
        with Users(at_first, users=2) as some, Users(at_second, users=2) as others:
            some.wait_for(20)
            others.wait_for(20)
            os.kill(worker(first), signal.SIGKILL)
            assert "is started again" in first.stderr.readline()
            some.wait_for(20)
            for process in (first, second):
                process.send_signal(signal.SIGHUP)
                assert "reloaded the model" in process.stderr.readline()
            some.wait_for(20)
            others.wait_for(20)
        for process in (first, second):
            process.send_signal(signal.SIGTERM)
        assert [process.wait(20) for process in (first, second)] == [0, 0]
    assert logged(f"sqlite:///{folder}/predictions.db").items() >= (some.answered | others.answered).items()
    assert set(others.statuses) == {200}  # who asks the other one notices nothing
    assert not list(folder.rglob("*.spill"))


def test_it_is_killed_while_the_database_is_away(tiny_model, folder, database):
    environment = {"FULLDECK_PREDICTIONS_DATABASE": database.url, "FULLDECK_PREDICTIONS_FOLDER": str(folder)}
    database.stop()
    try:
        with serving("--model", str(tiny_model), **environment) as (process, url), Users(url) as users:
            users.wait_for(30)
            kill(process)
    finally:
        database.start()
    with serving("--model", str(tiny_model), **environment) as (_, url):
        until_logged(database.url, users.answered)
        assert lost(figures(url)) == 0


def test_the_disk_is_full_under_load_and_then_is_not(tiny_model, folder):
    """No file of the server's may grow any more, which is to it as a full disk."""
    with serving("--model", str(tiny_model), FULLDECK_PREDICTIONS_FOLDER=str(folder)) as (process, url):
        with Users(url) as users:
            users.wait_for(20)
            until(lambda: helpers(process, LOG))
            pids = [worker(process), *(each.pid for each in helpers(process, LOG))]
            for pid in pids:
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
            until(lambda: not is_up(url))
            users.wait_for(30)
            for pid in pids:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
            users.wait_for(20)
        until_logged(f"sqlite:///{folder}/predictions.db", users.answered)
        assert lost(figures(url)) == 0
    assert set(users.statuses) == {200}
