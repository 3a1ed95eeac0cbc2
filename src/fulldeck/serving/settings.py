"""What the service can be told: by the command's options, and by environment variables beginning with ``FULLDECK_``."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fulldeck.errors import ConfigError
from fulldeck.inference.cores import available_cores
from fulldeck.inference.image import MAX_PIXELS

Access = Literal["auto", "keys", "open"]
LogFormat = Literal["text", "json"]


def state_folder() -> Path:
    """Where the service keeps what it must remember: the XDG base directory for a program's state."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "fulldeck"


class Settings(BaseSettings):
    """One service's settings. Each field's environment variable is its name in capitals after ``FULLDECK_``."""

    model_config = SettingsConfigDict(env_prefix="FULLDECK_", frozen=True)

    model: str | None = Field(
        default=None,
        description="The model: a file, an address such as gs://bucket/file, registry:champion; else the shipped one.",
    )
    workers: int = Field(default_factory=available_cores, ge=1, description="Threads that decode and infer.")

    max_body_bytes: int = Field(default=32 * 2**20, ge=1, description="A request's body may have so many bytes.")
    max_files: int = Field(default=32, ge=1, description="A request may bring so many images.")
    max_pixels: int = Field(default=64_000_000, ge=1, le=MAX_PIXELS, description="An image may have so many pixels.")
    max_queue: int = Field(default=64, ge=0, description="So many requests may wait for a thread.")
    max_pending_bytes: int = Field(default=256 * 2**20, ge=1, description="So much of all bodies may lie in memory.")
    max_header_bytes: int = Field(default=32 * 2**10, ge=256, description="A request's head may have so many bytes.")
    max_connections: int = Field(default=1000, ge=1, description="So many connections may be open.")

    header_seconds: float = Field(default=10.0, gt=0, description="A request's head must arrive within this time.")
    body_seconds: float = Field(default=30.0, gt=0, description="A request's body must arrive within this time.")
    queue_seconds: float = Field(default=5.0, gt=0, description="A request waits so long for a thread.")
    decode_seconds: float = Field(default=10.0, gt=0, description="An image must decode within this time.")
    request_seconds: float = Field(default=60.0, gt=0, description="A request is answered within this time.")
    drain_seconds: int = Field(default=20, ge=0, description="On SIGTERM, running requests get so long to end.")

    access: Access = Field(default="auto", description="Who may ask; auto asks for a key unless on loopback alone.")
    keys_file: Path | None = Field(default=None, description="The file that `fulldeck keys` writes.")
    rate_per_second: float = Field(default=50.0, ge=0, description="Images a second and key; 0 for no limit.")
    rate_burst: int = Field(default=200, ge=1, description="Images at once and key, after a pause.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins, with commas between, whose pages may ask from a browser; * for all."
    )
    log_format: LogFormat = Field(default="text", description="Log lines for people, or JSON objects.")

    predictions_database: str = Field(
        default="", description="Where answers are logged: a database's address, or none; without it, a SQLite file."
    )
    predictions_folder: Path = Field(
        default_factory=state_folder, description="Where that file lies, and what waits for a database."
    )
    predictions_images: bool = Field(default=False, description="Whether the images are logged, too.")
    predictions_spill_bytes: int = Field(
        default=2**30, ge=2**20, description="So much may wait on the disk while the database is away."
    )

    @field_validator("predictions_database")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in {"", "none"} and not value.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("give sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, or none")
        return value

    @field_validator("model", mode="before")
    @classmethod
    def _address(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


def read_settings(**given: Any) -> Settings:
    """Read the environment.

    Args:
        given: settings that go before it; those that are None do not.

    Raises:
        ConfigError: a variable has a value that cannot be used; the sentence names it.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        # The address of a database may have a password in it.
        shown = "" if field == "predictions_database" else f"={first['input']!r}"
        raise ConfigError(f"FULLDECK_{field.upper()}{shown} cannot be used: {first['msg']}") from error
