"""A plain request is answered as the app would, and what it holds meanwhile is given back however it ends."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text
from starlette.applications import Starlette

from fulldeck.serving.app import create_app
from fulldeck.serving.crew import Crew
from fulldeck.serving.engine import PLACES_PER_WORKER
from fulldeck.serving.keys import KeyRing, add
from fulldeck.serving.settings import Settings
from raw_connection import answered, connected, listening, parsed
from sent_images import encoded, jpeg

RED = encoded((250, 10, 10))
SLOW = encoded((10, 10, 250), size=(4000, 4000))
"""Takes a tenth of a second to decode, or several."""

PNG = b"Content-Type: image/png\r\n"
TO_THE_APP = b"Origin: http://elsewhere\r\n"
"""Makes a request one that is not plain, and no other difference."""


def form(*files: bytes, field: bytes = b"files") -> bytes:
    parts = [
        b'--edge\r\nContent-Disposition: form-data; name="%s"; filename="%d.png"\r\n\r\n%s\r\n' % (field, number, file)
        for number, file in enumerate(files)
    ]
    return b"".join(parts) + b"--edge--\r\n"


FORM = b"Content-Type: multipart/form-data; boundary=edge\r\n"


def request(body: bytes, more: bytes = b"", *, path: bytes = b"/classify/", kind: bytes = PNG) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%s%sContent-Length: %d\r\n\r\n%s" % (path, kind, more, len(body), body)


@asynccontextmanager
async def service(model: Path, **settings: object) -> AsyncIterator[Starlette]:
    app = create_app(Settings(model=model, **{"predictions_database": "none"} | settings))
    await app.state.engine.start()
    yield app
    app.state.engine.stop()
    if app.state.recorder is not None:
        await app.state.recorder.log.stop(10)


async def figures(app: Starlette) -> dict[str, float]:
    """All that counts: no times, and nothing of this process or of this question."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        lines = (await client.get("/metrics")).text.splitlines()
    found = {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
    return {
        name: value
        for name, value in found.items()
        if name.startswith("fulldeck_")
        and not name.startswith(("fulldeck_worker", "fulldeck_log"))
        and "_created" not in name
        and "seconds_sum" not in name
        and "seconds_bucket" not in name
        and "/metrics" not in name
    }


async def holds_nothing(app: Starlette) -> bool:
    shown = await figures(app)
    held = [shown[f"fulldeck_{name}"] for name in ("in_flight", "queued", "pending_bytes")]
    return not any(held) and not app.state.engine.queue.busy and not app.state.express.under_way


async def ends_up_holding_nothing(app: Starlette) -> None:
    async with asyncio.timeout(20):
        while not await holds_nothing(app):
            await asyncio.sleep(0.01)


async def occupy(app: Starlette) -> None:
    """Take all places, until they are given back."""
    queue = app.state.engine.queue
    while not queue.busy:
        await queue.enter(asyncio.Event().wait)


def give_back(app: Starlette) -> None:
    """Give all places of one worker back."""
    for _ in range(PLACES_PER_WORKER):
        app.state.engine.queue.leave()


async def one_waits(app: Starlette) -> None:
    while not app.state.engine.queue.waiting:
        await asyncio.sleep(0.01)


def run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        (form(RED), b"", 200),
        (form(RED, jpeg(), encoded((1, 2, 3))), b"", 200),
        (form(RED, b"no image", jpeg()[:1500], jpeg()), b"", 422),
        (RED, b"", 200),
        (jpeg(), b"", 200),
        (RED, b"X-Request-ID: mine-1\r\n", 200),
        (RED, b"Connection: keep-alive\r\nUser-Agent: curl/8\r\nAccept: */*\r\n", 200),
        (b"no image at all", b"", 415),
        (jpeg()[:1500], b"", 422),
        (encoded((1, 2, 3), size=(4, 4)), b"", 422),
        (encoded((1, 2, 3), size=(900, 900)), b"", 422),
    ],
    ids=["form", "several", "some bad", "png", "jpeg", "id", "headers", "no image", "truncated", "small", "large"],
)
@pytest.mark.parametrize("path", [b"/classify/", b"/classify"])
def test_it_says_and_counts_what_the_app_does(tiny_model, body, more, status, path):
    async def scenario() -> None:
        told, counted = [], []
        for through in (b"", TO_THE_APP):
            async with service(tiny_model, max_pixels=500_000) as app, connected(app) as (reader, writer):
                before = await figures(app)
                kind = FORM if body.startswith(b"--edge") else PNG
                writer.write(request(body, more + through, path=path, kind=kind))
                await asyncio.sleep(0)
                first, headers, answer = await answered(reader)
                assert answer["request_id"] == headers.pop(b"x-request-id").decode()
                assert headers.pop(b"date")
                assert (answer.pop("request_id") == "mine-1") == (b"mine-1" in more)
                told.append((first, headers, answer))
                counted.append({name: value - before.get(name, 0) for name, value in (await figures(app)).items()})
                await ends_up_holding_nothing(app)
        assert told[0] == told[1]
        assert told[0][0].split()[1] == b"%d" % status
        assert counted[0] == counted[1]
        assert counted[0]['fulldeck_stage_seconds_count{stage="total"}'] == 1

    run(scenario)


