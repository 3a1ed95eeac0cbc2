"""Work that is begun before its result is asked for: fetching, decoding."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(
    items: Iterable[_Item], work: Callable[[_Item], _Result], pool: ThreadPoolExecutor, number: int
) -> Iterator[_Result]:
    """Work on items in a pool, at most ``number`` of them ahead of the one whose result is taken, in their order."""
    pending: deque[Future[_Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > number:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # whoever takes the results has gone away
        for future in pending:
            future.cancel()
