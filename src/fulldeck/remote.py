"""Storage behind addresses such as ``gs://bucket/name``, and what people may see of them."""

import logging
import os
import re
from typing import Any


def open_storage(address: str) -> tuple[Any, str]:
    """Return an fsspec file system, and the address's path in it.

    Raises:
        ImportError: What opens such addresses is not installed.
        Exception: Whatever a storage of this kind raises when it cannot be reached.
    """
    # Read once, when gcsfs is imported: else it loads gRPC, to ask about kinds of buckets that make no difference to
    # the reading of files, and asks for minutes where the answer cannot be had.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, and slow

    if not logging.getLogger("fulldeck").isEnabledFor(logging.DEBUG):
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a stack trace of what it then raises
    system, path = url_to_fs(address)
    return system, str(path)


def public_address(address: str) -> str:
    """An address of a file, a server or a database without what may be secret in it: user, password and query."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    host, slash, path = re.split("[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
