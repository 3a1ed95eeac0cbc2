"""The process in which the users of :mod:`fulldeck.bench.users` live, as gevent changes all of it.

    python -m fulldeck.bench.run '{"url": "http://127.0.0.1:8000", "users": 8, "seconds": 20, "images": "", "pause": 0}'

Prints one JSON object: rows and failures, as :class:`fulldeck.bench.serve.Report` has them.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402  (after that, as gevent asks)
import sys  # noqa: E402
from argparse import Namespace  # noqa: E402
from time import perf_counter  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from locust.env import Environment  # noqa: E402

from fulldeck.bench.users import CardUser  # noqa: E402

STOP_SECONDS = 30
"""How long an answer that is under way at the end is waited for."""


def run(url: str, users: int, seconds: float, images: str, pause: float) -> dict[str, Any]:
    """Put users on a service; see :func:`fulldeck.bench.serve.load`."""
    options = Namespace(images=images, pause=pause)
    environment = Environment(
        user_classes=[CardUser], host=url, parsed_options=options, stop_timeout=STOP_SECONDS, catch_exceptions=False
    )
    runner = environment.create_local_runner()
    begin = perf_counter()
    runner.start(users, spawn_rate=users)
    gevent.sleep(seconds)
    runner.stop()
    taken = perf_counter() - begin
    stats = environment.stats
    return {
        "rows": [
            {
                "name": name,
                "requests": entry.num_requests,
                "failed": entry.num_failures,
                "rate": entry.num_requests / taken,
                **{f"p{share}": entry.get_response_time_percentile(share / 100) for share in (50, 95, 99)},
            }
            for name, entry in [*sorted((e.name, e) for e in stats.entries.values()), ("all", stats.total)]
        ],
        "failures": [
            {"name": error.name, "error": str(error.error), "count": error.occurrences}
            for error in stats.errors.values()
        ],
    }


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))  # noqa: T201
