"""The pipeline of dvc.yaml, run by DVC itself in a small repository of its own, and its remotes.

The stages are the project's own; only params.yaml is another one: decks drawn on the spot, a network of a second.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fulldeck.inference.locate import Locator

pytest.importorskip("dvc")
pytestmark = pytest.mark.timeout(1500)  # a machine that is busy otherwise takes long to start a dozen programs

ROOT = Path(__file__).parents[2]
PROJECT = (
    "dvc.yaml",
    ".dvcignore",
    ".gitignore",
    ".dvc/config",
    ".dvc/.gitignore",
    "docs/kaggle-exclude.csv",
    "src/fulldeck",
)
TINY = {
    "fetch": {},
    "vector-decks": {},
    "backgrounds": {},
    "no-card": {"no-card": {"train": 1, "test": 1, "seed": 1}},
    "render": {
        "drawn": {"decks": 3, "seed": 5},
        "decks-3": {"decks": 1, "seed": 1},
        "decks-4": {"decks": 1, "seed": 4},
        "apart-2": {"decks": 1, "seed": 2, "apart": 1},
        "vector": {"decks": 1, "seed": 4},
        "unseen": {"decks": 1, "seed": 3},
    },
    "compose": {
        "train": {"scenes": 2, "drawn": 1, "split": "train", "side": 320, "cards": [1, 3], "seed": 1},
        "valid": {"scenes": 4, "drawn": 1, "split": "valid", "side": 320, "seed": 2},
    },
    "compose-all": {},
    "crops": {"train": {}, "valid": {"split": "valid", "seed": 1}},
    "hard-negatives": {"no-card": "data/no-card"},
    "dataset": "data/drawn",
    "audit": {"no-labels": True},
    "train": {
        "experiment": "quickstart",
        "epochs": 1,
        "seed": 0,
        "overrides": "model=small model.backbone=test_efficientnet data.size=32 data.stored_size=32 "
        "data.extra=[data/decks-3] data.outliers=[data/no-card] trainer.accelerator=cpu trainer.precision=32-true "
        "logger=none",
    },
    "export": "--crops data/cuts/valid",
    "locator": {
        "first": "size=96 width=16 batch_size=2 max_epochs=1 accelerator=cpu logger=none",
        "then": {},
    },
    "refiner": {"first": "batch_size=2 max_epochs=1 accelerator=cpu logger=none", "then": {}},
    "export-locator": {"run": "first", "refiner": "first", "options": {}},
    "compress": {"precision": "float"},
    "evaluate": {"valid": "data/drawn/valid", "unseen": "data/unseen/train"},
}
STAGES = {
    *(f"render@{name}" for name in TINY["render"]),
    *(
        "no-card@no-card",
        "compose@train",
        "compose@valid",
        "crops@train",
        "crops@valid",
        "hard-negatives@no-card",
        "audit",
        "train",
        "export",
    ),
    *("locator", "refiner", "export-locator", "compress", "evaluate@valid", "evaluate@unseen"),
}
METRICS = (
    *("pipeline/run/metrics.json", "pipeline/locator/first/metrics.json", "pipeline/refiner/first/metrics.json"),
    *("pipeline/compressed/model.parity.json", "pipeline/valid.json", "pipeline/unseen.json"),
)
SHARED = ("render@unseen", "export", "export-locator")  # stages to push and to pull
THEIRS = ("data/unseen", "pipeline/model")  # what they make


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """What programs run with: our own commands, one thread, and nothing of the user's settings of DVC or Git."""
    home = tmp_path_factory.mktemp("home")
    ours = Path(sys.executable).parent
    # Without byte code on disk each stage would compile torch anew, which takes the most of its time.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "PATH": f"{ours}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(home),
        "DVC_SYSTEM_CONFIG_DIR": str(home),
        "DVC_SITE_CACHE_DIR": str(home / "site-cache"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # the emulator knows no hierarchical buckets
        "NO_GCE_CHECK": "true",
    }


@pytest.fixture(scope="module")
def run(environment):
    """``run(folder, "dvc", "repro")`` runs a program there and returns what it said on standard output."""

    def call(folder: Path, *words: str) -> str:
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return call


@pytest.fixture(scope="module")
def clone(run):
    """``clone(folder)`` lays the project's files there, as a repository in which nothing has run."""

    def lay(folder: Path) -> Path:
        for name in PROJECT:
            source, copy = ROOT / name, folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, copy)
        run(folder, "git", "init", "--quiet")
        return folder

    return lay


@pytest.fixture(scope="module")
def made(run, clone, tmp_path_factory) -> Path:
    """A repository whose pipeline has run once and is committed; do not change it, copy it."""
    folder = clone(tmp_path_factory.mktemp("made") / "project")
    (folder / "params.yaml").write_text(yaml.safe_dump(TINY))
    assert stages_run(run(folder, "dvc", "repro")) == STAGES
    run(folder, "git", "add", "--all")
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    run(folder, "git", *identity, "commit", "--quiet", "--message", "made")
    return folder


