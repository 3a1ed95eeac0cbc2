"""``fulldeck tracking``: MLflow's page on the place where runs are kept."""

import os
import subprocess
import sys

from mlflow import MlflowClient

from fulldeck.mlflow_store import told
from fulldeck.tracking_uri import tracking_uri
from fulldeck.training.tracking.lost import mark_lost


def mark() -> list[str]:
    """Mark the runs that have died without a word, and return their ids.

    Raises:
        ConfigError: MLflow cannot be reached.
    """
    uri = tracking_uri()
    with told(uri, "cannot be asked"):
        return mark_lost(MlflowClient(uri))


def is_remote(uri: str) -> bool:
    """Say whether a tracking URI is a server's, which has a page of its own."""
    return uri.startswith(("http://", "https://"))


def serve(host: str, port: int) -> int:
    """Serve MLflow's page until it is interrupted; return its exit code."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri()]
    where = ["--host", host, "--port", str(port), "--workers", "1"]
    # Else MLflow starts half a dozen processes more, which judge language models.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}
    try:
        return subprocess.run([*command, *where], env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 0
