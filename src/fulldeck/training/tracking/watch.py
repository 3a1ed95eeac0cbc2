"""Watches a network train and writes what it sees into the records: every step, cheaply.

Figures of a step stay on the device until some seconds' worth of them go out together: a request a step, or a wait for
the device a step, would cost more than looking.
"""

# ruff: noqa: ARG002 - Lightning's signatures

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from fulldeck.data.manifest import write_atomically
from fulldeck.training.tracking.record import Histogram, Record
from fulldeck.training.training_pictures import draw_gradients, draw_samples

SECONDS = 10.0
"""How long figures of steps wait to be written."""

SAMPLES = 25
"""Images of a batch that are shown."""

LOGGED = ".logged"
"""The file in a run's folder that holds the number of the last step whose figures were written."""

Samples = Callable[[Sequence[Tensor]], tuple[NDArray[np.uint8], list[str]]]
"""Shows a batch, or the beginning of one: pictures uint8 [N, H, W, 3], and what each of them is called."""

EDGES = [power / 4 for power in range(-48, 9)]
"""Of the gradients' histograms, in powers of ten: from 1e-12, where everything smaller is counted too, to 100."""


class Watch(Callback):
    """Writes loss, learning rate, gradient norm and speed of every step, the gradients' spread of an epoch's first one.

    Shows a batch as the network sees it, augmented, when the training begins and whenever its images grow. What a
    resumed run does again, the steps of the epoch that it was stopped in, is not written again.

    Args:
        records: where to.
        samples: shows a batch.
        folder: the run's.
    """

    def __init__(self, records: Sequence[Record], samples: Samples, folder: Path) -> None:
        self.records, self.samples = records, samples
        self.note = folder / LOGGED
        self.logged = int(self.note.read_text()) if self.note.is_file() else -1
        self.waiting: list[tuple[int, dict[str, float], dict[str, Tensor]]] = []
        self.gradients: dict[int, dict[str, Histogram]] = {}
        self.norm: Tensor | None = None
        self.shown = 0
        self.began = self.wrote = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps for a run that goes on: the gradients of the epochs so far."""
        return {"gradients": self.gradients}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with them."""
        self.gradients = state_dict["gradients"]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: tuple[Tensor, Tensor], batch_idx: int
    ) -> None:
        """Show a batch whose images are larger than those shown last."""
        side = batch[0].shape[-2]  # wherever the channels are
        if side > self.shown:
            self.shown = side
            images, named = self.samples([part[:SAMPLES] for part in batch])
            with tempfile.TemporaryDirectory() as temporary:
                sheet = Path(temporary) / "samples.png"
                draw_samples(images, named, sheet)
                self._show("samples", sheet, trainer.global_step)
        self.began = time.monotonic()

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        """Measure the gradients, before they are clipped."""
        gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        self.norm = torch.nn.utils.get_total_norm(list(gradients.values()))
        if trainer.fit_loop.epoch_loop.batch_idx == 0:
            found = spreads(gradients)
            self.gradients[trainer.current_epoch] = found
            if trainer.global_step > self.logged:
                for record in self.records:
                    record.histograms(found, trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
    ) -> None:
        """Keep the step's figures, and write them when they have waited long enough."""
        now = time.monotonic()
        known = {
            "step/lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "step/images_per_second": len(batch[0]) / (now - self.began),
        }
        measured: dict[str, Tensor] = {"step/loss": outputs["loss"].detach()}
        if self.norm is not None:
            measured["step/gradient_norm"] = self.norm
        if (step := trainer.global_step - 1) > self.logged:
            self.waiting.append((step, known, measured))
        if now - self.wrote >= SECONDS:
            self._write()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write what is left, and draw the gradients of all epochs in one picture."""
        self._write()
        with tempfile.TemporaryDirectory() as temporary:
            picture = Path(temporary) / "gradients.png"
            draw_gradients(self.gradients, picture)
            self._show("gradients", picture, trainer.global_step)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Write what there is: the last steps tell why."""
        self._write()

    def _write(self) -> None:
        rows = [
            (step, known | {name: float(value) for name, value in measured.items()})
            for step, known, measured in self.waiting
        ]
        self.waiting.clear()
        for record in self.records:
            record.steps(rows)
            record.beat()
        if rows:
            write_atomically(self.note, str(rows[-1][0]).encode())
        self.wrote = time.monotonic()

    def _show(self, name: str, file: Path, step: int) -> None:
        for record in self.records:
            record.picture(name, file, step)


def spreads(gradients: Mapping[str, Tensor]) -> dict[str, Histogram]:
    """Count the powers of ten of gradients, part by part of the network.

    Args:
        gradients: of each parameter, by its full name. "network.blocks.3.1.conv.weight" belongs to the part "blocks.3".
    """
    parts: dict[str, list[Tensor]] = {}
    for name, gradient in gradients.items():
        part = ".".join(name.removeprefix("network.").split(".")[:-1][:2])
        parts.setdefault(part, []).append(gradient.flatten())
    found = {}
    for part, values in parts.items():
        powers = torch.cat(values).float().abs().log10().clamp(EDGES[0], EDGES[-1])
        counts = torch.histc(powers.nan_to_num(EDGES[-1]), len(EDGES) - 1, EDGES[0], EDGES[-1])
        found[part] = ([int(count) for count in counts.tolist()], EDGES)
    return found
