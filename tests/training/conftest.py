"""Data small enough to be learnt in a second, and one run on it that the tests read.

Torch is imported when a test wants it: the evaluation's tests do without.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

COLOURS = {"blue": (40, 40, 220), "green": (40, 220, 40), "red": (220, 40, 40)}


@pytest.fixture(scope="session")
def export_untraced():
    """Let the exporter of torch run untraced: to trace so much Python for the coverage takes half as long again."""
    import torch

    export = torch.onnx.export

    def untraced(*arguments: Any, **options: Any) -> Any:
        trace = sys.gettrace()
        sys.settrace(None)
        try:
            return export(*arguments, **options)
        finally:
            sys.settrace(trace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", untraced)
        yield


@pytest.fixture(scope="session")
def one_thread(export_untraced):
    """Networks this small are faster on one thread, and it leaves the other cores to other tests."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def paint_colours(folder, count=16, seed=0):
    """Three labels that are no cards, each with ``count`` noisy pictures of its colour."""
    generator = np.random.default_rng(seed)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            picture = np.array(colour) + generator.integers(-40, 36, 3) + generator.integers(-4, 5, (32, 32, 3))
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory) -> Path:
    """48 pictures of three colours, 32x32; do not change them."""
    return paint_colours(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="session")
def tiny(colours, tmp_path_factory, one_thread):
    """The overrides of a training that takes a second; those for a test are added: ``tiny(runs, "seed=1")``."""
    cache = tmp_path_factory.mktemp("cache")

    def overrides(runs, *more, folder=colours):
        return [
            "model=small",
            "model.backbone=test_efficientnet",
            "model.lr=0.003",
            f"data.folder={folder}",
            f"data.cache={cache}",
            f"runs={runs}",
            "data.size=32",
            "data.stored_size=32",
            "data.batch_size=8",
            "data.holdout=0.25",
            "trainer.max_epochs=2",
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",
            "logger=none",
            *more,
        ]

    return overrides


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory):
    """A finished run of eight epochs; do not change its folder."""
    from fulldeck.training.train import train

    return train(tiny(tmp_path_factory.mktemp("runs"), "trainer.max_epochs=8", "name=tiny"))
