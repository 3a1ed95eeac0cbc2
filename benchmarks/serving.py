"""How fast `fulldeck serve` answers, and how it stands more than it can do, as ratios to peers in the same run.

    python benchmarks/serving.py [--model MODEL] [--short] [--threads] [--without litserve --without plain]

The peers (in `benchmarks/peers/`) are: the same model in bare processes that decode and infer, one a core; the ASGI
server with a handler that only reads the body; LitServe with the same model file, at the best of its settings; and what
a plain project serves, FastAPI with Pillow, ONNX Runtime and ResNet-18 at 224 pixels. All take turns, each alone on the
machine (the others are stopped by a signal meanwhile), together with the load generator, `benchmarks/load.py`. The
service runs as it does by default, its prediction log included.

*Unavoidable* is what a request needs of the bare processes and of the bare server, one after the other: the ratio is
requests/s times (1/bare + 1/handler). Needs `uv sync --group peers`. Exits with 1 if a target is missed.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path

from fulldeck.inference.cores import available_cores
from fulldeck.inference.model_file import champion_path
from load import Outcome, closed, form_request, image_request, paced

PEERS = Path(__file__).parent / "peers"
CONNECTIONS = 16
FILES = 16
BARE_BATCH = 8  # as the service infers several files

# In this order, the columns of the table: what, its target, and whether more is better.
TARGETS: dict[str, tuple[float, bool]] = {
    "requests/s, to unavoidable": (0.8, True),
    f"requests/s of {FILES} files, to unavoidable": (0.9, True),
    "requests/s, to LitServe": (1.7, True),
    "requests/s, to plain FastAPI": (12.0, True),
    "p99 at 70 % of capacity, to unloaded median": (5.0, False),
    "accepted p99 at 4 x capacity, to p99 at 70 %": (3.0, False),
    "goodput at 4 x capacity, to capacity": (0.9, True),
    "answers at 4 x capacity but 200, 429 and 503": (0.0, False),
}


@dataclass(frozen=True)
class Length:
    """How much is measured.

    Attributes:
        rounds: turns of each peer.
        seconds: how long one lasts.
        steady: seconds of a turn at 70 % of capacity.
        flood: seconds of a turn at 4 times the capacity.
    """

    rounds: int
    seconds: float
    steady: float
    flood: float


FULL = Length(rounds=7, seconds=4, steady=20, flood=60)
SHORT = Length(rounds=2, seconds=1.5, steady=4, flood=4)


class Process:
    """A peer's process group, which can be put to sleep."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
            start_new_session=True,
        )

    def line(self) -> str:
        """Its next line; it is an error if it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args!r} ended too early")
        return line

    def write(self, line: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run as long as this lasts."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGSTOP)

    def end(self) -> None:
        """Kill all of it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


class Bare:
    """Processes that decode and infer, one a core."""

    def __init__(self, model: Path, jpeg: Path, count: int) -> None:
        self.processes = [
            Process([sys.executable, str(PEERS / "bare.py"), str(model), str(jpeg)]) for _ in range(count)
        ]
        for process in self.processes:
            process.line()

    def rate(self, batch: int, seconds: float) -> float:
        """Images a second, all together."""
        for process in self.processes:
            process.write(f"{batch} {seconds}\n")
        return sum(float(process.line()) for process in self.processes)

    def end(self) -> None:
        """Kill them."""
        for process in self.processes:
            process.end()


@dataclass
class Server:
    """A peer that speaks HTTP."""

    url: str
    process: Process

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run as long as this lasts."""
        with self.process.awake():
            yield

    def sleep(self) -> None:
        """Put it to sleep."""
        with self.awake():
            pass

    def end(self) -> None:
        """Kill it."""
        self.process.end()

    def rate(self, request: bytes, seconds: float) -> Outcome:
        """Let it answer as fast as it can."""
        with self.awake():
            outcome = closed(self.url, request, CONNECTIONS, seconds)
        if set(outcome.latencies) != {200}:
            sys.exit(f"{self.url} answers {dict(outcome.statuses)}: {self.process.process.args!r}")
        return outcome


def serve_fulldeck(model: Path, folder: Path, **settings: str) -> Server:
    """The service, ready, with its files in a folder of its own."""
    # The console script that pip installs does just this.
    ours = "import sys; from fulldeck.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", ours, "serve", "--port", "0", "--model", str(model)]
    process = Process(command, {"XDG_STATE_HOME": str(folder), **settings})
    found = re.search(r"http://[0-9.:]+", process.line())
    assert found is not None
    return Server(found[0], process)


def serve_peer(script: str, port_last: Callable[[str], list[str]], request: bytes) -> Server:
    """A server of `benchmarks/peers/`, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = Process([sys.executable, str(PEERS / script), *port_last(str(port))])
    url = f"http://127.0.0.1:{port}"
    head, _, body = request.partition(b"\r\n\r\n")
    kind = re.search(rb"Content-Type: (.*)", head)
    assert kind is not None
    deadline = time.monotonic() + 60
    while True:
        asking = urllib.request.Request(f"{url}/classify/", body, {"Content-Type": kind[1].decode().strip()})
        try:
            with urllib.request.urlopen(asking, timeout=10):
                return Server(url, process)
        except OSError as error:
            if time.monotonic() > deadline or process.process.poll() is not None:
                process.end()
                sys.exit(f"{script} does not answer: {error}")
            time.sleep(0.1)


