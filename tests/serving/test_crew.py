"""The worker processes: they answer as threads do, and what befalls them befalls no request."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from fulldeck.inference.recognizer import Recognizer
from fulldeck.serving.app import create_app
from fulldeck.serving.settings import Settings
from real_server import helpers, serving, worker
from sent_images import encoded

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere threads do the work")

SMALL = encoded((250, 10, 10))
LARGE = encoded((10, 10, 250), size=(4000, 4000))
"""Takes a tenth of a second to decode, or several."""

PNG = {"Content-Type": "image/png"}
BATCHES = "fulldeck_batch_images"


@asynccontextmanager
async def service(model: Path, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """A service whose processes are ready."""
    app = create_app(Settings(model=str(model), **settings))
    engine = app.state.engine
    await engine.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as client:
        client.app = app
        engine.hire()
        await ready(client, app.state.settings.workers)
        yield client
    engine.stop()
    await engine.stopped()
    if app.state.recorder is not None:
        await app.state.recorder.log.stop(10)


def processes(client: httpx.AsyncClient) -> Sequence[int]:
    return client.app.state.metrics.workers()


async def ready(client: httpx.AsyncClient, count: int) -> None:
    async with asyncio.timeout(60):
        while len(processes(client)) < count:
            await asyncio.sleep(0.01)


async def figures(client: httpx.AsyncClient) -> dict[str, float]:
    lines = (await client.get("/metrics")).text.splitlines()
    return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_processes_answer_as_the_recognizer_does(tiny_model):
    images = [encoded((9 * i, 255 - 9 * i, (40 * i) % 256)) for i in range(12)]
    expected = [prediction.label for prediction in Recognizer(tiny_model).classify(images)]

    async def scenario() -> None:
        async with service(tiny_model, workers=2) as client:
            files = [("files", (str(i), image)) for i, image in enumerate(images)]
            answer = (await client.post("/classify/", files=files)).json()
            assert [p["label"] for p in answer["predictions"]] == expected
            located = await client.post("/locate/", content=images[0], headers=PNG)
            assert located.status_code == 200
            files[3], files[7] = ("files", ("3", b"bad")), ("files", ("7", SMALL[:-60]))
            refused = await client.post("/classify/", files=files)
            assert [(e["file"], e["index"], e["code"]) for e in refused.json()["errors"]] == [
                ("3", 3, "not-an-image"),
                ("7", 7, "damaged"),
            ]
            shown = await figures(client)
            assert shown["fulldeck_workers"] == 2
            assert shown['fulldeck_worker_resident_memory_bytes{worker="1"}'] > 2**20
            assert shown['fulldeck_stage_seconds_count{stage="decode"}'] == 5  # two jobs a form, one for the photo
            assert shown["fulldeck_batch_images_sum"] == 13

    asyncio.run(scenario())


def test_what_comes_while_a_worker_is_busy_is_inferred_at_once(tiny_model):
    colours = [encoded((40 * at, 10, 250 - 40 * at)) for at in range(6)]

    async def scenario() -> None:
        async with service(tiny_model, workers=1) as client:

            async def label(data: bytes) -> str:
                response = await client.post("/classify/", content=data, headers=PNG)
                return response.json()["predictions"][0]["label"]

            alone = [await label(data) for data in colours]
            before = await figures(client)
            slow = asyncio.ensure_future(client.post("/classify/", content=LARGE, headers=PNG))
            await asyncio.sleep(0.05)  # it is busy now
            bad = asyncio.ensure_future(client.post("/classify/", content=b"no image", headers=PNG))
            assert await asyncio.gather(*map(label, colours)) == alone
            assert (await slow).status_code == 200
            assert (await bad).status_code == 415
            after = await figures(client)
            runs, images = (after[name] - before[name] for name in (f"{BATCHES}_count", f"{BATCHES}_sum"))
            assert images == len(colours) + 1
            assert runs < images

    asyncio.run(scenario())


def test_what_a_killed_worker_had_to_do_is_done_by_others(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=2) as client:
            asking = [asyncio.ensure_future(client.post("/classify/", content=LARGE, headers=PNG)) for _ in range(4)]
            await asyncio.sleep(0.05)  # both are busy now
            before = processes(client)
            os.kill(before[0], signal.SIGKILL)
            assert [r.status_code for r in await asyncio.gather(*asking)] == [200] * 4
            await ready(client, 2)
            assert before[0] not in processes(client)
            assert (await figures(client))["fulldeck_worker_restarts_total"] == 1

    asyncio.run(scenario())


def test_a_request_under_which_worker_after_worker_ends_is_given_up(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as client:
            asking = asyncio.ensure_future(client.post("/classify/", content=LARGE, headers=PNG))
            for _ in range(2):
                await ready(client, 1)
                await asyncio.sleep(0.03)
                [pid] = processes(client)
                os.kill(pid, signal.SIGKILL)
                while pid in processes(client):
                    await asyncio.sleep(0.001)
            response = await asking
            assert (response.status_code, response.json()["code"]) == (503, "worker-lost")
            assert "retry-after" in response.headers
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200

    asyncio.run(scenario())


def test_an_image_that_takes_too_long_to_decode_is_named_and_what_comes_after_it_is_not_begun(tiny_model):
    async def scenario() -> None:
        huge = encoded((10, 10, 250), size=(7500, 7500))
        async with service(tiny_model, workers=1, decode_seconds=0.25) as client:
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200
            files = [("files", ("small.png", SMALL)), ("files", ("large.png", huge)), ("files", ("next.png", SMALL))]
            response = await client.post("/classify/", files=files)
            assert response.status_code == 422
            assert [(e["file"], e["index"], e["code"]) for e in response.json()["errors"]] == [
                ("large.png", 1, "decode-timeout")
            ]
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200
            assert (await figures(client))['fulldeck_stage_seconds_count{stage="decode"}'] == 2

    asyncio.run(scenario())


def test_a_model_that_takes_over_has_processes_of_its_own(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as client:
            [former] = processes(client)
            asking = asyncio.ensure_future(client.post("/classify/", content=LARGE, headers=PNG))
            await asyncio.sleep(0.02)
            await client.app.state.engine.reload()
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200
            assert (await asking).status_code == 200
            await ready(client, 1)
            assert former not in processes(client)
            async with asyncio.timeout(20):
                while psutil.pid_exists(former):
                    await asyncio.sleep(0.01)
            assert (await figures(client))["fulldeck_worker_restarts_total"] == 0

    asyncio.run(scenario())


def test_what_a_worker_that_is_to_leave_is_killed_under_is_done_by_another(tiny_model):
    async def scenario() -> None:
        huge = encoded((10, 10, 250), size=(7500, 7500))
        async with service(tiny_model, workers=1) as client:
            [former] = processes(client)
            asking = [asyncio.ensure_future(client.post("/classify/", content=huge, headers=PNG)) for _ in range(2)]
            await asyncio.sleep(0.1)
            await client.app.state.engine.reload()
            assert not any(each.done() for each in asking)
            os.kill(former, signal.SIGKILL)
            assert [each.status_code for each in await asyncio.gather(*asking)] == [200, 200]

    asyncio.run(scenario())


def test_what_waits_for_a_new_worker_is_done_though_another_model_takes_over(tiny_model):
    async def scenario() -> None:
        async with service(tiny_model, workers=1) as client:
            [former] = processes(client)
            asking = asyncio.ensure_future(client.post("/classify/", content=LARGE, headers=PNG))
            await asyncio.sleep(0.03)
            os.kill(former, signal.SIGKILL)
            while processes(client):
                await asyncio.sleep(0.001)
            await client.app.state.engine.reload()
            assert (await asking).status_code == 200

    asyncio.run(scenario())


def test_a_worker_that_hangs_does_not_hold_up_the_end(tiny_model, monkeypatch):
    monkeypatch.setattr("fulldeck.serving.child.END_SECONDS", 0.2)

    async def scenario() -> int:
        async with service(tiny_model, workers=1, request_seconds=0.3) as client:
            [pid] = processes(client)
            os.kill(pid, signal.SIGSTOP)
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 504
            return pid

    assert not psutil.pid_exists(asyncio.run(asyncio.wait_for(scenario(), 60)))


def test_what_is_logged_of_a_worker_is_not_said_to_be_of_the_request_that_reloaded_the_model(tiny_model):
    with serving("--model", str(tiny_model), "--log-format", "json") as (process, url):
        assert httpx.post(f"{url}/admin/reload", headers={"X-Request-ID": "reloading"}, timeout=20).status_code == 200
        while "fulldeck_workers 0.0" in httpx.get(f"{url}/metrics").text:
            pass
        for each in helpers(process, "fulldeck.serving.worker"):
            each.kill()
        line = json.loads(process.stderr.readline())
        assert line["message"] == "a worker process has ended, and is started again"
        assert "request_id" not in line


def test_where_no_process_can_work_threads_do(tiny_model, monkeypatch, caplog, capfd):
    monkeypatch.setattr("sys.executable", "/bin/false")

    async def scenario() -> None:
        app = create_app(Settings(model=str(tiny_model), workers=1, predictions_database="none"))
        await app.state.engine.start()
        app.state.engine.hire()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            async with asyncio.timeout(60):
                while "no worker process can be started" not in caplog.text:
                    assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200
                    await asyncio.sleep(0.01)
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200
        app.state.engine.stop()
        await app.state.engine.stopped()

    asyncio.run(scenario())
    assert "Traceback" not in "".join(capfd.readouterr())


def test_they_need_no_folder_for_temporary_files(tiny_model, monkeypatch):
    if sys.platform != "linux":
        pytest.skip("elsewhere they do")

    def nowhere(*_: object, **__: object) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    async def scenario() -> None:
        monkeypatch.setattr("tempfile.gettempdir", nowhere)
        monkeypatch.setattr("tempfile.TemporaryFile", nowhere)
        async with service(tiny_model, workers=1, predictions_database="none") as client:
            assert (await client.post("/classify/", content=SMALL, headers=PNG)).status_code == 200
            assert len(processes(client)) == 1

    asyncio.run(scenario())


def test_they_end_with_the_service_however_it_ends(tiny_model):
    for number in (signal.SIGTERM, signal.SIGKILL):
        with serving("--model", str(tiny_model)) as (process, url):
            while "fulldeck_workers 0.0" in httpx.get(f"{url}/metrics").text:
                pass
            workers = psutil.Process(worker(process)).children()
            assert workers
            for each in psutil.Process(process.pid), psutil.Process(worker(process)):
                each.send_signal(number)
            _, alive = psutil.wait_procs(workers, 20)
            assert not alive
