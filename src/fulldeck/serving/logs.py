"""What goes to the log and how: our faults, and for machines one JSON object a line, with its request's id."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""How a line for people looks."""

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object.

    It has ``time`` (ISO 8601 in UTC), ``level``, ``logger`` and ``message``; ``request_id`` in a request's course;
    ``exception`` where there is one; and what the record's ``fields`` hold.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = REQUEST_ID.get()
        if request_id is not None:
            entry["request_id"] = request_id
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def leave_out_clients_faults() -> None:
    """Keep what libraries warn of, a client's bad requests, out of a log that is to show ours alone.

    Anybody could fill it otherwise; the client has been told, and the metrics count it.
    """
    if not logging.getLogger().isEnabledFor(logging.INFO):
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def is_json() -> bool:
    """Whether the log writes JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def write_json() -> None:
    """Let the log that the command line has set up write JSON from now on."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter())
