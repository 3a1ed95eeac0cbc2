"""Packages of npm, PyPI and Debian as places to take pictures from: fetched by their own tools, and unpacked.

The user's own settings of those tools decide where from. Nothing of a package is ever run.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fulldeck.errors import DataError

logger = logging.getLogger(__name__)

_PATIENCE = 600  # seconds for one package
_TOOLS = {
    "npm": (("npm",), "npm was not found: install Node.js, which brings it"),
    "pypi": (("uv",), "uv was not found: see its page on how to install it"),
    "debian": (("apt-get", "dpkg-deb"), "apt-get and dpkg-deb were not found: this is no Debian or Ubuntu"),
}


class ToolMissingError(DataError):
    """The program that brings packages of this kind is not installed."""


@dataclass(frozen=True)
class Package:
    """One package; ``version`` is pinned for npm and PyPI, and whatever the machine's Debian has else."""

    kind: Literal["npm", "pypi", "debian"]
    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclass(frozen=True)
class Unpacked:
    """A package's files: ``root`` holds its package.json (npm), its modules (PyPI) or its ``usr`` (Debian)."""

    root: Path
    version: str


def bring(package: Package, cache: Path, source: Path | None = None) -> Unpacked:
    """Unpack a package into the cache, from its registry or from a folder that has it, or find it there from before.

    Args:
        package: Which.
        cache: A folder of ours.
        source: A folder with packages as ``npm pack`` or ``apt-get download`` leave them, or with unpacked ones
            (``node_modules``, say, or ``/`` where a Debian package is installed). None asks the registry.

    Raises:
        ToolMissingError: npm, or apt-get, is not installed.
        DataError: The registry, or the folder, has no such package, or it cannot be unpacked.
    """
    if source is not None and (root := _unpacked_in(source, package)) is not None:
        return Unpacked(root, _version(root, package))
    target = cache / _slug(package)
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            unpacked = Path(folder) / "unpacked"
            _unpack(_download(package, Path(folder)) if source is None else _archive_in(source, package), unpacked)
            unpacked.replace(target)
    root = _unpacked_in(target, package)
    if root is None:
        msg = f"{target} does not hold {package}: delete that folder, and try again"
        raise DataError(msg)
    return Unpacked(root, _version(root, package))


def _slug(package: Package) -> str:
    """A file name: npm's own for its archives, less the ending."""
    return str(package).removeprefix("@").replace("/", "-").replace("@", "-")


def _download(package: Package, folder: Path) -> Path:
    tools, message = _TOOLS[package.kind]
    found = [shutil.which(tool) for tool in tools]
    if not found[0] or not all(found):
        msg = f"{package} cannot be fetched: {message} (or give --from a folder that has the package)"
        raise ToolMissingError(msg)
    arguments = {
        "npm": ["pack", "--silent", str(package)],
        # only wheels: nothing of them runs while they are unpacked
        "pypi": ["pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--target=wheel", _required(package)],
        "debian": ["download", "-q", package.name],
    }[package.kind]
    logger.info("fetching %s", package)
    _run([found[0], *arguments], folder, f"{package} cannot be fetched")
    if package.kind == "pypi":
        return folder / "wheel"
    archives = [*folder.glob("*.tgz"), *folder.glob("*.deb")]
    if len(archives) != 1:
        msg = f"{package} cannot be fetched: {tools[0]} left no archive"
        raise DataError(msg)
    return archives[0]


def _required(package: Package) -> str:
    return f"{package.name}=={package.version}"


def _unpack(archive: Path, target: Path) -> None:
    if archive.is_dir():
        archive.replace(target)
        return
    if archive.suffix == ".deb":
        tool = shutil.which("dpkg-deb")
        if tool is None:
            msg = f"{archive} cannot be unpacked: dpkg-deb was not found (unpack it by hand and give --from its folder)"
            raise ToolMissingError(msg)
        _run([tool, "-x", str(archive.absolute()), str(target.absolute())], archive.parent, f"{archive} is damaged")
        return
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(target)  # noqa: S202 - zipfile keeps every member inside the target
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(target, filter="data")
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        msg = f"{archive} cannot be unpacked ({error})"
        raise DataError(msg) from error


def _run(command: list[str], folder: Path, trouble: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        msg = f"{trouble}: no answer within {_PATIENCE} s"
        raise DataError(msg) from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        msg = f"{trouble}: {lines[0] if lines else f'{command[0]} ended with {done.returncode}'}"
        raise DataError(msg)


def _archive_in(source: Path, package: Package) -> Path:
    pattern = {
        "npm": f"{_slug(package)}.tgz",
        "pypi": f"{_module(package)}-*.whl",
        "debian": f"{package.name}_*.deb",
    }[package.kind]
    found = sorted(source.glob(pattern))
    if not found:
        msg = f"{source} does not have {package}, neither packed nor unpacked"
        raise DataError(msg)
    return found[-1]


def _unpacked_in(source: Path, package: Package) -> Path | None:
    """The folder in ``source`` that this package lies in, unpacked."""
    if package.kind != "npm":
        roots = [source, *(folder for folder in sorted(source.glob("*")) if folder.is_dir())]
        return next((root for root in roots if _holds(root, package)), None)
    places = ("package.json", "*/package.json", "*/package/package.json", f"{package.name}/package.json")
    for place in places:
        for path in sorted(source.glob(place)):
            if _described(path).get("name") == package.name:
                return path.parent
    return None


def _holds(root: Path, package: Package) -> bool:
    if package.kind == "pypi":
        return any(root.glob(f"{_module(package)}-*.dist-info"))
    notes = root / "usr/share/doc" / package.name
    return notes.is_dir() or notes.is_symlink()  # some packages point to a sister's


def _module(package: Package) -> str:
    """A PyPI package's name as its wheel writes it: either case, and any separator, as one "_"."""
    return "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in re.sub(r"[-_.]+", "_", package.name))


def _version(root: Path, package: Package) -> str:
    if package.kind == "npm":
        return str(_described(root / "package.json").get("version"))
    if package.kind == "pypi":
        return next(root.glob(f"{_module(package)}-*.dist-info")).stem.rpartition("-")[2]
    for path in sorted((root / "usr/share/doc" / package.name).glob("changelog*.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            if found := re.search(r"\(([^)]+)\)", stream.readline()):
                return found[1]
    return "unknown"


def _described(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
