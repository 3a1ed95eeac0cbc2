"""The versions that a registry holds, on MLflow's: register a model file, list, find, and fetch one that is verified.

A version is one ``.onnx`` file and what its metadata says of itself. Nothing else is ever downloaded from a registry,
and nothing from it is unpickled. This module knows nothing of gates, and sets one alias alone, ``challenger``.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from errno import EISDIR
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from fulldeck import mlflow_store
from fulldeck.errors import ConfigError, FulldeckError
from fulldeck.inference.classifier import Classifier
from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.seal import check_seal
from fulldeck.remote import public_address
from fulldeck.tracking_uri import artifact_location, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

NAME = "fulldeck"
EXPERIMENT = "fulldeck-registry"
FILE = "model.onnx"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


class RegistryError(FulldeckError):
    """The registry cannot be reached, lacks what is asked for, or holds what must not be used."""


@dataclass(frozen=True)
class Registry:
    """One registered model of one MLflow: ``name`` there, and ``uri`` of it, which may have a password in it."""

    client: MlflowClient
    name: str
    uri: str

    @property
    def place(self) -> str:
        """The address for people to see."""
        return public_address(self.uri)


@dataclass(frozen=True)
class Version:
    """One version.

    Attributes:
        number: 1, 2, ...; given by the registry.
        aliases: What it is called now, of ``champion``, ``challenger``, ``previous`` and others.
        sha256: Of the whole model file; None if ``fulldeck`` did not register it, and then it is not used.
        size: Bytes of that file.
        model_version: What the file calls itself.
        registered: When.
        source: Where the file lies, an address of MLflow's.
        gate: What the gate said last: ``promoted``, ``forced`` or ``refused``; None if it was not asked.
    """

    number: int
    aliases: tuple[str, ...]
    sha256: str | None
    size: int
    model_version: str
    registered: datetime
    source: str
    gate: str | None


def open_registry(uri: str | None = None, name: str = NAME) -> Registry:
    """Open a registry; the default one is where trainings are tracked (:mod:`fulldeck.tracking_uri`).

    Raises:
        RegistryError: It cannot be opened.
    """
    place = uri or tracking_uri()
    with told(place):
        return Registry(MlflowClient(place, registry_uri=place), name, place)


def told(uri: str) -> AbstractContextManager[None]:
    """Turn what MLflow, its database or the network raise into one sentence, a RegistryError."""
    return mlflow_store.told(uri, "does not do that", store="the registry", kind=RegistryError)


def register(registry: Registry, model: Path) -> Version:
    """Put a model file into the registry, and call it the challenger. The same file twice is one version.

    Raises:
        ModelError: The file is no model, or does not fit its seal.
        RegistryError: The registry cannot be reached.
    """
    info = Classifier(model, threads=1).info
    with tempfile.TemporaryDirectory() as folder, told(registry.uri):
        file = Path(shutil.copyfile(model, Path(folder) / FILE))
        digest = file_sha256(file)
        version = next((known for known in versions(registry) if known.sha256 == digest), None)
        if version is None:
            version = _create(registry, file, info, digest)
        if CHAMPION not in version.aliases:
            registry.client.set_registered_model_alias(registry.name, CHALLENGER, str(version.number))
        return find(registry, str(version.number))


def versions(registry: Registry) -> list[Version]:
    """List every version, oldest first; none where nothing was ever registered."""
    with told(registry.uri):
        found = registry.client.search_model_versions(f"name = '{registry.name}'", max_results=10_000)
        aliases: dict[int, list[str]] = {}
        for alias, number in current_aliases(registry).items():
            aliases.setdefault(number, []).append(alias)
        return sorted((_version(one, aliases) for one in found), key=lambda version: version.number)


def find(registry: Registry, which: str) -> Version:
    """Find a version by its number or an alias.

    Raises:
        RegistryError: There is none.
    """
    known = versions(registry)
    for version in known:
        if str(version.number) == which or which in version.aliases:
            return version
    numbers = f"it has {', '.join(str(version.number) for version in known[-20:])}" if known else "it is empty"
    msg = f"the registry at {registry.place} has no version {which!r} of {registry.name}: {numbers}"
    raise RegistryError(msg)


def current_aliases(registry: Registry) -> dict[str, int]:
    """Return the number of the version that each alias names."""
    with told(registry.uri):
        try:
            model = registry.client.get_registered_model(registry.name)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return {}
            raise
        return {alias: int(number) for alias, number in dict(model.aliases).items()}


def fetch(registry: Registry, version: Version, target: Path) -> Path:
    """Download a version's model file, and verify it before it takes its place.

    Args:
        registry: Where from.
        version: Which.
        target: The file to write; whole or not at all.

    Raises:
        RegistryError: The file is not the one that was registered.
        ModelError: It does not fit its seal.
        ConfigError: The target cannot be written.
    """
    if version.sha256 is None:
        msg = (
            f"version {version.number} of {registry.name} was not registered by `fulldeck registry register`, "
            "so nothing vouches for it; it is not loaded"
        )
        raise RegistryError(msg)
    with _beside(target) as folder:
        with told(registry.uri):
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"{version.source}/{FILE}", dst_path=str(folder), tracking_uri=registry.uri
            )
            file = folder / FILE
            digest = file_sha256(file)
        if digest != version.sha256:
            msg = (
                f"version {version.number} of {registry.name} is not the file that was registered: its SHA-256 is "
                f"{digest} and should be {version.sha256}; register the model again"
            )
            raise RegistryError(msg)
        check_seal(file.read_bytes(), f"version {version.number} of {registry.name}")
        file.replace(target)
    return target


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a temporary folder from which a file can be moved to the target at once."""
    try:
        if target.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
            yield Path(folder)
    except OSError as error:
        msg = f"{target} cannot be written ({error.strerror}): name another file"
        raise ConfigError(msg) from error


