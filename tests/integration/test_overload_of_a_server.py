"""More than a real server can do, for some seconds: it turns away at once what is too much, and serves the rest."""

import asyncio
import itertools
import re
import time
from dataclasses import dataclass

import httpx

from fulldeck.serving.engine import PLACES_PER_WORKER, WAITING_PER_WORKER
from real_server import serving
from sent_images import encoded

# Some tens of milliseconds to decode and nothing to send: so a server's limit is far below a client's.
SLOW = encoded((90, 20, 200), "PNG", (2500, 2500))
SECONDS = 4
TIMES = 4
PLACES = PLACES_PER_WORKER + WAITING_PER_WORKER
"""So many requests a worker are past the door at most, once there are too many: in work, and waiting."""


@dataclass
class Answered:
    status: int
    seconds: float
    retry_after: str | None


async def ask(client: httpx.AsyncClient) -> Answered:
    start = time.monotonic()
    response = await client.post("/classify/", content=SLOW, headers={"Content-Type": "image/png"})
    return Answered(response.status_code, time.monotonic() - start, response.headers.get("retry-after"))


async def capacity(client: httpx.AsyncClient) -> float:
    """Answers a second while there is always one more to work on."""
    count = 0
    end = time.monotonic() + 2

    async def one() -> None:
        nonlocal count
        while time.monotonic() < end:
            assert (await ask(client)).status == 200
            count += 1

    await asyncio.gather(*(one() for _ in range(3)))
    return count / 2


async def flood(client: httpx.AsyncClient, rate: float) -> list[Answered]:
    """Ask this many times a second, whatever is answered."""
    asked = []
    begin = time.monotonic()
    for number in itertools.count():
        due = begin + number / rate
        if due > begin + SECONDS:
            break
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        asked.append(asyncio.create_task(ask(client)))
    return await asyncio.gather(*asked)


def test_four_times_its_capacity(tiny_model):
    async def scenario(url: str) -> tuple[float, list[Answered], str]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
            await ask(client)
            most = await capacity(client)
            answers = await flood(client, TIMES * most)
            # Other tests, which share its processor, may have begun meanwhile.
            most = min(most, await capacity(client))
            return most, answers, (await client.get("/metrics")).text

    limits = {"FULLDECK_WORKERS": "1", "FULLDECK_MAX_QUEUE": "6"}
    with serving("--model", str(tiny_model), **limits) as (process, url):
        most, answers, figures = asyncio.run(scenario(url))
        assert process.poll() is None
    served = [answer for answer in answers if answer.status == 200]
    shed = sorted((answer for answer in answers if answer.status == 503), key=lambda answer: answer.seconds)
    assert len(served) + len(shed) == len(answers)
    assert all(answer.retry_after == "1" for answer in shed)
    # Loose, as the client shares its processor, too: benchmarks/serving.py measures it.
    assert len(served) > 0.5 * most * SECONDS
    assert max(answer.seconds for answer in served) < 3 * PLACES / most
    assert shed[len(shed) // 2].seconds < 0.3 * PLACES / most
    assert re.search(r'^fulldeck_shed_total\{code="queue-full"\} [1-9]', figures, re.MULTILINE)
    assert "fulldeck_queued 0.0" in figures
    assert "fulldeck_in_flight 0.0" in figures
