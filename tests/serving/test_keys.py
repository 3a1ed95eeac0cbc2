import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fulldeck.cli import main
from fulldeck.errors import ConfigError
from fulldeck.serving.keys import KeyRing, add, read, revoke


@pytest.fixture
def file(tmp_path):
    return tmp_path / "kept" / "keys"


def test_a_key_opens_until_it_is_revoked_and_the_others_go_on(file):
    mine, yours = add(file, "mine"), add(file, "yours")
    ring = KeyRing(file)
    assert ring.find(mine).name == "mine"
    assert ring.find(yours).name == "yours"
    assert ring.in_use() == 2
    revoke(file, "mine")
    assert ring.find(mine) is None
    assert ring.find(yours).name == "yours"
    assert ring.in_use() == 1


@pytest.mark.parametrize("change", [lambda k: k + "x", lambda k: k[:-1], lambda k: k.upper(), lambda k: k[3:]])
def test_what_is_nearly_a_key_opens_nothing(file, change):
    key = add(file, "me")
    assert KeyRing(file).find(change(key)) is None


@pytest.mark.parametrize("given", ["", "fd", "fd__", "fd_00000000_x", "ключ", "\ud800", "fd_" + "x" * 100_000])
def test_what_is_no_key_opens_nothing(file, given):
    add(file, "me")
    assert KeyRing(file).find(given) is None


def test_the_file_holds_no_key_and_is_its_owners_alone(file):
    key = add(file, "me")
    _, identity, secret = key.split("_", 2)
    assert len(secret) >= 43  # 256 bits in base64
    text = file.read_text()
    assert identity in text
    assert secret not in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_is_revoked_by_its_id_too_and_once(file):
    add(file, "me")
    revoke(file, read(file)[0].id)
    assert read(file)[0].revoked is not None
    with pytest.raises(ConfigError, match="'me'"):
        revoke(file, "me")
    add(file, "me")  # the name is free again
    assert [key.revoked is None for key in read(file)] == [False, True]


def test_a_key_for_which_the_disk_has_no_room_leaves_the_file_as_it_was(file):
    key = add(file, "me")
    before = file.read_bytes()
    code = (
        "import resource; from pathlib import Path; from fulldeck.serving.keys import add; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 20}, {len(before) + 20})); "
        f"add(Path({str(file)!r}), 'you')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert "ConfigError" in done.stderr
    assert "cannot be written" in done.stderr
    assert file.read_bytes() == before
    assert KeyRing(file).find(key)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_names_that_cannot_be(file, name):
    with pytest.raises(ConfigError, match="name"):
        add(file, name)
    assert not file.exists()


def test_a_name_is_not_taken_twice(file):
    add(file, "me")
    with pytest.raises(ConfigError, match="already"):
        add(file, "me")


@pytest.mark.parametrize(
    "text", ["hello\n", "[]\n", "7\n", '{"id": "1"}\n', '{"revoke": "1", "at": "now"}\n', "\xff\xfe", "null\n"]
)
def test_a_file_that_is_none_of_ours_is_refused(tmp_path, text):
    file = tmp_path / "keys"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="no file of keys"):
        read(file)
    with pytest.raises(ConfigError, match="no file of keys"):
        add(file, "me")
    assert file.read_text(encoding="latin-1") == text


def test_without_its_file_a_ring_opens_nothing_and_with_it_again_all(file):
    key = add(file, "me")
    ring = KeyRing(file)
    assert ring.find(key)
    elsewhere = file.rename(file.with_name("elsewhere"))
    with pytest.raises(ConfigError, match="no such file"):
        ring.find(key)
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        ring.find(key)
    with pytest.raises(ConfigError, match="cannot be"):
        add(file, "you")
    file.rmdir()
    elsewhere.rename(file)
    assert ring.find(key)


def test_the_commands(file):
    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["keys", *arguments], env={"FULLDECK_KEYS_FILE": str(file)})
        assert result.exit_code == code
        return result.stdout if code == 0 else result.stderr

    key = run("add", "my laptop").strip()
    assert KeyRing(file).find(key).name == "my laptop"
    identity = read(file)[0].id
    (line,) = run("list").splitlines()
    assert identity in line
    assert line.endswith("my laptop")
    assert "in use" in line
    assert key not in line
    assert run("revoke", "my laptop") == f"revoked {identity} (my laptop)\n"
    assert "revoked" in run("list")
    assert "see `fulldeck keys list`" in run("revoke", "my laptop", code=1)
    assert "FULLDECK_KEYS_FILE" in CliRunner().invoke(main, ["keys", "list"], env={"FULLDECK_KEYS_FILE": None}).stderr
