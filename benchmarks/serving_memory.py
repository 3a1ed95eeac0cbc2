"""How much the memory of a service grows: after 20,000 mixed requests, beside what it had after 2,000.

Pictures of several sizes and formats as a body and as forms, to be named and searched, and now and then what is no
picture, or is broken.

    python benchmarks/serving_memory.py [--model MODEL] [--requests N]

Exits with 1 if the ratio is above the limit, or a request got another answer than it should.
"""

import argparse
import io
import re
import sys
import tempfile
import time
import urllib.request
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from fulldeck.inference.model_file import champion_path
from load import counted, form_request, image_request
from serving import serve_fulldeck

LIMIT = 1.05
FIRST = 2000
CONNECTIONS = 6


def encoded(side: int, kind: str) -> bytes:
    """A picture of a little noise."""
    pixels = np.random.default_rng(side).integers(90, 160, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def mixed(card: bytes) -> list[bytes]:
    """Requests as they come in, in their shares: of 20, 18 get 200, one 415 and one 422."""
    one, named, searched = (image_request("/classify/", card), "/classify/", "/locate/")
    return [
        *[one] * 10,
        form_request(named, [card]),
        form_request(named, [card] * 3),
        form_request(named, [card] * 8),
        image_request(named, encoded(300, "PNG"), "image/png"),
        image_request(named, encoded(500, "JPEG")),
        image_request(named, encoded(200, "WebP"), "image/webp"),
        image_request(searched, card),
        form_request(searched, [card] * 2),
        image_request(named, b"no picture"),
        image_request(named, card[:-500]),
    ]


def resident(url: str) -> int:
    """Bytes of memory that the service and its workers have now, by its own figures."""
    time.sleep(2)  # until its log has written what it was given
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        figures = answer.read().decode()
    found = re.findall(r"^(?:process|fulldeck_worker)_resident_memory_bytes\S* (\S+)", figures, re.MULTILINE)
    assert found
    return sum(int(float(value)) for value in found)


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=champion_path(), help="a model file [default: the champion]")
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    requests = mixed(files("fulldeck.serving").joinpath("example.jpg").read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        server = serve_fulldeck(options.model, Path(folder))
        try:
            statuses = counted(server.url, requests, FIRST, CONNECTIONS)
            first = last = resident(server.url)
            print(f"{FIRST:>6} requests: {first / 2**20:6.1f} MiB", flush=True)
            steps = 4
            for step in range(1, steps + 1):
                statuses += counted(server.url, requests, (options.requests - FIRST) // steps, CONNECTIONS)
                last = resident(server.url)
                done = FIRST + step * (options.requests - FIRST) // steps
                print(f"{done:>6} requests: {last / 2**20:6.1f} MiB", flush=True)
        finally:
            server.end()
    print(f"ratio {last / first:.3f} (limit {LIMIT}); answers {dict(statuses)}")
    wrong = set(statuses) != {200, 415, 422} or statuses[415] != statuses[422]
    return int(last / first > LIMIT or wrong)


if __name__ == "__main__":
    sys.exit(main())
