"""Which of many pictures are the same picture: recompressed, rescaled, blurred, recoloured, or cropped a little.

Cards of one deck differ from each other in little more than a corner, so the usual 64-bit perceptual hashes call two
different cards the same; ``benchmarks/duplicates.py`` counts how often. Here two pictures are compared as a person
would: laid on each other, and looked at in their worst place. Nothing here knows about labels or splits.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 96
"""Side of the pictures that are compared, in pixels: the smallest at which the corner index of a card still counts."""

LIMIT = 0.3
"""Two pictures are the same up to this `difference`. Measured on the Kaggle images: `benchmarks/duplicates.py`."""

ALIKE = 0.9
"""Only pairs whose small colour pictures correlate this well are laid on each other."""

_SMALL = 24
_LAID = 64  # pixels a side at which the pictures are aligned
_WINDOW = 8  # of SIDE pixels: about as large as the symbol in a card's corner
_LEAST_CONTRAST = 12.0  # grey levels: a picture with less is not blown up until its noise looks like a drawing
_MOST_STRETCH = 0.08  # a picture may be cropped by 4 % at each edge
_MOST_SHIFT = 0.06  # share of the side
_ROWS = 256


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a picture, uint8 [H, W, 3], to what is compared: uint8 [SIDE, SIDE, 3]."""
    return _shrunk(pixels, SIDE)


def near_pairs(
    thumbs: NDArray[np.uint8], *, limit: float = LIMIT, watch: Callable[[int], None] = lambda _: None
) -> list[tuple[int, int, float]]:
    """Find the pairs of pictures that are the same up to ``limit``.

    A picture turned by 180 degrees is another one, unless the two look alike all the same, as many courts do.

    Args:
        thumbs: uint8 [N, SIDE, SIDE, 3], of `thumbnail`; may be memory-mapped.
        limit: see `difference`.
        watch: is told how many of the N pictures were compared with all others, now and then.

    Returns:
        (i, j, difference) with i < j, in order.
    """
    found: list[tuple[int, int, float]] = []

    def measure(pair: tuple[int, int]) -> float:
        return difference(thumbs[pair[0]], thumbs[pair[1]], limit)

    with ThreadPoolExecutor(4) as pool:
        for done, pairs in _alike(thumbs):
            for (i, j), value in zip(pairs, pool.map(measure, pairs), strict=True):
                if value <= limit:
                    found.append((i, j, round(value, 4)))
            watch(done)
    return sorted(found)


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8], enough: float = 0.0) -> float:
    """Tell how different two pictures are in their worst place.

    Each channel is brought to mean 0 and standard deviation 1, which takes a change of light or colour out; the result
    is the largest mean absolute difference in any window of a twelfth of the side. If that is above ``enough``, b is
    laid on a by an affine map that is nearly the identity (the enhanced correlation coefficient of Evangelidis and
    Psarakis, 2008), and what both show is compared again.

    Args:
        a: uint8 [SIDE, SIDE, 3], of `thumbnail`.
        b: The same.
        enough: Do not try to do better than this.

    Returns:
        0 for the same picture; most pairs of cards that differ in one corner have more than LIMIT.
    """
    everywhere = np.ones((SIDE, SIDE), dtype=np.uint8)
    soft_a, soft_b = _soft(a), _soft(b)
    plain = _worst(soft_a, soft_b, everywhere)
    if plain <= enough or (laid := _alignment(a, b)) is None:
        return plain
    size = (SIDE, SIDE)
    back = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(soft_b, laid, size, flags=back, borderMode=cv2.BORDER_REPLICATE)
    shared = cv2.warpAffine(everywhere, laid, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    # The blur has seen other things beyond the edge of the one than the other shows there.
    shared = cv2.erode(shared, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return min(plain, _worst(soft_a, np.asarray(warped, dtype=np.float32), np.asarray(shared, dtype=np.uint8)))


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Join pairs that share a member into groups.

    Args:
        count: how many there are in all.
        pairs: which of 0 to count - 1 belong together.

    Returns:
        The groups of two and more, each sorted, in the order of their first members.
    """
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        first, second = sorted((root(i), root(j)))
        parent[second] = first
    groups: dict[int, list[int]] = {}
    for i in range(count):
        groups.setdefault(root(i), []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def _alike(thumbs: NDArray[np.uint8]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield, a block of pictures at a time, how many are done and the pairs that correlate by ALIKE or better."""
    small = np.empty((len(thumbs), _SMALL * _SMALL * 3), dtype=np.float32)
    for row, thumb in enumerate(thumbs):
        flat = _shrunk(thumb, _SMALL).reshape(-1).astype(np.float32)
        flat -= flat.mean()
        small[row] = flat / max(float(np.linalg.norm(flat)), 1e-6)
    for start in range(0, len(small), _ROWS):
        block = small[start : start + _ROWS]
        rows, columns = np.nonzero(block @ small[start:].T >= ALIKE)
        later = columns > rows
        pairs = [(start + int(i), start + int(j)) for i, j in zip(rows[later], columns[later], strict=True)]
        yield start + len(block), pairs


def _shrunk(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _soft(thumb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Blur a little, so that sharpness and half a pixel do not count."""
    return np.asarray(cv2.GaussianBlur(thumb.astype(np.float32), (0, 0), 1.0), dtype=np.float32)


def _worst(a: NDArray[np.float32], b: NDArray[np.float32], shared: NDArray[np.uint8]) -> float:
    inside = shared > 0
    apart = np.abs(_levelled(a, inside) - _levelled(b, inside)).mean(axis=2) * shared
    return float(cv2.blur(apart, (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT).max())


def _levelled(picture: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    seen = picture[inside]
    levelled: NDArray[np.float32] = (picture - seen.mean(axis=0)) / np.maximum(seen.std(axis=0), _LEAST_CONTRAST)
    return levelled


def _alignment(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Find the map, float32 [2, 3], from pixels of a to pixels of b; None if it is far from the identity."""
    grey = [cv2.cvtColor(_shrunk(thumb, _LAID), cv2.COLOR_RGB2GRAY) for thumb in (a, b)]
    everywhere = np.full((_LAID, _LAID), 255, dtype=np.uint8)
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, found = cv2.findTransformECC(
            grey[0], grey[1], np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, until, everywhere, 5
        )
    except cv2.error:  # it does not converge: they are not the same
        return None
    linear, shift = np.asarray(found[:, :2], dtype=np.float64), np.asarray(found[:, 2], dtype=np.float64)
    turned = linear - np.eye(2)
    moved = shift + turned @ np.full(2, _LAID / 2)
    if np.abs(turned).max() > _MOST_STRETCH or np.abs(moved).max() > _MOST_SHIFT * _LAID:
        return None
    # From the pixel grid of _LAID to that of SIDE: centres lie at whole numbers in both.
    scale = SIDE / _LAID
    centre = np.full(2, (scale - 1) / 2)
    return np.column_stack([linear, scale * shift + centre - linear @ centre]).astype(np.float32)
