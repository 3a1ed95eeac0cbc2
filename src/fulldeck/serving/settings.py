"""What the service can be told: by the command's options, and by environment variables beginning with ``FULLDECK_``.

Click, which is there already, reads the values: to import a library for settings takes as long as to load the model.
"""

import math
import os
import re
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


class _Number(click.ParamType):  # type: ignore[type-arg]
    """A number within bounds, which keep out what no machine can do, and what is no number at all.

    Args:
        kind: int or float.
        least: the smallest one.
        most: the largest one.
        or_zero: whether 0 will do, too.
    """

    name = "number"

    def __init__(self, kind: type[int] | type[float], least: float, most: float, or_zero: bool = False) -> None:
        self._kind = kind
        self._least = least
        self._most = most
        self._or_zero = or_zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = self._kind(value)
        except ValueError:
            number = math.nan
        if not (self._least <= number <= self._most or (self._or_zero and number == 0)):
            what = "a whole number" if self._kind is int else "a number"
            zero = ", or 0" if self._or_zero else ""
            self.fail(f"give {what} from {self._least} to {self._most}{zero}", param, ctx)
        return number


class _Switch(click.types.BoolParamType):
    """On or off."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        nothing = isinstance(value, str) and not value.strip()  # which click takes for off
        try:
            return super().convert("neither" if nothing else value, param, ctx)
        except click.BadParameter:
            self.fail("give 1 or 0", param, ctx)


class _Text(click.types.StringParamType):
    """Something, as an empty path would be the folder that the service happens to run in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip():
            self.fail("give one, or leave it out", param, ctx)
        return str(super().convert(value, param, ctx))


class _File(_Text):
    """A path; who uses it says what is wrong with it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return Path(super().convert(value, param, ctx))


class _Origins(click.ParamType):  # type: ignore[type-arg]
    """Web origins with commas between; what is none would never be one that a browser names."""

    name = "origins"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        origins = tuple(filter(None, (part.strip() for part in parts)))
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                self.fail(f"{origin!r} is no origin: give such as https://cards.example, or *", param, ctx)
        return origins


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?")


class _Database(click.ParamType):  # type: ignore[type-arg]
    """A database's address, "none", or nothing."""

    name = "database"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = ("sqlite:///", "postgresql://", "postgresql+psycopg://")
        if value not in {"", "none"} and not str(value).startswith(known):
            self.fail("give sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, or none", param, ctx)
        return str(value)


_COUNT = _Number(int, 1, 1_000_000)
_BYTES = _Number(int, 1, 2**40)
_SECONDS = _Number(float, 0.001, 86_400)


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

    model: Annotated[str | None, _Text()] = None
    workers: Annotated[int, _Number(int, 1, 4096)] = field(default_factory=available_cores)
    processes: Annotated[bool, _Switch()] = True

    max_body_bytes: Annotated[int, _BYTES] = 32 * 2**20
    max_files: Annotated[int, _COUNT] = 32
    max_pixels: Annotated[int, _Number(int, 1, MAX_PIXELS)] = 64_000_000
    max_queue: Annotated[int, _Number(int, 0, 1_000_000)] = 48
    max_pending_bytes: Annotated[int, _BYTES] = 256 * 2**20
    max_header_bytes: Annotated[int, _Number(int, 256, 2**30)] = 32 * 2**10
    max_connections: Annotated[int, _COUNT] = 1000

    header_seconds: Annotated[float, _SECONDS] = 10.0
    body_seconds: Annotated[float, _SECONDS] = 30.0
    queue_seconds: Annotated[float, _SECONDS] = 5.0
    decode_seconds: Annotated[float, _SECONDS] = 10.0
    request_seconds: Annotated[float, _SECONDS] = 60.0
    drain_seconds: Annotated[int, _Number(int, 0, 86_400)] = 20

    access: Annotated[Access, click.Choice(["auto", "keys", "open"])] = "auto"
    keys_file: Annotated[Path | None, _File()] = None
    rate_per_second: Annotated[float, _Number(float, 0.001, 1_000_000, or_zero=True)] = 50.0
    rate_burst: Annotated[int, _COUNT] = 200
    cors_origins: Annotated[tuple[str, ...], _Origins()] = ()
    log_format: Annotated[LogFormat, click.Choice(["text", "json"])] = "text"

    predictions_database: Annotated[str, _Database()] = ""
    predictions_folder: Annotated[Path | None, _File()] = None
    predictions_images: Annotated[bool, _Switch()] = False
    predictions_spill_bytes: Annotated[int, _Number(int, 2**20, 2**50)] = 2**30

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if value is None:
                continue
            try:
                read = hint.__metadata__[0].convert(value, None, None)
            except click.BadParameter as error:
                # The address of a database may have a password in it.
                shown = "" if name == "predictions_database" else f"={_short(value)!r}"
                raise ConfigError(f"{variable(name)}{shown} cannot be used: {error.message}") from None
            object.__setattr__(self, name, read)


def _short(value: Any) -> Any:
    return f"{value[:60]}…" if isinstance(value, str) and len(value) > 60 else value


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def read_settings(**given: Any) -> Settings:
    """Read the environment.

    Args:
        given: settings that go before it; those that are None do not.

    Raises:
        ConfigError: a variable has a value that cannot be used, by itself or beside another; the sentence names it.
    """
    told = {each.name: os.environ.get(variable(each.name)) for each in fields(Settings)} | {
        name: value for name, value in given.items() if value is not None
    }
    settings = Settings(**{name: value for name, value in told.items() if value is not None})
    if settings.max_pending_bytes < settings.max_body_bytes:
        raise ConfigError(
            f"{variable('max_pending_bytes')}={settings.max_pending_bytes} has no room for one body of "
            f"{variable('max_body_bytes')}={settings.max_body_bytes}: raise the one, or lower the other"
        )
    return settings
