"""A sweep's own run in MLflow, whose children its trials are."""

import logging
import time
from pathlib import Path
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException

from fulldeck.errors import ConfigError
from fulldeck.mlflow_store import told
from fulldeck.provenance import commit
from fulldeck.tracking_uri import tracking_uri
from fulldeck.training.tracking.lost import BEAT, STUDY
from fulldeck.training.tracking.mlflow_record import experiment_id

logger = logging.getLogger(__name__)

State = Literal["running", "finished", "killed"]


def begin(project: str, study: str) -> str:
    """Begin the run of a study, and return its id.

    Raises:
        ConfigError: MLflow cannot be reached.
    """
    uri = tracking_uri()
    with told(uri, "does not keep this sweep"):
        client = MlflowClient(uri)
        tags = {STUDY: study, "commit": commit() or "unknown", BEAT: _now()}
        run = client.create_run(experiment_id(client, project), run_name=f"sweep {study}", tags=tags)
    return str(run.info.run_id)


def go_on(run: str) -> None:
    """Say of a sweep's run that it is worked on, whatever was said of it before; a failure is told, and ends no sweep.

    Args:
        run: the run's id.
    """
    uri = tracking_uri()
    try:
        with told(uri, f"does not have the sweep's own run, {run}"):
            client = MlflowClient(uri)
            client.set_tag(run, BEAT, _now())
            client.update_run(run, status=RunStatus.to_string(RunStatus.RUNNING))
    except ConfigError as error:
        logger.warning("%s; all workers need the same MLFLOW_TRACKING_URI", error)


def keep(run: str, folder: Path, best: float | None, state: State) -> None:
    """Put what a sweep's folder shows into its run; a failure is told, and ends no sweep.

    Args:
        run: the run's id.
        folder: whose files are kept.
        best: the best figure so far.
        state: whether workers are at it, it has all its trials, or it was left before.
    """
    try:
        client = MlflowClient(tracking_uri())
        for file in sorted(folder.iterdir()):
            if file.is_file():
                client.log_artifact(run, str(file))
        if best is not None:
            client.log_metric(run, "best", best)
        if state == "running":
            client.update_run(run, status=RunStatus.to_string(RunStatus.RUNNING))
        else:
            ended = RunStatus.FINISHED if state == "finished" else RunStatus.KILLED
            client.set_terminated(run, RunStatus.to_string(ended))
    except (MlflowException, OSError) as error:
        logger.warning("MLflow misses something of this sweep: %s", error)


def _now() -> str:
    return str(int(time.time()))
