"""How MLflow is asked: not for long where a server is down, and with one sentence for what goes wrong."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from fulldeck.errors import ConfigError
from fulldeck.remote import public_address

# By default a server that is down is asked for minutes, in which no step is made.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # standard output is the command's
logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes


@contextmanager
def told(uri: str, what: str) -> Iterator[None]:
    """Turn what MLflow, its database or the network raise into one sentence.

    Args:
        uri: of the tracking store.
        what: the store does not do then, such as "does not keep this run".

    Raises:
        ConfigError: it does not.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        msg = f"MLflow at {public_address(uri)} {what}: {reason}"
        raise ConfigError(msg) from error
