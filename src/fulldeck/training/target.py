"""The file that a command writes a model to: known before the work to be one, and never left half done."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fulldeck.errors import ConfigError


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Give the file in which a model is put together before it takes its place; it is gone if it cannot be written.

    Raises:
        ConfigError: it cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        reason = f"{target.parent} is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise ConfigError(f"{target} cannot be written ({reason}): name another file with --out") from error


def check_target(target: Path, *models: Path) -> None:
    """Find out, before the work, whether a model file can be written; its folder is made.

    Args:
        target: the file to write.
        models: what it is made from, and must not take the place of.

    Raises:
        ConfigError: it is a folder or one of the models, or cannot be written.
    """
    with writing(target) as part:
        if target.is_dir() or any(target.exists() and path.exists() and target.samefile(path) for path in models):
            taken = "the model itself" if len(models) == 1 else "one of the models"
            msg = f"{target} is {'a folder' if target.is_dir() else taken}; name another file with --out"
            raise ConfigError(msg)
        part.touch()
        part.unlink()
