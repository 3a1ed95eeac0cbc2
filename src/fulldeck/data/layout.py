"""Where images and their labels lie in a dataset: ``DIR/<split>/<label>/*.jpg`` or ``DIR/<label>/*.jpg``."""

from pathlib import Path

from fulldeck.data.manifest import image_paths
from fulldeck.errors import DataError

SPLITS = ("train", "valid", "test")


def split_folder(root: Path, split: str) -> Path:
    """Return the folder of class folders for ``split``; a layout without splits is all ``train``.

    Raises:
        DataError: there is no such split.
    """
    if (root / split).is_dir():
        return root / split
    if split == "train" and root.is_dir() and not any((root / name).is_dir() for name in SPLITS):
        return root
    msg = f"{root} has no {split!r} images: expected {root / split}/<label>/*.jpg"
    raise DataError(msg)


def find_images(folder: Path) -> list[tuple[Path, str]]:
    """List the images of a folder of class folders as (path, label), sorted by path.

    Raises:
        DataError: the folder is not there or holds no image.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder; give one with a folder of images for each label"
        raise DataError(msg)
    found = [(folder / path, path.partition("/")[0]) for path in image_paths(folder) if "/" in path]
    if not found:
        msg = f"{folder} holds no images; expected {folder}/<label>/*.jpg"
        raise DataError(msg)
    return found
