"""A short start: the model loads while the rest of the service is still being imported, and nothing that it needs not.

Nothing here imports what takes long.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fulldeck.inference.recognizer import Recognizer


def load_early(source: str | None) -> "Future[Recognizer]":
    """Load the model that the command or ``FULLDECK_MODEL`` names, in a thread of its own.

    What goes wrong is raised where the result is asked for.
    """
    with_end = ThreadPoolExecutor(1, thread_name_prefix="fulldeck-load")  # which is waited for at the process's end
    loading = with_end.submit(_load, os.environ.get("FULLDECK_MODEL") if source is None else source)
    with_end.shutdown(wait=False)
    return loading


def _load(source: str | None) -> "Recognizer":
    from fulldeck.serving.model_source import open_model  # noqa: PLC0415  (the imports are half of the work)

    return open_model(source)
