"""Runs whose process died without a word, as by ``kill -9`` or a power cut: MLflow still calls them running.

On their own machine the lock in their folder tells; from another one, only that they were not heard of for long. A
sweep's own run is alive as long as any of its trials is, and for a while after, in which a worker may begin the next.
"""

import platform
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, RunStatus
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from fulldeck.training.run_lock import is_held

FOLDER, HOST, BEAT = "fulldeck.folder", "fulldeck.host", "fulldeck.beat"
"""Tags of a run of ours: its folder, the machine that this is on, and the last second it was heard of."""

STUDY = "fulldeck.study"
"""The tag of a sweep's own run: its study. It has a beat, too, whenever a worker begins."""

SILENCE = 900.0
"""Seconds without a beat after which a run on another machine, or a sweep, is given up; they come every few seconds."""

REASON = "fulldeck.lost"
"""The tag that says why the run counts as failed."""


def mark_lost(client: MlflowClient) -> list[str]:
    """Mark the runs that have died as failed, and return their ids. They can still be resumed."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = client.search_runs(experiments, f"attributes.status = 'RUNNING' and tags.`{FOLDER}` LIKE '%'")
    sweeps = client.search_runs(experiments, f"attributes.status = 'RUNNING' and tags.`{STUDY}` LIKE '%'")
    lost = [run for run in running if not _alive(run)]
    lost += [run for run in sweeps if not _is_worked_on(client, run)]
    for run in lost:
        client.set_tag(run.info.run_id, REASON, "its process ended without a word")
        client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.FAILED))
    return [run.info.run_id for run in lost]


def _alive(run: Run) -> bool:
    tags = run.data.tags
    if tags[HOST] == platform.node():
        return is_held(Path(tags[FOLDER]))
    return _was_heard_of(run)


def _is_worked_on(client: MlflowClient, sweep: Run) -> bool:
    trials = client.search_runs(
        [sweep.info.experiment_id],
        f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{sweep.info.run_id}'",
        order_by=["attributes.start_time DESC"],
        max_results=100,  # more are not under way at once
    )
    return _was_heard_of(sweep) or any(_was_heard_of(trial) for trial in trials)


def _was_heard_of(run: Run) -> bool:
    return time.time() - float(run.data.tags.get(BEAT, 0)) < SILENCE
