import hashlib
import json
import os
import shutil

import pytest

from fulldeck.data.manifest import FileEntry, Manifest, combined_hash, content_hash, image_paths, write_atomically
from fulldeck.errors import DataError

FILES = {"train/a/1.jpg": b"one", "train/b/2.PNG": b"two", "valid/a/1.jpg": b"three"}


def lay(folder, files):
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path):
    return lay(tmp_path / "set", FILES)


def test_hash_is_64_hex_characters_and_stays(folder):
    assert len(bytes.fromhex(content_hash(folder))) == 32
    # The value itself is a contract: model files carry it.
    whole = b"".join(path.encode() + b"\0" + hashlib.sha256(data).digest() for path, data in sorted(FILES.items()))
    assert content_hash(folder) == hashlib.sha256(whole).hexdigest()


def test_hash_ignores_place_time_and_order(folder, tmp_path):
    other = lay(tmp_path / "elsewhere" / "deep", dict(reversed(FILES.items())))
    os.utime(other / "train/a/1.jpg", (1, 1))
    assert content_hash(other) == content_hash(folder)


def test_hash_ignores_what_is_no_image(folder):
    before = content_hash(folder)
    lay(
        folder,
        {"manifest.json": b"{}", "cards.csv": b"", "train/.x.jpg": b"x", ".git/a.jpg": b"x", "train/a/t.txt": b""},
    )
    assert content_hash(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "train/a/1.jpg").write_bytes(b"onf"),
        lambda folder: (folder / "train/a/1.jpg").rename(folder / "train/a/2.jpg"),
        lambda folder: (folder / "train/a/1.jpg").unlink(),
        lambda folder: (folder / "train/a/1.jpg").rename(folder / "train/b/1.jpg"),
        lambda folder: lay(folder, {"train/a/9.jpg": b""}),
    ],
    ids=["byte", "name", "gone", "class", "new"],
)
def test_hash_tells_every_change(folder, change):
    before = content_hash(folder)
    change(folder)
    assert content_hash(folder) != before


def test_combined_hash_is_content_hash(folder):
    entries = [(path, hashlib.sha256(data).hexdigest()) for path, data in FILES.items()]
    assert combined_hash(entries) == combined_hash(reversed(entries)) == content_hash(folder)


def test_names_composed_on_one_system_and_not_on_another_agree():
    digest = hashlib.sha256(b"").hexdigest()
    assert combined_hash([("a\u0301s/1.jpg", digest)]) == combined_hash([("\u00e1s/1.jpg", digest)])


def test_hash_of_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        content_hash(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        content_hash(tmp_path / "missing")


def test_image_paths_are_sorted_and_follow_links_but_not_in_circles(folder, tmp_path):
    lay(tmp_path / "linked", {"3.webp": b"3"})
    (folder / "test").mkdir()
    (folder / "test" / "c").symlink_to(tmp_path / "linked")
    (folder / "test" / "circle").symlink_to(folder)
    (folder / "test" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    assert image_paths(folder) == ["test/c/3.webp", *sorted(FILES)]


def test_manifest_is_read_back(tmp_path):
    entry = FileEntry("train/é/1.jpg", 3, "ab" * 32)
    manifest = Manifest("a folder", "2026-01-01T00:00:00Z", {"train": 1}, (entry,), ("odd",), "cd" * 32, tmp_path, 7)
    again = Manifest.from_json(manifest.to_json(), tmp_path)
    assert again == manifest
    assert again.copied == 0
    assert str(tmp_path) not in manifest.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "files": [1], "problems": []}'])
def test_what_is_no_manifest_is_refused(text, tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json is no manifest"):
        Manifest.from_json(text, tmp_path)


def test_another_schema_is_refused(tmp_path):
    with pytest.raises(DataError, match="schema this version does not read"):
        Manifest.from_json(json.dumps({"schema": 2}), tmp_path)


def test_summary_says_what_matters_and_not_everything(tmp_path):
    problems = tuple(f"problem {number}" for number in range(12))
    text = Manifest("a zip", "", {"train": 7624, "valid": 265}, (), problems, "cd" * 32, tmp_path).summary()
    for part in ("7,889 images from a zip", "7,624", "265", "cd" * 32, "nothing copied", "problem 9", "and 2 more"):
        assert part in text
    assert "problem 10" not in text


def test_write_atomically_leaves_the_old_file_or_the_new(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(TypeError):
        write_atomically(path, "no bytes")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    shutil.rmtree(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        write_atomically(path, b"new")
