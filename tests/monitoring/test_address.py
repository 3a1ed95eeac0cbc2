import pytest
from sqlalchemy.engine import make_url

from fulldeck.errors import ConfigError
from fulldeck.monitoring.address import check_address

GOOD = [
    "sqlite:///log.db",
    "sqlite:////var/lib/log.db?timeout=3",
    "postgresql://",
    "postgresql://db/fulldeck",
    "postgresql://me:pa/ss:w%40rd@db:5432/fulldeck?sslmode=require",
    "postgresql+psycopg://me@[::1]:5432/fulldeck",
]


@pytest.mark.parametrize("url", GOOD)
def test_what_names_a_database(url):
    check_address(url)
    assert "@" not in (make_url(url).host or "")


BAD = [
    "",
    "log.db",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:///?secret",
    "mysql://me:secret@db/x",
    "postgresql://me:pass@secret@db/x",
    "postgresql://me:pass@db:secret/x",
]


@pytest.mark.parametrize("url", BAD)
def test_what_names_none_that_lasts_is_refused_without_its_password(url):
    with pytest.raises(ConfigError, match="FULLDECK_PREDICTIONS_DATABASE is no address") as refused:
        check_address(url)
    assert "secret" not in str(refused.value)
