"""Alembic's way in. The service passes its connection; who writes a migration, an address: ``-x url=sqlite:///log.db``."""

from alembic import context
from sqlalchemy import Connection, create_engine

from fulldeck.monitoring.tables import METADATA


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    with create_engine(context.get_x_argument(as_dictionary=True)["url"]).begin() as own:
        _migrate(own)
