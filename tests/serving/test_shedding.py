"""Who is turned away before a request is made of it is told what the app would tell it, and is counted as there."""

import asyncio

import httpx
import pytest

from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings
from raw_connection import answered, connected, parsed

BODY = b"x" * 100
HEADERS = [(b"host", b"x"), (b"content-length", b"100"), (b"content-type", b"image/png")]
HEAD = b"Host: x\r\nContent-Type: image/png\r\nContent-Length: 100\r\n"


def request(headers: bytes = HEAD, *, first: bytes = b"POST /classify/ HTTP/1.1", body: bytes = BODY) -> bytes:
    return first + b"\r\n" + headers + b"\r\n" + body


async def service(model, **settings):
    """A service whose one place is taken, and whose line has no room."""
    app = create_app(Settings(model=str(model), workers=1, max_queue=0, predictions_database="none", **settings))
    await app.state.engine.start()
    queue = app.state.engine.queue
    while not queue.full:
        await queue.enter(asyncio.Event().wait)
    return app


async def has_counted_two(app) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        figures = (await client.get("/metrics")).text.splitlines()
    for line in (
        'fulldeck_requests_total{method="POST",route="/classify",status="503"} 2.0',
        'fulldeck_shed_total{code="queue-full"} 2.0',
        'fulldeck_problems_total{code="queue-full"} 2.0',
    ):
        assert line in figures


