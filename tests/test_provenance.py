import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fulldeck import provenance

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]


def git(folder, *words):
    return subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit_of(folder):
    """What ``commit()`` says in a copy of the package that lies in this folder."""
    code = "import runpy; print(runpy.run_path('provenance.py')['commit']())"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def package(tmp_path):
    """A package of one file in a repository that has not committed it yet."""
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    shutil.copy(provenance.__file__, package)
    git(package.parent, "init", "-q")
    (package.parent / "readme").write_text("other things")
    git(package.parent, "add", "readme")
    git(package.parent, "commit", "-qm", "first")
    return package


def test_it_names_the_commit(package):
    git(package, "add", ".")
    git(package, "commit", "-qm", "second")
    found = commit_of(package)
    assert re.fullmatch("[0-9a-f]{40}", found)
    assert found == git(package, "rev-parse", "HEAD")


def test_changed_code_gets_a_plus_and_other_changes_do_not(package):
    git(package, "add", ".")
    git(package, "commit", "-qm", "second")
    head = git(package, "rev-parse", "HEAD")
    (package.parent / "readme").write_text("changed")
    assert commit_of(package) == head
    with (package / "provenance.py").open("a") as file:
        file.write("# changed\n")
    assert commit_of(package) == head + "+"


def test_a_copy_in_somebody_elses_repository_has_none(package):
    assert commit_of(package) == "None"


def test_outside_a_repository_there_is_none(tmp_path):
    shutil.copy(provenance.__file__, tmp_path)
    assert commit_of(tmp_path) == "None"


def test_without_git_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit() is None


@pytest.mark.skipif(not Path(__file__, "../../.git").resolve().exists(), reason="not a checkout")
def test_here_it_is_head():
    assert provenance.commit().rstrip("+") == git(Path(__file__).parent, "rev-parse", "HEAD")
