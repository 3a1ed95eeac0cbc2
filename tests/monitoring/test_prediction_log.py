"""The log's threads, with a real database that goes away and comes back."""

import os
import resource
import sqlite3
import threading
import time
from concurrent.futures import wait

import pytest
import sqlalchemy as sa

from fulldeck.monitoring import prediction_log as module
from fulldeck.monitoring.journal import Journal
from fulldeck.monitoring.prediction_log import PredictionLog
from fulldeck.monitoring.spill import Spill


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def log(url, tmp_path):
    log = PredictionLog(url, tmp_path / "spill")
    log.start()
    yield log
    log.stop(10)


def until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def logged(url):
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT request_id FROM predictions")).scalars().all()
    engine.dispose()
    return sorted(found)


def ids(entries):
    return sorted(entry.request_id for entry in entries)


def test_what_is_kept_is_written(log, url, entry):
    entries = [entry(number) for number in range(50)]
    wait([log.keep(entries[:20]), log.keep(entries[20:])], 10)
    until(lambda: log.figures().written == 50)
    assert logged(url) == ids(entries)
    figures = log.figures()
    assert figures.database_up
    assert figures.queue_entries == figures.spill_bytes == figures.failures == sum(figures.lost.values()) == 0


def test_answers_that_come_while_others_are_being_kept_are_kept_together(log, url, entry, held_spill):
    first = log.keep([entry(0)])
    until(lambda: log.figures().queue_entries == 1)
    time.sleep(0.1)  # the keeper has it
    others = [log.keep([entry(number)]) for number in range(1, 20)]
    assert len({id(future) for future in others}) == 1
    assert first is not others[0]
    assert not first.done()
    held_spill.set()
    wait([first, others[0]], 10)
    assert log.figures().queue_entries == 0
    last = log.keep([entry(20)])
    assert last is not others[0]
    last.result(10)
    until(lambda: log.figures().written == 21)
    assert len(logged(url)) == 21


def test_many_threads_lose_nothing_and_each_answer_is_kept_when_its_future_is_done(url, tmp_path, entry):
    before = PredictionLog(url, tmp_path / "spill")

    def answer(thread):
        for number in range(50):
            before.keep([entry(1000 * thread + number)]).result(10)

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    before.stop(10)
    after = PredictionLog(url, tmp_path / "spill")
    after.start()
    until(lambda: after.figures().written == 8 * 50)
    after.stop(10)
    assert len(set(logged(url))) == 8 * 50


def test_an_entry_that_cannot_be_written_takes_no_other_with_it(log, url, entry, held_spill, caplog):
    log.keep([entry(0)])
    time.sleep(0.1)
    odd = entry(1, label=object())
    together = [log.keep([one]) for one in (entry(2), odd, entry(3))]
    held_spill.set()
    wait(together, 10)
    until(lambda: log.figures().written == 3)
    assert logged(url) == ["request-0", "request-2", "request-3"]
    figures = log.figures()
    assert figures.lost == {"memory-full": 0, "refused": 1, "damaged": 0, "stopped": 0}
    assert figures.queue_entries == 0
    (said,) = [record for record in caplog.records if "loses an entry" in record.getMessage()]
    assert said.fields == {"request_id": "request-1"}


