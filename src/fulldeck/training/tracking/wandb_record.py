"""A run's record in Weights & Biases: online where there is a key, else offline, in files for ``wandb sync``."""

import netrc
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import wandb
from lightning.pytorch.loggers import WandbLogger

from fulldeck.errors import ConfigError
from fulldeck.training.tracking.record import Facts, Histogram, Outcome, Record, Steps

EXIT_CODE: dict[Outcome, int] = {"finished": 0, "failed": 1, "killed": 130}
"""W&B tells the end of a run by its process's exit code; 130 is what shells say of Ctrl-C."""

CLOUD = "https://api.wandb.ai"


class WandbRecord(WandbLogger, Record):
    """A run of W&B's, begun or gone on with. System use is logged by W&B itself.

    Args:
        facts: what is known of it already.
        address: of the record to go on with; None begins one. Offline, what is added lies in a folder of its own, which
            ``wandb sync`` brings together with the first.

    Raises:
        ConfigError: W&B cannot be reached, or refuses.
    """

    def __init__(self, facts: Facts, address: Mapping[str, str] | None = None) -> None:
        try:
            run: Any = wandb.init(
                project=address["project"] if address else facts.project,
                id=address["run"] if address else None,
                name=facts.folder.name,
                group=facts.group,
                mode=mode(),
                resume="allow",
                config=facts.config,
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.Error as error:
            msg = f"W&B does not keep this run: {error}; WANDB_MODE=offline keeps it here"
            raise ConfigError(msg) from error
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        super().__init__(experiment=run, project=facts.project)
        self.run = run
        self.run.config.update({"data_hash": facts.data_hash, "commit": facts.commit, "folder": str(facts.folder)})
        self.files(facts.files)

    @property
    def address(self) -> dict[str, str]:
        """The project, the run's id, and its page or, offline, its folder."""
        place = {"folder": str(Path(self.run.dir).parent)} if self.run.offline else {"url": self.run.url}
        return {"project": self.run.project, "run": self.run.id, **place}

    def steps(self, rows: Steps) -> None:
        """Add the figures of some steps."""
        for step, values in rows:
            self.log_metrics(dict(values), step)

    def histograms(self, of: Mapping[str, Histogram], step: int) -> None:
        """Add them as W&B's own, gradients/<name>."""
        found: dict[str, Any] = {
            f"gradients/{name}": wandb.Histogram(np_histogram=(np.array(counts), np.array(edges)))
            for name, (counts, edges) in of.items()
        }
        self.log_metrics(found, step)

    def picture(self, name: str, file: Path, step: int) -> None:
        """Add a picture to those of that name."""
        picture: Any = wandb.Image(str(file))
        self.log_metrics({name: picture}, step)

    def files(self, files: Sequence[Path]) -> None:
        """Add files beside each other to the run's files."""
        for file in files:
            # A copy, since W&B would link to the file, which may be gone when an offline run is synchronised.
            copy = shutil.copy(file, self.run.dir)
            self.run.save(copy, base_path=self.run.dir, policy="now")

    def summary(self, values: Mapping[str, float]) -> None:
        """Add figures to the run's summary."""
        self.run.summary.update(dict(values))

    def model(self, files: Sequence[Path], metadata: Mapping[str, Any]) -> None:
        """Add the model as an artifact of type "model"."""
        artifact = wandb.Artifact(f"model-{self.run.id}", "model", metadata=dict(metadata))
        for file in files:
            artifact.add_file(str(file))
        self.run.log_artifact(artifact)

    def beat(self) -> None:
        """Do nothing: W&B's own process says that the run is alive."""

    def close(self, outcome: Outcome) -> None:
        """End the run with an exit code."""
        self.run.finish(exit_code=EXIT_CODE[outcome])


def mode() -> Literal["online", "offline"] | None:
    """Say how W&B is to be used: as WANDB_MODE says, else online where there is a key, else offline.

    Without this, W&B asks for a key on the terminal, or gives up where there is none.
    """
    if os.environ.get("WANDB_MODE"):
        return None
    return "online" if os.environ.get("WANDB_API_KEY") or _logged_in() else "offline"


def _logged_in() -> bool:
    """Say whether ``wandb login`` has left a key in the file where it leaves them."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL", CLOUD)).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
