"""The common corruptions of ImageNet-C on one picture, in five severities, and three that befall cards on tables.

Functions and strengths are those of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations" (ICLR 2019, and the code that made ImageNet-C), written for arrays with OpenCV. Their
strengths are for pictures of 224 pixels; lengths (radii, widths, shifts) are scaled by the shorter side here, so that a
picture of another size looks spoilt alike. Left out are snow and frost, which no card on a table meets, and glass blur.
Of its extra set there are speckle noise and saturate. Glare, dim light and shade are our own, and say so.

The published packages were no choice: ``imagecorruptions`` has not been kept since 2020 and needs numba, and
``albumentations`` has other definitions and a successor under the AGPL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fulldeck.data.deck.chance import between, generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SEVERITIES = (1, 2, 3, 4, 5)
_SIDE = 224  # the side that the published strengths are for


@dataclass(frozen=True)
class Corruption:
    """One family: ``apply(picture in 0..1, strength, scale, rng)``, and its strength at severities 1 to 5."""

    apply: Callable[[Floats, Any, float, np.random.Generator], Floats]
    strengths: tuple[Any, Any, Any, Any, Any]
    published: bool = True  # in ImageNet-C, and not our own


def corrupt(picture: NDArray[np.uint8], name: str, severity: int, seed: int = 0) -> NDArray[np.uint8]:
    """Spoil a picture.

    Args:
        picture: uint8 [H, W, 3], RGB; it is not changed.
        name: One of :data:`CORRUPTIONS`.
        severity: 1, hardly to be seen, to 5.
        seed: The same seed spoils the same picture alike.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    family = CORRUPTIONS[name]
    rng = generator(seed, 61, *name.encode(), severity)
    scale = min(picture.shape[:2]) / _SIDE
    spoilt = family.apply(picture.astype(np.float32) / np.float32(255), family.strengths[severity - 1], scale, rng)
    return np.asarray(np.rint(np.clip(spoilt, 0, 1) * 255), np.uint8)


def _gaussian_noise(x: Floats, deviation: float, _scale: float, rng: np.random.Generator) -> Floats:
    return x + rng.standard_normal(x.shape, np.float32) * np.float32(deviation)


def _shot_noise(x: Floats, photons: float, _scale: float, rng: np.random.Generator) -> Floats:
    return np.asarray(rng.poisson(x * photons) / photons, np.float32)


def _impulse_noise(x: Floats, amount: float, _scale: float, rng: np.random.Generator) -> Floats:
    chosen = rng.random(x.shape, np.float32)
    return np.where(chosen < amount / 2, np.float32(0), np.where(chosen < amount, np.float32(1), x))


def _speckle_noise(x: Floats, deviation: float, _scale: float, rng: np.random.Generator) -> Floats:
    return x + x * rng.standard_normal(x.shape, np.float32) * np.float32(deviation)