@pytest.fixture
def project(made, tmp_path) -> Path:
    """A repository like ``made``, to be changed at will."""
    return shutil.copytree(made, tmp_path / "project", symlinks=True)


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, str]]:
    """Google Cloud Storage's emulator: the address of a bucket in it, and of the emulator."""
    server = pytest.importorskip("gcp_storage_emulator.server").create_server("127.0.0.1", 0, in_memory=True)
    gcsfs = pytest.importorskip("gcsfs")
    server.start()
    host, port = server._api._httpd.server_address
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        patch.setenv("NO_GCE_CHECK", "true")
        gcsfs.GCSFileSystem(token="anon", endpoint_url=endpoint, skip_instance_cache=True).mkdir("cards")
    yield "gs://cards/dvc", endpoint
    server.stop()


def stages_run(said: str) -> set[str]:
    """The stages that ``dvc repro`` says it ran."""
    return set(re.findall(r"^Running stage '(.+)':", said, re.MULTILINE))


def contents(*folders: Path) -> dict[str, bytes]:
    """Every file below some folders, by name."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


def recipe(where: str) -> str:
    """The parameters that the project comes with, or those that its documentation gives."""
    if where == "params.yaml":
        return (ROOT / where).read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.+?)^```", (ROOT / where).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)


@pytest.mark.parametrize("where", ["params.yaml", "docs/pipeline.md"])
def test_the_stages_of_each_recipe_hang_together(clone, run, tmp_path, where):
    project = clone(tmp_path / "project")
    (project / "params.yaml").write_text(recipe(where), encoding="utf-8")
    stages = set(run(project, "dvc", "stage", "list", "--name-only").split())
    assert {"audit", "train", "export", "compress", "locator", "evaluate@valid", "evaluate@unseen"} <= stages
    assert "render@decks-3" in stages
    assert ("fetch@kaggle-cards" in stages) == (where == "params.yaml")
    assert "train" in run(project, "dvc", "dag", "--dot", "evaluate@valid")


def test_packages_that_images_were_taken_from_are_not_kept(clone, run, tmp_path):
    project = clone(tmp_path / "project")
    (project / "params.yaml").write_text(recipe("params.yaml"), encoding="utf-8")
    for name in ("vector", "backgrounds"):
        documents = project / "data" / name / ".packages" / "gimp-help-en" / "doc"
        documents.mkdir(parents=True)
        (documents / "gimp-help-en").symlink_to("gimp-help-common")  # another package, which is not there
        (project / "data" / name / "images.json").write_text("{}")
    brought = ("vector-decks@vector", "backgrounds@backgrounds")
    run(project, "dvc", "commit", "--force", *brought)
    assert json.loads(run(project, "dvc", "status", "--json", *brought)) == {}
    locked = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert [locked[stage]["outs"][0]["nfiles"] for stage in brought] == [1, 1]


@pytest.mark.slow
def test_what_the_pipeline_makes(made, run):
    assert {file.suffix for file in (made / "pipeline/model").iterdir()} == {".onnx", ".json"}
    assert Locator(made / "pipeline/model/locator.onnx", threads=1).refines
    assert json.loads((made / "pipeline/audit/audit.json").read_text())["images"] == {"train": 106, "valid": 53}
    (shown,) = json.loads(run(made, "dvc", "metrics", "show", "--json")).values()
    figures = {name: file["data"] for name, file in shown["data"].items()}
    assert set(figures) == set(METRICS)
    assert figures["pipeline/valid.json"]["images"] == 53
    assert 0 <= figures["pipeline/valid.json"]["accuracy"] <= 1
    assert figures["pipeline/run/metrics.json"]["epochs"] == 1
    run(made, "dvc", "plots", "show", "--out", str(made.parent / "plots"))
    page = (made.parent / "plots/index.html").read_text()
    assert "val/loss" in page
    assert "confusion on valid" in page


@pytest.mark.slow
def test_only_what_changed_is_made_again_and_its_figures_are_compared(project, run):
    assert stages_run(run(project, "dvc", "repro")) == set()
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["render"]["unseen"]["seed"] = 4
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    assert stages_run(run(project, "dvc", "repro")) == {"render@unseen", "evaluate@unseen"}
    changes = json.loads(run(project, "dvc", "metrics", "diff", "--json"))
    assert set(changes) == {"pipeline/unseen.json"}
    loss = changes["pipeline/unseen.json"]["log_loss"]
    assert loss["diff"] == pytest.approx(loss["new"] - loss["old"])
    assert loss["diff"] != 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gs", "folder"])
def test_what_is_pushed_to_a_remote_can_be_pulled_elsewhere(project, run, bucket, tmp_path, kind):
    address, endpoint = bucket
    if kind == "gs":
        run(project, "dvc", "remote", "add", "--default", "store", address)
        run(project, "dvc", "remote", "modify", "--local", "store", "endpointurl", endpoint)
        run(project, "dvc", "remote", "modify", "--local", "store", "allow_anonymous_login", "true")
    else:
        run(project, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    run(project, "dvc", "push", "--quiet", *SHARED)
    before = contents(*(project / folder for folder in THEIRS))
    assert len(before) > 53
    for folder in (".dvc/cache", *THEIRS):
        shutil.rmtree(project / folder)
    run(project, "dvc", "pull", "--quiet", *SHARED)
    assert contents(*(project / folder for folder in THEIRS)) == before
    assert json.loads(run(project, "dvc", "status", "--json", *SHARED)) == {}