def serve_litserve(model: Path, request: bytes, cores: int, short: bool) -> tuple[Server, str]:
    """LitServe at the best of its settings, by a short try of each."""
    best: tuple[float, tuple[int, ...]] = (0.0, ())
    settings = [(cores, 1, 1, 0), (cores, 1, 1, 1)] if short else list(product([cores], [1, 2], [1, 4], [0, 1]))
    for setting in settings:
        server = serve_peer("litserve_api.py", lambda port, s=setting: [str(model), port, *map(str, s)], request)
        try:
            best = max(best, (closed(server.url, request, CONNECTIONS, 2).rate, setting))
        finally:
            server.end()
    workers, servers, batch, fast = best[1]
    told = f"{workers} workers, {servers} API server(s), batches of {batch}, fast_queue={bool(fast)}"
    return serve_peer("litserve_api.py", lambda port: [str(model), port, *map(str, best[1])], request), told


def resnet18(path: Path) -> None:
    """Write ResNet-18; its weights do not matter for its speed."""
    import timm  # noqa: PLC0415  (slow, and not always wanted)
    import torch  # noqa: PLC0415

    network = timm.create_model("resnet18", pretrained=False).eval()
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # of its better way, which takes longer
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 224, 224),),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamo=False,
        )


def check_sure(url: str, request: bytes) -> None:
    """Stop where the model doubts the picture: it would look at it twice, which no peer does."""
    asking = urllib.request.Request(
        f"{url}/classify/", request.partition(b"\r\n\r\n")[2], {"Content-Type": "image/jpeg"}
    )
    with urllib.request.urlopen(asking) as answer:
        prediction = json.load(answer)["predictions"][0]
    if not prediction["accepted"]:
        sys.exit(f"the model is not sure of this picture ({prediction['label']}): name another one with --image")


def capacities(servers: dict[str, Server], bare: Bare, requests: dict[str, bytes], length: Length) -> dict[str, float]:
    """Requests a second of each peer, by turns: medians."""
    turns: dict[str, Callable[[], float]] = {
        "bare": lambda: bare.rate(1, length.seconds),
        "bare in batches": lambda: bare.rate(BARE_BATCH, length.seconds),
    }
    costs: list[float] = []

    def turn(server: Server, request: bytes) -> Callable[[], float]:
        def ask() -> float:
            outcome = server.rate(request, length.seconds)
            costs.append(outcome.cost)
            return outcome.rate

        return ask

    for name, request in requests.items():
        turns[name] = turn(servers[name.partition(",")[0]], request)
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(length.rounds + 1):
        for name in list(turns)[:: 1 if number % 2 else -1]:
            rate = turns[name]()
            if number:  # the first ones warm up
                rates[name].append(rate)
    print("\nmedians of requests/s (the bare ones: images/s), and all of them")
    for name, values in rates.items():
        print(f"  {name:<24}{statistics.median(values):9.1f}   {' '.join(f'{value:.0f}' for value in values)}")
    print(f"  the load generator took {statistics.median(costs) * 1e6:.0f} us of processor time a request")
    return {name: statistics.median(values) for name, values in rates.items()}


def throughput(rates: dict[str, float]) -> dict[str, float]:
    """The ratios of requests a second."""
    several = f"fulldeck, {FILES} files"
    unavoidable = 1 / rates["bare"] + 1 / rates["handler"]
    unavoidable_several = FILES / rates["bare in batches"] + 1 / rates[f"handler, {FILES} files"]
    ratios = {
        "requests/s, to unavoidable": rates["fulldeck"] * unavoidable,
        f"requests/s of {FILES} files, to unavoidable": rates[several] * unavoidable_several,
    }
    for name, peer in (("LitServe", "litserve"), ("plain FastAPI", "plain")):
        if peer in rates:
            ratios[f"requests/s, to {name}"] = rates["fulldeck"] / rates[peer]
    return ratios