def file_sha256(path: Path) -> str:
    """Hash a file: 64 hex characters."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_run(registry: Registry, name: str) -> str:
    """Begin a record of ours in MLflow, to which files can be logged, and return its id."""
    client = registry.client
    with told(registry.uri):
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            place = experiment.experiment_id
        else:
            place = client.create_experiment(EXPERIMENT, artifact_location=_artifacts(registry))
        return str(client.create_run(place, run_name=name).info.run_id)


def ensure_model(registry: Registry, name: str, description: str) -> None:
    """Create a registered model unless it is there."""
    try:
        registry.client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise


def _create(registry: Registry, file: Path, info: ModelInfo, digest: str) -> Version:
    client = registry.client
    run = new_run(registry, f"register {info.version}")
    client.log_artifact(run, str(file), "model")
    client.log_text(run, json.dumps(asdict(info), indent=2, ensure_ascii=False) + "\n", "manifest.json")
    client.set_terminated(run)
    ensure_model(registry, registry.name, "The model that names playing cards: see fulldeck's docs/registry.md.")
    made = client.create_model_version(
        registry.name,
        source=f"{client.get_run(run).info.artifact_uri}/model",
        run_id=run,
        tags={
            "sha256": digest,
            "bytes": str(file.stat().st_size),
            "model_version": info.version,
            "backbone": info.name,
            "data_hash": info.data_hash,
            "commit": info.commit,
            "created": info.created,
        },
        description=f"{info.name} {info.version}",
    )
    return _version(made, {})


def _version(one: "ModelVersion", aliases: dict[int, list[str]]) -> Version:
    number, tags = int(one.version), dict(one.tags)
    return Version(
        number=number,
        aliases=tuple(sorted(aliases.get(number, ()))),
        sha256=tags.get("sha256"),
        size=int(tags.get("bytes", 0)),
        model_version=tags.get("model_version", "unknown"),
        registered=datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
        source=str(one.source),
        gate=tags.get("gate"),
    )


def _artifacts(registry: Registry) -> str | None:
    """Where a new experiment's files go: beside a SQLite file; elsewhere the server or its settings decide."""
    if registry.uri == tracking_uri() and (location := artifact_location()):
        return location
    path = registry.uri.removeprefix("sqlite:///")
    return None if path == registry.uri else (Path(path).absolute().parent / "artifacts").as_uri()
