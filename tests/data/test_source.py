import os
import stat
import struct
import zipfile

import fsspec
import pytest

from fulldeck.data import source as module
from fulldeck.data.source import open_source
from fulldeck.errors import DataError

FILES = {"a/b/1.jpg": b"one", "cards.csv": b"row"}


def pack(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def contents(source):
    with open_source(str(source)) as members:
        assert all(member.size == len(member.read()) for member in members)
        return {member.path: member.read() for member in members}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_folder(folder):
    (folder / ".hidden").write_bytes(b"")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.jpg").write_bytes(b"")
    (folder / "1/2/3/4").mkdir(parents=True)
    (folder / "1/2/3/4/too-deep.jpg").write_bytes(b"")
    os.mkfifo(folder / "pipe.jpg")  # reading it would never end
    assert contents(folder) == FILES


def test_zip(tmp_path):
    files = FILES | {"__MACOSX/a/._1.jpg": b"x", ".DS_Store": b"x"}
    assert contents(pack(tmp_path / "set.zip", files)) == FILES


def test_address(tmp_path):
    with fsspec.open("memory://bucket/set.zip", "wb") as file:
        file.write(pack(tmp_path / "set.zip", FILES).read_bytes())
    assert contents("memory://bucket/set.zip") == FILES
    assert contents((tmp_path / "set.zip").as_uri()) == FILES


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("memory://bucket/missing.zip", "is not there"),
        ("nosuch://bucket/set.zip", "Protocol not known: nosuch"),
        ("https://127.0.0.1:1/set.zip?token=secret", r"https://127\.0\.0\.1:1/set\.zip is not there"),
    ],
)
def test_address_that_fails(address, sentence):
    with pytest.raises(DataError, match=sentence) as caught, open_source(address):
        pass
    assert "secret" not in str(caught.value)


def test_missing(tmp_path):
    with pytest.raises(DataError, match="is not there: give a folder, a zip"), open_source(str(tmp_path / "x")):
        pass


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_zip(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DataError, match="is no zip, or a damaged one"), open_source(str(tmp_path / "x.zip")):
        pass


def test_truncated_zip(tmp_path):
    path = pack(tmp_path / "x.zip", FILES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="is no zip, or a damaged one"), open_source(str(path)):
        pass


def test_zip_damaged_inside(tmp_path):
    path = pack(tmp_path / "x.zip", {"a.jpg": os.urandom(1000)})
    data = bytearray(path.read_bytes())
    data[300] ^= 0xFF
    path.write_bytes(data)
    with open_source(str(path)) as [member], pytest.raises(DataError, match=r"is damaged at 'a\.jpg'"):
        member.read()


@pytest.mark.parametrize("name", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "..\\x.jpg", "C:\\x.jpg", "\\x.jpg"])
def test_zip_that_leads_elsewhere(tmp_path, name):
    path = pack(tmp_path / "x.zip", {name: b"x"})
    with pytest.raises(DataError, match="would lie outside of it"), open_source(str(path)):
        pass


def test_zip_with_a_link(tmp_path):
    path = tmp_path / "x.zip"
    info = zipfile.ZipInfo("a.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"holds a link \('a\.jpg'\)"), open_source(str(path)):
        pass


def test_locked_zip(tmp_path):
    path = pack(tmp_path / "x.zip", {"a.jpg": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="locked with a password"), open_source(str(path)):
        pass


def test_zip_bombs(tmp_path, monkeypatch):
    path = pack(tmp_path / "x.zip", {"a.jpg": bytes(5000), "b.jpg": bytes(5000)})
    monkeypatch.setattr(module, "MAX_ZIP_BYTES", 9_999)
    with pytest.raises(DataError, match="would unpack to 2 files"), open_source(str(path)):
        pass
    monkeypatch.setattr(module, "MAX_ZIP_BYTES", 10_000)
    assert len(contents(path)) == 2
    monkeypatch.setattr(module, "MAX_ZIP_FILES", 1)
    with pytest.raises(DataError, match="unpack it yourself"), open_source(str(path)):
        pass


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_claims(tmp_path):
    path = pack(tmp_path / "x.zip", {"a.jpg": bytes(1_000_000)})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 10)  # the uncompressed size, in the directory
    path.write_bytes(data)
    with open_source(str(path)) as [member], pytest.raises(DataError, match="is damaged"):
        member.read()
