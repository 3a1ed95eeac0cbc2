"""From where the model that serves is to come, to a recogniser that has been tried: nothing else is ever served.

A source is a file, an address in a cloud's storage such as gs://bucket/model.onnx, a version in the registry
(``registry:champion``, ``registry:7``, or in MLflow's words ``models:/fulldeck@champion``), or nothing for the shipped
champion. A file's hash may stand behind it (``model.onnx#sha256=…``) or in a file beside it (``model.onnx.sha256``, as
``sha256sum`` writes it); the registry knows each version's. All but the shipped one is copied first, so that what was
checked is what is loaded, now and by worker processes later.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fulldeck.errors import ModelError
from fulldeck.inference.model_file import champion_path, locator_beside
from fulldeck.inference.recognizer import Recognizer
from fulldeck.remote import open_storage, public_address

if os.name == "posix":
    import fcntl

MAX_BYTES = 2**30
"""A model file above this is none of ours."""

EXAMPLE = Path(__file__).with_name("example.jpg")
"""A picture of one card, which every model must name before it serves."""

_CHUNK = 2**20

_TOLERANCE = 0.01
"""So far from 1 may a model's probabilities sum up, as it may compute with few bits."""


_COPY = "fulldeck-serves-"
_YOUNG_SECONDS = 60.0
"""A folder of this age may be one that a process has made and not locked yet."""

_under_way = threading.Semaphore(0)  # has one for each load


def is_loading() -> bool:
    """Whether a model is being brought here, which nothing can stop."""
    if found := _under_way.acquire(blocking=False):
        _under_way.release()
    return found


def open_model(source: str | None) -> Recognizer:
    """Bring a model here, verify it, and let it answer once.

    Raises:
        ModelError: there is none, it is another one than its hash says, it or its locator cannot be used, its answer is
            none, or there is no room for a copy.
        RegistryError: it was to come from a registry that cannot be reached, or has no such version.
    """
    _under_way.release()
    try:
        return _opened(source)
    finally:
        _under_way.acquire()


def _opened(source: str | None) -> Recognizer:
    if not source or source == "champion":
        return _tried(Recognizer(threads=1), "the champion")
    if source.startswith(("registry:", "models:/")):
        return _registered(source)
    address, given, wanted = source.partition("#sha256=")
    read = _remote(address) if "://" in address else _local
    if not given:
        wanted = _beside(read, address)
        if not wanted and read is _local and (Path(address) == champion_path() or not _can_be_copied()):
            return _tried(Recognizer(address, threads=1), address)
    with ExitStack() as stack:
        copy = _folder(stack, address) / "model.onnx"
        found = _copied(read, address, copy)
        if given or wanted:
            _check_hash(found, wanted, address)
        _copy_locator(read, address, copy)
        names = {copy: public_address(address), locator_beside(copy): public_address(_locator_of(address))}
        with _called(names):
            recognizer = _tried(Recognizer(copy, threads=1), str(copy))
        return _kept(stack, recognizer)


def _registered(source: str) -> Recognizer:
    """A version in the registry, which has no locator: the shipped one serves with it."""
    name, which = _named(source)
    try:
        from fulldeck.registry import store  # noqa: PLC0415  (an extra, and slow)
    except ModuleNotFoundError as error:
        raise ModelError(f"{source} needs {error.name}: pip install 'fulldeck[registry]'") from error
    registry = store.open_registry(name=name or store.NAME)
    version = store.find(registry, which)
    with ExitStack() as stack:
        file = store.fetch(registry, version, _folder(stack, source) / "model.onnx")
        with _called({file: f"{source} (version {version.number})"}):
            recognizer = _tried(Recognizer(file, threads=1, locator="champion"), str(file))
        return _kept(stack, recognizer)


@contextmanager
def _called(names: dict[Path, str]) -> Iterator[None]:
    """Let errors call files as the user does, who knows nothing of their copies."""
    try:
        yield
    except ModelError as error:
        text = str(error)
        for copy, name in names.items():
            text = text.replace(str(copy), name)
        raise ModelError(text) from None


def _folder(stack: ExitStack, address: str) -> Path:
    """A folder for the copy, which is there, and locked, as long as the stack is open."""
    try:
        _clear_up()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_COPY)))
        if os.name == "posix":
            held = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, held)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise _not_copied(address, error) from error
    return folder


def _clear_up() -> None:
    """Remove what processes of this user left that were killed: their folders are no longer locked."""
    if os.name != "posix":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_COPY}*"):
        try:
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # it has just been removed, or is another user's
            continue
        try:
            found = os.fstat(held)
            if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _YOUNG_SECONDS:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # its process lives
            continue
        finally:
            os.close(held)


