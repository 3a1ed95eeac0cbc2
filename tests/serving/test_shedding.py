"""Who is turned away before a request is made of it is told what the app would tell it, and is counted as there."""

import asyncio
import json

import httpx
import pytest

from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings

BODY = b"x" * 100
HEADERS = [(b"host", b"x"), (b"content-length", b"100"), (b"content-type", b"image/png")]


async def service(model, **settings):
    """A service whose one place is taken, and whose line has no room."""
    app = create_app(Settings(model=str(model), workers=1, max_queue=0, predictions_database="none", **settings))
    await app.state.engine.start()
    queue = app.state.engine.queue
    while not queue.full:
        await queue.enter(asyncio.Event().wait)
    return app


def parsed(answer: bytes) -> tuple[bytes, dict[bytes, bytes], dict[str, object]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert int(headers[b"content-length"]) == len(body)
    return first, headers, json.loads(body)


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
            figures = (await client.get("/metrics")).text.splitlines()
        for line in (
            'fulldeck_requests_total{method="POST",route="/classify",status="503"} 2.0',
            'fulldeck_shed_total{code="queue-full"} 2.0',
            'fulldeck_problems_total{code="queue-full"} 2.0',
        ):
            assert line in figures

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
