import os
import subprocess
import sys

import pytest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells apart who may interrupt whom")


def told(code: str) -> list[int]:
    """What a process of its own prints after these lines, as a process cannot take its niceness back."""
    lines = f"import os\nfrom fulldeck.serving.scheduling import LOG, WORKERS, be_nice, come_in_turn\n{code}"
    return [int(word) for word in subprocess.check_output([sys.executable, "-c", lines]).split()]


@LINUX
def test_the_one_that_answers_interrupts_nobody():
    assert told("come_in_turn(); print(os.sched_getscheduler(0), os.nice(0))") == [os.SCHED_BATCH, os.nice(0)]


@LINUX
@pytest.mark.parametrize("who", ["WORKERS", "LOG"])
def test_the_others_are_nice_and_may_interrupt(who):
    inside = f"be_nice({who}); print({who}, os.sched_getscheduler(0), os.nice(0))"
    niceness, policy, now = told(f"come_in_turn(); {inside}")
    assert (policy, now) == (os.SCHED_OTHER, os.nice(0) + niceness)


@LINUX
def test_where_it_may_not_be_told_nothing_happens():
    refuse = "def refuse(*_): raise PermissionError\nos.sched_setscheduler = refuse"
    assert told(f"{refuse}\ncome_in_turn(); be_nice(1); print(os.nice(0))") == [os.nice(0) + 1]


@LINUX
def test_what_was_chosen_for_the_service_stays():
    idle = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
    ways = told(f"{idle}; come_in_turn(); print(os.sched_getscheduler(0)); be_nice(1); print(os.sched_getscheduler(0))")
    assert ways == [os.SCHED_IDLE] * 2
