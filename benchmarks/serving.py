"""How fast `fulldeck serve` answers, and how it stands more than it can do, as ratios to peers in the same run.

    python benchmarks/serving.py [--model MODEL] [--short] [--without litserve --without plain]

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

from fulldeck.inference.classifier import available_cores
from fulldeck.inference.model_file import champion_path
from load import Outcome, closed, form_request, image_request, paced

PEERS = Path(__file__).parent / "peers"
CONNECTIONS = 8
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


FULL = Length(rounds=7, seconds=4, steady=15, flood=20)
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

    def rate(self, request: bytes, seconds: float) -> Outcome:
        """Let it answer as fast as it can."""
        with self.process.awake():
            outcome = closed(self.url, request, CONNECTIONS, seconds)
        if set(outcome.latencies) != {200}:
            sys.exit(f"{self.url} answers {dict(outcome.statuses)}")
        return outcome


def serve_fulldeck(model: Path, folder: Path) -> Server:
    """The service, ready, with its files in a folder of its own."""
    # The console script that pip installs does just this.
    ours = "import sys; from fulldeck.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", ours, "serve", "--port", "0", "--model", str(model)]
    process = Process(command, {"XDG_STATE_HOME": str(folder)})
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
            server.process.end()
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
    for number in range(length.rounds):
        for name in list(turns)[:: 1 if number % 2 else -1]:
            rates[name].append(turns[name]())
    print("\nmedians of requests/s (the bare ones: images/s), and all of them")
    for name, values in rates.items():
        print(f"  {name:<24}{statistics.median(values):9.1f}   {' '.join(f'{value:.0f}' for value in values)}")
    print(f"  the load generator took {statistics.median(costs) * 1e6:.0f} us of processor time a request")
    return {name: statistics.median(values) for name, values in rates.items()}


def loads(server: Server, request: bytes, capacity: float, length: Length) -> dict[str, float]:
    """How the service answers at its ease, at 70 % of its capacity and at 4 times that: medians of the rounds."""
    figures: dict[str, list[float]] = {
        name: [] for name in ("unloaded median", "p99 at 70 %", "p99 at 4 x", "goodput at 4 x", "others at 4 x")
    }
    shed = []
    for number in range(max(2, length.rounds // 2)):
        with server.process.awake():
            figures["unloaded median"].append(closed(server.url, request, 1, length.seconds).quantile(0.5))
            steady = paced(server.url, request, 0.7 * capacity, length.steady, seed=number)
            figures["p99 at 70 %"].append(steady.quantile(0.99))
            flood = paced(server.url, request, 4 * capacity, length.flood, seed=number)
        figures["p99 at 4 x"].append(flood.quantile(0.99))
        figures["goodput at 4 x"].append(flood.rate)
        figures["others at 4 x"].append(sum(n for status, n in flood.statuses.items() if status not in {200, 429, 503}))
        shed += flood.latencies.get(503, [])
        print(f"  round {number + 1}: at 70 % {dict(steady.statuses)}, at 4 x {dict(flood.statuses)}")
    shed.sort()
    if shed:
        print(f"  requests shed were told so within {shed[len(shed) // 2] * 1e3:.1f} ms (median), "
              f"{shed[int(len(shed) * 0.99)] * 1e3:.1f} ms (p99)")  # fmt: skip
    medians = {name: statistics.median(values) for name, values in figures.items()}
    medians["others at 4 x"] = max(figures["others at 4 x"])
    for name, value in medians.items():
        print(f"  {name:<24}{value * 1e3 if 'p99' in name or 'median' in name else value:9.1f}")
    return medians


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


def main() -> int:
    """Measure, print, and say by the exit code whether the targets are reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=champion_path(), help="a model file [default: the champion]")
    parser.add_argument("--image", type=Path, help="a JPEG that the model is sure of [default: the service's example]")
    parser.add_argument("--short", action="store_true", help="a look, not a measurement")
    parser.add_argument("--without", action="append", default=[], choices=["litserve", "plain", "loads"])
    options = parser.parse_args()
    length = SHORT if options.short else FULL
    cores = available_cores()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        jpeg = (
            options.image.read_bytes()
            if options.image
            else files("fulldeck.serving").joinpath("example.jpg").read_bytes()
        )
        (folder / "card.jpg").write_bytes(jpeg)
        one = image_request("/classify/", jpeg)
        form = form_request("/classify/", [jpeg])
        several = form_request("/classify/", [jpeg] * FILES)

        def running(server: Server) -> Server:
            stack.callback(server.process.end)
            os.killpg(server.process.process.pid, signal.SIGSTOP)
            return server

        ours = serve_fulldeck(options.model, folder / "state")
        check_sure(ours.url, one)
        servers = {"fulldeck": running(ours)}
        requests = {"fulldeck": one, f"fulldeck, {FILES} files": several}
        bare = Bare(options.model, folder / "card.jpg", cores)
        stack.callback(bare.end)
        servers["handler"] = running(serve_peer("handler.py", lambda port: [port], one))
        requests |= {"handler": one, f"handler, {FILES} files": several}
        print(f"{cores} core(s), {len(jpeg):,} bytes a JPEG, {CONNECTIONS} connections")
        if "litserve" not in options.without:
            litserve, told = serve_litserve(options.model, one, cores, options.short)
            print(f"LitServe's best settings: {told}")
            servers["litserve"] = running(litserve)
            requests["litserve"] = one
        if "plain" not in options.without:
            resnet18(folder / "resnet18.onnx")
            plain = serve_peer("plain.py", lambda port: [str(folder / "resnet18.onnx"), port], form)
            servers["plain"] = running(plain)
            requests["plain"] = form

        rates = capacities(servers, bare, requests, length)
        ratios = {
            "requests/s, to unavoidable": rates["fulldeck"] * (1 / rates["bare"] + 1 / rates["handler"]),
            f"requests/s of {FILES} files, to unavoidable": rates[f"fulldeck, {FILES} files"]
            * (FILES / rates["bare in batches"] + 1 / rates[f"handler, {FILES} files"]),
        }
        if "litserve" in rates:
            ratios["requests/s, to LitServe"] = rates["fulldeck"] / rates["litserve"]
        if "plain" in rates:
            ratios["requests/s, to plain FastAPI"] = rates["fulldeck"] / rates["plain"]
        if "loads" not in options.without:
            print("\nunder load (times in ms)")
            found = loads(servers["fulldeck"], one, rates["fulldeck"], length)
            ratios |= {
                "p99 at 70 % of capacity, to unloaded median": found["p99 at 70 %"] / found["unloaded median"],
                "accepted p99 at 4 x capacity, to p99 at 70 %": found["p99 at 4 x"] / found["p99 at 70 %"],
                "goodput at 4 x capacity, to capacity": found["goodput at 4 x"] / rates["fulldeck"],
                "answers at 4 x capacity but 200, 429 and 503": found["others at 4 x"],
            }
    return report(ratios)


if __name__ == "__main__":
    sys.exit(main())
