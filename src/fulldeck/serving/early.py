"""A short start: the model loads while the rest of the service is still being imported."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fulldeck.inference.recognizer import Recognizer


def load_early(source: str | None) -> "Future[Recognizer]":
    """Load the model that the command or ``FULLDECK_MODEL`` names, in a thread of its own.

    What goes wrong is raised where the result is asked for.
    """
    # Not in the thread: it would take turns with what is imported meanwhile, which Python does one at a time, and the
    # loading, which needs no interpreter and is what can be done beside it, would begin that much later.
    from fulldeck.serving.model_source import open_model  # noqa: PLC0415

    with_end = ThreadPoolExecutor(1, thread_name_prefix="fulldeck-load")  # which is waited for at the process's end
    loading = with_end.submit(open_model, os.environ.get("FULLDECK_MODEL") if source is None else source)
    with_end.shutdown(wait=False)
    return loading
