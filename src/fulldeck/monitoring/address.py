"""Which addresses name a database of the log: it is looked at when a service starts, so nothing heavy is loaded."""

import re

from fulldeck.errors import ConfigError

_FORMS = (
    r"sqlite:///(?!:memory:)[^?]+(\?.*)?",
    # The password ends at the first "@": what follows it would be shown as the host's name where that is not found.
    r"postgres(ql)?(\+psycopg)?://([^:/@]*(:[^@]*)?@)?(\[[^\]/@]*\]|[^:/?@]*)(:\d*)?(/[^?]*)?(\?.*)?",
)


def check_address(url: str) -> None:
    """Refuse what names no database that lasts.

    Raises:
        ConfigError: it does; the sentence does not show the address, which may have a password in it.
    """
    if not any(re.fullmatch(form, url, re.DOTALL) for form in _FORMS):
        raise ConfigError(
            "FULLDECK_PREDICTIONS_DATABASE is no address of a database that fulldeck writes to: give sqlite:///FILE, "
            "postgresql://USER:PASSWORD@HOST/DATABASE (an @ of the password is %40 in it), or none"
        )
