"""A run's record in MLflow: on a server, or in a SQLite file and a folder of artifacts."""

import functools
import json
import logging
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

from lightning.pytorch.loggers import MLFlowLogger
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID

from fulldeck.mlflow_store import told
from fulldeck.tracking_uri import artifact_location, tracking_uri
from fulldeck.training.tracking.lost import BEAT, FOLDER, HOST, mark_lost
from fulldeck.training.tracking.record import Facts, Histogram, Outcome, Record, Steps

logger = logging.getLogger(__name__)

STATUS: dict[Outcome, int] = {
    "finished": RunStatus.FINISHED,
    "failed": RunStatus.FAILED,
    "killed": RunStatus.KILLED,
}
BATCH = 1000  # metrics in one request, the most that MLflow takes
DIGEST = 36  # the most characters that MLflow keeps of a dataset's hash
PAUSE = 60.0  # seconds in which a store that has failed is left alone

P = ParamSpec("P")


def _forgiving(write: Callable[P, None]) -> Callable[P, None]:
    """Let a training go on when its record cannot be written: warn, leave the store alone for a while, try again."""

    @functools.wraps(write)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> None:
        record: Any = args[0]
        if time.monotonic() < record.silent_until:
            return
        try:
            write(*args, **kwargs)
        except (MlflowException, OSError) as error:
            logger.warning("MLflow misses something of this run (%s): %s", write.__name__, error)
            record.silent_until = time.monotonic() + PAUSE

    return attempt


class MlflowRecord(MLFlowLogger, Record):
    """A run of MLflow's, begun or gone on with.

    Args:
        facts: what is known of it already.
        address: of the record to go on with; None begins one.

    Raises:
        ConfigError: the tracking server does not answer, or the address leads nowhere.
    """

    def __init__(self, facts: Facts, address: Mapping[str, str] | None = None) -> None:
        uri = address["uri"] if address else tracking_uri()
        self._run_address = {"uri": uri}
        self.silent_until = 0.0
        with told(uri, "does not keep this run"):
            client = MlflowClient(uri)
            experiment_id(client, facts.project)
            mark_lost(client)
            super().__init__(
                experiment_name=facts.project,
                run_name=facts.folder.name,
                tracking_uri=uri,
                tags=_tags(facts),
                run_id=address["run"] if address else None,
            )
            self._run_address["run"] = str(self.run_id)
            if address:
                client.update_run(address["run"], status="RUNNING")
                for key, value in _tags(facts).items():
                    client.set_tag(address["run"], key, value)
            else:
                self.log_hyperparams(facts.config)
                client.log_inputs(str(self.run_id), _datasets(facts))
            self.files(facts.files)
            system: Any = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
                str(self.run_id), resume_logging=bool(address), tracking_uri=uri
            )
            system.start()
            self._system = system

    @property
    def address(self) -> dict[str, str]:
        """The tracking store's URI and the run's id."""
        return self._run_address

    @_forgiving
    def steps(self, rows: Steps) -> None:
        """Add the figures of some steps, all of them in as few requests as can be."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for step, values in rows for name, value in values.items()]
        for start in range(0, len(metrics), BATCH):
            self.experiment.log_batch(str(self.run_id), metrics=metrics[start : start + BATCH])

    @_forgiving
    def histograms(self, of: Mapping[str, Histogram], step: int) -> None:
        """Add them as a JSON file, since MLflow has no histograms."""
        content = {name: {"counts": counts, "edges": edges} for name, (counts, edges) in of.items()}
        self.experiment.log_dict(str(self.run_id), content, f"gradients/step-{step:06d}.json")

    @_forgiving
    def picture(self, name: str, file: Path, step: int) -> None:
        """Add a picture as pictures/<name>/step-000012.png."""
        with tempfile.TemporaryDirectory() as temporary:
            named = Path(temporary) / f"step-{step:06d}.png"
            named.write_bytes(file.read_bytes())
            self.experiment.log_artifact(str(self.run_id), str(named), f"pictures/{name}")

    @_forgiving
    def files(self, files: Sequence[Path]) -> None:
        """Add files beside each other at the top of the run's artifacts."""
        for file in files:
            self.experiment.log_artifact(str(self.run_id), str(file))

    @_forgiving
    def summary(self, values: Mapping[str, float]) -> None:
        """Add figures as metrics of step 0."""
        self.steps([(0, values)])

    @_forgiving
    def model(self, files: Sequence[Path], metadata: Mapping[str, Any]) -> None:
        """Add model/, with the metadata as model/metadata.json."""
        for file in files:
            self.experiment.log_artifact(str(self.run_id), str(file), "model")
        self.experiment.log_text(str(self.run_id), json.dumps(metadata, indent=2), "model/metadata.json")

    @_forgiving
    def beat(self) -> None:
        """Note the time."""
        self.experiment.set_tag(str(self.run_id), BEAT, str(int(time.time())))

    @_forgiving
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add the figures of an epoch, as Lightning gives them."""
        super().log_metrics(metrics, step)

    def finalize(self, status: str = "success") -> None:
        """Do nothing when the fit has ended: the record is open until the results are in it."""

    def close(self, outcome: Outcome) -> None:
        """Set the run's status, even of a store that failed a moment ago."""
        self._system.finish()
        self.silent_until = 0.0
        self._end(outcome)

    @_forgiving
    def _end(self, outcome: Outcome) -> None:
        self.experiment.set_terminated(str(self.run_id), RunStatus.to_string(STATUS[outcome]))


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is made where there is none; others may be making it at this moment."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location()))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _tags(facts: Facts) -> dict[str, str]:
    tags = {
        "data_hash": facts.data_hash,
        "commit": facts.commit,
        FOLDER: str(facts.folder.absolute()),
        HOST: platform.node(),
        BEAT: str(int(time.time())),
    }
    return tags | ({MLFLOW_PARENT_RUN_ID: facts.parent} if facts.parent else {})


def _datasets(facts: Facts) -> list[DatasetInput]:
    return [
        DatasetInput(
            Dataset(Path(folder).name, content[:DIGEST], "local", json.dumps({"uri": folder})),
            [InputTag(MLFLOW_DATASET_CONTEXT, "training")],
        )
        for folder, content in facts.hashes.items()
    ]
