"""The API keys: a file of one JSON object a line, to which is only ever appended.

A key is ``fd_<id>_<secret>``. Its id may be shown and logged; the file holds a hash of the whole, not the key. The
secret is 256 random bits, which nobody guesses however fast the hash: so it is SHA-256, not one made for passwords.
"""

import errno
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fulldeck.errors import ConfigError


@dataclass(frozen=True)
class Key:
    """What is known of a key.

    Attributes:
        id: what it is called in logs.
        name: whose it is.
        sha256: the hash of the key, in hexadecimal.
        created: when it was made, ISO 8601 in UTC.
        revoked: when it ceased to open anything; None while it does.
        admin: whether it may ask what only the service's operator may.
    """

    id: str
    name: str
    sha256: str
    created: str
    revoked: str | None = None
    admin: bool = False


_FIELDS = ("id", "name", "sha256", "created")


def add(file: Path, name: str, admin: bool = False) -> str:
    """Make a key and return it: nothing can show it again.

    Raises:
        ConfigError: the name is empty or taken, or the file cannot be read or written.
    """
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise ConfigError(
            f"{name!r} cannot be a key's name: write 1 to 100 letters, digits or other visible characters"
        )
    if any(key.name == name and key.revoked is None for key in read(file, missing_ok=True)):
        raise ConfigError(f"{file}: there is a key named {name!r} already: revoke it first, or choose another name")
    identity = secrets.token_hex(4)
    key = f"fd_{identity}_{secrets.token_urlsafe(32)}"
    _append(file, {"id": identity, "name": name, "sha256": _hash(key), "created": _now(), "admin": admin})
    return key


def revoke(file: Path, key: str) -> Key:
    """Close a key, named by its id or name, for good. A running service follows at once.

    Raises:
        ConfigError: there is no such key, or it is revoked already, or the file cannot be read or written.
    """
    found = next((k for k in read(file) if key in {k.id, k.name} and k.revoked is None), None)
    if found is None:
        raise ConfigError(f"{file}: no key with the id or name {key!r} is in use: see `fulldeck keys list`")
    _append(file, {"revoke": found.id, "at": _now()})
    return found


def read(file: Path, missing_ok: bool = False) -> list[Key]:
    """Every key there ever was in this file, revoked ones too, in the order in which they were made.

    Raises:
        ConfigError: the file is not there (and ``missing_ok`` does not allow for it), or is none of ours.
    """
    keys: dict[str, Key] = {}
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "revoke" in entry:
                key = keys[entry["revoke"]]
                keys[key.id] = replace(key, revoked=entry["at"])
            else:
                key = Key(**{name: entry[name] for name in _FIELDS}, admin=entry.get("admin", False) is True)
                keys[key.id] = key
    except FileNotFoundError:
        if not missing_ok:
            raise ConfigError(f"{file}: there is no such file of keys: make it with `fulldeck keys add NAME`") from None
    except OSError as error:
        raise ConfigError(f"{file}: the keys cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{file}: this is no file of keys that `fulldeck keys` wrote, or it is damaged") from None
    return list(keys.values())


class KeyRing:
    """The keys in a file, as it is at the moment of each question: a key revoked is refused at once.

    Where the file has gone or cannot be read, no key opens anything.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}

    def find(self, given: str) -> Key | None:
        """The key that was given, if it is one and in use.

        Raises:
            ConfigError: the file cannot be read.
        """
        self._refresh()
        parts = given.split("_", 2)
        key = self._keys.get(parts[1]) if len(parts) == 3 else None
        # It takes the same time whether the id is known or not, and however much of the key is right.
        right = hmac.compare_digest(_hash(given), key.sha256 if key else "0" * 64)
        return key if key is not None and right and key.revoked is None else None

    def in_use(self) -> int:
        """How many keys open something.

        Raises:
            ConfigError: the file cannot be read.
        """
        self._refresh()
        return sum(key.revoked is None for key in self._keys.values())

    def _refresh(self) -> None:
        try:
            status = self._file.stat()
            now = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            now = None
        if now is None or now != self._seen:
            self._keys = {}
            self._seen = None
            self._keys = {key.id: key for key in read(self._file)}
            self._seen = now


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _append(file: Path, entry: dict[str, str | bool]) -> None:
    """Add a line by one write, so that two at once do not mix; the file is its owner's alone."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        line = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
        try:
            written = os.write(descriptor, line)
            if written < len(line):  # and half a line would make the whole file unreadable
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"{file}: the keys cannot be written ({error.strerror})") from None
