"""What the service can be told: by the command's options, and by environment variables beginning with ``FULLDECK_``.

Click, which is there already, reads the values: to import a library for settings takes as long as to load the model.
"""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import click

from fulldeck.errors import ConfigError
from fulldeck.inference.cores import available_cores
from fulldeck.inference.image import MAX_PIXELS

Access = Literal["auto", "keys", "open"]
LogFormat = Literal["text", "json"]

PREFIX = "FULLDECK_"


class _Origins(click.ParamType):  # type: ignore[type-arg]
    """Words with commas between."""

    name = "origins"

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(filter(None, (part.strip() for part in parts)))


class _Database(click.ParamType):  # type: ignore[type-arg]
    """A database's address, "none", or nothing."""

    name = "database"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = ("sqlite:///", "postgresql://", "postgresql+psycopg://")
        if value not in {"", "none"} and not str(value).startswith(known):
            self.fail("give sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, or none", param, ctx)
        return str(value)


_COUNT = click.IntRange(min=1)
_MAY_BE_NONE = click.IntRange(min=0)
_SECONDS = click.FloatRange(min=0, min_open=True)
_PATH = click.Path(path_type=Path, readable=False)  # who uses it says what is wrong with it


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One service's settings. Each one's environment variable is its name in capitals after ``FULLDECK_``.

    Attributes:
        model: a file, an address such as gs://bucket/file, or registry:champion; None for the shipped one.
        workers: so many decode and infer at once.
        processes: whether each of them is a process of its own; else they are threads of one.
        max_body_bytes: a request's body may have so many bytes.
        max_files: a request may bring so many images.
        max_pixels: an image may have so many pixels.
        max_queue: so many requests may wait for a thread.
        max_pending_bytes: so much of all bodies may lie in memory.
        max_header_bytes: a request's head may have so many bytes.
        max_connections: so many connections may be open.
        header_seconds: a request's head must arrive within this time.
        body_seconds: a request's body must arrive within this time.
        queue_seconds: a request waits so long for a thread.
        decode_seconds: an image must decode within this time.
        request_seconds: a request is answered within this time.
        drain_seconds: on SIGTERM, running requests get so long to end.
        access: who may ask; auto asks for a key unless on loopback alone.
        keys_file: the file that `fulldeck keys` writes.
        rate_per_second: images a second and key; 0 for no limit.
        rate_burst: images at once and key, after a pause.
        cors_origins: origins whose pages may ask from a browser; * for all.
        log_format: log lines for people, or JSON objects.
        predictions_database: where answers are logged: a database's address, or none; "" for a SQLite file.
        predictions_folder: where that file lies, and what waits for a database; None for the user's state folder.
        predictions_images: whether the images are logged, too.
        predictions_spill_bytes: so much may wait on the disk while the database is away.

    Raises:
        ConfigError: a value cannot be used; the sentence names it.
    """

    model: Annotated[str | None, click.STRING] = None
    workers: Annotated[int, _COUNT] = field(default_factory=available_cores)
    processes: Annotated[bool, click.BOOL] = True

    max_body_bytes: Annotated[int, _COUNT] = 32 * 2**20
    max_files: Annotated[int, _COUNT] = 32
    max_pixels: Annotated[int, click.IntRange(1, MAX_PIXELS)] = 64_000_000
    max_queue: Annotated[int, _MAY_BE_NONE] = 48
    max_pending_bytes: Annotated[int, _COUNT] = 256 * 2**20
    max_header_bytes: Annotated[int, click.IntRange(min=256)] = 32 * 2**10
    max_connections: Annotated[int, _COUNT] = 1000

    header_seconds: Annotated[float, _SECONDS] = 10.0
    body_seconds: Annotated[float, _SECONDS] = 30.0
    queue_seconds: Annotated[float, _SECONDS] = 5.0
    decode_seconds: Annotated[float, _SECONDS] = 10.0
    request_seconds: Annotated[float, _SECONDS] = 60.0
    drain_seconds: Annotated[int, _MAY_BE_NONE] = 20

    access: Annotated[Access, click.Choice(["auto", "keys", "open"])] = "auto"
    keys_file: Annotated[Path | None, _PATH] = None
    rate_per_second: Annotated[float, click.FloatRange(min=0)] = 50.0
    rate_burst: Annotated[int, _COUNT] = 200
    cors_origins: Annotated[tuple[str, ...], _Origins()] = ()
    log_format: Annotated[LogFormat, click.Choice(["text", "json"])] = "text"

    predictions_database: Annotated[str, _Database()] = ""
    predictions_folder: Annotated[Path | None, _PATH] = None
    predictions_images: Annotated[bool, click.BOOL] = False
    predictions_spill_bytes: Annotated[int, click.IntRange(min=2**20)] = 2**30

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if value is None:
                continue
            try:
                read = hint.__metadata__[0].convert(value, None, None)
            except click.BadParameter as error:
                # The address of a database may have a password in it.
                shown = "" if name == "predictions_database" else f"={value!r}"
                raise ConfigError(f"{variable(name)}{shown} cannot be used: {error.message}") from None
            object.__setattr__(self, name, read)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def read_settings(**given: Any) -> Settings:
    """Read the environment.

    Args:
        given: settings that go before it; those that are None do not.

    Raises:
        ConfigError: a variable has a value that cannot be used; the sentence names it.
    """
    told = {each.name: os.environ.get(variable(each.name)) for each in fields(Settings)} | {
        name: value for name, value in given.items() if value is not None
    }
    return Settings(**{name: value for name, value in told.items() if value is not None})
