"""Whose turn it is among the service's own processes, where there are more of them than processors.

Linux is told so. Elsewhere, and where nobody may tell it, all take turns as they would anyway.
"""

import contextlib
import os

WORKERS = 2
"""How nice those are who decode and infer: a little, to the one that answers, as its turns are short."""

LOG = 10
"""How nice the one is that keeps the prediction log. What is left for it waits for nothing, and nobody waits for it; it
still gets a tenth of a processor that all others want."""


def come_in_turn() -> None:
    """Let this thread interrupt nobody when something comes for it: it waits for its turn, or a free processor.

    For the one that answers. Under load there is something for it all the time. Each interruption costs both sides what
    they have in the caches, and what comes in the few milliseconds of a turn is done at once for less.
    """
    _schedule("SCHED_OTHER", "SCHED_BATCH")


def be_nice(niceness: int) -> None:
    """Let the service's other processes go first, though by no more than this."""
    _schedule("SCHED_BATCH", "SCHED_OTHER")  # who starts a process hands on its own way
    os.nice(niceness)


def _schedule(before: str, after: str) -> None:
    """Change the way of this thread, unless whoever started the service has chosen another one for it."""
    if not hasattr(os, "sched_setscheduler"):
        return
    with contextlib.suppress(OSError):  # a sandbox may not know of it
        if os.sched_getscheduler(0) == getattr(os, before):
            os.sched_setscheduler(0, getattr(os, after), os.sched_param(0))
