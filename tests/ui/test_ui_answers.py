"""The page's two sources give the same answers; the service runs on a real port of the loopback."""

import io
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from PIL import Image

from fulldeck.errors import ConfigError, FulldeckError, ImageError
from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings
from fulldeck.ui.answers import Local, Remote


@pytest.fixture(scope="module")
def url(tiny_model) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(Settings(model=tiny_model))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    deadline = time.monotonic() + 30
    while app.state.engine.recognizer is None and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=30)


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
