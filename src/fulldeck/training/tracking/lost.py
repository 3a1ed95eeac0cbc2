"""Runs whose process died without a word, as by ``kill -9`` or a power cut: MLflow still calls them running.

On their own machine the lock in their folder tells; from another one, only that they were not heard of for long.
"""

import platform
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, RunStatus

from fulldeck.training.run_lock import is_held

FOLDER, HOST, BEAT = "fulldeck.folder", "fulldeck.host", "fulldeck.beat"
"""Tags of a run of ours: its folder, the machine that this is on, and the last second it was heard of."""

SILENCE = 900.0
"""Seconds without a beat after which a run on another machine is given up; they come every few seconds."""

REASON = "fulldeck.lost"
"""The tag that says why the run counts as failed."""


def mark_lost(client: MlflowClient) -> list[str]:
    """Mark the runs that have died as failed, and return their ids. They can still be resumed."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = client.search_runs(experiments, f"attributes.status = 'RUNNING' and tags.`{FOLDER}` LIKE '%'")
    lost = [run for run in running if not _alive(run)]
    for run in lost:
        client.set_tag(run.info.run_id, REASON, "its process ended without a word")
        client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.FAILED))
    return [run.info.run_id for run in lost]


def _alive(run: Run) -> bool:
    tags = run.data.tags
    if tags[HOST] == platform.node():
        return is_held(Path(tags[FOLDER]))
    return time.time() - float(tags[BEAT]) < SILENCE
