"""How many cores this process may use, by its affinity and by the quotas of its control groups."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_cores() -> int:
    """Return how many cores this process may use: those it is bound to, or fewer if a control group has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, round(min(quota(), cores))))


def quota(groups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """Return how many cores' time the control groups allow; infinity where they do not limit it.

    Args:
        groups: Where the control groups are mounted, of version 1 or 2.
        membership: The file that tells in which of them this process is; see cgroups(7).
    """
    try:
        lines = membership.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # no Linux
        return math.inf
    return min((limit for line in lines for limit in _limits(groups, line)), default=math.inf)


def _limits(groups: Path, line: str) -> Iterator[float]:
    """The quotas of one group and of all above it."""
    _, controllers, path = [*line.split(":", 2), "", ""][:3]
    if controllers and "cpu" not in controllers.split(","):
        return
    root = groups / "cpu" if controllers else groups
    group = PurePosixPath(path.lstrip("/"))
    # A container sees its own group at the top, whatever the path is called outside.
    for folder in {root / part for part in (group, *group.parents)}:
        try:
            if controllers:
                values = [(folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")]
            else:
                values = (folder / "cpu.max").read_text(encoding="ascii").split()
            limit = int(values[0]) / int(values[1])
        except (OSError, ValueError, IndexError, ZeroDivisionError):  # no such file, or "max"
            continue
        if limit > 0:  # version 1 says -1 for none
            yield limit
