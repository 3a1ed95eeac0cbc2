"""Waits in the event loop for work elsewhere, at the price of one wake-up.

``asyncio.wrap_future`` and what stands on it copy each result and each cancellation to and fro between two futures;
``asyncio.wait`` first makes a set of whatever it is given.
"""

import asyncio
from concurrent.futures import Future
from typing import Any


def in_loop(future: Future[Any]) -> asyncio.Future[None]:
    """What is done in the loop when this is, however it ends: its result and its error stay with it.

    To cancel it does nothing to that.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def settle() -> None:
        if not done.done():
            done.set_result(None)

    def tell(_: Future[Any]) -> None:
        if not loop.is_closed():  # the service has ended meanwhile
            loop.call_soon_threadsafe(settle)

    future.add_done_callback(tell)
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
