"""What `fulldeck classify one.jpg` costs as a whole process, beside a bare script that gets the same answer.

The script imports NumPy, OpenCV and ONNX Runtime, decodes the same file, and runs the same model once: 20 lines that
check nothing and name nothing. Same interpreter, same environment, turn by turn.

    python benchmarks/cli.py [--model MODEL] [--image JPEG]

Compiled modules are cached for both (in a folder of this run's own), as they are on a user's second call. Exits with 1
if the ratio of the medians is above the limit.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fulldeck.inference.model_file import champion_path
from inference import EXAMPLE

LIMIT = 1.5

BARE = """
import sys

import cv2
import numpy as np
import onnxruntime as ort

image = cv2.imdecode(np.fromfile(sys.argv[1], np.uint8), cv2.IMREAD_COLOR)
session = ort.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
height, width = session.get_inputs()[0].shape[1:3]
batch = cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)[None]
probabilities = session.run(["probabilities"], {"images": batch})[0][0]
print(int(probabilities.argmax()), float(probabilities.max()))
"""


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=champion_path(), help="a model file [default: the champion]")
    parser.add_argument("--image", type=Path, default=EXAMPLE, help="a JPEG [default: the service's example]")
    parser.add_argument("--runs", type=int, default=21)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text(BARE)
        # The console script that pip installs does just this.
        ours = ["-c", "import sys; from fulldeck.cli import main; sys.exit(main())", "classify", "--model"]
        commands = {
            "fulldeck classify": [sys.executable, *ours, str(options.model), str(options.image)],
            "bare script": [sys.executable, str(script), str(options.image), str(options.model)],
        }
        # The telemetry that fulldeck turns off would cost the bare script some more milliseconds.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder) / "cache"), "ORT_DISABLE_TELEMETRY": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(options.runs + 2):
            for name, command in list(commands.items())[:: 1 if run % 2 else -1]:
                start = time.perf_counter()
                result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                if result.returncode:
                    sys.exit(f"{name} failed: {result.stderr}")
                if run >= 2:  # the first ones fill the caches
                    times[name].append(time.perf_counter() - start)

    medians = {name: statistics.median(values) * 1e3 for name, values in times.items()}
    ratio = medians["fulldeck classify"] / medians["bare script"]
    for name, median in medians.items():
        print(f"{name:<20}{median:7.1f} ms")
    print(f"ratio {ratio:.3f} (limit {LIMIT}), medians of {options.runs} turns")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
