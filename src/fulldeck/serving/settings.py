"""What the service can be told: by the command's options, and by environment variables beginning with ``FULLDECK_``."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fulldeck.errors import ConfigError
from fulldeck.inference.classifier import available_cores


class Settings(BaseSettings):
    """One service's settings. Each field's environment variable is its name in capitals after ``FULLDECK_``."""

    model_config = SettingsConfigDict(env_prefix="FULLDECK_", frozen=True)

    model: Path | None = Field(default=None, description="The model file; without it, the shipped champion.")
    max_body_bytes: int = Field(default=32 * 2**20, ge=1, description="A request's body may have so many bytes.")
    max_files: int = Field(default=32, ge=1, description="A request may bring so many images.")
    body_seconds: float = Field(default=30.0, gt=0, description="A request's body must arrive within this time.")
    drain_seconds: int = Field(default=20, ge=0, description="On SIGTERM, running requests get so long to end.")
    workers: int = Field(default_factory=available_cores, ge=1, description="Threads that decode and infer.")


def read_settings(model: Path | None = None) -> Settings:
    """Read the environment; ``model`` goes before ``FULLDECK_MODEL``.

    Raises:
        ConfigError: a variable has a value that cannot be used; the sentence names it.
    """
    try:
        return Settings() if model is None else Settings(model=model)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        raise ConfigError(f"FULLDECK_{field.upper()}={first['input']!r} cannot be used: {first['msg']}") from error
