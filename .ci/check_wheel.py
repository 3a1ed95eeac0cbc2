"""Look into the built wheel and sdist, then install the wheel alone where nothing else is and let it name a card.

    python .ci/check_wheel.py DIST PYTHON [PYTHON ...]

Interpreters that are not on this machine are left out, and said; the first one must be there.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

IN_WHEEL = (
    "fulldeck/weights/champion.onnx",
    "fulldeck/weights/MODEL_CARD.md",
    "fulldeck/configs/train.yaml",
    "fulldeck/configs/gate/kaggle.yaml",
    "fulldeck/registry/decision.html.j2",
    "fulldeck/training/report.html.j2",
    "fulldeck/py.typed",
)
IN_SDIST = ("README.md", "LICENSE", "pyproject.toml", "tests/conftest.py", "benchmarks/cli.py", "docs/index.md")
PICTURES = ("fulldeck/serving/example.jpg",)
RUNTIMES = ("1.19.2", "1.30.0")
"""Older releases of ONNX Runtime that cards are located with too: the oldest, and one that takes no empty batch."""

LARGEST_CHAMPION = 16_000_000  # bytes


def main(dist: Path, pythons: list[str]) -> None:
    """Check both files; raise SystemExit with a sentence if one is not as it must be."""
    wheel, sdist = only(dist, "*.whl"), only(dist, "*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    missing = [f"{wheel.name}: {name}" for name in IN_WHEEL if name not in sizes]
    missing += [f"{sdist.name}: {name}" for name in IN_SDIST if name not in packed]
    if missing:
        sys.exit(f"not in what was built: {', '.join(missing)}")
    strange = [name for name in sizes if not name.startswith(("fulldeck/", "fulldeck-")) or name.endswith(".pyc")]
    strange += [name for name in sizes if name.endswith((".jpg", ".png")) and name not in PICTURES]
    if strange:
        sys.exit(f"{wheel.name} holds what it should not: {', '.join(strange)}")
    if sizes[IN_WHEEL[0]] > LARGEST_CHAMPION:
        sys.exit(f"the champion has {sizes[IN_WHEEL[0]]:,} bytes; at most {LARGEST_CHAMPION:,} are allowed")
    for file in (wheel, sdist):
        sys.stdout.write(f"{file.name} {file.stat().st_size / 1e6:.1f} MB\n")

    for number, python in enumerate(pythons):
        found = shutil.which(python)
        if found is None or subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode:
            if number == 0:
                sys.exit(f"{python} is not there")
            sys.stdout.write(f"{python} is not on this machine: left out\n")
            continue
        with tempfile.TemporaryDirectory() as folder:
            try_wheel(wheel.resolve(), found, Path(folder), RUNTIMES if number == 0 else ())


def try_wheel(wheel: Path, python: str, folder: Path, runtimes: tuple[str, ...]) -> None:
    """Install the wheel alone, and see that it names cards that it has drawn itself, without torch.

    Args:
        wheel: what to install.
        python: the interpreter.
        folder: an empty one, for all that comes of it.
        runtimes: releases of ONNX Runtime that it must run with too.
    """
    environment = folder / "environment"
    run(["uv", "venv", "--quiet", "--python", python, str(environment)], folder)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    interpreter = str(scripts / "python")
    run(["uv", "pip", "install", "--quiet", "--python", interpreter, str(wheel)], folder)
    installed = run(["uv", "pip", "freeze", "--python", interpreter], folder)
    if any(line.startswith(("torch", "lightning", "timm", "matplotlib")) for line in installed.splitlines()):
        sys.exit(f"{wheel.name} brings what inference does not need:\n{installed}")
    fulldeck = str(scripts / "fulldeck")
    run([fulldeck, "data", "render", "decks", "--decks", "1", "--seed", "7"], folder)
    pictures = sorted(str(path.relative_to(folder)) for path in folder.glob("decks/**/queen of hearts/*"))
    answer = json.loads(run([fulldeck, "classify", "--json", pictures[0]], folder))
    if answer.get("label") != "queen of hearts":
        sys.exit(f"{python}: {pictures[0]} was answered {answer}")
    scene = ["--scenes", "1", "--cards", "2", "2", "--drawn", "1", "--seed", "1"]
    run([fulldeck, "data", "compose", "scenes", *scene], folder)
    for runtime in (None, *runtimes):
        if runtime:
            run(["uv", "pip", "install", "--quiet", "--python", interpreter, f"onnxruntime=={runtime}"], folder)
        located = json.loads(run([fulldeck, "locate", "--json", "scenes/images/000000.jpg"], folder))
        if not located.get("cards"):
            sys.exit(f"{python}, ONNX Runtime {runtime or 'of today'}: no card was located: {located}")
    version = run([interpreter, "--version"], folder).strip()
    sys.stdout.write(f"{version}: {answer['label']}, probability {answer['probability']:.3f}\n")


def run(command: list[str], folder: Path) -> str:
    """Run a command in a folder and return what it printed; exit with what it said if it failed."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def only(folder: Path, pattern: str) -> Path:
    """Return the one file that matches."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"{folder} holds {len(found)} files {pattern}; one was expected")
    return found[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
