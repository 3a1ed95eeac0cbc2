"""The page's two sources give the same answers; the service runs on a real port of the loopback."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from PIL import Image

from fulldeck.errors import ConfigError, FulldeckError, ImageError
from fulldeck.serving.app import create_app
from fulldeck.serving.keys import KeyRing, add
from fulldeck.serving.settings import Settings
from fulldeck.ui.answers import Local, Remote


@contextmanager
def served(app) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    deadline = time.monotonic() + 30
    while app.state.engine.recognizer is None and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture(scope="module")
def url(tiny_model) -> Iterator[str]:
    with served(create_app(Settings(model=tiny_model))) as url:
        yield url


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (50, 70), (30, 160, 90)).save(file, "PNG")
    return file.getvalue()


def test_the_service_and_the_model_here_give_the_same_answer(url, tiny_model):
    here, there = Local(tiny_model).ask("a.png", png()), Remote(url).ask("a.png", png())
    assert there.label == here.label
    assert there.accepted == here.accepted
    assert there.probability == pytest.approx(here.probability, abs=1e-6)
    assert [other.label for other in there.alternatives] == [other.label for other in here.alternatives]


@pytest.mark.parametrize("name", ["a.txt", 'quo"te\r\n.txt', "ä♠.txt"])
def test_the_services_own_sentence_comes_through(url, name):
    with pytest.raises(ImageError, match=r"txt: .*no image"):
        Remote(f"{url}/").ask(name, b"no")


def test_a_server_that_is_no_fulldeck_service(url):
    with pytest.raises(FulldeckError, match="Not Found"):
        Remote(f"{url}/elsewhere").ask("a.png", png())


def test_an_address_must_be_the_webs():
    with pytest.raises(ConfigError, match="file:///etc/passwd"):
        Remote("file:///etc/passwd")


def test_a_service_that_asks_for_a_key_gets_it(tiny_model, tmp_path):
    file = tmp_path / "keys"
    key = add(file, "page")
    with served(create_app(Settings(model=tiny_model), KeyRing(file))) as url:
        assert Remote(url, key).ask("a.png", png()).label == Local(tiny_model).ask("a.png", png()).label
        with pytest.raises(FulldeckError, match="key"):
            Remote(url).ask("a.png", png())