def test_it_says_and_counts_what_the_app_does(tiny_model):
    async def scenario() -> None:
        app = await service(tiny_model)
        answer = app.state.shedding.answer(b"POST", b"/classify/", [*HEADERS, (b"x-request-id", b"mine-1")])
        assert answer is not None
        first, headers, body = parsed(answer)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            wanted = await client.post("/classify/", content=BODY, headers={"X-Request-ID": "mine-1"})
            assert first == b"HTTP/1.1 503 Service Unavailable"
            assert headers == {name.lower(): value for name, value in wanted.headers.raw}
            assert body == wanted.json()
        await has_counted_two(app)

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_an_id_that_is_none_gets_another(tiny_model):
    async def scenario() -> None:
        app = await service(tiny_model)
        ids = set()
        for given in (b'"},{"', b"", b"a" * 200):
            answer = app.state.shedding.answer(b"POST", b"/locate/", [*HEADERS, (b"x-request-id", given)])
            _, headers, body = parsed(answer)
            assert body["request_id"] == headers[b"x-request-id"].decode()
            ids.add(body["request_id"])
        assert all(len(each) == 32 for each in ids)
        assert len(ids) == 3

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize(
    ("method", "target", "more"),
    [
        (b"GET", b"/classify/", []),
        (b"POST", b"/admin/reload", []),
        (b"POST", b"/classify/?x", []),
        (b"POST", b"/classify/", [(b"origin", b"http://elsewhere")]),
        (b"POST", b"/classify/", [(b"expect", b"100-continue")]),
        (b"POST", b"/classify/", [(b"transfer-encoding", b"chunked")]),
        (b"POST", b"/classify/", [(b"content-length", b"99999999999")]),
        (b"POST", b"/classify/", [(b"content-length", b"-1")]),
    ],
)
def test_what_depends_on_more_than_the_line_is_left_to_the_app(tiny_model, method, target, more):
    async def scenario() -> None:
        app = await service(tiny_model)
        assert app.state.shedding.answer(method, target, [*HEADERS, *more]) is None

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_while_there_is_room_all_may_come_in_until_those_who_did_fill_it(tiny_model):
    async def scenario() -> None:
        app = create_app(Settings(model=str(tiny_model), workers=1, max_queue=2, predictions_database="none"))
        await app.state.engine.start()
        room = 0
        while app.state.shedding.answer(b"POST", b"/classify/", HEADERS) is None:
            room += 1
        assert room == app.state.engine.queue.coming
        assert room > 2
        await asyncio.sleep(0)  # they did not come after all
        assert app.state.shedding.answer(b"POST", b"/classify/", HEADERS) is None

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_request_that_came_whole_is_told_the_same(tiny_model):
    async def scenario() -> None:
        app = await service(tiny_model)
        wanted = app.state.shedding.answer(b"POST", b"/classify/", HEADERS)
        told = app.state.shedding.answer_whole(request())
        assert wanted is not None
        assert told is not None
        first, headers, body = parsed(told)
        identity = headers[b"x-request-id"].decode()
        assert body["request_id"] == identity
        other = parsed(wanted)[1][b"x-request-id"].decode()
        assert identity != other
        assert (first, told.replace(identity.encode(), other.encode())) == (parsed(wanted)[0], wanted)
        await has_counted_two(app)

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize(
    ("headers", "identity"),
    [
        (HEAD + b"X-Request-ID: mine-1\r\n", "mine-1"),
        (b"x-request-id:mine-2  \r\n" + HEAD, "mine-2"),
        (b"X-Request-ID: mine-1\r\n" + HEAD + b"X-Request-ID: mine-2\r\n", "mine-2"),
        (HEAD + b"X-Request-ID: not mine\r\n", None),
        (HEAD + b"X-Request-ID:\r\n", None),
    ],
)
def test_one_that_came_whole_keeps_its_id(tiny_model, headers, identity):
    async def scenario() -> None:
        app = await service(tiny_model)
        told = app.state.shedding.answer_whole(request(headers))
        assert told is not None
        _, told_headers, body = parsed(told)
        assert body["request_id"] == told_headers[b"x-request-id"].decode()
        assert body["request_id"] == identity or (identity is None and len(str(body["request_id"])) == 32)

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize(
    "headers",
    [
        HEAD,
        b"Content-Length: 100\r\n",
        b"content-length:100\r\nHOST: x\r\n",
        HEAD + b"Connection: keep-alive\r\n",
        HEAD + b"Connection: Keep-Alive\r\n",
        b"User-Agent: curl/8\r\nAccept: */*\r\n" + HEAD + b"Authorization: Bearer x\r\n",
    ],
)
def test_what_plain_clients_send_is_read(tiny_model, headers):
    async def scenario() -> None:
        app = await service(tiny_model)
        for path in (b"/classify/", b"/classify", b"/locate/", b"/locate"):
            assert app.state.shedding.answer_whole(request(headers, first=b"POST %s HTTP/1.1" % path))

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize(
    "data",
    [
        request(body=BODY[:-1]),
        request(body=BODY + b"x"),
        request()[:20],
        b"\r\n" + request(),
        request().replace(b"\r\n", b"\n"),
        request(first=b"POST /classify/ HTTP/1.0"),
        request(first=b"GET /classify/ HTTP/1.1"),
        request(first=b"POST /admin/reload HTTP/1.1"),
        request(first=b"POST /classify/?x HTTP/1.1"),
        request(HEAD + b"Content-Length: 100\r\n"),
        request(HEAD + b"Content-Length: 1\r\n"),
        request(b"Content-Length : 100\r\n"),
        request(b"Content-Length: +100\r\n"),
        request(b"Content-Length: 100, 100\r\n"),
        request(b"Host: x\r\n"),
        request(HEAD + b"Transfer-Encoding: chunked\r\n"),
        request(b"transfer-encoding: chunked\r\n" + HEAD),
        request(HEAD + b"Expect: 100-continue\r\n"),
        request(HEAD + b"Origin: http://elsewhere\r\n"),
        request(HEAD + b"Upgrade: h2c\r\n"),
        request(HEAD + b"Connection: close\r\n"),
        request(HEAD + b"Connection: keep-alive, upgrade\r\n"),
        request(HEAD + b"Proxy-Connection: close\r\n"),
        request(HEAD + b"X: a\r\n b\r\n"),
        request(HEAD + b"X: \xff\r\n"),
        request(HEAD + b"X: a\tb\r\n"),
        request(HEAD + b"X: a\x00b\r\n"),
        request(HEAD + b": a\r\n"),
        request(HEAD + b"X: " + b"y" * 70_000 + b"\r\n"),
        request(b"Content-Length: " + b"9" * 5000 + b"\r\n"),
    ],
    ids=lambda data: str(data[:80]),
)
def test_all_else_is_left_to_the_parser(tiny_model, data):
    async def scenario() -> None:
        app = await service(tiny_model)
        assert app.state.shedding.answer_whole(data) is None

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_body_that_is_too_long_is_left_to_the_app(tiny_model):
    async def scenario() -> None:
        app = await service(tiny_model, max_body_bytes=99)
        assert app.state.shedding.answer_whole(request()) is None

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_one_that_came_whole_may_come_in_while_there_is_room(tiny_model):
    async def scenario() -> None:
        app = create_app(Settings(model=str(tiny_model), workers=1, max_queue=0, predictions_database="none"))
        await app.state.engine.start()
        assert app.state.shedding.answer_whole(request()) is None

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_connection_goes_on_however_its_requests_came(tiny_model):
    async def scenario() -> None:
        app = await service(tiny_model)
        async with connected(app) as (reader, writer):
            whole = request()
            for pieces in (
                [whole],
                [whole[:50], whole[50:]],
                [whole],
                [whole + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"],
                [whole],
                [b"GET /health HTTP/1.1\r\n", b"Host: x\r\n\r\n"],
                [request(first=b"GET /health HTTP/1.1")],
                [whole],
            ):
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0.05)
                wanted = [b"HTTP/1.1 503 Service Unavailable"] * (whole in b"".join(pieces))
                wanted += [b"HTTP/1.1 200 OK"] * (b"/health" in b"".join(pieces))
                assert [(await answered(reader))[0] for _ in wanted] == wanted

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_what_looks_like_a_request_inside_of_a_body_is_none(tiny_model):
    async def scenario() -> None:
        app = await service(tiny_model)
        async with connected(app) as (reader, writer):
            inner = request()
            writer.write(request(b"Content-Length: %d\r\n" % len(inner), body=b""))
            assert (await answered(reader))[0] == b"HTTP/1.1 503 Service Unavailable"
            writer.write(inner)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.3)

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_who_is_turned_away_has_time_for_another_head_and_no_more_than_that(tiny_model):
    async def scenario() -> None:
        app = await service(tiny_model, header_seconds=1.0)
        async with connected(app) as (reader, writer):
            loop = asyncio.get_running_loop()
            start = loop.time()
            while loop.time() - start < 1.6:
                writer.write(request())
                assert (await answered(reader))[0] == b"HTTP/1.1 503 Service Unavailable"
                await asyncio.sleep(0.2)
            start = loop.time()
            assert await reader.read() == b""
            assert 0.3 < loop.time() - start < 4

    asyncio.run(asyncio.wait_for(scenario(), 30))