def _defocus_blur(x: Floats, strength: tuple[float, float], scale: float, _rng: np.random.Generator) -> Floats:
    radius, soft = strength[0] * scale, strength[1] * scale
    reach = int(np.ceil(radius)) + 1
    y, u = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(y, u), 0, 1).astype(np.float32)  # its edge pixels count in part
    disc = np.asarray(cv2.GaussianBlur(disc, (0, 0), max(soft, 0.05)), np.float32)
    return np.asarray(cv2.filter2D(x, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _motion_blur(x: Floats, strength: tuple[float, float], scale: float, rng: np.random.Generator) -> Floats:
    """A Gaussian tail along one direction, as ImageMagick draws it."""
    radius, sigma = strength[0] * scale, max(strength[1] * scale, 0.1)
    angle = np.radians(between(rng, -45, 45))
    reach = int(np.ceil(radius * 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.arange(0, 2 * radius + 0.25, 0.25):
        u, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
        left, top = int(u), int(y)
        a, b, weight = u - left, y - top, np.exp(-0.5 * (step / sigma) ** 2)
        kernel[top : top + 2, left : left + 2] += weight * np.outer([1 - b, b], [1 - a, a])
    return np.asarray(cv2.filter2D(x, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.float32)


def _zoom_blur(x: Floats, strength: tuple[float, float], _scale: float, _rng: np.random.Generator) -> Floats:
    """The mean of the picture and of ever larger copies of it: up to a zoom, in steps."""
    height, width = x.shape[:2]
    zooms = np.arange(1, *strength)
    total = x.copy()
    for zoom in zooms:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, float(zoom))
        total += np.asarray(cv2.warpAffine(x, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.float32)
    return total / np.float32(len(zooms) + 1)


def _fog(x: Floats, strength: tuple[float, float], _scale: float, rng: np.random.Generator) -> Floats:
    """Plasma clouds: random grids, each twice as fine and weaker by the decay."""
    amount, decay = strength
    height, width = x.shape[:2]
    clouds = np.zeros((height, width), np.float32)
    for octave in range(8):
        cells = 2**octave + 1
        grid = rng.random((cells, cells), np.float32) - np.float32(0.5)
        clouds += (
            np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR), np.float32) / decay**octave
        )
    clouds -= clouds.min()
    clouds /= max(float(clouds.max()), 1e-6)
    peak = float(x.max())
    return np.asarray((x + amount * clouds[:, :, None]) * (peak / (peak + amount)), np.float32)


def _brightness(x: Floats, lift: float, _scale: float, _rng: np.random.Generator) -> Floats:
    hsv = np.asarray(cv2.cvtColor(x, cv2.COLOR_RGB2HSV), np.float32)
    hsv[:, :, 2] = np.clip(hsv[:, :, 2] + lift, 0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)


def _saturate(x: Floats, strength: tuple[float, float], _scale: float, _rng: np.random.Generator) -> Floats:
    hsv = np.asarray(cv2.cvtColor(x, cv2.COLOR_RGB2HSV), np.float32)
    hsv[:, :, 1] = np.clip(hsv[:, :, 1] * strength[0] + strength[1], 0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)


def _contrast(x: Floats, gain: float, _scale: float, _rng: np.random.Generator) -> Floats:
    mean = x.mean(axis=(0, 1), keepdims=True)
    return np.asarray((x - mean) * gain + mean, np.float32)


def _elastic(x: Floats, strength: tuple[float, float, float], _scale: float, rng: np.random.Generator) -> Floats:
    """A random affine map, and a smooth random shift of each pixel. Lengths are parts of the side."""
    height, width = x.shape[:2]
    side = min(height, width)
    alpha, sigma, affine = (part * side for part in strength)
    middle, third = np.array([width, height], np.float32) / 2, side / 3
    corners = middle + np.array([[third, third], [third, -third], [-third, -third]], np.float32)
    moved = corners + rng.uniform(-affine, affine, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved.astype(np.float32))
    x = np.asarray(cv2.warpAffine(x, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.float32)
    y, u = np.mgrid[0:height, 0:width].astype(np.float32)
    across, down = (alpha * _smooth_noise(rng, (height, width), sigma) for _ in range(2))
    warped = cv2.remap(x, u + across, y + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, np.float32)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Floats:
    """Uniform noise in -1..1 under a Gaussian. A wide one is applied to averages of blocks, which changes little."""
    noise = rng.random(shape, np.float32) * 2 - 1
    block = max(1, int(sigma // 8))
    less = (max(1, shape[1] // block), max(1, shape[0] // block))
    small = cv2.resize(noise, less, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), sigma / block, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(soft, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _pixelate(x: Floats, share: float, _scale: float, _rng: np.random.Generator) -> Floats:
    height, width = x.shape[:2]
    less = (max(1, int(width * share)), max(1, int(height * share)))
    small = cv2.resize(x, less, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)


def _jpeg(x: Floats, quality: int, _scale: float, _rng: np.random.Generator) -> Floats:
    pixels = np.asarray(np.rint(x * 255), np.uint8)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    return np.asarray(decoded, np.float32) / np.float32(255)


def _glare(x: Floats, strength: tuple[float, float], _scale: float, rng: np.random.Generator) -> Floats:
    """Ours: a lamp mirrored in varnish or sleeve: a soft white ellipse of a peak and a size."""
    peak, size = strength
    height, width = x.shape[:2]
    y, u = np.mgrid[0:height, 0:width].astype(np.float32)
    turn = between(rng, 0, np.pi)
    dy, du = y / height - between(rng, 0.2, 0.8), u / width - between(rng, 0.2, 0.8)
    along, across = du * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - du * np.sin(turn)
    spot = peak * np.exp(-((along / size) ** 2) - (across / (size * between(rng, 0.3, 1))) ** 2)
    return np.asarray(x + spot[:, :, None] * (1.15 - x), np.float32)


def _dim(x: Floats, strength: tuple[float, float], _scale: float, rng: np.random.Generator) -> Floats:
    """Ours: a dim room: less light (a gain), warm, and so few photons that they are noise."""
    gain, photons = strength
    light = x * np.array([1.0, 0.9, 0.75], np.float32) * gain
    return np.asarray(rng.poisson(np.clip(light, 0, 1) * photons) / photons, np.float32)


def _shade(x: Floats, depth: float, _scale: float, rng: np.random.Generator) -> Floats:
    """Ours: the shadow of a hand or a head, with a soft edge, over about half of the picture."""
    height, width = x.shape[:2]
    y, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    turn = between(rng, 0, 2 * np.pi)
    side = u * np.cos(turn) + y * np.sin(turn) + 0.2 * np.sin(3 * (y * np.cos(turn) - u * np.sin(turn)))
    shadow = np.asarray(1 / (1 + np.exp(-(side + between(rng, -0.3, 0.3)) * 12)), np.float32)
    return np.asarray(x * (1 - depth * shadow[:, :, None]), np.float32)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian noise": Corruption(_gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot noise": Corruption(_shot_noise, (60, 25, 12, 5, 3)),
    "impulse noise": Corruption(_impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle noise": Corruption(_speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
    "defocus blur": Corruption(_defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "motion blur": Corruption(_motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom blur": Corruption(_zoom_blur, ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))),
    "fog": Corruption(_fog, ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))),
    "brightness": Corruption(_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Corruption(_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturate": Corruption(_saturate, ((0.3, 0.0), (0.1, 0.0), (2, 0.0), (5, 0.1), (20, 0.2))),
    "elastic": Corruption(
        _elastic, ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
    ),
    "pixelate": Corruption(_pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": Corruption(_jpeg, (25, 18, 15, 10, 7)),
    "glare": Corruption(_glare, ((0.5, 0.2), (0.7, 0.25), (0.85, 0.3), (0.95, 0.35), (1.0, 0.45)), published=False),
    "dim": Corruption(_dim, ((0.5, 300), (0.35, 250), (0.25, 200), (0.17, 200), (0.1, 200)), published=False),
    "shade": Corruption(_shade, (0.3, 0.45, 0.6, 0.75, 0.88), published=False),
}
"""Every family by name, in the order of tables."""
