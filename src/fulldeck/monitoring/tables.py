"""The log's tables, as the newest migration leaves them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Boolean, Column, DateTime, Dialect, Float, Index, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC. SQLite knows no time zones, so there it lies without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What is stored."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002  (its form)
        """What is read."""
        if value is None:
            return None
        time: datetime = value
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


METADATA = MetaData()

PREDICTIONS = Table(
    "predictions",
    METADATA,
    # The time comes first, so that rows are added at the index's end and a span of time lies together.
    Column("time", UtcDateTime, primary_key=True),
    Column("request_id", String(128), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("key_id", String(64)),
    Column("model", String, nullable=False),
    Column("model_version", String, nullable=False),
    Column("label", String, nullable=False),
    Column("probability", Float, nullable=False),
    Column("accepted", Boolean, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("file_bytes", Integer, nullable=False),
    Column("brightness", Float, nullable=False),
    Column("contrast", Float, nullable=False),
    Column("sharpness", Float, nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    Column("image", LargeBinary),
    Index("ix_predictions_request_id", "request_id"),
)
"""One row a prediction; what a column holds is said at
:class:`fulldeck.monitoring.entry.Entry` and :class:`fulldeck.monitoring.observation.Observation`."""