def test_whatever_a_spill_raises_entries_wait_in_memory_and_are_written(log, url, entry, monkeypatch):
    def broken(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(Spill, "append", broken)
    for number in range(3):
        log.keep([entry(number)]).result(10)
    until(lambda: log.figures().written == 3)
    assert len(logged(url)) == 3
    assert log.figures().queue_entries == log.figures().failures == sum(log.figures().lost.values()) == 0


def test_stopping_waits_for_all_that_is_being_kept_and_what_comes_later_is_counted(log, url, entry, held_spill):
    early = [log.keep([entry(number)]) for number in range(5)]
    stopping = threading.Thread(target=log.stop, args=(10,))
    stopping.start()
    time.sleep(0.1)
    assert stopping.is_alive()
    late = log.keep([entry(5), entry(6)])
    assert late.done()
    held_spill.set()
    stopping.join(20)
    assert not stopping.is_alive()
    assert all(future.done() for future in early)
    assert len(logged(url)) == 5
    assert log.keep([entry(7)]).done()
    assert log.figures().lost == {"memory-full": 0, "refused": 0, "damaged": 0, "stopped": 3}


def test_entries_that_come_into_memory_while_those_there_are_written_are_no_failure(tmp_path, url, entry, caplog):
    (tmp_path / "spill").touch()  # no folder can be made there
    log = PredictionLog(url, tmp_path / "spill")
    log.start()
    for number in range(600):
        log.keep([entry(number)])
    until(lambda: log.figures().written == 600)
    log.stop(10)
    assert len(logged(url)) == 600
    assert log.figures().failures == sum(log.figures().lost.values()) == 0


def test_a_file_of_another_process_that_cannot_be_opened_is_told_once(tmp_path, url, entry, caplog, monkeypatch):
    monkeypatch.setattr(module, "ADOPT_SECONDS", 0.05)
    (tmp_path / "spill" / "other-1.spill").mkdir(parents=True)
    log = PredictionLog(url, tmp_path / "spill")
    log.start()
    time.sleep(0.5)
    log.keep([entry(0)])
    until(lambda: log.figures().written == 1)
    log.stop(10)
    said = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert len(said) == 1
    assert "other-1.spill" in said[0]
    assert log.figures().failures == 0


def test_stopping_writes_what_is_left(url, tmp_path, entry, monkeypatch):
    monkeypatch.setattr(module, "GATHER_SECONDS", 60)
    log = PredictionLog(url, tmp_path / "spill")
    log.start()
    log.keep([entry()])
    log.stop(20)
    assert logged(url) == ["request-0"]
    assert not any((tmp_path / "spill").iterdir())


def test_one_that_never_started_leaves_what_it_kept_to_the_next(url, tmp_path, entry):
    before = PredictionLog(url, tmp_path / "spill")
    wait([before.keep([entry()])], 10)
    before.stop(10)  # lets go of its files, or the next would take it for one that lives
    after = PredictionLog(url, tmp_path / "spill")
    after.start()
    until(lambda: after.figures().written == 1)
    after.stop(10)
    assert logged(url) == ["request-0"]


def test_the_database_is_away_and_comes_back(empty, tmp_path, entry, caplog):
    entries = [entry(number, request_id=f"away-{number}") for number in range(60)]
    log = PredictionLog(empty.url, tmp_path / "spill")
    log.start()
    log.keep(entries[:20])
    until(lambda: log.figures().written == 20)
    empty.stop()
    try:
        log.keep(entries[20:40])
        until(lambda: log.figures().failures)
        log.keep(entries[40:])
        until(lambda: not log.figures().queue_entries)
        figures = log.figures()
        assert not figures.database_up
        assert figures.spill_bytes == sum(len(one.to_record()) for one in entries[20:])
    finally:
        empty.start()
    until(lambda: log.figures().written == 60)
    assert set(ids(entries)) <= set(logged(empty.url))
    assert log.figures().database_up
    assert log.figures().spill_bytes == sum(log.figures().lost.values()) == 0
    log.stop(10)
    said = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert len(said) == 2  # it went, it came: not a line an attempt
    assert "waits in its spill" in said[0]


def test_what_a_log_could_not_write_is_written_by_the_next_one(tmp_path, entry):
    nowhere = f"sqlite:///{tmp_path}/a-file/log.db"
    (tmp_path / "a-file").touch()
    entries = [entry(number) for number in range(5)]
    log = PredictionLog(nowhere, tmp_path / "spill")
    log.start()
    log.keep(entries)
    until(lambda: log.figures().failures)
    log.stop(10)
    assert sum(log.figures().lost.values()) == 0
    (tmp_path / "a-file").unlink()
    log = PredictionLog(nowhere, tmp_path / "spill")
    log.start()
    until(lambda: log.figures().written == 5)
    log.stop(10)
    assert logged(nowhere) == ids(entries)


def test_without_a_place_for_its_spill_it_writes_from_memory(url, tmp_path, entry, caplog):
    (tmp_path / "spill").touch()  # no folder can be made there
    log = PredictionLog(url, tmp_path / "spill")
    log.start()
    log.keep([entry(0), entry(1)])
    until(lambda: log.figures().written == 2)
    log.stop(10)
    assert logged(url) == ["request-0", "request-1"]
    assert "FULLDECK_PREDICTIONS_FOLDER" in caplog.text


def test_a_full_disk_costs_nothing_while_memory_lasts_and_what_it_costs_then_is_counted(tmp_path, entry):
    """No file may grow past a limit, which is to the process as a full disk; then it may again."""
    url = f"sqlite:///{tmp_path}/log.db"
    one = entry(0)
    room = 40 * len(one.to_record())
    log = PredictionLog(url, tmp_path / "spill", memory_bytes=room)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        log.start()
        for number in range(20):
            log.keep([entry(number)]).result(10)
        figures = log.figures()
        assert figures.queue_entries > 10
        assert sum(figures.lost.values()) == 0
        for number in range(20, 80):
            log.keep([entry(number)]).result(10)
        lost = log.figures().lost["memory-full"]
        assert 20 < lost < 60
        assert sum(log.figures().lost.values()) == lost
        until(lambda: log.figures().failures)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    until(lambda: log.figures().written == 80 - lost)
    log.stop(10)
    assert len(logged(url)) == 80 - lost
    assert log.figures().queue_entries == 0


def test_entries_that_can_never_be_written_are_counted_and_hold_nothing_up(log, url, entry):
    log.keep([entry(0), entry(1, label=None)])
    log.keep([entry(2)])
    until(lambda: log.figures().written == 2)
    assert log.figures().lost["refused"] == 1
    assert logged(url) == ["request-0", "request-2"]


def test_keeping_takes_no_time_while_the_database_hangs(tmp_path, entry):
    os.mkfifo(tmp_path / "log.db")  # opening it waits for a reader that never comes
    log = PredictionLog(f"sqlite:///{tmp_path}/log.db", tmp_path / "spill")
    log.start()
    log.keep([entry(0)]).result(10)
    start = time.perf_counter()
    for number in range(1, 100):
        log.keep([entry(number)])
    assert time.perf_counter() - start < 1
    until(lambda: not log.figures().queue_entries)
    log.stop(0.1)
    assert sum(log.figures().lost.values()) == 0


def test_the_file_is_a_plain_sqlite_database(log, tmp_path, entry):
    log.keep([entry(0, label="joker")])
    until(lambda: log.figures().written)
    with sqlite3.connect(tmp_path / "log.db") as connection:
        assert connection.execute("SELECT time, label FROM predictions").fetchall() == [
            ("2026-01-02 03:04:05.678901", "joker")
        ]
    connection.close()


def test_a_row_takes_not_much_more_of_the_sqlite_file_than_it_has(url, tmp_path, entry):
    log = PredictionLog(url, tmp_path / "spill")
    log.start()
    log.keep([entry(number) for number in range(500)])
    log.stop(20)
    row = len(entry(0).to_record())
    assert (tmp_path / "log.db").stat().st_size < 1.3 * 500 * row


def test_what_is_left_in_its_journal_is_written_and_to_the_last(url, tmp_path, entry):
    log = PredictionLog(url, tmp_path / "spill")
    journal = Journal(log.open_journal())
    log.start()
    assert journal.put(entry(0).to_record())
    until(lambda: log.figures().written == 1)
    assert journal.put(entry(1).to_record() + entry(2).to_record())
    log.stop(20)
    assert logged(url) == ids(map(entry, range(3)))
    assert not list((tmp_path / "spill").iterdir())


def test_while_no_file_takes_it_what_is_left_in_the_journal_is_written_from_memory_or_waits(
    url, tmp_path, entry, monkeypatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spill, "append", full)
    log = PredictionLog(url, tmp_path / "spill", memory_bytes=3 * len(entry(0).to_record()))
    journal = Journal(log.open_journal())
    assert journal.put(entry(0).to_record())
    until(lambda: log.figures().queue_entries == 1)
    assert journal.put(b"".join(entry(number).to_record() for number in range(1, 5)))
    time.sleep(2 * module.COLLECT_SECONDS)
    assert log.figures().queue_entries == 3
    log.start()
    until(lambda: log.figures().written == 5)
    log.stop(20)
    assert logged(url) == ids(map(entry, range(5)))
    assert sum(log.figures().lost.values()) == 0


def test_at_the_end_its_files_are_open_until_the_journal_has_been_looked_into(url, tmp_path, entry, monkeypatch):
    def slow(journal: Journal) -> list[bytes]:
        time.sleep(0.3)
        return peek(journal)

    peek = Journal.peek
    monkeypatch.setattr(Journal, "peek", slow)
    log = PredictionLog(url, tmp_path / "spill")
    journal = Journal(log.open_journal())
    log.start()
    time.sleep(0.1)
    assert journal.put(entry(0).to_record())
    log.stop(20)
    assert logged(url) == ids([entry(0)])
    assert not list((tmp_path / "spill").iterdir())
