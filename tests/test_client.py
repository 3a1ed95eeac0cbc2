"""The client against a real service, and against one that misbehaves as it is told."""

import asyncio
import io
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import fulldeck.client
from fulldeck import Located, Recognizer
from fulldeck.cli import main
from fulldeck.client import AsyncClient, Client, ServiceError
from fulldeck.errors import ConfigError, ImageError
from fulldeck.serving.keys import add
from located_cards import BLUE as BLUE_CARD
from located_cards import RED as RED_CARD
from located_cards import table
from real_server import serving
from sent_images import encoded, jpeg

RED, GREEN, BLUE = encoded((250, 10, 10)), encoded((10, 250, 10)), encoded((10, 10, 250))


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def service(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A real one that asks for keys, and a key."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    key = add(keys, "tests")
    limits = {"FULLDECK_ACCESS": "keys", "FULLDECK_RATE_PER_SECOND": "0", "FULLDECK_MAX_BODY_BYTES": "400000"}
    with serving("--model", str(tiny_model), "--keys", str(keys), **limits) as (_, url):
        yield url, key


@pytest.fixture
def client(service: tuple[str, str]) -> Iterator[Client]:
    with Client(*service) as client:
        yield client


@pytest.fixture
def recognizer(tiny_model: Path) -> Recognizer:
    return Recognizer(tiny_model)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name, data in {"red.png": RED, "grün.png": GREEN, "cut.jpg": jpeg()[:1500], "notes.jpg": b"notes"}.items():
        (Path("photos") / name).write_bytes(data)


# --- a real service --------------------------------------------------------------------------------------------------


def test_it_answers_as_a_recognizer_does(client, recognizer, tmp_path):
    path = tmp_path / "blue.png"
    path.write_bytes(BLUE)
    for picture in (RED, path, str(path)):
        given, wanted = client.classify(picture), recognizer.classify(picture)
        assert (given.label, given.accepted) == (wanted.label, wanted.accepted)
        assert given.probability == pytest.approx(wanted.probability, abs=1e-6)
        assert [a.label for a in given.alternatives] == [a.label for a in wanted.alternatives]
    many = [encoded((6 * i, 250 - 6 * i, (40 * i) % 256)) for i in range(40)]  # more than one request takes
    assert [p.label for p in client.classify(many)] == [p.label for p in recognizer.classify(many)]
    assert client.classify([]) == []


def test_it_knows_the_model(client, recognizer):
    info = client.info
    assert (info.name, info.version, info.labels) == ("tiny", "0.0.1", recognizer.info.labels)
    assert (info.size, info.threshold) == (recognizer.info.size, recognizer.threshold)


def test_a_bad_image_is_named_as_it_is_called_here(client, tmp_path):
    (tmp_path / "notes.jpg").write_bytes(b"notes")
    with pytest.raises(ImageError, match=rf"^{tmp_path}/notes\.jpg: this is no image") as caught:
        client.classify([RED, tmp_path / "notes.jpg"])
    assert caught.value.kind == "not_an_image"
    with pytest.raises(ImageError, match=r"^image: the JPEG is truncated") as caught:
        client.classify(jpeg()[:1500])
    assert caught.value.kind == "truncated"
    with pytest.raises(ImageError, match=r"^mine 1: the file is empty"):
        client.classify([RED, b""], "mine")
    with pytest.raises(ImageError, match=r"none\.jpg: there is no such file"):
        client.classify("none.jpg")
    with pytest.raises(ImageError, match=r"^large: the body is larger than 400,000 bytes") as caught:
        client.classify(bytes(500_000), "large")
    assert caught.value.kind == "too_many_bytes"


def test_a_file_that_is_slow_to_read_does_not_stop_the_event_loop(service, tmp_path):
    os.mkfifo(tmp_path / "slow.png")
    writer = threading.Timer(0.5, (tmp_path / "slow.png").write_bytes, [RED])

    async def ask() -> int:
        async with AsyncClient(*service) as client:
            answer = asyncio.create_task(client.classify([BLUE, tmp_path / "slow.png"]))
            writer.start()
            ticks = 0
            while not answer.done():
                await asyncio.sleep(0.02)
                ticks += writer.is_alive()
            assert len(answer.result()) == 2
            return ticks

    assert asyncio.run(ask()) >= 5


def test_another_threshold(service):
    with Client(*service, threshold=0.0) as client:
        assert client.classify(RED).accepted
    with Client(*service, threshold=1.0) as client:
        assert not client.classify(RED).accepted


def test_the_async_client_does_the_same(service, recognizer):
    async def ask() -> None:
        async with AsyncClient(*service) as client:
            answers = await asyncio.gather(*(client.classify(image) for image in (RED, GREEN, BLUE)))
            assert [a.label for a in answers] == [recognizer.classify(image).label for image in (RED, GREEN, BLUE)]
            assert [p.label for p in await client.classify([BLUE, RED])] == [answers[2].label, answers[0].label]
            assert (await client.info()).labels == recognizer.info.labels
            with pytest.raises(ImageError, match="mine: the file is empty"):
                await client.classify(b"", "mine")

    asyncio.run(ask())


@pytest.mark.parametrize("key", [None, "fd_00000000_wrong"])
def test_without_the_right_key_the_service_says_so_at_once(service, key):
    with Client(service[0], key) as client, pytest.raises(ServiceError, match="key") as caught:
        client.classify(RED)
    assert caught.value.status == 401
    assert caught.value.code in {"no-key", "wrong-key"}
    assert caught.value.request_id


def test_the_command_gives_the_same_as_without_a_service(service, tiny_model, photos):
    url, key = service

    def run(*arguments: str) -> list[tuple[int, str, str]]:
        ways = (["--model", str(tiny_model)], ["--url", url, "--key", key])
        command = ["classify", *arguments, "photos", "-", "none.png"]
        given = [CliRunner().invoke(main, [*command, *way], input=BLUE) for way in ways]
        return [(result.exit_code, result.stdout, result.stderr) for result in given]

    here, there = run()
    assert here == there
    assert here[0] == 1
    assert here[2].count("Error: ") == 3
    here, there = run("--json", "--threshold", "0.9")
    lines = [[json.loads(line) for line in out.splitlines()] for _, out, _ in (here, there)]
    assert [line["file"] for line in lines[0]] == [line["file"] for line in lines[1]]
    assert len(lines[0]) == 6
    for local, remote in zip(*lines, strict=True):
        if "error" in local:
            assert remote == local
        else:
            assert remote["label"] == local["label"]
            assert remote["probability"] == pytest.approx(local["probability"], abs=1e-6)
            assert remote["accepted"] is local["accepted"]


def test_the_command_takes_the_key_from_the_environment_and_says_what_is_wrong_in_a_sentence(service, photos):
    url, key = service

    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["classify", "photos/red.png", *arguments], env=environment)
        return result.exit_code, result.stderr

    assert run("--url", url, FULLDECK_KEY=key) == (0, "")
    code, said = run("--url", url)
    assert code == 1
    assert said.startswith("Error: http://127.0.0.1")
    assert "Authorization: Bearer" in said
    assert run("--url", url, "--model", "x.onnx")[0] == 2
    code, said = run("--url", "localhost:8000")
    assert code == 1
    assert "http://host:port" in said


