"""How MLflow is asked: not for long where it is down, and with one sentence for what goes wrong."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ConnectTimeout, ReadTimeout
from sqlalchemy.exc import SQLAlchemyError

from fulldeck.errors import ConfigError, FulldeckError
from fulldeck.remote import public_address

# By default a server that is down is asked for minutes, and standard output, which is the command's, gets progress and
# addresses of pages, into a pipe, too.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes, and that it waits
logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # each try of a server that does not answer

_SILENCE = {RequestsConnectionError, ConnectTimeout, ReadTimeout}  # MLflow's own words for them are half a page


@contextmanager
def told(uri: str, what: str, *, store: str = "MLflow", kind: type[FulldeckError] = ConfigError) -> Iterator[None]:
    """Turn what MLflow, its database or the network raise into one sentence.

    Args:
        uri: the store's address.
        what: the store does not do then, such as "does not keep this run".
        store: what the sentence calls it.
        kind: the error to raise.

    Raises:
        FulldeckError: of that kind; it does not.
    """
    place = f"{store} at {public_address(uri)}"
    try:
        yield
    except ModuleNotFoundError as error:  # a database's driver, or a cloud's client
        msg = f"{place} needs the Python package {error.name}, which is not installed"
        raise kind(msg) from error
    except (MlflowException, SQLAlchemyError, OSError) as error:  # those of the network are among the last
        if {type(error), type(error.__context__)} & _SILENCE:
            msg = f"{place} does not answer: is it running, and is this its address?"
        else:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            msg = f"{place} {what}: {reason.replace(uri, public_address(uri))}"
        raise kind(msg) from error
