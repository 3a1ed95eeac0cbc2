"""What the server does with connections, by sockets that do what no client should."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from real_server import HEAD, PART, answer, connect, serving
from sent_images import jpeg


@pytest.fixture(scope="module")
def url(tiny_model) -> Iterator[str]:
    limits = {
        "FULLDECK_MAX_BODY_BYTES": "500000",
        "FULLDECK_MAX_HEADER_BYTES": "4096",
        "FULLDECK_HEADER_SECONDS": "0.6",
        "FULLDECK_BODY_SECONDS": "0.5",
        "FULLDECK_MAX_CONNECTIONS": "30",
    }
    with serving("--model", str(tiny_model), **limits) as (_, address):
        yield address


def closes_after(connection: socket.socket) -> float:
    start = time.perf_counter()
    assert answer(connection) == b""
    return time.perf_counter() - start


def still_serves(url: str) -> bool:
    response = httpx.post(f"{url}/classify/", content=jpeg(), headers={"Content-Type": "image/jpeg"}, timeout=20)
    assert response.status_code == 200, response.text
    return True


def test_a_client_that_never_sends_a_head_is_cut_off(url):
    with connect(url) as silent:
        assert 0.3 < closes_after(silent) < 5


def test_a_head_that_dribbles_is_cut_off_however_steadily(url):
    with connect(url) as connection:
        start = time.perf_counter()
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with suppress(OSError):  # a reset or a broken pipe: the other side is gone
            while time.perf_counter() - start < 5:
                connection.sendall(b"X: y\r\n")
                time.sleep(0.05)
        assert time.perf_counter() - start < 4


def test_the_head_after_an_answer_has_no_more_time_than_the_first(url):
    with connect(url) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        received = connection.recv(65536)
        connection.sendall(b"GET /hea")
        start = time.perf_counter()
        received += answer(connection)
        assert time.perf_counter() - start < 4  # uvicorn's own limit, of an idle connection, is five seconds
        assert received.count(b"HTTP/1.1 ") == 1


def test_an_endless_head_is_refused_by_its_size(url):
    with connect(url) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Filler: 0123456789\r\n" * 300)
        received = answer(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "head-too-large"
    assert still_serves(url)


def head_of(length: int) -> bytes:
    start = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
    return start + b"y" * (length - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["alone", "after another"])
@pytest.mark.parametrize(("length", "status"), [(4096, b"200"), (4097, b"431"), (60_000, b"431")])
def test_the_size_of_a_head_is_bounded_to_the_byte_though_it_comes_at_once(url, before, length, status):
    with connect(url) as connection:
        connection.sendall(before + head_of(length))
        answers = answer(connection)
    assert answers.rpartition(b"HTTP/1.1 ")[2].startswith(status)
    assert still_serves(url)


@pytest.mark.parametrize(
    "start",
    [b"2\r\n--\r\n0\r\nX: y\r\n", b"2\r\n--\r\n0\r\nX: ", b"5;extension="],
    ids=["trailers", "a trailer", "a chunk's extension"],
)
def test_what_is_endless_around_a_body_is_refused_by_its_size(url, start):
    with connect(url) as connection:
        # More than is read at once, as what comes with the head goes free.
        more = b"X: y\r\n" * 100_000 if start.endswith(b"\n") else b"y" * 600_000
        connection.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + start + more)
        head, _, body = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431")
    assert json.loads(body)["code"] == "head-too-large"
    assert still_serves(url)


def test_a_body_may_come_in_small_chunks_but_not_in_single_bytes_without_end(url):
    def chunks(size: int) -> bytes:
        image = jpeg()
        parts = [image[start : start + size] for start in range(0, len(image), size)]
        return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    head = b"POST /classify/ HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(url) as connection:
        connection.sendall(head + chunks(8))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    with connect(url) as connection:
        connection.sendall(head + chunks(1)[:-5] * 20)
        assert answer(connection).startswith(b"HTTP/1.1 431")
    assert still_serves(url)


def test_requests_may_follow_each_other_at_once_but_not_by_the_thousand(url):
    with connect(url) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 49 + head_of(200))
        assert answer(connection).count(b"HTTP/1.1 200") == 50
    with connect(url) as connection:
        received = b""
        with suppress(OSError):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
            received = answer(connection)
        assert received.count(b"HTTP/1.1 200") < 5000
    assert still_serves(url)


def test_a_body_that_never_ends_is_given_up_and_its_client_told(url):
    with connect(url) as connection:
        connection.sendall(f"{HEAD}Content-Length: 9999\r\n\r\n--b\r\n".encode())
        received = answer(connection)  # and the connection is not kept for the rest
        assert received.startswith(b"HTTP/1.1 408")
        assert b"body-timeout" in received


def test_a_body_too_large_is_answered_though_the_client_still_sends(url):
    # Cut off at once, it would get a reset while it writes, and never read why.
    with connect(url) as connection:
        connection.sendall(f"{HEAD}Content-Length: 3000000\r\n\r\n".encode())
        for _ in range(30):
            connection.sendall(bytes(100_000))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_refused_with_the_name_of_the_file_in_which_it_grew_too_large(url):
    whole = PART.replace(b'"a"', b'"small.png"') + jpeg() + b"\r\n" + PART.replace(b'"a"', b'"large.png"')
    with connect(url) as connection:
        connection.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        with suppress(OSError):
            for chunk in (whole, *[bytes(50_000)] * 20):
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        body = json.loads(answer(connection).partition(b"\r\n\r\n")[2])
    assert (body["status"], body["code"]) == (413, "body-too-large")
    assert "large.png" in body["detail"]


def test_httpx_reads_why_its_large_body_was_refused(url):
    for content in (bytes(5_000_000), iter([bytes(100_000)] * 50)):
        response = httpx.post(f"{url}/classify/", content=content, headers={"Content-Type": "image/png"}, timeout=20)
        assert response.status_code == 413
        assert response.json()["code"] == "body-too-large"


def test_a_connection_goes_on_after_a_refusal_whose_body_is_bounded(url):
    with httpx.Client(base_url=url, timeout=20) as client:
        refused = client.post("/classify/", content=bytes(300_000), headers={"Content-Type": "text/plain"})
        assert refused.status_code == 415
        assert "connection" not in refused.headers
        assert client.get("/health").status_code == 200


def test_connections_beyond_their_number_are_refused_at_once_and_the_slow_ones_soon_make_room(url):
    slow = [connect(url) for _ in range(30)]
    try:
        with connect(url) as one_more:
            start = time.perf_counter()
            one_more.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            received = answer(one_more)
            assert received.startswith(b"HTTP/1.1 503")
            assert b"Retry-After: 1" in received
            assert b"too-many-connections" in received
            assert time.perf_counter() - start < 5
        for connection in slow:
            assert answer(connection) == b""
    finally:
        for connection in slow:
            connection.close()
    assert still_serves(url)


def test_clients_that_vanish_in_the_middle_of_their_bodies_leave_nothing_behind(url):
    for _ in range(20):
        with connect(url) as connection:
            connection.sendall(f"{HEAD}Content-Length: 400000\r\n\r\n".encode() + PART + bytes(10_000))
    assert still_serves(url)
    deadline = time.perf_counter() + 10
    while (figures := httpx.get(f"{url}/metrics", timeout=20).text) and time.perf_counter() < deadline:
        if "fulldeck_in_flight 0.0" in figures and "fulldeck_pending_bytes 0.0" in figures:
            return
        time.sleep(0.05)
    raise AssertionError(figures)


def test_a_client_that_asks_and_never_reads_is_cut_off(url):
    ask, often = b"GET /docs-files/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n", 20
    for patience in (1.5, 6, 24):  # seconds: a busy machine takes longer until it has sent all that it can
        with connect(url) as connection:
            connection.sendall(ask * often)
            time.sleep(patience)
            received = b""
            with suppress(OSError):
                received = answer(connection)
        if received.count(b"HTTP/1.1 200") < often:
            break
    else:
        pytest.fail("all answers came, to a client that did not read")
    assert still_serves(url)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # TLS
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        f"{HEAD}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n".encode(),
    ],
)
def test_what_is_no_http_is_refused(url, sent):
    with connect(url) as connection:
        connection.sendall(sent)
        head, _, body = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "malformed-request"
    assert still_serves(url)


def test_what_never_became_a_request_is_refused_with_the_headers_that_every_answer_has(url):
    usual = {name for name in httpx.get(f"{url}/health", timeout=20).headers if name not in {"date", "x-request-id"}}
    with connect(url) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        head = answer(connection).partition(b"\r\n\r\n")[0].decode()
    assert usual <= {line.partition(":")[0].lower() for line in head.splitlines()[1:]}
    assert "x-content-type-options: nosniff" in head


def test_what_never_became_a_request_is_counted_too(url):
    def count(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{url}/metrics", timeout=20).text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    malformed, refused = (
        'fulldeck_problems_total{code="malformed-request"}',
        'fulldeck_shed_total{code="too-many-connections"}',
    )
    before = count(malformed), count(refused)
    with connect(url) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        answer(connection)
    with ExitStack() as stack:
        for _ in range(33):
            stack.enter_context(connect(url))
        assert answer(stack.enter_context(connect(url))).startswith(b"HTTP/1.1 503")
    while count(refused) <= before[1]:
        pass
    assert count(malformed) == before[0] + 1


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(url):
    with connect(url) as connection:
        image = jpeg()
        connection.sendall(
            b"POST /classify/ HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(image)
        )
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(image)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_an_answers_head_and_body_come_together(url):
    with connect(url) as connection:
        for _ in range(3):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).endswith(b'\r\n\r\n{"status":"ok"}')
