"""A short start: the model loads while the rest of the service is still being imported, and nothing that it needs not.

Nothing here imports what takes long.
"""

import gc
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fulldeck.inference.recognizer import Recognizer

MANY = 500_000
"""Objects that a start makes, with all that it imports, are fewer than this."""

_USUAL = gc.get_threshold()


def hold_garbage() -> None:
    """Look for no garbage among what a start makes, as it stays: to go through it again and again takes long."""
    gc.set_threshold(MANY)  # and not never: the model may come from far away


def look_for_garbage() -> None:
    """Look for garbage as usual again, but not among what is here now."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


def load_early(source: str | None) -> "Future[Recognizer]":
    """Load the model that the command or ``FULLDECK_MODEL`` names, in a thread of its own.

    What goes wrong is raised where the result is asked for.
    """
    with_end = ThreadPoolExecutor(1, thread_name_prefix="fulldeck-load")  # which is waited for at the process's end
    loading = with_end.submit(_load, source or os.environ.get("FULLDECK_MODEL"))
    with_end.shutdown(wait=False)
    return loading


def _load(source: str | None) -> "Recognizer":
    from fulldeck.serving.model_source import open_model  # noqa: PLC0415  (the imports are half of the work)

    return open_model(source)
