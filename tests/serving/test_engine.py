"""What becomes of requests when there are more than the threads can take, or when one takes too long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from fulldeck.serving.app import create_app
from fulldeck.serving.engine import PLACES_PER_WORKER
from fulldeck.serving.settings import Settings
from sent_images import encoded

SMALL = encoded((250, 10, 10))
LARGE = encoded((10, 10, 250), size=(4000, 4000))
"""Takes a tenth of a second to decode, or several."""

PNG = {"Content-Type": "image/png"}


@asynccontextmanager
async def service(model: Path, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(model=model, **settings))
    await app.state.engine.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        client.app = app
        yield client
    app.state.engine.stop()
    await app.state.recorder.log.stop(10)


async def figures(client: httpx.AsyncClient) -> dict[str, float]:
    lines = (await client.get("/metrics")).text.splitlines()
    return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


async def occupied(client: httpx.AsyncClient) -> list[asyncio.Future[httpx.Response]]:
    """Requests that take all places of one worker for a while."""
    places = range(PLACES_PER_WORKER)
    large = [asyncio.ensure_future(client.post("/classify/", content=LARGE, headers=PNG)) for _ in places]
    while not client.app.state.engine.queue.busy:
        await asyncio.sleep(0)
    return large


async def decoded(client: httpx.AsyncClient, jobs: int) -> None:
    """Wait until so many jobs have left their decoding, those that nobody waits for any more, too."""
    while (await figures(client)).get('fulldeck_stage_seconds_count{stage="decode"}', 0) < jobs:
        await asyncio.sleep(0.01)


def test_past_its_capacity_it_sheds_at_once_and_answers_what_it_took(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1, max_queue=3, queue_seconds=60, decode_seconds=60) as client:
            loop = asyncio.get_running_loop()
            start = loop.time()
            ended: list[tuple[int, float]] = []

            async def ask() -> httpx.Response:
                response = await client.post("/classify/", content=LARGE, headers=PNG)
                ended.append((response.status_code, loop.time() - start))
                return response

            responses = await asyncio.gather(*(ask() for _ in range(PLACES_PER_WORKER + 10)))
            taken = [r for r in responses if r.status_code == 200]
            shed = [r for r in responses if r.status_code == 503]
            assert (len(taken), len(shed)) == (PLACES_PER_WORKER + 3, 7)  # three in the line
            assert {r.json()["code"] for r in shed} == {"queue-full"}
            assert {r.headers["retry-after"] for r in shed} == {"1"}
            assert [status for status, _ in ended[:7]] == [503] * 7
            shown = await figures(client)
            assert shown['fulldeck_shed_total{code="queue-full"}'] == 7
            assert shown["fulldeck_queued"] == 0
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200

    asyncio.run(scenario())


def test_a_request_waits_only_so_long_for_its_turn(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1, queue_seconds=0.01) as client:
            large = await occupied(client)
            late = await client.post("/classify/", content=SMALL, headers=PNG)
            assert late.status_code == 503
            assert late.json()["code"] == "queue-timeout"
            assert "retry-after" in late.headers
            assert {r.status_code for r in await asyncio.gather(*large)} == {200}

    asyncio.run(scenario())


def test_a_request_that_takes_too_long_in_all_is_504(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, request_seconds=0.02) as client:
            response = await client.post("/classify/", content=LARGE, headers=PNG)
            assert response.status_code == 504
            assert response.json()["code"] == "request-timeout"
            await decoded(client, 1)
            assert (await figures(client))['fulldeck_shed_total{code="request-timeout"}'] == 1

    asyncio.run(scenario())


def test_an_image_that_takes_too_long_to_decode_is_named(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1, decode_seconds=0.02) as client:
            files = [("files", ("small.png", SMALL)), ("files", ("large.png", LARGE)), ("files", ("next.png", SMALL))]
            response = await client.post("/classify/", files=files)
            assert response.status_code == 422
            body = response.json()
            assert body["code"] == "decode-timeout"
            assert [(e["file"], e["index"]) for e in body["errors"]] == [("large.png", 1)]
            # The thread is not lost with it; and what came after the slow file is not even begun.
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200
            shown = await figures(client)
            assert [shown[f'fulldeck_stage_seconds_count{{stage="{stage}"}}'] for stage in ("decode", "infer")] == [
                1,
                1,
            ]

    asyncio.run(scenario())


def test_a_client_that_leaves_while_it_waits_is_forgotten(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as client:
            large = await occupied(client)
            messages = iter([{"type": "http.request", "body": SMALL, "more_body": False}, {"type": "http.disconnect"}])
            sent = []

            async def receive() -> dict[str, object]:
                return next(messages)

            async def send(message: dict[str, object]) -> None:
                sent.append(message)

            headers = [(b"host", b"test"), (b"content-type", b"image/png")]
            request = {"type": "http", "method": "POST", "path": "/classify/", "query_string": b"", "headers": headers}
            await client.app(request, receive, send)
            assert sent == []
            assert not any(task.done() for task in large)
            assert {r.status_code for r in await asyncio.gather(*large)} == {200}
            shown = await figures(client)
            assert shown['fulldeck_requests_total{method="POST",route="/classify",status="499"}'] == 1
            assert shown['fulldeck_stage_seconds_count{stage="decode"}'] == PLACES_PER_WORKER

    asyncio.run(scenario())


def test_all_bodies_together_have_a_limit(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1, max_pending_bytes=len(LARGE) + len(SMALL)) as client:
            held = asyncio.ensure_future(client.post("/classify/", content=LARGE, headers=PNG))
            while not client.app.state.memory.held:
                await asyncio.sleep(0)
            refused = await client.post("/classify/", content=SMALL + b"1", headers=PNG)
            assert refused.status_code == 503
            assert refused.json()["code"] == "out-of-memory"
            assert "retry-after" in refused.headers
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200
            assert (await held).status_code == 200
            assert (await figures(client))["fulldeck_pending_bytes"] == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("workers", [1, 3])
def test_many_files_are_shared_out_and_come_back_in_their_order(tiny_model, workers):
    images = [encoded((9 * i, 255 - 9 * i, (40 * i) % 256)) for i in range(20)]

    async def scenario() -> None:
        async with service(tiny_model, workers=workers) as client:
            alone = [
                (await client.post("/classify/", content=image, headers=PNG)).json()["predictions"][0]["label"]
                for image in images
            ]
            files = [("files", (str(i), image)) for i, image in enumerate(images)]
            together = (await client.post("/classify/", files=files)).json()["predictions"]
            assert [p["label"] for p in together] == alone
            assert len(set(alone)) > 5
            files[3], files[17] = ("files", ("3", b"bad")), ("files", ("17", b"bad"))
            errors = (await client.post("/classify/", files=files)).json()["errors"]
            assert [(e["file"], e["index"]) for e in errors] == [("3", 3), ("17", 17)]

    asyncio.run(scenario())
