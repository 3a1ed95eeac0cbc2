import asyncio

import pytest
from starlette.requests import ClientDisconnect

from fulldeck.serving.metrics import Metrics
from fulldeck.serving.problems import Problem
from fulldeck.serving.queue import CROWDED_SECONDS, Queue


async def stays() -> None:
    await asyncio.Event().wait()


def queue(places: int = 1, max_waiting: int = 2, short: int = 2, seconds: float = 20.0) -> Queue:
    return Queue(places, max_waiting, short, seconds, Metrics())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_places_are_given_in_the_order_of_coming():
    async def scenario() -> list[int]:
        line, order = queue(max_waiting=5), []

        async def come(number: int) -> None:
            await line.enter(stays)
            order.append(number)
            await asyncio.sleep(0)
            line.leave()

        await asyncio.gather(*(come(number) for number in range(6)))
        assert line.waiting == 0
        return order

    assert asyncio.run(scenario()) == list(range(6))


def test_who_finds_the_line_full_is_turned_away_at_once():
    async def scenario() -> None:
        line = queue()
        await line.enter(stays)
        waiting = [asyncio.ensure_future(line.enter(stays)) for _ in range(2)]
        await settle()
        assert line.waiting == 2
        with pytest.raises(Problem) as caught:
            await line.enter(stays)
        assert (caught.value.status, caught.value.code) == (503, "queue-full")
        assert caught.value.headers == {"Retry-After": "1"}
        with pytest.raises(Problem):
            line.check()
        line.leave()
        line.leave()
        await asyncio.gather(*waiting)
        line.check()

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_a_line_that_was_full_is_short_until_nobody_was_turned_away_for_a_while():
    async def scenario() -> None:
        now = 0.0
        line = Queue(1, 4, 1, 20.0, Metrics(), clock=lambda: now)
        await line.enter(stays)
        waiting = [asyncio.ensure_future(line.enter(stays)) for _ in range(4)]
        await settle()
        for left in (4, 3, 2, 1):
            assert line.waiting == left
            assert line.full
            with pytest.raises(Problem):
                line.check()
            line.leave()
            await settle()
        assert line.waiting == 0
        assert not line.full
        waiting.append(asyncio.ensure_future(line.enter(stays)))
        await settle()
        assert line.full  # a short one, though it has been worked off
        now = CROWDED_SECONDS
        assert not line.full
        waiting += [asyncio.ensure_future(line.enter(stays)) for _ in range(3)]
        await settle()
        assert line.waiting == 4  # a long one again
        for _ in range(5):
            line.leave()
        await asyncio.gather(*waiting)

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_those_who_were_let_in_count_before_they_are_in_the_line():
    async def scenario() -> None:
        line = queue(places=2, max_waiting=1)
        line.coming = 2
        assert not line.full
        line.coming = 3
        assert line.full
        line.came()
        assert not line.full

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_who_waits_too_long_is_sent_away_and_takes_no_place_later():
    async def scenario() -> None:
        line = queue(seconds=0.05)
        await line.enter(stays)
        with pytest.raises(Problem) as caught:
            await line.enter(stays)
        assert (caught.value.status, caught.value.code) == (503, "queue-timeout")
        assert line.waiting == 0
        line.leave()
        await line.enter(stays)

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_who_leaves_the_line_makes_room_for_the_next():
    async def scenario() -> None:
        line = queue()
        gone = asyncio.Event()
        await line.enter(stays)
        first = asyncio.ensure_future(line.enter(gone.wait))
        second = asyncio.ensure_future(line.enter(stays))
        await settle()
        gone.set()
        with pytest.raises(ClientDisconnect):
            await first
        assert line.waiting == 1
        line.leave()
        await second

    asyncio.run(asyncio.wait_for(scenario(), 5))


@pytest.mark.parametrize("steps_between", range(6))
def test_a_place_is_not_lost_with_one_who_is_cancelled_whenever_that_is(steps_between):
    async def scenario() -> None:
        line = queue()
        await line.enter(stays)
        waiting = asyncio.ensure_future(line.enter(stays))
        await settle()
        line.leave()
        for _ in range(steps_between):
            await asyncio.sleep(0)
        waiting.cancel()
        if not (await asyncio.gather(waiting, return_exceptions=True))[0]:
            line.leave()  # it was in already, and leaves as anybody does
        await line.enter(stays)
        assert line.waiting == 0

    asyncio.run(asyncio.wait_for(scenario(), 5))
