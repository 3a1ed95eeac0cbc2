from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from fulldeck.monitoring.entry import Entry
from log_entries import some_entry
from real_postgres import Postgres, postgres


@pytest.fixture
def entry() -> Callable[..., Entry]:
    """Make the entry of a number: ``entry(3, label="joker")``."""
    return some_entry


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def empty(database: Postgres) -> Postgres:
    """The PostgreSQL server, without what other tests have left in it."""
    engine = sa.create_engine(database.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return database
