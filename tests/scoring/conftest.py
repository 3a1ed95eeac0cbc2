"""A bucket for tests that score from one and into one."""

from collections.abc import Iterator

import pytest

from real_bucket import an_empty_bucket


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of an empty bucket."""
    with an_empty_bucket("cards") as address:
        yield address
