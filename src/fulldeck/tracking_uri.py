"""Where experiments and models are kept: one rule for tracking, sweeps and the registry.

``MLFLOW_TRACKING_URI`` where it is set, as for every tool of MLflow's; else a SQLite file and a folder of artifacts
under the current folder, which need no server and no account. Knows nothing of MLflow, so that asking imports nothing.
"""

import os
from pathlib import Path

HOME = Path("mlruns")
"""The folder, under the current one, that holds the database and the artifacts."""


def tracking_uri() -> str:
    """Return the address of the tracking store (and of the registry, which is in the same place).

    The folder of the default place is made, since SQLite makes files but no folders.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return given
    home = HOME.absolute()
    home.mkdir(exist_ok=True)
    return f"sqlite:///{home.as_posix()}/mlflow.db"


def artifact_location() -> str | None:
    """Return where a new experiment's artifacts go; None where the tracking server decides that.

    Absolute, so that a record can be read from another folder.
    """
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    return (HOME.absolute() / "artifacts").as_uri()
