"""The process that keeps the prediction log, and what befalls it: no entry is lost by that, and none is there twice."""

import asyncio
import importlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fulldeck.monitoring.prediction_log import MEMORY_BYTES, PredictionLog
from fulldeck.serving.log_keeper import LogKeeper
from log_entries import some_entry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere threads keep the log")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "predictions.db"


@asynccontextmanager
async def keeping(database: Path, *, hired: bool = True, memory: int = MEMORY_BYTES) -> AsyncIterator[LogKeeper]:
    """A log, which its process keeps by now if one is hired; in the end all is in the database."""
    keeper = LogKeeper(partial(PredictionLog, f"sqlite:///{database}", database.parent / "spill"), memory)
    if hired:
        keeper.hire()
    else:
        keeper.start()
    if hired:
        await process(keeper)
    yield keeper
    await keeper.stop(20)


async def process(keeper: LogKeeper, other_than: int | None = None) -> int:
    async with asyncio.timeout(30):
        while (pid := keeper.process) in (None, other_than):
            await asyncio.sleep(0.01)
    return pid


def ask(keeper: LogKeeper, *numbers: int) -> list[asyncio.Event]:
    """Have entries kept, each by itself; what is set when it is."""
    events = []
    for number in numbers:
        events.append(event := asyncio.Event())
        keeper.keep([replace(some_entry(), request_id=str(number))], event.set)
    return events


async def kept(events: list[asyncio.Event]) -> None:
    async with asyncio.timeout(30):
        for event in events:
            await event.wait()


def written(database: Path) -> list[int]:
    with sqlite3.connect(database) as connection:
        found = sorted(int(row[0]) for row in connection.execute("SELECT request_id FROM predictions"))
    connection.close()
    return found


@pytest.mark.parametrize("hired", [True, False])
def test_what_is_kept_comes_to_the_database(database, hired):
    async def scenario() -> None:
        async with keeping(database, hired=hired) as keeper:
            await kept(ask(keeper, *range(50)))
            assert (keeper.process is not None) == hired
        assert keeper.figures().written == 50
        assert keeper.figures().queue_entries == keeper.figures().spill_bytes == 0
        assert sum(keeper.figures().lost.values()) == 0

    asyncio.run(scenario())
    assert written(database) == list(range(50))


def test_what_came_before_the_process_does_is_taken_over_by_it(database):
    async def scenario() -> None:
        async with keeping(database, hired=False) as keeper:
            keeper.hire()
            await kept(ask(keeper, 1, 2))
            assert keeper.process is None
            await process(keeper)
            await kept(ask(keeper, 3))
            async with asyncio.timeout(30):
                while keeper.figures().written < 3:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert written(database) == [1, 2, 3]


@pytest.mark.parametrize("moments", [0, 0.05, 0.2, 0.5])
def test_what_came_before_the_process_did_is_written_where_the_service_ends_at_once(database, moments):
    importlib.import_module("fulldeck.monitoring.store")  # which takes as long as there is

    async def scenario() -> None:
        keeper = LogKeeper(partial(PredictionLog, f"sqlite:///{database}", database.parent / "spill"), MEMORY_BYTES)
        keeper.hire()
        keeper.start()
        await kept(ask(keeper, 1, 2))
        await asyncio.sleep(moments)
        await keeper.stop(20)

    asyncio.run(scenario())
    assert written(database) == [1, 2]
    assert not list(database.parent.rglob("*.spill"))


def test_where_it_is_killed_again_and_again_nothing_is_lost_and_nobody_waits_for_ever(database, caplog):
    async def scenario() -> None:
        async with keeping(database) as keeper:
            asked: list[asyncio.Event] = []
            pid = keeper.process
            for killed in range(3):
                asked += ask(keeper, *range(100 * killed, 100 * killed + 50))
                os.kill(pid, signal.SIGKILL)
                asked += ask(keeper, *range(100 * killed + 50, 100 * killed + 100))
                pid = await process(keeper, other_than=pid)
            await kept(asked)
        assert sum(keeper.figures().lost.values()) == 0

    asyncio.run(scenario())
    assert written(database) == list(range(300))
    assert "the process that keeps the prediction log has ended, and is started again" in caplog.text


