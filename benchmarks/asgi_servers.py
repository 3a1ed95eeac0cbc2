"""Which ASGI server costs least: requests/s with a handler that only reads a JPEG of 224x224 pixels, by turns.

    python benchmarks/asgi_servers.py [--rounds N]

Needs `uv sync --group peers`. The load generator, `benchmarks/load.py`, shares the processor with them.
"""

import argparse
import statistics
import sys
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

from load import image_request
from serving import serve_peer

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from handler import SERVERS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    request = image_request("/classify/", files("fulldeck.serving").joinpath("example.jpg").read_bytes())
    rates: dict[str, list[float]] = {name: [] for name in SERVERS}
    with ExitStack() as stack:
        servers = {}
        for name in SERVERS:
            server = servers[name] = serve_peer("handler.py", lambda port, name=name: [port, name], request)
            stack.callback(server.end)
            server.sleep()
        for number in range(options.rounds):
            for name in list(servers)[:: 1 if number % 2 else -1]:
                rates[name].append(servers[name].rate(request, options.seconds).rate)
    first = statistics.median(rates["uvicorn"])
    for name, values in sorted(rates.items(), key=lambda item: -statistics.median(item[1])):
        median = statistics.median(values)
        print(f"{name:<24}{median:9.0f} requests/s{median / first:7.2f}   {' '.join(f'{v:.0f}' for v in values)}")


if __name__ == "__main__":
    main()
