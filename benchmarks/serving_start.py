"""How long a service takes from the start of its process until it is ready, beside a bare interpreter with its model.

The bare one imports ONNX Runtime and loads the same model file, and does nothing else. Turn by turn, in the same
environment, with compiled modules cached for both in a folder of this run's own, as they are from the second start on.

    python benchmarks/serving_start.py [--model MODEL]

Exits with 1 if the ratio of the medians is above the limit.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fulldeck.inference.model_file import champion_path

LIMIT = 2.0

BARE = """
import sys

import onnxruntime as ort

ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print("ready", flush=True)
"""


def seconds_to_first_line(command: list[str], environment: dict[str, str]) -> float:
    """Start a process, and end it once it has said something."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True) as process:
        line = process.stdout.readline() if process.stdout else b""
        taken = time.perf_counter() - start
        os.killpg(process.pid, signal.SIGKILL)
    if not line:
        sys.exit(f"{command} did not start")
    return taken


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=champion_path(), help="a model file [default: the champion]")
    parser.add_argument("--runs", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # The console script that pip installs does just this; it says its address when it is ready, and not before.
        ours = ["-c", "import sys; from fulldeck.cli import main; sys.exit(main())", "serve", "--port", "0", "--model"]
        commands = {
            "fulldeck serve": [sys.executable, *ours, str(options.model)],
            "bare interpreter": [sys.executable, "-c", BARE, str(options.model)],
        }
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/cache", "XDG_STATE_HOME": folder}
        environment |= {"ORT_DISABLE_TELEMETRY": "1"}  # as fulldeck does: it would cost the bare one more
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(options.runs + 1):
            for name, command in list(commands.items())[:: 1 if run % 2 else -1]:
                taken = seconds_to_first_line(command, environment)
                if run:  # the first ones fill the cache
                    times[name].append(taken)

    medians = {name: statistics.median(values) * 1e3 for name, values in times.items()}
    ratio = medians["fulldeck serve"] / medians["bare interpreter"]
    for name, median in medians.items():
        print(f"{name:<20}{median:7.1f} ms")
    print(f"ratio {ratio:.2f} (limit {LIMIT:g}), medians of {options.runs} turns")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
