"""Pictures to be scored, drawn on the spot."""

from pathlib import Path

import cv2
import numpy as np


def paint_pictures(folder: Path, count: int) -> Path:
    """Write small noisy pictures, no two alike, into two folders."""
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / ("odd" if number % 2 else "even") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), generator.integers(0, 255, (32, 32, 3), dtype=np.uint8))
    return folder
