"""What `Recognizer.classify` costs beside the work that nobody can avoid, from JPEG bytes, on one thread.

Unavoidable is: decoding the JPEG with OpenCV, and running the model on an array that is ready. Ours does both, and
checks the bytes, resizes, sorts and names. The two take turns, so that whatever else the machine does hits both.

    python benchmarks/inference.py [--model MODEL] [--image JPEG]

Exits with 1 if the ratio of the medians is above the limit.
"""

import argparse
import statistics
import sys
import time
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from fulldeck import Recognizer  # which also turns ONNX Runtime's telemetry off, for both
from fulldeck.inference.image import decode
from fulldeck.inference.model_file import champion_path

import onnxruntime as ort  # isort: skip

LIMIT = 1.1


EXAMPLE = Path(str(files("fulldeck.serving") / "example.jpg"))
"""A card that fills the picture, which the champion is sure of: who is not takes the second look that doubt costs."""


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=champion_path(), help="a model file [default: the champion]")
    parser.add_argument("--image", type=Path, default=EXAMPLE, help="a JPEG [default: the service's example]")
    parser.add_argument("--repeats", type=int, default=400)
    options = parser.parse_args()
    jpeg = options.image.read_bytes()

    cv2.setNumThreads(1)
    recognizer = Recognizer(options.model, threads=1)
    side = recognizer.info.size
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = ort.InferenceSession(str(options.model), settings, providers=["CPUExecutionProvider"])
    ready = recognizer.prepare(jpeg)[None]

    def ours() -> None:
        recognizer.classify(jpeg)

    def bare() -> None:
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        session.run(None, {"images": ready})

    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for repeat in range(options.repeats + 20):
        for name, call in (("ours", ours), ("bare", bare))[:: 1 if repeat % 2 else -1]:
            start = time.perf_counter()
            call()
            if repeat >= 20:  # the first ones warm up
                times[name].append(time.perf_counter() - start)

    medians = {name: statistics.median(values) * 1e3 for name, values in times.items()}
    ratio = medians["ours"] / medians["bare"]
    height, width = decode(jpeg).shape[:2]
    print(f"image: {width}x{height}, {len(jpeg):,} bytes; model: {recognizer.info.name} at {side}x{side}; one thread")
    print(f"Recognizer.classify from bytes   {medians['ours']:7.3f} ms")
    print(f"bare imdecode and session.run    {medians['bare']:7.3f} ms")
    print(f"ratio {ratio:.3f} (limit {LIMIT}), medians of {options.repeats} turns")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