@pytest.mark.parametrize(
    "data",
    [
        request(RED, path=b"/locate/"),
        request(RED, path=b"/health"),
        request(RED, path=b"/classify/?x"),
        request(RED, TO_THE_APP),
        request(RED, b"Connection: close\r\n"),
        request(RED, b'Content-Disposition: attachment; filename="a.png"\r\n'),
        request(RED, PNG),
        request(RED, kind=b""),
        request(RED, kind=b"Content-Type: text/plain\r\n"),
        request(RED, kind=b"Content-Type: IMAGE/PNG\r\n"),
        request(form(RED), kind=b"Content-Type: multipart/form-data; boundary=other\r\n"),
        request(form(RED), kind=b"Content-Type: multipart/form-data\r\n"),
        request(form(RED)[:-4], kind=FORM),
        request(form(), kind=FORM),
        request(form(RED, field=b"other"), kind=FORM),
        request(form(*[b"x"] * 5), kind=FORM),
        request(b""),
        request(RED)[:-1],
        request(RED) + b"x",
        request(RED + bytes(1000)),
    ],
    ids=lambda data: str(data[:110]),
)
def test_all_else_is_left_to_the_app(tiny_model, data):
    async def scenario() -> None:
        async with service(tiny_model, max_body_bytes=len(RED) + 500, max_files=4) as app:
            assert app.state.express.begin(data, lambda *_: None) is None
            assert await holds_nothing(app)

    run(scenario)


def test_what_may_not_come_in_now_is_left_to_the_app(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, max_pending_bytes=len(RED) - 1) as app:
            assert app.state.express.begin(request(RED), lambda *_: None) is None
        async with service(tiny_model, workers=1, max_queue=0) as app:
            await occupy(app)
            assert app.state.express.begin(request(RED), lambda *_: None) is None
        app = create_app(Settings(model=tiny_model, predictions_database="none"))  # nothing is loaded
        assert app.state.express.begin(request(RED), lambda *_: None) is None

    run(scenario)


def test_a_key_is_asked_for_and_may_ask_only_so_much(tiny_model, tmp_path):
    key = add(tmp_path / "keys.json", "somebody")
    bearer = b"Authorization: Bearer %s\r\n" % key.encode()

    async def scenario() -> None:
        settings = Settings(model=tiny_model, predictions_folder=tmp_path, rate_per_second=0.001, rate_burst=4)
        app = create_app(settings, KeyRing(tmp_path / "keys.json"))
        await app.state.engine.start()
        express = app.state.express
        for more in (b"", b"Authorization: Bearer %s0\r\n" % key.encode(), b"X-API-Key: none\r\n"):
            assert express.begin(request(RED, more), lambda *_: None) is None
        async with connected(app) as (reader, writer):
            told = []
            for more in (b"", bearer, b"x-api-key: %s\r\n" % key.encode(), bearer + FORM, bearer):
                writer.write(request(form(RED, RED), more, kind=b"") if FORM in more else request(RED, more))
                told.append((await answered(reader))[0].split()[1])
            assert told == [b"401", b"200", b"200", b"200", b"429"]
        (tmp_path / "keys.json").write_text("broken")
        assert express.begin(request(RED, bearer), lambda *_: None) is None
        app.state.engine.stop()
        await app.state.recorder.log.stop(10)

    run(scenario)
    with create_engine(f"sqlite:///{tmp_path / 'predictions.db'}").connect() as connection:
        rows = connection.execute(text("SELECT key_id FROM predictions")).scalars().all()
    assert rows == [key.split("_")[1]] * 4


