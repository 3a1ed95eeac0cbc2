"""Puts the users of :mod:`fulldeck.bench.users` on a service, and tells how it answered them."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fulldeck.errors import FulldeckError

SHED = ("429 ", "503 ")
"""How the failures begin that are no fault of the service: it had more to do than it could."""


class BenchError(FulldeckError):
    """The load could not be made."""


@dataclass(frozen=True)
class Row:
    """How one kind of request was answered. Times are in milliseconds.

    Attributes:
        name: the kind; "all" for all of them.
        requests: how many there were.
        failed: how many of them were not answered as they should be.
        rate: requests a second.
        p50: the time that half of them took at most.
        p95: that 95 % took at most.
        p99: that 99 % took at most.
    """

    name: str
    requests: int
    failed: int
    rate: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Failure:
    """A kind of failure: of which requests, what came instead of the right answer, and how often."""

    name: str
    error: str
    count: int

    @property
    def shed(self) -> bool:
        """Whether the service just had too much to do."""
        return self.error.startswith(SHED)


@dataclass(frozen=True)
class Report:
    """What came of a load: a row a kind of request, the last one of all, and the failures, the most frequent first."""

    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]

    @property
    def faults(self) -> int:
        """How many requests failed that were not shed."""
        return sum(failure.count for failure in self.failures if not failure.shed)

    def __str__(self) -> str:
        lines = [f"{'':<16}{'requests':>9}{'failed':>8}{'a second':>10}{'p50':>9}{'p95':>9}{'p99':>9}  ms"]
        lines += [
            f"{row.name:<16}{row.requests:>9}{row.failed:>8}{row.rate:>10.1f}{row.p50:>9.0f}{row.p95:>9.0f}{row.p99:>9.0f}"
            for row in self.rows
        ]
        lines += [f"{failure.count:>6} x {failure.name}: {failure.error}" for failure in self.failures]
        return "\n".join(lines)


def load(
    url: str, *, users: int, seconds: int, images: Path | None = None, pause: float = 0.0, key: str | None = None
) -> Report:
    """Put users on a service.

    Args:
        url: where it is.
        users: how many, all from the start.
        seconds: for how long.
        images: a folder with JPEGs for them to send; else the service's own example.
        pause: seconds that a user pauses between an answer and the next question, on average.
        key: what the service may ask for.

    Raises:
        BenchError: there are no images, nothing could be asked, or Locust failed.
        ModuleNotFoundError: Locust is not installed.
    """
    if importlib.util.find_spec("locust") is None:
        raise ModuleNotFoundError("No module named 'locust'", name="locust")
    if images is not None and not any(images.rglob("*.jp*g")):
        raise BenchError(f"{images}: there is no JPEG in it to send")
    asked = {"url": url.rstrip("/"), "users": users, "seconds": seconds, "pause": pause}
    asked["images"] = str(images) if images is not None else ""
    done = subprocess.run(
        [sys.executable, "-m", "fulldeck.bench.run", json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ({"FULLDECK_KEY": key} if key else {}),
    )
    if done.returncode:
        raise BenchError(f"locust failed: {(done.stderr.strip().splitlines() or ['it does not say why'])[-1]}")
    came = json.loads(done.stdout.splitlines()[-1])
    rows = tuple(Row(**row) for row in came["rows"])
    if not rows[-1].requests:
        raise BenchError(f"nothing could be asked of {url} in {seconds} s: does a fulldeck service answer there?")
    failures = sorted((Failure(**failure) for failure in came["failures"]), key=lambda failure: -failure.count)
    return Report(rows, tuple(failures))


@contextmanager
def service(model: str | None = None) -> Iterator[str]:
    """A service of one's own, on a free port of this machine, that forgets what it answered; its address.

    Raises:
        BenchError: it does not start; its own sentence is told.
    """
    with tempfile.TemporaryDirectory(prefix="fulldeck-bench-") as folder:
        command = [sys.executable, "-c", "from fulldeck.cli import main; main()", "serve", "--port", "0"]
        command += ["--model", model] if model else []
        environment = os.environ | {"FULLDECK_PREDICTIONS_FOLDER": folder}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None  # noqa: S101  (it was asked for)
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            if found is None:
                _, said = process.communicate()
                raise BenchError(f"the service did not start: {said.strip().removeprefix('Error: ')}")
            yield found[0]
        finally:
            process.terminate()
            process.communicate()
