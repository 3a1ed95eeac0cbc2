"""A process that decodes and infers, and nothing else: no server, no checks, no names.

    python benchmarks/peers/bare.py MODEL JPEG

Says "ready"; then, for each line BATCH SECONDS on its standard input, works so long and prints images a second.
"""

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import simplejpeg


def main() -> None:
    """Answer lines until there is none."""
    model, jpeg = sys.argv[1], Path(sys.argv[2]).read_bytes()
    cv2.setNumThreads(1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[1]

    def work(batch: int) -> None:
        images = [cv2.resize(simplejpeg.decode_jpeg(jpeg, "RGB"), (side, side)) for _ in range(batch)]
        session.run(None, {"images": np.stack(images)})

    work(1)
    print("ready", flush=True)
    for line in sys.stdin:
        batch, seconds = int(line.split()[0]), float(line.split()[1])
        work(batch)
        start = time.perf_counter()
        images = 0
        while (taken := time.perf_counter() - start) < seconds:
            work(batch)
            images += batch
        print(images / taken, flush=True)


if __name__ == "__main__":
    main()
