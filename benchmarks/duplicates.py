"""How well copies are told from other cards of the same deck: ours against the usual 64-bit perceptual hash.

The peer is pHash as imagehash, imagededup and cleanvision have it (a DCT of 32 x 32 grey pixels, its lowest 8 x 8 terms
against their median), with a Hamming distance of 10 bits as imagededup's default and 0 as cleanvision's. Planted copies
say how many are found; pairs of images with different labels, of which few can be copies, how many are found wrongly.

    uv run python benchmarks/duplicates.py [DATASET]

The dataset is data/kaggle-cards, or decks drawn for the purpose where that is not there.
"""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fulldeck.data.duplicates import LIMIT, difference, near_pairs, thumbnail
from fulldeck.data.layout import find_images, split_folder
from fulldeck.data.render import render
from fulldeck.inference import image

PLANTED = 200
Pixels = NDArray[np.uint8]


def jpeg(picture: Pixels, quality: int) -> Pixels:
    """Compress and decode."""
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


def crop(picture: Pixels, share: float) -> Pixels:
    """Cut a share of the side off each edge."""
    height, width = (round(side * share) for side in picture.shape[:2])
    return np.ascontiguousarray(picture[height:-height, width:-width])


def watermark(picture: Pixels) -> Pixels:
    """Write across it, as sellers of pictures do."""
    return cv2.putText(picture.copy(), "stock photo", (30, 120), 0, 1.0, (200, 200, 200), 2, cv2.LINE_AA)


NOISE = np.random.default_rng(0)
CHANGES = {
    "JPEG at quality 30": lambda p: jpeg(p, 30),
    "half the size": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "blur, sigma 1.5": lambda p: cv2.GaussianBlur(p, (0, 0), 1.5),
    "noise, sigma 12": lambda p: np.clip(p + NOISE.normal(0, 12, p.shape), 0, 255).astype(np.uint8),
    "70 % of the light": lambda p: (p * 0.7).astype(np.uint8),
    "gamma 1.3": lambda p: (255 * (p / 255.0) ** 1.3).astype(np.uint8),
    "warm light": lambda p: np.clip(p * np.array([1.0, 0.95, 0.8]), 0, 255).astype(np.uint8),
    "cropped by 2 % an edge": lambda p: crop(p, 0.02),
    "cropped by 4 % an edge": lambda p: crop(p, 0.04),
    "shifted by 1.5 %": lambda p: np.roll(p, round(0.015 * p.shape[1]), axis=1),
    "a watermark": watermark,
}


def phash(picture: Pixels) -> NDArray[np.bool_]:
    """Hash to bool [64]."""
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:8, :8]
    return (low > np.median(low)).ravel()


def main(dataset: Path) -> None:
    """Measure both on a dataset and print what came out."""
    files = find_images(split_folder(dataset, "train"))
    pictures = [image.load(path) for path, _ in files]
    labels = np.array([label for _, label in files])
    chosen = np.random.default_rng(0).choice(len(files), min(PLANTED, len(files)), replace=False)
    print(f"{len(files):,} images of {dataset}; copies planted of {len(chosen)}\n")
    print(f"{'share of copies found':<26}{'fulldeck':>10}{'pHash<=10':>11}{'pHash=0':>9}")
    shares = []
    for name, change in CHANGES.items():
        found = []
        for index in chosen:
            copy = np.ascontiguousarray(change(pictures[index]))
            bits = int((phash(pictures[index]) != phash(copy)).sum())
            ours = difference(thumbnail(pictures[index]), thumbnail(copy), LIMIT) <= LIMIT
            found.append((ours, bits <= 10, bits == 0))
        shares.append(np.mean(found, axis=0))
        print(f"{name:<26}{shares[-1][0]:>10.1%}{shares[-1][1]:>11.1%}{shares[-1][2]:>9.1%}")
    mean = np.mean(shares, axis=0)
    print(f"{'mean':<26}{mean[0]:>10.1%}{mean[1]:>11.1%}{mean[2]:>9.1%}\n")

    start = time.perf_counter()
    pairs = [(i, j) for i, j, _ in near_pairs(np.stack([thumbnail(picture) for picture in pictures]))]
    seconds = time.perf_counter() - start
    hashes = np.stack([phash(picture) for picture in pictures]).astype(np.float32) * 2 - 1
    distance = (64 - hashes @ hashes.T) / 2
    upper = np.triu(np.ones(distance.shape, dtype=bool), 1)
    other = labels[:, None] != labels[None]
    rows = {
        "fulldeck": (len(pairs), sum(labels[i] != labels[j] for i, j in pairs)),
        "pHash<=10": (int((upper & (distance <= 10)).sum()), int((upper & other & (distance <= 10)).sum())),
        "pHash=0": (int((upper & (distance == 0)).sum()), int((upper & other & (distance == 0)).sum())),
    }
    print(f"{'pairs found in the dataset':<28}{'all':>8}{'of two labels':>16}")
    for name, (total, wrong) in rows.items():
        print(f"{name:<28}{total:>8,}{wrong:>16,}")
    ratio = rows["fulldeck"][1] / max(rows["pHash<=10"][1], 1)
    print(f"\nratio of pairs of two labels, fulldeck to pHash<=10: {ratio:.4f}")
    print(f"ratio of copies found, fulldeck to pHash<=10: {mean[0] / mean[1]:.2f}")
    print(f"all pairs of {len(files):,} images in {seconds:.0f} s")


if __name__ == "__main__":
    chosen = Path(sys.argv[1] if len(sys.argv) > 1 else "data/kaggle-cards")
    if chosen.is_dir() or len(sys.argv) > 1:
        main(chosen)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            render(Path(temporary) / "decks", decks=12, per_card=1, seed=0)
            main(Path(temporary) / "decks")
