"""Harm to a real server: hostile bodies and clients that dawdle. It answers each as it should, and serves on."""

import asyncio
import contextlib
import random
import socket
import struct
import time
import zlib
from collections import Counter

import httpx
import pytest

from real_server import HEAD, connect, serving
from sent_images import encoded, jpeg

BODIES = 2000
DAWDLERS = 200

ALLOWED = {200, 400, 408, 411, 413, 415, 422, 431, 503}
"""What a hostile request may get: an answer, its own fault, or "busy"; never 500, and never nothing."""


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in some hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def mutated(data: bytes, chance: random.Random) -> bytes:
    """An image with some bytes changed, cut out, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(max(1, len(changed)))
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = chance.randbytes(chance.randint(1, 4))
            case 1:
                del changed[at : at + chance.randint(1, 50)]
            case 2:
                changed[at:at] = changed[at : at + chance.randint(1, 50)]
            case _ if chance.random() < 0.2:
                del changed[at:]
    return bytes(changed)


def hostile(images: list[bytes], chance: random.Random) -> tuple[dict[str, str], bytes]:
    """Headers and a body that somebody may send who means harm, or has broken software."""
    image = mutated(chance.choice(images), chance)
    match chance.randrange(8):
        case 0:
            return {"Content-Type": "multipart/form-data; boundary=b"}, chance.randbytes(chance.randint(0, 500))
        case 1:  # another boundary than it says, or none
            kind = chance.choice(["multipart/form-data; boundary=other", "multipart/form-data", "multipart/form-data;"])
            return {"Content-Type": kind}, form(image, chance)
        case 2:
            return {"Content-Type": "multipart/form-data; boundary=b"}, mutated(form(image, chance), chance)
        case 3:
            return {"Content-Type": "multipart/form-data; boundary=b"}, form(image, chance)
        case 4:
            odd = chance.choice(
                ["image/jpeg; charset=\xff", "text/html", "image/", "application/x-www-form-urlencoded"]
            )
            return {"Content-Type": odd, "Content-Disposition": 'attachment; filename="../../\x7f"'}, image
        case 5:
            return {"Content-Type": "image/png"}, bomb()
        case _:
            return {"Content-Type": "image/jpeg"}, image


def form(image: bytes, chance: random.Random) -> bytes:
    name = chance.choice([b"files", b"file", b"other", b"", b'files"; filename="a"; x="', b"\xff\xfe"])
    part = b'--b\r\nContent-Disposition: form-data; name="' + name + b'"; filename="a"\r\n\r\n' + image + b"\r\n"
    return part * chance.randint(1, 3) + b"--b--\r\n"


def well(url: str) -> None:
    """A user comes, and is served."""
    response = httpx.post(f"{url}/classify/", files={"files": ("a.png", encoded((1, 2, 3)))}, timeout=60)
    assert response.status_code == 200


def test_thousands_of_hostile_bodies(tiny_model):
    chance = random.Random(4)
    images = [jpeg(), *(encoded((200, 10, 90), kind) for kind in ("PNG", "WebP", "GIF", "BMP", "TIFF", "JPEG"))]
    bodies = [hostile(images, chance) for _ in range(BODIES)]
    answers: Counter[int] = Counter()

    async def send(client: httpx.AsyncClient, part: list[tuple[dict[str, str], bytes]]) -> None:
        for headers, body in part:
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            answers[(await client.post("/classify/", content=body, headers=raw)).status_code] += 1

    async def send_all(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            await asyncio.gather(*(send(client, bodies[start::8]) for start in range(8)))

    with serving("--model", str(tiny_model)) as (process, url):
        asyncio.run(send_all(url))
        assert set(answers) <= ALLOWED, answers
        assert answers.total() == BODIES
        assert min(answers[200], answers[400], answers[415], answers[422]) > BODIES / 50  # they get to every corner
        well(url)
        assert process.poll() is None


@pytest.mark.parametrize(
    "lies",
    [
        b"Content-Length: 5\r\n\r\n" + b"x" * 5000,
        b"Content-Length: 5000\r\n\r\nx",
        b"Content-Length: -1\r\n\r\nx",
        b"Content-Length: 99999999999999999999\r\n\r\nx",
        b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nxxxx",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nxxx",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\nx",
    ],
)
def test_lengths_that_lie(dawdled_at, lies):
    """Each is refused or cut off, and the connection is not left to whatever follows."""
    with connect(dawdled_at) as connection:
        connection.sendall(HEAD.encode() + lies)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
    assert not received or received.startswith(b"HTTP/1.1 4"), received
    well(dawdled_at)


@pytest.fixture(scope="module")
def dawdled_at(tiny_model):
    """A server that waits two seconds for a head and for a body."""
    limits = {"FULLDECK_HEADER_SECONDS": "2", "FULLDECK_BODY_SECONDS": "2"}
    with serving("--model", str(tiny_model), **limits) as (_, url):
        yield url


def test_clients_that_send_a_byte_now_and_then(dawdled_at):
    """Half of them dawdle in the head, half in the body; users are served all the while, and then they are gone."""
    with contextlib.ExitStack() as stack:
        dawdlers = [stack.enter_context(connect(dawdled_at)) for _ in range(DAWDLERS)]
        for number, dawdler in enumerate(dawdlers):
            dawdler.sendall(HEAD.encode() + (b"Content-Length: 100000\r\n\r\n--b" if number % 2 else b"X-Slow: "))
        start = time.monotonic()
        while time.monotonic() < start + 2:
            for dawdler in dawdlers:
                with contextlib.suppress(OSError):  # it has been cut off already
                    dawdler.sendall(b"x")
            well(dawdled_at)
        for dawdler in dawdlers:
            dawdler.settimeout(30)
            with contextlib.suppress(ConnectionResetError):
                while dawdler.recv(65536):
                    pass
    figures = httpx.get(f"{dawdled_at}/metrics", timeout=60).text
    assert "fulldeck_in_flight 0.0" in figures
    assert "fulldeck_pending_bytes 0.0" in figures
    well(dawdled_at)
