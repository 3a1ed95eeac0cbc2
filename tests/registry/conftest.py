"""A registry of one's own, on SQLite in a temporary folder."""

import pytest

from fulldeck.registry.store import open_registry, register


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database with its tables, which take seconds to make; to be copied."""
    from fulldeck.registry.store import versions

    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    versions(open_registry(f"sqlite:///{path}"))
    return path


@pytest.fixture
def uri(empty_database, tmp_path):
    home = tmp_path / "mlflow"
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_database.read_bytes())
    return f"sqlite:///{home / 'mlflow.db'}"


@pytest.fixture
def registry(uri):
    return open_registry(uri)


@pytest.fixture
def three(registry, make_model, metadata):
    """A registry with the versions 1, 2 and 3, and no champion."""
    for number in (1, 2, 3):
        register(registry, make_model(seed=number, metadata={**metadata, "version": f"v{number}"}))
    return registry
