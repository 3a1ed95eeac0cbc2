"""Image files as a client sends them."""

import io

import numpy as np
from PIL import Image


def encoded(colour: tuple[int, int, int], kind: str = "PNG", size: tuple[int, int] = (60, 80)) -> bytes:
    """An image file of one colour; the tiny model's answer depends on it."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def jpeg(seed: int = 0) -> bytes:
    """A JPEG of noise, large enough to be cut off in the middle of its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()
