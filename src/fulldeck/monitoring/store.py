"""The database of the log: SQLite or PostgreSQL, made and brought up to date by the migrations in this package."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.pool import QueuePool

from fulldeck.monitoring.address import check_address
from fulldeck.monitoring.entry import Entry
from fulldeck.monitoring.tables import PREDICTIONS

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x66756C6C6465636B
"""The number of PostgreSQL's advisory lock, so that of several services that start at once one migrates; "fulldeck"."""

_ALONE = threading.Lock()  # Alembic's state is the process's, not the thread's

# A server that has gone without a word is noticed in a quarter of a minute, and no statement of ours takes long.
_POSTGRESQL: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
    "options": "-c statement_timeout=60000",
}


_PAGE_BYTES = 2**14


class AwayError(Exception):
    """The database cannot be reached, or can take nothing now; the same entries may be written later."""


class Store:
    """A database of predictions. It connects when something is written, not before.

    Not to be shared between threads.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.

    Raises:
        ConfigError: it is neither.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._current = False

    def write(self, entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
        """Add entries; one that is there already is left as it is.

        Returns:
            The entries that the database will never take, and why. All others are there for good.

        Raises:
            AwayError: nothing was written.
        """
        try:
            self._upgrade()
            try:
                self._insert(entries)
            except StatementError as error:
                if not _of_the_entries(error):
                    raise
                return self._one_by_one(entries)
        except (SQLAlchemyError, CommandError, OSError) as error:
            # A connection that failed once is not tried again; and who comes back may be an older copy of itself.
            self._engine.dispose()
            self._current = False
            raise AwayError(_first_line(error)) from error
        return []

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _upgrade(self) -> None:
        """Bring the tables up to date, once a connection."""
        if self._current:
            return
        if self._engine.dialect.name == "sqlite" and self._engine.url.database:
            Path(self._engine.url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        upgrade(self._engine)
        self._current = True

    def _insert(self, entries: Sequence[Entry]) -> None:
        dialect = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        if not entries:
            return
        statement = dialect.insert(PREDICTIONS).on_conflict_do_nothing()
        rows = [entry.to_row() for entry in entries]
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def _one_by_one(self, entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
        refused = []
        for entry in entries:
            try:
                self._insert([entry])
            except StatementError as error:
                if not _of_the_entries(error):
                    raise
                refused.append((entry, _first_line(error)))
        return refused


def upgrade(engine: Engine) -> None:
    """Bring the tables of a database up to date.

    Raises:
        SQLAlchemyError: it cannot be reached, or does not allow it.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _ALONE, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _of_the_entries(error: SQLAlchemyError) -> bool:
    """Whether it is the entries that the database does not take, and not its state."""
    return isinstance(error, DataError | IntegrityError) or type(error) is StatementError


def _engine(url: str) -> Engine:
    check_address(url)
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        engine = create_engine(address, poolclass=QueuePool, pool_size=1)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    return _postgresql(address.set(drivername="postgresql+psycopg"))


def _postgresql(address: URL) -> Engine:
    arguments = {name: value for name, value in _POSTGRESQL.items() if name not in address.query}
    return create_engine(address, pool_size=1, connect_args=arguments)


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Let readers read while we write, and let what is committed be on the disk.

    A row has some 3 KB, and would fill a page of SQLite's usual size to three quarters. A file that is there keeps its
    own size.
    """
    for pragma in (f"page_size={_PAGE_BYTES}", "journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}").close()


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
