import csv
import json
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from fulldeck.cards import LABELS
from fulldeck.data.kaggle import fetch
from fulldeck.data.manifest import content_hash
from fulldeck.errors import DataError


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A small dataset in the published layout: two images a card in train, one in valid and test."""
    root = tmp_path_factory.mktemp("published")
    generator = np.random.default_rng(0)
    rows = []
    for split, count in (("train", 2), ("valid", 1), ("test", 1)):
        for index, label in enumerate(LABELS):
            (root / split / label).mkdir(parents=True)
            for number in range(1, count + 1):
                path = f"{split}/{label}/{number:03}.jpg"
                cv2.imwrite(str(root / path), generator.integers(0, 256, (16, 12, 3), np.uint8))
                rows.append((index, path, label, label.partition(" ")[0], split))
    write_rows(root, [(0, "train/ace of clubs/output", "ace of clubs", "ace", "train"), *rows])
    return root


def write_rows(root, rows):
    with (root / "cards.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("class index", "filepaths", "labels", "card type", "data set"), *rows])


@pytest.fixture
def source(published, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(published, tmp_path / "source")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def pack(folder, archive, prefix=""):
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*"):
            file.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


def test_from_a_folder(published, out):
    manifest = fetch(out, str(published))
    assert manifest.splits == {"train": 106, "valid": 53, "test": 53}
    assert manifest.hash == content_hash(out) == content_hash(published)
    assert manifest.copied == 212 + 1
    assert (out / "cards.csv").read_bytes() == (published / "cards.csv").read_bytes()
    for entry in manifest.files:
        assert (out / entry.path).read_bytes() == (published / entry.path).read_bytes()
        assert entry.size == (out / entry.path).stat().st_size
    written = json.loads((out / "manifest.json").read_text())
    assert (written["hash"], written["source"], len(written["files"])) == (manifest.hash, str(published), 212)


def test_says_what_differs_from_the_published(published, out):
    problems = "\n".join(fetch(out, str(published)).problems)
    assert "train has 106 images; the published dataset has 7,624" in problems
    assert "rows of cards.csv that name no image (1): train/ace of clubs/output" in problems
    assert "names (" not in problems


@pytest.mark.parametrize("prefix", ["", "archive/"])
def test_from_a_zip_also_one_folder_down(published, out, tmp_path, prefix):
    archive = pack(published, tmp_path / "archive.zip", prefix)
    manifest = fetch(out, str(archive))
    assert manifest.hash == content_hash(published)
    assert (out / "cards.csv").is_file()


def test_from_a_folder_one_folder_down(published, out, tmp_path):
    shutil.copytree(published, tmp_path / "outer" / "cards")
    assert fetch(out, str(tmp_path / "outer")).hash == content_hash(published)


def test_a_second_run_changes_nothing_and_says_so(published, out):
    first = fetch(out, str(published))
    before = snapshot(out)
    second = fetch(out, str(published))
    assert snapshot(out) == before
    assert second == first
    assert "nothing copied" in second.summary()
    assert "copied 213 files" in first.summary()


def test_goes_on_after_an_interruption(published, out):
    fetch(out, str(published))
    whole = snapshot(out)
    (out / "manifest.json").unlink()
    (out / "train/joker/002.jpg").unlink()
    (out / "train/joker/.002.jpg.part").write_bytes(b"half")
    (out / "train/joker/001.jpg").write_bytes(b"damaged later")
    manifest = fetch(out, str(published))
    assert manifest.copied == 2
    assert manifest.hash == content_hash(published)
    assert not (out / "train/joker/.002.jpg.part").exists()
    changed = {path.name for path, time in snapshot(out).items() if whole[path] != time}
    assert changed == {"manifest.json", "001.jpg", "002.jpg"}


def test_a_broken_manifest_is_written_anew(published, out):
    manifest = fetch(out, str(published))
    (out / "manifest.json").write_text("{")
    assert fetch(out, str(published)).hash == manifest.hash
    assert json.loads((out / "manifest.json").read_text())["hash"] == manifest.hash


def test_in_place_only_checks(source):
    before = snapshot(source)
    manifest = fetch(source, str(source))
    assert manifest.copied == 0
    assert snapshot(source).items() - before.items() == {
        (source / "manifest.json", (source / "manifest.json").stat().st_mtime_ns)
    }
    assert manifest.hash == content_hash(source)


def test_without_test_and_table(source, out):
    shutil.rmtree(source / "test")
    (source / "cards.csv").unlink()
    manifest = fetch(out, str(source))
    assert manifest.splits == {"train": 106, "valid": 53}
    assert any("no test split" in problem for problem in manifest.problems)
    assert any("has no cards.csv" in problem for problem in manifest.problems)


def test_rows_of_an_absent_split_are_no_fault(source, out):
    shutil.rmtree(source / "test")
    problems = [problem for problem in fetch(out, str(source)).problems if "cards.csv" in problem]
    assert problems == ["rows of cards.csv that name no image (1): train/ace of clubs/output"]


def test_unreadable_images_are_listed_and_left_out(source, out):
    (source / "train/joker/001.jpg").write_bytes(b"no image")
    (source / "train/ace of clubs/001.jpg").write_bytes(b"")
    manifest = fetch(out, str(source))
    assert manifest.splits["train"] == 104
    left_out = [problem for problem in manifest.problems if problem.startswith("left out: ")]
    assert ["train/ace of clubs/001.jpg" in left_out[0], "train/joker/001.jpg" in left_out[1]] == [True, True]
    assert not (out / "train/joker/001.jpg").exists()
    assert manifest.hash == content_hash(out)


def test_tables_that_disagree_are_reported(source, out):
    write_rows(source, [(0, "train\\joker\\001.jpg", "joker", "", ""), (0, "train/joker/002.jpg", "king", "", "")])
    problems = "\n".join(fetch(out, str(source)).problems)
    assert "whose label is not the image's folder (1): train/joker/002.jpg" in problems
    assert "that no row of cards.csv names (210): test/ace of clubs/001.jpg" in problems
    assert "name no image" not in problems


@pytest.mark.parametrize("table", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"filepaths,labels\nx\n"])
def test_what_is_no_table_is_reported(source, out, table):
    (source / "cards.csv").write_bytes(table)
    problems = "\n".join(fetch(out, str(source)).problems)
    assert "cards.csv is no table" in problems or "names (212)" in problems


def test_extra_files_are_reported_and_kept(published, source, out):
    (source / "train/ace of cups").mkdir()
    shutil.copy(source / "train/joker/001.jpg", source / "train/ace of cups/001.jpg")
    (source / "model.h5").write_bytes(b"x")
    (out / "train/joker").mkdir(parents=True)
    (out / "train/joker/mine.jpg").write_bytes(b"mine")
    manifest = fetch(out, str(source))
    problems = "\n".join(manifest.problems)
    assert "not taken from the source, as no images of the layout: model.h5, train/ace of cups/001.jpg" in problems
    assert "left alone (training would read images): train/joker/mine.jpg" in problems
    assert (out / "train/joker/mine.jpg").read_bytes() == b"mine"
    assert not (out / "train/ace of cups").exists()
    assert manifest.hash == content_hash(published)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda root: shutil.rmtree(root / "valid"), "no readable image of 53 of the 53 cards in valid: ace of clubs"),
        (lambda root: shutil.rmtree(root / "train/joker"), "no readable image of 1 of the 53 cards in train: joker"),
        (lambda root: (root / "test/joker/001.jpg").unlink(), "1 of the 53 cards in test: joker"),
        (lambda root: (root / "valid/joker/001.jpg").write_bytes(b"x"), "1 of the 53 cards in valid: joker"),
        (lambda root: [shutil.rmtree(root / split) for split in ("train", "valid", "test")], "not the Kaggle layout"),
    ],
    ids=["split", "class", "empty", "unreadable", "nothing"],
)
def test_a_dataset_with_gaps_is_refused(source, out, change, sentence):
    change(source)
    with pytest.raises(DataError, match=sentence):
        fetch(out, str(source))
    assert not (out / "manifest.json").exists()


def test_several_datasets_are_refused(published, tmp_path, out):
    for name in ("one", "two"):
        shutil.copytree(published / "valid", tmp_path / "outer" / name / "valid")
    with pytest.raises(DataError, match=r"holds several datasets \(one, two\)"):
        fetch(out, str(tmp_path / "outer"))


def test_out_that_is_a_file_is_refused(published, out):
    out.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        fetch(out, str(published))


class Kaggle(BaseHTTPRequestHandler):
    """Answers as api.kaggle.com does: with `status`, or with the dataset's version and then its archive."""

    status = 200
    archive = b""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path.endswith("DownloadDataset"):
            body = self.archive
        else:
            body = json.dumps({"currentVersionNumber": 2}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A server in Kaggle's place; there are no credentials and nothing is cached."""
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    pytest.importorskip("kagglehub")
    handler = type("Handler", (Kaggle,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, address)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no-credentials"))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield handler
    server.shutdown()
    server.server_close()


def test_downloads_from_kaggle(kaggle, published, tmp_path, out, capsys):
    kaggle.archive = pack(published, tmp_path / "archive.zip").read_bytes()
    manifest = fetch(out)
    assert manifest.source == "kaggle:gpiosenka/cards-image-datasetclassification/versions/2"
    assert manifest.hash == content_hash(published)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, r"refused the download \(401\).*KAGGLE_USERNAME and KAGGLE_KEY.*~/\.kaggle.*--from"),
        (403, r"refused the download \(403\).*kaggle\.com/settings"),
        (404, r"HTTP 404.*by hand"),
        (500, r"HTTP 500.*try again later"),
    ],
)
def test_kaggle_refuses(kaggle, out, status, sentence):
    kaggle.status = status
    with pytest.raises(DataError, match=sentence):
        fetch(out)


def test_kaggle_sends_no_archive(kaggle, out):
    kaggle.archive = b"a page that says sorry"
    with pytest.raises(DataError, match="the download from Kaggle failed"):
        fetch(out)


def test_no_network(kaggle, out, monkeypatch):
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, "http://127.0.0.1:1")
    with pytest.raises(DataError, match=r"could not be reached.*check the network.*--from"):
        fetch(out)


def test_broken_credentials_file(kaggle, out, tmp_path):
    (tmp_path / "no-credentials").mkdir()
    (tmp_path / "no-credentials" / "kaggle.json").write_text("{")
    with pytest.raises(DataError, match=r"Invalid Kaggle credentials file.*kaggle\.com/settings"):
        fetch(out)
