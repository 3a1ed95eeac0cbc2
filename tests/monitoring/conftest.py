from collections.abc import Callable, Iterator

import pytest

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
