"""``fulldeck train --profile``: what some steps of training spend their time on, as a trace and as a table.

Lightning's own profiler mixes training with validation, and its table shows the last of them only.
"""

from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import torch
from lightning.pytorch.callbacks import Callback
from torch.profiler import profile, schedule

WAIT, WARMUP, ACTIVE = 2, 2, 6
"""Steps that are passed over (the first are unlike the rest), that warm the profiler up, and that are recorded."""

ROWS = 25
"""Operators in the table."""


class Profiler(Callback):
    """Writes trace.json (for Perfetto or chrome://tracing) and operators.txt, the costliest operators first.

    Args:
        folder: where; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.profile: profile | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Start to count steps; a training of few steps is recorded from its first or second on."""
        steps = int(trainer.estimated_stepping_batches)
        short = steps < WAIT + WARMUP + ACTIVE
        plan = schedule(wait=0, warmup=min(1, steps - 1), active=steps) if short else _PLAN
        self.profile = profile(schedule=plan, on_trace_ready=self._write)
        self.profile.start()

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - Lightning's signature
        """Count a step."""
        if self.profile:
            self.profile.step()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Write what there is, if the recording was still going on."""
        if self.profile:
            self.profile.stop()
            self.profile = None

    def _write(self, recorded: profile) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        recorded.export_chrome_trace(str(self.folder / "trace.json"))
        by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        table = recorded.key_averages().table(sort_by=by, row_limit=ROWS, max_name_column_width=60)
        (self.folder / "operators.txt").write_text(table + "\n", encoding="utf-8")


_PLAN = schedule(wait=WAIT, warmup=WARMUP, active=ACTIVE, repeat=1)
