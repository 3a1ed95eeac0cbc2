import pytest

from fulldeck.remote import public_address


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("/a/b.onnx", "/a/b.onnx"),
        ("https://me:secret@host/a.onnx?signature=secret", "https://host/a.onnx"),
        ("https://me:secret@host:8/c.zip?signature=secret#x", "https://host:8/c.zip"),
        ("https://host#secret", "https://host"),
        ("gs://bucket/folder", "gs://bucket/folder"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////tmp/runs.db", "sqlite:////tmp/runs.db"),
        ("sqlite:////home/me@work/runs.db", "sqlite:////home/me@work/runs.db"),
        ("postgresql+psycopg://user:s@cret@host:5432/db?password=secret", "postgresql+psycopg://host:5432/db"),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(address, seen):
    assert public_address(address) == seen
