"""The corner-refining network as Lightning trains it."""

from typing import Any

import lightning as L  # noqa: N812 - Lightning's own custom
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.training.locator_module import adamw, lit, quad_overlap
from fulldeck.training.refiner_network import RefinerNetwork


class RefinerModule(L.LightningModule):
    """Learns from (uint8 [B, 96, 96, 3], truth [B, 9]) as `refiner_data` feeds them.

    Args:
        pretrained: start the backbone from ImageNet weights.
        lr: peak learning rate.
        weight_decay: of AdamW, on matrices and kernels only.
        warmup: share of all steps.
    """

    def __init__(
        self, *, pretrained: bool = True, lr: float = 1e-3, weight_decay: float = 0.02, warmup: float = 0.05
    ) -> None:
        super().__init__()
        self.network = RefinerNetwork(pretrained=pretrained).to(memory_format=torch.channels_last)
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self._overlaps: list[float] = []

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the network's raw outputs for float [N, 3, 96, 96] in 0..1."""
        outputs: tuple[Tensor, Tensor] = self.network(images)
        return outputs

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the loss of a batch."""
        pixels, truth = batch
        losses = losses_of(self(lit(pixels)), truth)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, on_epoch=True, on_step=False)
        loss: Tensor = losses["corners"] + 0.2 * losses["card"]
        self.log("train/loss", loss, on_epoch=True, on_step=False, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Log the loss, and note how well the corners found lie on the true ones."""
        pixels, truth = batch
        outputs = self(pixels.permute(0, 3, 1, 2).float() / 255)
        losses = losses_of(outputs, truth)
        self.log_dict({f"val/{name}_loss": value for name, value in losses.items()}, batch_size=len(pixels))
        self.log("val/loss", losses["corners"] + 0.2 * losses["card"], batch_size=len(pixels), prog_bar=True)
        there = truth[:, 8] > 0
        wanted = truth[there, :8].reshape(-1, 4, 2).cpu().numpy()
        found = outputs[0][there].float().cpu().numpy()
        self._overlaps += [quad_overlap(one, other) for one, other in zip(found, wanted, strict=True)]

    def on_validation_epoch_end(self) -> None:
        """Log the mean overlap of found and true outlines, and the share of those of 0.9 or more."""
        overlaps = torch.tensor(self._overlaps)
        self._overlaps.clear()
        self.log_dict({"val/overlap": overlaps.mean(), "val/close": (overlaps >= CLOSE).float().mean()}, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a warm-up and a cosine; the backbone learns at a lower rate."""
        slow = set(self.network.stages.parameters())
        return adamw(self, slow, lr=self.lr, weight_decay=self.weight_decay, warmup=self.warmup)


CLOSE = 0.9
"""Intersection over union from which on an outline counts as close."""


def losses_of(outputs: tuple[Tensor, Tensor], truth: Tensor) -> dict[str, Tensor]:
    """Compare raw outputs with the truth.

    ``corners``: smooth L1 distance of the corners of readable cards, in parts of the square's side, times 50.
    ``card``: binary cross entropy of there being one.
    """
    corners, logits = (output.float() for output in outputs)
    there = truth[:, 8] > 0
    distance = F.smooth_l1_loss(corners.flatten(1)[there], truth[there, :8], beta=0.02, reduction="none")
    return {
        "corners": 50.0 * distance.mean() if there.any() else 0.0 * corners.sum(),
        "card": F.binary_cross_entropy_with_logits(logits, truth[:, 8]),
    }