def _can_be_copied() -> bool:
    """Whether there is a folder for temporary files, which a container need not have."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return False
    return True


def _kept(stack: ExitStack, recognizer: Recognizer) -> Recognizer:
    """The recogniser, whose files lie there as long as it is used: worker processes read them, too."""
    weakref.finalize(recognizer, stack.pop_all().close)
    return recognizer


def _named(source: str) -> tuple[str, str]:
    """The model that a source in the registry names, which may be nothing for ours, and the version."""
    kind, _, rest = source.partition(":")
    if kind == "registry":
        name, which = "", rest
    else:
        separator = "@" if "@" in rest else "/"
        name, _, which = rest.lstrip("/").rpartition(separator)
    if not which or (kind == "models" and not name):
        wanted = "registry:champion, registry:7, models:/NAME@champion or models:/NAME/7"
        raise ModelError(f"{source}: this names no version in a registry: write {wanted}")
    return name, which


_Read = Callable[[str], BinaryIO]
"""Opens a file by its address. Raises FileNotFoundError where there is none, and whatever else goes wrong."""


def _local(path: str) -> BinaryIO:
    return Path(path).open("rb")


def _remote(address: str) -> _Read:
    """What opens files at addresses of this kind.

    Raises:
        ModelError: nothing that is installed does.
    """
    try:
        system, _ = open_storage(address)
        system.invalidate_cache()  # there may be another file by now
    except ImportError as error:
        missing = error.name or getattr(error.__cause__, "name", None) or "what opens it"  # fsspec hides the name
        extra = "'fulldeck[cloud]'" if missing in {"fsspec", "gcsfs"} else missing
        raise ModelError(f"a model at {public_address(address)} needs {missing}: pip install {extra}") from error
    except Exception as error:  # each kind of storage raises its own
        raise _failed(address, error) from error
    return lambda path: system.open(system._strip_protocol(path), "rb")


def _beside(read: _Read, address: str) -> str:
    """The hash in the file beside it; nothing where there is no such file."""
    try:
        with read(f"{address}.sha256") as file:
            words = file.read(1024).split()
    except FileNotFoundError:
        return ""
    except Exception as error:  # as above
        raise _failed(f"{address}.sha256", error) from error
    wanted = words[0].decode("ascii", "replace") if words else ""
    if not _is_hash(wanted):
        raise ModelError(f"{public_address(address)}.sha256: there is no SHA-256 in it: write it with sha256sum")
    return wanted


def _copied(read: _Read, address: str, target: Path) -> str:
    """Copy a file, and return the SHA-256 of its bytes."""
    digest = hashlib.sha256()
    size = 0
    try:
        with read(address) as file, target.open("wb") as copy:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > MAX_BYTES:
                    break
                digest.update(chunk)
                copy.write(chunk)
    except FileNotFoundError:
        raise ModelError(f"{public_address(address)}: there is no such model file") from None
    except Exception as error:  # as above
        raise _failed(address, error) from error
    if size > MAX_BYTES:
        raise ModelError(f"{public_address(address)}: a file of more than {MAX_BYTES:,} bytes is no model")
    return digest.hexdigest()


def _is_hash(text: str) -> bool:
    return re.fullmatch("[0-9A-Fa-f]{64}", text) is not None


def _check_hash(found: str, wanted: str, address: str) -> None:
    if not _is_hash(wanted):
        raise ModelError(
            f"{public_address(address)}: what stands behind its #sha256= is no SHA-256: "
            "write the 64 digits that sha256sum shows"
        )
    if found != wanted.lower():
        raise ModelError(
            f"{public_address(address)}: its SHA-256 is {found}, and was to be {wanted.lower()}: get it again"
        )


def _locator_of(address: str) -> str:
    """The address of the locator beside a model."""
    parent, slash, _ = address.rpartition("/")
    return f"{parent}{slash}{locator_beside(Path('model.onnx')).name}"


def _copy_locator(read: _Read, address: str, copy: Path) -> None:
    """Copy the locator beside the model, if there is one; it has its own seal."""
    locator = _locator_of(address)
    try:
        with read(locator) as file, locator_beside(copy).open("wb") as target:
            shutil.copyfileobj(file, target)
    except FileNotFoundError:
        locator_beside(copy).unlink(missing_ok=True)
    except Exception as error:  # as above
        raise _failed(locator, error) from error


def _failed(address: str, error: Exception) -> ModelError:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _not_copied(address, error)
    return ModelError(f"{public_address(address)}: it cannot be read ({_reason(error, address)})")


def _not_copied(address: str, error: OSError) -> ModelError:
    name = public_address(address)
    return ModelError(f"{name}: it cannot be copied to the folder for temporary files ({_reason(error, address)})")


def _reason(error: Exception, address: str) -> str:
    """What an error says first, without what may be secret in the address."""
    return _first_line(error).replace(address, public_address(address))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _tried(recognizer: Recognizer, name: str) -> Recognizer:
    """The recogniser, which has named a card: so no user waits for its first run, and it gives probabilities.

    Raises:
        ModelError: it does not, or its locator cannot be used.
    """
    recognizer.open_locator()
    square = recognizer.prepare(EXAMPLE.read_bytes())
    try:
        probabilities, embedding = recognizer.classifier.run(square[np.newaxis])
    except Exception as error:  # ONNX Runtime raises a class of its own for each reason
        text = f"{name}: the model does not name a picture of a card ({_first_line(error)}): export it anew"
        raise ModelError(text) from error
    sums_to_one = probabilities.min() >= 0 and abs(probabilities.sum() - 1) < _TOLERANCE
    if not (sums_to_one and np.isfinite(embedding).all()):  # a sum with what is no number in it is none
        raise ModelError(f"{name}: the model gives no probabilities for a picture of a card: export it anew")
    return recognizer
