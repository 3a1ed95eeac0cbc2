"""What `torch.compile` is worth on this processor, for a training step and for inference, beside ONNX Runtime.

The default network, or --backbone, in float32 on one thread. Compiled and plain take turns, so that whatever else the
machine does hits both. Compiling needs a C++ compiler; the time that it takes is told, since a training has to earn it.

    taskset -c 1 python benchmarks/torch_compile.py [--backbone NAME] [--size PIXELS]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.cards import LABELS
from fulldeck.inference.model_file import INPUT
from fulldeck.training.export import Answering, to_onnx
from fulldeck.training.module import CardModule


def in_turn(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call; all are made once a round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            calls[name]()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def training_step(network: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """A forward pass, a loss, a backward pass and a step of the optimiser."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    targets = torch.arange(len(images)) % len(LABELS)

    def step() -> None:
        optimiser.zero_grad()
        F.cross_entropy(network(images), targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def report(title: str, calls: dict[str, Callable[[], object]], rounds: int, images: int) -> None:
    """Warm up, which compiles what is to be compiled; measure and print."""
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        print(f"{title}, {name}: first call {time.perf_counter() - start:.1f} s")
    found = in_turn(calls, rounds)
    for name, seconds in found.items():
        ratio = found["plain torch"] / seconds
        print(f"{title}, {name}: {seconds * 1e3 / images:.2f} ms an image, {ratio:.2f} times plain torch's speed")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--batch", type=int, default=16, help="images a training step")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    module = CardModule(options.backbone, LABELS, pretrained=False, drop_rate=0.0, drop_path_rate=0.0)

    module.eval()
    pixels = np.random.default_rng(0).integers(0, 256, (1, options.size, options.size, 3), dtype=np.uint8)
    answering, image = Answering(module, 1.0).eval(), torch.from_numpy(pixels)
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = 1
    graph = to_onnx(answering, options.size).SerializeToString()
    session = ort.InferenceSession(graph, session_options, providers=["CPUExecutionProvider"])
    compiled = torch.compile(answering)
    with torch.no_grad():
        calls: dict[str, Callable[[], object]] = {
            "plain torch": lambda: answering(image),
            "torch.compile": lambda: compiled(image),
            "ONNX Runtime": lambda: session.run(None, {INPUT: pixels}),
        }
        report("inference", calls, options.rounds, 1)

    module.train()
    images = torch.rand(options.batch, 3, options.size, options.size).to(memory_format=torch.channels_last)
    steps = {
        "plain torch": training_step(module, images),
        "torch.compile": training_step(torch.compile(module), images),  # type: ignore[arg-type]
    }
    report("training", steps, options.rounds, options.batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
