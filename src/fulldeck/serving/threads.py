"""Waits in the event loop for work elsewhere, at the price of one wake-up.

``asyncio.wrap_future`` and what stands on it copy each result and each cancellation to and fro between two futures;
``asyncio.wait`` first makes a set of whatever it is given.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any


def all_done(futures: Sequence[Future[Any]]) -> asyncio.Future[None]:
    """What is done when all of these are, however they end: their results and errors stay with them.

    To cancel it does nothing to them.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = len(futures)

    def one_is() -> None:
        nonlocal left
        left -= 1
        if not left and not done.done():
            done.set_result(None)

    def tell(_: Future[Any]) -> None:
        if not loop.is_closed():  # the service has ended meanwhile
            loop.call_soon_threadsafe(one_is)

    for future in futures:
        future.add_done_callback(tell)
    return done


def settled(futures: Sequence[asyncio.Future[Any]]) -> asyncio.Future[Any]:
    """What is done when all of these are, however they end: their results and errors stay with them."""
    if len(futures) == 1:
        return futures[0]
    done = asyncio.get_running_loop().create_future()
    left = len(futures)

    def one_is(_: asyncio.Future[Any]) -> None:
        nonlocal left
        left -= 1
        if not left and not done.done():
            done.set_result(None)

    for future in futures:
        future.add_done_callback(one_is)
    return done


async def wait(done: asyncio.Future[Any], seconds: float) -> None:
    """Wait until something is done, but no longer than this."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(seconds, wake)
    done.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        done.remove_done_callback(wake)
