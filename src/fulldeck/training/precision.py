"""The precision that pays on this machine, found by trying it.

A processor that multiplies bfloat16 in hardware may still train faster in float32: of two server processors that have
AVX512-BF16, one trains EfficientNet-Lite0 faster in bfloat16 and the other in float32. So neither flags nor tables
decide, but a few steps.
"""

import copy
import logging
import time

import torch
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.training.module import CardModule

logger = logging.getLogger(__name__)

IMAGES = 16
STEPS = 3
WORTH = 1.1
"""How much faster bfloat16 must be: it rounds, and a draw must not make two runs differ."""


def best_precision(module: CardModule, size: int) -> str:
    """Return Lightning's name of the precision to train a module in.

    On a GPU: bfloat16 where it has it, else float16. On a processor: bfloat16 if it multiplies it in hardware and some
    steps on noise are ``WORTH`` times as fast in it, else float32. The module and torch's random state are left as
    they were.

    Args:
        module: what will be trained.
        size: side of the training images, in pixels.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not (able.get("avx512_bf16") or able.get("amx_bf16")):
        return "32-true"
    with torch.random.fork_rng():
        trial = copy.deepcopy(module).train()
        full, half = _seconds(trial, size, mixed=False), _seconds(trial, size, mixed=True)
    logger.info("a step on %d images takes %.3f s in float32, %.3f s in bfloat16", IMAGES, full, half)
    return "bf16-mixed" if half * WORTH <= full else "32-true"


def _seconds(module: CardModule, size: int, *, mixed: bool) -> float:
    """Time forward and backward passes and return the least; the first, which prepares kernels, does not count."""
    images = torch.rand(IMAGES, 3, size, size).to(memory_format=torch.channels_last)
    targets = torch.zeros(IMAGES, dtype=torch.long)
    times = []
    for _ in range(STEPS + 1):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = F.cross_entropy(module(images).float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - started)
    return min(times[1:])