def test_one_that_does_not_answer_is_given_up_at_the_end_and_what_it_had_is_written(database, monkeypatch):
    monkeypatch.setattr("fulldeck.serving.child.END_SECONDS", 0.1)
    importlib.import_module("fulldeck.monitoring.store")  # which takes as long as there is

    async def scenario() -> None:
        keeper = LogKeeper(partial(PredictionLog, f"sqlite:///{database}", database.parent / "spill"), MEMORY_BYTES)
        keeper.hire()
        pid = await process(keeper)
        os.kill(pid, signal.SIGSTOP)
        asked = ask(keeper, *range(20))
        await asyncio.sleep(0.3)
        assert not any(event.is_set() for event in asked)
        assert keeper.figures().queue_entries == 20
        await keeper.stop(2)
        await kept(asked)
        assert sum(keeper.figures().lost.values()) == 0

    asyncio.run(scenario())
    assert written(database) == list(range(20))


def test_entries_that_find_no_room_are_counted_as_lost(database):
    async def scenario() -> None:
        entry = some_entry()
        room = 2 * len(entry.observation.embedding) + 1
        async with keeping(database, memory=room) as keeper:
            await asyncio.sleep(0)
            os.kill(keeper.process, signal.SIGSTOP)
            asked = ask(keeper, 1, 2, 3)
            assert [event.is_set() for event in asked] == [False, False, True]
            assert keeper.figures().lost["memory-full"] == 1
            os.kill(keeper.process, signal.SIGCONT)
            await kept(asked)

    asyncio.run(scenario())
    assert written(database) == [1, 2]


def put(keeper: LogKeeper, *numbers: int) -> list[int]:
    """Put entries where they outlive all, each by itself; those that found a place."""
    return [number for number in numbers if keeper.put([replace(some_entry(), request_id=str(number))])]


def test_what_is_put_comes_to_the_database_whoever_ends(database):
    """Its process is stopped, killed, and another one's turn comes: nothing waits for it, and nothing is lost."""

    async def scenario() -> list[int]:
        async with keeping(database, hired=False) as keeper:
            assert put(keeper, 0) == []
            keeper.hire()
            pid = await process(keeper)
            found = put(keeper, *range(1, 100))
            os.kill(pid, signal.SIGSTOP)
            found += put(keeper, *range(100, 200))
            os.kill(pid, signal.SIGKILL)
            found += put(keeper, *range(200, 300))
            await process(keeper, other_than=pid)
            found += put(keeper, *range(300, 400))
        assert sum(keeper.figures().lost.values()) == 0
        return found

    assert asyncio.run(scenario()) == list(range(1, 400))
    assert written(database) == list(range(1, 400))
    assert not list((database.parent / "spill").iterdir())


def test_what_was_put_is_written_though_its_process_is_stuck_at_the_end(database, monkeypatch):
    monkeypatch.setattr("fulldeck.serving.child.END_SECONDS", 0.1)
    importlib.import_module("fulldeck.monitoring.store")  # which takes as long as there is

    async def scenario() -> None:
        async with keeping(database) as keeper:
            os.kill(keeper.process, signal.SIGSTOP)
            assert put(keeper, *range(20)) == list(range(20))
            await keeper.stop(2)

    asyncio.run(scenario())
    assert written(database) == list(range(20))


def test_one_that_finds_no_room_is_told_so(database):
    async def scenario() -> None:
        async with keeping(database) as keeper:
            os.kill(keeper.process, signal.SIGSTOP)
            most = len(put(keeper, *range(3000)))
            assert 1000 < most < 3000
            asked = ask(keeper, 3000)
            os.kill(keeper.process, signal.SIGCONT)
            await kept(asked)
        assert len(written(database)) == most + 1

    asyncio.run(scenario())


def test_where_no_process_can_be_started_threads_keep_the_log(database, monkeypatch, caplog):
    monkeypatch.setattr("sys.executable", "/bin/false")
    monkeypatch.setattr("fulldeck.serving.log_keeper.AGAIN_SECONDS", 0.001)

    async def scenario() -> None:
        async with keeping(database, hired=False) as keeper:
            keeper.hire()
            async with asyncio.timeout(30):
                while "no process can be started" not in caplog.text:
                    await kept(ask(keeper, len(caplog.text)))
                    await asyncio.sleep(0.01)
            await kept(ask(keeper, 10**6))

    asyncio.run(scenario())
    assert 10**6 in written(database)
