"""From where the model that serves is to come, to a recogniser that has been tried: nothing else is ever served.

A source is a file, an address in a cloud's storage such as gs://bucket/model.onnx, a version in the registry
(``registry:champion``, ``registry:7``, or in MLflow's words ``models:/fulldeck@champion``), or nothing for the shipped
champion. A file's hash may stand behind it (``model.onnx#sha256=…``) or in a file beside it (``model.onnx.sha256``, as
``sha256sum`` writes it); the registry knows each version's. All but the shipped one is copied first, so that what was
checked is what is loaded, now and by worker processes later.
"""

import hashlib
import math
import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from fulldeck.errors import ModelError
from fulldeck.inference.model_file import champion_path, locator_beside
from fulldeck.inference.recognizer import Recognizer
from fulldeck.remote import open_storage, public_address

MAX_BYTES = 2**30
"""A model file above this is none of ours."""

EXAMPLE = Path(__file__).with_name("example.jpg")
"""A picture of one card, which every model must name before it serves."""

_CHUNK = 2**20


def open_model(source: str | None) -> Recognizer:
    """Bring a model here, verify it, and let it answer once.

    Raises:
        ModelError: there is none, it is another one than its hash says, it cannot be used, or its answer is none.
        RegistryError: it was to come from a registry that cannot be reached, or has no such version.
    """
    if source is None or source == "champion":
        return _tried(Recognizer(threads=1), "the champion")
    if source.startswith(("registry:", "models:/")):
        return _registered(source)
    address, _, wanted = source.partition("#sha256=")
    read = _remote(address) if "://" in address else _local
    wanted = wanted or _beside(read, address)
    if not wanted and read is _local and (Path(address) == champion_path() or not _can_be_copied()):
        return _tried(Recognizer(address, threads=1), address)
    with ExitStack() as stack:
        copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fulldeck-model-")), "model.onnx")
        _check_hash(_copied(read, address, copy), wanted, address)
        _copy_locator(read, address, copy)
        try:
            recognizer = _tried(Recognizer(copy, threads=1), public_address(address))
        except ModelError as error:
            raise ModelError(str(error).replace(str(copy), public_address(address))) from None
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
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fulldeck-model-"))
        file = store.fetch(registry, version, Path(folder, "model.onnx"))
        recognizer = Recognizer(file, threads=1, locator="champion")
        return _kept(stack, _tried(recognizer, f"{source} (version {version.number})"))


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
        hint = f"a model at {public_address(address)} needs {error.name}: pip install 'fulldeck[cloud]'"
        raise ModelError(hint) from error
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
    if not words or len(words[0]) != 64:
        raise ModelError(f"{public_address(address)}.sha256: there is no SHA-256 in it: write it with sha256sum")
    return words[0].decode("ascii", "replace")


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


def _check_hash(found: str, wanted: str, address: str) -> None:
    if wanted and found != wanted.lower():
        raise ModelError(
            f"{public_address(address)}: its SHA-256 is {found}, and was to be {wanted.lower()}: get it again"
        )


def _copy_locator(read: _Read, address: str, copy: Path) -> None:
    """Copy the locator beside the model, if there is one; it has its own seal."""
    parent, slash, _ = address.rpartition("/")
    try:
        with read(f"{parent}{slash}{locator_beside(copy).name}") as file, locator_beside(copy).open("wb") as target:
            shutil.copyfileobj(file, target)
    except FileNotFoundError:
        locator_beside(copy).unlink(missing_ok=True)


def _failed(address: str, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"{public_address(address)}: it cannot be read ({reason})")


def _tried(recognizer: Recognizer, name: str) -> Recognizer:
    """The recogniser, which has named a card: so no user waits for its first run, and it gives numbers."""
    prediction = recognizer.classify(EXAMPLE.read_bytes())
    recognizer.open_locator()
    if not math.isfinite(prediction.probability):
        raise ModelError(f"{name}: the model gives no number for a picture of a card: export it anew")
    return recognizer