def under_load(server: Server, request: bytes, capacity: float, length: Length) -> dict[str, float]:
    """How the service answers at its ease, at 70 % of its capacity and at 4 times that: ratios of medians of rounds."""
    alone, steady, flooded, goodput, others = [], [], [], [], []
    shed: list[float] = []
    for number in range(max(2, length.rounds // 2)):
        with server.awake():
            alone.append(closed(server.url, request, 1, length.seconds).quantile(0.5))
            calm = paced(server.url, request, 0.7 * capacity, length.steady, seed=number)
            flood = paced(server.url, request, 4 * capacity, length.flood, seed=number)
        steady.append(calm.quantile(0.99))
        flooded.append(flood.quantile(0.99))
        goodput.append(flood.rate)
        others.append(sum(count for status, count in flood.statuses.items() if status not in {200, 429, 503}))
        shed += flood.latencies.get(503, [])
        print(
            f"  round {number + 1}: alone {alone[-1] * 1e3:.1f} (median); at 70 % {steady[-1] * 1e3:.1f} (p99) "
            f"{dict(calm.statuses)}; at 4 x {flooded[-1] * 1e3:.1f} (p99) {dict(flood.statuses)}",
            flush=True,
        )
    if shed:
        shed.sort()
        half, most = shed[len(shed) // 2], shed[int(len(shed) * 0.99)]
        print(f"  who was turned away was told within {half * 1e3:.1f} (median), {most * 1e3:.1f} (p99)")
    return {
        "p99 at 70 % of capacity, to unloaded median": statistics.median(steady) / statistics.median(alone),
        "accepted p99 at 4 x capacity, to p99 at 70 %": statistics.median(flooded) / statistics.median(steady),
        "goodput at 4 x capacity, to capacity": statistics.median(goodput) / capacity,
        "answers at 4 x capacity but 200, 429 and 503": max(others),
    }


def report(ratios: dict[str, float]) -> int:
    """Print the ratios beside their targets; 1 if one is missed."""
    missed = 0
    print(f"\n{'ratio':<48}{'measured':>9}{'target':>9}")
    for name, value in ratios.items():
        target, more = TARGETS[name]
        bad = value < target if more else value > target
        missed |= bad
        print(f"{name:<48}{value:9.2f}{'>=' if more else '<=':>4}{target:>5g}  {'MISSED' if bad else ''}")
    return int(missed)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=champion_path(), help="a model file [default: the champion]")
    parser.add_argument("--image", type=Path, help="a JPEG that the model is sure of [default: the service's example]")
    parser.add_argument("--short", action="store_true", help="a look, not a measurement")
    parser.add_argument("--threads", action="store_true", help="also with threads in place of worker processes")
    parser.add_argument("--without", action="append", default=[], choices=["litserve", "plain", "loads"])
    return parser.parse_args()


def main() -> int:
    """Measure, print, and say by the exit code whether the targets are reached."""
    options = arguments()
    length = SHORT if options.short else FULL
    cores = available_cores()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        card = options.image or files("fulldeck.serving").joinpath("example.jpg")
        jpeg = card.read_bytes()
        (folder / "card.jpg").write_bytes(jpeg)
        one = image_request("/classify/", jpeg)
        several = form_request("/classify/", [jpeg] * FILES)
        servers: dict[str, Server] = {}
        requests: dict[str, bytes] = {}

        def take_part(name: str, server: Server, request: bytes) -> None:
            stack.callback(server.end)
            servers[name] = server
            requests[name] = request

        take_part("fulldeck", serve_fulldeck(options.model, folder / "state"), one)
        check_sure(servers["fulldeck"].url, one)
        requests[f"fulldeck, {FILES} files"] = several
        bare = Bare(options.model, folder / "card.jpg", cores)
        stack.callback(bare.end)
        take_part("handler", serve_peer("handler.py", lambda port: [port], one), one)
        requests[f"handler, {FILES} files"] = several
        print(f"{cores} core(s), {len(jpeg):,} bytes a JPEG, {CONNECTIONS} connections", flush=True)
        if options.threads:
            take_part("threads", serve_fulldeck(options.model, folder / "threads", FULLDECK_PROCESSES="0"), one)
        if "plain" not in options.without:
            resnet18(folder / "resnet18.onnx")
            form = form_request("/classify/", [jpeg])
            plain = serve_peer("plain.py", lambda port: [str(folder / "resnet18.onnx"), port], form)
            take_part("plain", plain, form)
        for server in servers.values():
            server.sleep()
        if "litserve" not in options.without:
            litserve, told = serve_litserve(options.model, one, cores, options.short)
            print(f"LitServe's best settings: {told}", flush=True)
            take_part("litserve", litserve, one)
            litserve.sleep()

        rates = capacities(servers, bare, requests, length)
        ratios = throughput(rates)
        if "loads" not in options.without:
            print("\nunder load (times in ms)")
            ratios |= under_load(servers["fulldeck"], one, rates["fulldeck"], length)
    return report(ratios)


if __name__ == "__main__":
    sys.exit(main())
