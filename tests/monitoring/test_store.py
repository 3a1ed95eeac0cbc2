"""The same of SQLite and of a real PostgreSQL."""

import sqlite3
import subprocess
import sys
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from fulldeck.errors import ConfigError
from fulldeck.monitoring.store import AwayError, Store
from fulldeck.monitoring.tables import METADATA, PREDICTIONS


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/a folder/log.db"
    return request.getfixturevalue("empty").url


@pytest.fixture
def store(url):
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def engine(url):
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    yield engine
    engine.dispose()


def rows(engine):
    with engine.connect() as connection:
        found = connection.execute(sa.select(PREDICTIONS).order_by(PREDICTIONS.c.time, PREDICTIONS.c.position))
        return [dict(row) for row in found.mappings()]


def test_entries_are_read_as_they_were_written(store, engine, entry):
    entries = [entry(0), entry(1, key_id="me", image=b"\xff\x00", accepted=False), entry(1, position=1)]
    assert store.write(entries) == []
    assert rows(engine) == [one.to_row() for one in entries]


def test_an_entry_that_is_written_again_is_there_once(store, engine, entry):
    store.write([entry(0), entry(1)])
    store.write([entry(1, label="joker"), entry(2)])
    assert [row["label"] for row in rows(engine)] == ["ace of clubs"] * 3


def test_an_entry_that_the_database_never_takes_holds_no_other_up(store, engine, entry):
    (refused,) = store.write([entry(0), entry(1, label=None), entry(2)])
    assert refused[0] == entry(1, label=None)
    assert refused[1]
    assert [row["request_id"] for row in rows(engine)] == ["request-0", "request-2"]


def test_processes_that_start_at_once_make_the_tables_once(url, engine, entry):
    code = """
import sys
from fulldeck.monitoring.entry import HEAD, Entry
from fulldeck.monitoring.store import AwayError, Store
mine = Entry.from_body(sys.stdin.buffer.read()[HEAD.size:])
for _ in range(20):
    try:
        sys.exit(len(Store(sys.argv[1]).write([mine])))
    except AwayError as error:  # SQLite has no lock for this: the slower one comes again
        print(error)
sys.exit(1)
"""
    command = [sys.executable, "-c", code, url]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(2)
        ]
        for number, process in enumerate(processes):
            process.stdin.write(entry(number).to_record())
        for process in processes:  # all have loaded what they need by now, or nearly
            process.stdin.close()
        assert [process.wait(60) for process in processes] == [0, 0]
    assert len(rows(engine)) == 2


def test_the_migrations_make_what_the_tables_say(store, engine, entry):
    store.write([entry()])
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_database_of_a_newer_version_is_left_alone(url, store, engine, entry):
    store.write([])
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(AwayError, match="9999"):
        Store(url).write([entry()])


def test_a_database_that_was_away_is_written_when_it_is_back(empty, entry):
    store = Store(empty.url)
    store.write([entry(100)])
    empty.stop()
    try:
        for _ in range(2):
            with pytest.raises(AwayError):
                store.write([entry(101)])
    finally:
        empty.start()
    assert store.write([entry(101)]) == []
    store.close()


def test_a_file_that_is_no_database(tmp_path, entry):
    (tmp_path / "log.db").write_bytes(b"something else" * 100)
    with pytest.raises(AwayError, match="not a database"):
        Store(f"sqlite:///{tmp_path}/log.db").write([entry()])


def test_readers_read_sqlite_while_it_is_written(tmp_path, entry):
    store = Store(f"sqlite:///{tmp_path}/log.db")
    store.write([entry(0)])
    with sqlite3.connect(tmp_path / "log.db") as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (1,)
        store.write([entry(1)])
        assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (1,)
    assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (2,)
    reader.close()
    store.close()


@pytest.mark.parametrize(
    "url", ["mysql://a:secret@b/c", "oracle://", "log.db", "", "postgresql://a:x@secret@b/c", "sqlite:///:memory:"]
)
def test_another_database_is_refused_without_its_password(url):
    with pytest.raises(ConfigError, match="postgresql://") as refused:
        Store(url)
    assert "secret" not in str(refused.value)