@pytest.fixture(scope="module")
def locating(tiny_model: Path, tiny_locator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real one with a locator."""
    folder = tmp_path_factory.mktemp("located")
    shutil.copy(tiny_model, folder / "model.onnx")
    shutil.copy(tiny_locator, folder / "locator.onnx")
    with serving("--model", str(folder / "model.onnx")) as (_, url):
        yield url


def test_it_finds_cards_as_a_recognizer_does(locating, tiny_model, tiny_locator, photos):
    photo = png(table({(62, 50): RED_CARD, (202, 134): BLUE_CARD}))
    (Path("photos") / "table.png").write_bytes(photo)
    wanted = Recognizer(tiny_model, locator=tiny_locator).locate([photo, RED, png(table({}))])
    assert [len(each) for each in wanted] == [2, 1, 0]

    async def ask() -> list[Located]:
        async with AsyncClient(locating) as client:
            assert (await client.locate(photo)).cards == client_located[0].cards
            return await client.locate([photo, RED, png(table({}))])

    with Client(locating) as client:
        client_located = client.locate([photo, RED, png(table({}))])
        assert client.locate("photos/table.png") == client_located[0]
        with pytest.raises(ImageError, match=r"^photos/notes\.jpg: this is no image"):
            client.locate(["photos/table.png", "photos/notes.jpg"])
    assert asyncio.run(ask()) == client_located
    for given, expected in zip(client_located, wanted, strict=True):
        assert (given.width, given.height) == (expected.width, expected.height)
        for card, other in zip(given, expected, strict=True):
            assert (card.label, card.accepted, card.corners) == (other.label, other.accepted, other.corners)
            assert card.probability == pytest.approx(other.probability, abs=1e-6)
    with Client(locating, threshold=1.0) as client:
        assert [card.accepted for card in client.locate(photo)] == [False, False]

    command = ["locate", "--json", "photos/table.png", "photos/red.png", "photos/notes.jpg"]
    ways = (["--model", str(tiny_model), "--locator", str(tiny_locator)], ["--url", locating])
    here, there = (CliRunner().invoke(main, [*command, *way]) for way in ways)
    assert here.exit_code == there.exit_code == 1
    lines = [[json.loads(line) for line in result.stdout.splitlines()] for result in (here, there)]
    for local, remote in zip(*lines, strict=True):
        for one in (local, remote):
            for card in one.get("cards", []):
                del card["probability"], card["alternatives"]  # which differ in the last digit
        assert local == remote


# --- one that misbehaves ---------------------------------------------------------------------------------------------

Step = Callable[[BaseHTTPRequestHandler], None]
ANSWER = {
    "model": {"name": "x", "version": "1"},
    "request_id": "r",
    "predictions": [{"file": "image", "label": "joker", "probability": 0.75, "accepted": True, "alternatives": []}],
}


def says(status: int, body: object = None, **headers: str) -> Step:
    def step(request: BaseHTTPRequestHandler) -> None:
        content = json.dumps(body).encode() if not isinstance(body, bytes) else body
        request.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return step


def hangs_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


@contextmanager
def scripted(*steps: Step) -> Iterator[tuple[str, list[float]]]:
    """A server that answers the n-th request by the n-th step, and its requests' times."""
    left, times = list(steps), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            times.append(time.perf_counter())
            self.rfile.read(int(self.headers["Content-Length"]))
            left.pop(0)(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", times
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(fulldeck.client, "FIRST_PAUSE", 0.01)


def classify(url: str, kind: str = "sync", **options: object):
    async def ask():
        async with AsyncClient(url, **options) as client:
            return await client.classify(RED)

    if kind == "async":
        return asyncio.run(ask())
    with Client(url, **options) as client:
        return client.classify(RED)


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
@pytest.mark.parametrize("failure", [says(503), says(429), says(502, b"<html>"), says(504), hangs_up])
def test_a_passing_failure_is_tried_again(quick, kind, failure):
    with scripted(failure, failure, says(200, ANSWER)) as (url, times):
        assert classify(url, kind).label == "joker"
        assert len(times) == 3


@KINDS
def test_it_waits_as_long_as_the_service_asks_for(quick, kind):
    with scripted(says(503, Retry_After="0.3"), says(200, ANSWER)) as (url, times):
        classify(url, kind)
    assert times[1] - times[0] >= 0.3


def test_pauses_grow(monkeypatch):
    monkeypatch.setattr(fulldeck.client, "FIRST_PAUSE", 0.05)
    with scripted(*[says(503)] * 4, says(200, ANSWER)) as (url, times):
        classify(url)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert all(pause >= 0.025 * 2**at for at, pause in enumerate(pauses))


@KINDS
def test_it_gives_up_in_the_end_with_the_services_own_words(quick, kind):
    problem = {"code": "queue-full", "detail": "try later", "request_id": "abc", "errors": []}
    with scripted(*[says(503, problem)] * 3) as (url, times), pytest.raises(ServiceError, match="try later") as caught:
        classify(url, kind, retries=2)
    assert len(times) == 3
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (503, "queue-full", "abc")


@KINDS
def test_it_does_not_wait_longer_than_anybody_would(quick, kind):
    with scripted(says(429, Retry_After="3600")) as (url, times), pytest.raises(ServiceError, match="status 429"):
        classify(url, kind)
    assert len(times) == 1
    tomorrow = formatdate(time.time() + 86400, usegmt=True)
    with scripted(says(503, Retry_After=tomorrow)) as (url, _), pytest.raises(ServiceError, match="status 503"):
        classify(url, kind)


@pytest.mark.parametrize("value", ["soon", "-5", formatdate(0, usegmt=True)])
def test_a_retry_after_that_says_nothing_useful(quick, value):
    with scripted(says(503, Retry_After=value), says(200, ANSWER)) as (url, _):
        assert classify(url).label == "joker"


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_failure_that_stays_is_not_tried_again(quick, status):
    with scripted(says(status)) as (url, times), pytest.raises(ServiceError, match=f"status {status}"):
        classify(url)
    assert len(times) == 1


@KINDS
@pytest.mark.parametrize(
    "body", [b"<html>", [], {}, {"predictions": None}, {"predictions": []}, {"predictions": [{"label": "joker"}]}]
)
def test_an_answer_that_is_none_of_ours_is_said_to_be(quick, kind, body):
    with scripted(says(200, body)) as (url, _), pytest.raises(ServiceError, match="none of a fulldeck service"):
        classify(url, kind)


@KINDS
def test_an_answer_that_cannot_be_unpacked_is_none_of_ours(quick, kind):
    with (
        scripted(says(200, b"no gzip", Content_Encoding="gzip")) as (url, times),
        pytest.raises(ServiceError, match="none of a fulldeck service"),
    ):
        classify(url, kind)
    assert len(times) == 1


@KINDS
@pytest.mark.parametrize("entry", [{"index": 0, "file": 1, "detail": 2, "code": 3}, {"index": "0"}, None])
def test_a_refusal_that_is_none_of_ours_is_said_to_be(quick, kind, entry):
    problem = {"code": "damaged", "detail": "no", "request_id": "abc", "errors": [entry]}
    with scripted(says(422, problem)) as (url, _), pytest.raises(ServiceError, match="answered with status 422"):
        classify(url, kind)


@KINDS
def test_where_nobody_listens_a_sentence_says_so(quick, kind):
    with scripted() as (url, _):
        pass
    with pytest.raises(ServiceError, match=r"gave no answer .*is a fulldeck service running there") as caught:
        classify(url, kind, retries=1)
    assert caught.value.status is None


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "ftp://x", "127.0.0.1:8000", "http://", "http://[::1", "http://x:99999", "http://x/?page=1"],
)
def test_an_address_that_is_none(url):
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigError, match="http://host:port"):
            kind(url)


