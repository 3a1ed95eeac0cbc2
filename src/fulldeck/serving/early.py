"""A short start: the model loads while the rest of the service is still being imported, and nothing that it needs not.

Nothing here imports what takes long.
"""

import gc
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fulldeck.inference.recognizer import Recognizer


@contextmanager
def lean() -> Iterator[None]:
    """Import, and put together, without what makes that a tenth longer: see ``benchmarks/serving_start.py``.

    Garbage is not looked for, as what is imported stays. And ``pydantic.v1`` is not there: FastAPI, which does without,
    would load all of it only to find that no model of ours is one of its models.
    """
    collecting = gc.isenabled()
    gc.disable()
    absent = "pydantic.v1" not in sys.modules
    if absent:
        sys.modules["pydantic.v1"] = None  # type: ignore[assignment]  # which makes an import of it fail
    try:
        yield
    finally:
        if absent:
            del sys.modules["pydantic.v1"]
        if collecting:
            gc.enable()


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
