from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings


@pytest.fixture
def client(tiny_model: Path) -> Iterator[TestClient]:
    """A service whose model is loaded."""
    with TestClient(create_app(Settings(model=tiny_model, max_files=4, max_body_bytes=200_000))) as client:
        client.portal.call(client.app.state.engine.settled.wait)
        yield client