def test_a_password_in_an_address_is_not_shown(quick):
    with scripted() as (url, _):
        pass
    for address in (url.replace("//", "//user:secret@"), "http://user:secret@x:99999"):
        with pytest.raises((ServiceError, ConfigError), match=r"^http://(127\.0\.0\.1|x):\d+ ") as caught:
            classify(address, retries=0)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"threshold": 1.5}, "from 0 to 1"), ({"threshold": float("nan")}, "from 0 to 1"), ({"retries": -1}, "0 or more")],
)
def test_an_option_that_makes_no_sense(options, said):
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigError, match=said):
            kind("http://x", **options)


@pytest.mark.parametrize("key", ["", "a b", "ключ", "a\nb"])
def test_a_key_that_cannot_be_one_is_not_shown(key):
    with pytest.raises(ConfigError, match="cannot be an API key") as caught:
        Client("http://x", key)
    assert not key or key not in str(caught.value)


@KINDS
@pytest.mark.parametrize(
    "images", [None, [], [{"cards": [{"label": "joker"}], "width": 1, "height": 1}], [{"cards": []}]]
)
def test_a_location_that_is_none_of_ours_is_said_to_be(quick, kind, images):
    async def ask(url: str) -> Located:
        async with AsyncClient(url) as client:
            return await client.locate(RED)

    sentence = "none of a fulldeck service"
    with (
        scripted(says(200, {"images": images})) as (url, _),
        Client(url) as client,
        pytest.raises(ServiceError, match=sentence),
    ):
        asyncio.run(ask(url)) if kind == "async" else client.locate(RED)