def test_many_at_once_wait_for_their_turn_and_are_all_answered(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as app, listening(app) as (address, _):
            many = [await asyncio.open_connection(*address) for _ in range(PLACES_PER_WORKER + 12)]
            for _, writer in many:
                writer.write(request(RED))
            told = [await answered(reader) for reader, _ in many]
            assert {first for first, _, _ in told} == {b"HTTP/1.1 200 OK"}
            assert len({answer["request_id"] for _, _, answer in told}) == len(many)
            assert await holds_nothing(app)
            for _, writer in many:
                writer.close()

    run(scenario)


def test_one_waits_only_so_long_for_its_turn(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1, queue_seconds=0.05) as app, connected(app) as (reader, writer):
            await occupy(app)
            writer.write(request(RED))
            first, headers, answer = await answered(reader)
            assert (first.split()[1], answer["code"], headers[b"retry-after"]) == (b"503", "queue-timeout", b"1")
            give_back(app)
            assert await holds_nothing(app)
            writer.write(request(RED))
            assert (await answered(reader))[0] == b"HTTP/1.1 200 OK"

    run(scenario)


def test_one_that_takes_too_long_in_all_is_504(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, request_seconds=0.02) as app, connected(app) as (reader, writer):
            writer.write(request(SLOW))
            first, _, answer = await answered(reader)
            assert (first.split()[1], answer["code"]) == (b"504", "request-timeout")
            await ends_up_holding_nothing(app)
            assert (await figures(app))['fulldeck_shed_total{code="request-timeout"}'] == 1

    run(scenario)


def test_one_that_waits_too_long_in_all_leaves_the_line(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1, request_seconds=0.05) as app, connected(app) as (reader, writer):
            await occupy(app)
            writer.write(request(RED))
            assert (await answered(reader))[2]["code"] == "request-timeout"
            assert app.state.engine.queue.waiting == 0

    run(scenario)


def test_a_picture_that_takes_too_long_to_decode_is_named(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, decode_seconds=0.02) as app, connected(app) as (reader, writer):
            writer.write(request(SLOW))
            first, _, answer = await answered(reader)
            assert (first.split()[1], answer["code"]) == (b"422", "decode-timeout")
            assert [(error["file"], error["index"]) for error in answer["errors"]] == [("image", 0)]
            await ends_up_holding_nothing(app)

    run(scenario)


def test_a_client_that_leaves_while_it_waits_is_forgotten(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as app, connected(app) as (_, writer):
            await occupy(app)
            writer.write(request(RED))
            await one_waits(app)
            writer.close()
            while app.state.engine.queue.waiting:
                await asyncio.sleep(0.01)
            give_back(app)
            assert await holds_nothing(app)
            shown = await figures(app)
            assert shown['fulldeck_requests_total{method="POST",route="/classify",status="499"}'] == 1
            assert shown['fulldeck_stage_seconds_count{stage="decode"}'] == 0

    run(scenario)


def test_a_client_that_leaves_during_its_work_leaves_nothing_behind(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as app, connected(app) as (_, writer):
            writer.write(request(SLOW))
            while not app.state.engine.queue.busy and not app.state.express.under_way:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            await ends_up_holding_nothing(app)
            assert (await figures(app))['fulldeck_stage_seconds_count{stage="infer"}'] == 1

    run(scenario)


def test_requests_that_come_before_the_last_is_answered_are_answered_in_their_order(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model) as app, connected(app) as (reader, writer):
            ids = [b"%d" % number for number in range(9)]
            for identity in ids:
                more = b"X-Request-ID: %s\r\n" % identity
                writer.write(request(SLOW if identity == b"0" else RED, more))
                await asyncio.sleep(0.02)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert [(await answered(reader))[1][b"x-request-id"] for _ in ids] == ids
            assert (await answered(reader))[2] == {"status": "ok"}

    run(scenario)


def test_no_more_is_read_of_a_client_that_does_not_wait_for_its_answers(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as app, connected(app) as (reader, writer):
            await occupy(app)
            writer.write(request(RED))
            await one_waits(app)
            async with asyncio.timeout(20):
                while writer.transport.get_write_buffer_size() < 2**20:  # until nobody takes it any more
                    writer.write(bytes(2**18))
                    await asyncio.sleep(0.01)
            assert len(app.state.express.under_way) == 1
            app.state.engine.queue.leave()
            assert (await answered(reader))[0] == b"HTTP/1.1 200 OK"

    run(scenario)


def test_a_connection_goes_on_through_all_ways_to_be_answered(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1, max_queue=0) as app, connected(app) as (reader, writer):
            whole = request(RED)
            for pieces, status in (
                ([whole], b"200"),
                ([whole[:60], whole[60:]], b"200"),
                ([whole], b"200"),
                (None, b"503"),
                ([whole], b"200"),
                ([request(RED, TO_THE_APP)], b"200"),
                ([whole], b"200"),
            ):
                if pieces is None:
                    await occupy(app)
                for piece in pieces or [whole]:
                    writer.write(piece)
                    await asyncio.sleep(0.05)
                assert (await answered(reader))[0].split()[1] == status
                if pieces is None:
                    give_back(app)

    run(scenario)


def test_a_connection_lasts_while_it_is_used_and_no_longer_than_a_head_may_take(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, header_seconds=1.0) as app, connected(app) as (reader, writer):
            loop = asyncio.get_running_loop()
            start = loop.time()
            while loop.time() - start < 1.6:
                writer.write(request(RED))
                assert (await answered(reader))[0] == b"HTTP/1.1 200 OK"
                await asyncio.sleep(0.2)
            start = loop.time()
            assert await reader.read() == b""
            assert 0.3 < loop.time() - start < 4

    run(scenario)


def test_what_takes_longer_than_a_head_may_is_answered(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1, header_seconds=0.2) as app, connected(app) as (reader, writer):
            await occupy(app)
            writer.write(request(RED))
            await asyncio.sleep(0.7)
            app.state.engine.queue.leave()
            assert (await answered(reader))[0] == b"HTTP/1.1 200 OK"

    run(scenario)


def test_a_server_that_ends_answers_first_and_closes_then(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as app, listening(app) as (address, server):
            await occupy(app)
            reader, writer = await asyncio.open_connection(*address)
            writer.write(request(RED))
            await one_waits(app)
            for connection in list(server.connections):
                connection.shutdown()
            app.state.engine.queue.leave()
            first, headers, _ = await answered(reader)
            assert (first, headers[b"connection"]) == (b"HTTP/1.1 200 OK", b"close")
            assert await reader.read() == b""
            assert not server.connections
            writer.close()

    run(scenario)


def test_what_cannot_be_answered_before_the_end_is_told_so(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as app, connected(app) as (reader, writer):
            await occupy(app)
            writer.write(request(RED))
            await one_waits(app)
            app.state.express.end()
            first, _, answer = await answered(reader)
            assert (first.split()[1], answer["code"]) == (b"503", "draining")

    run(scenario)


def test_a_fault_of_ours_is_logged_under_its_id_and_told_without_its_cause(tiny_model, monkeypatch, caplog):
    def fail(_crew: Crew, _task: object) -> object:
        job = submit(_crew, _task)
        job.finish(RuntimeError("secret of ours"))
        return job

    submit = Crew.submit
    monkeypatch.setattr(Crew, "submit", fail)

    async def scenario() -> None:
        async with service(tiny_model) as app, connected(app) as (reader, writer):
            with caplog.at_level(logging.ERROR):
                writer.write(request(RED, b"X-Request-ID: mine-1\r\n"))
                first, _, answer = await answered(reader)
            assert (first.split()[1], answer["code"]) == (b"500", "internal-error")
            assert "secret" not in str(answer)
            assert "mine-1" in caplog.text
            assert "secret of ours" in caplog.text
            await ends_up_holding_nothing(app)

    run(scenario)


def test_its_line_in_the_log_is_that_of_the_app(tiny_model, caplog):
    lines = []

    async def scenario() -> None:
        async with service(tiny_model) as app, connected(app) as (reader, writer):
            for through in (b"", TO_THE_APP):
                caplog.clear()
                with caplog.at_level(logging.INFO, "fulldeck.serving.access"):
                    writer.write(request(RED, b"X-Request-ID: mine-1\r\n" + through))
                    await answered(reader)
                [line] = [record for record in caplog.records if record.name == "fulldeck.serving.access"]
                assert line.fields.pop("ms") > 0
                lines.append((line.levelname, line.fields))

    run(scenario)
    assert lines[0] == lines[1]
    assert lines[0][1] == {
        "request_id": "mine-1",
        "method": "POST",
        "path": "/classify/",
        "status": 200,
        "key": None,
    }


def test_what_was_answered_is_in_the_prediction_log(tiny_model, tmp_path):
    async def scenario() -> dict[str, object]:
        settings = {"predictions_database": "", "predictions_folder": tmp_path}
        async with service(tiny_model, **settings) as app, connected(app) as (reader, writer):
            writer.write(request(RED, b"X-Request-ID: mine-1\r\n"))
            return (await answered(reader))[2]

    answer = asyncio.run(asyncio.wait_for(scenario(), 60))
    with create_engine(f"sqlite:///{tmp_path / 'predictions.db'}").connect() as connection:
        rows = connection.execute(text("SELECT request_id, position, label, key_id FROM predictions")).all()
    assert rows == [("mine-1", 0, answer["predictions"][0]["label"], None)]


def test_an_id_in_the_answer_is_one_that_a_client_may_give(tiny_model):
    async def scenario() -> None:
        told: list[tuple[int, bytes]] = []
        async with service(tiny_model) as app:
            assert app.state.express.begin(request(RED, b'X-Request-ID: "},{"\r\n'), lambda *each: told.append(each))
            while not told:
                await asyncio.sleep(0.01)
        [(status, rest)] = told
        _, headers, answer = parsed(b"HTTP/1.1 200 OK\r\n" + rest)
        assert status == 200
        assert len(headers[b"x-request-id"]) == 32
        assert answer["request_id"] == headers[b"x-request-id"].decode()

    run(scenario)
