"""The project's commands, one function each: ``uv run invoke --list`` names them, ``uv run invoke check`` checks all.

They call what a person would call; nothing here is needed to use or to build the package.
"""

import sys
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import call, task

CODE = "src tests benchmarks tasks.py .ci"
COVERAGE_FLOOR = 85  # per cent of src/
ON_ALL_CORES = "-n logical --dist loadfile"  # a file's tests share what its fixtures have made
EXPORT = "uv export --quiet --locked --no-hashes --no-emit-project --no-header --no-annotate"
REQUIREMENTS = {
    "requirements.txt": (
        "# What a deployed service needs: the package's own dependencies and its extra `serve`; no torch.",
        "--no-dev --extra serve",
    ),
    "requirements_dev.txt": (
        "# What a contributor needs: every extra (training, page, cloud, docs) and the tools that check the code.",
        "--all-extras --all-groups --no-group peers",
    ),
}
BENCHMARKS = ("cli", "inference", "tracking", "training", "ddp", "serving_start")


@task
def format(c: Context) -> None:  # noqa: A001 - the command is called what it does
    """Rewrite the code in the project's format."""
    c.run(f"ruff format {CODE}")
    c.run(f"ruff check --fix {CODE}")


@task
def lint(c: Context) -> None:
    """Check format and faults with ruff; change nothing."""
    c.run(f"ruff format --check {CODE}")
    c.run(f"ruff check {CODE}")


@task
def types(c: Context) -> None:
    """Check the types of src/ with mypy, strictly."""
    c.run("mypy")


@task(help={"fast": "leave out what trains or exports a network"})
def test(c: Context, fast: bool = False) -> None:  # noqa: PT028 - a command, not a test
    """Run the tests."""
    slow = "-m 'not slow'" if fast else ""
    c.run(f"pytest {ON_ALL_CORES} {slow}")


@task
def coverage(c: Context) -> None:
    """Run the tests, and fail if they reach too little of src/."""
    c.run(f"pytest {ON_ALL_CORES} --cov --cov-report=term --cov-fail-under={COVERAGE_FLOOR}")


@task(help={"verify": "write nothing, fail if the lock or a file is out of date"})
def requirements(c: Context, verify: bool = False) -> None:
    """Write requirements.txt and requirements_dev.txt from uv.lock."""
    if verify:
        c.run("uv lock --check --quiet")
    for name, (header, options) in REQUIREMENTS.items():
        pins = c.run(f"{EXPORT} {options}", hide="out")
        text = (
            f"{header}\n# Exact versions, written from uv.lock by `uv run invoke requirements`.\n{pins and pins.stdout}"
        )
        path = Path(name)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if verify:
            raise Exit(f"{name} differs from uv.lock: run `uv run invoke requirements`", 1)
        path.write_text(text, encoding="utf-8", newline="\n")
        sys.stdout.write(f"wrote {name}\n")


@task
def docs(c: Context) -> None:
    """Build the documentation into site/; a broken link fails."""
    c.run("mkdocs build --strict --quiet")


@task
def build(c: Context) -> None:
    """Build the sdist and, from it, the wheel into dist/."""
    c.run("uv build --quiet --clear")


@task(lint, types, call(requirements, verify=True), docs, coverage)
def check(c: Context) -> None:
    """Run all checks: lint, types, requirements, docs, tests with coverage."""


@task(help={"port": "port to listen on"})
def serve(c: Context, port: int = 8000) -> None:
    """Serve the champion over HTTP on this machine."""
    c.run(f"fulldeck -v serve --port {port}", pty=sys.platform != "win32")


@task
def quickstart(c: Context) -> None:
    """Run the whole life of a model in miniature, into quickstart/."""
    c.run("fulldeck quickstart", pty=sys.platform != "win32")


@task
def benchmarks(c: Context) -> None:
    """Measure command, recogniser, training, tracking, DDP, a service's start, each against a peer in the same run."""
    for name in BENCHMARKS:
        c.run(f"{sys.executable} benchmarks/{name}.py", echo=True)


namespace = Collection(
    benchmarks, build, check, coverage, docs, format, lint, quickstart, requirements, serve, test, types
)
